//! The recovery key as 24 English words (BIP-39: 256 bits and a checksum of 8).

use bip39::{Language, Mnemonic};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::keys::RecoveryKey;

/// How many words there are.
pub const WORDS: usize = 24;

/// Why some words are not recovery words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RecoveryError {
    /// There are too few or too many.
    #[error("there must be {WORDS} recovery words, not {0}")]
    WrongCount(usize),
    /// One of them is not in the list.
    #[error("word {0} is not a recovery word")]
    UnknownWord(usize),
    /// Each is a word, but together they are not a key.
    #[error("the recovery words do not belong together: one is wrong, or their order is")]
    WrongChecksum,
}

/// The words of a key, separated by single spaces.
#[must_use]
pub fn words(key: &RecoveryKey) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(WORDS * 9));
    // 32 bytes are one of the lengths that BIP-39 allows.
    if let Ok(mnemonic) = Mnemonic::from_entropy_in(Language::English, key.expose()) {
        for word in mnemonic.words() {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(word);
        }
    }
    text
}

/// The key of some words. Case and the kind and number of spaces do not matter.
///
/// # Errors
/// [`RecoveryError`]; it counts words from 1.
pub fn parse_words(text: &str) -> Result<RecoveryKey, RecoveryError> {
    let mut normal = Zeroizing::new(String::with_capacity(text.len()));
    let mut count = 0;
    for word in text.split_whitespace() {
        if count > 0 {
            normal.push(' ');
        }
        count += 1;
        normal.extend(word.chars().flat_map(char::to_lowercase));
    }
    if count != WORDS {
        return Err(RecoveryError::WrongCount(count));
    }
    let mnemonic = Mnemonic::parse_in_normalized(Language::English, &normal).map_err(|error| match error {
        bip39::Error::UnknownWord(at) => RecoveryError::UnknownWord(at + 1),
        _ => RecoveryError::WrongChecksum,
    })?;
    let entropy = Zeroizing::new(mnemonic.to_entropy());
    entropy.as_slice().try_into().map(RecoveryKey::from_bytes).map_err(|_| RecoveryError::WrongCount(count))
}
