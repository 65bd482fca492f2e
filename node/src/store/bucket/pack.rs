//! Packing chunks into objects: what waits together becomes one object, and is acknowledged together.
//!
//! A few objects are on their way at a time. While they are, chunks that arrive wait, and all of them are the next object, so a busy
//! node makes large ones; an idle one waits some milliseconds for company. The order is what makes an acknowledgement true: the bucket
//! has the object, the index is durable, then the answer.

use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use cyx_core::ids::ChunkId;
use cyx_core::units::CHUNK_MAX;
use redb::Durability;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use super::super::disk::VOLUME_MIN;
use super::super::enter::{Arrival, Decision, Place, enter};
use super::super::groups::GroupHasher;
use super::super::index::{Entry, Tables};
use super::super::record::{ALIGN, RecordHeader, VOLUME_HEADER, encode_volume_header, record_len, span};
use super::super::{ChunkState, Health, NewChunk, StoreError, Stored};
use super::Shared;
use super::objects::{Fault, OBJECT_MAX};

/// Objects on their way at a time.
const PUTS: u32 = 4;
/// Most chunks of one object.
const CHUNKS_MAX: usize = 1024;
/// Numbers that are reserved durably at a time.
const RESERVED: u32 = 1024;
/// Name of the fact in the index: numbers up to this may have been used.
const META_RESERVED: &str = "volumes reserved";
const ZEROS: &[u8] = &[0; 4096];
const _: () = assert!(ZEROS.len() as u64 == ALIGN);

/// What the packer is asked.
pub(super) enum Job {
    /// Store a chunk; `rewrite` says that the copy which seemed to be there is not good.
    Store { chunk: NewChunk, rewrite: bool, reply: oneshot::Sender<Result<Stored, StoreError>> },
    /// Write a chunk anew whose object has become mostly dead, if it is still there.
    Move { chunk: NewChunk, seen: Entry, reply: oneshot::Sender<Result<(), StoreError>> },
    /// Finish what was asked before, end.
    Stop { reply: oneshot::Sender<Result<(), StoreError>> },
}

impl Job {
    fn len(&self) -> u64 {
        match self {
            Self::Store { chunk, .. } | Self::Move { chunk, .. } => chunk.len(),
            Self::Stop { .. } => 0,
        }
    }
}

/// The numbers of objects: each is used once, whatever becomes of the request that makes it.
pub(super) struct Numbers {
    next: u32,
    /// The index knows that numbers up to this may be used.
    reserved: u32,
}

impl Numbers {
    /// Goes on behind everything that may ever have been used: requests of an earlier run may still be on their way.
    pub(super) fn after(highest: u32, reserved: Option<Vec<u8>>) -> Self {
        let reserved = reserved.and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
        // Without an index it is not known how far an earlier run had got.
        let reserved = reserved.unwrap_or(if highest == 0 { 0 } else { highest.saturating_add(RESERVED) });
        let last = highest.max(reserved);
        Self { next: last.saturating_add(1), reserved: last }
    }
}

impl Shared {
    pub(super) fn reserved(books: &super::Books) -> Result<Option<Vec<u8>>, StoreError> {
        books.index.meta(META_RESERVED)
    }

    fn number(&self) -> Result<u32, StoreError> {
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        if numbers.next > numbers.reserved {
            let reserved = numbers.next.saturating_add(RESERVED);
            let note = reserved.to_le_bytes();
            self.books.index.write(Durability::Immediate, |tables| tables.set_meta(META_RESERVED, &note))?;
            numbers.reserved = reserved;
        }
        let number = numbers.next;
        numbers.next = number.checked_add(1).ok_or(StoreError::Full)?;
        Ok(number)
    }
}

/// Whom to answer.
enum Reply {
    Store(oneshot::Sender<Result<Stored, StoreError>>),
    Move(oneshot::Sender<Result<(), StoreError>>, Entry),
}

impl Reply {
    /// Whoever asked may have gone; then nobody needs the answer.
    fn refuse(self, error: StoreError) {
        match self {
            Self::Store(reply) => drop(reply.send(Err(error))),
            Self::Move(reply, _) => drop(reply.send(Err(error))),
        }
    }
}

