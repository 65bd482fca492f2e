//! Mail into a folder: for clusters on one machine and for tests.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use lettre::Message;

use super::{MailError, MailTransport};
use crate::config::ConfigError;
use crate::time::now_ns;

/// A folder of `.eml` files, whose names sort by time.
pub(super) struct Outbox {
    folder: PathBuf,
    counter: AtomicU64,
}

impl Outbox {
    /// Makes the folder if there is none.
    pub(super) fn open(folder: &Path) -> Result<Self, ConfigError> {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|source| ConfigError::File { path: folder.to_owned(), source })?;
        Ok(Self { folder: folder.to_owned(), counter: AtomicU64::new(0) })
    }

    fn write(&self, message: &Message) -> std::io::Result<()> {
        let count = self.counter.fetch_add(1, Ordering::Relaxed);
        let name = format!("{:020}-{}-{count:06}", now_ns(), std::process::id());
        let temporary = self.folder.join(format!(".{name}.tmp"));
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(&message.formatted())?;
        drop(file);
        // Whoever watches the folder sees whole letters only.
        std::fs::rename(&temporary, self.folder.join(format!("{name}.eml")))
    }
}

impl MailTransport for Outbox {
    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<(), MailError>> {
        let written = self.write(message);
        std::future::ready(written.map_err(|error| MailError(format!("{}: {error}", self.folder.display())))).boxed()
    }
}
