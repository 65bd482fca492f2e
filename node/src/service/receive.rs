//! One `StoreChunk` stream: chunks in, receipts out.
//!
//! Before a chunk's first byte is read, permits for all of it are taken, so memory is bounded however many streams there
//! are, and whoever has begun can always finish. While chunks wait for the disk the next ones are received. Chunks that
//! became durable together are signed together. A refused chunk does not end the stream; a broken contract does, after the
//! receipts for what was complete have gone out.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use cyx_core::chunk::Root;
use cyx_core::error::ErrorCode;
use cyx_core::grant::{Grant, Operations};
use cyx_core::ids::{BucketTag, ChunkId};
use cyx_core::receipt::{CHUNKS_MAX, Receipt, ReceivedChunk};
use cyx_core::units::{CHUNK_MAX, KIB, MIB};
use cyx_proto::chunk::v1::store_chunk_request::Part;
use cyx_proto::chunk::v1::store_chunk_response::Part as Answer;
use cyx_proto::chunk::v1::{ChunkHeader, ChunkRefused, StoreChunkResponse};
use cyx_proto::convert;
use cyx_proto::status::status;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, FuturesUnordered};
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::ledger::{LedgerError, Taken};
use super::listen::Connection;
use super::orders::Charged;
use super::{Node, STALL, access, count_error, store_refusal};
use crate::store::{NewChunk, StoreError, Stored, WHOLE_MIN, WholeChunkBuilder};

/// Bytes a second that a chunk has to come with on the whole, or its memory would be kept by one byte now and then: what is left to one of
/// many chunks at a time over a link of 1 Mbit/s, and less.
const SLOWEST: u64 = 2 * KIB;
/// No chunk may take longer.
const LONGEST: Duration = Duration::from_secs(3600);
/// Chunks of one stream that wait for the disk.
const WAITING_MAX: usize = 256;
/// Bytes of one stream that wait for the disk before it is read on, so that one client does not take all memory.
const STREAM_MEMORY: u64 = 32 * MIB;
/// Pieces of fewer bytes are put together.
const CRUMB: usize = 1024;
/// Answers that a client has not taken yet.
const ANSWERS: usize = 16;

/// Begins to serve a stream.
pub(super) fn start(
    node: Arc<Node>,
    connection: Arc<Connection>,
    requests: BoxStream<'static, Result<Part, Status>>,
) -> ReceiverStream<Result<StoreChunkResponse, Status>> {
    let (answers, receiver) = mpsc::channel(ANSWERS);
    tokio::spawn(async move {
        let waiting = FuturesUnordered::new();
        let mut stream =
            Stream { node, connection, requests, answers, waiting, waiting_bytes: 0, grant: None, gone: false };
        let ended = stream.run().await;
        let finished = stream.finish().await;
        // A client that is gone has no use for the reason.
        if let Err(End::Broken(status)) = ended.and(finished)
            && !stream.gone
        {
            drop(stream.answers.send_timeout(Err(*status), STALL).await);
        }
    });
    ReceiverStream::new(receiver)
}

/// Why a stream ends early.
enum End {
    /// The client does not take answers any more.
    Gone,
    /// The client broke the contract, or the node cannot go on.
    Broken(Box<Status>),
}

impl<E: Into<Status>> From<E> for End {
    fn from(error: E) -> Self {
        Self::Broken(Box::new(error.into()))
    }
}

fn broken(message: &'static str) -> End {
    status(ErrorCode::InvalidArgument, message).into()
}

/// What a chunk's header announced, checked.
struct Header {
    id: ChunkId,
    tag: BucketTag,
    root: Root,
    len: u64,
}

/// What a chunk holds while it is received and stored.
struct Held {
    /// Memory.
    _permit: OwnedSemaphorePermit,
    taken: Taken,
    charged: Charged,
}

/// A chunk handed to the store.
struct Finished {
    header: Header,
    held: Held,
    result: Result<Stored, StoreError>,
}

/// The bytes of a chunk in the pieces in which they came.
#[derive(Default)]
struct Pieces {
    pieces: Vec<Bytes>,
    /// Bytes that come in so small pieces that keeping account of each would take more memory than they do.
    crumbs: BytesMut,
}

impl Pieces {
    fn put(&mut self, data: Bytes) {
        if data.len() < CRUMB {
            self.crumbs.extend_from_slice(&data);
            return;
        }
        self.end_crumbs();
        self.pieces.push(data);
    }

    fn end_crumbs(&mut self) {
        if !self.crumbs.is_empty() {
            self.pieces.push(self.crumbs.split().freeze());
        }
    }

    fn finish(mut self) -> Vec<Bytes> {
        self.end_crumbs();
        self.pieces
    }
}

