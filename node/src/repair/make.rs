//! From ranges of other chunks to a chunk.
//!
//! A shard is a combination of any k others, column by column, so a range of it needs the same range of each. All sources are asked for a
//! range at the same time; one that fails is replaced by the next that has not failed, from this range on.
//!
//! What is made is compared with the hash that it should have, so nothing has to be believed on the way: ranges come without proofs. Only
//! if it turns out wrong, it is made once more from ranges with proofs, which tell who lied.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use cyx_core::chunk::Root;
use cyx_core::erasure::{Coder, CodingError};
use cyx_core::units::PIECE;
use futures_util::future::join_all;
use thiserror::Error;

use super::Throttle;
use super::peer::{Failure, Peers};
use super::task::{Source, Task};

/// Why a chunk was not made.
#[derive(Debug, Error)]
pub(crate) enum MakeError {
    /// Too many sources failed.
    #[error("{left} of {needed} sources are left")]
    TooFew {
        /// Sources that have not failed.
        left: usize,
        /// Sources that are needed.
        needed: usize,
    },
    /// The result is not what it should be. With proofs that means: though all sources sent what they should.
    #[error("the segment's shards do not belong together")]
    Inconsistent,
    /// The sources cannot be combined.
    #[error(transparent)]
    Coding(#[from] CodingError),
    /// The node is shutting down.
    #[error("the node is shutting down")]
    Stopped,
}

/// Bytes of each source that are in memory: eight ranges of a full chunk cost nearly twice as much as four.
const RANGE: u64 = 2 * PIECE as u64;

/// Sources that failed: which shard, on which node, why, and where the range begins that was asked for.
pub(crate) type Failures = Vec<(u8, cyx_core::ids::NodeId, Failure, u64)>;

/// Makes a task's chunk: its bytes in pieces. What failed meanwhile is added to `failures`, whatever the outcome.
///
/// # Errors
/// [`MakeError`].
pub(crate) async fn make(
    task: &Task,
    peers: &Peers,
    throttle: &Throttle,
    failures: &mut Failures,
) -> Result<Vec<Bytes>, MakeError> {
    let mut making = Making::new(task, peers, throttle);
    match making.all(Trust::WholeChunk, failures).await {
        Err(MakeError::Inconsistent) => {
            tracing::warn!(chunk = %task.chunk, "a chunk was made wrong and is made again with proofs");
            making.all(Trust::Proofs, failures).await
        }
        made => made,
    }
}

/// What shows that the bytes of sources are what they should be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// The hash of what is made of them.
    WholeChunk,
    /// A proof with each range.
    Proofs,
}

struct Making<'a> {
    task: &'a Task,
    peers: &'a Peers,
    throttle: &'a Throttle,
    coder: Option<Arc<Coder>>,
    active: Vec<&'a Source>,
    spare: VecDeque<&'a Source>,
}

impl<'a> Making<'a> {
    fn new(task: &'a Task, peers: &'a Peers, throttle: &'a Throttle) -> Self {
        let mut spare: VecDeque<&Source> = task.sources.iter().collect();
        let active = spare.drain(..task.needed().min(spare.len())).collect();
        Self { task, peers, throttle, coder: task.scheme.map(Coder::new).map(Arc::new), active, spare }
    }

    async fn all(&mut self, trust: Trust, failures: &mut Failures) -> Result<Vec<Bytes>, MakeError> {
        let (mut pieces, mut hasher) = (Vec::new(), blake3::Hasher::new());
        let mut at = 0;
        while at < self.task.length {
            let end = (at + RANGE).min(self.task.length);
            let columns = self.columns(at..end, trust, failures).await?;
            let piece;
            (piece, hasher) = self.combine(columns, hasher).await?;
            pieces.push(piece);
            at = end;
        }
        let root: Root = *hasher.finalize().as_bytes();
        if root == self.task.root { Ok(pieces) } else { Err(MakeError::Inconsistent) }
    }

    /// A range of enough shards.
    async fn columns(
        &mut self,
        range: Range<u64>,
        trust: Trust,
        failures: &mut Failures,
    ) -> Result<Vec<(usize, Bytes)>, MakeError> {
        let mut read: Vec<Option<Bytes>> = vec![None; self.active.len()];
        loop {
            let missing: Vec<usize> = (0..read.len()).filter(|place| read[*place].is_none()).collect();
            if missing.is_empty() {
                break;
            }
            self.throttle.take((range.end - range.start) * missing.len() as u64).await;
            let one = |place: &usize| {
                let (source, range) = (self.active[*place], range.clone());
                self.peers.read(source, self.task.length, range, trust == Trust::Proofs)
            };
            for (place, outcome) in missing.iter().zip(join_all(missing.iter().map(one)).await) {
                match outcome {
                    Ok(bytes) => read[*place] = Some(bytes),
                    Err(failure) => {
                        let source = self.active[*place];
                        tracing::info!(peer = %source.peer.node, chunk = %source.chunk, %failure, "a source does not do");
                        failures.push((source.shard, source.peer.node, failure, range.start));
                        let (left, needed) = (self.task.needed() - 1, self.task.needed());
                        self.active[*place] = self.spare.pop_front().ok_or(MakeError::TooFew { left, needed })?;
                    }
                }
            }
        }
        let sources = self.active.iter().map(|source| usize::from(source.shard));
        Ok(sources.zip(read).filter_map(|(shard, bytes)| Some((shard, bytes?))).collect())
    }

    /// The range of the wanted shard from that of others, and the hash of everything up to its end.
    async fn combine(
        &self,
        columns: Vec<(usize, Bytes)>,
        mut hasher: blake3::Hasher,
    ) -> Result<(Bytes, blake3::Hasher), MakeError> {
        let (coder, wanted) = (self.coder.clone(), usize::from(self.task.shard));
        let combining = move || {
            let piece = match coder {
                Some(coder) => combine(&coder, &columns, wanted)?,
                None => columns.into_iter().next().map(|(_, bytes)| bytes).ok_or(MakeError::Inconsistent)?,
            };
            hasher.update(&piece);
            Ok((piece, hasher))
        };
        tokio::task::spawn_blocking(combining).await.map_err(|_| MakeError::Stopped)?
    }
}

/// Columns of the wanted shard from those of others.
fn combine(coder: &Coder, columns: &[(usize, Bytes)], wanted: usize) -> Result<Bytes, CodingError> {
    let mut out = BytesMut::zeroed(columns.first().map_or(0, |(_, bytes)| bytes.len()));
    let present: Vec<(usize, &[u8])> = columns.iter().map(|(shard, bytes)| (*shard, &bytes[..])).collect();
    coder.reconstruct(&present, &mut [(wanted, &mut out[..])])?;
    Ok(out.freeze())
}