/// A chunk on its way to being durable.
struct Waiting {
    arrival: Arrival,
    /// The values of its groups, one after the other.
    values: Vec<u8>,
    /// Kept until it is certain that a chunk which seemed to be there really is.
    chunk: Option<NewChunk>,
    reply: Reply,
}

/// An object that is not in the bucket yet.
struct Package {
    number: u32,
    pieces: Vec<Bytes>,
    len: u64,
}

/// Starts the packer. It ends when it is told to, or when nobody can ask any more.
pub(super) fn start(shared: Arc<Shared>) -> mpsc::UnboundedSender<Job> {
    let (jobs, queue) = mpsc::unbounded_channel();
    tokio::spawn(run(shared, queue, jobs.downgrade()));
    jobs
}

async fn run(shared: Arc<Shared>, mut queue: mpsc::UnboundedReceiver<Job>, again: mpsc::WeakUnboundedSender<Job>) {
    let puts = Arc::new(Semaphore::new(PUTS as usize));
    let (mut stop, mut left) = (None, None);
    while stop.is_none() {
        let next = match left.take() {
            None => queue.recv().await,
            left => left,
        };
        let Some(first) = next else { break };
        // Waiting for a turn is when others come together.
        let Ok(permit) = Arc::clone(&puts).acquire_owned().await else { break };
        let batch;
        (batch, left) = collect(&shared, first, &mut queue, &mut stop).await;
        if !batch.is_empty() {
            tokio::spawn(store(Arc::clone(&shared), batch, again.clone(), permit));
        }
    }
    queue.close();
    // Every permit is back when everything is answered.
    drop(puts.acquire_many(PUTS).await);
    drop(shared);
    if let Some(reply) = stop {
        drop(reply.send(Ok(())));
    }
}

/// What waits, and what comes within some milliseconds unless there is enough; and what is too much for the same object.
async fn collect(
    shared: &Shared,
    first: Job,
    queue: &mut mpsc::UnboundedReceiver<Job>,
    stop: &mut Option<oneshot::Sender<Result<(), StoreError>>>,
) -> (Vec<Job>, Option<Job>) {
    let (mut batch, mut bytes, mut object) = (Vec::new(), 0, VOLUME_HEADER);
    let until = Instant::now() + shared.options.linger;
    let mut next = Some(first);
    while let Some(job) = next {
        if let Job::Stop { reply } = job {
            *stop = Some(reply);
            break;
        }
        bytes += job.len();
        object += span(job.len());
        if object > OBJECT_MAX && !batch.is_empty() {
            return (batch, Some(job));
        }
        batch.push(job);
        if bytes >= shared.options.pack || batch.len() >= CHUNKS_MAX {
            break;
        }
        next = match queue.try_recv() {
            Ok(job) => Some(job),
            Err(_) => tokio::time::timeout_at(until, queue.recv()).await.ok().flatten(),
        };
    }
    (batch, None)
}

/// Makes one batch durable and answers for it.
async fn store(
    shared: Arc<Shared>,
    batch: Vec<Job>,
    again: mpsc::WeakUnboundedSender<Job>,
    permit: OwnedSemaphorePermit,
) {
    let preparing = Arc::clone(&shared);
    let prepared = tokio::task::spawn_blocking(move || prepare(&preparing, batch)).await;
    // Should the runtime be ending, everybody's reply is dropped, and that says so.
    let Ok((mut waiting, package)) = prepared else { return };
    let mut len = None;
    if let Some(package) = package {
        let (number, bytes) = (package.number, package.len);
        let begun = Instant::now();
        match shared.objects.put(number, package.pieces).await {
            Ok(()) => {
                metrics::histogram!("cyx_node_bucket_put_seconds").record(begun.elapsed());
                len = Some((number, bytes));
            }
            Err(fault) => {
                // It may have arrived all the same.
                shared.doubt(number, bytes);
                let reason = match fault {
                    Fault::Missing => "there is no such bucket",
                    Fault::Away(reason) => reason,
                };
                drop(shared.away(reason));
                waiting = refuse_placed(waiting);
            }
        }
    }
    let committing = Arc::clone(&shared);
    let committed = tokio::task::spawn_blocking(move || commit(&committing, waiting, len)).await;
    for (chunk, reply) in committed.unwrap_or_default() {
        match again.upgrade() {
            // If the packer has ended, dropping the reply says so.
            Some(jobs) => drop(jobs.send(Job::Store { chunk, rewrite: true, reply })),
            None => drop(reply.send(Err(StoreError::Stopped))),
        }
    }
    drop(shared);
    drop(permit);
}

