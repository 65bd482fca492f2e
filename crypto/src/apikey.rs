//! API keys: what a script or a machine holds instead of a password and a code.
//!
//! ```text
//! token: id 32 hexadecimal digits "." auth 43 "." secret 43      (base64url of 32 random bytes each, without padding)
//! ```
//! Only `id.auth` is ever sent: it proves the right to use the key, and the server keeps the SHA-256 of `auth`. The secret is a
//! [`DeviceKey`]: the server keeps what the key may open wrapped under it, until the key is revoked. The seed of the Ed25519 key
//! that grants are bound to is derived from the secret too, so a key needs no storage where it is used.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use cyx_core::ids::{Random as _, SessionId, random_bytes};

use crate::keys::{DeviceKey, KEY_LEN, derive_api_key_session_seed};

/// A text is not the token of an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("this is not the token of an API key: it has the form id.auth.secret")]
pub struct InvalidToken;

/// The token of an API key.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ApiToken {
    #[zeroize(skip)]
    id: SessionId,
    auth: [u8; KEY_LEN],
    secret: [u8; KEY_LEN],
}

impl ApiToken {
    /// Draws a new one.
    ///
    /// # Panics
    /// If the operating system cannot give random bytes.
    #[must_use]
    pub fn make() -> Self {
        Self { id: SessionId::random(), auth: random_bytes(), secret: random_bytes() }
    }

    /// Reads a token.
    ///
    /// # Errors
    /// [`InvalidToken`], for any text but the one that [`Self::to_text`] gives.
    pub fn parse(text: &str) -> Result<Self, InvalidToken> {
        let mut parts = text.trim().split('.');
        let (Some(id), Some(auth), Some(secret), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(InvalidToken);
        };
        if id.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(InvalidToken);
        }
        Ok(Self { id: id.parse().map_err(|_| InvalidToken)?, auth: part(auth)?, secret: part(secret)? })
    }

    /// The whole token: to be shown to its owner once, and never sent.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        // Room for the whole, so that no copy of a secret is left behind by growing.
        let mut text = Zeroizing::new(String::with_capacity(32 + 2 * 44));
        text.push_str(&self.id.to_string());
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(self.auth, &mut text);
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(self.secret, &mut text);
        text
    }

    /// The part that is sent, beside the id.
    #[must_use]
    pub const fn auth(&self) -> &[u8; KEY_LEN] {
        &self.auth
    }

    /// Names it; also the id of its session.
    #[must_use]
    pub const fn id(&self) -> SessionId {
        self.id
    }

    /// SHA-256 of the auth part: what the server compares with.
    #[must_use]
    pub fn auth_hash(&self) -> [u8; 32] {
        Sha256::digest(self.auth).into()
    }

    /// What opens the keys that the server keeps for it.
    #[must_use]
    pub fn device_key(&self) -> DeviceKey {
        DeviceKey::from_bytes(self.secret)
    }

    /// Seed of the Ed25519 key that its grants are bound to.
    #[must_use]
    pub fn derive_session_seed(&self) -> Zeroizing<[u8; KEY_LEN]> {
        derive_api_key_session_seed(&self.secret)
    }
}

fn part(text: &str) -> Result<[u8; KEY_LEN], InvalidToken> {
    let mut bytes = Zeroizing::new([0; KEY_LEN]);
    match URL_SAFE_NO_PAD.decode_slice(text, bytes.as_mut_slice()) {
        Ok(KEY_LEN) => Ok(*bytes),
        _ => Err(InvalidToken),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> ApiToken {
        ApiToken { id: SessionId([1; 16]), auth: [2; 32], secret: [3; 32] }
    }

    #[test]
    fn the_form_of_a_token_and_what_is_derived_from_it_are_frozen() {
        let text = format!(
            "{}.AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI.AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM",
            "01".repeat(16)
        );
        assert_eq!(*known().to_text(), text);
        assert_eq!(
            hex::encode(known().auth_hash()),
            "75877bb41d393b5fb8455ce60ecd8dda001d06316496b14dfa7f895656eeca4a"
        );
        assert_eq!(
            hex::encode(*known().derive_session_seed()),
            "b9b0fdc5257ce9aa28dfe44af881c35164a6d9334966848eda8df4f6d8eda4e8"
        );
    }

    #[test]
    fn a_token_is_read_back_and_nothing_else_is_taken_for_one() {
        let token = ApiToken::make();
        let text = token.to_text();
        let read = ApiToken::parse(&format!(" {}\n", *text)).ok().unwrap();
        assert!(read.id() == token.id() && read.auth == token.auth && read.device_key() == token.device_key());
        let sent = text.rsplit_once('.').unwrap().0;
        for wrong in [
            "",
            "..",
            sent,
            &format!("{}.", *text),
            &format!("{}.x", *text),
            &text[1..],
            &text[..text.len() - 1],
            &format!("{}A", *text),
            &known().to_text().replace("01", "0A"),
            &text.replace('.', ":"),
        ] {
            assert_eq!(ApiToken::parse(wrong).err(), Some(InvalidToken), "{wrong}");
        }
    }
}
