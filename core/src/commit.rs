//! Commits: what a writer signs when it makes a new version of a file.
//!
//! ```text
//! "cyxC" 1 | bucket 16 | inode 16 | version u64 | base u64 | size u64 | root page 32 | writer key id 16
//! ```
//! Version 2 has one more field at its end, and its signature is carried behind it:
//!
//! ```text
//! body:      "cyxC" 2 | … as above … | seen u64
//! signature: seen u64 | signature 64
//! ```
//! `seen` is the newest bucket sequence that the writer knew of when it signed, so the commit's own is larger. A commit whose writer was
//! removed earlier than that is refused by everybody, whatever the server says about when it was made.
//!
//! Readers check the signature before they trust an extent, so a server can neither forge a version nor mix the parts of two.

use crate::extent::PageId;
use crate::ids::{BucketId, InodeId, KeyId};
use crate::sign::{self, BadSignature, Purpose, SIGNATURE_LEN};
use crate::wire::Writer;

use ed25519_dalek::SigningKey;

const MAGIC: &[u8; 4] = b"cyxC";
const VERSION: u8 = 1;
const VERSION_SEEN: u8 = 2;
/// Bytes of a signature that says what its writer had seen.
pub const SEEN_SIGNATURE_LEN: usize = 8 + SIGNATURE_LEN;

/// One version of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Commit {
    /// The bucket.
    pub bucket: BucketId,
    /// The file.
    pub inode: InodeId,
    /// The version made: always `base + 1`.
    pub version: u64,
    /// The version it replaces; 0 for a file's first.
    pub base: u64,
    /// Plain bytes in the file.
    pub size: u64,
    /// Root of its extent pages; [`PageId::EMPTY`] for a file without extents.
    pub root: PageId,
    /// The key that signs.
    pub writer: KeyId,
}

impl Commit {
    /// The bytes that are signed.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let mut writer = Writer::new(MAGIC, VERSION);
        self.fields(&mut writer);
        writer.finish()
    }

    /// The bytes that are signed by a writer who knows the bucket up to the sequence `seen`.
    #[must_use]
    pub fn body_after(&self, seen: u64) -> Vec<u8> {
        let mut writer = Writer::new(MAGIC, VERSION_SEEN);
        self.fields(&mut writer);
        writer.u64(seen);
        writer.finish()
    }

    fn fields(&self, writer: &mut Writer) {
        writer.raw(&self.bucket.0).raw(&self.inode.0).u64(self.version).u64(self.base).u64(self.size);
        writer.raw(&self.root.0).raw(&self.writer.0);
    }

    /// Signs with the writer's key.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> [u8; SIGNATURE_LEN] {
        sign::sign(key, Purpose::Commit, &self.body())
    }

    /// Signs with the writer's key, as something that comes after the bucket sequence `seen`.
    #[must_use]
    pub fn sign_after(&self, seen: u64, key: &SigningKey) -> [u8; SEEN_SIGNATURE_LEN] {
        let mut signature = [0; SEEN_SIGNATURE_LEN];
        let (front, back) = signature.split_at_mut(8);
        front.copy_from_slice(&seen.to_le_bytes());
        back.copy_from_slice(&sign::sign(key, Purpose::Commit, &self.body_after(seen)));
        signature
    }

    /// Checks the signature, of either kind, of the writer that [`Self::writer`] names.
    ///
    /// # Errors
    /// [`BadSignature`], also if `public_key` is not the one named.
    pub fn verify(&self, public_key: &[u8; 32], signature: &[u8]) -> Result<(), BadSignature> {
        if sign::key_id(public_key) != self.writer {
            return Err(BadSignature);
        }
        match split(signature) {
            Some((seen, signature)) => sign::verify(public_key, Purpose::Commit, &self.body_after(seen), signature),
            None => sign::verify(public_key, Purpose::Commit, &self.body(), signature),
        }
    }
}

/// The newest bucket sequence that a writer knew of, if its signature says so. Means nothing before the signature was verified.
#[must_use]
pub fn seen(signature: &[u8]) -> Option<u64> {
    split(signature).map(|(seen, _)| seen)
}

fn split(signature: &[u8]) -> Option<(u64, &[u8])> {
    let (seen, rest) = signature.split_first_chunk::<8>()?;
    (rest.len() == SIGNATURE_LEN).then(|| (u64::from_le_bytes(*seen), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_frozen() {
        let commit = Commit {
            bucket: BucketId([1; 16]),
            inode: InodeId([2; 16]),
            version: 4,
            base: 3,
            size: 5,
            root: PageId([6; 32]),
            writer: KeyId([7; 16]),
        };
        assert_eq!(
            hex::encode(crate::chunk::root(&commit.body())),
            "9c806bdf08d3d20cf94bcb087c83d3c16981806c8f3baccf0ecde843f7fa8dce"
        );
        let (old, new) = (commit.body(), commit.body_after(0x0102));
        assert_eq!((&new[..5], &new[5..old.len()]), (&b"cyxC\x02"[..], &old[5..]));
        assert_eq!(new[old.len()..], [2, 1, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn what_the_writer_had_seen_is_bound() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let public = key.verifying_key().to_bytes();
        let commit = Commit {
            bucket: BucketId([1; 16]),
            inode: InodeId([2; 16]),
            version: 4,
            base: 3,
            size: 5,
            root: PageId([6; 32]),
            writer: sign::key_id(&public),
        };
        let signature = commit.sign_after(7, &key);
        assert_eq!((commit.verify(&public, &signature), seen(&signature)), (Ok(()), Some(7)));
        assert_eq!(seen(&commit.sign(&key)), None);
        let mut other = signature;
        other[0] = 6;
        assert_eq!(commit.verify(&public, &other), Err(BadSignature));
        // Neither kind passes for the other, nor does one that is cut.
        assert_eq!(commit.verify(&public, &signature[8..]), Err(BadSignature));
        assert_eq!(commit.verify(&public, &signature[..71]), Err(BadSignature));
        let borrowed = [&signature[..8], &commit.sign(&key)].concat();
        assert_eq!(commit.verify(&public, &borrowed), Err(BadSignature));
        assert_eq!(Commit { size: 6, ..commit }.verify(&public, &signature), Err(BadSignature));
    }

    #[test]
    fn each_field_is_bound() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let public = key.verifying_key().to_bytes();
        let commit = Commit {
            bucket: BucketId([1; 16]),
            inode: InodeId([2; 16]),
            version: 4,
            base: 3,
            size: 5,
            root: PageId([6; 32]),
            writer: sign::key_id(&public),
        };
        let signature = commit.sign(&key);
        assert_eq!(commit.verify(&public, &signature), Ok(()));
        let changed = [
            Commit { bucket: BucketId([9; 16]), ..commit },
            Commit { inode: InodeId([9; 16]), ..commit },
            Commit { version: 9, ..commit },
            Commit { base: 9, ..commit },
            Commit { size: 9, ..commit },
            Commit { root: PageId([9; 32]), ..commit },
            Commit { writer: KeyId([9; 16]), ..commit },
        ];
        for other in changed {
            assert_eq!(other.verify(&public, &signature), Err(BadSignature));
        }
    }
}
