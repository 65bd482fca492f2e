//! What belongs to a person: everything the server holds about them, and the end of their account.

use std::path::Path;

use serde::Deserialize;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use crate::error::{Error, Result};
use crate::files;
use crate::identity::factors::Proof;
use crate::identity::rest::Ignored;
use crate::session::{Session, is_ended};

#[derive(Deserialize)]
struct Deletion {
    delete_at: u64,
}

impl Session {
    /// Writes everything that the server holds about the account to a new file of mode 0600, one JSON document per line, and
    /// says how many bytes. The file appears whole or not at all.
    ///
    /// # Errors
    /// [`Error::Local`], also if the file exists; [`Error::NotLoggedIn`], network errors.
    pub async fn export_account(&self, target: &Path) -> Result<u64> {
        let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = files::new_private(folder)?;
        let writer = file.as_file().try_clone().map_err(Error::local(target))?;
        let mut writer = tokio::fs::File::from_std(writer);
        let written = self.export_to(&mut writer, target).await?;
        writer.sync_all().await.map_err(Error::local(target))?;
        file.persist_noclobber(target).map_err(|error| Error::local(target)(error.error))?;
        Ok(written)
    }

    /// As [`Self::export_account`], to any writer; `target` names it in errors.
    ///
    /// # Errors
    /// As [`Self::export_account`].
    pub async fn export_to(&self, writer: &mut (impl AsyncWrite + Unpin), target: &Path) -> Result<u64> {
        let token = self.access_token().await?;
        let ended = |error: Error| if is_ended(error.code()) { self.ended() } else { error };
        let mut response = self.rest().download("/api/v1/account/export", &token).await.map_err(ended)?;
        let mut written = 0;
        while let Some(part) = self.rest().part(&mut response).await? {
            writer.write_all(&part).await.map_err(Error::local(target))?;
            written += part.len() as u64;
        }
        writer.flush().await.map_err(Error::local(target))?;
        Ok(written)
    }

    /// Has the account deleted after a time of grace, and says when: Unix seconds.
    ///
    /// # Errors
    /// `OTP_INVALID` (the confirmation can be tried again), `OTP_EXPIRED`.
    pub async fn delete_account(&self, proof: Proof<'_>) -> Result<u64> {
        let deletion: Deletion = self.confirmed("/api/v1/account/delete", proof).await?;
        Ok(deletion.delete_at)
    }

    /// Keeps an account that was to be deleted.
    ///
    /// # Errors
    /// `NOT_FOUND` if it was not.
    pub async fn keep_account(&self) -> Result<()> {
        let _: Ignored = self.post_nothing("/api/v1/account/delete/cancel").await?;
        Ok(())
    }
}
