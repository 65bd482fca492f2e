//! What is done about nodes that are late, beside asking others.

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Fetching, Part, State};
use crate::nodes::Work;

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

    /// What is still waited for is late: others are asked as well, one more each time. For what is here for the most part others would take longer, so
    /// `patient` callers wait for that.
    pub(super) fn hedge(&mut self, parts: &mut [Part], patient: bool) {
        let mut waited = false;
        for part in parts.iter_mut().filter(|part| part.state == State::Waiting) {
            waited = true;
            if !patient || !part.is_nearly_here() {
                part.state = State::Late;
            }
        }
        if waited {
            return;
        }
        let waiting: Vec<Range<u64>> = (0..parts.len())
            .filter(|part| !self.is_covered(parts, *part))
            .map(|part| parts[part].columns.clone())
            .collect();
        let mut done: Vec<Range<u64>> = Vec::new();
        for columns in waiting {
            if done.contains(&columns) {
                continue;
            }
            if let Some(next) = self.next_candidate(parts, &columns)
                && self.has_room(parts)
            {
                self.read_extra(next, columns.clone());
            }
            done.push(columns);
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

impl Part {
    /// Whether most of a large one has arrived.
    fn is_nearly_here(&self) -> bool {
        let all = self.columns.end - self.columns.start;
        Work::read(all) == Work::LargeRead && self.arrived.load(Ordering::Relaxed) * 2 >= all
    }
}
