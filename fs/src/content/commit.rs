//! Changes become versions. What was changed up to a moment is frozen as a list of places in the journal, stored and committed
//! while programs go on writing; what they write meanwhile lies over the new version then.
//!
//! | what happened | what becomes of the changes |
//! |---|---|
//! | committed | they are forgotten, the journal may drop them |
//! | somebody else was faster, or removed the file | they stay, the content is lost: whoever looks after names makes a conflict copy of it |
//! | this machine removed the file meanwhile | they stay for as long as it is open |
//! | what a copy by reference refers to is gone | its bytes are written instead, if they can still be read here |
//! | the network failed | they stay, it is tried again; whether it was committed after all shows in the version that is found then |

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use cyx_client::Error;
use cyx_client::transfer::{KnownVersion, PlainSource};
use cyx_core::error::ErrorCode;
use cyx_core::ids::{BucketId, TimeOrdered as _, TxnId};
use futures_util::future::FutureExt as _;
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use super::changes::{Changes, Kind, Runs};
use super::error::{ContentError, Result, is_outage, journal_error};
use super::records::{copy_from, copy_out};
use super::remote::{Change, Intents, Outcome, Remember, Shared as SharedRange};
use super::store::{Shared, Store, StoreEvent};
use super::{Content, Inner};
use crate::journal::{FileId, Intent, Journal, JournalError, Pins, PlainRecord, Position, bound};

/// The changes of a content at one moment.
struct Frozen {
    content: Arc<Content>,
    _committing: OwnedMutexGuard<()>,
    upto: u64,
    pins: Pins,
    intents: Vec<Intent>,
    base: KnownVersion,
}

/// Reads what was written from the journal.
pub(super) struct Written {
    pub(super) journal: Journal,
    pub(super) changes: Changes,
    /// A record of which only a part was asked for: the rest will be.
    pub(super) memo: Mutex<Option<(u64, Arc<PlainRecord>)>>,
}

impl Written {
    /// A record. Several segments of a file are made at a time, so only what is of use to the next call stands in the others' way.
    fn record(&self, position: Position, whole: bool) -> io::Result<Arc<PlainRecord>> {
        let memo = || self.memo.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, record)) = memo().as_ref().filter(|(sequence, _)| *sequence == position.sequence) {
            return Ok(Arc::clone(record));
        }
        let record = Arc::new(self.journal.read(position).map_err(io::Error::other)?);
        if !whole {
            *memo() = Some((position.sequence, Arc::clone(&record)));
        }
        Ok(record)
    }
}

impl PlainSource for Written {
    fn read_at(&self, offset: u64, plain: &mut [u8]) -> io::Result<()> {
        for part in self.changes.parts(offset..offset + plain.len() as u64) {
            let from = usize::try_from(part.range.start - offset).unwrap_or(usize::MAX);
            let len = usize::try_from(part.range.end - part.range.start).unwrap_or(usize::MAX);
            let room = plain.get_mut(from..).and_then(|rest| rest.get_mut(..len));
            let (Some(room), Some(Kind::Data { position, skip })) = (room, part.kind) else {
                return Err(io::Error::other("what was written is not in the journal"));
            };
            let whole = skip == 0 && room.len() as u64 == position.written();
            if let Some(data) = self.journal.recently_written(position, whole) {
                copy_from(&data, skip, room).map_err(io::Error::other)?;
                continue;
            }
            let record = self.record(position, whole)?;
            copy_out(&record, skip, room).map_err(io::Error::other)?;
        }
        Ok(())
    }

    fn take_held(&self, range: Range<u64>) -> Option<Vec<Bytes>> {
        let parts = self.changes.parts(range).into_iter();
        let held = parts.map(|part| {
            let Some(Kind::Data { position, skip }) = part.kind else { return None };
            let len = part.range.end - part.range.start;
            let data = self.journal.recently_written(position, false)?;
            let (from, to) = (usize::try_from(skip).ok()?, usize::try_from(skip + len).ok()?);
            let whole = (skip == 0 && len == position.written()).then_some(position);
            (to <= data.len()).then(|| (data.slice(from..to), whole))
        });
        let held = held.collect::<Option<Vec<_>>>()?;
        // Not before all are there: what is read from the journal is taken from here piece by piece.
        held.iter().filter_map(|(_, whole)| *whole).for_each(|position| {
            let _ = self.journal.recently_written(position, true);
        });
        Some(held.into_iter().map(|(bytes, _)| bytes).collect())
    }
}

