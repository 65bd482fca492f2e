//! Buckets that are not there any more: somebody deleted them, or they are not open to this account any more, which looks the same from here. What
//! was changed in one and is not sent can never be sent. It is kept, content and names, without standing in anybody's way, until a mount is told
//! to let go of it; if the bucket is there again, the next mount sends it.

use std::collections::HashSet;

use cyx_client::Error;
use cyx_client::buckets::BucketInfo;
use cyx_core::error::ErrorCode;
use cyx_core::ids::BucketId;

use super::local::kept::Kept;
use super::{Inner, store_error};
use crate::content::journal_error;
use crate::journal::FileId;

impl Inner {
    /// Something was refused: its bucket may not be there any more.
    pub(crate) async fn look_if_gone(&self, refused: &Error) {
        if matches!(refused.code(), ErrorCode::NotFound | ErrorCode::PermissionDenied) {
            self.look_for_deleted().await;
        }
    }

    /// Looks whether buckets with something that cannot be sent are there: if one is not, it never can be, and nobody waits for it.
    pub(crate) async fn look_for_deleted(&self) {
        let Ok(_one) = self.buckets.looking.try_lock() else { return };
        let mut unsent: HashSet<BucketId> = self.store.dirty().iter().map(|content| content.id().bucket).collect();
        unsent.retain(|bucket| !self.store.is_stranded(*bucket));
        let pending = self.buckets.roots().into_iter().filter(|root| root.home.local.is_pending());
        unsent.extend(pending.map(|root| root.home.id));
        if unsent.is_empty() {
            return;
        }
        let Ok(answer) = self.health.ask(self.client.buckets()).await else { return };
        // One that cannot be opened may be it.
        let Ok(found) = answer.into_iter().collect::<cyx_client::Result<Vec<BucketInfo>>>() else { return };
        for bucket in unsent {
            if found.iter().all(|info| info.id != bucket) {
                self.strand(bucket);
            }
        }
    }

    /// A bucket is not there any more, nor is anything done in it from now on. Whether names in it were changed and are not sent.
    pub(super) fn leave(&self, bucket: BucketId) -> bool {
        let recovered = self.notes_of(bucket).into_iter();
        let mut kept: Vec<Kept> = recovered.map(|(at, note)| Kept::recovered(at, note)).collect();
        if let Some(root) = self.buckets.remove(bucket) {
            root.home.forget_all();
            kept.extend(root.home.local.close(bucket));
            self.store.set_write_lease(bucket, None);
        }
        let is_some = !kept.is_empty();
        self.kept.add(bucket, kept);
        is_some
    }

    /// A bucket is not there any more: what was changed in it and is not sent is kept.
    pub(super) fn strand(&self, bucket: BucketId) {
        let root = self.buckets.root(bucket);
        let name = root.map_or_else(|| bucket.to_string(), |root| root.home.bucket.name.clone());
        self.leave(bucket);
        self.store.keep_notes(self.kept.bytes());
        if let Err(error) = self.store.strand(bucket) {
            tracing::error!(%error, %bucket, "what was written to a bucket that is not there stays in the journal as it is");
        }
        self.report(&format!(
            "the bucket {name} was deleted, or is not open to this account any more; what was changed in it and not sent is kept until \
             `cyx mount --discard-deleted`"
        ));
    }

    /// Files of such buckets of which something is kept.
    pub(crate) fn deleted_files(&self) -> u64 {
        let mut files: HashSet<FileId> = self.kept.files();
        files.extend(self.store.stranded());
        files.len() as u64
    }

    /// Lets go of what is kept of such buckets.
    pub(crate) async fn discard_deleted(&self) -> cyx_client::Result<()> {
        let files = self.deleted_files();
        if files == 0 {
            return Ok(());
        }
        let bytes = self.store.status().gone_bytes;
        self.store.journal().finish_all(&self.kept.take()).map_err(journal_error)?;
        self.store.keep_notes(0);
        self.store.discard_stranded().await.map_err(store_error)?;
        self.finish_stranded_orphans();
        self.report(&format!(
            "let go of what was changed in buckets that are not there any more: {files} files, {bytes} bytes written"
        ));
        Ok(())
    }
}
