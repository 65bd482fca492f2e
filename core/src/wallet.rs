//! Logging in with a wallet: the address, and the text that its owner signs.
//!
//! The text is what wallets show ("Sign In With Solana", after EIP-4361): it names the domain that asks, so that a page elsewhere which
//! passes the text on is seen, and a nonce that counts once. It is signed as it stands, without a context of ours, since that is what
//! wallets do; it begins with a domain, so it can never be a transaction. Server and client build it from its parts, so that a
//! client signs no text that it does not know.

use std::fmt::Write as _;
use std::str::FromStr;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use thiserror::Error;

use crate::ids::SessionId;
use crate::sign::{BadSignature, SIGNATURE_LEN};

/// Longest domain with its port.
pub const DOMAIN_MAX: usize = 260;
/// Base58 characters of 32 and of 64 bytes, at most.
const ADDRESS_CHARS: usize = 44;
const SIGNATURE_CHARS: usize = 88;

/// What is not an address or a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not base58 of the right length")]
pub struct NotBase58;

fn base58<const N: usize>(text: &str, chars: usize) -> Result<[u8; N], NotBase58> {
    if text.len() > chars {
        return Err(NotBase58);
    }
    let bytes = bs58::decode(text).into_vec().map_err(|_| NotBase58)?;
    bytes.try_into().map_err(|_| NotBase58)
}

/// The address of a Solana wallet: its Ed25519 public key in base58.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WalletAddress(pub [u8; 32]);

impl FromStr for WalletAddress {
    type Err = NotBase58;

    fn from_str(text: &str) -> Result<Self, NotBase58> {
        base58(text, ADDRESS_CHARS).map(Self)
    }
}

impl std::fmt::Display for WalletAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&bs58::encode(self.0).into_string())
    }
}

/// A signature as wallets show it.
///
/// # Errors
/// [`NotBase58`].
pub fn parse_signature(text: &str) -> Result<[u8; SIGNATURE_LEN], NotBase58> {
    base58(text, SIGNATURE_CHARS)
}

/// A signature as wallets show it.
#[must_use]
pub fn show_signature(signature: &[u8; SIGNATURE_LEN]) -> String {
    bs58::encode(signature).into_string()
}

/// What a signature is for. One for the one never serves the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent<'a> {
    /// To log in.
    LogIn,
    /// To let the wallet log in to the account of this user name from now on.
    Link(&'a str),
}

/// The parts of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignIn<'a> {
    /// Who asks, for example `cyx.example.org`.
    pub domain: &'a str,
    /// Who signs.
    pub address: WalletAddress,
    /// What for.
    pub intent: Intent<'a>,
    /// Counts once.
    pub nonce: SessionId,
    /// Unix seconds.
    pub issued_at: u64,
    /// Unix seconds.
    pub expires_at: u64,
}

impl SignIn<'_> {
    /// The text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{} wants you to sign in with your Solana account:\n{}\n\n", self.domain, self.address);
        match self.intent {
            Intent::LogIn => text.push_str("Log in to cyx."),
            Intent::Link(username) => {
                let _ = write!(text, "Link this wallet to the cyx account {username}, so that it can log in to it.");
            }
        }
        let (issued, expires) = (rfc3339(self.issued_at), rfc3339(self.expires_at));
        let _ = write!(text, "\n\nVersion: 1\nNonce: {}\nIssued At: {issued}\nExpiration Time: {expires}", self.nonce);
        text
    }

    /// Signs it with the wallet's key.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> [u8; SIGNATURE_LEN] {
        key.sign(self.text().as_bytes()).to_bytes()
    }

    /// Checks a signature strictly (no malleable or small-order forms).
    ///
    /// # Errors
    /// [`BadSignature`], also for an address that is not a point of the curve.
    pub fn verify(&self, signature: &[u8; SIGNATURE_LEN]) -> Result<(), BadSignature> {
        let key = VerifyingKey::from_bytes(&self.address.0).map_err(|_| BadSignature)?;
        let signature = Signature::from_bytes(signature);
        key.verify_strict(self.text().as_bytes(), &signature).map_err(|_| BadSignature)
    }
}

