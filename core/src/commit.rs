//! Commits: what a writer signs when it makes a new version of a file.
//!
//! ```text
//! "cyxC" 1 | bucket 16 | inode 16 | version u64 | base u64 | size u64 | root page 32 | writer key id 16
//! ```
//! Readers check the signature before they trust an extent, so a server can neither forge a version nor mix the parts of two.

use crate::extent::PageId;
use crate::ids::{BucketId, InodeId, KeyId};
use crate::sign::{self, BadSignature, Purpose, SIGNATURE_LEN};
use crate::wire::Writer;

use ed25519_dalek::SigningKey;

const MAGIC: &[u8; 4] = b"cyxC";
const VERSION: u8 = 1;

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
        writer.raw(&self.bucket.0).raw(&self.inode.0).u64(self.version).u64(self.base).u64(self.size);
        writer.raw(&self.root.0).raw(&self.writer.0);
        writer.finish()
    }

    /// Signs with the writer's key.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> [u8; SIGNATURE_LEN] {
        sign::sign(key, Purpose::Commit, &self.body())
    }

    /// Checks the signature of the writer that [`Self::writer`] names.
    ///
    /// # Errors
    /// [`BadSignature`], also if `public_key` is not the one named.
    pub fn verify(&self, public_key: &[u8; 32], signature: &[u8]) -> Result<(), BadSignature> {
        if sign::key_id(public_key) != self.writer {
            return Err(BadSignature);
        }
        sign::verify(public_key, Purpose::Commit, &self.body(), signature)
    }
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
