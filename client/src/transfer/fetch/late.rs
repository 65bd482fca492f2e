//! What is done about nodes that are late, beside asking others.

use std::ops::Range;
use std::time::Duration;

use super::{Fetching, Part, State};

impl Fetching<'_> {
    /// Has those looked at that said nothing for so long.
    pub(super) fn doubt(&self, parts: &[Part], pause: Duration) {
        let direct = parts.iter().filter(|part| matches!(part.state, State::Waiting | State::Late));
        let read = |shard: usize, columns: &Range<u64>| {
            self.extras.iter().any(|extra| extra.shard == shard && extra.columns == *columns)
        };
        let beside = self.asked.iter().filter(|(shard, columns)| !read(*shard, columns));
        let since = std::time::Instant::now().checked_sub(pause);
        for shard in direct.map(|part| part.shard).chain(beside.map(|(shard, _)| *shard)) {
            if let (Some(access), Some(since)) = (self.holder(shard), since) {
                self.pool.doubt(access, since);
            }
        }
    }

    /// Has nodes that still send look for more room, if most of the others have nothing to do: the way may be theirs then.
    pub(super) fn hurry(&self, parts: &[Part]) {
        let node = |part: &Part| self.holder(part.shard).map(|access| access.node);
        let is_idle = |part: &&Part| node(part).is_some_and(|node| self.pool.loads().reads_nothing(node));
        if parts.iter().filter(is_idle).count() * 2 > parts.len() {
            let waits = parts.iter().filter(|part| matches!(part.state, State::Waiting | State::Late));
            waits.filter_map(node).for_each(|node| self.pool.read_faster(node));
        }
    }
}