impl Content {
    /// Freezes the changes there are; `None` if there are none, or they must not be committed.
    async fn freeze(self: &Arc<Self>, committing: OwnedMutexGuard<()>) -> Option<Result<(Frozen, Change)>> {
        if !self.is_dirty() {
            return self.clean_late().err().map(Err);
        }
        let version = match self.base().await {
            Ok(version) => version,
            Err(error) => return Some(Err(error)),
        };
        let mut inner = self.inner();
        if !inner.is_dirty() {
            return None;
        }
        if inner.lost {
            return Some(Err(ContentError::Lost));
        }
        if inner.filling {
            return Some(Err(ContentError::Filling));
        }
        (inner.soon, inner.grown) = (false, 0);
        let Runs { data, holes, shared } = inner.changes.runs(inner.len);
        let mut ranges = Vec::with_capacity(shared.len());
        for (range, sequence, skip) in shared {
            let Some(origin) = inner.origins.get(&sequence).map(|origin| origin.skip(skip)) else {
                return Some(Err(JournalError::Damaged.into()));
            };
            ranges.push(SharedRange { range, version: origin.version, offset: origin.offset });
        }
        let source =
            Written { journal: self.store.journal.clone(), changes: inner.changes.clone(), memo: Mutex::default() };
        let change = Change {
            base: Arc::clone(&version),
            size: inner.len,
            data,
            holes,
            shared: ranges,
            source: Arc::new(source),
            ahead: inner.take_ahead(),
            mtime_ns: inner.mtime_ns,
            changed_ns: inner.changed_ns,
            txn: TxnId::now(),
        };
        let frozen = Frozen {
            content: Arc::clone(self),
            _committing: committing,
            upto: inner.newest,
            pins: std::mem::take(&mut inner.pins),
            intents: inner.intents.clone(),
            base: version.known(),
        };
        Some(Ok((frozen, change)))
    }

    /// Changes up to this record are still to be committed.
    fn is_behind(&self, upto: u64) -> bool {
        let inner = self.inner();
        inner.committed < upto && !inner.orphaned
    }

    /// The changes up to some record are this version now.
    fn settled(&self, inner: &mut Inner, version: Arc<dyn super::Version>, upto: u64) -> Result<Pins> {
        inner.version = version.known().version;
        inner.base = Some(version);
        inner.changes.forget(upto);
        inner.origins.retain(|sequence, _| *sequence > upto);
        inner.committed = inner.committed.max(upto);
        inner.intents.retain(|intent| intent.upto > upto);
        (inner.failures, inner.pause, inner.failed) = (0, None, None);
        if !inner.is_dirty() {
            return self.clean(inner);
        }
        inner.since = Some(Instant::now());
        // If it cannot be said now, it is said before the next change.
        inner.logged = false;
        let position = self.store.journal.append_now(&inner.base_record(self.id))?;
        inner.logged = true;
        inner.pins.add(position);
        // Not before: until then a crash leaves it to be found out which version is this machine's.
        self.store.journal.intended(self.id, upto);
        Ok(Pins::default())
    }
}

/// Commits the changes of contents of one bucket together, all that there are by now. Results are in the order of the contents.
pub(super) async fn commit(store: &Arc<Shared>, bucket: BucketId, contents: Vec<Arc<Content>>) -> Vec<Result<()>> {
    let targets: Vec<u64> = contents.iter().map(|content| content.inner().newest).collect();
    let mut results = commit_once(store, bucket, contents.clone()).await;
    loop {
        // An earlier attempt may have been the one that counted, with less in it. Each of those is found once.
        let is_behind = |at: &usize| results[*at].is_ok() && contents[*at].is_behind(targets[*at]);
        let behind: Vec<usize> = (0..contents.len()).filter(is_behind).collect();
        if behind.is_empty() {
            return results;
        }
        let again = behind.iter().map(|at| Arc::clone(&contents[*at])).collect();
        for (at, result) in behind.into_iter().zip(commit_once(store, bucket, again).await) {
            results[at] = result;
        }
    }
}

/// As [`commit`], but Ok as well if only a part is committed, by an earlier attempt.
async fn commit_once(store: &Arc<Shared>, bucket: BucketId, contents: Vec<Arc<Content>>) -> Vec<Result<()>> {
    let mut results: Vec<Option<Result<()>>> = contents.iter().map(|_| None).collect();
    let mut turns: Vec<(usize, Arc<Content>)> = contents.into_iter().enumerate().collect();
    // Everybody takes turns in the same order, so that nobody waits for each other.
    turns.sort_unstable_by_key(|(_, content)| content.id);
    let mut taken = Vec::with_capacity(turns.len());
    for (at, content) in turns {
        let turn = Arc::clone(&content.committing).lock_owned().await;
        taken.push((at, content, turn));
    }
    if !store.is_abandoned() {
        // From here on the work goes on if whoever asked for it gives up: what is under way has to be settled, and what is frozen has its pins
        // until then. Who gives up before leaves nothing behind that would be tried later, again and again while nothing gets through.
        let store = Arc::clone(store);
        let working = tokio::spawn(async move { freeze_and_work(&store, bucket, taken).await });
        match working.await {
            Ok(done) => done.into_iter().for_each(|(at, result)| results[at] = Some(result)),
            Err(error) => tracing::error!(%error, "a commit was cut off"),
        }
    }
    let missing = || Err(ContentError::Client(Error::Interrupted));
    results.into_iter().map(|result| result.unwrap_or_else(missing)).collect()
}

