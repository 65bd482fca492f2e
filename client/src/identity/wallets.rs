//! Wallets: keys that log in to the account without password and code, and open none of its files.

use std::path::Path;

use cyx_core::error::ErrorCode;
use cyx_core::ids::SessionId;
use cyx_core::sign::SIGNATURE_LEN;
use cyx_core::wallet::{Intent, SignIn, WalletAddress, show_signature};
use ed25519_dalek::SigningKey;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::config::Gateway;
use crate::error::{Error, IntegrityError, Result};
use crate::identity::factors::Proof;
use crate::identity::rest::{Ignored, Repeat};
use crate::session::Session;

/// Longest key file that is read.
const KEY_FILE_MAX: usize = 4096;
/// What a server calls itself if nobody told it another name.
const UNNAMED: &str = "localhost";

/// A wallet that is linked to the account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wallet {
    /// Its address.
    pub wallet: String,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339; absent before its first login.
    pub last_used_at: Option<String>,
    /// From where it last logged in; empty if never.
    pub last_address: String,
}

#[derive(Deserialize)]
struct Wallets {
    wallets: Vec<Wallet>,
}

/// A text that a wallet signs, to be linked or to log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalletText {
    /// Names it.
    pub id: String,
    /// The text.
    pub message: String,
    /// Until when it can be used, Unix seconds.
    pub expires_at: u64,
}

#[derive(Serialize)]
pub(super) struct ChallengeRequest<'a> {
    pub(super) wallet: &'a str,
}

#[derive(Deserialize)]
pub(super) struct ChallengeResponse {
    challenge_id: SessionId,
    message: String,
    domain: String,
    username: Option<String>,
    issued_at: u64,
    expires_at: u64,
}

#[derive(Serialize)]
struct LinkRequest<'a> {
    challenge_id: &'a str,
    signature: &'a str,
    #[serde(flatten)]
    proof: Proof<'a>,
}

#[derive(Deserialize)]
struct LinkResponse {
    wallet: String,
}

#[derive(Serialize)]
struct UnlinkRequest<'a> {
    wallet: &'a str,
    #[serde(flatten)]
    proof: Proof<'a>,
}

impl Session {
    /// The wallets that log in to the account.
    ///
    /// # Errors
    /// [`crate::Error::NotLoggedIn`], network errors.
    pub async fn wallets(&self) -> Result<Vec<Wallet>> {
        Ok(self.get::<Wallets>("/api/auth/wallets").await?.wallets)
    }

    /// Asks for the text that links a wallet.
    ///
    /// # Errors
    /// `RATE_LIMITED`; an integrity error if it is not what such a text says: a wallet must never sign something else.
    pub async fn wallet_link_text(&self, wallet: WalletAddress) -> Result<WalletText> {
        let address = wallet.to_string();
        let request = ChallengeRequest { wallet: &address };
        let answer: ChallengeResponse =
            self.send(Method::POST, "/api/auth/wallets/challenge", Some(&request), Repeat::IfNotSent).await?;
        answer.checked(wallet, self.gateway(), true)
    }

    /// Links the wallet that signed a text. Gives its address.
    ///
    /// # Errors
    /// `OTP_INVALID` (the confirmation can be tried again), `OTP_EXPIRED`, `INVALID_CREDENTIALS` for a signature that does not fit,
    /// `ALREADY_EXISTS` for a wallet that is linked.
    pub async fn link_wallet(&self, text: &str, signature: &str, proof: Proof<'_>) -> Result<String> {
        let request = LinkRequest { challenge_id: text, signature: signature.trim(), proof };
        let answer: LinkResponse =
            self.send_proof(Method::POST, "/api/auth/wallets", Some(&request), Repeat::IfNotSent).await?;
        Ok(answer.wallet)
    }

