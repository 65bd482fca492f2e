//! What the outcomes of audits are worth.
//!
//! The score is the mean of a beta distribution with forgetting (Jøsang and Ismail, "The Beta Reputation System", 2002):
//!
//! ```text
//! good ← λ·good + 1, bad ← λ·bad        after a slice that was proven
//! good ← λ·good,     bad ← λ·bad + 1    after one that was not, and was not the second time either
//! score = good / (good + bad)
//! ```
//! λ = 0.999 remembers about a thousand audits, a day and a half at the default pace. A new node begins with [`PRIOR`] good ones, so
//! that its first failure is not the end of it. The standing follows from the score, with a gap between falling and rising.

/// Share of what was known that each audit leaves.
const MEMORY: f64 = 0.999;
/// Good audits that a new node is given in advance.
const PRIOR: f64 = 50.0;
/// Slices that a new node has to prove before it is trusted.
pub const VETTING_PASSED: u64 = 100;
/// Below this a node is suspended.
const SUSPEND_BELOW: f64 = 0.95;
/// A suspended node is taken back at this.
const RECOVER_AT: f64 = 0.97;
/// Below this a node is disqualified.
const DISQUALIFY_BELOW: f64 = 0.60;
/// Of the usual chance to be chosen, what a node has that is being vetted.
const VETTING_WEIGHT: f64 = 0.1;

/// How far a node is trusted after its audits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// New: it gets few shards until it has proven enough slices.
    Vetting,
    /// It proved what it was asked for.
    Trusted,
    /// It failed too often of late: it gets nothing new, is audited more, and comes back by proving.
    Suspended,
    /// It failed for good: what it held is rebuilt elsewhere. Only an administrator can have it prove itself again.
    Disqualified,
}

impl Standing {
    /// Every standing, for counting.
    pub const ALL: [Self; 4] = [Self::Vetting, Self::Trusted, Self::Suspended, Self::Disqualified];

    /// The word in the database and in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Vetting => "vetting",
            Self::Trusted => "trusted",
            Self::Suspended => "suspended",
            Self::Disqualified => "disqualified",
        }
    }

    /// The opposite of [`Self::as_str`]; unknown words are suspended, which trusts nobody and destroys nothing.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self::ALL.into_iter().find(|standing| standing.as_str() == text).unwrap_or(Self::Suspended)
    }

    /// Whether the node may get new shards.
    #[must_use]
    pub const fn takes_new(self) -> bool {
        matches!(self, Self::Vetting | Self::Trusted)
    }

    /// What its chance to be chosen is multiplied by.
    #[must_use]
    pub const fn weight(self) -> f64 {
        match self {
            Self::Vetting => VETTING_WEIGHT,
            Self::Trusted => 1.0,
            Self::Suspended | Self::Disqualified => 0.0,
        }
    }
}

/// What a node's audits add up to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reputation {
    /// Good audits, as far as they are remembered.
    pub good: f64,
    /// Bad ones.
    pub bad: f64,
    /// All slices that were ever proven.
    pub passed: u64,
    /// What follows.
    pub standing: Standing,
    /// It was trusted once.
    pub vetted: bool,
}

impl Default for Reputation {
    fn default() -> Self {
        Self { good: PRIOR, bad: 0.0, passed: 0, standing: Standing::Vetting, vetted: false }
    }
}

impl Reputation {
    /// From 0 to 1.
    #[must_use]
    pub fn score(&self) -> f64 {
        let all = self.good + self.bad;
        if all > 0.0 { self.good / all } else { 1.0 }
    }

    /// The same in thousandths.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 1000")]
    pub fn thousandths(&self) -> u32 {
        (self.score().clamp(0.0, 1.0) * 1000.0).round() as u32
    }

    /// One more slice was proven.
    pub fn pass(&mut self) {
        self.good = self.good * MEMORY + 1.0;
        self.bad *= MEMORY;
        self.passed += 1;
        self.judge();
    }

    /// One was not, and not the second time either.
    pub fn fail(&mut self) {
        self.good *= MEMORY;
        self.bad = self.bad * MEMORY + 1.0;
        self.judge();
    }