struct Stream {
    node: Arc<Node>,
    connection: Arc<Connection>,
    requests: BoxStream<'static, Result<Part, Status>>,
    answers: mpsc::Sender<Result<StoreChunkResponse, Status>>,
    waiting: FuturesUnordered<BoxFuture<'static, Finished>>,
    waiting_bytes: u64,
    /// What the stream was opened with.
    grant: Option<Arc<Grant>>,
    /// Whether the client takes no answers any more.
    gone: bool,
}

impl Stream {
    async fn run(&mut self) -> Result<(), End> {
        // Nobody has shown a grant yet: who says nothing, or half of a message, must not keep that and the stream for ever.
        let first = tokio::time::timeout(STALL, self.next_part()).await;
        let first =
            first.map_err(|_| status(ErrorCode::Unavailable, "the client did not open the stream for too long"))??;
        let Some(Part::Open(open)) = first else {
            return Err(broken("the first message has to open the stream with a grant"));
        };
        let now = self.node.clock.now();
        let grant = self.node.access.grant(&self.connection, &open.grant, Operations::STORE, now)?;
        self.grant = Some(Arc::clone(&grant));
        self.node.ledger.orders().take(&grant, &open.order).await?;
        while let Some(part) = self.next_part().await? {
            match part {
                Part::Header(header) => self.chunk(&grant, header).await?,
                // Whatever was received is on its way to the disk already.
                Part::Flush(_) => {}
                Part::Open(_) => return Err(broken("the stream is open already")),
                Part::Data(_) => return Err(broken("data without a header")),
            }
        }
        Ok(())
    }

    /// The next message; answers for chunks that become durable meanwhile go out.
    async fn next_part(&mut self) -> Result<Option<Part>, End> {
        loop {
            tokio::select! {
                part = self.requests.next() => return Ok(part.transpose()?),
                Some(finished) = self.waiting.next(), if !self.waiting.is_empty() => {
                    self.answer(finished).await?;
                }
            }
        }
    }

    /// Receives one chunk and hands it to the store.
    async fn chunk(&mut self, grant: &Arc<Grant>, header: ChunkHeader) -> Result<(), End> {
        let header = Header {
            id: convert::id(&header.chunk_id, "chunk_id")?,
            tag: convert::id(&header.bucket_tag, "bucket_tag")?,
            root: convert::array(&header.root, "root")?,
            len: u64::from(header.length),
        };
        if header.len == 0 || header.len > CHUNK_MAX {
            // Its bytes could not be skipped within bounds, so the stream ends.
            return Err(status(ErrorCode::TooLarge, StoreError::InvalidLength.to_string()).into());
        }
        while self.waiting.len() >= WAITING_MAX || self.waiting_bytes >= STREAM_MEMORY {
            let Some(finished) = self.waiting.next().await else { break };
            self.answer(finished).await?;
        }
        // Chunks that become durable meanwhile give their memory back only when they are answered for.
        let mut admission = admit(&self.node, grant, header.tag, header.len).boxed();
        let admitted = loop {
            tokio::select! {
                admitted = &mut admission => break admitted,
                Some(finished) = self.waiting.next(), if !self.waiting.is_empty() => self.answer(finished).await?,
            }
        };
        let len = header.len;
        match admitted {
            Ok(held) => {
                let node = Arc::clone(&self.node);
                let whole = header.len >= WHOLE_MIN && node.store.prefers_whole();
                let store = match whole.then(|| WholeChunkBuilder::new(header.len)).flatten() {
                    Some(mut builder) => {
                        self.data(header.len, |data| builder.put(&data)).await?;
                        let chunk = builder.finish(header.id, header.tag, header.root);
                        let chunk = chunk.ok_or_else(|| broken("a chunk's data is cut short"))?;
                        async move { Finished { header, held, result: node.store.store_whole(chunk).await } }.boxed()
                    }
                    None => {
                        let mut pieces = Pieces::default();
                        self.data(header.len, |data| pieces.put(data)).await?;
                        let pieces = pieces.finish();
                        let chunk = NewChunk { id: header.id, tag: header.tag, root: header.root, pieces };
                        async move { Finished { header, held, result: node.store.store(chunk).await } }.boxed()
                    }
                };
                self.waiting_bytes += len;
                self.waiting.push(store);
                Ok(())
            }
            Err((code, message)) => {
                self.refuse(header.id, code, message).await?;
                self.data(header.len, |_| {}).await
            }
        }
    }

    /// Hands out the bytes of a chunk as they come.
    async fn data(&mut self, len: u64, mut keep: impl FnMut(Bytes)) -> Result<(), End> {
        let deadline = Instant::now() + LONGEST.min(STALL + Duration::from_secs(len.div_ceil(SLOWEST)));
        let mut received = 0;
        while received < len {
            let until = deadline.min(Instant::now() + STALL);
            let part = tokio::time::timeout_at(until, self.next_part()).await;
            let part =
                part.map_err(|_| status(ErrorCode::Unavailable, "the client sent too little for too long"))??;
            let Some(Part::Data(data)) = part else { return Err(broken("a chunk's data is cut short")) };
            if data.is_empty() {
                return Err(broken("a message without data"));
            }
            received += data.len() as u64;
            if received > len {
                return Err(broken("more data than the header announced"));
            }
            keep(data);
        }
        Ok(())
    }

