//! Boxes: frozen bytes, and that nothing opens in another place than the one it was sealed for.

use cyx_core::extent::BlobHeader;
use cyx_core::ids::{AccountId, BlobId, BucketId, InodeId, SessionId};
use cyx_core::inode::InodeKind;
use cyx_core::name::EncryptedName;
use cyx_crypto::Undecryptable;
use cyx_crypto::keys::{AccountKey, BlobKey, DeviceKey, InodeKey, RecoveryKey, RootKey};
use cyx_crypto::wrap::{
    AccountKek, BOX_MAX, BOX_OVERHEAD, BucketAccess, Edge, Field, epoch_of, extend_history, open_account_history,
    open_account_key, open_blob_key, open_bucket_name, open_child_key, open_field, open_history, open_root_key,
    seal_account_key, seal_blob_key, seal_bucket_name, seal_child_key, seal_field, seal_root_key,
};
use proptest::prelude::*;

use crate::account::identity_box;
use crate::reference::{derive, gcm, key_plain, sealed_box};
use crate::support::{assert_frozen, assert_malformed};

pub(crate) const KEY: [u8; 32] = [0x31; 32];
pub(crate) const INNER: [u8; 32] = [0x32; 32];
pub(crate) const INODE: InodeId = InodeId([0x33; 16]);
const CHILD: InodeId = InodeId([0x34; 16]);
const BUCKET: BucketId = BucketId([0x35; 16]);
const MEMBER: AccountId = AccountId([0x36; 16]);
const OWNER: [u8; 32] = [0x37; 32];
const BLOB: BlobId = BlobId([0x38; 16]);

pub(crate) fn inode_key() -> InodeKey {
    InodeKey::from_parts(7, KEY)
}

fn name(byte: u8) -> EncryptedName {
    EncryptedName::new(vec![byte; 32]).unwrap()
}

fn header() -> BlobHeader {
    BlobHeader::new(40_000).unwrap()
}

/// Box 9 with a link target in it.
pub(crate) fn field_box() -> Vec<u8> {
    sealed_box(9, 7, &derive(&KEY, "cyx v1 fields"), &[&INODE.0[..], &[1]].concat(), b"../target")
}

/// Three keys, of epochs 2, 4 and 7.
pub(crate) fn history() -> Vec<u8> {
    let older = |newer_epoch, newer: &[u8; 32], epoch, key| {
        sealed_box(8, newer_epoch, &derive(newer, "cyx v1 key history"), &INODE.0, &key_plain(epoch, key))
    };
    [&b"cyxH\x01\x02\x00"[..], &older(4, &[4; 32], 2, &[2; 32]), &older(7, &KEY, 4, &[4; 32])].concat()
}

#[test]
fn boxes_of_an_account_are_frozen() {
    let account = AccountKey::from_bytes(INNER);
    let (recovery, device) = (RecoveryKey::from_bytes(KEY), DeviceKey::from_bytes(KEY));
    let cases = [
        (AccountKek::Recovery(&recovery), 2, "cyx v1 recovery kek", "box-account-key-by-recovery"),
        (AccountKek::Device(&device), 3, "cyx v1 device kek", "box-account-key-by-device"),
    ];
    for (kek, purpose, label, file) in cases {
        let sealed = sealed_box(purpose, 0, &derive(&KEY, label), &[], &INNER);
        assert_frozen(file, &sealed);
        assert!(open_account_key(kek, &sealed) == Ok(account.clone()));
        assert!(open_account_key(kek, &seal_account_key(kek, &account)) == Ok(account.clone()));
    }
    // One secret used for two purposes makes two keys.
    let sealed = seal_account_key(AccountKek::Recovery(&recovery), &account);
    assert!(open_account_key(AccountKek::Device(&device), &sealed).is_err());
}

