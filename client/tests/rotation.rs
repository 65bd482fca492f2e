//! New keys for a bucket, against a gateway that shows what it keeps: what an older key still opens, and what it does not.

#![allow(clippy::unwrap_used, reason = "tests")]

mod gateway;

use cyx_client::tree::change::{NewKind, attributes_now};
use cyx_client::tree::names::DirectoryKeys;
use cyx_client::{Bucket, Client, Directory, Error, IntegrityError, TreePath};
use cyx_core::writers::WriterAction;
use gateway::Gateway;
use tempfile::TempDir;

struct World {
    gateway: Gateway,
    home: TempDir,
    client: Client,
    bucket: Bucket,
}

fn path(text: &str) -> TreePath {
    TreePath::parse(text).unwrap()
}

impl World {
    /// A bucket with `d/e`, a link `d/l` and a file `f`.
    async fn new() -> Self {
        let (gateway, home) = (Gateway::start().await, tempfile::tempdir().unwrap());
        let client = gateway.client(home.path()).await;
        let bucket = client.create_bucket("photos", false).await.unwrap();
        bucket.make_directories(&path("d/e")).await.unwrap();
        bucket.make_link(&path("d/l"), b"target").await.unwrap();
        let root = bucket.root_directory();
        let file = bucket.prepare(&root, b"f", NewKind::File, attributes_now(0o644)).unwrap();
        bucket.apply_one(vec![file.operation]).await.unwrap();
        Self { gateway, home, client, bucket }
    }

    async fn again(&self) -> Client {
        Client::open(&self.gateway.config(self.home.path())).await.unwrap()
    }

    /// Entries that somebody opens who has some directories' keys of an earlier time.
    fn opened_with(&self, directories: &[Directory]) -> Vec<Vec<u8>> {
        let entries = self.gateway.state().entries.clone();
        let open = |directory: &Directory| {
            let keys = DirectoryKeys::new(directory).unwrap();
            entries.iter().filter_map(|entry| Some(keys.open_entry(entry).ok()?.0)).collect::<Vec<_>>()
        };
        let mut opened: Vec<Vec<u8>> = directories.iter().flat_map(open).collect();
        opened.sort();
        opened
    }

    fn calls(&self, name: &str) -> u32 {
        self.gateway.state().calls.get(name).copied().unwrap_or_default()
    }
}

#[tokio::test]
async fn older_keys_open_nothing_of_what_is_there_after_a_rotation() {
    let world = World::new().await;
    let bucket = &world.bucket;
    let kept = [
        bucket.root_directory(),
        bucket.open_directory(&path("d")).await.unwrap(),
        bucket.open_directory(&path("d/e")).await.unwrap(),
    ];
    assert_eq!(world.opened_with(&kept), [b"d".to_vec(), b"e".to_vec(), b"f".to_vec(), b"l".to_vec()]);

    let rotated = world.client.rotate_bucket("photos", false, &|_| {}).await.unwrap();
    assert_eq!((rotated.epoch, rotated.inodes, rotated.resumed, rotated.broken), (2, 4, false, 0));
    assert!(world.opened_with(&kept).is_empty(), "every name and key is under a key that is new");

    // Everything is found, and new things are made under the new keys.
    let after = world.again().await.bucket("photos").await.unwrap();
    for (name, kept) in [("d", &kept[1]), ("d/e", &kept[2])] {
        let now = after.open_directory(&path(name)).await.unwrap();
        assert_eq!((now.id, now.key.epoch()), (kept.id, 2));
        assert!(now.key != kept.key);
        assert!(*now.keyring().unwrap().of_epoch(1).unwrap() == kept.key, "what is sealed under it stays readable");
    }
    assert_eq!(after.resolve(&path("d/l")).await.unwrap().link_target().unwrap(), b"target");
    let made = after.make_directory(&path("d/new"), 0o755).await.unwrap();
    assert_eq!(made.key.epoch(), 2);
    assert!(world.opened_with(&kept).is_empty());

    let second = world.again().await.rotate_bucket("photos", false, &|_| {}).await.unwrap();
    assert_eq!((second.epoch, second.inodes), (3, 5));
    let last = world.again().await.bucket("photos").await.unwrap();
    assert_eq!(last.open_directory(&path("d")).await.unwrap().keyring().unwrap().all().count(), 3);
}

#[tokio::test]
async fn a_bucket_that_was_open_gets_the_new_keys() {
    let world = World::new().await;
    let known = world.bucket.open_directory(&path("d/e")).await.unwrap();
    world.again().await.rotate_bucket("photos", false, &|_| {}).await.unwrap();
    let (key, history) = world.bucket.renewed_key(known.id).await.unwrap();
    assert_eq!((key.epoch(), world.bucket.key_epoch()), (2, 2));
    let renewed = Directory { key, key_history: history, ..known.clone() };
    assert!(*renewed.keyring().unwrap().of_epoch(1).unwrap() == known.key);
    assert!(world.bucket.resolve(&path("d/l")).await.is_ok());
}

