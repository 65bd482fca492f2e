//! The store in a bucket: the conformance suite, crashes, damage, and buckets that fail, forget and belong to others.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test that cannot go on has failed")]

mod conformance;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use conformance::{HandClock, chunk, content, read_all};
use cyx_core::ids::{ChunkId, NodeId, Random as _};
use cyx_core::units::{CHUNK_MAX, KIB, MIB, NODE_TRASH_SECONDS};
use cyx_node::store::{
    BucketOptions, BucketStore, ChunkState, ChunkStore as _, DiskOptions, DiskStore, Health, StoreError,
};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt as _,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

const OWNER: NodeId = NodeId([7; 16]);

fn options() -> BucketOptions {
    BucketOptions { margin: 0, prefix: "nodes/seven".to_owned(), ..BucketOptions::new(OWNER) }
}

async fn open(folder: &Path, bucket: &Arc<Fickle>) -> BucketStore {
    BucketStore::open(folder, Arc::clone(bucket) as _, options()).await.unwrap()
}

/// A bucket in memory that can be told to fail.
#[derive(Debug, Default)]
struct Fickle {
    inside: InMemory,
    /// Requests fail before anything happens.
    silent: AtomicBool,
    /// What is put arrives, and its sender is told that it failed.
    mute: AtomicBool,
    puts: AtomicU64,
    /// Most bytes that volumes have taken at a time.
    peak: AtomicU64,
    gets: AtomicU64,
}

impl Fickle {
    fn heard(&self) -> Result<()> {
        match self.silent.load(Ordering::SeqCst) {
            true => Err(object_store::Error::Generic { store: "fickle", source: "no answer".into() }),
            false => Ok(()),
        }
    }

    async fn volumes(&self) -> Vec<ObjectPath> {
        let all: Vec<ObjectMeta> = self.inside.list(None).try_collect().await.unwrap();
        all.into_iter().map(|object| object.location).filter(|path| path.as_ref().ends_with(".cyxvol")).collect()
    }

    /// Bytes of all volumes.
    async fn taken(&self) -> u64 {
        let all: Vec<ObjectMeta> = self.inside.list(None).try_collect().await.unwrap();
        let volumes = all.into_iter().filter(|object| object.location.as_ref().ends_with(".cyxvol"));
        volumes.map(|object| object.size).sum()
    }

    async fn bytes(&self, path: &ObjectPath) -> Vec<u8> {
        self.inside.get(path).await.unwrap().bytes().await.unwrap().to_vec()
    }

    /// All objects as they are now.
    async fn twin(&self) -> Arc<Self> {
        let copy = Self::default();
        let all: Vec<ObjectMeta> = self.inside.list(None).try_collect().await.unwrap();
        for object in all {
            copy.inside.put(&object.location, self.bytes(&object.location).await.into()).await.unwrap();
        }
        Arc::new(copy)
    }
}

impl fmt::Display for Fickle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("fickle")
    }
}

#[tonic::async_trait]
impl ObjectStore for Fickle {
    async fn put_opts(&self, location: &ObjectPath, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.heard()?;
        self.puts.fetch_add(1, Ordering::SeqCst);
        let put = self.inside.put_opts(location, payload, options).await;
        self.peak.fetch_max(self.taken().await, Ordering::SeqCst);
        match self.mute.load(Ordering::SeqCst) {
            true => Err(object_store::Error::Generic { store: "fickle", source: "the answer was lost".into() }),
            false => put,
        }
    }
    async fn put_multipart_opts(
        &self,
        location: &ObjectPath,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inside.put_multipart_opts(location, options).await
    }
    async fn get_opts(&self, location: &ObjectPath, options: GetOptions) -> Result<GetResult> {
        self.heard()?;
        // The marker is looked at now and then.
        if location.as_ref().ends_with(".cyxvol") {
            self.gets.fetch_add(1, Ordering::SeqCst);
        }
        self.inside.get_opts(location, options).await
    }
    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<ObjectPath>>,
    ) -> BoxStream<'static, Result<ObjectPath>> {
        match self.heard() {
            Ok(()) => self.inside.delete_stream(locations),
            Err(error) => futures_util::stream::once(async { Err(error) }).boxed(),
        }
    }
    fn list(&self, prefix: Option<&ObjectPath>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.heard() {
            Ok(()) => self.inside.list(prefix),
            Err(error) => futures_util::stream::once(async { Err(error) }).boxed(),
        }
    }
    async fn list_with_delimiter(&self, prefix: Option<&ObjectPath>) -> Result<ListResult> {
        self.inside.list_with_delimiter(prefix).await
    }
    async fn copy_opts(&self, from: &ObjectPath, to: &ObjectPath, options: CopyOptions) -> Result<()> {
        self.inside.copy_opts(from, to, options).await
    }
}

