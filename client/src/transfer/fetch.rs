//! One range of one segment from its nodes: from the data shards it lies in if they answer, else from any k.
//!
//! | when | what |
//! |---|---|
//! | at once | each data shard that the range touches is read, only the touched bytes; a node that failed lately or is silent is passed over |
//! | a node fails | more shards are read in the same columns, until k are there; nodes that stalled before are asked all at once, and not counted on |
//! | a small read is late | it is asked for again over the same connection: a lost packet is noticed sooner |
//! | a large one is late, and most of the other nodes have nothing to send | the node looks for more room on the way |
//! | it is later still, or was large | more shards are read beside it, unless most of it is here; whoever is complete first counts; whether the late node is there is found out beside |
//! | it has taken twice as long | so too, however much of it is here |
//! | everything is there | what is still under way is dropped; missing bytes are computed |
//!
//! Nothing is believed here. The frames' authentication decides, and [`super::liar`] finds out who is to blame.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use cyx_core::chunk::{Root, chunk_id};
use cyx_core::erasure::Coder;
use cyx_core::error::ErrorCode;
use cyx_core::ids::{NodeId, SegmentId};
use cyx_core::scheme::Scheme;
use cyx_core::segment::locate;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::Instant;

use super::budget::{Budget, PooledBuffer, Room};
use super::tuning::Tuning;
use crate::nodes::read::ChunkRef;
use crate::nodes::{NodeAccess, NodeError, NodePool, Problem, Work};

mod late;

/// How often is looked whether the way is left to a few.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// A segment and where its shards are.
pub(crate) struct SegmentAt {
    pub(crate) id: SegmentId,
    pub(crate) scheme: Scheme,
    /// Sealed bytes in it.
    pub(crate) length: u64,
    pub(crate) shard_len: u64,
    /// Node of shard i, if it is stored.
    pub(crate) holders: Vec<Option<NodeId>>,
    pub(crate) roots: Vec<Root>,
    /// When the server had a node prove a part of it last, Unix nanoseconds; 0: never.
    pub(crate) audited_ns: i64,
}

impl SegmentAt {
    /// The chunk of shard `index`, which is below n.
    pub(crate) fn chunk(&self, index: usize) -> ChunkRef {
        let id = chunk_id(self.id, u8::try_from(index).unwrap_or(u8::MAX));
        ChunkRef { id, length: self.shard_len, root: self.roots.get(index).copied().unwrap_or_default() }
    }
}

/// Nodes that may be asked.
pub(crate) type AccessMap = HashMap<NodeId, NodeAccess>;

/// Fewer than k shards can be read.
#[derive(Debug)]
pub(crate) struct TooFew {
    pub(crate) reachable: usize,
    pub(crate) needed: usize,
    /// Shards that are nowhere any more, or not as they were stored.
    pub(crate) lost: usize,
    /// Nodes for which new grants may help.
    pub(crate) stale: HashSet<NodeId>,
    pub(crate) last: Option<NodeError>,
}

/// Bytes of a shard that were read.
pub(crate) struct ShardBytes {
    pub(crate) shard: usize,
    pub(crate) columns: Range<u64>,
    /// Where they are in the buffer, or the bytes themselves.
    pub(crate) bytes: Held,
}

pub(crate) enum Held {
    InBuffer(Range<usize>),
    Apart(PooledBuffer),
}

/// What was read for a range.
pub(crate) struct Fetched {
    pub(crate) got: Vec<ShardBytes>,
    /// Parts of the buffer that must be computed: shard, columns, where.
    pub(crate) missing: Vec<(usize, Range<u64>, Range<usize>)>,
}

impl ShardBytes {
    pub(crate) fn slice<'a>(&'a self, buffer: &'a [u8]) -> &'a [u8] {
        match &self.bytes {
            Held::InBuffer(range) => buffer.get(range.clone()).unwrap_or_default(),
            Held::Apart(lent) => &lent.bytes,
        }
    }

