//! A keyed hash of a plaintext, kept beside a half-done upload: only if it still matches may the upload go on under the same
//! blob id, because a blob id is encrypted once.
//!
//! `BLAKE3-keyed(fingerprint key, blob 16 ‖ plaintext)`. Without the key it tells nothing, not even whether two plaintexts are
//! equal.

use cyx_core::ids::BlobId;

use crate::keys::FingerprintKey;

/// A fingerprint.
pub type Fingerprint = [u8; 32];

/// The fingerprint of the plaintext that was, or is to be, sealed under this blob id.
#[must_use]
pub fn plaintext_fingerprint(key: &FingerprintKey, blob: BlobId, plain: &[u8]) -> Fingerprint {
    scattered_fingerprint(key, blob, [plain])
}

/// As [`plaintext_fingerprint`], for a plaintext that lies in pieces.
#[must_use]
pub fn scattered_fingerprint<'a>(
    key: &FingerprintKey,
    blob: BlobId,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Fingerprint {
    let mut hasher = blake3::Hasher::new_keyed(key.bytes());
    hasher.update(&blob.0);
    for piece in pieces {
        hasher.update(piece);
    }
    *hasher.finalize().as_bytes()
}
