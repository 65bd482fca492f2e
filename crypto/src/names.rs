//! Names: AES-SIV (RFC 5297), so that equal names in one directory look equal and the server can find and refuse them.
//!
//! ```text
//! padded:    name | 0x80 | zeros up to a multiple of 16
//! encrypted: synthetic IV 16 | AES-256-CTR(padded)
//! ```
//! Associated data, as two strings: a label and the directory's id. The key is the directory's own (one per key epoch), so equal
//! names in two directories have nothing in common. A bucket's name token is made the same way under a key of the account,
//! with its own label and without an id. Names have no magic or version of their own: the labels are the version, and a
//! prefix would only make every name longer.

use aes_siv::KeyInit as _;
use aes_siv::siv::Aes256Siv;
use thiserror::Error;

use cyx_core::ids::InodeId;
use cyx_core::name::EncryptedName;
use cyx_core::units::{NAME_MAX, NAME_PADDING};

use crate::Undecryptable;
use crate::keys::{BucketTokenKey, KEY_LEN, NameKey};

const NAME_CONTEXT: &[u8] = b"cyx v1 name";
const BUCKET_TOKEN_CONTEXT: &[u8] = b"cyx v1 bucket token";
const PAD: u8 = 0x80;

/// A name that no entry can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NameError {
    /// It has no bytes.
    #[error("a name cannot be empty")]
    Empty,
    /// It is longer than any filesystem allows.
    #[error("a name cannot be longer than {NAME_MAX} bytes, this one has {0}")]
    TooLong(usize),
    /// It has a slash or a zero byte in it.
    #[error("a name cannot contain a slash or a zero byte")]
    ForbiddenByte,
    /// It is `.` or `..`.
    #[error("a name cannot be \".\" or \"..\"")]
    Dots,
}

/// Checks a name; every other byte string is one.
///
/// # Errors
/// [`NameError`].
pub fn check_name(name: &[u8]) -> Result<(), NameError> {
    match name {
        [] => Err(NameError::Empty),
        [b'.'] | [b'.', b'.'] => Err(NameError::Dots),
        long if long.len() > NAME_MAX => Err(NameError::TooLong(long.len())),
        _ if name.contains(&b'/') || name.contains(&0) => Err(NameError::ForbiddenByte),
        _ => Ok(()),
    }
}

/// Encrypts a name for one directory.
///
/// # Errors
/// [`NameError`].
pub fn encrypt_name(key: &NameKey, directory: InodeId, name: &[u8]) -> Result<EncryptedName, NameError> {
    encrypt(key.bytes(), &[NAME_CONTEXT, &directory.0], name)
}

/// Decrypts a name of one directory.
///
/// # Errors
/// [`Undecryptable`], also for a name that no entry can have or that is not padded as it must be: names come from a server.
pub fn decrypt_name(key: &NameKey, directory: InodeId, name: &EncryptedName) -> Result<Vec<u8>, Undecryptable> {
    decrypt(key.bytes(), &[NAME_CONTEXT, &directory.0], name)
}

/// What a bucket is found by.
///
/// # Errors
/// [`NameError`].
pub fn encrypt_bucket_token(key: &BucketTokenKey, name: &[u8]) -> Result<EncryptedName, NameError> {
    encrypt(key.bytes(), &[BUCKET_TOKEN_CONTEXT], name)
}

/// The name that a bucket of the account's own is found by.
///
/// # Errors
/// [`Undecryptable`].
pub fn decrypt_bucket_token(key: &BucketTokenKey, token: &EncryptedName) -> Result<Vec<u8>, Undecryptable> {
    decrypt(key.bytes(), &[BUCKET_TOKEN_CONTEXT], token)
}

fn encrypt(key: &[u8; 2 * KEY_LEN], associated: &[&[u8]], name: &[u8]) -> Result<EncryptedName, NameError> {
    check_name(name)?;
    let mut padded = name.to_vec();
    padded.push(PAD);
    padded.resize(padded.len().next_multiple_of(NAME_PADDING), 0);
    // Neither can fail: there are at most two associated strings, and the padded length is one that EncryptedName allows.
    let encrypted = Aes256Siv::new(key.into()).encrypt(associated, &padded).unwrap_or_default();
    EncryptedName::new(encrypted).map_err(|_| NameError::TooLong(name.len()))
}

fn decrypt(key: &[u8; 2 * KEY_LEN], associated: &[&[u8]], name: &EncryptedName) -> Result<Vec<u8>, Undecryptable> {
    let mut plain = Aes256Siv::new(key.into()).decrypt(associated, name.as_bytes()).map_err(|_| Undecryptable)?;
    let len = plain.iter().rposition(|byte| *byte != 0).ok_or(Undecryptable)?;
    // One padding only: the mark, then fewer zeros than would make another block.
    if plain[len] != PAD || plain.len() != (len + 1).next_multiple_of(NAME_PADDING) {
        return Err(Undecryptable);
    }
    plain.truncate(len);
    check_name(&plain).map_err(|_| Undecryptable)?;
    Ok(plain)
}