/// Refuses what was in an object that may not have arrived; what needs no object remains.
fn refuse_placed(waiting: Vec<Waiting>) -> Vec<Waiting> {
    let (placed, others) = waiting.into_iter().partition::<Vec<_>, _>(|waiting| waiting.arrival.placed.is_some());
    placed.into_iter().for_each(|waiting| waiting.reply.refuse(StoreError::Away));
    others
}

/// Checks and hashes chunks, and lays those that are not there yet into one object.
fn prepare(shared: &Shared, batch: Vec<Job>) -> (Vec<Waiting>, Option<Package>) {
    let (mut waiting, mut package) = (Vec::new(), None);
    for job in batch {
        let (chunk, seen, rewrite, reply) = match job {
            Job::Store { chunk, rewrite, reply } => (chunk, None, rewrite, Reply::Store(reply)),
            Job::Move { chunk, seen, reply } => (chunk, Some(seen), true, Reply::Move(reply, seen)),
            Job::Stop { .. } => continue,
        };
        match take(shared, &chunk, seen.as_ref(), rewrite, &mut package) {
            Ok((placed, values)) => {
                let (id, tag, root, len) = (chunk.id, chunk.tag, chunk.root, chunk.len());
                let chunk = placed.is_none().then_some(chunk);
                waiting.push(Waiting { arrival: Arrival { id, tag, root, len, placed }, values, chunk, reply });
            }
            Err(error) => reply.refuse(error),
        }
    }
    (waiting, package)
}

/// Lays a chunk into the object unless it is there already.
fn take(
    shared: &Shared,
    chunk: &NewChunk,
    moved: Option<&Entry>,
    rewrite: bool,
    package: &mut Option<Package>,
) -> Result<(Option<Place>, Vec<u8>), StoreError> {
    let len = chunk.len();
    if len == 0 || len > CHUNK_MAX {
        return Err(StoreError::InvalidLength);
    }
    match shared.books.health() {
        Health::Failed(reason) => return Err(StoreError::ReadOnly(reason)),
        Health::Away(_) => return Err(StoreError::Away),
        Health::Writable | Health::Full => {}
    }
    match shared.books.index.get(chunk.id)? {
        Some(entry) if !entry.is(&chunk.root, chunk.tag, len) => return Err(StoreError::OtherContent),
        Some(entry) if entry.is_good() && !rewrite => return Ok((None, Vec::new())),
        _ => {}
    }
    let wanted = if package.is_none() { VOLUME_HEADER + span(len) } else { span(len) };
    let moving = moved.is_some();
    let full = || {
        if !moving {
            shared.books.set_full(shared.room() < VOLUME_MIN);
        }
        StoreError::Full
    };
    // Before the work of hashing it; whether there is room is decided behind it.
    if !moving && shared.room() < wanted {
        return Err(full());
    }
    let mut hasher = GroupHasher::new(len);
    chunk.pieces.iter().for_each(|piece| hasher.update(piece));
    let hashed = hasher.finish().filter(|hashed| hashed.root == chunk.root).ok_or(StoreError::WrongBytes)?;
    if !shared.claim(wanted, moving) {
        return Err(full());
    }
    if package.is_none() {
        let number = shared.number().inspect_err(|_| shared.release(wanted))?;
        let pieces = vec![Bytes::from(encode_volume_header(&shared.key, number))];
        *package = Some(Package { number, pieces, len: VOLUME_HEADER });
    }
    let Some(package) = package else { return Err(StoreError::Stopped) };
    let at = moved.map_or_else(|| shared.books.now(), |seen| seen.stored_at);
    let header = RecordHeader { id: chunk.id, tag: chunk.tag, len, root: chunk.root, stored_at: at };
    let values = hashed.values.into_flattened();
    package.pieces.push(Bytes::copy_from_slice(&header.encode(&shared.key)));
    package.pieces.extend(chunk.pieces.iter().cloned());
    package.pieces.push(Bytes::copy_from_slice(&values));
    let padding = usize::try_from(span(len) - record_len(len)).unwrap_or(0);
    package.pieces.push(Bytes::from_static(ZEROS).slice(..padding));
    let place = Place { volume: package.number, offset: package.len, at };
    package.len += span(len);
    // What is written anew says nothing about room for what arrives.
    if !moving {
        shared.books.set_full(false);
    }
    Ok((Some(place), values))
}

