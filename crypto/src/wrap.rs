//! Everything small that is stored under a key: other keys, link targets, attributes, a bucket's name.
//!
//! ```text
//! box: "cyxW" 1 | purpose u8 | epoch u32 | nonce 12 | ciphertext | tag 16
//! ```
//! AES-256-GCM (NIST SP 800-38D) with a random nonce. Associated data are the ten bytes before the nonce and then what the
//! box is bound to, so a box that is moved to another place, purpose or epoch does not open. `epoch` is that of the key that
//! seals, 0 for keys without epochs; [`epoch_of`] reads it to choose the key. A random nonce allows 2^32 boxes under one key.
//!
//! A blob's key is the exception: it lies in an extent, whose page has the magic, the version and the epoch, and is
//! `nonce 12 | ciphertext 32 | tag 16` alone.
//!
//! | module | what it does |
//! |---|---|
//! | `account`, `account_history` | boxes of an account and its buckets, account keys of before |
//! | `bucket_access` | what an API key of one bucket may open |
//! | `tree`, `history` | boxes of the tree, older keys of an inode |
//! | `journal` | records of a transfer's journal |

mod account;
mod account_history;
mod bucket_access;
mod history;
mod journal;
mod tree;

use aes_gcm::aead::AeadInOut as _;
use aes_gcm::{Aes256Gcm, KeyInit as _};
use zeroize::Zeroizing;

use cyx_core::ids::random_bytes;

use crate::Undecryptable;
use crate::keys::KEY_LEN;

pub use account::{
    AccountKek, open_account_key, open_bucket_name, open_root_key, seal_account_key, seal_bucket_name, seal_root_key,
};
pub(crate) use account::{open_identity, seal_identity};
pub use account_history::{ACCOUNT_KEYS_KEPT, extend_account_history, open_account_history};
pub use bucket_access::BucketAccess;
pub use history::{InodeKeyring, extend_history, open_history};
pub use journal::{open_journal_record, seal_journal_record};
pub use tree::{
    ChildKeys, Edge, Field, open_blob_key, open_child_key, open_field, seal_blob_key, seal_child_key, seal_field,
};

const MAGIC: &[u8; 4] = b"cyxW";
const VERSION: u8 = 1;
const HEADER_LEN: usize = 10;
const NONCE_LEN: usize = 12;
const TAG_LEN: usize = 16;
/// Bytes that a box adds to what it holds.
pub const BOX_OVERHEAD: usize = HEADER_LEN + NONCE_LEN + TAG_LEN;
/// Most bytes of a box. Extended attributes are the largest thing in one.
pub const BOX_MAX: usize = 1 << 20;

/// What a box holds. Part of its associated data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum Purpose {
    AccountKeyByPassword = 1,
    AccountKeyByRecovery = 2,
    AccountKeyByDevice = 3,
    IdentityKeys = 4,
    RootKey = 5,
    BucketName = 6,
    ChildKey = 7,
    OlderKey = 8,
    Field = 9,
    JournalRecord = 10,
    BucketAccess = 12,
    ApiKeyKek = 13,
    OlderAccountKey = 14,
}

fn header(purpose: Purpose, epoch: u32) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    header[..4].copy_from_slice(MAGIC);
    header[4] = VERSION;
    header[5] = purpose as u8;
    header[6..].copy_from_slice(&epoch.to_le_bytes());
    header
}

/// Seals `plain` for one purpose and place.
fn seal(purpose: Purpose, epoch: u32, key: &[u8; KEY_LEN], context: &[u8], plain: &[u8]) -> Vec<u8> {
    seal_with(purpose, epoch, &Aes256Gcm::new(key.into()), context, plain)
}

/// As [`seal`], with a key that was prepared before.
fn seal_with(purpose: Purpose, epoch: u32, cipher: &Aes256Gcm, context: &[u8], plain: &[u8]) -> Vec<u8> {
    let header = header(purpose, epoch);
    let mut bytes = Vec::with_capacity(plain.len() + BOX_OVERHEAD);
    bytes.extend_from_slice(&header);
    seal_bare_with(cipher, &[&header, context].concat(), plain, &random_bytes(), &mut bytes);
    bytes
}

