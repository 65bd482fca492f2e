//! A server and nodes in memory.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use cyx_client::Error;
use cyx_client::transfer::{FileReader, KnownVersion, PlainSource};
use cyx_core::error::ErrorCode;
use cyx_core::extent::PageId;
use cyx_core::ids::{BucketId, random_bytes};
use cyx_crypto::keys::InodeKey;
use cyx_crypto::wrap::InodeKeyring;
use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::content::remote::{Brought, Change, OnItsWay, Outcome, Remember, Remote, Sent, Version};
use crate::journal::FileId;

/// How the server behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Behaviour {
    #[default]
    Works,
    /// Commits happen, but nobody hears of it.
    LosesAnswers,
    /// Nothing is committed.
    Refuses,
    /// Nothing is committed, because the plan is used up.
    IsFull,
    /// What copies refer to is gone.
    LacksShared,
    /// And nothing can be read of it.
    LosesShared,
}

type Bytes = Arc<Vec<Option<u8>>>;
type Ranges = (Vec<Range<u64>>, Vec<Range<u64>>);

#[derive(Default)]
struct State {
    files: HashMap<FileId, Vec<(PageId, Bytes)>>,
    times: HashMap<FileId, (i64, i64)>,
    behaviour: Behaviour,
    sent: Vec<Ranges>,
    /// Pieces that were stored ahead of a commit, those that were refused, and those that commits have used.
    ahead: usize,
    /// Of these, those whose bytes were still in memory.
    held: usize,
    refused: usize,
    used: usize,
    /// Changes that were to be committed.
    tried: usize,
    /// Reads of versions.
    reads: usize,
    /// Bytes that are brought ahead of readers in a second, one piece after the other; all at once if it is 0.
    rate: u64,
    /// Up to here everything is in the cache.
    cached: u64,
    link: Arc<tokio::sync::Mutex<()>>,
}

pub(super) struct MemoryRemote {
    state: Arc<Mutex<State>>,
    gate: Arc<Semaphore>,
    arrived: Notify,
}

impl Default for MemoryRemote {
    fn default() -> Self {
        Self { state: Arc::default(), gate: Arc::new(Semaphore::new(1)), arrived: Notify::new() }
    }
}

struct MemoryVersion {
    known: KnownVersion,
    keys: InodeKeyring,
    bytes: Bytes,
    state: Arc<Mutex<State>>,
}

impl MemoryRemote {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn behave(&self, behaviour: Behaviour) {
        self.state().behaviour = behaviour;
    }

    pub(super) fn bring_slowly(&self, rate: u64) {
        self.state().rate = rate;
    }

    /// As if everything before this place was in the cache.
    pub(super) fn have_cached(&self, before: u64) {
        self.state().cached = before;
    }

    /// Commits wait until this is dropped.
    pub(super) fn pause(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.gate).try_acquire_owned().unwrap()
    }

    /// Waits until a commit waits.
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Number of the newest version; 0 if there is none.
    pub(super) fn newest_number(&self, file: FileId) -> u64 {
        self.state().files.get(&file).map_or(0, |versions| versions.len() as u64)
    }

    pub(super) fn cells(&self, file: FileId) -> Vec<Option<u8>> {
        self.state()
            .files
            .get(&file)
            .and_then(|versions| versions.last())
            .map(|(_, bytes)| bytes.to_vec())
            .unwrap_or_default()
    }

    pub(super) fn content(&self, file: FileId) -> Vec<u8> {
        self.cells(file).into_iter().map(Option::unwrap_or_default).collect()
    }

    pub(super) fn sent(&self) -> Vec<Ranges> {
        self.state().sent.clone()
    }

    pub(super) fn held(&self) -> usize {
        self.state().held
    }

    pub(super) fn ahead(&self) -> usize {
        self.state().ahead
    }

    pub(super) fn refused(&self) -> usize {
        self.state().refused
    }

    pub(super) fn used(&self) -> usize {
        self.state().used
    }

    pub(super) fn reads(&self) -> usize {
        self.state().reads
    }

    pub(super) fn tried(&self) -> usize {
        self.state().tried
    }

    pub(super) fn times(&self, file: FileId) -> (i64, i64) {
        self.state().times[&file]
    }

    pub(super) fn commit_elsewhere(&self, file: FileId, bytes: &[u8]) {
        let bytes = Arc::new(bytes.iter().copied().map(Some).collect());
        self.state().files.entry(file).or_default().push((PageId(random_bytes()), bytes));
    }

    fn version(&self, file: FileId, number: u64, keys: InodeKeyring) -> MemoryVersion {
        let none = || KnownVersion { inode: file.inode, version: 0, size: 0, root: PageId::EMPTY };
        let state = self.state();
        let found = state.files.get(&file).zip(usize::try_from(number).unwrap().checked_sub(1));
        match found.and_then(|(versions, at)| versions.get(at)) {
            None => MemoryVersion { known: none(), keys, bytes: Arc::default(), state: Arc::clone(&self.state) },
            Some((root, bytes)) => {
                let known = KnownVersion { inode: file.inode, version: number, size: bytes.len() as u64, root: *root };
                MemoryVersion { known, keys, bytes: Arc::clone(bytes), state: Arc::clone(&self.state) }
            }
        }
    }
}

