//! Chunks out, receipts back: many chunks of one grant over one stream.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use cyx_core::chunk::Root;
use cyx_core::error::ErrorCode;
use cyx_core::ids::ChunkId;
use cyx_core::receipt::{Receipt, ReceivedChunk};
use cyx_core::units::PIECE;
use cyx_proto::bulk::{Part as Arrived, STORE_CHUNK, STORE_DATA, put_data_head, put_message};
use cyx_proto::chunk::v1::store_chunk_request::Part;
use cyx_proto::chunk::v1::store_chunk_response::Part as Answer;
use cyx_proto::chunk::v1::{ChunkHeader, Flush, StoreChunkRequest, StoreChunkResponse, StoreOpen};
use prost::Message as _;

use super::access::NodeAccess;
use super::bulk::Sent;
use super::wire::{Wire, clean, problem};
use super::{NodeError, NodePool, Problem, TransferPermit, Waits, Work};

/// A chunk to be stored.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// Its id.
    pub id: ChunkId,
    /// BLAKE3 of its bytes.
    pub root: Root,
    /// Its bytes.
    pub bytes: Bytes,
}

/// What a node made durable.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// Receipts as the node signed them, for the server. Together they cover every chunk that was sent and not refused.
    pub receipts: Vec<Bytes>,
}

impl NodePool {
    /// Stores chunks on one node and waits until all of them are durable.
    ///
    /// Storing a chunk that is there already is no error, so a failed call can simply be made again.
    ///
    /// # Errors
    /// [`NodeError`] if any chunk is refused or not covered by a valid receipt.
    pub async fn store(&self, access: &NodeAccess, chunks: Arc<[Chunk]>) -> Result<Stored, NodeError> {
        let bytes = chunks.iter().map(|chunk| chunk.bytes.len() as u64).sum();
        let permit = Arc::new(self.permit_to_store(access, bytes).await?);
        if Work::read(bytes) == Work::LargeRead {
            self.pace();
        }
        if permit.waited && self.health().has_stalled(access.node) {
            // Whoever was before this one waited for as long as nodes may take.
            return Err(access.error(Problem::Stalled));
        }
        let storing = |wire, idle| store(self, wire, access, Arc::clone(&chunks), &permit, idle);
        let stored = self.with_wire(access, Waits::Always, storing).await?;
        self.loads().stored(access.node, bytes);
        Ok(stored)
    }

    /// Waits until it is the turn of so many bytes, for as long as whoever is before them gets on: one that was given up may keep
    /// its permit, because what it sends lives for as long as its connection.
    async fn permit_to_store(&self, access: &NodeAccess, bytes: u64) -> Result<TransferPermit, NodeError> {
        let mut permit = std::pin::pin!(self.loads().permit_to_store(access.node, bytes));
        // Who has a permit may have to connect before anything moves.
        let patience = self.patience().connect + self.patience().idle;
        loop {
            let before = self.loads().steps(access.node);
            match tokio::time::timeout(patience, &mut permit).await {
                Ok(permit) => return Ok(permit),
                Err(_elapsed)
                    if self.loads().steps(access.node) == before || self.health().has_stalled(access.node) =>
                {
                    return Err(access.error(Problem::Stalled));
                }
                Err(_elapsed) => {}
            }
        }
    }
}