#[test]
fn what_an_api_key_of_one_bucket_opens_is_frozen() {
    let (device, id) = (DeviceKey::from_bytes(KEY), SessionId([0x39; 16]));
    let plain = [&BUCKET.0[..], &OWNER, &key_plain(3, &INNER), &[0x3a; 32], &[0x62; 32], &[0x63; 32]].concat();
    let sealed = sealed_box(12, 0, &derive(&KEY, "cyx v1 device kek"), &id.0, &plain);
    assert_frozen("box-bucket-access", &sealed);
    let access = BucketAccess::open(&device, id, &sealed).ok().unwrap();
    assert_eq!((access.bucket, access.owner), (BUCKET, OWNER));
    assert!(access.root == RootKey::from_parts(3, INNER));
    assert!(access.secrets.key == AccountKey::from_bytes([0x3a; 32]));
    assert_eq!(access.secrets.identity.public(), identity_box().0);

    let sealed = access.seal(&device, id);
    let again = BucketAccess::open(&device, id, &sealed).ok().unwrap();
    assert!(again.secrets.key == access.secrets.key && again.root == access.root);
    assert!(BucketAccess::open(&device, SessionId([0; 16]), &sealed).is_err(), "another API key");
    assert!(BucketAccess::open(&DeviceKey::from_bytes(INNER), id, &sealed).is_err(), "another secret");
    let short = sealed_box(12, 0, &derive(&KEY, "cyx v1 device kek"), &id.0, &plain[..plain.len() - 1]);
    assert!(BucketAccess::open(&device, id, &short).is_err());
    // Neither kind of API key passes for the other.
    assert!(open_account_key(AccountKek::Device(&device), &sealed).is_err());
    let account = seal_account_key(AccountKek::Device(&device), &AccountKey::from_bytes(INNER));
    assert!(BucketAccess::open(&device, id, &account).is_err());
}

#[test]
fn boxes_of_a_bucket_are_frozen() {
    let account = AccountKey::from_bytes(KEY);
    let context = [&BUCKET.0[..], &OWNER, &MEMBER.0].concat();
    let sealed = sealed_box(5, 0, &derive(&KEY, "cyx v1 root wrap"), &context, &key_plain(3, &INNER));
    assert_frozen("box-root-key", &sealed);
    let root = RootKey::from_parts(3, INNER);
    assert!(open_root_key(&account, &sealed, BUCKET, &OWNER, MEMBER) == Ok(root.clone()));

    let sealed = seal_root_key(&account, &root, BUCKET, &OWNER, MEMBER);
    assert!(open_root_key(&account, &sealed, BUCKET, &OWNER, MEMBER) == Ok(root.clone()));
    assert!(open_root_key(&account, &sealed, BucketId([0; 16]), &OWNER, MEMBER).is_err());
    assert!(open_root_key(&account, &sealed, BUCKET, &[0; 32], MEMBER).is_err(), "another owner");
    assert!(open_root_key(&account, &sealed, BUCKET, &OWNER, AccountId([0; 16])).is_err());
    assert!(open_root_key(&AccountKey::from_bytes(INNER), &sealed, BUCKET, &OWNER, MEMBER).is_err());

    let sealed = sealed_box(6, 3, &derive(&INNER, "cyx v1 bucket name"), &BUCKET.0, b"photos");
    assert_frozen("box-bucket-name", &sealed);
    assert_eq!(open_bucket_name(&root, BUCKET, &sealed).as_deref(), Ok(&b"photos"[..]));
    let sealed = seal_bucket_name(&root, BUCKET, b"photos").unwrap();
    assert_eq!(open_bucket_name(&root, BUCKET, &sealed).as_deref(), Ok(&b"photos"[..]));
    assert!(open_bucket_name(&root, BucketId([0; 16]), &sealed).is_err());
    assert!(open_bucket_name(&root.make_next(), BUCKET, &sealed).is_err());
    assert!(seal_bucket_name(&root, BUCKET, b"..").is_err());
    let lie = sealed_box(6, 3, &derive(&INNER, "cyx v1 bucket name"), &BUCKET.0, b"../../etc");
    assert!(open_bucket_name(&root, BUCKET, &lie).is_err());

    let directory = root.derive_directory_key();
    assert!(directory.epoch() == 3 && *directory.expose() == derive::<32>(&INNER, "cyx v1 root directory"));
}