impl Version for MemoryVersion {
    fn known(&self) -> KnownVersion {
        self.known
    }

    fn keys(&self) -> InodeKeyring {
        self.keys.clone()
    }

    fn read<'a>(&'a self, offset: u64, out: &'a mut [u8]) -> BoxFuture<'a, Result<(), Error>> {
        self.state.lock().unwrap().reads += 1;
        let from = usize::try_from(offset).unwrap();
        for (at, byte) in out.iter_mut().enumerate() {
            *byte = self.bytes.get(from + at).copied().flatten().unwrap_or_default();
        }
        let lost = self.state.lock().unwrap().behaviour == Behaviour::LosesShared;
        async move { if lost { Err(network()) } else { Ok(()) } }.boxed()
    }

    fn data_ranges(&self, range: Range<u64>) -> BoxFuture<'_, Result<Vec<Range<u64>>, Error>> {
        let mut found: Vec<Range<u64>> = Vec::new();
        for at in range.start..range.end.min(self.known.size) {
            if self.bytes[usize::try_from(at).unwrap()].is_some() {
                match found.last_mut() {
                    Some(last) if last.end == at => last.end += 1,
                    _ => found.push(at..at + 1),
                }
            }
        }
        async { Ok(found) }.boxed()
    }

    fn warm(&self, range: Range<u64>) -> BoxFuture<'_, Result<Brought, Error>> {
        let local = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        let plain: Option<Vec<u8>> = self.bytes[local].iter().copied().collect();
        let len = range.end - range.start;
        let brought: Brought = plain.map(|plain| (range.clone(), plain.into())).into_iter().collect();
        let (rate, cached, link) = {
            let state = self.state.lock().unwrap();
            (state.rate, state.cached, Arc::clone(&state.link))
        };
        let is_cached = range.end <= cached;
        async move {
            if is_cached {
                return Ok(Vec::new());
            }
            let _one = link.lock().await;
            if let Some(millis) = (len * 1000).checked_div(rate) {
                tokio::time::sleep(std::time::Duration::from_millis(millis)).await;
            }
            Ok(brought)
        }
        .boxed()
    }

    fn reader(&self) -> Option<&FileReader> {
        None
    }
}

fn full() -> Error {
    Error::Server { code: ErrorCode::QuotaExceeded, message: "the plan is used up".into(), request_id: None }
}

fn network() -> Error {
    Error::Network { what: "the server".into(), reason: "was made to fail".into() }
}

