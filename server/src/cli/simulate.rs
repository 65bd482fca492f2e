//! `cyx-server simulate`: how likely a segment is lost.

use clap::Args;
use cyx_core::scheme::Scheme;
use serde::Serialize;

use super::{Failure, print};
use crate::simulate::{Row, SCHEMES, Settings, show, table};

const YEARS_MAX: f64 = 1000.0;
const SEGMENTS_MAX: usize = 1_000_000;
const NODES_MAX: usize = 100_000;

/// What is simulated.
#[derive(Debug, Clone, Args)]
pub struct Simulate {
    /// Years that pass
    #[arg(long, default_value_t = 10.0, value_name = "YEARS")]
    pub years: f64,
    /// Mean life of a storage node, in days
    #[arg(long, default_value_t = 365.0, value_name = "DAYS")]
    pub node_life_days: f64,
    /// Mean time until a segment that is due is repaired, in hours, with the time until a node counts as lost
    #[arg(long, default_value_t = 12.0, value_name = "HOURS")]
    pub repair_hours: f64,
    /// Storage nodes of each simulated network
    #[arg(long, default_value_t = 200, value_name = "NUMBER")]
    pub nodes: usize,
    /// Segments of all simulated networks together; 0: only the closed form
    #[arg(long, default_value_t = 20_000, value_name = "NUMBER")]
    pub segments: usize,
    /// Seed of the random generator
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    pub seed: u64,
    /// A scheme such as 6+3, any number of times; default: 10+4 and 10+10
    #[arg(long, value_name = "K+M", value_parser = parse_scheme)]
    pub scheme: Vec<Scheme>,
    /// Print the table as one JSON document
    #[arg(long)]
    pub json: bool,
}

fn parse_scheme(text: &str) -> Result<Scheme, String> {
    let (k, m) = text.split_once('+').ok_or("a scheme is two numbers such as 10+4")?;
    let number = |text: &str| text.parse::<u32>().map_err(|_| "a scheme is two numbers such as 10+4".to_owned());
    Scheme::new(number(k)?, number(m)?).map_err(|error| error.to_string())
}

#[derive(Serialize)]
struct Document<'a> {
    years: f64,
    node_life_days: f64,
    nodes: usize,
    seed: u64,
    rows: &'a [Row],
}

impl Simulate {
    fn settings(&self) -> Result<Settings, Failure> {
        let fits = |value: f64, most: f64| value.is_finite() && value > 0.0 && value <= most;
        let sizes_fit = self.nodes <= NODES_MAX && self.segments <= SEGMENTS_MAX;
        let times_fit = fits(self.years, YEARS_MAX) && fits(self.node_life_days, 1e6) && fits(self.repair_hours, 1e6);
        if !sizes_fit || !times_fit {
            let message = format!(
                "times are positive, years at most {YEARS_MAX}, nodes at most {NODES_MAX}, segments at most {SEGMENTS_MAX}"
            );
            return Err(message.into());
        }
        Ok(Settings {
            years: self.years,
            node_life_days: self.node_life_days,
            repair_hours: self.repair_hours,
            nodes: self.nodes,
            segments: self.segments,
            seed: self.seed,
            schemes: if self.scheme.is_empty() { SCHEMES.to_vec() } else { self.scheme.clone() },
        })
    }

    /// Simulates and prints.
    ///
    /// # Errors
    /// If a number makes no sense, or standard output cannot be written.
    pub(super) fn run(&self) -> Result<(), Failure> {
        let settings = self.settings()?;
        let rows = table(&settings);
        if !self.json {
            return print(show(&settings, &rows).as_bytes());
        }
        let Settings { years, node_life_days, nodes, seed, .. } = settings;
        let document = Document { years, node_life_days, nodes, seed, rows: &rows };
        print(format!("{}\n", serde_json::to_string(&document)?).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::{Cli, Command};
    use super::*;

    fn typed(arguments: &[&str]) -> Simulate {
        let all = ["cyx-server", "simulate"].iter().chain(arguments);
        match Cli::try_parse_from(all).unwrap().command {
            Some(Command::Simulate(simulate)) => simulate,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_typed_is_what_is_simulated() {
        assert_eq!(typed(&[]).settings().unwrap(), Settings::default());
        let given =
            typed(&["--years", "2", "--scheme", "6+3", "--scheme", "2+1", "--segments", "0"]).settings().unwrap();
        assert_eq!((given.years, given.segments, given.schemes.len()), (2.0, 0, 2));
    }

    #[test]
    fn nonsense_is_refused() {
        for arguments in [["--years", "0"], ["--repair-hours", "NaN"], ["--nodes", "100001"]] {
            assert!(typed(&arguments).settings().is_err(), "{arguments:?}");
        }
        for scheme in ["10", "0+4", "40+4", "a+b"] {
            assert!(Cli::try_parse_from(["cyx-server", "simulate", "--scheme", scheme]).is_err(), "{scheme}");
        }
    }
}
