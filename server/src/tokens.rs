//! Tokens and what they are made with.
//!
//! One secret stands behind all of them: `JWT_SECRET`, shared by every process that must accept the same tokens, or drawn once and
//! kept in the data folder. It signs access tokens itself, as other services expect; everything else uses keys derived from it
//! by purpose.

mod codes;
pub mod jwt;
mod secret;

use std::time::Duration;

use cyx_core::enrol::{self, CHALLENGE_LEN, EnrolmentToken};
use cyx_core::ids::{AccountId, KeyId, MachineId, NodeId, SessionId};
use cyx_core::sign::{self, Purpose};
use ed25519_dalek::SigningKey;
use sha2::{Digest as _, Sha256};

use crate::auth::ALL_PERMISSIONS;
use crate::config::{Config, ConfigError};
use crate::error::ApiError;

pub use self::codes::{CodeKeys, OTP_DIGITS, make_backup_code};
pub(crate) use self::secret::FILE as SECRET_FILE;

pub use self::jwt::{Claims, Issued, Subject, UserType};

/// Looks whether the secret can be used, and draws none.
///
/// # Errors
/// [`ConfigError`] if it is too short or its file cannot be used.
pub fn try_secret(config: &Config) -> Result<(), ConfigError> {
    secret::find(config).map(drop)
}

/// Makes and checks tokens.
pub struct Tokens {
    /// Access tokens.
    pub jwt: jwt::Jwt,
    /// One-time codes.
    pub codes: CodeKeys,
    prelogin_key: [u8; 32],
    refresh_key: [u8; 32],
    /// Shows machines who the server is. From the shared secret, so that all servers of one database are the same to them.
    identity: SigningKey,
    access_life: Duration,
    machine_life: Duration,
}

impl Tokens {
    /// Loads or draws the secret.
    ///
    /// # Errors
    /// [`ConfigError`] if it is too short or its file cannot be used.
    pub fn load(config: &Config) -> Result<Self, ConfigError> {
        let secret = secret::load(config)?;
        Ok(Self {
            jwt: jwt::Jwt::new(secret.expose(), &config.jwt),
            prelogin_key: blake3::derive_key("cyx v1 server prelogin", secret.expose()),
            codes: CodeKeys::derive(secret.expose()),
            refresh_key: blake3::derive_key("cyx v1 server refresh tokens", secret.expose()),
            identity: SigningKey::from_bytes(&blake3::derive_key("cyx v1 server identity key", secret.expose())),
            access_life: config.access_token,
            machine_life: config.node_token,
        })
    }

    /// An access token for a session, with the wallet that it logged in with, if it did.
    ///
    /// # Errors
    /// [`cyx_core::error::ErrorCode::Internal`] if it cannot be signed.
    pub fn access(&self, account: AccountId, session: SessionId, wallet: Option<String>) -> Result<Issued, ApiError> {
        let permissions = ALL_PERMISSIONS.map(|permission| permission.as_str().to_owned()).to_vec();
        let (id, session) = (account.to_string(), Some(session.to_string()));
        self.jwt.issue(UserType::User, Subject { id, session, permissions, wallet }, self.access_life)
    }

    /// An access token for a program with a key.
    ///
    /// # Errors
    /// [`cyx_core::error::ErrorCode::Internal`] if it cannot be signed.
    pub fn api_key(
        &self,
        account: AccountId,
        session: SessionId,
        permissions: Vec<String>,
        life: Duration,
    ) -> Result<Issued, ApiError> {
        let (id, session) = (account.to_string(), Some(session.to_string()));
        let subject = Subject { id, session, permissions, wallet: None };
        self.jwt.issue(UserType::ApiKey, subject, life.min(self.access_life))
    }

    /// An access token for a storage node's machine.
    ///
    /// # Errors
    /// [`cyx_core::error::ErrorCode::Internal`] if it cannot be signed.
    pub fn machine(&self, machine: MachineId) -> Result<Issued, ApiError> {
        self.jwt.issue(UserType::Node, Subject { id: machine.to_string(), ..Subject::default() }, self.machine_life)
    }

    /// The public key by which machines know the server.
    #[must_use]
    pub fn identity_key(&self) -> [u8; 32] {
        self.identity.verifying_key().to_bytes()
    }

