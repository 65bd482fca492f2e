//! What a logged-in machine keeps: one file, `credentials.json`, mode 0600.
//!
//! It holds this device's secret (under which the server keeps the wrapped account key), the seed of the session's signing
//! key and the rotating tokens. None of them alone opens anything: the account key is not in it.
//!
//! The refresh token changes with every use and an old one ends the session, so it is only used under a file lock and the
//! file is read again first: of many `cyx` processes one refreshes and the others find its result.

use std::path::{Path, PathBuf};

use cyx_core::ids::{AccountId, SessionId};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::error::{Error, Result};
use crate::files::{self, Lock};
use crate::secret::Secret32;

const VERSION: u32 = 1;

/// The content of `credentials.json`.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct Credentials {
    version: u32,
    /// The gateway logged in to; nothing here is sent to another.
    pub gateway: String,
    /// The account.
    #[zeroize(skip)]
    pub account: AccountId,
    /// The session.
    #[zeroize(skip)]
    pub session: SessionId,
    /// The account's email address.
    pub email: String,
    /// The account's user name.
    pub username: String,
    /// The server stores the account key wrapped under this.
    pub device_secret: Secret32,
    /// Seed of the session's Ed25519 key, which uses grants.
    pub session_seed: Secret32,
    /// The rotating tokens.
    pub tokens: Tokens,
    /// The session has no keys: a wallet logged it in, and nobody gave the password.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keyless: bool,
}

/// An access token and the refresh token that gets the next one.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct Tokens {
    /// Sent with every call.
    pub access: String,
    /// When it ends by this machine's clock, Unix seconds.
    pub access_expires_at: u64,
    /// When it was received by this machine's clock, Unix seconds.
    pub received_at: u64,
    /// Used once.
    pub refresh: String,
}

impl Tokens {
    /// The access token can still be used at `now` (Unix seconds). The last fifth of its life, at most a minute, does not
    /// count, so that a call is not overtaken by the end of its token.
    #[must_use]
    pub fn is_fresh(&self, now: u64) -> bool {
        let life = self.access_expires_at.saturating_sub(self.received_at);
        let margin = (life / 5).min(60);
        // A clock that was set back must not make an old token look fresh for longer than it lives.
        now >= self.received_at.saturating_sub(60) && now.saturating_add(margin) < self.access_expires_at
    }
}

impl Credentials {
    /// New credentials after a login.
    #[must_use]
    #[expect(clippy::too_many_arguments, reason = "each is a field, named at the only caller")]
    pub fn new(
        gateway: String,
        account: AccountId,
        session: SessionId,
        email: String,
        username: String,
        device_secret: Secret32,
        session_seed: Secret32,
        tokens: Tokens,
    ) -> Self {
        Self {
            version: VERSION,
            gateway,
            account,
            session,
            email,
            username,
            device_secret,
            session_seed,
            tokens,
            keyless: false,
        }
    }
}

/// The credentials of a home folder.
#[derive(Clone, Debug)]
pub struct CredentialStore {
    file: PathBuf,
    lock: PathBuf,
}

/// The right to change the credentials; ends when dropped.
pub struct CredentialLock {
    _lock: Lock,
}

impl CredentialStore {
    /// The store of a home folder, which need not exist yet.
    #[must_use]
    pub fn new(home: &Path) -> Self {
        Self { file: home.join("credentials.json"), lock: home.join("credentials.lock") }
    }

    /// Reads the credentials; `None` if nobody is logged in.
    ///
    /// # Errors
    /// [`Error::Config`] for a file that cannot be understood, [`Error::Local`] for one that cannot be read.
    pub fn load(&self) -> Result<Option<Credentials>> {
        let Some(content) = files::read_private(&self.file)?.map(Zeroizing::new) else { return Ok(None) };
        let broken = |reason: String| Error::Config { path: self.file.clone(), reason };
        let credentials: Credentials = serde_json::from_slice(&content)
            .map_err(|error| broken(format!("it is damaged at line {}; log in again", error.line())))?;
        if credentials.version != VERSION {
            return Err(broken(format!("it is of version {}, which this program does not know", credentials.version)));
        }
        Ok(Some(credentials))
    }

    /// Waits for the right to change the credentials.
    ///
    /// # Errors
    /// [`Error::Local`].
    pub async fn lock(&self) -> Result<CredentialLock> {
        Ok(CredentialLock { _lock: Lock::acquire_async(self.lock.clone()).await? })
    }

    /// Replaces the credentials.
    ///
    /// # Errors
    /// [`Error::Local`].
    pub fn save(&self, _lock: &CredentialLock, credentials: &Credentials) -> Result<()> {
        let content = serde_json::to_vec_pretty(credentials).map_err(|_| Error::Internal("credentials are JSON"))?;
        files::write_private(&self.file, &Zeroizing::new(content))
    }

    /// Forgets the credentials.
    ///
    /// # Errors
    /// [`Error::Local`].
    pub fn remove(&self, _lock: &CredentialLock) -> Result<()> {
        files::remove(&self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyx_core::ids::Random as _;
    use std::os::unix::fs::PermissionsExt as _;

    fn sample() -> Credentials {
        let tokens = Tokens { access: "a".into(), access_expires_at: 1000, received_at: 0, refresh: "r".into() };
        Credentials::new(
            "http://localhost:8080".into(),
            AccountId::random(),
            SessionId::random(),
            "a@example.org".into(),
            "ada".into(),
            Secret32::random(),
            Secret32::random(),
            tokens,
        )
    }

    #[tokio::test]
    async fn credentials_come_back_from_a_file_of_mode_0600() {
        let home = tempfile::tempdir().unwrap();
        let store = CredentialStore::new(home.path());
        assert!(store.load().unwrap().is_none());
        let lock = store.lock().await.unwrap();
        let credentials = sample();
        store.save(&lock, &credentials).unwrap();
        let read = store.load().unwrap().unwrap();
        assert_eq!(read.session, credentials.session);
        assert_eq!(read.device_secret.expose(), credentials.device_secret.expose());
        let mode = std::fs::metadata(home.path().join("credentials.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        store.remove(&lock).unwrap();
        assert!(store.load().unwrap().is_none());
    }

    #[test]
    fn a_damaged_file_is_an_error_that_names_it() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("credentials.json"), "{").unwrap();
        let error = CredentialStore::new(home.path()).load().err().unwrap();
        assert!(matches!(&error, Error::Config { path, .. } if path.ends_with("credentials.json")), "{error}");
    }

    #[test]
    fn a_token_is_fresh_until_a_margin_before_its_end() {
        let tokens = |received_at, access_expires_at| Tokens {
            access: String::new(),
            access_expires_at,
            received_at,
            refresh: String::new(),
        };
        let hour = tokens(10_000, 13_600);
        assert!(hour.is_fresh(10_000) && hour.is_fresh(13_539));
        assert!(!hour.is_fresh(13_540) && !hour.is_fresh(20_000));
        assert!(!hour.is_fresh(5_000), "a clock that was set back");
        let short = tokens(10_000, 10_005);
        assert!(short.is_fresh(10_003) && !short.is_fresh(10_004));
    }
}
