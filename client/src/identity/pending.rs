//! A login that waits for its one-time code, so that another process can finish it: `pending/<session>.json`, mode 0600.
//!
//! It holds the key that the password gave, which opens the account once the server sends it. It is removed when the login or another one
//! of the account is finished, when this machine logs out, and when its code has ended.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cyx_core::auth::StretchParams;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::{Error, IntegrityError, Result};
use crate::files;
use crate::secret::Secret32;

/// No code lives longer, whatever a server says.
const CODE_SECONDS_MAX: u64 = 3600;
/// A file that is being written has a name of its own until then. One that is older was left by a program that was ended.
const WRITING: Duration = Duration::from_secs(60);

#[derive(Serialize, Deserialize)]
pub(super) struct PendingFile {
    pub(super) gateway: String,
    pub(super) email: String,
    pub(super) params: StretchParams,
    pub(super) password_kek: Secret32,
    /// When the code ends, Unix seconds by this machine's clock.
    pub(super) otp_expires_at: u64,
    pub(super) accept_changes: bool,
}

/// When a code ends by this machine's clock that by the server's, which may say what time it is there, ends at `expires_at`.
pub(super) fn ends_here(expires_at: u64, server_time: Option<u64>, now: u64) -> u64 {
    let life = expires_at.saturating_sub(server_time.unwrap_or(now));
    now.saturating_add(life.min(CODE_SECONDS_MAX))
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

    /// Removes logins whose code has ended.
    pub(super) fn prune(&self, now: u64) {
        self.remove_those(|pending| pending.otp_expires_at < now);
    }

    /// Removes all logins.
    pub(super) fn remove_all(&self) {
        self.remove_those(|_| true);
    }

    /// Removes all logins of an account, and those whose code has ended: what they keep opens the account.
    pub(super) fn remove_of(&self, gateway: &str, email: &str, now: u64) {
        self.remove_those(|pending| {
            let same = pending.gateway == gateway && pending.email.to_lowercase() == email.to_lowercase();
            same || pending.otp_expires_at < now
        });
    }

    /// Removes the logins that are meant, and what is none.
    fn remove_those(&self, meant: impl Fn(&PendingFile) -> bool) {
        let Ok(folder) = fs::read_dir(&self.folder) else { return };
        for entry in folder.flatten() {
            if is_being_written(&entry) {
                continue;
            }
            let stale = match files::read_private(&entry.path()) {
                Ok(Some(content)) => serde_json::from_slice::<PendingFile>(&Zeroizing::new(content))
                    .map_or(true, |pending| meant(&pending)),
                Ok(None) | Err(_) => false,
            };
            if stale && let Err(error) = files::remove(&entry.path()) {
                tracing::warn!(%error, "an unfinished login cannot be removed");
            }
        }
    }
}

/// Another program may be writing a login at this moment.
fn is_being_written(entry: &fs::DirEntry) -> bool {
    let age = || entry.metadata().ok()?.modified().ok()?.elapsed().ok();
    files::is_new(&entry.file_name()) && age().is_none_or(|age| age < WRITING)
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
        store.save("old", &sample(99_999)).unwrap();
        store.save("new", &sample(100_000)).unwrap();
        store.prune(100_000);
        assert!(store.load("old").is_err());
        assert!(store.load("new").is_ok());
    }

    #[test]
    fn all_of_an_account_go_away_and_those_of_others_stay() {
        let home = tempfile::tempdir().unwrap();
        let store = PendingStore::new(home.path());
        store.save("one", &sample(100)).unwrap();
        store.save("two", &PendingFile { email: "Ada@example.org".into(), ..sample(100) }).unwrap();
        store.save("elsewhere", &PendingFile { gateway: "https://a.test".into(), ..sample(100) }).unwrap();
        store.save("other", &PendingFile { email: "eve@example.org".into(), ..sample(100) }).unwrap();
        store.remove_of("http://localhost:8080", "ada@example.org", 50);
        assert!(store.load("one").is_err() && store.load("two").is_err());
        assert!(store.load("elsewhere").is_ok() && store.load("other").is_ok());
        store.remove_all();
        assert!(store.load("elsewhere").is_err() && store.load("other").is_err());
    }

    #[test]
    fn what_another_program_is_writing_is_left_alone_until_it_is_old() {
        let home = tempfile::tempdir().unwrap();
        let store = PendingStore::new(home.path());
        store.save("new", &sample(100)).unwrap();
        let file = files::new_private(&home.path().join("pending")).unwrap();
        store.prune(50);
        assert!(file.path().exists());
        let old = std::time::SystemTime::now() - 2 * WRITING;
        file.as_file().set_modified(old).unwrap();
        store.prune(50);
        assert!(!file.path().exists());
    }

    #[test]
    fn a_code_ends_by_the_clock_of_this_machine() {
        assert_eq!(ends_here(1_300, Some(1_000), 500_000), 500_300);
        assert_eq!(ends_here(1_300, None, 1_000), 1_300);
        assert_eq!(ends_here(u64::MAX, Some(1_000), 5_000), 5_000 + CODE_SECONDS_MAX);
    }
}
