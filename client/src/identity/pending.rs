//! A login that waits for its one-time code, so that another process can finish it: `pending/<session>.json`, mode 0600.
//!
//! It holds the key that the password gave, which opens the account once the server sends it. It is removed when the login is
//! finished or its code is too old.

use std::fs;
use std::path::{Path, PathBuf};

use cyx_core::auth::StretchParams;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::{Error, IntegrityError, Result};
use crate::files;
use crate::secret::Secret32;

/// A code lives five minutes; what is left an hour later is of no use.
const LEFTOVER_SECONDS: u64 = 3600;

#[derive(Serialize, Deserialize)]
pub(super) struct PendingFile {
    pub(super) gateway: String,
    pub(super) email: String,
    pub(super) params: StretchParams,
    pub(super) password_kek: Secret32,
    pub(super) otp_expires_at: u64,
    pub(super) accept_changes: bool,
}

pub(super) struct PendingStore {
    folder: PathBuf,
}

impl PendingStore {
    pub(super) fn new(home: &Path) -> Self {
        Self { folder: home.join("pending") }
    }

    /// The id comes from a server or a command line and becomes a file name.
    fn path(&self, session: &str) -> Option<PathBuf> {
        let fits = (1..=128).contains(&session.len())
            && session.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        fits.then(|| self.folder.join(format!("{session}.json")))
    }

    pub(super) fn save(&self, session: &str, pending: &PendingFile) -> Result<()> {
        let path = self.path(session).ok_or(IntegrityError::Mismatch("its session id is not one"))?;
        let content = serde_json::to_vec(pending).map_err(|_| Error::Internal("a pending login is JSON"))?;
        files::write_private(&path, &Zeroizing::new(content))
    }

    pub(super) fn load(&self, session: &str) -> Result<PendingFile> {
        let unknown = || Error::Invalid {
            code: cyx_core::error::ErrorCode::NotFound,
            message: "there is no login of this session id that waits for a code".into(),
            advice: Some("Begin again with `cyx login`.".into()),
        };
        let path = self.path(session).ok_or_else(unknown)?;
        let content = files::read_private(&path)?.map(Zeroizing::new).ok_or_else(unknown)?;
        serde_json::from_slice(&content).map_err(|_| Error::Config { path, reason: "it is damaged".into() })
    }

    pub(super) fn remove(&self, session: &str) -> Result<()> {
        self.path(session).map_or(Ok(()), |path| files::remove(&path))
    }

    /// Removes logins that were never finished.
    pub(super) fn prune(&self, now: u64) {
        let Ok(folder) = fs::read_dir(&self.folder) else { return };
        for entry in folder.flatten() {
            let stale = match files::read_private(&entry.path()) {
                Ok(Some(content)) => serde_json::from_slice::<PendingFile>(&Zeroizing::new(content))
                    .map_or(true, |pending| pending.otp_expires_at.saturating_add(LEFTOVER_SECONDS) < now),
                Ok(None) | Err(_) => false,
            };
            if stale && let Err(error) = files::remove(&entry.path()) {
                tracing::warn!(%error, "an unfinished login cannot be removed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn sample(otp_expires_at: u64) -> PendingFile {
        PendingFile {
            gateway: "http://localhost:8080".into(),
            email: "ada@example.org".into(),
            params: StretchParams::DEFAULT,
            password_kek: Secret32::new([5; 32]),
            otp_expires_at,
            accept_changes: false,
        }
    }

    #[test]
    fn a_pending_login_waits_in_a_file_of_mode_0600() {
        let home = tempfile::tempdir().unwrap();
        let store = PendingStore::new(home.path());
        store.save("abc-1", &sample(10)).unwrap();
        assert_eq!(store.load("abc-1").unwrap().password_kek.expose(), &[5; 32]);
        let mode = fs::metadata(home.path().join("pending/abc-1.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        store.remove("abc-1").unwrap();
        assert_eq!(store.load("abc-1").err().unwrap().exit_code(), 3);
    }

    #[test]
    fn a_session_id_cannot_name_another_file() {
        let home = tempfile::tempdir().unwrap();
        let store = PendingStore::new(home.path());
        for evil in ["../credentials", "", "a/b", "a.json", &"x".repeat(129)] {
            assert!(store.save(evil, &sample(10)).is_err(), "{evil}");
            assert!(store.load(evil).is_err(), "{evil}");
        }
    }

    #[test]
    fn what_was_never_finished_goes_away() {
        let home = tempfile::tempdir().unwrap();
        let store = PendingStore::new(home.path());
        store.save("old", &sample(10)).unwrap();
        store.save("new", &sample(100_000)).unwrap();
        store.prune(100_000);
        assert!(store.load("old").is_err());
        assert!(store.load("new").is_ok());
    }
}
