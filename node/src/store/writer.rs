//! The two threads behind [`super::ChunkStore::store`]: one verifies and appends, the other syncs and acknowledges.
//!
//! The first copies a chunk into the staging buffer and hashes it on the way, unless that was done while it arrived. While the second waits for the disk, the first
//! appends what arrives; all of that is the next batch. A batch costs one
//! `fdatasync` per volume it touched (nearly always one) and one index transaction, however many chunks it has. The order is
//! what makes an acknowledgement true: bytes written, volume synced, index committed, then the answer.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cyx_core::chunk::Root;
use cyx_core::ids::{BucketTag, ChunkId};
use cyx_core::units::CHUNK_MAX;
use redb::Durability;
use tokio::sync::oneshot;

use super::disk::{Shared, VOLUME_MIN};
use super::enter::{Arrival, Decision, Place, enter};
use super::groups::GroupHasher;
use super::record::{RecordHeader, VOLUME_HEADER, record_len, span};
use super::staging::{Output, Staging};
use super::volume::{Volume, is_short_of_files};
use super::whole::WholeChunk;
use super::{Health, NewChunk, StoreError, Stored};

/// Most chunks of one batch.
const BATCH_MAX: usize = 1024;
/// Staged bytes that are written and handed over without waiting for more.
const HAND_OVER: u64 = 1 << 20;
/// Bytes that are copied and then hashed while they are still in the processor's nearest cache.
const PART: usize = 16 * 1024;
/// The index is made durable when nothing was stored for this long.
const IDLE: Duration = Duration::from_secs(1);

type Reply = oneshot::Sender<Result<Stored, StoreError>>;

/// What the first thread is asked.
pub(crate) enum Job {
    /// Store a chunk; `rewrite` says that the copy which seemed to be there is not good.
    Store { chunk: Incoming, rewrite: bool, reply: Reply },
    /// Finish what was asked before, make all durable, end.
    Stop { reply: oneshot::Sender<Result<(), StoreError>> },
}

/// A chunk as it is handed to the store.
pub(crate) enum Incoming {
    Pieces(NewChunk),
    Whole(Box<WholeChunk>),
}

impl Incoming {
    fn id(&self) -> ChunkId {
        match self {
            Self::Pieces(chunk) => chunk.id,
            Self::Whole(chunk) => chunk.id,
        }
    }

    fn tag(&self) -> BucketTag {
        match self {
            Self::Pieces(chunk) => chunk.tag,
            Self::Whole(chunk) => chunk.tag,
        }
    }

    fn root(&self) -> Root {
        match self {
            Self::Pieces(chunk) => chunk.root,
            Self::Whole(chunk) => chunk.root,
        }
    }

    fn len(&self) -> u64 {
        match self {
            Self::Pieces(chunk) => chunk.len(),
            Self::Whole(chunk) => chunk.len(),
        }
    }
}

/// What the second thread is asked.
enum Finish {
    Chunk(Pending),
    Stop { reply: oneshot::Sender<Result<(), StoreError>> },
}

/// A chunk on its way to being durable.
struct Pending {
    arrival: Arrival,
    /// The volume that it was appended to.
    volume: Option<Arc<Volume>>,
    /// Kept until it is certain that a chunk which seemed to be there really is.
    chunk: Option<Incoming>,
    reply: Reply,
}

/// Where the next record goes.
pub(crate) struct Active {
    pub(crate) volume: Arc<Volume>,
    pub(crate) tail: u64,
}

/// The handle to both threads.
pub(crate) struct Writer {
    jobs: mpsc::Sender<Job>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Writer {
    pub(crate) fn start(shared: Arc<Shared>, active: Active) -> Result<Self, StoreError> {
        shared.active.store(u64::from(active.volume.number), Ordering::SeqCst);
        let (jobs, queue) = mpsc::channel();
        let (finish, finishing) = mpsc::channel();
        let syncer = Syncer { shared: Arc::clone(&shared), again: jobs.clone(), unsaved: 0 };
        let out = Output::open(&shared.volume_folder, active.volume.number, shared.options.direct)
            .map_err(StoreError::io("open a volume"))?;
        let staging = Staging::new(active.tail);
        let (volume, unwritten) = (active.volume, Vec::new());
        let appender = Appender { shared, volume, out, staging, unwritten, staged: 0, finish };
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.to_owned()).spawn(work).map_err(StoreError::io("start a thread"))
        };
        let threads = vec![
            spawn("cyx-sync", Box::new(move || syncer.run(&finishing)))?,
            spawn("cyx-append", Box::new(move || appender.run(&queue)))?,
        ];
        Ok(Self { jobs, threads: Mutex::new(threads) })
    }

    pub(crate) fn send(&self, job: Job) -> Result<(), StoreError> {
        self.jobs.send(job).map_err(|_| StoreError::Stopped)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let (reply, _) = oneshot::channel();
        // A thread that is gone already is what is wanted.
        let _ = self.jobs.send(Job::Stop { reply });
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the chunk store panicked");
            }
        }
    }
}