async fn store(
    pool: &NodePool,
    wire: Wire,
    access: &NodeAccess,
    chunks: Arc<[Chunk]>,
    permit: &Arc<TransferPermit>,
    idle: Duration,
) -> Result<Stored, Problem> {
    let grant = access.grant()?;
    let mut awaited = HashMap::with_capacity(chunks.len());
    for chunk in chunks.iter() {
        let length = u32::try_from(chunk.bytes.len()).map_err(|_| Problem::WrongData("a chunk beyond 4 GiB"))?;
        awaited.insert(chunk.id, ReceivedChunk { id: chunk.id, length, root: chunk.root });
    }
    let progress = Progress::default();
    let mut left = chunks.iter().map(|chunk| chunk.bytes.len() as u64).sum();
    let order = pool.count(access, left, false)?.order;
    let open = StoreOpen { grant: grant.bytes.clone(), order };
    let frames = Frames::new(open, Bytes::copy_from_slice(&grant.tag.0), chunks);
    let (moved, permit, all, node) = (progress.clone(), Arc::clone(permit), pool.clone(), access.node);
    let sent = Sent::new(frames.inspect(move |frame| {
        moved.step();
        all.loads().step(node);
        all.loads().sent(frame.len() as u64);
        left = left.saturating_sub(frame.len() as u64);
        permit.not_taken(left);
    }));
    let called = wire.call_bulk(STORE_CHUNK, sent, STORE_DATA);
    let mut answers = progress.watch(idle, called).await?.map_err(|status| problem(&status))?;
    let mut stored = Stored::default();
    while !awaited.is_empty() {
        let answer = progress.watch(idle, answers.next()).await?.map_err(|status| problem(&status))?;
        progress.step();
        pool.loads().step(access.node);
        let answer = match answer {
            Some(Arrived::Message(bytes)) => StoreChunkResponse::decode(bytes).ok().map(|answer| answer.part),
            Some(Arrived::Data(_)) => Some(None),
            None => return Err(Problem::WrongReceipt("not every chunk has one")),
        };
        match answer {
            Some(Some(Answer::Receipt(bytes))) => {
                let receipt = Receipt::verify(&bytes, &access.public_key)
                    .map_err(|_| Problem::WrongReceipt("not signed by the node"))?;
                if receipt.grant != grant.id {
                    return Err(Problem::WrongReceipt("for another grant"));
                }
                if !grant.may_have_receipt_of(receipt.issued) {
                    return Err(Problem::WrongReceipt("of a time at which no server takes it"));
                }
                if receipt.chunks.is_empty() {
                    // It brings the end no nearer: a node could send them for ever.
                    return Err(Problem::WrongReceipt("for no chunk"));
                }
                for chunk in &receipt.chunks {
                    match awaited.remove(&chunk.id) {
                        Some(sent) if sent == *chunk => {}
                        Some(_) => return Err(Problem::WrongReceipt("for other bytes than were sent")),
                        None => return Err(Problem::WrongReceipt("for a chunk that was not sent")),
                    }
                }
                // What arrived lies in a buffer of the connection, which nothing as small as a receipt should keep.
                stored.receipts.push(Bytes::copy_from_slice(&bytes));
            }
            Some(Some(Answer::Refused(refused))) => {
                let code = ErrorCode::parse(&refused.code).unwrap_or(ErrorCode::Internal);
                return Err(Problem::Refused { code, message: clean(&refused.message) });
            }
            Some(None) | None => return Err(Problem::WrongReceipt("an answer of an unknown kind")),
        }
    }
    Ok(stored)
}

/// Counts steps, so that a stream that moves is told from one that stands.
#[derive(Clone, Default)]
pub(super) struct Progress(Arc<AtomicU64>);

impl Progress {
    pub(super) fn step(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits for `job`, unless `idle` passes without a step.
    pub(super) async fn watch<T>(&self, idle: Duration, job: impl Future<Output = T>) -> Result<T, Problem> {
        let mut job = std::pin::pin!(job);
        loop {
            let before = self.0.load(Ordering::Relaxed);
            match tokio::time::timeout(idle, &mut job).await {
                Ok(done) => return Ok(done),
                Err(_elapsed) if self.0.load(Ordering::Relaxed) == before => return Err(Problem::Stalled),
                Err(_elapsed) => {}
            }
        }
    }
}

/// What one stream sends, made as the connection takes it: data is sliced, not copied, and what stands before it is a frame of its own.
struct Frames {
    open: Option<StoreOpen>,
    tag: Bytes,
    chunks: Arc<[Chunk]>,
    next: usize,
    rest: Bytes,
    /// Data whose head was sent.
    piece: Option<Bytes>,
    flushed: bool,
}

impl Frames {
    fn new(open: StoreOpen, tag: Bytes, chunks: Arc<[Chunk]>) -> Self {
        Self { open: Some(open), tag, chunks, next: 0, rest: Bytes::new(), piece: None, flushed: false }
    }

