//! Ranges of chunks, with or without a proof, and whether chunks are there at all.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use cyx_core::chunk::Root;
use cyx_core::ids::ChunkId;
use cyx_core::proof;
use cyx_proto::bulk::{GET_CHUNK, GET_DATA, Part, Parts, put_message};
use cyx_proto::chunk::v1::chunk_state::Presence;
use cyx_proto::chunk::v1::{GetChunkRequest, GetChunkResponse, VerifyChunkRequest};
use hyper::body::Incoming;
use prost::Message as _;

use super::access::NodeAccess;
use super::bulk::Sent;
use super::health::Work;
use super::orders::Counted;
use super::store::Progress;
use super::wire::{Wire, problem};
use super::{NodeError, NodePool, Problem, Waits};

/// Bytes a second that a proof arrives with at least: over a narrow link, all nodes of a segment share it.
const SLOWEST: u64 = 2 * 1024;

/// A chunk and what is known about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkRef {
    /// Its id.
    pub id: ChunkId,
    /// Its length in bytes.
    pub length: u64,
    /// BLAKE3 of its bytes, as the server names it.
    pub root: Root,
}

/// What a node says about a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkHealth {
    /// It is there, of the right length and hash.
    Present,
    /// It is in the node's trash: storing it again restores it.
    Trashed,
    /// Its bytes changed on the node's disk.
    Damaged,
    /// It is not there.
    Missing,
}

impl NodePool {
    /// Reads `range` of a chunk into `out`, which is exactly as long, and has `arrived` say how many bytes of it are here.
    ///
    /// Nothing is verified here but the lengths: frames authenticate themselves, and [`Self::read_proven`] finds who lied. A node that was
    /// waited for in vain before has a moment to answer.
    ///
    /// # Errors
    /// [`NodeError`]; then `out` holds anything.
    pub async fn read_into(
        &self,
        access: &NodeAccess,
        chunk: ChunkRef,
        range: Range<u64>,
        out: &mut [u8],
        arrived: &AtomicU64,
    ) -> Result<(), NodeError> {
        let began = Instant::now();
        let wanted = out.len() as u64;
        // Shared with a job that may be begun twice, one after the other.
        let out = Mutex::new(out);
        let permit = self.loads().permit_to_read(access.node, wanted).await;
        if Work::read(wanted) == Work::LargeRead {
            self.pace();
        }
        let moved = |bytes: u64| {
            let before = arrived.swap(bytes, Ordering::Relaxed);
            self.loads().arrived(bytes.saturating_sub(before));
            permit.left(wanted - bytes);
        };
        let read = |wire, idle| read_range(self, wire, access, (chunk, range.clone()), &out, &moved, idle);
        self.with_wire(access, Waits::Once, read).await?;
        self.health().took(Work::read(wanted), began.elapsed());
        Ok(())
    }

    /// Reads `range` of a chunk with a proof and checks it against the chunk's root. However little it sends at a time, a node has no longer than
    /// it may be silent and what the bytes take over a narrow link.
    ///
    /// # Errors
    /// [`NodeError`] with [`Problem::WrongData`] if the node cannot prove what it sends.
    pub async fn read_proven(
        &self,
        access: &NodeAccess,
        chunk: ChunkRef,
        range: Range<u64>,
    ) -> Result<Bytes, NodeError> {
        let longest = self.patience().idle + Duration::from_secs((range.end - range.start) / SLOWEST);
        let read = |wire, idle| {
            let proven = read_proven(self, wire, access, chunk, range.clone(), idle);
            async move { tokio::time::timeout(longest, proven).await.unwrap_or(Err(Problem::Stalled)) }
        };
        self.with_wire(access, Waits::Always, read).await
    }

    /// Asks a node about chunks, in order. With `scrub` it reads them and compares their hashes.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn verify(
        &self,
        access: &NodeAccess,
        chunks: &[ChunkRef],
        scrub: bool,
    ) -> Result<Vec<ChunkHealth>, NodeError> {
        // Scrubbing reads everything that was asked about before the one answer comes.
        let longer = if scrub { 10 } else { 1 };
        self.with_wire(access, Waits::Always, |wire, idle| verify(wire, access, chunks, scrub, idle * longer)).await
    }
}

fn request(
    access: &NodeAccess,
    chunk: ChunkRef,
    range: &Range<u64>,
    (with_proof, order, max_rate): (bool, Bytes, u64),
) -> Result<GetChunkRequest, Problem> {
    let grant = access.grant()?;
    Ok(GetChunkRequest {
        grant: grant.bytes.clone(),
        bucket_tag: Bytes::copy_from_slice(&grant.tag.0),
        chunk_id: Bytes::copy_from_slice(&chunk.id.0),
        offset: range.start,
        length: range.end - range.start,
        with_proof,
        order,
        max_rate,
    })
}

/// What a node answers to a read, as it arrives.
struct Answers {
    parts: Parts<Incoming>,
    progress: Progress,
    idle: Duration,
    /// The length of the chunk, until the node said that it is this.
    length: Option<u64>,
}