/// What the index made of a chunk.
enum Entered {
    Stored(Decision),
    Moved,
}

/// Enters a batch into the index, durably, and answers. What has to be written after all is handed back.
fn commit(
    shared: &Shared,
    batch: Vec<Waiting>,
    object: Option<(u32, u64)>,
) -> Vec<(NewChunk, oneshot::Sender<Result<Stored, StoreError>>)> {
    let now = shared.books.now();
    let entered = shared.books.index.write(Durability::Immediate, |tables| {
        if let Some((number, len)) = object {
            tables.row(number).tail = len;
        }
        batch.iter().map(|waiting| enter_one(tables, waiting, now)).collect::<Result<Vec<_>, StoreError>>()
    });
    if let Some((_, len)) = object {
        shared.release(len);
    }
    let entered = match entered {
        Ok(entered) => entered,
        Err(error) => {
            let reason = error.to_string();
            shared.books.set_failed(&reason);
            for waiting in batch {
                waiting.reply.refuse(StoreError::ReadOnly(reason.clone()));
            }
            return Vec::new();
        }
    };
    metrics::histogram!("cyx_node_batch_chunks").record(u32::try_from(batch.len()).unwrap_or(u32::MAX));
    let mut again = Vec::new();
    for (waiting, entered) in batch.into_iter().zip(entered) {
        match (entered, waiting.reply, waiting.chunk) {
            (Entered::Stored(Decision::Stored(stored)), Reply::Store(reply), _) => drop(reply.send(Ok(stored))),
            (Entered::Stored(Decision::Refused(error)), reply, _) => reply.refuse(error),
            (Entered::Stored(Decision::Again), Reply::Store(reply), Some(chunk)) => again.push((chunk, reply)),
            (Entered::Moved, Reply::Move(reply, _), _) => drop(reply.send(Ok(()))),
            (_, reply, _) => reply.refuse(StoreError::Stopped),
        }
    }
    again
}

fn enter_one(tables: &mut Tables<'_>, waiting: &Waiting, now: u64) -> Result<Entered, StoreError> {
    let arrival = &waiting.arrival;
    match &waiting.reply {
        Reply::Store(_) => {
            let decision = enter(tables, arrival, now, &mut false)?;
            if arrival.placed.is_some() && matches!(decision, Decision::Stored(_)) {
                tables.put_values(arrival.id, &waiting.values)?;
            }
            Ok(Entered::Stored(decision))
        }
        Reply::Move(_, seen) => {
            move_one(tables, arrival.id, arrival.placed, seen)?;
            Ok(Entered::Moved)
        }
    }
}

/// Lets a chunk be where it was written anew, in whatever state it is by now, if it is still where it was seen.
fn move_one(tables: &mut Tables<'_>, id: ChunkId, placed: Option<Place>, seen: &Entry) -> Result<(), StoreError> {
    let Some(place) = placed else { return Ok(()) };
    match tables.get(id)? {
        Some(entry) if (entry.volume, entry.offset, entry.root) == (seen.volume, seen.offset, seen.root) => {
            // It was read whole and proved to be what was stored.
            let state = if entry.state == ChunkState::Damaged { ChunkState::Live } else { entry.state };
            let moved = Entry { volume: place.volume, offset: place.offset, state, was_damaged: false, ..entry };
            tables.put(id, &moved)
        }
        _ => tables.reclaim(place.volume, place.offset, span(seen.len)),
    }
}
