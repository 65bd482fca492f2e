//! New keys for a bucket and for the account, against a gateway that shows what it keeps: what an older key still opens, and what it
//! does not.

#![allow(clippy::unwrap_used, reason = "tests")]

mod gateway;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cyx_client::identity::factors::Proof;
use cyx_client::tree::change::{NewKind, attributes_now};
use cyx_client::tree::names::DirectoryKeys;
use cyx_client::{Bucket, Client, Directory, Error, IntegrityError};
use cyx_core::error::ErrorCode;
use cyx_core::writers::{WriterAction, WriterList};
use cyx_crypto::account::AccountSecrets;
use cyx_crypto::identity::{IdentityKeys, PublicIdentity};
use cyx_crypto::names::decrypt_bucket_token;
use cyx_crypto::recovery::parse_words;
use cyx_crypto::wrap::{AccountKek, open_account_history, open_account_key, open_root_key};
use gateway::world::{World, path};
use gateway::{CODE, PASSWORD, State};

/// A bucket with `d/e`, a link `d/l` and a file `f`.
async fn filled() -> World {
    let world = World::new().await;
    let bucket = &world.bucket;
    bucket.make_directories(&path("d/e")).await.unwrap();
    bucket.make_link(&path("d/l"), b"target").await.unwrap();
    let root = bucket.root_directory();
    let file = bucket.prepare(&root, b"f", NewKind::File, attributes_now(0o644)).unwrap();
    bucket.apply_one(vec![file.operation]).await.unwrap();
    world
}

impl World {
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
}