/// Whether a text can be the domain in a text that people read: a host, perhaps with a port.
#[must_use]
pub fn is_domain(text: &str) -> bool {
    (1..=DOMAIN_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b))
        && text.bytes().any(|b| b.is_ascii_alphanumeric())
}

/// Unix seconds as RFC 3339 in UTC.
fn rfc3339(seconds: u64) -> String {
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    // Days since 0000-03-01, by eras of 400 years: the leap day is the last one of such a year.
    let days = days.saturating_add(719_468);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{date:02}T{:02}:{:02}:{:02}Z", time / 3600, time / 60 % 60, time % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[5; 32])
    }

    fn sign_in<'a>(intent: Intent<'a>) -> SignIn<'a> {
        SignIn {
            domain: "cyx.example.org",
            address: WalletAddress(key().verifying_key().to_bytes()),
            intent,
            nonce: SessionId([7; 16]),
            issued_at: 1_795_000_000,
            expires_at: 1_795_000_300,
        }
    }

    #[test]
    fn the_text_is_what_wallets_show() {
        let parts = sign_in(Intent::LogIn);
        let expected = format!(
            "cyx.example.org wants you to sign in with your Solana account:\n{}\n\nLog in to cyx.\n\nVersion: 1\n\
             Nonce: 07070707070707070707070707070707\nIssued At: 2026-11-18T11:06:40Z\nExpiration Time: 2026-11-18T11:11:40Z",
            parts.address
        );
        assert_eq!(parts.text(), expected);
        assert!(sign_in(Intent::Link("ada")).text().contains("Link this wallet to the cyx account ada, so"));
    }

    #[test]
    fn a_signature_counts_for_exactly_what_was_signed() {
        let parts = sign_in(Intent::LogIn);
        let signature = parts.sign(&key());
        assert_eq!(parts.verify(&signature), Ok(()));
        let other = WalletAddress(SigningKey::from_bytes(&[6; 32]).verifying_key().to_bytes());
        for changed in [
            SignIn { domain: "cyx.example.com", ..parts },
            SignIn { address: other, ..parts },
            SignIn { intent: Intent::Link("ada"), ..parts },
            SignIn { nonce: SessionId([8; 16]), ..parts },
            SignIn { issued_at: 1_795_000_001, ..parts },
            SignIn { expires_at: 1_795_000_301, ..parts },
        ] {
            assert_eq!(changed.verify(&signature), Err(BadSignature), "{changed:?}");
        }
    }

    #[test]
    fn addresses_and_signatures_are_base58_of_their_length() {
        let address = sign_in(Intent::LogIn).address;
        assert_eq!(address.to_string().parse(), Ok(address));
        assert_eq!("11111111111111111111111111111111".parse(), Ok(WalletAddress([0; 32])));
        for bad in ["", "0", "1", "O1l", &"1".repeat(31), &"1".repeat(33), &"z".repeat(44), &"1".repeat(10_000)] {
            assert_eq!(bad.parse::<WalletAddress>(), Err(NotBase58), "{bad}");
        }
        let signature = [9; SIGNATURE_LEN];
        assert_eq!(parse_signature(&show_signature(&signature)), Ok(signature));
        assert_eq!(parse_signature(&address.to_string()), Err(NotBase58));
    }

    #[test]
    fn a_domain_is_a_host_with_or_without_a_port() {
        for good in ["localhost", "cyx.example.org", "cyx.example.org:8443", "[::1]:8080"] {
            assert!(is_domain(good), "{good}");
        }
        for bad in ["", ".", "two words", "a\nb", "https://x", &"x".repeat(300)] {
            assert!(!is_domain(bad), "{bad}");
        }
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(seconds), text);
        }
    }
}