impl Answers {
    async fn begin(
        pool: &NodePool,
        wire: &Wire,
        access: &NodeAccess,
        chunk: ChunkRef,
        (range, with_proof): (&Range<u64>, bool),
        idle: Duration,
    ) -> Result<Self, Problem> {
        let length = range.end - range.start;
        let counted = pool.count(access, length, true)?;
        let max_rate = pool.rate_back(access.node, Work::read(length));
        let mut message = BytesMut::new();
        put_message(&mut message, &request(access, chunk, range, (with_proof, counted.order.clone(), max_rate))?);
        let progress = Progress::default();
        let sent = Sent::new(std::iter::once(message.freeze()));
        let parts = begun(counted, progress.watch(idle, wire.call_bulk(GET_CHUNK, sent, GET_DATA)).await?)?;
        Ok(Self { parts, progress, idle, length: Some(chunk.length) })
    }

    /// The next bytes.
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            let part = self.progress.watch(self.idle, self.parts.next()).await?.map_err(|status| problem(&status))?;
            self.progress.step();
            let (length, data) = match part {
                None => return Ok(None),
                Some(Part::Data(data)) => (0, data),
                Some(Part::Message(message)) => {
                    let message = GetChunkResponse::decode(message)
                        .map_err(|_| Problem::WrongData("what arrives cannot be read"))?;
                    (message.chunk_length, message.data)
                }
            };
            if self.length.take().is_some_and(|expected| expected != length) {
                return Err(Problem::WrongData("the chunk has another length"));
            }
            if !data.is_empty() {
                return Ok(Some(data));
            }
        }
    }
}

/// The answers of a read, unless the node refused it, which is no traffic then.
fn begun<T>(counted: Counted<'_>, answered: Result<T, tonic::Status>) -> Result<T, Problem> {
    answered.map_err(|status| {
        let problem = problem(&status);
        if matches!(problem, Problem::Refused { .. }) {
            counted.refused();
        }
        problem
    })
}

async fn read_range(
    pool: &NodePool,
    wire: Wire,
    access: &NodeAccess,
    (chunk, range): (ChunkRef, Range<u64>),
    out: &Mutex<&mut [u8]>,
    moved: &(impl Fn(u64) + Sync),
    idle: Duration,
) -> Result<(), Problem> {
    let room = || out.lock().unwrap_or_else(PoisonError::into_inner);
    let wanted = room().len();
    if wanted == 0 || range.end > chunk.length || range.end.checked_sub(range.start) != Some(wanted as u64) {
        return Err(Problem::WrongData("the range lies outside the chunk"));
    }
    let mut answers = Answers::begin(pool, &wire, access, chunk, (&range, false), idle).await?;
    let mut filled = 0;
    while let Some(data) = answers.next().await? {
        let end = filled + data.len();
        match room().get_mut(filled..end) {
            Some(place) => place.copy_from_slice(&data),
            None => return Err(Problem::WrongData("more bytes than were asked for")),
        }
        filled = end;
        moved(filled as u64);
    }
    if filled == wanted { Ok(()) } else { Err(Problem::WrongData("fewer bytes than were asked for")) }
}

async fn read_proven(
    pool: &NodePool,
    wire: Wire,
    access: &NodeAccess,
    chunk: ChunkRef,
    range: Range<u64>,
    idle: Duration,
) -> Result<Bytes, Problem> {
    if range.is_empty() || range.end > chunk.length {
        return Err(Problem::WrongData("the range lies outside the chunk"));
    }
    let limit = usize::try_from(proof_len_max(&range)).map_err(|_| Problem::WrongData("too large a range"))?;
    let mut answers = Answers::begin(pool, &wire, access, chunk, (&range, true), idle).await?;
    let mut stream = Vec::with_capacity(limit);
    while let Some(data) = answers.next().await? {
        if data.len() > limit - stream.len() {
            return Err(Problem::WrongData("a proof longer than any can be"));
        }
        stream.extend_from_slice(&data);
    }
    proof::verify(&chunk.root, chunk.length, range, &stream)
        .map(Bytes::from)
        .map_err(|_| Problem::WrongData("the proof does not lead to the chunk's hash"))
}

/// No proof of this range is longer: its groups, a hash pair for each, and two paths down the tree.
fn proof_len_max(range: &Range<u64>) -> u64 {
    let groups = range.end.div_ceil(proof::GROUP) - range.start / proof::GROUP;
    groups.saturating_mul(proof::GROUP + 64) + 2 * 64 * 64 + 16
}

async fn verify(
    wire: Wire,
    access: &NodeAccess,
    chunks: &[ChunkRef],
    scrub: bool,
    idle: Duration,
) -> Result<Vec<ChunkHealth>, Problem> {
    let grant = access.grant()?;
    let request = VerifyChunkRequest {
        grant: grant.bytes.clone(),
        bucket_tag: Bytes::copy_from_slice(&grant.tag.0),
        chunk_ids: chunks.iter().map(|chunk| Bytes::copy_from_slice(&chunk.id.0)).collect(),
        scrub,
    };
    let mut client = wire.client();
    let answered = Progress::default().watch(idle, client.verify_chunk(request)).await?;
    let states = answered.map_err(|status| problem(&status))?.into_inner().states;
    if states.len() != chunks.len() {
        return Err(Problem::WrongData("an answer for other chunks than were asked about"));
    }
    let judge = |(chunk, state): (&ChunkRef, cyx_proto::chunk::v1::ChunkState)| match state.presence() {
        Presence::Present if u64::from(state.length) == chunk.length && state.root == chunk.root[..] => {
            ChunkHealth::Present
        }
        Presence::Present | Presence::Damaged => ChunkHealth::Damaged,
        Presence::Trashed => ChunkHealth::Trashed,
        Presence::Missing | Presence::Unspecified => ChunkHealth::Missing,
    };
    Ok(chunks.iter().zip(states).map(judge).collect())
}