/// Opens what [`seal`] sealed for the same purpose, epoch and place.
fn open(
    purpose: Purpose,
    epoch: u32,
    key: &[u8; KEY_LEN],
    context: &[u8],
    bytes: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Undecryptable> {
    open_with(purpose, epoch, &Aes256Gcm::new(key.into()), context, bytes)
}

/// As [`open`], with a key that was prepared before.
fn open_with(
    purpose: Purpose,
    epoch: u32,
    cipher: &Aes256Gcm,
    context: &[u8],
    bytes: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Undecryptable> {
    let header = header(purpose, epoch);
    let sealed = bytes.strip_prefix(&header).ok_or(Undecryptable)?;
    if bytes.len() > BOX_MAX {
        return Err(Undecryptable);
    }
    open_bare_with(cipher, &[&header, context].concat(), sealed)
}

/// Appends `nonce ‖ ciphertext ‖ tag`.
fn seal_bare(key: &[u8; KEY_LEN], associated: &[u8], plain: &[u8], nonce: &[u8; NONCE_LEN], bytes: &mut Vec<u8>) {
    seal_bare_with(&Aes256Gcm::new(key.into()), associated, plain, nonce, bytes);
}

fn seal_bare_with(cipher: &Aes256Gcm, associated: &[u8], plain: &[u8], nonce: &[u8; NONCE_LEN], bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(nonce);
    let start = bytes.len();
    bytes.extend_from_slice(plain);
    // Fails only beyond 64 GiB.
    if let Ok(tag) = cipher.encrypt_inout_detached(nonce.into(), associated, (&mut bytes[start..]).into()) {
        bytes.extend_from_slice(&tag);
    } else {
        bytes.truncate(start);
    }
}

fn open_bare(key: &[u8; KEY_LEN], associated: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Undecryptable> {
    open_bare_with(&Aes256Gcm::new(key.into()), associated, sealed)
}

fn open_bare_with(cipher: &Aes256Gcm, associated: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Undecryptable> {
    let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(Undecryptable)?;
    let (ciphertext, tag) = rest.split_last_chunk::<TAG_LEN>().ok_or(Undecryptable)?;
    let mut plain = Zeroizing::new(ciphertext.to_vec());
    cipher
        .decrypt_inout_detached(nonce.into(), associated, plain.as_mut_slice().into(), tag.into())
        .map_err(|_| Undecryptable)?;
    Ok(plain)
}

/// The epoch of the key that a box needs, 0 if it needs one without epochs.
///
/// # Errors
/// [`Undecryptable`] if the bytes are not a box.
pub fn epoch_of(bytes: &[u8]) -> Result<u32, Undecryptable> {
    let rest = bytes.strip_prefix(MAGIC).and_then(|rest| rest.strip_prefix(&[VERSION])).ok_or(Undecryptable)?;
    let epoch = rest.get(1..5).and_then(|epoch| epoch.try_into().ok()).ok_or(Undecryptable)?;
    Ok(u32::from_le_bytes(epoch))
}

/// `epoch u32 | key 32`: what a box holds of a key with epochs.
fn key_plain(epoch: u32, key: &[u8; KEY_LEN]) -> Zeroizing<[u8; 4 + KEY_LEN]> {
    let mut plain = Zeroizing::new([0; 4 + KEY_LEN]);
    plain[..4].copy_from_slice(&epoch.to_le_bytes());
    plain[4..].copy_from_slice(key);
    plain
}

fn split_key(plain: &[u8]) -> Result<(u32, [u8; KEY_LEN]), Undecryptable> {
    let (epoch, key) = plain.split_first_chunk::<4>().ok_or(Undecryptable)?;
    Ok((u32::from_le_bytes(*epoch), key.try_into().map_err(|_| Undecryptable)?))
}
