//! Somebody who has the server: its whole database with what was freed in it, its keys, its logs and every mail it sent. Without a
//! password, recovery words or a machine of a user, none of it opens anything.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use cyx_core::auth::StretchParams;
use cyx_crypto::account::derive_login;
use cyx_crypto::keys::{AccountKey, DeviceKey, PasswordKek, RecoveryKey};
use cyx_crypto::recovery::parse_words;
use cyx_crypto::wrap::{AccountKek, open_account_key};
use cyx_tests::user::PASSWORD;
use cyx_tests::{Cluster, noise};

use crate::support::{NEW_PASSWORD, register, text};

/// Bytes of a box with a key of 32 bytes in it, and purposes of such boxes (docs/formats/boxes.md).
const ACCOUNT_BOX: usize = 10 + 12 + 32 + 16;
const BY_PASSWORD: u8 = 1;
const BY_WORDS: u8 = 2;
const BY_DEVICE: u8 = 3;

/// Every file below a folder.
fn gather(folder: &Path, found: &mut Vec<Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            gather(&path, found);
        } else if path.is_file() {
            found.push(fs::read(&path).unwrap());
        }
    }
}

/// The boxes of one purpose that hold an account key.
fn boxes(dump: &[Vec<u8>], purpose: u8) -> BTreeSet<Vec<u8>> {
    let header = [b'c', b'y', b'x', b'W', 1, purpose, 0, 0, 0, 0];
    let mut found = BTreeSet::new();
    for file in dump {
        for at in 0..file.len().saturating_sub(ACCOUNT_BOX) {
            if file[at..].starts_with(&header) {
                found.insert(file[at..at + ACCOUNT_BOX].to_vec());
            }
        }
    }
    found
}

/// Everything of 32 bytes that could be a key: at every place of every file, and behind every text that is one in disguise.
fn candidates(dump: &[Vec<u8>]) -> HashSet<[u8; 32]> {
    let mut found = HashSet::new();
    let mut take = |bytes: &[u8]| {
        for window in bytes.windows(32) {
            // Empty pages are no keys.
            if window.iter().any(|byte| *byte != window[0]) {
                found.insert(<[u8; 32]>::try_from(window).unwrap());
            }
        }
    };
    for file in dump {
        take(file);
        let words = file.split(|byte| !(byte.is_ascii_alphanumeric() || b"+/=-_".contains(byte)));
        for word in words.filter(|word| word.len() >= 40) {
            for decoded in [STANDARD.decode(word).ok(), URL_SAFE_NO_PAD.decode(word).ok(), decode_hex(word)] {
                take(&decoded.unwrap_or_default());
            }
        }
    }
    found
}

