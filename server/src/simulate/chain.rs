//! The closed form: a segment as a Markov chain over the number of its missing shards.
//!
//! ```text
//! state i (0 ≤ i ≤ m): i shards are missing        λᵢ = (n − i)·λ   one more node dies
//! state m + 1: lost, for ever                       μᵢ = μ if n − i ≤ repair_at, else 0   back to state 0
//! ```
//! With `Aᵢ` the mean time and `Cᵢ` the chance to get from state i to the loss without a repair,
//!
//! ```text
//! Aᵢ = (1 + λᵢ·Aᵢ₊₁) / (λᵢ + μᵢ)      Cᵢ = λᵢ·Cᵢ₊₁ / (λᵢ + μᵢ)      mean time to loss = A₀ / C₀
//! ```
//! which loses no digits however small `C₀` is. The chance within a time comes from uniformisation: a Poisson number of steps of the
//! chain in discrete time, whose terms are all positive.

use cyx_core::scheme::Scheme;

use super::count;
use crate::repair::policy::repair_at;

/// A segment's fate.
#[derive(Debug, Clone)]
pub struct Chain {
    /// `(λᵢ, μᵢ)` of every state but the last.
    rates: Vec<(f64, f64)>,
}

impl Chain {
    /// Of a segment whose nodes die at the rate `death` each and that is repaired at the rate `repair` once it is due.
    #[must_use]
    pub fn new(scheme: Scheme, death: f64, repair: f64) -> Self {
        let rates = (0..=scheme.m()).map(|missing| {
            let left = scheme.n() - missing;
            let back = if missing > 0 && left <= repair_at(scheme) { repair } else { 0.0 };
            (count(left) * death, back)
        });
        Self { rates: rates.collect() }
    }

    /// Mean time until the segment is lost.
    #[must_use]
    pub fn mean_time_to_loss(&self) -> f64 {
        let (mut time, mut chance) = (0.0, 1.0);
        for (on, back) in self.rates.iter().rev() {
            time = (1.0 + on * time) / (on + back);
            chance *= on / (on + back);
        }
        time / chance
    }

    /// Chance that it is lost within a time.
    #[must_use]
    pub fn loss_within(&self, time: f64) -> f64 {
        let pace = self.rates.iter().map(|(on, back)| on + back).fold(0.0, f64::max);
        let mean = pace * time;
        if mean <= 0.0 {
            return 0.0;
        }
        // Beyond this no Poisson number of this mean is worth counting.
        let most = mean + 12.0 * mean.sqrt() + 40.0;
        let mut state: Vec<f64> = vec![0.0; self.rates.len()];
        state[0] = 1.0;
        let (mut lost, mut total, mut steps) = (0.0, 0.0, 0.0);
        // ln of the chance of `steps` steps.
        let mut weight = -mean;
        while steps < most {
            total += weight.exp() * lost;
            lost += self.step(&mut state, pace);
            steps += 1.0;
            weight += (mean / steps).ln();
        }
        total
    }

    /// One step in discrete time; what it loses.
    fn step(&self, state: &mut [f64], pace: f64) -> f64 {
        let (mut carried, mut repaired) = (0.0, 0.0);
        for (share, (on, back)) in state.iter_mut().zip(&self.rates) {
            let (goes, returns) = (*share * on / pace, *share * back / pace);
            *share += carried - goes - returns;
            repaired += returns;
            carried = goes;
        }
        state[0] += repaired;
        carried
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_near(found: f64, expected: f64) {
        assert!((found / expected - 1.0).abs() < 1e-9, "{found} instead of {expected}");
    }

    #[test]
    fn a_single_copy_lives_as_long_as_its_node() {
        let chain = Chain::new(Scheme::SINGLE, 0.5, 100.0);
        is_near(chain.mean_time_to_loss(), 2.0);
        is_near(chain.loss_within(3.0), 1.0 - (-1.5_f64).exp());
    }

    #[test]
    fn two_copies_are_the_textbook_mirror() {
        // Mean time to data loss of a mirror: (3λ + μ) / 2λ².
        let chain = Chain::new(Scheme::new(1, 1).unwrap(), 0.1, 50.0);
        is_near(chain.mean_time_to_loss(), (0.3 + 50.0) / 0.02);
    }

    #[test]
    fn without_repair_the_shards_die_one_after_the_other() {
        let chain = Chain::new(Scheme::DEFAULT, 1.0, 0.0);
        is_near(chain.mean_time_to_loss(), (10..=14).map(|left| 1.0 / f64::from(left)).sum());
        // At least five of fourteen are dead: a binomial.
        let dead = 1.0 - (-0.4_f64).exp();
        let binomial = |n: u32, k: u32| (0..k).fold(1.0, |product, i| product * f64::from(n - i) / f64::from(i + 1));
        let term = |k: u32| binomial(14, k) * dead.powf(f64::from(k)) * (1.0 - dead).powf(f64::from(14 - k));
        is_near(chain.loss_within(0.4), (5..=14).map(term).sum());
    }

    #[test]
    fn rare_losses_follow_the_mean_time() {
        let chain = Chain::new(Scheme::DEFAULT, 1.0, 2000.0);
        let (mean, loss) = (chain.mean_time_to_loss(), chain.loss_within(10.0));
        assert!((loss * mean / 10.0 - 1.0).abs() < 0.05, "{loss} within 10 of {mean}");
        assert!(loss < 1e-4 && loss > 0.0);
    }
}
