//! From a password to the key that is sent and the secret that is not.
//!
//! `stretched = Argon2id(password, salt, m, t, p)` (RFC 9106), 32 bytes. HKDF-SHA256 (RFC 5869) then derives independent keys
//! from it by label: [`derive_auth_key`] here, which the server may see, and the key-encryption key in `cyx-crypto`, which it
//! may not. Nodes log in with a password too, therefore this stands here and not in `cyx-crypto`.

use argon2::{Algorithm, Argon2, Params, Version};
use hkdf::Hkdf;
use sha2::Sha256;
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::ids::SessionId;
use crate::wire::Writer;

/// Bytes of a salt.
pub const SALT_LEN: usize = 16;

const AUTH_KEY_LABEL: &[u8] = b"cyx v1 auth key";
const RECOVERY_MAGIC: &[u8; 4] = b"cyxA";
const RECOVERY_VERSION: u8 = 1;

/// How hard a password is stretched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StretchParams {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl StretchParams {
    /// What new accounts use; also the least that a client accepts from a server.
    pub const DEFAULT: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 1 };
    /// The most that a client accepts, so that a server cannot exhaust it.
    pub const CEILING: Self = Self { memory_kib: 1024 * 1024, passes: 16, lanes: 16 };
}

/// Why a password cannot be stretched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum StretchError {
    /// A server asked for less than the floor: it may want to guess the password.
    #[error("the server asks for weaker password protection than this program allows")]
    TooWeak,
    /// A server asked for more than the ceiling.
    #[error("the server asks for more work than this program allows")]
    TooCostly,
    /// The parameters contradict each other, or there is no memory.
    #[error("the password cannot be stretched with these parameters")]
    Failed,
}

/// A stretched password. Keys are derived from it by label; it is never sent or stored.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct StretchedPassword([u8; 32]);

impl StretchedPassword {
    /// `HKDF-SHA256(stretched, no salt, label)`, 32 bytes.
    #[must_use]
    pub fn derive(&self, label: &[u8]) -> [u8; 32] {
        let mut key = [0; 32];
        // 32 bytes is within HKDF's limit of 255 blocks, the only way to fail.
        let _ = Hkdf::<Sha256>::new(None, &self.0).expand(label, &mut key);
        key
    }
}

/// Stretches a password. Takes about a tenth of a second and `memory_kib` of memory: not for an async thread.
///
/// # Errors
/// [`StretchError`]; parameters outside [`StretchParams::DEFAULT`]..[`StretchParams::CEILING`] are refused.
pub fn stretch(
    password: &[u8],
    salt: &[u8; SALT_LEN],
    params: StretchParams,
) -> Result<StretchedPassword, StretchError> {
    let (floor, ceiling) = (StretchParams::DEFAULT, StretchParams::CEILING);
    if params.memory_kib < floor.memory_kib || params.passes < floor.passes || params.lanes < floor.lanes {
        return Err(StretchError::TooWeak);
    }
    if params.memory_kib > ceiling.memory_kib || params.passes > ceiling.passes || params.lanes > ceiling.lanes {
        return Err(StretchError::TooCostly);
    }
    let params =
        Params::new(params.memory_kib, params.passes, params.lanes, Some(32)).map_err(|_| StretchError::Failed)?;
    let mut stretched = StretchedPassword([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password, salt, &mut stretched.0)
        .map_err(|_| StretchError::Failed)?;
    Ok(stretched)
}

/// The key that proves knowledge of the password to the server.
#[must_use]
pub fn derive_auth_key(stretched: &StretchedPassword) -> [u8; 32] {
    stretched.derive(AUTH_KEY_LABEL)
}

/// What the account's identity key signs ([`crate::sign::Purpose::Recovery`]) when a new password is set with the recovery words:
///
/// ```text
/// "cyxA" 1 | recovery 16 | salt 16 | memory u32 | passes u32 | lanes u32 | auth key 32
///          | BLAKE3 of the account key as wrapped by the password 32 | BLAKE3 of it as wrapped by the words 32
/// ```
/// Who reads the owner's mail but has no words cannot sign it, and so cannot lock the owner out. `recovery` is the id that the
/// server drew for this attempt, so a signature serves once.
#[must_use]
pub fn recovery_body(
    recovery: SessionId,
    salt: &[u8; SALT_LEN],
    params: StretchParams,
    auth_key: &[u8; 32],
    wrapped_by_password: &[u8],
    wrapped_by_words: &[u8],
) -> Vec<u8> {
    let mut writer = Writer::new(RECOVERY_MAGIC, RECOVERY_VERSION);
    writer.raw(&recovery.0).raw(salt).u32(params.memory_kib).u32(params.passes).u32(params.lanes).raw(auth_key);
    writer.raw(blake3::hash(wrapped_by_password).as_bytes()).raw(blake3::hash(wrapped_by_words).as_bytes());
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_auth_key_is_frozen() {
        let stretched = stretch(b"correct horse battery staple", &[7; SALT_LEN], StretchParams::DEFAULT).unwrap();
        assert_eq!(
            hex::encode(derive_auth_key(&stretched)),
            "33890e57cab6fc9bdbd7132054ad6ed189ee2f1473a7abc484e47f827c222895"
        );
    }

    #[test]
    fn a_server_can_ask_neither_for_too_little_nor_for_too_much() {
        let weak = StretchParams { memory_kib: 8, ..StretchParams::DEFAULT };
        assert_eq!(stretch(b"x", &[0; SALT_LEN], weak).err(), Some(StretchError::TooWeak));
        let one_pass = StretchParams { passes: 1, ..StretchParams::DEFAULT };
        assert_eq!(stretch(b"x", &[0; SALT_LEN], one_pass).err(), Some(StretchError::TooWeak));
        let costly = StretchParams { memory_kib: u32::MAX, ..StretchParams::DEFAULT };
        assert_eq!(stretch(b"x", &[0; SALT_LEN], costly).err(), Some(StretchError::TooCostly));
    }
}
