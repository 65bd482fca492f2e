//! How likely a segment is lost, over years in which every node that held it is replaced many times.
//!
//! Two ways to the same number: the closed form of a Markov chain ([`chain`]) and a network whose nodes die at random ([`network`]). Where
//! loss is frequent enough to be seen, both have to agree; where it is not, there is only the closed form.
//!
//! What is assumed: nodes die one by one, at a constant rate and for good (what fails together, such as an operator or a network, is kept
//! apart by placement); a segment with so few shards left that it is due ([`policy::repair_at`]) has all of its missing shards made anew
//! together, after a time with a given mean that includes noticing the loss.
//!
//! [`policy::repair_at`]: crate::repair::policy::repair_at

pub mod chain;
pub mod network;

use std::fmt::Write as _;

use cyx_core::scheme::Scheme;
use serde::Serialize;

use crate::repair::policy::repair_at;

/// Schemes that are shown unless others are asked for.
pub const SCHEMES: [Scheme; 2] = [Scheme::DEFAULT, Scheme::DURABLE];
/// How many times slower repairs are than they should be: loss becomes visible.
const SLOWER: [f64; 4] = [1.0, 8.0, 24.0, 60.0];
/// Networks among which the segments are divided. Segments of one network share nodes and are lost together now and then, so that only what
/// differs between networks says how much chance there is in the result.
const NETWORKS: usize = 10;
const HOURS_A_YEAR: f64 = 24.0 * 365.25;

/// What is simulated.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// How long.
    pub years: f64,
    /// Mean life of a node in days.
    pub node_life_days: f64,
    /// Mean time from the loss that makes a segment due to its repair, in hours.
    pub repair_hours: f64,
    /// Nodes of each of the [`NETWORKS`].
    pub nodes: usize,
    /// Segments of all networks together; 0 simulates nothing and shows the closed form alone.
    pub segments: usize,
    /// Of the random generator: the same seed gives the same table.
    pub seed: u64,
    /// The schemes.
    pub schemes: Vec<Scheme>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            years: 10.0,
            node_life_days: 365.0,
            repair_hours: 12.0,
            nodes: 200,
            segments: 20_000,
            seed: 1,
            schemes: SCHEMES.to_vec(),
        }
    }
}

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The scheme.
    pub scheme: String,
    /// Bytes stored for each byte kept.
    pub expansion: f64,
    /// A segment is repaired at so many shards.
    pub repair_at: usize,
    /// Mean hours until it is.
    pub repair_hours: f64,
    /// Mean years until a segment is lost, by the closed form.
    pub years_to_loss: f64,
    /// Chance that a segment is lost within the time, by the closed form.
    pub loss: f64,
    /// Segments of the simulated networks that should be lost.
    pub expected: f64,
    /// Segments that were.
    pub lost: usize,
    /// Segments that were simulated.
    pub segments: usize,
    /// Shards that were made anew.
    pub rebuilt: u64,
    /// By how many standard errors the two differ; nothing where too little is lost to tell.
    pub deviation: Option<f64>,
}

/// The table.
#[must_use]
pub fn table(settings: &Settings) -> Vec<Row> {
    let mut rows = Vec::new();
    for scheme in &settings.schemes {
        for slower in SLOWER {
            rows.push(row(settings, *scheme, settings.repair_hours * slower));
        }
    }
    rows
}

/// One line. Rates are per year.
fn row(settings: &Settings, scheme: Scheme, repair_hours: f64) -> Row {
    let death = 365.25 / settings.node_life_days;
    let repair = HOURS_A_YEAR / repair_hours;
    let chain = chain::Chain::new(scheme, death, repair);
    let loss = chain.loss_within(settings.years);
    let expected = loss * count(settings.segments);
    let outcomes = simulated(settings, scheme, death, repair);
    let lost: Vec<f64> = outcomes.iter().map(|outcome| count(outcome.lost)).collect();
    Row {
        scheme: scheme.to_string(),
        expansion: count(scheme.n()) / count(scheme.k()),
        repair_at: repair_at(scheme),
        repair_hours,
        years_to_loss: chain.mean_time_to_loss(),
        loss,
        expected,
        lost: outcomes.iter().map(|outcome| outcome.lost).sum(),
        segments: settings.segments,
        rebuilt: outcomes.iter().map(|outcome| outcome.rebuilt).sum(),
        deviation: deviation(&lost, expected),
    }
}