    /// Begins anew, for a disqualified node that proved itself.
    #[must_use]
    pub fn reinstated(&self) -> Self {
        Self { passed: 0, ..Self::default() }
    }

    fn judge(&mut self) {
        let score = self.score();
        self.standing = match self.standing {
            Standing::Disqualified => Standing::Disqualified,
            _ if score < DISQUALIFY_BELOW => Standing::Disqualified,
            Standing::Suspended if score < RECOVER_AT => Standing::Suspended,
            _ if score < SUSPEND_BELOW => Standing::Suspended,
            _ if self.vetted || self.passed >= VETTING_PASSED => Standing::Trusted,
            _ => Standing::Vetting,
        };
        self.vetted |= self.standing == Standing::Trusted;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted() -> Reputation {
        let mut node = Reputation::default();
        (0..5000).for_each(|_| node.pass());
        node
    }

    /// How many of the same outcome it takes until a node has this standing.
    fn until(node: &mut Reputation, standing: Standing, step: fn(&mut Reputation)) -> u32 {
        let mut steps = 0;
        while node.standing != standing {
            step(node);
            steps += 1;
            assert!(steps < 100_000, "never {standing:?}: {node:?}");
        }
        steps
    }

    #[test]
    fn a_new_node_is_trusted_after_its_vetting() {
        let mut node = Reputation::default();
        assert_eq!(until(&mut node, Standing::Trusted, Reputation::pass), 100);
    }

    #[test]
    fn one_failure_is_forgiven_to_a_new_node_and_three_are_not() {
        let mut node = Reputation::default();
        node.fail();
        assert_eq!(node.standing, Standing::Vetting);
        assert_eq!(1 + until(&mut node, Standing::Suspended, Reputation::fail), 3);
    }

    #[test]
    fn a_node_that_lost_everything_is_suspended_then_disqualified_for_good() {
        let mut node = trusted();
        // 0.999ⁿ of about a thousand good audits are left after n failures.
        assert_eq!(until(&mut node, Standing::Suspended, Reputation::fail), 51);
        let more = until(&mut node, Standing::Disqualified, Reputation::fail);
        assert!((455..460).contains(&more), "{more}");
        (0..10_000).for_each(|_| node.pass());
        assert_eq!(node.standing, Standing::Disqualified, "whatever it proves by itself");
        assert_eq!(node.reinstated().standing, Standing::Vetting);
    }

    #[test]
    fn a_suspended_node_recovers_by_proving_and_not_at_the_first_proof() {
        let mut node = trusted();
        until(&mut node, Standing::Suspended, Reputation::fail);
        node.pass();
        assert_eq!(node.standing, Standing::Suspended);
        let proofs = until(&mut node, Standing::Trusted, Reputation::pass);
        assert!((300..1000).contains(&proofs), "{proofs}");
    }

    #[test]
    fn a_suspended_new_node_is_vetted_again() {
        let mut node = Reputation::default();
        until(&mut node, Standing::Suspended, Reputation::fail);
        until(&mut node, Standing::Vetting, Reputation::pass);
        assert!(node.passed < VETTING_PASSED && !node.vetted);
    }

    #[test]
    fn a_node_that_fails_now_and_then_settles_at_its_share() {
        // Every 100th slice: the score settles near 0.99, which costs nobody their standing.
        let mut node = trusted();
        for round in 0..20_000 {
            if round % 100 == 0 {
                node.fail();
            } else {
                node.pass();
            }
            assert_eq!(node.standing, Standing::Trusted);
        }
        assert!((0.985..0.995).contains(&node.score()), "{}", node.score());
        // Every 10th: suspended.
        for round in 0..20_000 {
            if round % 10 == 0 {
                node.fail();
            } else {
                node.pass();
            }
        }
        assert_eq!(node.standing, Standing::Suspended);
    }

    #[test]
    fn words_and_standings_are_the_same() {
        for standing in Standing::ALL {
            assert_eq!(Standing::parse(standing.as_str()), standing);
        }
        assert!(!Standing::parse("something new").takes_new());
    }
}
