//! Accounts, identities and recovery words.

use cyx_core::auth::{SALT_LEN, StretchError, StretchParams, recovery_body, stretch};
use cyx_core::extent::PageId;
use cyx_core::ids::{BlobId, BucketId, InodeId, SessionId};
use cyx_core::sign;
use cyx_core::writers::{WriterAction, WriterList};
use cyx_crypto::Undecryptable;
use cyx_crypto::account::{derive_login, make_account, make_password, make_recovery, open_account};
use cyx_crypto::fingerprint::{frames_fingerprint, plaintext_fingerprint};
use cyx_crypto::identity::{IdentityKeys, PublicIdentity};
use cyx_crypto::keys::{AccountKey, DeviceKey, PasswordKek, RecoveryKey};
use cyx_crypto::recovery::{RecoveryError, WORDS, parse_words, words};
use cyx_crypto::wrap::{AccountKek, open_account_key, seal_account_key};
use ed25519_dalek::SigningKey;

use crate::reference::{derive, sealed_box};
use crate::support::assert_frozen;

const ACCOUNT: [u8; 32] = [0x61; 32];

/// An identity of known private keys, sealed by the reference.
pub(crate) fn identity_box() -> (PublicIdentity, Vec<u8>) {
    let (signing, exchange) = ([0x62; 32], [0x63; 32]);
    let public = PublicIdentity {
        signing: SigningKey::from_bytes(&signing).verifying_key().to_bytes(),
        exchange: x25519_dalek::PublicKey::from(&x25519_dalek::StaticSecret::from(exchange)).to_bytes(),
    };
    let context = [public.signing, public.exchange].concat();
    let plain = [signing, exchange].concat();
    (public, sealed_box(4, 0, &derive(&ACCOUNT, "cyx v1 identity wrap"), &context, &plain))
}

pub(crate) fn account() -> AccountKey {
    AccountKey::from_bytes(ACCOUNT)
}

fn identity() -> IdentityKeys {
    let (public, sealed) = identity_box();
    IdentityKeys::open(&account(), &public, &sealed).ok().unwrap()
}

#[test]
fn what_a_password_opens_is_frozen() {
    let salt = [7; SALT_LEN];
    let stretched = stretch(b"correct horse battery staple", &salt, StretchParams::DEFAULT).unwrap();
    let kek = PasswordKek::derive(&stretched);
    let sealed = sealed_box(1, 0, &stretched.derive(b"cyx v1 password kek"), &[], &ACCOUNT);
    assert_frozen("box-account-key-by-password", &sealed);
    assert!(open_account_key(AccountKek::Password(&kek), &sealed) == Ok(account()));
}

#[test]
fn an_account_opens_with_its_password_words_and_devices_and_nothing_else() {
    let new = make_account(b"one Password! of many").unwrap();
    let sent = &new.registration;
    let open = |kek: AccountKek<'_>, wrapped: &[u8]| open_account(kek, wrapped, &sent.identity, &sent.wrapped_identity);

    let login = derive_login(b"one Password! of many", &sent.password.salt, sent.password.params).unwrap();
    assert!(*login.auth_key == *sent.password.auth_key);
    let opened = open(AccountKek::Password(&login.kek), &sent.password.wrapped_account_key).ok().unwrap();
    assert!(opened.key == new.secrets.key && opened.identity.public() == sent.identity);

    let recovery = parse_words(&new.recovery_words).ok().unwrap();
    let opened = open(AccountKek::Recovery(&recovery), &sent.recovery_wrapped_account_key).ok().unwrap();
    assert!(opened.key == new.secrets.key);

    let device = DeviceKey::make();
    let wrapped = seal_account_key(AccountKek::Device(&device), &new.secrets.key);
    assert!(open(AccountKek::Device(&device), &wrapped).is_ok());
    assert!(open(AccountKek::Device(&DeviceKey::make()), &wrapped).is_err());

    let wrong = derive_login(b"another Password! of many", &sent.password.salt, sent.password.params).unwrap();
    assert!(open(AccountKek::Password(&wrong.kek), &sent.password.wrapped_account_key).is_err());
    // A password that was changed opens the same account; the old one does not open the new box.
    let changed = make_password(b"the next Password! here", &new.secrets.key).unwrap();
    assert_ne!(changed.salt, sent.password.salt);
    assert!(open(AccountKek::Password(&login.kek), &changed.wrapped_account_key).is_err());
    let login = derive_login(b"the next Password! here", &changed.salt, changed.params).unwrap();
    assert!(open(AccountKek::Password(&login.kek), &changed.wrapped_account_key).is_ok());
}