#[tokio::test]
async fn an_interrupted_rotation_goes_on_with_the_keys_it_began_with() {
    let world = World::new().await;
    world.gateway.state().refuse_apply = true;
    assert!(world.client.rotate_bucket("photos", false, &|_| {}).await.is_err());
    assert_eq!(world.calls("rotate_bucket"), 1);
    let half = world.again().await.bucket("photos").await.unwrap();
    assert_eq!(half.key_epoch(), 2, "the root key is the new one");
    assert_eq!(half.open_directory(&path("d/e")).await.unwrap().key.epoch(), 1, "and all else is found as before");

    world.gateway.state().refuse_apply = false;
    let client = world.again().await;
    assert!(client.may_resume_rotation("photos").await.unwrap());
    let rotated = client.rotate_bucket("photos", true, &|_| {}).await.unwrap();
    assert_eq!((rotated.epoch, rotated.inodes, rotated.resumed), (2, 4, true));
    assert_eq!(world.calls("rotate_bucket"), 1);
    let nothing = world.again().await.rotate_bucket("photos", true, &|_| {}).await.err().unwrap();
    assert!(matches!(nothing, Error::NotFound(_)), "{nothing}");
    let next = world.again().await.rotate_bucket("photos", false, &|_| {}).await.unwrap();
    assert_eq!((next.epoch, next.resumed), (3, false));
}

#[tokio::test]
async fn who_begins_anew_gets_another_root_key_than_the_interrupted_rotation_made() {
    let world = World::new().await;
    world.gateway.state().refuse_apply = true;
    assert!(world.client.rotate_bucket("photos", false, &|_| {}).await.is_err());
    let half = world.again().await.bucket("photos").await.unwrap().root_directory();
    world.gateway.state().refuse_apply = false;
    let anew = world.again().await.rotate_bucket("photos", false, &|_| {}).await.unwrap();
    assert_eq!((anew.epoch, anew.inodes, anew.resumed), (3, 4, false));
    assert!(world.opened_with(&[half]).is_empty());
}

#[tokio::test]
async fn a_root_key_that_was_given_up_is_refused() {
    let world = World::new().await;
    let (row, root) = {
        let state = world.gateway.state();
        (state.buckets[0].clone(), state.inodes[&state.buckets[0].root].clone())
    };
    world.client.rotate_bucket("photos", false, &|_| {}).await.unwrap();
    {
        let mut state = world.gateway.state();
        state.buckets[0] = row;
        let id = root.id.clone();
        state.inodes.insert(id, root);
    }
    for client in [world.client.clone(), world.again().await] {
        let refused = client.bucket("photos").await.err().unwrap();
        assert!(matches!(refused, Error::Integrity(IntegrityError::Mismatch(_))), "{refused}");
    }
}

#[tokio::test]
async fn writers_whose_right_has_ended_are_taken_off_the_list_by_the_owner_alone() {
    let world = World::new().await;
    let (key, other) =
        (ed25519_dalek::SigningKey::from_bytes(&[5; 32]), ed25519_dalek::SigningKey::from_bytes(&[6; 32]));
    let public = |key: &ed25519_dalek::SigningKey| key.verifying_key().to_bytes();
    let listed = |bucket: &Bucket, key| bucket.writers.may_sign_now(cyx_core::sign::key_id(&public(key))).is_some();
    for key in [&key, &other] {
        let identity = &world.client.secrets().identity;
        let writers = world.client.bucket("photos").await.unwrap().writers.clone();
        let entry = identity.sign_writer(&writers.next(WriterAction::Add, public(key), 0));
        world.gateway.state().writers.get_mut(&world.bucket.id.0[..]).unwrap().push(entry.into());
    }
    let before = world.client.bucket("photos").await.unwrap();
    assert!(listed(&before, &key) && listed(&before, &other));

    let owner = world.client.secrets().identity.public().signing;
    world.gateway.state().buckets[0].ended_writers = vec![public(&key).to_vec().into(), owner.to_vec().into()];
    let after = world.again().await.bucket("photos").await.unwrap();
    assert!(!listed(&after, &key) && listed(&after, &other) && after.may_write());
    assert_eq!(world.calls("append_writer"), 1);
    // Once is enough, even if the server says so again.
    world.again().await.bucket("photos").await.unwrap();
    assert_eq!(world.calls("append_writer"), 1);
}