#[test]
fn a_childs_key_opens_on_its_own_edge_only() {
    let (encrypted, other_name) = (name(1), name(2));
    let edge = Edge { directory: INODE, name: &encrypted, child: CHILD, kind: InodeKind::File };
    let context = [&INODE.0[..], &CHILD.0, &[1], encrypted.as_bytes()].concat();
    let sealed = sealed_box(7, 7, &derive(&KEY, "cyx v1 child wrap"), &context, &key_plain(2, &INNER));
    assert_frozen("box-child-key", &sealed);
    let child = InodeKey::from_parts(2, INNER);
    assert!(open_child_key(&inode_key(), &edge, &sealed) == Ok(child.clone()));
    assert_eq!(epoch_of(&sealed), Ok(7));

    let sealed = seal_child_key(&inode_key(), &edge, &child);
    assert!(open_child_key(&inode_key(), &edge, &sealed) == Ok(child));
    let elsewhere = [
        Edge { directory: CHILD, ..edge },
        Edge { name: &other_name, ..edge },
        Edge { child: INODE, ..edge },
        Edge { kind: InodeKind::Directory, ..edge },
    ];
    for edge in elsewhere {
        assert!(open_child_key(&inode_key(), &edge, &sealed).is_err(), "{edge:?}");
    }
    assert!(open_child_key(&InodeKey::from_parts(8, KEY), &edge, &sealed).is_err(), "another epoch");
    assert!(open_child_key(&InodeKey::from_parts(7, INNER), &edge, &sealed).is_err(), "another key");
}

#[test]
fn a_field_opens_in_its_own_inode_only() {
    let sealed = field_box();
    assert_frozen("box-field", &sealed);
    assert_eq!(open_field(&inode_key(), INODE, Field::LinkTarget, &sealed).as_deref(), Ok(&b"../target"[..]));
    let sealed = seal_field(&inode_key(), INODE, Field::LinkTarget, b"x").unwrap();
    assert_eq!(open_field(&inode_key(), INODE, Field::LinkTarget, &sealed).as_deref(), Ok(&b"x"[..]));
    assert!(open_field(&inode_key(), INODE, Field::Meta, &sealed).is_err());
    assert!(open_field(&inode_key(), CHILD, Field::LinkTarget, &sealed).is_err());
    assert!(open_field(&inode_key().make_next(), INODE, Field::LinkTarget, &sealed).is_err());
    let largest = vec![0; BOX_MAX - BOX_OVERHEAD];
    let sealed = seal_field(&inode_key(), INODE, Field::Meta, &largest).unwrap();
    assert!(open_field(&inode_key(), INODE, Field::Meta, &sealed).is_ok());
    assert!(seal_field(&inode_key(), INODE, Field::Meta, &vec![0; BOX_MAX]).is_err());
}

