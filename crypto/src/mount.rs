//! Records of a mount's journal: what was written and is not committed yet, keys of files included.
//!
//! ```text
//! key:   HKDF(mount key, "cyx v1 mount journal file" | file 16)
//! nonce: sequence u64 | 0 0 0 0
//! associated data: the record's header, as it lies before the ciphertext
//! ```
//! Nonces are counted, which is safe because a file's id is drawn when the file is begun, a file is never appended to after it
//! was closed, and no sequence is used twice in it. A record therefore opens in its file and in its place only. What the
//! records hold, and how they lie in a file, is in [`format`]; [`salvage`] reads a file past what is damaged in it.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::Undecryptable;
use crate::keys::MountKey;

pub mod format;
pub mod salvage;

/// Bytes that sealing adds to a record.
pub const TAG_LEN: usize = 16;

/// Seals and opens the records of one file of a journal.
pub struct RecordCipher {
    key: LessSafeKey,
}

impl RecordCipher {
    /// The cipher of the file with this id.
    #[must_use]
    pub fn new(key: &MountKey, file: &[u8; 16]) -> Self {
        match UnboundKey::new(&AES_256_GCM, key.derive_file_key(file).bytes()) {
            Ok(key) => Self { key: LessSafeKey::new(key) },
            Err(_) => unreachable!("a key of 32 bytes fits AES-256"),
        }
    }

    fn nonce(sequence: u64) -> Nonce {
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&sequence.to_le_bytes());
        Nonce::assume_unique_for_key(nonce)
    }

    /// Seals a record where it lies and returns its tag. A sequence **must** be used once only in a file.
    ///
    /// # Errors
    /// [`Undecryptable`] for more than 64 GiB.
    pub fn seal_in_place(
        &self,
        sequence: u64,
        header: &[u8],
        plain: &mut [u8],
    ) -> Result<[u8; TAG_LEN], Undecryptable> {
        let sealed = self.key.seal_in_place_separate_tag(Self::nonce(sequence), Aad::from(header), plain);
        sealed.ok().and_then(|tag| tag.as_ref().try_into().ok()).ok_or(Undecryptable)
    }

    /// Seals what lies in two parts elsewhere, one behind the other, into `sealed`: as long as both, and [`TAG_LEN`] longer. The same as
    /// [`Self::seal_in_place`] makes of them together, with the tag behind it.
    ///
    /// # Errors
    /// [`Undecryptable`] for other lengths, and for more than 64 GiB.
    pub fn seal_parts(
        &self,
        sequence: u64,
        header: &[u8],
        parts: [&[u8]; 2],
        sealed: &mut [u8],
    ) -> Result<(), Undecryptable> {
        let [head, rest] = parts;
        let (sealed_head, sealed_rest) = sealed.split_at_mut_checked(head.len()).ok_or(Undecryptable)?;
        let (nonce, associated) = (Self::nonce(sequence), Aad::from(header));
        let done = self.key.seal_out_of_place_scatter(nonce, associated, head, sealed_head, rest, sealed_rest);
        done.map_err(|_| Undecryptable)
    }

    /// Opens a record where it lies, ciphertext and tag; returns the plain bytes.
    ///
    /// # Errors
    /// [`Undecryptable`].
    pub fn open_in_place<'a>(
        &self,
        sequence: u64,
        header: &[u8],
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], Undecryptable> {
        self.key.open_in_place(Self::nonce(sequence), Aad::from(header), sealed).map_err(|_| Undecryptable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::AccountKey;

    #[test]
    fn a_record_opens_in_its_file_and_place_only() {
        let key = AccountKey::make().derive_mount_key();
        let (mine, other) = (RecordCipher::new(&key, &[1; 16]), RecordCipher::new(&key, &[2; 16]));
        let mut record = b"record".to_vec();
        let tag = mine.seal_in_place(7, b"header", &mut record).unwrap();
        record.extend_from_slice(&tag);
        for parts in [[&b"rec"[..], b"ord"], [b"record", b""], [b"", b"record"]] {
            let mut sealed = [0; 6 + TAG_LEN];
            mine.seal_parts(7, b"header", parts, &mut sealed).unwrap();
            assert_eq!(sealed[..], record);
            assert!(mine.seal_parts(7, b"header", parts, &mut sealed[1..]).is_err());
            assert!(mine.seal_parts(7, b"header", parts, &mut [0; 7 + TAG_LEN]).is_err());
        }
        assert!(!record.windows(6).any(|window| window == b"record"));
        let open = |cipher: &RecordCipher, sequence, header: &[u8]| {
            let mut sealed = record.clone();
            cipher.open_in_place(sequence, header, &mut sealed).map(|plain| plain.to_vec())
        };
        assert_eq!(open(&mine, 7, b"header").unwrap(), b"record");
        assert!(open(&mine, 8, b"header").is_err());
        assert!(open(&mine, 7, b"Header").is_err());
        assert!(open(&other, 7, b"header").is_err());
        let stranger = RecordCipher::new(&AccountKey::make().derive_mount_key(), &[1; 16]);
        assert!(open(&stranger, 7, b"header").is_err());
    }
}