#[test]
fn a_server_cannot_ask_for_weak_stretching() {
    let weak = StretchParams { memory_kib: 1024, ..StretchParams::DEFAULT };
    assert_eq!(derive_login(b"x", &[0; SALT_LEN], weak).err(), Some(StretchError::TooWeak));
}

#[test]
fn an_identity_opens_with_its_own_public_halves_only() {
    let (public, sealed) = identity_box();
    assert_frozen("box-identity", &sealed);
    let identity = identity();
    assert_eq!(identity.public(), public);
    let swapped = PublicIdentity { signing: public.exchange, exchange: public.signing };
    assert_eq!(IdentityKeys::open(&account(), &swapped, &sealed).err(), Some(Undecryptable));
    let mine = IdentityKeys::make();
    let other = PublicIdentity { exchange: mine.public().exchange, ..public };
    assert!(IdentityKeys::open(&account(), &other, &sealed).is_err());
    assert!(IdentityKeys::open(&account(), &mine.public(), &mine.seal(&account())).is_ok());
    // Private keys that are not those of the public halves, sealed by whoever knows the account key.
    let context = public.to_bytes();
    let lie = sealed_box(4, 0, &derive(&ACCOUNT, "cyx v1 identity wrap"), &context, &[1; 64]);
    assert!(IdentityKeys::open(&account(), &public, &lie).is_err());
}

#[test]
fn fingerprints_are_frozen() {
    let public = identity().public();
    let digits = &blake3::derive_key("cyx v1 fingerprint", &public.to_bytes())[..16];
    assert_frozen("identity-fingerprint", digits);
    assert_eq!(public.fingerprint().replace(' ', ""), hex::encode(digits));
    assert_eq!(public.fingerprint().len(), 8 * 4 + 7);

    let key = account().derive_fingerprint_key();
    let print = plaintext_fingerprint(&key, BlobId([1; 16]), b"plain");
    assert_frozen("plaintext-fingerprint", &print);
    let keyed = derive(&ACCOUNT, "cyx v1 plaintext fingerprint");
    assert_eq!(print, *blake3::keyed_hash(&keyed, &[&[1; 16][..], b"plain"].concat()).as_bytes());
    assert_ne!(print, plaintext_fingerprint(&key, BlobId([2; 16]), b"plain"));
    assert_ne!(print, plaintext_fingerprint(&key, BlobId([1; 16]), b"plane"));

    let print = frames_fingerprint(&key, BlobId([1; 16]), 2, [[3; 16], [4; 16]]);
    assert_frozen("frames-fingerprint", &print);
    let parts = [&b"cyx v1 frame tags"[..], &[1; 16], &2_u64.to_le_bytes(), &[3; 16], &[4; 16]];
    assert_eq!(print, *blake3::keyed_hash(&keyed, &parts.concat()).as_bytes());
    assert_ne!(print, frames_fingerprint(&key, BlobId([1; 16]), 3, [[3; 16], [4; 16]]));
    assert_ne!(print, frames_fingerprint(&key, BlobId([2; 16]), 2, [[3; 16], [4; 16]]));
}