#[test]
fn a_blobs_key_opens_for_its_own_blob_and_header_only() {
    let context = [&b"cyx v1 blob key"[..], &BLOB.0, &header().to_bytes()].concat();
    let nonce = [0x5a; 12];
    let sealed = [&nonce[..], &gcm(&derive(&KEY, "cyx v1 blob wrap"), &nonce, &context, &INNER)].concat();
    assert_frozen("blob-key", &sealed);
    let wrapped: [u8; 60] = sealed.try_into().unwrap();
    let blob_key = BlobKey::from_bytes(INNER);
    assert!(open_blob_key(&inode_key(), BLOB, header(), &wrapped) == Ok(blob_key.clone()));

    let wrapped = seal_blob_key(&inode_key(), BLOB, header(), &blob_key);
    assert!(open_blob_key(&inode_key(), BLOB, header(), &wrapped) == Ok(blob_key));
    assert!(open_blob_key(&inode_key(), BlobId([0; 16]), header(), &wrapped).is_err());
    assert!(open_blob_key(&inode_key(), BLOB, BlobHeader::new(39_999).unwrap(), &wrapped).is_err());
    assert!(open_blob_key(&inode_key(), BLOB, BlobHeader::with_frames(40_000, 1024).unwrap(), &wrapped).is_err());
    assert!(open_blob_key(&InodeKey::from_parts(7, INNER), BLOB, header(), &wrapped).is_err());
}

#[test]
fn account_keys_of_before_are_reached_from_the_newest() {
    let older = |newer: &[u8; 32], newer_epoch, older: &[u8; 32]| {
        let key = derive(newer, "cyx v1 account key history");
        sealed_box(14, newer_epoch, &key, &MEMBER.0, &key_plain(newer_epoch - 1, older))
    };
    let history =
        [&b"cyxA\x01\x02\x00"[..], &older(&[0x71; 32], 1, &[0x70; 32]), &older(&KEY, 2, &[0x71; 32])].concat();
    assert_frozen("account-key-history", &history);
    let found = open_account_history(&AccountKey::from_bytes(KEY), 2, MEMBER, &history).unwrap();
    assert!(found == [0x71, 0x70].map(|byte| AccountKey::from_bytes([byte; 32])));
}

#[test]
fn what_opens_an_api_key_for_its_owner_goes_under_the_next_account_key() {
    let [older, newer] = [KEY, INNER].map(AccountKey::from_bytes);
    let (device, id) = (DeviceKey::from_bytes([0x3b; 32]), SessionId([0x39; 16]));
    let access = BucketAccess::make(BUCKET, OWNER, RootKey::from_parts(3, INNER));
    let sealed = access.seal(&device, id);
    let kek = BucketAccess::seal_kek_for_owner(&older, &device, id);
    let again = BucketAccess::reseal_kek_for_owner(&older, &newer, id, &kek).unwrap();
    assert!(BucketAccess::open_as_owner(&newer, id, &again, &sealed).is_ok());
    assert!(BucketAccess::open_as_owner(&older, id, &again, &sealed).is_err());
    assert!(BucketAccess::reseal_kek_for_owner(&newer, &older, id, &kek).is_err());
    assert!(BucketAccess::reseal_kek_for_owner(&older, &newer, SessionId([0; 16]), &kek).is_err());
}

#[test]
fn older_keys_are_reached_from_the_newest() {
    assert_frozen("key-history", &history());
    let keyring = open_history(inode_key(), INODE, &history()).ok().unwrap();
    let epochs: Vec<u32> = keyring.all().map(InodeKey::epoch).collect();
    assert_eq!(epochs, [7, 4, 2]);
    assert!(*keyring.of_epoch(2).ok().unwrap().expose() == [2; 32]);
    assert!(keyring.of_epoch(3).is_err());
    assert!(open_history(inode_key(), CHILD, &history()).is_err(), "another inode");
    let behind = open_history(InodeKey::from_parts(4, [4; 32]), INODE, &history()).ok().unwrap();
    assert_eq!(behind.all().map(InodeKey::epoch).collect::<Vec<_>>(), [4, 2], "an older key opens what is behind it");
    assert!(open_history(InodeKey::from_parts(4, [5; 32]), INODE, &history()).is_err(), "another key of that epoch");

    let newest = inode_key().make_next();
    let longer = extend_history(&history(), INODE, &inode_key(), &newest).unwrap();
    assert_eq!(open_history(newest, INODE, &longer).ok().unwrap().all().count(), 4);
    assert_eq!(open_history(inode_key(), INODE, &[]).ok().unwrap().all().count(), 1);
}