    /// What stands between the data that was and the data that comes; nothing at the end.
    fn head(&mut self) -> BytesMut {
        let mut head = BytesMut::new();
        let mut put = |part| put_message(&mut head, &StoreChunkRequest { part: Some(part) });
        if let Some(open) = self.open.take() {
            put(Part::Open(open));
        }
        while self.rest.is_empty() {
            let Some(chunk) = self.chunks.get(self.next) else {
                if !std::mem::replace(&mut self.flushed, true) {
                    put(Part::Flush(Flush {}));
                }
                return head;
            };
            self.next += 1;
            self.rest = chunk.bytes.clone();
            put(Part::Header(ChunkHeader {
                chunk_id: Bytes::copy_from_slice(&chunk.id.0),
                bucket_tag: self.tag.clone(),
                length: u32::try_from(chunk.bytes.len()).unwrap_or(u32::MAX),
                root: Bytes::copy_from_slice(&chunk.root),
            }));
        }
        let piece = self.rest.split_to(self.rest.len().min(PIECE));
        put_data_head(&mut head, &[], STORE_DATA, piece.len());
        self.piece = Some(piece);
        head
    }
}

impl Iterator for Frames {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        self.piece.take().or_else(|| Some(self.head().freeze()).filter(|head| !head.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use cyx_core::chunk::root;
    use cyx_proto::bulk::Splitter;

    use super::*;
    use crate::test_nodes::Cluster;

    #[test]
    fn a_stream_opens_sends_every_byte_in_pieces_and_flushes_once() {
        let big = Bytes::from(vec![7_u8; PIECE * 2 + 5]);
        let chunk = |bytes: &Bytes| Chunk { id: ChunkId([1; 16]), root: [2; 32], bytes: bytes.clone() };
        let chunks: Arc<[Chunk]> = Arc::new([chunk(&big), chunk(&Bytes::from_static(b"x"))]);
        let frames: Vec<Bytes> = Frames::new(StoreOpen::default(), Bytes::from_static(b"tag"), chunks).collect();
        assert!(frames[1].as_ptr() == big.as_ptr(), "data is sent from where it lies");
        let mut splitter = Splitter::new(0, 2 * PIECE);
        let mut seen = Vec::new();
        for frame in frames {
            splitter.push(frame);
            while let Some(Arrived::Message(message)) = splitter.next_part().unwrap() {
                seen.push(match StoreChunkRequest::decode(message).unwrap().part.unwrap() {
                    Part::Open(_) => "open".to_owned(),
                    Part::Header(header) => format!("header {}", header.length),
                    Part::Data(data) => format!("data {}", data.len()),
                    Part::Flush(_) => "flush".to_owned(),
                });
            }
        }
        assert!(splitter.is_between());
        let (piece, total) = (format!("data {PIECE}"), format!("header {}", big.len()));
        assert_eq!(seen, ["open", &total, &piece, &piece, "data 5", "header 1", "data 1", "flush"]);
    }

    #[tokio::test]
    async fn a_chunk_is_sent_when_it_is_its_turn_unless_the_node_was_waited_for_in_vain_before() {
        let cluster = Cluster::start(1).await;
        let (pool, all) = (cluster.pool(), cluster.access());
        let (node, access) = (&cluster.nodes[0], &all[&cluster.nodes[0].id()]);
        let bytes = Bytes::from(vec![7; 100_000]);
        let chunks: Arc<[Chunk]> = Arc::new([Chunk { id: ChunkId([1; 16]), root: root(&bytes), bytes }]);
        pool.wire(access).await.unwrap();
        for stalls in [false, true] {
            let permit = pool.loads().permit_to_store(access.node, u64::MAX).await;
            let mut storing = Box::pin(pool.store(access, Arc::clone(&chunks)));
            assert!(futures_util::poll!(&mut storing).is_pending());
            if stalls {
                pool.health().fell_silent(access.node);
            }
            drop(permit);
            let outcome = storing.await.map(drop).map_err(|error| error.problem);
            assert_eq!(outcome, if stalls { Err(Problem::Stalled) } else { Ok(()) });
            assert_eq!(node.state.stores.load(Ordering::SeqCst), 1);
            assert_eq!(pool.loads().stored_by(access.node), 100_000);
            assert!((100_000..101_000).contains(&pool.sent_bytes()), "once, and what stands before it");
        }
    }

    #[tokio::test]
    async fn a_turn_is_waited_for_only_while_something_moves() {
        let cluster = Cluster::start(1).await;
        let (pool, all) = (cluster.pool(), cluster.access());
        let access = &all[&cluster.nodes[0].id()];
        let bytes = Bytes::from(vec![7; 100_000]);
        let chunks: Arc<[Chunk]> = Arc::new([Chunk { id: ChunkId([1; 16]), root: root(&bytes), bytes }]);
        let _kept = pool.loads().permit_to_store(access.node, u64::MAX).await;
        tokio::time::pause();
        let patience = pool.patience().connect + pool.patience().idle;
        let mut storing = Box::pin(pool.store(access, chunks));
        for _ in 0..3 {
            assert!(tokio::time::timeout(patience * 2 / 3, &mut storing).await.is_err());
            pool.loads().step(access.node);
        }
        let outcome = tokio::time::timeout(patience * 3, storing).await.expect("it ends");
        assert_eq!(outcome.map(drop).map_err(|error| error.problem), Err(Problem::Stalled));
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_stream_that_stands_still_is_given_up() {
        let progress = Progress::default();
        let idle = Duration::from_secs(10);
        let moving = progress.clone();
        let steps = async move {
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_secs(8)).await;
                moving.step();
            }
        };
        assert_eq!(progress.watch(idle, steps).await, Ok(()));
        assert_eq!(progress.watch(idle, std::future::pending::<()>()).await, Err(Problem::Stalled));
    }
}