#[test]
fn commits_and_writer_lists_are_signed_with_the_identity() {
    let (owner, bucket) = (identity(), BucketId([5; 16]));
    let signed = owner.sign_commit(bucket, 0, InodeId([6; 16]), 3, 77, PageId([8; 32]));
    assert_eq!((signed.commit.version, signed.commit.base, signed.commit.writer), (4, 3, owner.key_id()));
    assert_eq!(signed.commit.verify(&owner.public().signing, &signed.signature), Ok(()));

    let first = owner.sign_first_writer(bucket);
    let mut list = WriterList::verify(bucket, &owner.public().signing, &[first]).unwrap();
    assert_eq!(list.verify_commit(&signed.commit, &signed.signature, Some(1)), Ok(()));
    let friend = IdentityKeys::make();
    let added = owner.sign_writer(&list.next(WriterAction::Add, friend.public().signing, 10));
    list.append(&owner.public().signing, &added).unwrap();
    assert_eq!(list.may_sign_now(sign::key_id(&friend.public().signing)), Some(friend.public().signing));
    let forged = friend.sign_writer(&list.next(WriterAction::Add, [1; 32], 11));
    assert!(list.append(&owner.public().signing, &forged).is_err());
}

#[test]
fn recovery_words_are_those_of_bip_39() {
    // Test vectors of BIP-39.
    let zeros = format!("{}art", "abandon ".repeat(23));
    assert_eq!(*words(&RecoveryKey::from_bytes([0; 32])), zeros);
    let legal = "legal winner thank year wave sausage worth useful legal winner thank year wave sausage worth useful \
                 legal winner thank year wave sausage worth title";
    assert_eq!(*words(&RecoveryKey::from_bytes([0x7f; 32])), legal);
    assert!(parse_words(legal) == Ok(RecoveryKey::from_bytes([0x7f; 32])));
    let untidy = legal.to_uppercase().replace(' ', " \n\t ");
    assert!(parse_words(&untidy) == Ok(RecoveryKey::from_bytes([0x7f; 32])));
}

#[test]
fn new_recovery_words_open_the_account_and_the_old_ones_do_not() {
    let new = make_account(b"one Password! of many").unwrap();
    let replaced = make_recovery(&new.secrets.key);
    let (old, words) = (parse_words(&new.recovery_words).ok().unwrap(), parse_words(&replaced.words).ok().unwrap());
    let open = |key: &RecoveryKey| open_account_key(AccountKek::Recovery(key), &replaced.wrapped_account_key);
    assert!(open(&words) == Ok(new.secrets.key));
    assert!(open(&old).is_err());
}

#[test]
fn a_new_password_is_signed_with_the_identity() {
    let owner = identity();
    let body = |auth_key| recovery_body(SessionId([1; 16]), &[2; 16], StretchParams::DEFAULT, &auth_key, b"a", b"b");
    let signature = owner.sign_recovery(&body([3; 32]));
    let verify = |body: &[u8]| sign::verify(&owner.public().signing, sign::Purpose::Recovery, body, &signature);
    assert_eq!(verify(&body([3; 32])), Ok(()));
    assert_eq!(verify(&body([4; 32])), Err(sign::BadSignature));
}

#[test]
fn wrong_recovery_words_are_explained() {
    let key = RecoveryKey::make();
    let good = words(&key).to_string();
    assert_eq!(good.split(' ').count(), WORDS);
    assert!(parse_words(&good) == Ok(key));
    let mut list: Vec<&str> = good.split(' ').collect();
    assert_eq!(parse_words(&list[..23].join(" ")).err(), Some(RecoveryError::WrongCount(23)));
    assert_eq!(parse_words("").err(), Some(RecoveryError::WrongCount(0)));
    list[4] = "cloud-drive";
    assert_eq!(parse_words(&list.join(" ")).err(), Some(RecoveryError::UnknownWord(5)));
    let zeros = "abandon ".repeat(24);
    assert_eq!(parse_words(&zeros).err(), Some(RecoveryError::WrongChecksum));
}