#[tokio::test]
async fn older_keys_open_nothing_of_what_is_there_after_a_rotation() {
    let world = filled().await;
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
    let world = filled().await;
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
    let world = filled().await;
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
    let world = filled().await;
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
    let world = filled().await;
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
    let world = filled().await;
    let (key, other) =
        (ed25519_dalek::SigningKey::from_bytes(&[5; 32]), ed25519_dalek::SigningKey::from_bytes(&[6; 32]));
    let public = |key: &ed25519_dalek::SigningKey| key.verifying_key().to_bytes();
    let listed = |bucket: &Bucket, key| bucket.writers().may_sign_now(cyx_core::sign::key_id(&public(key))).is_some();
    for key in [&key, &other] {
        let secrets = world.client.secrets();
        let identity = &secrets.identity;
        let writers = world.client.bucket("photos").await.unwrap().writers();
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

/// Replaces the account key; gives the new recovery words.
async fn replace(client: &Client) -> Result<String, Error> {
    let new = client.make_account_key().await?;
    client.replace_account_key(&new, PASSWORD, Proof::new("confirmation", CODE)).await?;
    Ok(new.words().to_string())
}

fn kept(state: &State, field: &str) -> Vec<u8> {
    STANDARD.decode(state.registration[field].as_str().unwrap()).unwrap()
}

/// What of everything that a gateway keeps opens with an account key.
fn opened_by(world: &World, secrets: &AccountSecrets) -> Vec<&'static str> {
    let state = world.gateway.state();
    let row = &state.buckets[0];
    let owner = <[u8; 32]>::try_from(&row.owner_key[..]).unwrap();
    let token = cyx_core::name::EncryptedName::try_from(&row.name_token[..]).unwrap();
    let public = PublicIdentity {
        signing: kept(&state, "signing_public_key").try_into().unwrap(),
        exchange: kept(&state, "exchange_public_key").try_into().unwrap(),
    };
    let history = STANDARD.decode(&state.account_history).unwrap();
    let (key, bucket) = (&secrets.key, world.bucket.id);
    let found = [
        ("root key", open_root_key(key, &row.wrapped_root_key, bucket, &owner, state.account).is_ok()),
        ("name", decrypt_bucket_token(&key.derive_bucket_token_key(), &token).is_ok()),
        ("identity", IdentityKeys::open(key, &public, &kept(&state, "wrapped_private_keys")).is_ok()),
        ("history", open_account_history(key, state.account_epoch, state.account, &history).is_ok()),
    ];
    found.into_iter().filter_map(|(what, opens)| opens.then_some(what)).collect()
}

#[tokio::test]
async fn an_older_account_key_opens_nothing_of_what_is_kept_after_it_was_replaced() {
    let world = filled().await;
    let (old, first_owner) = (world.client.secrets(), world.bucket.owner_key);
    assert_eq!(opened_by(&world, &old), ["root key", "name", "identity", "history"]);
    let directories = [world.bucket.root_directory(), world.bucket.open_directory(&path("d")).await.unwrap()];

    let words = replace(&world.client).await.unwrap();
    assert!(opened_by(&world, &old).is_empty());
    let new = world.client.secrets();
    assert!(new.key != old.key && new.identity.public() != old.identity.public());
    assert_eq!(opened_by(&world, &new), ["root key", "name", "identity", "history"]);
    let by_words = kept(&world.gateway.state(), "recovery_wrapped_account_key");
    let recovery = parse_words(&words).ok().unwrap();
    assert!(open_account_key(AccountKek::Recovery(&recovery), &by_words) == Ok(new.key.clone()));

    // What this machine sealed under the old key stays readable, and new things go under the new one.
    let mount_keys = world.client.mount_keys();
    assert!(mount_keys.len() == 2 && mount_keys[0] == new.key.derive_mount_key());
    assert!(mount_keys[1] == old.key.derive_mount_key());

    // The root key stayed. Who had read that has what was there, and after the buckets' turn nothing any more.
    assert!(!world.opened_with(&directories).is_empty());
    world.again().await.rotate_bucket("photos", false, &|_| {}).await.unwrap();
    assert!(world.opened_with(&directories).is_empty() && opened_by(&world, &old).is_empty());

    // The bucket is known by the key that its owner had first; the list is signed by the one of now.
    let after = world.reopened().await;
    assert_eq!((after.owner_key, after.writers().owner(&first_owner)), (first_owner, new.identity.public().signing));
    assert!(after.may_write() && after.resolve(&path("d/l")).await.is_ok());
    replace(&world.client).await.unwrap();
    assert_eq!(world.again().await.mount_keys().len(), 3);
    // With the password alone, on another machine.
    let elsewhere = tempfile::tempdir().unwrap();
    world.gateway.log_in(elsewhere.path(), false).await.unwrap();
    let client = Client::open(&world.gateway.config(elsewhere.path())).await.unwrap();
    assert!(client.bucket("photos").await.unwrap().resolve(&path("d/l")).await.is_ok());
}

#[tokio::test]
async fn programs_that_were_open_go_on_after_the_account_key_was_replaced() {
    let world = filled().await;
    let other = world.again().await;
    let before = other.secrets().identity.key_id();
    let open = other.bucket("photos").await.unwrap();
    replace(&world.client).await.unwrap();
    // It has heard of nothing, and finds its bucket by a name under the new key.
    assert_eq!(other.bucket("photos").await.unwrap().id, open.id);
    assert!(other.secrets().key == world.client.secrets().key);
    // One that asks for nothing by name hears when it renews, as whoever is told STALE_KEY does.
    let third = world.again().await;
    let bucket = third.bucket("photos").await.unwrap();
    replace(&world.client).await.unwrap();
    bucket.renew().await.unwrap();
    let signed = bucket.sign_commit(bucket.root, 0, 0, cyx_core::extent::PageId::EMPTY);
    assert!(signed.commit.writer != before && signed.commit.writer == third.secrets().identity.key_id());
    assert!(bucket.writers().may_sign_now(signed.commit.writer).is_some() && bucket.may_write());
    // One that makes something hears then.
    let fourth = world.again().await;
    replace(&world.client).await.unwrap();
    fourth.create_bucket("music", false).await.unwrap();
    assert_eq!(world.again().await.buckets().await.unwrap().into_iter().filter(Result::is_ok).count(), 2);
    let fifth = world.again().await;
    replace(&world.client).await.unwrap();
    fifth.rotate_bucket("music", false, &|_| {}).await.unwrap();
    assert!(world.again().await.bucket("music").await.is_ok());
}

#[tokio::test]
async fn a_lost_answer_and_a_busy_bucket_do_no_harm() {
    let world = filled().await;
    world.gateway.state().lost_replacements = 1;
    replace(&world.client).await.unwrap();
    assert_eq!((world.calls("replace_account_key"), world.gateway.state().account_epoch), (2, 1));
    // Every answer is lost: what this machine may open says that it was done.
    world.gateway.state().lost_replacements = u32::MAX;
    replace(&world.client).await.unwrap();
    assert_eq!(world.gateway.state().account_epoch, 2);
    world.gateway.state().lost_replacements = 0;
    assert!(world.reopened().await.resolve(&path("d/l")).await.is_ok());

    // Somebody changes a bucket between looking and replacing.
    let client = world.again().await;
    let new = client.make_account_key().await.unwrap();
    let asked = world.calls("get_writers");
    let state = std::sync::Arc::clone(&world.gateway.state);
    let busy = tokio::spawn(async move {
        loop {
            let lists = state.lock().unwrap().calls.get("get_writers").copied().unwrap_or_default();
            if lists > asked {
                state.lock().unwrap().buckets[0].sequence += 1;
                return;
            }
            tokio::task::yield_now().await;
        }
    });
    client.replace_account_key(&new, PASSWORD, Proof::new("confirmation", CODE)).await.unwrap();
    busy.await.unwrap();
    assert!(world.reopened().await.may_write());
    let wrong = client.make_account_key().await.unwrap();
    let refused = client.replace_account_key(&wrong, "Another-Tramway-31-Okra", Proof::new("confirmation", CODE));
    assert_eq!(refused.await.err().unwrap().code(), ErrorCode::OtpInvalid, "as this gateway calls any wrong proof");
}

#[tokio::test]
async fn whoever_is_stopped_anywhere_while_replacing_the_account_key_loses_nothing() {
    let world = filled().await;
    let mut stopped = 0;
    loop {
        let client = world.again().await;
        let epoch = world.gateway.state().account_epoch;
        world.gateway.state().stop_after = Some(stopped);
        let replaced = replace(&client).await;
        world.gateway.state().stop_after = None;
        let now = world.gateway.state().account_epoch;
        let bucket = world.reopened().await;
        assert!(bucket.may_write() && bucket.resolve(&path("d/l")).await.is_ok(), "stopped after {stopped} calls");
        if replaced.is_ok() {
            assert_eq!(now, epoch + 1);
            break;
        }
        stopped += 1;
        assert!(stopped < 40, "it never ends");
    }
    assert!(stopped > 4, "{stopped}");
    assert_eq!(world.again().await.mount_keys().len(), 1 + world.gateway.state().account_epoch as usize);
}

#[tokio::test]
async fn an_account_key_that_was_given_up_is_refused() {
    let world = filled().await;
    let before = {
        let state = world.gateway.state();
        (state.registration.clone(), state.device_key.clone(), state.buckets.clone(), state.writers.clone())
    };
    replace(&world.client).await.unwrap();
    {
        let mut state = world.gateway.state();
        let (registration, device_key, buckets, writers) = before;
        (state.registration, state.device_key, state.buckets, state.writers) =
            (registration, device_key, buckets, writers);
        (state.account_epoch, state.account_history) = (0, String::new());
    }
    let older = |error: Error| matches!(error, Error::Integrity(IntegrityError::Mismatch(_)));
    assert!(older(Client::open(&world.gateway.config(world.home.path())).await.err().unwrap()));
    assert!(older(world.client.buckets().await.err().unwrap()));
    // A server cannot say either that the old key is the new one.
    world.gateway.state().account_epoch = 1;
    let sealed = Client::open(&world.gateway.config(world.home.path())).await.err().unwrap();
    assert!(matches!(sealed, Error::Integrity(IntegrityError::Sealed(_))), "{sealed}");
    world.gateway.state().account_epoch = 0;
    assert!(older(world.gateway.log_in(world.home.path(), false).await.err().unwrap()));
}

#[tokio::test]
async fn a_writer_list_that_is_held_back_from_the_next_identity_is_refused() {
    let world = filled().await;
    let old = world.client.secrets();
    replace(&world.client).await.unwrap();
    let id = bytes::Bytes::copy_from_slice(&world.bucket.id.0);
    let honest = world.gateway.state().writers[&id].clone();
    // Who has the key of before goes on with the list of before.
    let list = WriterList::verify(world.bucket.id, &world.bucket.owner_key, &honest[..1]).unwrap();
    let stranger = ed25519_dalek::SigningKey::from_bytes(&[6; 32]).verifying_key().to_bytes();
    let entry = old.identity.sign_writer(&list.next(WriterAction::Add, stranger, 0));
    let forged = [vec![honest[0].clone()], vec![honest[0].clone(), entry.into()]];
    let refused = async |client: &Client, entries: &Vec<bytes::Bytes>| {
        world.gateway.state().writers.insert(id.clone(), entries.clone());
        match client.bucket("photos").await {
            Err(Error::Integrity(error)) => error,
            other => panic!("{:?}", other.err().map(|error| error.to_string())),
        }
    };
    for entries in &forged {
        assert_eq!(refused(&world.client, entries).await, IntegrityError::OwnerKey, "this machine saw more");
    }
    let elsewhere = tempfile::tempdir().unwrap();
    world.gateway.log_in(elsewhere.path(), false).await.unwrap();
    let fresh = Client::open(&world.gateway.config(elsewhere.path())).await.unwrap();
    for entries in &forged {
        assert_eq!(refused(&fresh, entries).await, IntegrityError::OwnerKey, "it is not in the hands of the new key");
    }
    world.gateway.state().writers.insert(id, honest);
    assert!(fresh.bucket("photos").await.is_ok());
}

#[tokio::test]
async fn buckets_whose_turn_comes_after_the_account_key_are_remembered() {
    let world = filled().await;
    world.client.create_bucket("music", false).await.unwrap();
    world.client.plan_rotations().await.unwrap();
    replace(&world.client).await.unwrap();
    let silent = |_| {};
    world.again().await.rotate_bucket("photos", true, &silent).await.unwrap();
    // The next process goes on with what is left.
    let client = world.again().await;
    assert!(!client.may_resume_rotation("photos").await.unwrap());
    assert!(client.may_resume_rotation("music").await.unwrap());
    assert_eq!(client.rotate_bucket("music", true, &silent).await.unwrap().epoch, 2);
    assert!(client.rotate_bucket("music", true, &silent).await.is_err());
}