    /// Whether it has all of these columns.
    fn covers(&self, columns: &Range<u64>) -> bool {
        self.columns.start <= columns.start && self.columns.end >= columns.end
    }
}

impl Fetched {
    /// Computes what is missing, where it belongs. Takes a while for large ranges: not for an async thread.
    pub(crate) fn complete(&self, coder: &Coder, buffer: &mut [u8]) -> bool {
        if self.missing.is_empty() {
            return true;
        }
        let Some((present, mut lost)) = self.split(buffer) else { return false };
        // Shards that are missing in the same columns are computed together: the others are read once for all of them.
        while let Some((_, columns, _)) = lost.first() {
            let columns = columns.clone();
            let (same, others): (Vec<_>, Vec<_>) = lost.into_iter().partition(|lost| lost.1 == columns);
            lost = others;
            let mut have: Vec<(usize, &[u8])> = Vec::with_capacity(present.len());
            for (got, bytes) in present.iter().filter(|(got, _)| got.covers(&columns)) {
                // A shard may have been read twice, for different parts of the range.
                if have.iter().all(|(shard, _)| *shard != got.shard) {
                    let start = usize::try_from(columns.start - got.columns.start).unwrap_or(usize::MAX);
                    let len = usize::try_from(columns.end - columns.start).unwrap_or(usize::MAX);
                    let Some(part) = bytes.get(start..).and_then(|rest| rest.get(..len)) else { return false };
                    have.push((got.shard, part));
                }
            }
            let mut wanted = Vec::with_capacity(same.len());
            for (shard, _, place) in same {
                match have.iter().find(|(own, _)| *own == shard) {
                    // The shard itself, asked for late or for another part.
                    Some((_, own)) => place.copy_from_slice(own),
                    None => wanted.push((shard, place)),
                }
            }
            if !wanted.is_empty() && coder.reconstruct(&have, &mut wanted).is_err() {
                return false;
            }
        }
        true
    }

    /// Takes the buffer apart into what is there, with the bytes beside it, and what is missing.
    fn split<'a>(&'a self, buffer: &'a mut [u8]) -> Option<(Vec<There<'a>>, Vec<Lost<'a>>)> {
        let mut places: Vec<(&Range<usize>, Option<&ShardBytes>)> = Vec::new();
        let mut present: Vec<(&ShardBytes, &[u8])> = Vec::new();
        for got in &self.got {
            match &got.bytes {
                Held::InBuffer(place) => places.push((place, Some(got))),
                Held::Apart(lent) => present.push((got, &lent.bytes)),
            }
        }
        places.extend(self.missing.iter().map(|(_, _, place)| (place, None)));
        places.sort_unstable_by_key(|(place, _)| place.start);
        let mut lost = Vec::with_capacity(self.missing.len());
        let (mut at, mut rest) = (0, buffer);
        for (place, got) in places {
            let (_, behind) = std::mem::take(&mut rest).split_at_mut_checked(place.start.checked_sub(at)?)?;
            let (bytes, behind) = behind.split_at_mut_checked(place.len())?;
            (at, rest) = (place.end, behind);
            match got {
                Some(got) => present.push((got, bytes)),
                None => {
                    let (shard, columns, _) = self.missing.iter().find(|(_, _, missing)| missing == place)?;
                    lost.push((*shard, columns.clone(), bytes));
                }
            }
        }
        Some((present, lost))
    }
}

/// What was read, with its bytes.
type There<'a> = (&'a ShardBytes, &'a [u8]);

/// A part of the buffer that is missing: shard, columns, bytes.
type Lost<'a> = (usize, Range<u64>, &'a mut [u8]);

/// What a range is fetched with.
#[derive(Clone, Copy)]
pub(crate) struct Means<'a> {
    pub(crate) pool: &'a NodePool,
    pub(crate) tuning: &'a Tuning,
    /// Memory for shards that are read beside the range. Whoever asks for it holds a buffer already, and must not wait for
    /// somebody who does the same.
    pub(crate) reserve: &'a Budget,
}

