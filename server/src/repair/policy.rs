//! When a segment is worth a repair.
//!
//! A shard on a node that is merely offline comes back with it, most likely; making it anew at once would move the network's whole content
//! with every power cut. So there are two thresholds. At `k + ⌈m/2⌉` shards that are not lost (12 for 10+4), the shards that are lost are
//! made anew. At `k + max(1, ⌊m/4⌋)` shards that can be reached (11 for 10+4), those on nodes that are offline are not waited for either.
//! Neither is ever the full number, so that a scheme of few shards is not repaired for ever. *Eager* repairs make anew whatever is lost,
//! however much is left.

use cyx_core::scheme::Scheme;

/// How a shard is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ShardState {
    /// It is nowhere.
    Missing,
    /// Its node is lost.
    Gone,
    /// Its node is offline.
    Away,
    /// It can be reached, on a node that is to be emptied.
    Leaving,
    /// It can be reached.
    Sound,
}

/// How a segment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// How it was coded.
    pub scheme: Scheme,
    /// Shards that are not lost.
    pub kept: usize,
    /// Shards that can be reached.
    pub reachable: usize,
    /// Whether all that is lost is made anew.
    pub eager: bool,
}

/// The lost shards of a segment are made anew when so many are left.
#[must_use]
pub const fn repair_at(scheme: Scheme) -> usize {
    let threshold = scheme.k() + scheme.m().div_ceil(2);
    if threshold < scheme.n() { threshold } else { scheme.n() - 1 }
}

/// Shards that cannot be reached are made anew when so many can.
#[must_use]
pub const fn urgent_at(scheme: Scheme) -> usize {
    let quarter = scheme.m() / 4;
    let threshold = scheme.k() + if quarter > 1 { quarter } else { 1 };
    let most = repair_at(scheme);
    if threshold < most { threshold } else { most }
}

impl Health {
    /// Counts shards.
    #[must_use]
    pub fn of(scheme: Scheme, shards: impl IntoIterator<Item = ShardState>, eager: bool) -> Self {
        let (mut kept, mut reachable) = (0, 0);
        for shard in shards {
            kept += usize::from(shard >= ShardState::Away);
            reachable += usize::from(shard >= ShardState::Leaving);
        }
        Self { scheme, kept, reachable, eager }
    }

    /// How many more shards may be lost; negative if too many are.
    #[must_use]
    pub fn margin(&self) -> i64 {
        let count = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        count(self.kept) - count(self.scheme.k())
    }

    /// Whether shards on nodes that are offline are not waited for.
    #[must_use]
    pub const fn is_urgent(&self) -> bool {
        self.reachable <= urgent_at(self.scheme)
    }

    /// Whether lost shards are made anew.
    #[must_use]
    pub const fn is_due(&self) -> bool {
        let enough = if self.eager { self.scheme.n() - 1 } else { repair_at(self.scheme) };
        self.kept <= enough || self.is_urgent()
    }

    /// Whether a shard can be made anew now.
    #[must_use]
    pub const fn is_readable(&self) -> bool {
        self.reachable >= self.scheme.k()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(scheme: Scheme, missing: usize, away: usize) -> Health {
        let states = (0..scheme.n()).map(|shard| {
            if shard < missing {
                ShardState::Missing
            } else if shard < missing + away {
                ShardState::Away
            } else {
                ShardState::Sound
            }
        });
        Health::of(scheme, states, false)
    }

    #[test]
    fn thresholds_are_the_documented_ones() {
        let of = |scheme| (repair_at(scheme), urgent_at(scheme));
        assert_eq!(Scheme::LADDER.map(of), [(12, 11), (8, 7), (5, 5), (2, 2), (1, 1), (0, 0)]);
        assert_eq!(of(Scheme::DURABLE), (15, 12));
    }

    #[test]
    fn a_whole_segment_is_never_repaired() {
        for scheme in Scheme::LADDER.into_iter().chain([Scheme::DURABLE]) {
            assert!(!health(scheme, 0, 0).is_due(), "{scheme}");
            let eager = |lost| Health { eager: true, ..health(scheme, lost, 0) };
            assert!(!eager(0).is_due() && eager(1).is_due(), "{scheme}");
        }
    }

    #[test]
    fn nodes_that_are_offline_are_waited_for_unless_it_gets_tight() {
        let scheme = Scheme::DEFAULT;
        assert!(!health(scheme, 1, 0).is_due());
        assert!(health(scheme, 2, 0).is_due() && !health(scheme, 2, 0).is_urgent());
        assert!(!health(scheme, 0, 2).is_due());
        assert!(!health(scheme, 1, 1).is_due());
        assert!(health(scheme, 0, 3).is_urgent() && health(scheme, 1, 2).is_urgent());
        assert_eq!(health(scheme, 1, 2).margin(), 3, "what is away is not lost");
        assert!(health(scheme, 0, 4).is_readable() && !health(scheme, 0, 5).is_readable());
        assert_eq!(health(scheme, 5, 0).margin(), -1);
    }
}