async fn freeze_and_work(
    store: &Arc<Shared>,
    bucket: BucketId,
    turns: Vec<(usize, Arc<Content>, OwnedMutexGuard<()>)>,
) -> Vec<(usize, Result<()>)> {
    let (mut results, mut frozen, mut changes) = (Vec::with_capacity(turns.len()), Vec::new(), Vec::new());
    for (at, content, turn) in turns {
        match content.freeze(turn).await {
            None => results.push((at, Ok(()))),
            Some(Err(error)) => results.push((at, Err(error))),
            Some(Ok((one, change))) => {
                frozen.push((at, one));
                changes.push(change);
            }
        }
    }
    if !changes.is_empty() {
        results.extend(work(store, bucket, frozen, changes).await);
    }
    results
}

async fn work(
    store: &Arc<Shared>,
    bucket: BucketId,
    frozen: Vec<(usize, Frozen)>,
    changes: Vec<Change>,
) -> Vec<(usize, Result<()>)> {
    let noted: Arc<Mutex<Vec<Option<Intent>>>> = Arc::default();
    let upto: Vec<u64> = frozen.iter().map(|(_, one)| one.upto).collect();
    let (journal, remembered) = (store.journal.clone(), Arc::clone(&noted));
    let remember: Remember<'_> = Box::new(move |intents: Intents| {
        async move {
            let to_record = |(intent, upto): (Option<(TxnId, KnownVersion)>, u64)| {
                let (txn, KnownVersion { inode, version, size, root }) = intent?;
                Some(Intent { file: FileId { bucket, inode }, txn, version, size, root, upto })
            };
            let noted: Vec<Option<Intent>> = intents.into_iter().zip(upto).map(to_record).collect();
            let records = noted.iter().flatten().copied().collect();
            *remembered.lock().unwrap_or_else(PoisonError::into_inner) = noted;
            journal.intend(records).await.map_err(journal_error)
        }
        .boxed()
    });
    let outcomes = store.remote.commit(bucket, changes, remember).await;
    let noted = std::mem::take(&mut *noted.lock().unwrap_or_else(PoisonError::into_inner));
    for ((_, one), noted) in frozen.iter().zip(noted) {
        if let Some(noted) = noted {
            let mut inner = one.content.inner();
            inner.intents.push(noted);
            bound(&mut inner.intents);
        }
    }
    let mut results = Vec::with_capacity(frozen.len());
    let mut is_over = false;
    for ((at, one), outcome) in frozen.into_iter().zip(outcomes) {
        let had_failed = one.content.inner().is_outage();
        let result = settle(store, one, outcome).await;
        is_over |= had_failed && result.is_ok();
        results.push((at, result));
    }
    if is_over {
        store.try_again();
    }
    results
}

