//! The slow reading of everything that is kept, so that damage is found while there is enough left to repair from.
//!
//! All chunks are read in the order of their ids and compared with their hashes, at a bounded rate, over and over, with at least a day
//! between the beginnings of two rounds. What is damaged is marked as when a client's read finds it, never served again, and reported
//! with the next heartbeat. A restart goes on where the last minute's note says, or waits for what is left of the day.

use std::sync::Arc;
use std::time::Duration;

use cyx_core::ids::ChunkId;
use tokio::time::Instant;

use super::error::Error;
use crate::service::Node;
use crate::store::{ChunkState, StoreError};

/// Name of the note in the ledger's facts: the last chunk that was read, and nothing between two rounds.
const POSITION: &str = "scrub position";
/// When the last round that came to its end began: Unix seconds.
const BEGUN: &str = "scrub begun";
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
        match turn(&node, rate).await {
            Ok(Found { chunks, damaged }) => {
                metrics::counter!("cyx_node_scrub_rounds_total").increment(1);
                tracing::info!(chunks, damaged, "every chunk was read and compared with its hash");
                // Nothing was noted that makes the next one wait.
                if chunks == 0 {
                    tokio::time::sleep(ROUND_MIN).await;
                }
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

/// Waits until a round is due, and goes through it.
async fn turn(node: &Node, rate: u64) -> Result<Found, Error> {
    tokio::time::sleep(due_in(node)?).await;
    let begun = node.clock.now();
    let found = round(node, rate).await?;
    // One that read nothing says nothing about what is there at the next start.
    if found.chunks > 0 {
        note(node, BEGUN, begun.to_le_bytes().to_vec()).await?;
    }
    Ok(found)
}

/// How long no round begins yet. One that was interrupted goes on at once.
fn due_in(node: &Node) -> Result<Duration, Error> {
    let interrupted = node.ledger.meta(POSITION)?.is_some_and(|position| !position.is_empty());
    let begun = node.ledger.meta(BEGUN)?.and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
    Ok(match begun {
        // A clock that was set back costs a day at most.
        Some(begun) if !interrupted => {
            ROUND_MIN.saturating_sub(Duration::from_secs(node.clock.now().saturating_sub(begun)))
        }
        _ => Duration::ZERO,
    })
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
            note(node, POSITION, after.map(|id| id.to_vec()).unwrap_or_default()).await?;
            noted = Instant::now();
        }
    }
    note(node, POSITION, Vec::new()).await?;
    Ok(found)
}

async fn note(node: &Node, name: &'static str, value: Vec<u8>) -> Result<(), Error> {
    Ok(node.ledger.blocking(move |ledger| ledger.set_meta(name, &value)).await?)
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
        note(&node, POSITION, ids[6].to_vec()).await.unwrap();
        assert_eq!(round(&node, u64::MAX).await.unwrap().chunks, 3);
        assert_eq!(round(&node, u64::MAX).await.unwrap().chunks, 10);
    }

    #[tokio::test]
    async fn a_restart_begins_no_round_before_the_day_is_over_and_ends_one_that_was_interrupted() {
        let folder = tempfile::tempdir().unwrap();
        let node = open(folder.path());
        assert_eq!(turn(&node, u64::MAX).await.unwrap().chunks, 0);
        assert_eq!(due_in(&node).unwrap(), Duration::ZERO, "it never read anything");
        let id = store(&node, 1, 100).await;
        assert_eq!(turn(&node, u64::MAX).await.unwrap().chunks, 1);
        node.store.close().await.unwrap();
        node.ledger.close().await.unwrap();
        drop(node);
        let node = open(folder.path());
        let due = due_in(&node).unwrap();
        assert!(due <= ROUND_MIN && due + Duration::from_secs(60) > ROUND_MIN, "{due:?}");
        note(&node, POSITION, id.to_vec()).await.unwrap();
        assert_eq!(due_in(&node).unwrap(), Duration::ZERO, "it was interrupted");
        note(&node, POSITION, Vec::new()).await.unwrap();
        let yesterday = node.clock.now() - ROUND_MIN.as_secs();
        note(&node, BEGUN, yesterday.to_le_bytes().to_vec()).await.unwrap();
        assert_eq!(due_in(&node).unwrap(), Duration::ZERO, "the day is over");
    }

    #[test]
    fn chunks_cost_time_by_their_length_and_small_ones_cost_something_too() {
        assert_eq!(pause(5 * MIB, 20 * MIB), Duration::from_millis(250));
        assert_eq!(pause(1, 64 * 1024), Duration::from_secs(1));
        assert!(pause(u64::MAX, 0) > Duration::from_secs(1 << 30));
    }
}
