//! Identity keys: Ed25519 to sign commits and writer lists, X25519 to receive shares.
//!
//! The public halves are how others know an account. They are pinned when first seen, and people can compare a fingerprint:
//! `BLAKE3-derive("cyx v1 fingerprint", Ed25519 public ‖ X25519 public)[..16]`, shown as eight groups of four hexadecimal
//! digits.

use ed25519_dalek::SigningKey;
use x25519_dalek::StaticSecret;
use zeroize::Zeroizing;

use cyx_core::commit::{Commit, SEEN_SIGNATURE_LEN};
use cyx_core::extent::PageId;
use cyx_core::ids::{self, BucketId, InodeId, KeyId, random_bytes};
use cyx_core::sign::{self, Purpose, SIGNATURE_LEN};
use cyx_core::writers::{WriterAction, WriterEntry, WriterList};

use crate::Undecryptable;
use crate::keys::AccountKey;
use crate::wrap;

const FINGERPRINT_CONTEXT: &str = "cyx v1 fingerprint";

/// The public halves of an identity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PublicIdentity {
    /// Ed25519: checks signatures.
    pub signing: [u8; 32],
    /// X25519: receives shares.
    pub exchange: [u8; 32],
}

impl PublicIdentity {
    /// Both keys, the signing one first.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&self.signing);
        bytes[32..].copy_from_slice(&self.exchange);
        bytes
    }

    /// What people compare, for example `b39f ec1a dda8 0028 0d49 bb87 d270 ead3`.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let digits = ids::derive(FINGERPRINT_CONTEXT, &self.to_bytes());
        let groups: Vec<String> = digits.chunks(2).map(|pair| format!("{:02x}{:02x}", pair[0], pair[1])).collect();
        groups.join(" ")
    }
}

/// A commit and its signature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SignedCommit {
    /// What was signed.
    pub commit: Commit,
    /// The signature, with what its writer had seen.
    pub signature: [u8; SEEN_SIGNATURE_LEN],
}

/// Both private keys.
#[derive(Clone)]
pub struct IdentityKeys {
    signing: SigningKey,
    exchange: StaticSecret,
}

impl IdentityKeys {
    /// Draws new keys.
    ///
    /// # Panics
    /// If the operating system cannot give random bytes.
    #[must_use]
    pub fn make() -> Self {
        Self::from_private(&Zeroizing::new(random_bytes()))
    }

    /// From the Ed25519 seed and the X25519 private key.
    pub(crate) fn from_private(private: &[u8; 64]) -> Self {
        let mut halves = Zeroizing::new([[0; 32]; 2]);
        halves[0].copy_from_slice(&private[..32]);
        halves[1].copy_from_slice(&private[32..]);
        Self { signing: SigningKey::from_bytes(&halves[0]), exchange: StaticSecret::from(halves[1]) }
    }

    /// The opposite of [`Self::from_private`].
    pub(crate) fn private(&self) -> Zeroizing<[u8; 64]> {
        let mut private = Zeroizing::new([0; 64]);
        private[..32].copy_from_slice(self.signing.as_bytes());
        private[32..].copy_from_slice(self.exchange.as_bytes());
        private
    }

    /// The public halves.
    #[must_use]
    pub fn public(&self) -> PublicIdentity {
        PublicIdentity {
            signing: self.signing.verifying_key().to_bytes(),
            exchange: x25519_dalek::PublicKey::from(&self.exchange).to_bytes(),
        }
    }

    /// The id of the signing key.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        sign::key_id(&self.signing.verifying_key().to_bytes())
    }

    /// The private halves under the account key, bound to the public ones.
    #[must_use]
    pub fn seal(&self, account: &AccountKey) -> Vec<u8> {
        wrap::seal_identity(account, &self.public(), &self.private())
    }

    /// The opposite of [`Self::seal`].
    ///
    /// # Errors
    /// [`Undecryptable`], also if `public` are not the public halves.
    pub fn open(account: &AccountKey, public: &PublicIdentity, bytes: &[u8]) -> Result<Self, Undecryptable> {
        let keys = Self::from_private(&*wrap::open_identity(account, public, bytes)?);
        if keys.public() == *public { Ok(keys) } else { Err(Undecryptable) }
    }

    /// Signs version `base + 1` of a file. `seen` is the newest sequence of the bucket that is known.
    #[must_use]
    pub fn sign_commit(
        &self,
        bucket: BucketId,
        seen: u64,
        inode: InodeId,
        base: u64,
        size: u64,
        root: PageId,
    ) -> SignedCommit {
        let commit = Commit { bucket, inode, version: base.saturating_add(1), base, size, root, writer: self.key_id() };
        SignedCommit { commit, signature: commit.sign_after(seen, &self.signing) }
    }

    /// The first entry of a bucket's writer list: its owner may sign from the beginning.
    #[must_use]
    pub fn sign_first_writer(&self, bucket: BucketId) -> Vec<u8> {
        let own = self.signing.verifying_key().to_bytes();
        WriterList::empty(bucket).next(WriterAction::Add, own, 0).sign(&self.signing)
    }

    /// Signs what [`cyx_core::auth::recovery_body`] made: a new password, set with the recovery words.
    #[must_use]
    pub fn sign_recovery(&self, body: &[u8]) -> [u8; SIGNATURE_LEN] {
        sign::sign(&self.signing, Purpose::Recovery, body)
    }

    /// Signs an entry that [`WriterList::next`] made.
    #[must_use]
    pub fn sign_writer(&self, entry: &WriterEntry) -> Vec<u8> {
        entry.sign(&self.signing)
    }
}
