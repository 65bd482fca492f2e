//! A keyed hash of a plaintext, kept beside a half-done upload: only if it still matches may the upload go on under the same
//! blob id, because a blob id is encrypted once.
//!
//! `BLAKE3-keyed(fingerprint key, "cyx v1 frame tags" ‖ blob 16 ‖ first frame u64 ‖ tags)` for content, where the tags are those of
//! the plaintext's frames: under one key and nonce equal tags mean equal plaintexts, and they are there already when a blob is
//! sealed or opened, so that nothing is hashed twice. `BLAKE3-keyed(fingerprint key, blob 16 ‖ plaintext)` for whatever is not
//! whole frames. Without the key neither tells anything, not even whether two plaintexts are equal.

use cyx_core::ids::BlobId;

use crate::frames::FrameTag;
use crate::keys::FingerprintKey;

const TAGS_LABEL: &[u8] = b"cyx v1 frame tags";

/// A fingerprint.
pub type Fingerprint = [u8; 32];

/// The fingerprint of the plaintext that was, or is to be, sealed under this blob id.
#[must_use]
pub fn plaintext_fingerprint(key: &FingerprintKey, blob: BlobId, plain: &[u8]) -> Fingerprint {
    let mut hasher = blake3::Hasher::new_keyed(key.bytes());
    hasher.update(&blob.0).update(plain);
    *hasher.finalize().as_bytes()
}

/// The fingerprint of the plaintext of whole frames, the first of which has the index `first`, that have these tags.
#[must_use]
pub fn frames_fingerprint(
    key: &FingerprintKey,
    blob: BlobId,
    first: u64,
    tags: impl IntoIterator<Item = FrameTag>,
) -> Fingerprint {
    let mut hasher = blake3::Hasher::new_keyed(key.bytes());
    hasher.update(TAGS_LABEL).update(&blob.0).update(&first.to_le_bytes());
    for tag in tags {
        hasher.update(&tag);
    }
    *hasher.finalize().as_bytes()
}