    /// Waits for all chunks that the store has and answers for them. Also for those of a client that is gone: the store keeps them, so
    /// they are used of its allowance, and their memory is not free before.
    async fn finish(&mut self) -> Result<(), End> {
        let mut ended = Ok(());
        while let Some(finished) = self.waiting.next().await {
            let answered = self.answer(finished).await;
            ended = ended.and(answered);
        }
        ended
    }

    /// Answers for a finished chunk and for all others that are finished by now: one receipt for all, one refusal each.
    async fn answer(&mut self, finished: Finished) -> Result<(), End> {
        let mut chunks = Vec::new();
        let mut oldest = u64::MAX;
        let mut next = Some(finished);
        while let Some(Finished { header, held, result }) = next {
            self.waiting_bytes = self.waiting_bytes.saturating_sub(header.len);
            // Whatever became of the chunk, its bytes were moved.
            held.charged.keep();
            match result {
                Ok(stored) => {
                    // A chunk that was there takes no room again, so it uses nothing of the allowance.
                    if !stored.known {
                        held.taken.keep();
                    }
                    oldest = oldest.min(stored.at);
                    self.node.counters.add_stored(header.len);
                    let length = u32::try_from(header.len).unwrap_or(u32::MAX);
                    chunks.push(ReceivedChunk { id: header.id, length, root: header.root });
                }
                Err(error) => {
                    let (code, message) = store_refusal(&error);
                    self.refuse(header.id, code, message).await?;
                }
            }
            if chunks.len() >= CHUNKS_MAX {
                break;
            }
            next = self.waiting.next().now_or_never().flatten();
        }
        if chunks.is_empty() { Ok(()) } else { self.sign(oldest, chunks).await }
    }

    async fn sign(&mut self, issued: u64, chunks: Vec<ReceivedChunk>) -> Result<(), End> {
        let Some(grant) = &self.grant else { return Err(broken("the stream is not open")) };
        let receipt = Receipt { node: self.node.identity.id(), grant: grant.id, issued, chunks };
        let bytes = receipt.sign(self.node.identity.signing_key());
        self.send(Answer::Receipt(bytes.into())).await
    }

    async fn refuse(&mut self, id: ChunkId, code: ErrorCode, message: String) -> Result<(), End> {
        count_error(code);
        let chunk_id = convert::bytes_of(id);
        self.send(Answer::Refused(ChunkRefused { chunk_id, code: code.as_str().to_owned(), message })).await
    }

    async fn send(&mut self, part: Answer) -> Result<(), End> {
        if self.gone {
            return Err(End::Gone);
        }
        // A client that takes no answers must not hold the memory of its chunks for ever.
        let sent = self.answers.send_timeout(Ok(StoreChunkResponse { part: Some(part) }), STALL).await;
        self.gone = sent.is_err();
        sent.map_err(|_| End::Gone)
    }
}

/// Whether a chunk is taken at all: time, bucket, traffic, allowance, and then memory.
fn admit(
    node: &Arc<Node>,
    grant: &Arc<Grant>,
    tag: BucketTag,
    len: u64,
) -> impl Future<Output = Result<Held, (ErrorCode, String)>> + Send + 'static {
    let (node, grant) = (Arc::clone(node), Arc::clone(grant));
    async move {
        let said = |error: access::AccessError| (error.code(), error.to_string());
        access::in_time(&grant, node.clock.now()).map_err(said)?;
        access::covers(&grant, tag).map_err(said)?;
        let charged = node.ledger.orders().store(&grant, len).map_err(|error| (error.code(), error.words()))?;
        let taken = node.ledger.take(&grant, len).await.map_err(|error| match error {
            LedgerError::Exhausted => (ErrorCode::QuotaExceeded, error.to_string()),
            LedgerError::Stopped => (ErrorCode::Unavailable, error.to_string()),
            LedgerError::File(_) => {
                tracing::error!(%error, "a grant's allowance cannot be noted");
                (ErrorCode::Internal, "the node cannot note what is used of the grant".to_owned())
            }
        })?;
        let permits = u32::try_from(len.div_ceil(KIB)).unwrap_or(u32::MAX);
        let stopped = |_| (ErrorCode::Unavailable, "the node is shutting down".to_owned());
        let permit = Arc::clone(&node.memory).acquire_many_owned(permits).await.map_err(stopped)?;
        Ok(Held { _permit: permit, taken, charged })
    }
}
