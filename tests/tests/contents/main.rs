//! Contents of a mount on a real cluster, without names and without a kernel: what is written becomes versions that other machines
//! read, through caches and without them.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cyx_client::transfer::{Transfer, Tuning, WriteLease};
use cyx_client::tree::change::{NewKind, attributes_now};
use cyx_client::{Bucket, Client, Config};
use cyx_crypto::wrap::InodeKeyring;
use cyx_fs::content::{Content, ContentError, InodeFacts, Store, StoreEvent, StoreOptions};
use cyx_fs::journal::JournalError;
use cyx_tests::{Cluster, User, noise};
use tokio::sync::mpsc::UnboundedReceiver;

struct World {
    cluster: Cluster,
    user: User,
}

struct Machine {
    client: Client,
    bucket: Bucket,
    store: Store,
    events: UnboundedReceiver<StoreEvent>,
    recovered: Vec<Arc<Content>>,
}

impl World {
    fn new(nodes: usize) -> Self {
        let cluster = Cluster::start(nodes);
        let user = cluster.user("alice");
        user.ok(["bucket", "create", "work"]);
        Self { cluster, user }
    }

    /// A machine, as soon as an earlier one has let go of the folder. Nothing is committed unless it is asked for.
    async fn machine(&self, folder: &Path) -> Machine {
        let gateway = Some(self.cluster.gateway().parse().unwrap());
        let config = Config { home: self.user.home(), gateway, email: None, ca_file: None, token: None };
        let client = Client::open(&config).await.unwrap();
        let bucket = client.bucket("work").await.unwrap();
        let options = StoreOptions {
            idle: Duration::from_secs(3600),
            age: Duration::from_secs(3600),
            cache: 64 << 20,
            ..StoreOptions::new(folder.to_owned())
        };
        for _ in 0..600 {
            match Store::open(&client, Tuning::default(), options.clone()).await {
                Ok((store, _, events)) => {
                    let recovered = store.attach(&bucket, &[]).unwrap();
                    return Machine { client, bucket, store, events, recovered };
                }
                Err(ContentError::Journal(JournalError::InUse(_))) => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
        panic!("an earlier store does not let go of the folder");
    }
}

impl Machine {
    /// Makes an empty file.
    async fn create(&self, name: &str) -> Arc<Content> {
        let root = self.bucket.root_directory();
        let new = self.bucket.prepare(&root, name.as_bytes(), NewKind::File, attributes_now(0o644)).unwrap();
        let keys = InodeKeyring::single(new.key.clone());
        self.bucket.apply_one(vec![new.operation]).await.unwrap();
        let facts = InodeFacts { id: new.id, keys, version: 0, size: 0, what: name.to_owned() };
        self.store.content(&self.bucket, facts).unwrap()
    }

    async fn open(&self, name: &str) -> Arc<Content> {
        let found = self.bucket.lookup_one(&self.bucket.root_directory(), name.as_bytes()).await.unwrap().unwrap();
        let facts = InodeFacts {
            id: found.id,
            keys: found.keyring().unwrap(),
            version: found.inode.version,
            size: found.inode.size,
            what: name.to_owned(),
        };
        self.store.content(&self.bucket, facts).unwrap()
    }
}

async fn all(content: &Content) -> Vec<u8> {
    content.read(0, 1 << 30).await.unwrap().to_vec()
}

/// Segments that a file lies in.
async fn segments(machine: &Machine, name: &str) -> usize {
    let root = machine.bucket.root_directory();
    let found = machine.bucket.lookup_one(&root, name.as_bytes()).await.unwrap().unwrap();
    let transfer = Transfer::new(&machine.client, None, Tuning::default());
    let reader = transfer.open(&machine.bucket, &found).await.unwrap();
    reader.reported_health(false).await.unwrap().segments
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_small_files_are_committed_together_and_survive_a_crash_before_it() {
    let world = World::new(3);
    let folder = tempfile::tempdir().unwrap();
    let machine = world.machine(folder.path()).await;
    let len = |number: u64| usize::try_from(number * number * 7 % 60_000).unwrap();
    for number in 0..120_u64 {
        let content = machine.create(&format!("file {number}")).await;
        content.write(0, Bytes::from(noise(number, len(number).max(1)))).await.unwrap();
        content.sync_local().await.unwrap();
    }
    // As after kill -9: the journal is all there is.
    machine.store.abandon();
    drop(machine);
    let mut machine = world.machine(folder.path()).await;
    assert_eq!(machine.recovered.len(), 120);
    machine.recovered.clear();
    machine.store.drain(Duration::from_secs(300)).await.unwrap();
    assert_eq!(machine.store.status().dirty_files, 0);
    for number in 0..120_u64 {
        let found = world.user.read("work", &format!("file {number}"));
        assert_eq!(found, noise(number, len(number).max(1)), "file {number}");
    }
    let mut committed = 0;
    while let Ok(event) = machine.events.try_recv() {
        committed += usize::from(matches!(event, StoreEvent::Committed { version: 1, .. }));
    }
    assert_eq!(committed, 120);
    assert!(segments(&machine, "file 119").await == 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_race_between_machines_has_one_winner_and_loses_nothing() {
    let world = World::new(1);
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut here, there) = (world.machine(folder.path()).await, world.machine(elsewhere.path()).await);
    let mine = here.create("file").await;
    mine.write(0, Bytes::from_static(b"the beginning")).await.unwrap();
    mine.commit().await.unwrap();
    let theirs = there.open("file").await;
    assert_eq!(all(&theirs).await, b"the beginning");
    theirs.write(4, Bytes::from_static(b"BEG")).await.unwrap();
    mine.write(0, Bytes::from(vec![7; 100_000])).await.unwrap();
    theirs.commit().await.unwrap();
    assert!(matches!(mine.commit().await, Err(ContentError::Lost)));
    let lost = std::iter::from_fn(|| here.events.try_recv().ok()).any(|event| matches!(event, StoreEvent::Lost { .. }));
    assert!(lost);
    assert_eq!(all(&mine).await, vec![7; 100_000], "it is kept until somebody has copied it");
    let copy = here.create("file (conflict)").await;
    copy.clone_range(&mine, 0..u64::MAX, 0).await.unwrap();
    copy.commit().await.unwrap();
    mine.discard().await.unwrap();
    assert!(mine.refresh().await.unwrap());
    assert_eq!(all(&mine).await, b"the BEGinning");
    assert_eq!(world.user.read("work", "file"), b"the BEGinning");
    assert_eq!(world.user.read("work", "file (conflict)"), vec![7; 100_000]);
    assert!(!theirs.refresh().await.unwrap(), "the winner has the newest version");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_under_a_write_lease_that_is_over_is_made_without_it() {
    let world = World::new(1);
    let folder = tempfile::tempdir().unwrap();
    let machine = world.machine(folder.path()).await;
    let content = machine.create("file").await;
    let over = WriteLease { id: Bytes::from(vec![9; 16]), fencing: 3 };
    machine.store.set_write_lease(machine.bucket.id, Some(over));
    content.write(0, Bytes::from_static(b"in time")).await.unwrap();
    content.commit().await.unwrap();
    assert_eq!(world.user.read("work", "file"), b"in time");
}

/// Extents that a file has.
async fn extents(machine: &Machine, name: &str) -> usize {
    let root = machine.bucket.root_directory();
    let found = machine.bucket.lookup_one(&root, name.as_bytes()).await.unwrap().unwrap();
    let (version, mut pages, _) = machine.bucket.fetch_file(found.id, 0..u64::MAX, name).await.unwrap();
    machine.bucket.extents(&version, 0..version.size(), &mut pages).await.unwrap().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_grows_by_lines_has_few_extents() {
    let world = World::new(1);
    let folder = tempfile::tempdir().unwrap();
    let machine = world.machine(folder.path()).await;
    let log = machine.create("log").await;
    let mut expected = Vec::new();
    for line in 0..400_u64 {
        let text = noise(line, 20 + usize::try_from(line % 3).unwrap() * 150);
        expected.extend_from_slice(&text);
        log.append(Bytes::from(text)).await.unwrap();
        log.commit().await.unwrap();
    }
    assert!(extents(&machine, "log").await <= 20, "{}", extents(&machine, "log").await);
    assert!(all(&log).await == expected);
    // What was changed elsewhere in the file stays as it was.
    log.write(5000, Bytes::from_static(b"corrected")).await.unwrap();
    log.append(Bytes::from_static(b"the end")).await.unwrap();
    log.commit().await.unwrap();
    expected[5000..5009].copy_from_slice(b"corrected");
    expected.extend_from_slice(b"the end");
    assert!(all(&log).await == expected);
    assert!(world.user.read("work", "log") == expected);
}