async fn settle(store: &Arc<Shared>, one: Frozen, outcome: Result<Outcome, Error>) -> Result<()> {
    let Frozen { content, upto, pins, intents, base, .. } = one;
    let (outcome, upto) = match outcome {
        Ok(Outcome::Lost(error)) => match earlier(store, &content, &intents, base).await {
            Ok(Some((upto, version))) => (Ok(Outcome::Committed(version)), upto),
            Ok(None) => (Ok(Outcome::Lost(error)), upto),
            Err(error) => (Err(error), upto),
        },
        other => (other, upto),
    };
    let id = content.id;
    match outcome {
        Ok(Outcome::Committed(version)) => {
            let known = version.known();
            let (released, clean) = {
                let mut inner = content.inner();
                let released = content.settled(&mut inner, version, upto);
                let clean = !inner.is_dirty();
                if released.is_err() || inner.committed < one.upto {
                    // An earlier attempt was the one; the rest of the changes still needs what it has.
                    inner.pins.merge(pins);
                    (released, clean)
                } else {
                    drop(inner);
                    store.journal.release(pins);
                    (released, clean)
                }
            };
            match released {
                Ok(released) => {
                    if clean {
                        store.mark_clean(id);
                    }
                    store.journal.release(released);
                }
                // Everybody can see the version all the same.
                Err(error) => {
                    tracing::warn!(file = %id.inode, %error, "the journal does not say yet what was committed");
                    content.inner().pause(false);
                    store.wake.notify_one();
                }
            }
            store.tell(StoreEvent::Committed { content, version: known.version, size: known.size });
            Ok(())
        }
        Ok(Outcome::Lost(_)) if content.is_orphaned() => {
            content.inner().pins.merge(pins);
            Ok(())
        }
        Ok(Outcome::Lost(error)) => {
            tracing::warn!(file = %id.inode, %error, "somebody else committed first");
            {
                let mut inner = content.inner();
                inner.pins.merge(pins);
                inner.lost = true;
            }
            store.tell(StoreEvent::Lost { file: id });
            Err(ContentError::Lost)
        }
        Err(error) => {
            let lacks_shared = content.lacks_shared(&error);
            if lacks_shared {
                let content = Arc::clone(&content);
                // The bytes may be many.
                tokio::spawn(async move { content.take_bytes().await });
            }
            if matches!(error.code(), ErrorCode::NotFound | ErrorCode::PermissionDenied) {
                store.tell(StoreEvent::Refused);
            }
            let renewed = error.code() == ErrorCode::StaleKey && renew_keys(store, &content).await;
            let is_news = {
                let mut inner = content.inner();
                inner.pins.merge(pins);
                if renewed {
                    (inner.failures, inner.soon) = (0, true);
                }
                inner.pause(is_outage(&error));
                inner.failed = Some(error.to_string());
                let is_news = !renewed && !lacks_shared && !inner.told && inner.failures >= patience(&error);
                inner.told |= is_news;
                is_news
            };
            tracing::debug!(file = %id.inode, %error, "changes are not committed yet");
            if is_news {
                store.tell(StoreEvent::Failing { error: error.to_string() });
            }
            store.wake.notify_one();
            Err(error.into())
        }
    }
}

/// After so many failures in a row somebody is told: what passes by itself mostly has by then.
fn patience(error: &Error) -> u32 {
    if is_outage(error) { 4 } else { 1 }
}

impl Content {
    /// Whether a commit failed because what it shares with other files is not there any more.
    pub(super) fn lacks_shared(&self, error: &Error) -> bool {
        self.shares() && matches!(error.code(), ErrorCode::InvalidArgument | ErrorCode::NotFound)
    }

    /// What it shares with other files is not there any more when it is to be committed: the bytes are written instead, as far as this machine
    /// can still read them.
    async fn take_bytes(&self) {
        match self.unshare().await {
            Ok(()) => self.upload_soon(),
            Err(error) => {
                tracing::warn!(file = %self.id.inode, %error, "what is shared with another file cannot be read");
                self.store.tell(StoreEvent::Unreadable { file: self.id });
            }
        }
    }
}

impl Store {
    /// It took too long: with what a commit of something that is still dirty failed for last, if one did.
    pub(super) fn late(&self) -> ContentError {
        let failed = self.dirty().iter().find_map(|content| content.inner().failed.clone());
        failed.map_or(ContentError::Deadline, ContentError::Late)
    }
}

/// Gets the keys of a file whose key was replaced since it was opened. Whether there are any.
async fn renew_keys(store: &Arc<Shared>, content: &Arc<Content>) -> bool {
    let id = content.id;
    let keys = match store.remote.keys(id).await {
        Ok(Some(keys)) => keys,
        Ok(None) => return false,
        Err(error) => {
            tracing::debug!(%error, file = %id.inode, "the newest key is not known");
            return false;
        }
    };
    let mut inner = content.inner();
    if let Some(base) = inner.base.clone() {
        match store.remote.known(id.bucket, keys.clone(), base.known(), &inner.what) {
            Ok(version) => inner.base = Some(version),
            Err(_) => return false,
        }
    }
    inner.keys = keys;
    true
}

/// Whether an earlier attempt, whose answer was lost, was the one that won.
async fn earlier(
    store: &Arc<Shared>,
    content: &Arc<Content>,
    intents: &[Intent],
    base: KnownVersion,
) -> Result<Option<(u64, Arc<dyn super::Version>)>, Error> {
    let what = content.inner().what.clone();
    for &Intent { version, size, root, upto, .. } in intents.iter().rev() {
        let next = KnownVersion { inode: content.id.inode, version, size, root };
        if version == base.version + 1 && store.remote.is_committed(content.id.bucket, next, &what).await? {
            let keys = content.inner().keys.clone();
            return Ok(Some((upto, store.remote.known(content.id.bucket, keys, next, &what)?)));
        }
    }
    Ok(None)
}
