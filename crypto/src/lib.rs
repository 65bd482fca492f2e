//! What only the owner's machine can do: key hierarchy, name encryption, blob frames, commit signatures, recovery words.
//!
//! The crate is pure: no I/O, no async, no state but the keys it is given. Client programs link it; the server and the nodes
//! never do, so that they cannot decrypt is a property of `Cargo.toml`.
//!
//! | module | what it does |
//! |---|---|
//! | [`keys`] | one type per key, and how each is derived |
//! | [`account`] | makes an account, opens it with a password or with recovery words |
//! | [`recovery`] | 24 words for the recovery key |
//! | [`apikey`] | the tokens of API keys |
//! | [`identity`] | the keys by which others know an account; signs commits and writer lists |
//! | [`wrap`] | every key and every small secret that is stored under another key |
//! | [`names`] | names of entries and buckets |
//! | [`frames`] | content: a blob sealed frame by frame |
//! | [`segment`] | a blob sealed, coded and hashed in one go |
//! | [`mount`] | records of a mount's journal |
//! | [`fingerprint`] | a keyed hash that tells whether a resumed upload still has the same bytes |
//!
//! Rules kept throughout: `derive_*` is pure and `make_*` is random; every label is a constant beside its purpose and never
//! changes its meaning; keys are erased from memory when dropped and have no `Debug`; a failed decryption says
//! [`Undecryptable`] and nothing more, because why it failed is of use only to an attacker.

pub mod account;
pub mod apikey;
pub mod fingerprint;
pub mod frames;
pub mod identity;
pub mod keys;
pub mod mount;
pub mod names;
pub mod recovery;
pub mod segment;
pub mod wrap;

use thiserror::Error;

/// Some bytes are not what was sealed under this key for this place: changed, swapped, cut short, or under another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("cannot be decrypted: it was changed, or it belongs elsewhere")]
pub struct Undecryptable;
