//! The slow reading of everything that is kept, so that damage is found while there is enough left to repair from.
//!
//! All chunks are read in the order of their ids and compared with their hashes, at a bounded rate, over and over, with at least a day
//! between the beginnings of two rounds. What is damaged is marked as when a client's read finds it, never served again, and reported
//! with the next heartbeat. A restart goes on where the last minute's note says.

use std::sync::Arc;
use std::time::Duration;

use cyx_core::ids::ChunkId;
use tokio::time::Instant;

use super::error::Error;
use crate::service::Node;
use crate::store::{ChunkState, StoreError};

/// Name of the note in the ledger's facts: the last chunk that was read, and nothing between two rounds.
const POSITION: &str = "scrub position";
/// Chunks that are looked up at a time.
const BATCH: usize = 256;
/// Between two notes of the position.
const NOTE: Duration = Duration::from_secs(60);
/// Between the beginnings of two rounds, at least.
const ROUND_MIN: Duration = Duration::from_secs(24 * 3600);
/// A chunk costs the disk at least as much as so many bytes.
const CHUNK_COST: u64 = 64 * 1024;
/// How long to wait after the store failed.
const PAUSE: Duration = Duration::from_secs(60);

/// Reads everything over and over until it is dropped, at most `rate` bytes a second.
pub(crate) async fn run(node: Arc<Node>, rate: u64) {
    loop {
        let begun = Instant::now();
        match round(&node, rate).await {
            Ok(Found { chunks, damaged }) => {
                metrics::counter!("cyx_node_scrub_rounds_total").increment(1);
                tracing::info!(chunks, damaged, "every chunk was read and compared with its hash");
                tokio::time::sleep(ROUND_MIN.saturating_sub(begun.elapsed())).await;
            }
            Err(error) => {
                tracing::error!(%error, "the chunks cannot be checked");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    chunks: u64,
    damaged: u64,
}

/// Goes through all chunks behind the noted position.
async fn round(node: &Node, rate: u64) -> Result<Found, Error> {
    let mut after = node.ledger.meta(POSITION)?.and_then(|bytes| ChunkId::try_from(&bytes[..]).ok());
    let mut found = Found::default();
    let mut noted = Instant::now();
    let mut free_at = Instant::now();
    loop {
        let batch = node.store.list(after, BATCH).await?;
        let Some((last, _)) = batch.last() else { break };
        after = Some(*last);
        for (id, info) in batch {
            if info.state == ChunkState::Trashed {
                continue;
            }
            tokio::time::sleep_until(free_at).await;
            match node.store.scrub(id).await {
                Ok(()) => {}
                Err(StoreError::Damaged) => found.damaged += 1,
                // Deleted meanwhile.
                Err(StoreError::NotFound | StoreError::Trashed) => {}
                Err(error) => return Err(error.into()),
            }
            found.chunks += 1;
            metrics::counter!("cyx_node_scrubbed_chunks_total").increment(1);
            metrics::counter!("cyx_node_scrubbed_bytes_total").increment(info.len);
            // Counted from now: what was slow is not made up for by a burst.
            free_at = Instant::now() + pause(info.len, rate);
        }
        if noted.elapsed() >= NOTE {
            note(node, after.map(|id| id.to_vec()).unwrap_or_default()).await?;
            noted = Instant::now();
        }
    }
    note(node, Vec::new()).await?;
    Ok(found)
}

async fn note(node: &Node, position: Vec<u8>) -> Result<(), Error> {
    Ok(node.ledger.blocking(move |ledger| ledger.set_meta(POSITION, &position)).await?)
}

/// How long reading a chunk of `len` bytes may keep the disk busy.
fn pause(len: u64, rate: u64) -> Duration {
    let nanos = u128::from(len.max(CHUNK_COST)) * 1_000_000_000 / u128::from(rate.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;
    use std::path::Path;

    use bytes::Bytes;
    use cyx_core::ids::BucketTag;
    use cyx_core::units::MIB;

    use super::*;
    use crate::service::access::Access;
    use crate::service::identity::Identity;
    use crate::service::ledger::Ledger;
    use crate::store::{Clock, DiskOptions, DiskStore, NewChunk};

    fn open(folder: &Path) -> Node {
        let store = Arc::new(DiskStore::open(folder, DiskOptions { margin: 0, ..DiskOptions::default() }).unwrap());
        let identity = Identity::open(folder).unwrap();
        let access = Access::new(identity.id(), &[]);
        let ledger = Ledger::open(&folder.join("ledger"), Clock::system()).unwrap();
        Node::new(identity, store, access, ledger, Clock::system())
    }

    async fn store(node: &Node, number: u16, len: usize) -> ChunkId {
        let mut id = [0; 16];
        id[..2].copy_from_slice(&number.to_be_bytes());
        let bytes = vec![number.to_le_bytes()[0]; len];
        let chunk = NewChunk {
            id: ChunkId(id),
            tag: BucketTag([1; 16]),
            root: *blake3::hash(&bytes).as_bytes(),
            pieces: vec![Bytes::from(bytes)],
        };
        node.store.store(chunk).await.unwrap();
        ChunkId(id)
    }

    #[tokio::test]
    async fn every_chunk_is_read_and_the_damaged_one_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let node = open(folder.path());
        let mut ids = Vec::new();
        for number in 0..600 {
            ids.push(store(&node, number, 100).await);
        }
        node.store.trash(vec![ids[5]], u64::MAX).await.unwrap();
        assert_eq!(round(&node, u64::MAX).await.unwrap(), Found { chunks: 599, damaged: 0 });
        // The first record lies behind the volume's header.
        let volume = folder.path().join("volumes/00000001.cyxvol");
        std::fs::File::options().write(true).open(volume).unwrap().write_all_at(b"?", 4096 + 128).unwrap();
        assert_eq!(round(&node, u64::MAX).await.unwrap(), Found { chunks: 599, damaged: 1 });
        assert_eq!(node.store.damaged(None, 9).await.unwrap(), [ids[0]]);
    }

    #[tokio::test]
    async fn a_round_goes_on_behind_the_noted_position_and_the_next_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let node = open(folder.path());
        let mut ids = Vec::new();
        for number in 0..10 {
            ids.push(store(&node, number, 100).await);
        }
        note(&node, ids[6].to_vec()).await.unwrap();
        assert_eq!(round(&node, u64::MAX).await.unwrap().chunks, 3);
        assert_eq!(round(&node, u64::MAX).await.unwrap().chunks, 10);
    }

    #[test]
    fn chunks_cost_time_by_their_length_and_small_ones_cost_something_too() {
        assert_eq!(pause(5 * MIB, 20 * MIB), Duration::from_millis(250));
        assert_eq!(pause(1, 64 * 1024), Duration::from_secs(1));
        assert!(pause(u64::MAX, 0) > Duration::from_secs(1 << 30));
    }
}
