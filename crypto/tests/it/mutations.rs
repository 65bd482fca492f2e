//! What foreign bytes can do: nothing but be refused. Every parser gets thousands of mutations of what is frozen.

use cyx_core::extent::BlobHeader;
use cyx_core::ids::{BlobId, InodeId};
use cyx_core::name::EncryptedName;
use cyx_crypto::frames::BlobCipher;
use cyx_crypto::identity::IdentityKeys;
use cyx_crypto::keys::{BlobKey, InodeKey};
use cyx_crypto::names::{decrypt_name, encrypt_name};
use cyx_crypto::recovery::parse_words;
use cyx_crypto::wrap::{Field, epoch_of, open_field, open_history};

use crate::account::{account, identity_box};
use crate::boxes::{INODE, field_box, history, inode_key};
use crate::reference;
use crate::support::{Numbers, mutate, vector, vectors};

const ROUNDS: usize = 3000;

fn each_mutation(seed: u64, bytes: &[u8], mut check: impl FnMut(&[u8])) {
    let mut numbers = Numbers(seed);
    for _ in 0..ROUNDS {
        let changed = mutate(bytes, &mut numbers);
        if changed != bytes {
            check(&changed);
        }
    }
}

#[test]
fn boxes() {
    each_mutation(1, &field_box(), |changed| {
        assert!(open_field(&inode_key(), INODE, Field::LinkTarget, changed).is_err());
        let _ = epoch_of(changed);
    });
    let (public, sealed) = identity_box();
    each_mutation(2, &sealed, |changed| assert!(IdentityKeys::open(&account(), &public, changed).is_err()));
}

#[test]
fn histories() {
    each_mutation(3, &history(), |changed| {
        if let Ok(keyring) = open_history(inode_key(), INODE, changed) {
            // Cut down to nothing, a history is that of an inode that never changed its key.
            assert!(changed.is_empty() && keyring.all().count() == 1);
        }
    });
}

#[test]
fn names() {
    let key = InodeKey::from_parts(1, [0x44; 32]).derive_name_key();
    let name = encrypt_name(&key, InodeId([3; 16]), b"some name of two blocks").unwrap();
    each_mutation(4, name.as_bytes(), |changed| {
        if let Ok(changed) = EncryptedName::try_from(changed) {
            assert!(decrypt_name(&key, InodeId([3; 16]), &changed).is_err());
        }
    });
}

#[test]
fn frames() {
    let (key, blob) = ([1; 32], [2; 16]);
    let plain = Numbers(5).bytes(2500);
    let sealed = reference::frames(&key, &blob, 1024, &plain);
    let header = BlobHeader::with_frames(2500, 1024).unwrap();
    let cipher = BlobCipher::new(&BlobKey::from_bytes(key), BlobId(blob), header);
    each_mutation(6, &sealed, |changed| {
        let mut out = Vec::new();
        match cipher.open_frames(0, changed, &mut out) {
            // Cut at the border of a frame, what is left are the whole frames before it.
            Ok(()) => assert!(sealed.starts_with(changed) && plain.starts_with(&out)),
            Err(_) => assert!(out.is_empty()),
        }
    });
}

#[test]
fn recovery_words() {
    let words = cyx_crypto::recovery::words(&cyx_crypto::keys::RecoveryKey::from_bytes([9; 32]));
    each_mutation(7, words.as_bytes(), |changed| {
        let _ = parse_words(&String::from_utf8_lossy(changed));
    });
}

#[test]
fn every_vector_is_documented() {
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/formats");
    let text: String =
        std::fs::read_dir(docs).unwrap().map(|page| std::fs::read_to_string(page.unwrap().path()).unwrap()).collect();
    for file in std::fs::read_dir(vectors()).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        assert!(text.contains(&format!("`crypto/tests/vectors/{name}`")), "docs/formats does not mention {name}");
    }
}

#[test]
fn the_frozen_box_is_the_one_that_was_mutated() {
    assert_eq!(vector("box-field"), field_box());
}