    /// Ends the link of a wallet, and what it logged in.
    ///
    /// # Errors
    /// As [`Self::link_wallet`]; `NOT_FOUND` if it is not linked to the account.
    pub async fn unlink_wallet(&self, wallet: WalletAddress, proof: Proof<'_>) -> Result<()> {
        let address = wallet.to_string();
        let request = UnlinkRequest { wallet: &address, proof };
        let _: Ignored =
            self.send_proof(Method::POST, "/api/auth/wallets/remove", Some(&request), Repeat::IfNotSent).await?;
        Ok(())
    }
}

impl ChallengeResponse {
    /// The text, if it is what such a text says.
    ///
    /// # Errors
    /// An integrity error.
    pub(super) fn checked(self, wallet: WalletAddress, gateway: &Gateway, links: bool) -> Result<WalletText> {
        check(&self, wallet, gateway, links)?;
        Ok(WalletText { id: self.challenge_id.to_string(), message: self.message, expires_at: self.expires_at })
    }
}

/// A text is built here once more: a server must not get a signature of anything else, nor of a text that names another place or
/// another purpose.
fn check(answer: &ChallengeResponse, wallet: WalletAddress, gateway: &Gateway, links: bool) -> Result<()> {
    let mismatch = |what| -> Error { IntegrityError::Mismatch(what).into() };
    let username = match links {
        true => Some(answer.username.as_deref().ok_or_else(|| mismatch("a text for a wallet names no account"))?),
        false => None,
    };
    let parts = SignIn {
        domain: &answer.domain,
        address: wallet,
        intent: username.map_or(Intent::LogIn, Intent::Link),
        nonce: answer.challenge_id,
        issued_at: answer.issued_at,
        expires_at: answer.expires_at,
    };
    let is_name = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if parts.text() != answer.message || !username.is_none_or(is_name) {
        return Err(mismatch("a text for a wallet says something else"));
    }
    if answer.domain != UNNAMED && !names(gateway, &answer.domain) {
        return Err(mismatch("a text for a wallet names another server"));
    }
    Ok(())
}

/// Whether a domain is the gateway's host, with or without its port.
fn names(gateway: &Gateway, domain: &str) -> bool {
    let place = gateway.as_str().split_once("://").map_or("", |(_, place)| place);
    let place = place.split('/').next().unwrap_or_default();
    let host = place.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
    domain.eq_ignore_ascii_case(place) || host.is_some_and(|(host, _)| domain.eq_ignore_ascii_case(host))
}

/// The key of a wallet, from a file as `solana-keygen` writes it.
pub struct WalletKey(SigningKey);