#[test]
fn malformed_boxes_and_histories_are_refused() {
    let with = |bytes: &[u8], at: usize, value: u8| {
        let mut changed = bytes.to_vec();
        changed[at] = value;
        changed
    };
    let bytes = field_box();
    let cases = [
        ("nothing", vec![]),
        ("header alone", bytes[..10].to_vec()),
        ("no room for a tag", bytes[..10 + 12 + 15].to_vec()),
        ("other magic", with(&bytes, 0, b'C')),
        ("unknown version", with(&bytes, 4, 2)),
        ("another purpose", with(&bytes, 5, 8)),
        ("another epoch", with(&bytes, 6, 8)),
        ("changed nonce", with(&bytes, 10, 0)),
        ("changed ciphertext", with(&bytes, 22, bytes[22] ^ 1)),
        ("changed tag", with(&bytes, bytes.len() - 1, bytes[bytes.len() - 1] ^ 1)),
        ("last byte missing", bytes[..bytes.len() - 1].to_vec()),
        ("one byte too many", [&bytes[..], &[0]].concat()),
    ];
    assert_malformed("box-field", &cases, |bytes| {
        open_field(&inode_key(), INODE, Field::LinkTarget, bytes) == Err(Undecryptable)
    });

    let bytes = history();
    let rising = sealed_box(8, 7, &derive(&KEY, "cyx v1 key history"), &INODE.0, &key_plain(7, &[4; 32]));
    let cases = [
        ("magic alone", bytes[..4].to_vec()),
        ("unknown version", with(&bytes, 4, 2)),
        ("no keys", b"cyxH\x01\x00\x00".to_vec()),
        ("fewer keys than said", with(&bytes, 5, 3)),
        ("more keys than said", with(&bytes, 5, 1)),
        ("65,535 keys", with(&with(&bytes, 5, 0xff), 6, 0xff)),
        ("order changed", [&bytes[..7], &bytes[7 + 74..], &bytes[7..7 + 74]].concat()),
        ("the newer half alone, said to be all", [&b"cyxH\x01\x01\x00"[..], &bytes[7..7 + 74]].concat()),
        ("an epoch that does not fall", [&b"cyxH\x01\x01\x00"[..], &rising].concat()),
        ("one byte too many", [&bytes[..], &[0]].concat()),
    ];
    assert_malformed("key-history", &cases, |bytes| open_history(inode_key(), INODE, bytes).is_err());
}

#[test]
fn the_same_secret_never_makes_the_same_box() {
    let seal = || seal_field(&inode_key(), INODE, Field::Meta, b"same").unwrap();
    assert_ne!(seal(), seal());
    let seal = || seal_blob_key(&inode_key(), BLOB, header(), &BlobKey::from_bytes(INNER));
    assert_ne!(seal(), seal());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever differs between sealing and opening, nothing opens; if nothing differs, the field comes back.
    #[test]
    fn a_field_opens_only_where_it_was_sealed(
        plain in prop::collection::vec(any::<u8>(), 0..300),
        (key, other_key) in any::<([u8; 32], [u8; 32])>(),
        (epoch, other_epoch) in any::<(u32, u32)>(),
        (inode, other_inode) in any::<([u8; 16], [u8; 16])>(),
        same in 0_u8..8,
    ) {
        let sealed = seal_field(&InodeKey::from_parts(epoch, key), InodeId(inode), Field::Meta, &plain).unwrap();
        let key = if same & 1 == 0 { key } else { other_key };
        let epoch = if same & 2 == 0 { epoch } else { other_epoch };
        let inode = if same & 4 == 0 { inode } else { other_inode };
        let opened = open_field(&InodeKey::from_parts(epoch, key), InodeId(inode), Field::Meta, &sealed);
        prop_assert_eq!(opened, if same == 0 { Ok(plain) } else { Err(Undecryptable) });
    }
}