impl Remote for MemoryRemote {
    fn newest<'a>(
        &'a self,
        file: FileId,
        key: &'a InodeKey,
        named: Option<u64>,
        _: &'a str,
    ) -> BoxFuture<'a, Result<Arc<dyn Version>, Error>> {
        // The oldest that will do, as if that had been read before.
        let newest = self.newest_number(file);
        let number = named.map_or(newest, |named| named.min(newest));
        let version = self.version(file, number, InodeKeyring::single(key.clone()));
        async { Ok(Arc::new(version) as Arc<dyn Version>) }.boxed()
    }

    fn keys(&self, _: FileId) -> BoxFuture<'_, Result<Option<InodeKeyring>, Error>> {
        async { Ok(None) }.boxed()
    }

    fn known(
        &self,
        bucket: BucketId,
        keys: InodeKeyring,
        known: KnownVersion,
        _: &str,
    ) -> Result<Arc<dyn Version>, Error> {
        let version = self.version(FileId { bucket, inode: known.inode }, known.version, keys);
        assert_eq!(version.known, known, "what was remembered is what was committed");
        Ok(Arc::new(version))
    }

    fn ahead(
        &self,
        _: BucketId,
        range: Range<u64>,
        source: Arc<dyn PlainSource>,
        _: u64,
    ) -> BoxFuture<'static, Result<Sent, Error>> {
        let state = Arc::clone(&self.state);
        async move {
            tokio::task::yield_now().await;
            let held = source.take_held(range.clone());
            let mut plain = vec![0; usize::try_from(range.end - range.start).unwrap()];
            source.read_at(range.start, &mut plain).map_err(|_| network())?;
            let mut state = state.lock().unwrap();
            if let Some(pieces) = held {
                assert_eq!(pieces.concat(), plain);
                state.held += 1;
            }
            if state.behaviour == Behaviour::Refuses {
                state.refused += 1;
                return Err(network());
            }
            state.ahead += 1;
            Ok(Sent::Memory(plain))
        }
        .boxed()
    }

    fn commit<'a>(
        &'a self,
        bucket: BucketId,
        changes: Vec<Change>,
        remember: Remember<'a>,
    ) -> BoxFuture<'a, Vec<Result<Outcome, Error>>> {
        async move {
            let intents: Vec<KnownVersion> = changes
                .iter()
                .map(|change| KnownVersion {
                    inode: change.base.known().inode,
                    version: change.base.known().version + 1,
                    size: change.size,
                    root: PageId(random_bytes()),
                })
                .collect();
            let remembered = changes.iter().zip(&intents).map(|(change, next)| Some((change.txn, *next))).collect();
            remember(remembered).await.unwrap();
            self.state().tried += changes.len();
            self.arrived.notify_one();
            let _open = Arc::clone(&self.gate).acquire_owned().await.unwrap();
            let mut results = Vec::new();
            for (mut change, next) in changes.into_iter().zip(intents) {
                let mut came = Vec::new();
                for OnItsWay { range, sent } in std::mem::take(&mut change.ahead) {
                    let Some(Sent::Memory(plain)) = sent.await else { continue };
                    assert!(change.data.iter().any(|data| data.start <= range.start && range.end <= data.end));
                    came.push((range, plain));
                }
                let file = FileId { bucket, inode: next.inode };
                let keys = change.base.keys();
                let mut copied = Vec::new();
                for shared in &change.shared {
                    // What is shared is content there: a hole would have been copied as one.
                    let mut plain = vec![0; usize::try_from(shared.range.end - shared.range.start).unwrap()];
                    if self.state().behaviour == Behaviour::LosesShared {
                        continue;
                    }
                    let there = shared.offset..shared.offset + plain.len() as u64;
                    assert_eq!(shared.version.data_ranges(there.clone()).await.unwrap(), [there]);
                    shared.version.read(shared.offset, &mut plain).await.unwrap();
                    copied.push((usize::try_from(shared.range.start).unwrap(), plain));
                }
                let mut state = self.state();
                state.used += came.len();
                let lacks = matches!(state.behaviour, Behaviour::LacksShared | Behaviour::LosesShared);
                if lacks && !change.shared.is_empty() {
                    let code = ErrorCode::InvalidArgument;
                    results.push(Err(Error::Server { code, message: "no such blob".into(), request_id: None }));
                    continue;
                }
                if state.behaviour == Behaviour::IsFull {
                    results.push(Err(full()));
                    continue;
                }
                if state.behaviour == Behaviour::Refuses {
                    results.push(Err(network()));
                    continue;
                }
                let versions = state.files.entry(file).or_default();
                if versions.len() as u64 + 1 != next.version {
                    results.push(Ok(Outcome::Lost(Error::Conflict("it".into()))));
                    continue;
                }
                let mut bytes = versions.last().map(|(_, bytes)| bytes.to_vec()).unwrap_or_default();
                bytes.resize(usize::try_from(change.size).unwrap(), None);
                for range in &change.data {
                    let (start, end) = (usize::try_from(range.start).unwrap(), usize::try_from(range.end).unwrap());
                    let mut plain = vec![0; end - start];
                    change.source.read_at(range.start, &mut plain).unwrap();
                    for (there, ahead) in
                        came.iter().filter(|(there, _)| there.start >= range.start && there.end <= range.end)
                    {
                        let from = usize::try_from(there.start - range.start).unwrap();
                        plain[from..from + ahead.len()].copy_from_slice(ahead);
                    }
                    bytes[start..end].iter_mut().zip(plain).for_each(|(cell, byte)| *cell = Some(byte));
                }
                for (start, plain) in copied {
                    bytes[start..start + plain.len()].iter_mut().zip(plain).for_each(|(cell, byte)| *cell = Some(byte));
                }
                for range in &change.holes {
                    bytes[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()].fill(None);
                }
                versions.push((next.root, Arc::new(bytes)));
                state.times.insert(file, (change.mtime_ns, change.changed_ns));
                state.sent.push((change.data, change.holes));
                let lost = state.behaviour == Behaviour::LosesAnswers;
                drop(state);
                results.push(if lost {
                    Err(network())
                } else {
                    Ok(Outcome::Committed(Arc::new(self.version(file, next.version, keys))))
                });
            }
            results
        }
        .boxed()
    }

    fn is_committed<'a>(
        &'a self,
        bucket: BucketId,
        version: KnownVersion,
        _: &'a str,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        let file = FileId { bucket, inode: version.inode };
        let at = usize::try_from(version.version - 1).unwrap();
        let found = self.state().files.get(&file).and_then(|versions| versions.get(at)).map(|(root, _)| *root);
        async move { Ok(found == Some(version.root)) }.boxed()
    }
}