    /// Its fingerprint, which enrolment tokens carry.
    #[must_use]
    pub fn fingerprint(&self) -> KeyId {
        sign::key_id(&self.identity_key())
    }

    /// A new enrolment token of this server.
    #[must_use]
    pub fn enrolment(&self) -> EnrolmentToken {
        EnrolmentToken::make(self.fingerprint())
    }

    /// Proves to a machine who the server is.
    #[must_use]
    pub fn answer_challenge(&self, challenge: &[u8; CHALLENGE_LEN]) -> [u8; sign::SIGNATURE_LEN] {
        sign::sign(&self.identity, Purpose::ServerIdentity, &enrol::challenge_body(challenge))
    }

    /// Vouches for the keys that a node which registers is told to believe.
    #[must_use]
    pub fn vouch<'a>(
        &self,
        node: NodeId,
        issued_at: u64,
        keys: impl IntoIterator<Item = &'a [u8; 32]>,
    ) -> [u8; sign::SIGNATURE_LEN] {
        sign::sign(&self.identity, Purpose::ServerIdentity, &enrol::announcement_body(node, issued_at, keys))
    }

    /// The salt that an email without an account has always had.
    #[must_use]
    pub fn fake_salt(&self, email_key: &str) -> [u8; 16] {
        first(blake3::keyed_hash(&self.prelogin_key, email_key.as_bytes()).as_bytes())
    }

    /// The one-time code that is mailed for a login.
    #[must_use]
    pub fn otp(&self, login: SessionId) -> String {
        self.codes.mailed(login)
    }

    /// A session's first refresh token.
    #[must_use]
    pub fn first_refresh_token(&self, session: SessionId) -> String {
        let random = cyx_core::ids::random_bytes::<32>();
        self.refresh_token(session, &random)
    }

    /// The successor of a refresh token. It is a function of its predecessor, so that a client which lost the answer, or two programs
    /// that share credentials, get the same one.
    #[must_use]
    pub fn next_refresh_token(&self, session: SessionId, token: &str) -> String {
        self.refresh_token(session, token.as_bytes())
    }

    fn refresh_token(&self, session: SessionId, input: &[u8]) -> String {
        let mut hasher = blake3::Hasher::new_keyed(&self.refresh_key);
        hasher.update(session.as_bytes()).update(input);
        format!("cyxr_{}", hex::encode(hasher.finalize().as_bytes()))
    }
}

/// What is stored of a token or an auth key: its SHA-256. Tokens have 256 random bits and auth keys are stretched by the client, so
/// more work here would only invite others to cause it.
#[must_use]
pub fn stored_hash(secret: &[u8]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

fn first(hash: &[u8; 32]) -> [u8; 16] {
    let (head, _) = hash.split_at(16);
    head.try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyx_core::ids::Random as _;

    fn tokens(secret: u8) -> Tokens {
        let config = crate::test_support::config(std::path::Path::new("/nonexistent"));
        let secret = crate::config::Secret::new(vec![secret; 32]);
        let jwt = crate::config::JwtConfig { secret: Some(secret), ..config.jwt.clone() };
        Tokens::load(&Config { jwt, ..config }).unwrap()
    }

    #[test]
    fn fakes_are_stable_and_depend_on_email_and_secret() {
        let ours = tokens(1);
        assert_eq!(ours.fake_salt("a@b.c"), ours.fake_salt("a@b.c"));
        assert_ne!(ours.fake_salt("a@b.c"), ours.fake_salt("a@b.d"));
        assert_ne!(ours.fake_salt("a@b.c"), tokens(2).fake_salt("a@b.c"));
    }

    #[test]
    fn codes_have_six_digits_and_depend_on_the_login() {
        let ours = tokens(1);
        let codes: std::collections::HashSet<_> = (0..100).map(|_| ours.otp(SessionId::random())).collect();
        assert!(codes.len() > 90);
        assert!(codes.iter().all(|code| code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit())));
    }

    #[test]
    fn a_successor_is_always_the_same_and_of_its_session() {
        let ours = tokens(1);
        let session = SessionId::random();
        let token = ours.first_refresh_token(session);
        assert_ne!(token, ours.first_refresh_token(session));
        assert_eq!(ours.next_refresh_token(session, &token), ours.next_refresh_token(session, &token));
        assert_ne!(ours.next_refresh_token(session, &token), ours.next_refresh_token(SessionId::random(), &token));
    }
}
