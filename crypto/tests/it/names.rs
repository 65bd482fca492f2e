//! Names: frozen bytes, what a server can learn, and what it cannot slip in.

use cyx_core::ids::InodeId;
use cyx_core::name::EncryptedName;
use cyx_crypto::Undecryptable;
use cyx_crypto::keys::{AccountKey, InodeKey};
use cyx_crypto::names::{
    NameError, check_name, decrypt_bucket_token, decrypt_name, encrypt_bucket_token, encrypt_name,
};
use proptest::prelude::*;

use crate::reference;
use crate::support::{assert_frozen, assert_malformed};

const DIRECTORY: InodeId = InodeId([3; 16]);

fn key() -> InodeKey {
    InodeKey::from_parts(1, [0x44; 32])
}

/// A name as a liar would make it who has the key: padded in any way.
fn lie(padded: &[u8]) -> Vec<u8> {
    reference::siv(&reference::derive(&[0x44; 32], "cyx v1 names"), &[b"cyx v1 name", &DIRECTORY.0], padded)
}

#[test]
fn names_are_frozen() {
    let name = encrypt_name(&key().derive_name_key(), DIRECTORY, b"holiday.jpg").unwrap();
    assert_frozen("name", name.as_bytes());
    assert_eq!(name.as_bytes(), lie(b"holiday.jpg\x80\0\0\0\0"));
    let longest = [b'n'; 255];
    let name = encrypt_name(&key().derive_name_key(), DIRECTORY, &longest).unwrap();
    assert_eq!(name.as_bytes(), lie(&[&longest[..], b"\x80"].concat()));
    assert_eq!(name.as_bytes().len(), 272);

    let account = AccountKey::from_bytes([0x55; 32]);
    let token = encrypt_bucket_token(&account.derive_bucket_token_key(), b"photos").unwrap();
    assert_frozen("bucket-token", token.as_bytes());
    let expected = reference::siv(
        &reference::derive(&[0x55; 32], "cyx v1 bucket name token"),
        &[b"cyx v1 bucket token"],
        b"photos\x80\0\0\0\0\0\0\0\0\0",
    );
    assert_eq!(token.as_bytes(), expected);
    assert_eq!(decrypt_bucket_token(&account.derive_bucket_token_key(), &token).as_deref(), Ok(&b"photos"[..]));
}

#[test]
fn names_that_no_entry_can_have_are_refused_both_ways() {
    let forbidden: [(&str, &[u8]); 9] = [
        ("empty", b""),
        ("dot", b"."),
        ("dot dot", b".."),
        ("slash", b"a/b"),
        ("slash alone", b"/"),
        ("zero byte", b"a\0b"),
        ("leading zero byte", b"\0a"),
        ("parent path", b"../x"),
        ("zeros alone", b"\0\0"),
    ];
    let mut cases = Vec::new();
    for (what, name) in forbidden {
        assert!(encrypt_name(&key().derive_name_key(), DIRECTORY, name).is_err(), "{what}");
        let mut padded = [name, b"\x80"].concat();
        padded.resize(padded.len().next_multiple_of(16), 0);
        cases.push((what, lie(&padded)));
    }
    cases.extend([
        ("no padding mark", lie(b"exactly 16 bytes")),
        ("zeros without a mark", lie(b"short\0\0\0\0\0\0\0\0\0\0\0")),
        ("a block of padding too many", lie(b"short\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")),
        ("all zeros", lie(&[0; 16])),
        ("256 bytes", lie(&[&[b'n'; 256][..], b"\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"].concat())),
        ("not a multiple of 16", lie(b"short\x80\0")),
        ("IV alone", lie(b"x\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\0")[..16].to_vec()),
    ]);
    assert_malformed("name", &cases, |bytes| {
        let Ok(name) = EncryptedName::try_from(bytes) else { return true };
        decrypt_name(&key().derive_name_key(), DIRECTORY, &name) == Err(Undecryptable)
    });
    assert_eq!(check_name(&[b'n'; 256]), Err(NameError::TooLong(256)));
}

#[test]
fn a_name_opens_only_in_its_directory_and_epoch() {
    let name = encrypt_name(&key().derive_name_key(), DIRECTORY, b"x").unwrap();
    assert_eq!(decrypt_name(&key().derive_name_key(), InodeId([4; 16]), &name), Err(Undecryptable));
    assert_eq!(decrypt_name(&key().make_next().derive_name_key(), DIRECTORY, &name), Err(Undecryptable));
    for at in 0..name.as_bytes().len() {
        let mut changed = name.as_bytes().to_vec();
        changed[at] ^= 1;
        let changed = EncryptedName::new(changed).unwrap();
        assert_eq!(decrypt_name(&key().derive_name_key(), DIRECTORY, &changed), Err(Undecryptable), "byte {at}");
    }
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_filter("not a name's byte", |byte| *byte != 0 && *byte != b'/');
    prop::collection::vec(byte, 1..=255).prop_filter("dots", |name| check_name(name).is_ok())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_name_comes_back(name in name()) {
        let encrypted = encrypt_name(&key().derive_name_key(), DIRECTORY, &name).unwrap();
        prop_assert_eq!(encrypted.as_bytes().len(), 16 + (name.len() / 16 + 1) * 16);
        prop_assert_eq!(decrypt_name(&key().derive_name_key(), DIRECTORY, &encrypted), Ok(name));
    }

    #[test]
    fn equal_names_look_equal_in_one_directory_only(a in name(), b in name()) {
        let names = key().derive_name_key();
        let encrypt = |directory, name: &[u8]| encrypt_name(&names, directory, name).unwrap();
        prop_assert_eq!(encrypt(DIRECTORY, &a) == encrypt(DIRECTORY, &b), a == b);
        prop_assert!(encrypt(DIRECTORY, &a) != encrypt(InodeId([4; 16]), &a));
    }
}