/// Opens a store from where nothing can be awaited.
fn open_now(folder: &Path, bucket: Arc<dyn ObjectStore>, options: BucketOptions) -> BucketStore {
    tokio::task::block_in_place(|| {
        tokio::runtime::Handle::current().block_on(BucketStore::open(folder, bucket, options)).unwrap()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bucket_store_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let mut count = 0;
    conformance::suite(|clock| {
        count += 1;
        open_now(
            &folder.path().join(count.to_string()),
            Arc::new(InMemory::new()),
            BucketOptions { clock, ..options() },
        )
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bucket_store_conforms_with_an_object_for_each_chunk_and_several_nodes_in_one_bucket() {
    let folder = tempfile::tempdir().unwrap();
    let bucket = Arc::new(InMemory::new());
    let mut count = 0;
    conformance::suite(|clock| {
        count += 1;
        let prefix = format!("nodes/{count}");
        let options = BucketOptions { clock, prefix, pack: 1, linger: Duration::ZERO, ..options() };
        open_now(&folder.path().join(count.to_string()), Arc::clone(&bucket) as _, options)
    })
    .await;
}

#[tokio::test]
async fn what_comes_together_is_one_object_and_a_small_read_one_request() {
    let (folder, bucket) = (tempfile::tempdir().unwrap(), Arc::new(Fickle::default()));
    let store = open(folder.path(), &bucket).await;
    let chunks: Vec<_> = (0..100).map(|seed| (ChunkId::random(), content(seed, 40_000))).collect();
    let marker = bucket.puts.load(Ordering::SeqCst);
    for stored in futures_util::future::join_all(chunks.iter().map(|(id, bytes)| store.store(chunk(*id, bytes)))).await
    {
        stored.unwrap();
    }
    let puts = bucket.puts.load(Ordering::SeqCst) - marker;
    assert!(puts <= 4, "{puts} objects for 100 chunks that came at once");
    let before = bucket.gets.load(Ordering::SeqCst);
    assert_eq!(store.read(chunks[5].0, 20_000..24_096).await.unwrap(), chunks[5].1[20_000..24_096]);
    assert_eq!(bucket.gets.load(Ordering::SeqCst) - before, 1);
}

/// Objects are read whole when an index is made anew, and when they are written anew.
#[tokio::test]
async fn objects_are_no_larger_than_one_of_the_largest_chunk() {
    let (folder, bucket) = (tempfile::tempdir().unwrap(), Arc::new(Fickle::default()));
    let options = || BucketOptions { linger: Duration::from_millis(200), ..options() };
    let store = BucketStore::open(folder.path(), Arc::clone(&bucket) as _, options()).await.unwrap();
    let chunks: Vec<_> = [7, 64].map(|mib| (ChunkId::random(), vec![mib; usize::from(mib) << 20])).into();
    let storing = chunks.iter().map(|(id, bytes)| store.store(chunk(*id, bytes)));
    futures_util::future::try_join_all(storing).await.unwrap();
    store.close().await.unwrap();
    for volume in bucket.volumes().await {
        assert!(bucket.bytes(&volume).await.len() as u64 <= CHUNK_MAX + 2 * MIB);
    }
    let elsewhere = tempfile::tempdir().unwrap();
    let recovered = BucketStore::open(elsewhere.path(), Arc::clone(&bucket) as _, options()).await;
    assert_eq!(recovered.unwrap().usage().chunks, 2);
}

#[tokio::test]
async fn everything_survives_a_restart() {
    let (folder, bucket) = (tempfile::tempdir().unwrap(), Arc::new(Fickle::default()));
    let [live, trashed] = [ChunkId::random(), ChunkId::random()];
    let bytes = content(1, 100_000);
    let store = open(folder.path(), &bucket).await;
    store.store(chunk(live, &bytes)).await.unwrap();
    store.store(chunk(trashed, &bytes)).await.unwrap();
    store.trash(vec![trashed], u64::MAX).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    let store = open(folder.path(), &bucket).await;
    assert_eq!(read_all(&store, live).await.unwrap(), bytes);
    assert_eq!(store.stat(trashed).await.unwrap().unwrap().state, ChunkState::Trashed);
    let refused = BucketStore::open(folder.path(), Arc::clone(&bucket) as _, options()).await;
    assert!(matches!(refused.err(), Some(StoreError::InUse(_))), "one process per directory");
}

/// A crash between the bucket's answer and the index: the object is there, the index does not know it.
#[tokio::test]
async fn objects_that_the_index_does_not_know_are_taken_over() {
    let (folder, bucket) = (tempfile::tempdir().unwrap(), Arc::new(Fickle::default()));
    let store = open(folder.path(), &bucket).await;
    let mut stored = Vec::new();
    let early = tempfile::tempdir().unwrap();
    for seed in 0..6 {
        if seed == 3 {
            std::fs::copy(folder.path().join("index.redb"), early.path().join("index.redb")).unwrap();
        }
        let (id, bytes) = (ChunkId::random(), content(seed, 30_000 * (seed as usize + 1)));
        store.store(chunk(id, &bytes)).await.unwrap();
        stored.push((id, bytes));
    }
    // An index of before, none at all, and the objects as they are.
    for image in [early, tempfile::tempdir().unwrap()] {
        let bucket = bucket.twin().await;
        let recovered = open(image.path(), &bucket).await;
        for (id, bytes) in &stored {
            assert_eq!(read_all(&recovered, *id).await.unwrap(), *bytes);
        }
        assert_eq!(recovered.usage().chunks, 6);
        // What is stored next does not overwrite what was.
        recovered.store(chunk(ChunkId::random(), &content(9, 100))).await.unwrap();
        for (id, bytes) in &stored {
            assert_eq!(read_all(&recovered, *id).await.unwrap(), *bytes);
        }
    }
}

#[tokio::test]
async fn an_object_cut_or_changed_anywhere_costs_its_own_chunk_at_most() {
    let (folder, bucket) = (tempfile::tempdir().unwrap(), Arc::new(Fickle::default()));
    let store = BucketStore::open(
        folder.path(),
        Arc::clone(&bucket) as _,
        BucketOptions { linger: Duration::from_millis(200), ..options() },
    )
    .await
    .unwrap();
    let chunks: Vec<_> = (0..3).map(|seed| (ChunkId::random(), content(seed, 200))).collect();
    futures_util::future::try_join_all(chunks.iter().map(|(id, bytes)| store.store(chunk(*id, bytes)))).await.unwrap();
    let [volume] = &bucket.volumes().await[..] else { panic!("one object") };
    let object = bucket.bytes(volume).await;
    assert_eq!(object.len(), 4096 * 4);
    for at in (0..328).step_by(5) {
        let mut changed = object.clone();
        changed[4096 * 2 + at] ^= 1 << (at % 8);
        let (image, copy) = (tempfile::tempdir().unwrap(), bucket.twin().await);
        copy.inside.put(volume, changed.into()).await.unwrap();
        let recovered = open(image.path(), &copy).await;
        let mut found = 0;
        for (id, bytes) in &chunks {
            if recovered.stat(*id).await.unwrap().is_some() {
                assert_eq!(read_all(&recovered, *id).await.unwrap(), *bytes, "byte {at}");
                found += 1;
            }
        }
        assert_eq!(found, 2, "byte {at}");
        let cut = Bytes::from(object.clone()).slice(..4096 * 2 + at);
        let (image, copy) = (tempfile::tempdir().unwrap(), bucket.twin().await);
        copy.inside.put(volume, cut.into()).await.unwrap();
        assert_eq!(open(image.path(), &copy).await.usage().chunks, 1, "cut at {at}");
    }
}

#[tokio::test]
async fn a_silent_bucket_is_no_damage_and_the_store_goes_on_when_it_answers() {
    let (folder, bucket) = (tempfile::tempdir().unwrap(), Arc::new(Fickle::default()));
    let store = open(folder.path(), &bucket).await;
    let (id, bytes) = (ChunkId::random(), content(1, 100_000));
    store.store(chunk(id, &bytes)).await.unwrap();
    bucket.silent.store(true, Ordering::SeqCst);
    let other = ChunkId::random();
    assert!(matches!(store.store(chunk(other, &bytes)).await, Err(StoreError::Away)));
    assert!(matches!(store.health(), Health::Away(_)));
    assert_eq!((store.usage().free_bytes, store.usage().damaged_chunks), (0, 0));
    assert!(matches!(store.read(id, 0..100).await, Err(StoreError::Away)));
    assert!(matches!(store.scrub(id).await, Err(StoreError::Away)));
    assert_eq!(store.expire_trash(None).await.unwrap(), 0);
    assert_eq!(store.stat(id).await.unwrap().unwrap().state, ChunkState::Live);
    bucket.silent.store(false, Ordering::SeqCst);
    let until = tokio::time::Instant::now() + Duration::from_secs(60);
    while store.health() != Health::Writable {
        assert!(tokio::time::Instant::now() < until, "it does not notice that the bucket answers");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(read_all(&store, id).await.unwrap(), bytes);
    store.store(chunk(other, &bytes)).await.unwrap();
    assert_eq!(read_all(&store, other).await.unwrap(), bytes);
    bucket.silent.store(true, Ordering::SeqCst);
    let elsewhere = tempfile::tempdir().unwrap();
    let refused = BucketStore::open(elsewhere.path(), Arc::clone(&bucket) as _, options()).await;
    assert!(matches!(refused.err(), Some(StoreError::Away)));
}

#[tokio::test]
async fn what_arrived_without_an_answer_is_refused_and_removed() {
    let (folder, bucket) = (tempfile::tempdir().unwrap(), Arc::new(Fickle::default()));
    let store = open(folder.path(), &bucket).await;
    let (id, bytes) = (ChunkId::random(), content(1, 1000));
    bucket.mute.store(true, Ordering::SeqCst);
    assert!(matches!(store.store(chunk(id, &bytes)).await, Err(StoreError::Away)));
    bucket.mute.store(false, Ordering::SeqCst);
    assert_eq!(store.stat(id).await.unwrap(), None, "nothing is acknowledged, nothing is known");
    assert_eq!(bucket.volumes().await.len(), 1, "but it is there");
    store.expire_trash(None).await.unwrap();
    assert!(bucket.volumes().await.is_empty());
    assert_eq!(store.usage().used_bytes, 0);
}

#[tokio::test]
async fn a_damaged_chunk_is_never_served_and_can_be_replaced() {
    let (folder, bucket) = (tempfile::tempdir().unwrap(), Arc::new(Fickle::default()));
    let store = open(folder.path(), &bucket).await;
    let (id, bytes) = (ChunkId::random(), content(1, 100_000));
    store.store(chunk(id, &bytes)).await.unwrap();
    let volume = bucket.volumes().await.remove(0);
    let good = bucket.bytes(&volume).await;
    let mut changed = good.clone();
    changed[4096 + 128 + 50_000] ^= 1;
    bucket.inside.put(&volume, changed.clone().into()).await.unwrap();
    // Other groups still verify; the damage is noticed where it is.
    assert_eq!(store.read(id, 0..100).await.unwrap(), bytes[..100]);
    assert!(matches!(store.read(id, 49_999..50_001).await, Err(StoreError::Damaged)));
    assert!(matches!(store.read(id, 0..100).await, Err(StoreError::Damaged)), "not served any more");
    assert_eq!(store.damaged(None, 9).await.unwrap(), [id]);
    assert!(matches!(store.scrub(id).await, Err(StoreError::Damaged)));
    bucket.inside.put(&volume, good.into()).await.unwrap();
    store.scrub(id).await.unwrap();
    assert_eq!(read_all(&store, id).await.unwrap(), bytes);
    // An object that is gone is damage too, as long as the bucket is this node's.
    bucket.inside.delete(&volume).await.unwrap();
    assert!(matches!(store.read(id, 0..1).await, Err(StoreError::Damaged)));
    store.store(chunk(id, &bytes)).await.unwrap();
    assert_eq!(read_all(&store, id).await.unwrap(), bytes);
    assert_eq!((store.usage().chunks, store.usage().damaged_chunks), (1, 0));
}

#[tokio::test]
async fn a_damaged_chunk_in_the_trash_stays_a_damaged_one() {
    let (folder, bucket, clock) = (tempfile::tempdir().unwrap(), Arc::new(Fickle::default()), HandClock::new());
    let options = BucketOptions { clock: clock.clock(), ..options() };
    let store = BucketStore::open(folder.path(), Arc::clone(&bucket) as _, options).await.unwrap();
    conformance::the_trash_does_not_mend(&store, &clock, async || {
        let volume = bucket.volumes().await.remove(0);
        let mut changed = bucket.bytes(&volume).await;
        changed[4096 + 128 + 20_000] ^= 1;
        bucket.inside.put(&volume, changed.into()).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_emptied_bucket_is_no_proof_of_damage() {
    let (folder, bucket) = (tempfile::tempdir().unwrap(), Arc::new(Fickle::default()));
    let store = open(folder.path(), &bucket).await;
    let (id, bytes) = (ChunkId::random(), content(1, 1000));
    store.store(chunk(id, &bytes)).await.unwrap();
    for object in bucket.inside.list(None).map_ok(|object| object.location).try_collect::<Vec<_>>().await.unwrap() {
        bucket.inside.delete(&object).await.unwrap();
    }
    assert!(matches!(store.read(id, 0..1).await, Err(StoreError::Away)));
    assert!(matches!(store.health(), Health::Away(reason) if reason.contains("does not hold this node's chunks")));
    assert_eq!(store.usage().damaged_chunks, 0);
    store.close().await.unwrap();
    drop(store);
    let refused = BucketStore::open(folder.path(), Arc::clone(&bucket) as _, options()).await;
    assert!(matches!(refused.err(), Some(StoreError::Elsewhere(_))));
}

#[tokio::test]
async fn chunks_are_looked_for_where_they_are() {
    let (folder, bucket) = (tempfile::tempdir().unwrap(), Arc::new(Fickle::default()));
    let (id, bytes) = (ChunkId::random(), content(1, 1000));
    let store = open(folder.path(), &bucket).await;
    store.store(chunk(id, &bytes)).await.unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let stranger = BucketOptions { owner: NodeId([8; 16]), ..options() };
    let refused = BucketStore::open(elsewhere.path(), Arc::clone(&bucket) as _, stranger).await;
    assert!(matches!(refused.err(), Some(StoreError::Elsewhere(_))), "another node's objects");
    store.close().await.unwrap();
    drop(store);
    let disk = || DiskStore::open(folder.path(), DiskOptions { margin: 0, ..DiskOptions::default() });
    assert!(matches!(disk().err(), Some(StoreError::Elsewhere(_))), "from a bucket to the disk");
    let folder = tempfile::tempdir().unwrap();
    {
        let disk = DiskStore::open(folder.path(), DiskOptions { margin: 0, ..DiskOptions::default() }).unwrap();
        disk.store(chunk(id, &bytes)).await.unwrap();
    }
    let empty = Arc::new(Fickle::default());
    let refused = BucketStore::open(folder.path(), Arc::clone(&empty) as _, options()).await;
    assert!(matches!(refused.err(), Some(StoreError::Elsewhere(_))), "from the disk to a bucket");
}

#[tokio::test]
async fn purged_chunks_give_their_space_back() {
    let (folder, bucket, clock) = (tempfile::tempdir().unwrap(), Arc::new(Fickle::default()), HandClock::new());
    let options = BucketOptions { clock: clock.clock(), linger: Duration::from_millis(200), ..options() };
    let store = BucketStore::open(folder.path(), Arc::clone(&bucket) as _, options.clone()).await.unwrap();
    let mut objects = Vec::new();
    for object in 0..2_u64 {
        let chunks: Vec<_> = (0..8).map(|seed| (ChunkId::random(), content(object * 8 + seed, 100_000))).collect();
        let storing = chunks.iter().map(|(id, bytes)| store.store(chunk(*id, bytes)));
        futures_util::future::try_join_all(storing).await.unwrap();
        objects.push(chunks);
    }
    let before = bucket.volumes().await;
    assert_eq!(before.len(), 2);
    // All of the first, and most of the second; one of the others is in the trash when the rest is written anew.
    let dead: Vec<_> = objects[0].iter().chain(&objects[1][..6]).map(|(id, _)| *id).collect();
    store.trash(dead.clone(), u64::MAX).await.unwrap();
    clock.pass(NODE_TRASH_SECONDS);
    store.trash(vec![objects[1][6].0], u64::MAX).await.unwrap();
    assert_eq!(store.expire_trash(Some(clock.now())).await.unwrap(), 14 * 100_000);
    let after = bucket.volumes().await;
    assert!(after.len() == 1 && !before.contains(&after[0]), "{after:?}");
    assert!(bucket.bytes(&after[0]).await.len() as u64 <= 250 * KIB);
    assert_eq!(store.usage().trash_chunks, 1);
    store.close().await.unwrap();
    drop(store);
    for folder in [&folder, &tempfile::tempdir().unwrap()] {
        let store = BucketStore::open(folder.path(), Arc::clone(&bucket) as _, options.clone()).await.unwrap();
        assert_eq!(read_all(&store, objects[1][7].0).await.unwrap(), objects[1][7].1);
        assert!(store.stat(dead[0]).await.unwrap().is_none());
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_capacity_is_a_capacity_and_ends_when_there_is_room_again() {
    let (folder, bucket, clock) = (tempfile::tempdir().unwrap(), Arc::new(Fickle::default()), HandClock::new());
    let options = BucketOptions { clock: clock.clock(), capacity: 3 * MIB, ..options() };
    let store = BucketStore::open(folder.path(), Arc::clone(&bucket) as _, options).await.unwrap();
    let mut stored = Vec::new();
    loop {
        let (id, bytes) = (ChunkId::random(), content(stored.len() as u64, 1 << 20));
        match store.store(chunk(id, &bytes)).await {
            Ok(_) => stored.push(id),
            Err(StoreError::Full) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(stored.len(), 2);
    store.trash(vec![stored[0]], u64::MAX).await.unwrap();
    clock.pass(NODE_TRASH_SECONDS);
    store.expire_trash(Some(clock.now())).await.unwrap();
    store.store(chunk(ChunkId::random(), &content(9, 1 << 20))).await.unwrap();
}

/// Stores chunks of this length until one is refused. Those that were stored.
async fn fill(store: &BucketStore, len: usize) -> Vec<ChunkId> {
    let mut stored = Vec::new();
    loop {
        let new: Vec<_> = (0..16).map(|seed| (ChunkId::random(), content(seed, len))).collect();
        let answers =
            futures_util::future::join_all(new.iter().map(|(id, bytes)| store.store(chunk(*id, bytes)))).await;
        for ((id, _), answer) in new.iter().zip(&answers) {
            match answer {
                Ok(_) => stored.push(*id),
                Err(error) => assert!(matches!(error, StoreError::Full), "{error}"),
            }
        }
        if answers.iter().all(Result::is_err) {
            return stored;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bucket_never_takes_more_than_is_offered_whatever_is_dead_in_it() {
    let (folder, bucket, clock) = (tempfile::tempdir().unwrap(), Arc::new(Fickle::default()), HandClock::new());
    let capacity = 8 * MIB;
    let options = BucketOptions { clock: clock.clock(), capacity, pack: MIB, ..options() };
    let store = BucketStore::open(folder.path(), Arc::clone(&bucket) as _, options.clone()).await.unwrap();
    let mut kept = fill(&store, 50_000).await;
    // First less than is written anew, then more, each time all over the objects.
    for (round, dead) in [2, 2, 4, 3].into_iter().enumerate() {
        let taken = bucket.taken().await;
        let (trashed, left) = kept.iter().enumerate().partition::<Vec<_>, _>(|(at, _)| at % 5 < dead);
        store.trash(trashed.into_iter().map(|(_, id)| *id).collect(), u64::MAX).await.unwrap();
        kept = left.into_iter().map(|(_, id)| *id).collect();
        clock.pass(NODE_TRASH_SECONDS);
        store.expire_trash(Some(clock.now())).await.unwrap();
        if dead > 2 {
            assert!(bucket.taken().await < taken * 2 / 3, "a full bucket is rid of what is dead in it");
            assert_eq!(store.health(), Health::Writable);
        }
        kept.extend(fill(&store, if round == 0 { 50_000 } else { 20_000 }).await);
        let peak = bucket.peak.load(Ordering::SeqCst);
        assert!(peak <= capacity && peak > capacity * 3 / 4, "{peak} of {capacity}");
        assert_eq!(store.usage().chunks, kept.len() as u64);
    }
    let room = store.usage().free_bytes;
    store.close().await.unwrap();
    drop(store);
    let store = BucketStore::open(folder.path(), Arc::clone(&bucket) as _, options).await.unwrap();
    assert!(store.usage().free_bytes.abs_diff(room) < MIB, "{} {room}", store.usage().free_bytes);
    assert!(bucket.peak.load(Ordering::SeqCst) <= capacity);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_may_have_arrived_counts_until_it_is_deleted() {
    let (folder, bucket) = (tempfile::tempdir().unwrap(), Arc::new(Fickle::default()));
    let options = BucketOptions { capacity: 8 * MIB, ..options() };
    let store = BucketStore::open(folder.path(), Arc::clone(&bucket) as _, options).await.unwrap();
    let free = store.usage().free_bytes;
    bucket.mute.store(true, Ordering::SeqCst);
    store.store(chunk(ChunkId::random(), &content(1, 1 << 20))).await.unwrap_err();
    bucket.mute.store(false, Ordering::SeqCst);
    while store.health() != Health::Writable {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(bucket.taken().await > MIB);
    assert_eq!(store.usage().free_bytes, free - bucket.taken().await);
    store.expire_trash(None).await.unwrap();
    assert_eq!((store.usage().free_bytes, bucket.taken().await), (free, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_bucket_stays_full_when_little_is_written_anew() {
    let (folder, bucket, clock) = (tempfile::tempdir().unwrap(), Arc::new(Fickle::default()), HandClock::new());
    let options =
        BucketOptions { clock: clock.clock(), capacity: 3 * MIB, linger: Duration::from_millis(200), ..options() };
    let store = BucketStore::open(folder.path(), Arc::clone(&bucket) as _, options).await.unwrap();
    let small: Vec<_> = (0..3).map(|seed| (ChunkId::random(), content(seed, 3000))).collect();
    let storing = small.iter().map(|(id, bytes)| store.store(chunk(*id, bytes)));
    futures_util::future::try_join_all(storing).await.unwrap();
    fill(&store, 100_000).await;
    fill(&store, 3000).await;
    assert_eq!(store.health(), Health::Full);
    let puts = bucket.puts.load(Ordering::SeqCst);
    store.trash(small[..2].iter().map(|(id, _)| *id).collect(), u64::MAX).await.unwrap();
    clock.pass(NODE_TRASH_SECONDS);
    store.expire_trash(Some(clock.now())).await.unwrap();
    assert_eq!(bucket.puts.load(Ordering::SeqCst), puts + 1, "written anew");
    assert_eq!(store.health(), Health::Full);
    assert_eq!(read_all(&store, small[2].0).await.unwrap(), small[2].1);
}
