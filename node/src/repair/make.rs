//! From ranges of other chunks to a chunk.
//!
//! A shard is a combination of any k others, column by column, so a range of it needs the same range of each. All sources are asked for a
//! range at the same time; one that fails is replaced by the next that has not failed, from this range on.

use std::collections::VecDeque;
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
    /// All sources proved what they sent, and the result is not what it should be.
    #[error("the segment's shards do not belong together")]
    Inconsistent,
    /// The sources cannot be combined.
    #[error(transparent)]
    Coding(#[from] CodingError),
    /// The node is shutting down.
    #[error("the node is shutting down")]
    Stopped,
}

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
    let coder = task.scheme.map(Coder::new).map(Arc::new);
    let mut spare: VecDeque<&Source> = task.sources.iter().collect();
    let needed = task.needed();
    let mut active: Vec<&Source> = spare.drain(..needed.min(spare.len())).collect();
    let (mut pieces, mut hasher) = (Vec::new(), blake3::Hasher::new());
    let mut at = 0;
    while at < task.length {
        let end = (at + PIECE as u64).min(task.length);
        let mut read: Vec<Option<Bytes>> = vec![None; active.len()];
        loop {
            let missing: Vec<usize> = (0..active.len()).filter(|place| read[*place].is_none()).collect();
            if missing.is_empty() {
                break;
            }
            throttle.take((end - at) * missing.len() as u64).await;
            let reads = missing.iter().map(|place| peers.read(active[*place], task.length, at..end));
            for (place, outcome) in missing.iter().zip(join_all(reads).await) {
                match outcome {
                    Ok(bytes) => read[*place] = Some(bytes),
                    Err(failure) => {
                        let source = active[*place];
                        tracing::info!(peer = %source.peer.node, chunk = %source.chunk, %failure, "a source does not do");
                        failures.push((source.shard, source.peer.node, failure, at));
                        let left = needed - 1;
                        active[*place] = spare.pop_front().ok_or(MakeError::TooFew { left, needed })?;
                    }
                }
            }
        }
        let columns: Vec<(usize, Bytes)> =
            active.iter().zip(read).filter_map(|(source, bytes)| Some((usize::from(source.shard), bytes?))).collect();
        let piece = match &coder {
            Some(coder) => combine(Arc::clone(coder), columns, usize::from(task.shard)).await?,
            None => columns.into_iter().next().map(|(_, bytes)| bytes).ok_or(MakeError::Inconsistent)?,
        };
        hasher.update(&piece);
        pieces.push(piece);
        at = end;
    }
    let root: Root = *hasher.finalize().as_bytes();
    if root == task.root { Ok(pieces) } else { Err(MakeError::Inconsistent) }
}

/// Columns of the wanted shard from those of others.
async fn combine(coder: Arc<Coder>, columns: Vec<(usize, Bytes)>, wanted: usize) -> Result<Bytes, MakeError> {
    let combining = move || {
        let len = columns.first().map_or(0, |(_, bytes)| bytes.len());
        let mut out = BytesMut::zeroed(len);
        let present: Vec<(usize, &[u8])> = columns.iter().map(|(shard, bytes)| (*shard, &bytes[..])).collect();
        coder.reconstruct(&present, &mut [(wanted, &mut out[..])])?;
        Ok(out.freeze())
    };
    tokio::task::spawn_blocking(combining).await.map_err(|_| MakeError::Stopped)?
}