/// Reads the segment bytes `range` into a buffer of exactly that length, as far as data shards answer, and enough of others to
/// compute the rest.
pub(crate) async fn fetch(
    means: Means<'_>,
    segment: &SegmentAt,
    access: &AccessMap,
    excluded: &HashSet<NodeId>,
    range: Range<u64>,
    buffer: &mut [u8],
) -> Result<Fetched, TooFew> {
    let mut parts = Vec::new();
    let mut rest = buffer;
    let mut at = 0;
    let mut fetching = Fetching::new(means, segment, access, excluded);
    for part in locate(segment.scheme, segment.length, range) {
        let len = usize::try_from(part.bytes.end - part.bytes.start).unwrap_or(usize::MAX);
        let Some((slice, behind)) = std::mem::take(&mut rest).split_at_mut_checked(len) else { break };
        rest = behind;
        let index = parts.len();
        parts.push(Part { shard: part.shard, columns: part.bytes.clone(), place: at..at + len, ..Part::default() });
        at += len;
        if fetching.is_good(part.shard) {
            parts[index].state = State::Waiting;
            fetching.read_direct(index, &parts[index], slice);
        } else if let Some(access) = fetching.holder(part.shard) {
            means.pool.look_for(access);
        }
    }
    fetching.run(means.tuning, &mut parts).await
}

/// A run of the range that lies in one data shard.
#[derive(Default)]
struct Part {
    shard: usize,
    columns: Range<u64>,
    place: Range<usize>,
    state: State,
    /// Bytes of it that are here, of a direct read.
    arrived: Arc<AtomicU64>,
}

#[derive(PartialEq, Eq, Clone, Copy, Default)]
enum State {
    Waiting,
    /// Waiting still, but others are asked as well.
    Late,
    Done,
    #[default]
    Lost,
}

enum Purpose {
    Direct(usize),
    Extra(usize, Range<u64>),
}

struct Attempted {
    purpose: Purpose,
    /// Of a direct read nothing: its bytes are in their place.
    result: Result<Option<PooledBuffer>, NodeError>,
}

type Attempt<'a> = Pin<Box<dyn Future<Output = Attempted> + Send + 'a>>;

/// Memory for shards beside the buffer.
enum Reserve<'a> {
    Untouched,
    Asked(Pin<Box<dyn Future<Output = Room> + Send + 'a>>),
    Taken(Room),
}

struct Fetching<'a> {
    pool: &'a NodePool,
    reserve: &'a Budget,
    room: Reserve<'a>,
    segment: &'a SegmentAt,
    access: &'a AccessMap,
    excluded: &'a HashSet<NodeId>,
    attempts: FuturesUnordered<Attempt<'a>>,
    extras: Vec<ShardBytes>,
    /// Shards and columns that were asked for beside the direct reads.
    asked: Vec<(usize, Range<u64>)>,
    failed: HashSet<usize>,
    /// Those of them whose nodes do not have them any more, or not as they were stored.
    lost: HashSet<usize>,
    stale: HashSet<NodeId>,
    last: Option<NodeError>,
    /// Whether small reads that are waited for are asked for again, and were.
    repeats: bool,
}

impl<'a> Fetching<'a> {
    fn new(means: Means<'a>, segment: &'a SegmentAt, access: &'a AccessMap, excluded: &'a HashSet<NodeId>) -> Self {
        Self {
            pool: means.pool,
            reserve: means.reserve,
            room: Reserve::Untouched,
            segment,
            access,
            excluded,
            attempts: FuturesUnordered::new(),
            extras: Vec::new(),
            asked: Vec::new(),
            failed: HashSet::new(),
            lost: HashSet::new(),
            stale: HashSet::new(),
            last: None,
            repeats: false,
        }
    }