fn decode_hex(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    (text.len() % 2 == 0).then_some(())?;
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

fn contains(dump: &[Vec<u8>], needle: &[u8]) -> bool {
    dump.iter().any(|file| file.windows(needle.len()).any(|window| window == needle))
}

#[test]
fn the_whole_server_without_password_and_words_opens_nothing() {
    let cluster = Cluster::start(3);
    let (user, words) = register(&cluster, "ada");
    user.ok(["bucket", "create", "a-bucket-of-secrets"]);
    let small = b"a small secret that lies inline in the database".to_vec();
    user.write("a-bucket-of-secrets", "a-file-of-secrets", &small);
    user.write("a-bucket-of-secrets", "folder-of-secrets/large", &noise(1, 400_000));
    let create = ["apikey", "create", "--name", "ci", "--bucket", "a-bucket-of-secrets", "--json"];
    let created = user.confirmed(&cluster, &create).json();
    let token = text(&created, "token");
    assert_eq!(user.confirmed(&cluster, &["apikey", "create", "--name", "all"]).code, 0);
    let changed = user.confirmed_with(&cluster, &["passwd"], &[("CYXCLOUD_NEW_PASSWORD", NEW_PASSWORD)]);
    assert_eq!(changed.code, 0, "{changed:?}");
    // Last, or its mail could be taken for that of another code.
    user.ok(["recover", "--begin"]);

    // Stopped, so that everything is in files.
    cluster.dev(&["down"]);
    let mut dump = Vec::new();
    for folder in ["server", "outbox", "logs"] {
        gather(&cluster.dir().join(folder), &mut dump);
    }
    let (by_password, by_words, by_device) =
        (boxes(&dump, BY_PASSWORD), boxes(&dump, BY_WORDS), boxes(&dump, BY_DEVICE));
    assert!(!by_password.is_empty() && !by_words.is_empty() && !by_device.is_empty(), "the boxes are in the dump");

    // These boxes are what the account hangs on: with the words, and with the password, they open, from the dump alone.
    let recovery = parse_words(&words).ok().unwrap();
    let opened = by_words.iter().find_map(|sealed| open_account_key(AccountKek::Recovery(&recovery), sealed).ok());
    let account = opened.expect("the words open the account");
    let salts: HashSet<[u8; 16]> = dump.iter().flat_map(|file| salts(file, &by_password)).collect();
    let with_password = salts.into_iter().any(|salt| {
        let login = derive_login(NEW_PASSWORD.as_bytes(), &salt, StretchParams::DEFAULT).ok().unwrap();
        by_password.iter().any(|sealed| open_account_key(AccountKek::Password(&login.kek), sealed).is_ok())
    });
    assert!(with_password, "the password opens the account");

    // Without either: nothing in the dump is the account key or opens one of the boxes.
    let keys: Vec<[u8; 32]> = candidates(&dump).into_iter().collect();
    assert!(keys.len() > 10_000, "only {} candidates: the dump was not read", keys.len());
    let opens = |key: &[u8; 32]| {
        let (password, words, device) =
            (PasswordKek::from_bytes(*key), RecoveryKey::from_bytes(*key), DeviceKey::from_bytes(*key));
        AccountKey::from_bytes(*key) == account
            || by_password.iter().any(|sealed| open_account_key(AccountKek::Password(&password), sealed).is_ok())
            || by_words.iter().any(|sealed| open_account_key(AccountKek::Recovery(&words), sealed).is_ok())
            || by_device.iter().any(|sealed| open_account_key(AccountKek::Device(&device), sealed).is_ok())
    };
    let half = keys.len() / 2;
    let found = std::thread::scope(|scope| {
        let other = scope.spawn(|| keys[..half].iter().any(opens));
        keys[half..].iter().any(opens) | other.join().unwrap()
    });
    assert!(!found, "something in the server's files opens an account");

    // And nothing stands there in plain text.
    let secret = token.rsplit('.').next().unwrap();
    let auth = token.split('.').nth(1).unwrap();
    for plain in [
        PASSWORD,
        NEW_PASSWORD,
        &words,
        &words[..words.len() / 2],
        "a-bucket-of-secrets",
        "a-file-of-secrets",
        "folder-of-secrets",
        secret,
        auth,
    ] {
        assert!(!contains(&dump, plain.as_bytes()), "{plain} is in the server's files");
    }
    assert!(!contains(&dump, &small) && !contains(&dump, &noise(1, 64)));
    assert!(!contains(&dump, account.expose()));
    let secret = URL_SAFE_NO_PAD.decode(secret).unwrap();
    assert!(!contains(&dump, &secret));
}

/// Sixteen bytes in front of a box by password that may be the salt: in the row between them are parameters and the hash of the
/// auth key, 36 bytes or so.
fn salts(file: &[u8], sealed: &BTreeSet<Vec<u8>>) -> Vec<[u8; 16]> {
    let places = (0..file.len().saturating_sub(ACCOUNT_BOX)).filter(|at| sealed.contains(&file[*at..at + ACCOUNT_BOX]));
    let around = places.flat_map(|at| (at.saturating_sub(56)..at.saturating_sub(47)).map(|start| start..start + 16));
    around.map(|range| file[range].try_into().unwrap()).collect()
}