struct Appender {
    shared: Arc<Shared>,
    volume: Arc<Volume>,
    out: Output,
    staging: Staging,
    /// Chunks whose last bytes may still be in the staging buffer.
    unwritten: Vec<Pending>,
    /// Bytes staged since chunks were last handed over.
    staged: u64,
    finish: mpsc::Sender<Finish>,
}

impl Appender {
    fn run(mut self, queue: &mpsc::Receiver<Job>) {
        loop {
            // Small chunks that wait together leave in one write; nobody waits for chunks that have not come yet.
            let job = match queue.try_recv() {
                Ok(job) => Some(job),
                Err(_) if self.unwritten.is_empty() => match queue.recv() {
                    Ok(job) => Some(job),
                    Err(_) => return,
                },
                Err(_) => None,
            };
            match job {
                Some(Job::Store { chunk, rewrite, reply }) => self.store(chunk, rewrite, reply),
                Some(Job::Stop { reply }) => {
                    self.hand_over();
                    drop(self.finish.send(Finish::Stop { reply }));
                    return;
                }
                None => self.hand_over(),
            }
            if self.staged >= HAND_OVER || self.unwritten.len() >= BATCH_MAX {
                self.hand_over();
            }
        }
    }

    fn store(&mut self, mut chunk: Incoming, rewrite: bool, reply: Reply) {
        match self.take(&mut chunk, rewrite) {
            Ok(placed) => {
                let (id, tag, root, len) = (chunk.id(), chunk.tag(), chunk.root(), chunk.len());
                let volume = placed.is_some().then(|| Arc::clone(&self.volume));
                let chunk = placed.is_none().then_some(chunk);
                self.unwritten.push(Pending { arrival: Arrival { id, tag, root, len, placed }, volume, chunk, reply });
            }
            // Whoever asked may have gone; then nobody needs the answer.
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    /// Writes what is staged and passes the chunks on to be synced.
    fn hand_over(&mut self) {
        if !self.staging.is_empty()
            && let Err(error) = self.staging.write(&mut self.out, &*self.shared.options.io)
        {
            // Nobody is left to be told but those it concerns.
            drop(self.write_failed(&error));
        }
        self.staged = 0;
        for pending in self.unwritten.drain(..) {
            // If the other thread has ended, dropping the reply says so.
            drop(self.finish.send(Finish::Chunk(pending)));
        }
    }

    /// Stages the chunk unless it is there already.
    fn take(&mut self, chunk: &mut Incoming, rewrite: bool) -> Result<Option<Place>, StoreError> {
        let len = chunk.len();
        if len == 0 || len > CHUNK_MAX {
            return Err(StoreError::InvalidLength);
        }
        if let Health::Failed(reason) = self.shared.books.health() {
            return Err(StoreError::ReadOnly(reason));
        }
        match self.shared.books.index.get(chunk.id())? {
            Some(entry) if !entry.is(&chunk.root(), chunk.tag(), len) => return Err(StoreError::OtherContent),
            Some(entry) if entry.is_good() && !rewrite => return Ok(None),
            _ => {}
        }
        let span = span(len);
        if self.shared.room() < span {
            self.shared.books.set_full(self.shared.room() < VOLUME_MIN);
            return Err(StoreError::Full);
        }
        let stored_at = self.shared.books.now();
        match self.make_room_in_volume(len) {
            Ok(()) => {}
            // Nothing was written to the volume that could not be begun, and the next chunk may begin it.
            Err(source) if is_short_of_files(&source) => {
                return Err(StoreError::Io { doing: "begin a volume", source });
            }
            Err(error) => return Err(self.write_failed(&error)),
        }
        let offset = self.staging.position();
        match self.stage(chunk, len, stored_at) {
            Ok(true) => {}
            Ok(false) => {
                self.staging.rewind(offset);
                return Err(StoreError::WrongBytes);
            }
            Err(error) => {
                self.staging.rewind(offset);
                return Err(self.write_failed(&error));
            }
        }
        if self.shared.books.health() == Health::Full {
            self.shared.books.set_full(false);
        }
        self.staged += span;
        self.shared.books.pending.fetch_add(span, Ordering::Relaxed);
        Ok(Some(Place { volume: self.volume.number, offset, at: stored_at }))
    }

    /// Begins another volume if the record would make this one too large.
    fn make_room_in_volume(&mut self, len: u64) -> io::Result<()> {
        let (options, tail) = (&self.shared.options, self.staging.position());
        if tail == VOLUME_HEADER || tail + record_len(len) <= options.volume_max.max(VOLUME_MIN) {
            return Ok(());
        }
        self.hand_over();
        let (options, folder) = (&self.shared.options, &self.shared.volume_folder);
        let number = self.volume.number + 1;
        let volume = Volume::create(folder, number, &self.shared.key, Arc::clone(&options.io))?;
        self.out = Output::open(folder, number, options.direct)?;
        self.volume = Arc::new(volume);
        self.shared.add_volume(&self.volume);
        self.staging.rewind(VOLUME_HEADER);
        Ok(())
    }

    /// Copies a record into the staging buffer and hashes it on the way, while it is in the processor's cache; what was put together
    /// as it arrived is written from where it lies. `false` if the bytes are not what was announced; some of them may be in the volume then, where nothing refers to them.
    fn stage(&mut self, chunk: &mut Incoming, len: u64, stored_at: u64) -> io::Result<bool> {
        let (out, io) = (&mut self.out, &*self.shared.options.io);
        let header = RecordHeader { id: chunk.id(), tag: chunk.tag(), len, root: chunk.root(), stored_at };
        let header = header.encode(&self.shared.key);
        let chunk = match chunk {
            Incoming::Pieces(chunk) => chunk,
            Incoming::Whole(chunk) => {
                let right = chunk.is_right();
                if right {
                    self.staging.pass(chunk.record(&header), out, io)?;
                }
                return Ok(right);
            }
        };
        self.staging.put(&header, out, io)?;
        let mut hasher = GroupHasher::new(len);
        for part in chunk.pieces.iter().flat_map(|piece| piece.chunks(PART)) {
            self.staging.put(part, out, io)?;
            hasher.update(part);
        }
        let Some(hashed) = hasher.finish().filter(|hashed| hashed.root == chunk.root) else { return Ok(false) };
        self.staging.put(hashed.values.as_flattened(), out, io)?;
        self.staging.pad(out, io)?;
        Ok(true)
    }

    /// Refuses all chunks that were staged, because it is not known which of their bytes arrived, and goes back to where the
    /// first of them began. A full disk is a state that passes; any other failure of a write is final.
    fn write_failed(&mut self, error: &io::Error) -> StoreError {
        let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        let reason = format!("cannot write a volume: {error}");
        let refusal = || if full { StoreError::Full } else { StoreError::ReadOnly(reason.clone()) };
        let (staged, renewals) =
            std::mem::take(&mut self.unwritten).into_iter().partition(|pending| pending.arrival.placed.is_some());
        self.unwritten = renewals;
        let staged: Vec<Pending> = staged;
        if let Some(first) = staged.first().and_then(|first| first.arrival.placed) {
            self.staging.rewind(first.offset);
        }
        if full {
            // What was written is overwritten by the next record or cut off by a recovery; giving it back now helps others.
            let _ = self.volume.file.set_len(self.staging.position());
            self.shared.books.set_full(true);
        } else {
            self.shared.books.set_failed(&reason);
        }
        for pending in staged {
            self.shared.books.pending.fetch_sub(span(pending.arrival.len), Ordering::Relaxed);
            drop(pending.reply.send(Err(refusal())));
        }
        refusal()
    }
}

struct Syncer {
    shared: Arc<Shared>,
    again: mpsc::Sender<Job>,
    /// Bytes whose index entries are committed but not durable yet.
    unsaved: u64,
}

impl Syncer {
    fn run(mut self, finishing: &mpsc::Receiver<Finish>) {
        loop {
            let mut next = match finishing.recv_timeout(IDLE) {
                Ok(first) => Some(first),
                Err(RecvTimeoutError::Timeout) => {
                    self.save();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => {
                    self.save();
                    return;
                }
            };
            let mut batch = Vec::new();
            let mut stop = None;
            while let Some(finish) = next.take() {
                match finish {
                    Finish::Chunk(pending) => batch.push(pending),
                    Finish::Stop { reply } => {
                        stop = Some(reply);
                        break;
                    }
                }
                if batch.len() < BATCH_MAX {
                    next = finishing.try_recv().ok();
                }
            }
            if !batch.is_empty() {
                self.finish(batch);
            }
            if let Some(reply) = stop {
                drop(reply.send(self.shared.books.index.flush()));
                return;
            }
        }
    }

    /// Makes the index durable if anything in it is not.
    fn save(&mut self) {
        if self.unsaved > 0 {
            match self.shared.books.index.flush() {
                Ok(()) => self.unsaved = 0,
                Err(error) => self.shared.books.set_failed(&error.to_string()),
            }
        }
    }

    fn finish(&mut self, batch: Vec<Pending>) {
        let placed = batch.iter().map(|pending| &pending.arrival).filter(|arrival| arrival.placed.is_some());
        let spans = placed.map(|arrival| span(arrival.len)).sum();
        // The system tells of a failed write once: after one, a sync that succeeds says nothing about what was written before.
        let decisions = match self.shared.books.health() {
            Health::Failed(reason) => Err(StoreError::ReadOnly(reason)),
            _ => self.sync(&batch).and_then(|()| self.commit(&batch, spans)),
        };
        self.shared.books.pending.fetch_sub(spans, Ordering::Relaxed);
        match decisions {
            Ok(decisions) => {
                for (pending, decision) in batch.into_iter().zip(decisions) {
                    self.answer(pending, decision);
                }
            }
            Err(error) => {
                let reason = match error {
                    StoreError::ReadOnly(reason) => reason,
                    other => other.to_string(),
                };
                self.shared.books.set_failed(&reason);
                for pending in batch {
                    drop(pending.reply.send(Err(StoreError::ReadOnly(reason.clone()))));
                }
            }
        }
    }

    fn answer(&self, pending: Pending, decision: Decision) {
        let answer = match (decision, pending.chunk) {
            (Decision::Stored(stored), _) => Ok(stored),
            (Decision::Refused(error), _) => Err(error),
            (Decision::Again, Some(chunk)) => {
                // If the other thread has ended, dropping the reply says so.
                let _ = self.again.send(Job::Store { chunk, rewrite: true, reply: pending.reply });
                return;
            }
            (Decision::Again, None) => Err(StoreError::Stopped),
        };
        drop(pending.reply.send(answer));
    }

    fn sync(&self, batch: &[Pending]) -> Result<(), StoreError> {
        let volumes: BTreeMap<u32, &Arc<Volume>> =
            batch.iter().filter_map(|pending| pending.volume.as_ref()).map(|volume| (volume.number, volume)).collect();
        for volume in volumes.values() {
            let begun = Instant::now();
            volume.sync().map_err(|error| StoreError::ReadOnly(format!("cannot sync a volume: {error}")))?;
            metrics::histogram!("cyx_node_fsync_seconds").record(begun.elapsed());
        }
        Ok(())
    }

    fn commit(&mut self, batch: &[Pending], spans: u64) -> Result<Vec<Decision>, StoreError> {
        // Renewed times stand nowhere but in the index, so they have to be durable with it.
        let renewals = batch.iter().any(|pending| pending.arrival.placed.is_none());
        let durable = renewals || self.unsaved.saturating_add(spans) >= self.shared.options.checkpoint;
        let durability = if durable { Durability::Immediate } else { Durability::None };
        let now = self.shared.books.now();
        let (decisions, renewed) = self.shared.books.index.write(durability, |tables| {
            let mut renewed = false;
            let decisions = batch
                .iter()
                .map(|pending| enter(tables, &pending.arrival, now, &mut renewed))
                .collect::<Result<Vec<_>, StoreError>>()?;
            Ok((decisions, renewed))
        })?;
        if renewed && !durable {
            self.shared.books.index.flush()?;
        }
        self.unsaved = if durable || renewed { 0 } else { self.unsaved.saturating_add(spans.max(1)) };
        let newest = batch.iter().filter_map(|pending| pending.arrival.placed).map(|place| place.volume).max();
        if let Some(newest) = newest {
            // Only now can an older volume be empty for good: nothing that was appended to it is on its way any more.
            self.shared.active.fetch_max(u64::from(newest), Ordering::SeqCst);
        }
        metrics::histogram!("cyx_node_batch_chunks").record(u32::try_from(batch.len()).unwrap_or(u32::MAX));
        Ok(decisions)
    }
}