    /// The node that holds a shard, if it may be asked.
    fn holder(&self, shard: usize) -> Option<&'a NodeAccess> {
        let node = (*self.segment.holders.get(shard)?)?;
        self.access.get(&node).filter(|_| !self.excluded.contains(&node))
    }

    /// Whether the holder of a shard is worth asking first.
    fn is_good(&self, shard: usize) -> bool {
        self.holder(shard).is_some_and(|access| access.alive && !self.pool.health().is_read_last(access.node))
    }

    fn read_direct(&mut self, index: usize, part: &Part, slice: &'a mut [u8]) {
        let Some(access) = self.holder(part.shard) else { return };
        let (pool, chunk) = (self.pool, self.segment.chunk(part.shard));
        let (columns, arrived) = (part.columns.clone(), Arc::clone(&part.arrived));
        self.attempts.push(Box::pin(async move {
            let result = pool.read_into(access, chunk, columns, slice, &arrived).await.map(|()| None);
            Attempted { purpose: Purpose::Direct(index), result }
        }));
    }

    /// Whether there is memory for extra reads. If nothing was asked for yet it is, all that the range may need.
    fn has_room(&mut self, parts: &[Part]) -> bool {
        if matches!(self.room, Reserve::Untouched) {
            let mut seen: Vec<&Range<u64>> = Vec::new();
            let (mut count, mut longest) = (0, 0);
            for columns in parts.iter().map(|part| &part.columns) {
                if !seen.contains(&columns) {
                    seen.push(columns);
                    // What is lost is read beside the buffer too, if it is to be had after all.
                    let is_direct = |part: &&Part| part.columns == *columns && part.state != State::Lost;
                    let direct = parts.iter().filter(is_direct).count();
                    count += self.segment.scheme.n().saturating_sub(direct);
                    longest = longest.max(columns.end - columns.start);
                }
            }
            let (reserve, len) = (self.reserve, usize::try_from(longest).unwrap_or(usize::MAX));
            self.room = Reserve::Asked(Box::pin(async move { reserve.room(count, len).await }));
        }
        matches!(self.room, Reserve::Taken(_))
    }

    fn read_extra(&mut self, shard: usize, columns: Range<u64>) {
        let Some(access) = self.holder(shard) else { return };
        let Reserve::Taken(room) = &mut self.room else { return };
        let mut lent = room.lend(usize::try_from(columns.end - columns.start).unwrap_or(usize::MAX));
        let (pool, chunk) = (self.pool, self.segment.chunk(shard));
        self.asked.push((shard, columns.clone()));
        self.attempts.push(Box::pin(async move {
            let arrived = AtomicU64::new(0);
            let read = pool.read_into(access, chunk, columns.clone(), &mut lent.bytes, &arrived).await;
            let result = read.map(|()| Some(lent));
            Attempted { purpose: Purpose::Extra(shard, columns), result }
        }));
    }

    async fn run(mut self, tuning: &Tuning, parts: &mut [Part]) -> Result<Fetched, TooFew> {
        let largest = parts.iter().map(|part| part.columns.end - part.columns.start).max().unwrap_or(0);
        let known = self.pool.health().p95(Work::read(largest));
        let pause = known.map_or(tuning.hedge_unknown, |p95| (p95 * 3 / 2).max(tuning.hedge_min));
        let began = Instant::now();
        let (mut hedge_at, mut look_at) = (began + pause, began + LOOK_AGAIN);
        let is_small = Work::read(largest) == Work::SmallRead && parts.len() <= 2;
        let repeat = self.pool.health().repeat_after(Work::SmallRead).filter(|_| is_small);
        let repeat_at = repeat.map(|after| began + after).filter(|at| *at < hedge_at);
        loop {
            if self.repeats {
                self.repeat(parts);
            }
            self.recover(parts);
            if (0..parts.len()).all(|part| self.is_covered(parts, part)) {
                break;
            }
            let asks = matches!(self.room, Reserve::Asked(_));
            if self.attempts.is_empty() && !asks {
                return Err(self.too_few(parts));
            }
            tokio::select! {
                biased;
                Some(attempted) = self.attempts.next() => self.settle(attempted, parts),
                room = granted(&mut self.room), if asks => self.room = Reserve::Taken(room),
                () = until(repeat_at), if !self.repeats => {
                    self.repeats = true;
                    // What a lost packet holds up is there a little later; other shards would come no sooner.
                    hedge_at = Instant::now() + pause;
                }
                () = tokio::time::sleep_until(look_at), if !is_small => {
                    look_at = Instant::now() + LOOK_AGAIN;
                    self.hurry(parts);
                }
                () = tokio::time::sleep_until(hedge_at) => {
                    hedge_at = Instant::now() + pause;
                    // On a slow link every shard takes long; late is what takes longer than the others.
                    let done = parts.iter().filter(|part| part.state == State::Done).count();
                    if parts.len() <= 2 || done * 2 >= parts.len() || began.elapsed() >= pause * 8 {
                        self.doubt(parts, pause);
                        self.hedge(parts, began.elapsed() < pause * 2);
                    }
                }
            }
        }
        // Drops the losers.
        drop(std::mem::take(&mut self.attempts));
        let mut got = std::mem::take(&mut self.extras);
        let mut missing = Vec::new();
        for part in parts.iter() {
            if part.state == State::Done {
                let bytes = Held::InBuffer(part.place.clone());
                got.push(ShardBytes { shard: part.shard, columns: part.columns.clone(), bytes });
            } else {
                missing.push((part.shard, part.columns.clone(), part.place.clone()));
            }
        }
        if missing.is_empty() {
            // Extra reads that were not needed must not be blamed for anything.
            got.retain(|got| matches!(got.bytes, Held::InBuffer(_)));
        }
        Ok(Fetched { got, missing })
    }

    fn settle(&mut self, attempted: Attempted, parts: &mut [Part]) {
        match (attempted.purpose, attempted.result) {
            (Purpose::Direct(part), Ok(_)) => parts[part].state = State::Done,
            (Purpose::Extra(shard, columns), Ok(lent)) => {
                self.extras.extend(lent.map(|lent| ShardBytes { shard, columns, bytes: Held::Apart(lent) }));
            }
            (purpose, Err(error)) => {
                tracing::debug!(%error, "a shard was not read");
                self.stale.extend(error.problem.is_stale_grant().then_some(error.node));
                let shard = match &purpose {
                    Purpose::Direct(part) => parts[*part].shard,
                    Purpose::Extra(shard, _) => *shard,
                };
                self.failed.insert(shard);
                if is_loss(&error.problem) {
                    self.lost.insert(shard);
                }
                self.last = Some(error);
                match purpose {
                    Purpose::Direct(part) => parts[part].state = State::Lost,
                    Purpose::Extra(shard, columns) => {
                        self.asked.retain(|asked| *asked != (shard, columns.clone()));
                    }
                }
            }
        }
    }

    /// Shards whose bytes in these columns are here.
    fn present(&self, parts: &[Part], columns: &Range<u64>) -> HashSet<usize> {
        let covers = |have: &Range<u64>| have.start <= columns.start && have.end >= columns.end;
        let direct =
            parts.iter().filter(|part| part.state == State::Done && covers(&part.columns)).map(|part| part.shard);
        direct.chain(self.extras.iter().filter(|extra| covers(&extra.columns)).map(|extra| extra.shard)).collect()
    }

    /// Whether the holder of a shard was waited for in vain before. It may answer again, but is not counted on.
    fn has_stalled(&self, shard: usize) -> bool {
        self.holder(shard).is_some_and(|access| self.pool.health().has_stalled(access.node))
    }

    /// Shards that were asked for in these columns beside the direct reads.
    fn is_asked(&self, shard: usize, columns: &Range<u64>) -> bool {
        let covers = |have: &Range<u64>| have.start <= columns.start && have.end >= columns.end;
        self.asked.iter().any(|(asked, range)| *asked == shard && covers(range))
    }

    /// Shards whose bytes in these columns are here or on their way and not late.
    fn expected(&self, parts: &[Part], columns: &Range<u64>) -> HashSet<usize> {
        let covers = |have: &Range<u64>| have.start <= columns.start && have.end >= columns.end;
        let mut expected = self.present(parts, columns);
        let waiting = parts.iter().filter(|part| part.state == State::Waiting && covers(&part.columns));
        expected.extend(waiting.map(|part| part.shard));
        let asked = self.asked.iter().filter(|(shard, asked)| covers(asked) && !self.has_stalled(*shard));
        expected.extend(asked.map(|(shard, _)| *shard));
        expected
    }

    fn is_covered(&self, parts: &[Part], part: usize) -> bool {
        let part = &parts[part];
        let present = self.present(parts, &part.columns);
        part.state == State::Done || present.contains(&part.shard) || present.len() >= self.segment.scheme.k()
    }

    /// Asks for parts that are waited for once more, where they were asked for.
    fn repeat(&mut self, parts: &[Part]) {
        for part in parts.iter().filter(|part| part.state == State::Waiting) {
            let again = (part.shard, part.columns.clone());
            if !self.asked.contains(&again) && !self.failed.contains(&part.shard) && self.has_room(parts) {
                self.read_extra(again.0, again.1);
            }
        }
    }

    /// Asks more shards for the columns of parts that are lost or late, until k are expected.
    fn recover(&mut self, parts: &[Part]) {
        for at in 0..parts.len() {
            let part = &parts[at];
            if !matches!(part.state, State::Lost | State::Late) || self.is_covered(parts, at) {
                continue;
            }
            let columns = part.columns.clone();
            while self.expected(parts, &columns).len() < self.segment.scheme.k() {
                let Some(next) = self.next_candidate(parts, &columns) else { break };
                if !self.has_room(parts) {
                    return;
                }
                self.read_extra(next, columns.clone());
            }
        }
    }

    /// Another shard to ask for these columns: good nodes first, then those that failed lately.
    fn next_candidate(&self, parts: &[Part], columns: &Range<u64>) -> Option<usize> {
        let expected = self.expected(parts, columns);
        let under_way = |shard: usize| {
            parts.iter().any(|part| part.shard == shard && part.state == State::Late && part.columns == *columns)
        };
        let open = |shard: &usize| {
            !expected.contains(shard)
                && !self.is_asked(*shard, columns)
                && !self.failed.contains(shard)
                && !under_way(*shard)
                && self.holder(*shard).is_some()
        };
        let candidates = || (0..self.segment.scheme.n()).filter(open);
        candidates().find(|shard| self.is_good(*shard)).or_else(|| candidates().next())
    }

    fn too_few(self, parts: &[Part]) -> TooFew {
        let reachable = parts
            .iter()
            .filter(|part| part.state != State::Done)
            .map(|part| self.present(parts, &part.columns).len())
            .min()
            .unwrap_or(0);
        // A shard that nobody holds was never stored, or its node told the server that it is gone; a node that is left out lied.
        let is_nowhere = |holder: &Option<NodeId>| holder.is_none_or(|node| self.excluded.contains(&node));
        let nowhere = (0..).zip(&self.segment.holders).filter(|(_, holder)| is_nowhere(holder)).map(|(shard, _)| shard);
        let lost = self.lost.iter().copied().chain(nowhere).collect::<HashSet<usize>>().len();
        TooFew { reachable, needed: self.segment.scheme.k(), lost, stale: self.stale, last: self.last }
    }
}

/// Whether a node says, or shows, that it does not have what it was given to keep.
fn is_loss(problem: &Problem) -> bool {
    match problem {
        Problem::Refused { code, .. } => matches!(code, ErrorCode::NotFound | ErrorCode::Integrity),
        other => matches!(other, Problem::WrongData(_)),
    }
}

/// Waits until a moment, if there is one.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Waits for memory that was asked for.
async fn granted(reserve: &mut Reserve<'_>) -> Room {
    match reserve {
        Reserve::Asked(asked) => asked.await,
        Reserve::Untouched | Reserve::Taken(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