/// What happened in each network.
fn simulated(settings: &Settings, scheme: Scheme, death: f64, repair: f64) -> Vec<network::Outcome> {
    let mut left = settings.segments;
    let each = left.div_ceil(NETWORKS);
    let mut outcomes = Vec::with_capacity(NETWORKS);
    while left > 0 {
        let segments = each.min(left);
        left -= segments;
        let world = network::World { scheme, nodes: settings.nodes, segments, death, repair };
        // Each network has a seed of its own that shows nothing of the others'.
        let input = [settings.seed.to_le_bytes(), (outcomes.len() as u64).to_le_bytes()].concat();
        outcomes.push(network::simulate(&world, settings.years, *blake3::hash(&input).as_bytes()));
    }
    outcomes
}

/// By how many standard errors of its mean a sample differs from what it should add up to.
fn deviation(sample: &[f64], expected: f64) -> Option<f64> {
    let number = count(sample.len());
    let mean = sample.iter().sum::<f64>() / number;
    let variance = sample.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (number - 1.0);
    let error = (variance / number).sqrt();
    (sample.len() > 1 && error > 0.0).then(|| (mean - expected / number) / error)
}

/// The table as people read it.
#[must_use]
pub fn show(settings: &Settings, rows: &[Row]) -> String {
    let mut text = format!(
        "{} years; nodes live {} days on average; {} segments on {NETWORKS} networks of {} nodes, seed {}\n\n",
        settings.years, settings.node_life_days, settings.segments, settings.nodes, settings.seed
    );
    let _ = writeln!(
        text,
        "{:>8} {:>6} {:>10} {:>11} {:>14} {:>12} {:>10} {:>9} {:>10}",
        "scheme", "bytes", "repair at", "after", "years to loss", "P(loss)", "expected", "lost", "deviation"
    );
    for row in rows {
        let deviation = row.deviation.map_or_else(|| "-".to_owned(), |sigma| format!("{sigma:+.1} s"));
        let _ = writeln!(
            text,
            "{:>8} {:>6} {:>10} {:>11} {:>14.2e} {:>12.2e} {:>10.1} {:>9} {:>10}",
            row.scheme,
            format!("{:.1}x", row.expansion),
            format!("{} left", row.repair_at),
            format!("{} h", row.repair_hours),
            row.years_to_loss,
            row.loss,
            row.expected,
            row.lost,
            deviation,
        );
    }
    text.push_str(
        "\nP(loss) and years to loss come from the closed form, for one segment; `lost` was counted in the simulated networks,\n\
         and `deviation` is by how many standard errors that differs from `expected`.\n\
         The later lines of a scheme repair far too slowly, so that both can be compared.\n",
    );
    text
}

#[expect(clippy::cast_precision_loss, reason = "counts of segments and shards are small")]
fn count(value: usize) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings { years: 4.0, nodes: 120, segments: 4000, ..Settings::default() }
    }

    #[test]
    fn the_simulation_agrees_with_the_closed_form_where_it_loses_anything() {
        let rows = table(&settings());
        assert_eq!(rows.len(), 8);
        let mut compared = 0;
        for row in &rows {
            let Some(deviation) = row.deviation else { continue };
            if row.expected < 20.0 {
                continue;
            }
            // Student's t with nine degrees of freedom: once in some thousand times, and always the same with this seed.
            assert!(deviation.abs() < 5.0, "{row:?}");
            assert!((count(row.lost) / row.expected - 1.0).abs() < 0.35, "{row:?}");
            compared += 1;
        }
        assert!(compared >= 3, "nothing was lost: {rows:?}");
    }

    #[test]
    fn the_default_scheme_keeps_its_promise_and_the_durable_one_more() {
        let rows = table(&Settings { segments: 0, ..Settings::default() });
        let loss = |scheme: &str| rows.iter().find(|row| row.scheme == scheme).map(|row| row.loss).unwrap();
        assert!(loss("10+4") < 1e-3, "{}", loss("10+4"));
        assert!(loss("10+10") < 1e-9, "{}", loss("10+10"));
        assert!(rows.iter().all(|row| row.lost == 0 && row.deviation.is_none()), "nothing was simulated");
    }

    #[test]
    fn slower_repairs_lose_more_and_the_same_seed_gives_the_same_table() {
        let small = Settings { segments: 300, nodes: 60, years: 2.0, ..Settings::default() };
        let rows = table(&small);
        assert_eq!(rows, table(&small));
        assert!(rows[..4].is_sorted_by(|a, b| a.loss < b.loss && a.years_to_loss > b.years_to_loss));
        let text = show(&small, &rows);
        assert!(text.contains("10+10") && text.lines().count() >= 12, "{text}");
    }
}