impl WalletKey {
    /// Reads it: a JSON array of 64 bytes, the secret half first. The file must be its owner's alone.
    ///
    /// # Errors
    /// [`Error::Local`]; `INVALID_ARGUMENT` for a file that is something else, or that others may read.
    pub fn read(path: &Path) -> Result<Self> {
        use std::io::Read as _;
        use std::os::unix::fs::PermissionsExt as _;
        let failed = |source| Error::Local { path: path.to_owned(), source };
        let file = std::fs::File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.permissions().mode() & 0o077 != 0 {
            return Err(Error::Invalid {
                code: ErrorCode::InvalidArgument,
                message: format!("the wallet's key in {} can be read by others", path.display()),
                advice: Some(
                    "Make it yours alone with `chmod 600`; if somebody may have read it, use another wallet.".into(),
                ),
            });
        }
        let mut text = Zeroizing::new(String::with_capacity(KEY_FILE_MAX));
        file.take(KEY_FILE_MAX as u64).read_to_string(&mut text).map_err(failed)?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self> {
        let bad = || Error::invalid("the file does not hold the key of a wallet, as solana-keygen writes it");
        let bytes: Zeroizing<Vec<u8>> = Zeroizing::new(serde_json::from_str(text).map_err(|_| bad())?);
        let bytes: Zeroizing<[u8; 64]> = Zeroizing::new(bytes.as_slice().try_into().map_err(|_| bad())?);
        SigningKey::from_keypair_bytes(&bytes).map(Self).map_err(|_| bad())
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> WalletAddress {
        WalletAddress(self.0.verifying_key().to_bytes())
    }

    /// Signs a text that [`Session::wallet_link_text`] or [`super::wallet_login::wallet_login_text`] gave.
    #[must_use]
    pub fn sign(&self, text: &WalletText) -> String {
        use ed25519_dalek::Signer as _;
        let signature: [u8; SIGNATURE_LEN] = self.0.sign(text.message.as_bytes()).to_bytes();
        show_signature(&signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALLET: WalletAddress = WalletAddress([1; 32]);

    fn answer() -> ChallengeResponse {
        let mut answer = ChallengeResponse {
            challenge_id: SessionId([7; 16]),
            message: String::new(),
            domain: "cyx.example.org".into(),
            username: Some("ada".into()),
            issued_at: 5,
            expires_at: 305,
        };
        answer.message = text(&answer);
        answer
    }

    fn text(answer: &ChallengeResponse) -> String {
        let intent = Intent::Link(answer.username.as_deref().unwrap());
        let (nonce, issued_at, expires_at) = (answer.challenge_id, answer.issued_at, answer.expires_at);
        SignIn { domain: &answer.domain, address: WALLET, intent, nonce, issued_at, expires_at }.text()
    }

    fn gateway(url: &str) -> Gateway {
        url.parse().unwrap()
    }

    #[test]
    fn only_the_text_itself_is_signed() {
        let here = gateway("https://cyx.example.org");
        assert!(check(&answer(), WALLET, &here, true).is_ok());
        let changed: [fn(&mut ChallengeResponse); 5] = [
            |answer| answer.message.push(' '),
            |answer| answer.message = "a transaction".into(),
            |answer| answer.username = None,
            |answer| answer.expires_at += 1,
            |answer| {
                answer.username = Some("ada.\nAnd all".into());
                answer.message = text(answer);
            },
        ];
        for (index, change) in changed.into_iter().enumerate() {
            let mut answer = answer();
            change(&mut answer);
            assert!(check(&answer, WALLET, &here, true).is_err(), "{index}");
        }
        assert!(check(&answer(), WalletAddress([2; 32]), &here, true).is_err(), "another wallet's");
        assert!(check(&answer(), WALLET, &gateway("https://cyx.example.com"), true).is_err(), "another server's");
        assert!(check(&answer(), WALLET, &here, false).is_err(), "a text to be linked does not log in");
        let mut to_log_in = answer();
        to_log_in.message = SignIn {
            domain: &to_log_in.domain,
            address: WALLET,
            intent: Intent::LogIn,
            nonce: to_log_in.challenge_id,
            issued_at: to_log_in.issued_at,
            expires_at: to_log_in.expires_at,
        }
        .text();
        assert!(check(&to_log_in, WALLET, &here, false).is_ok());
        assert!(check(&to_log_in, WALLET, &here, true).is_err(), "nor the other way round");
    }

    #[test]
    fn a_domain_is_the_gateways_host_with_or_without_its_port() {
        for (url, domain) in [
            ("https://cyx.example.org", "cyx.example.org"),
            ("https://cyx.example.org:8443", "cyx.example.org"),
            ("https://cyx.example.org:8443", "CYX.example.org:8443"),
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
        ] {
            assert!(names(&gateway(url), domain), "{url} {domain}");
        }
        for domain in ["example.org", "cyx.example.org.evil", "cyx.example.org:1", ""] {
            assert!(!names(&gateway("https://cyx.example.org:8443"), domain), "{domain}");
        }
    }

    #[test]
    fn keys_are_read_as_their_tools_write_them() {
        let key = SigningKey::from_bytes(&[9; 32]);
        let text = serde_json::to_string(&key.to_keypair_bytes().to_vec()).unwrap();
        assert_eq!(WalletKey::parse(&text).unwrap().address().0, key.verifying_key().to_bytes());
        let mut halves = key.to_keypair_bytes().to_vec();
        halves[40] ^= 1;
        for bad in ["", "[]", "[1,2,3]", "{}", &serde_json::to_string(&halves).unwrap()] {
            assert!(WalletKey::parse(bad).is_err(), "{bad}");
        }
    }
}
