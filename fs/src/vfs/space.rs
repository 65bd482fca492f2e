//! Space of the account.

use std::time::{Duration, Instant};

use cyx_core::units::NAME_MAX;

use super::{Filesystem, Space};
use crate::errno::Errno;

/// How long an answer about the quota is good enough.
const KEPT: Duration = Duration::from_secs(5);
const BLOCK: u32 = 4096;
/// Inodes have no limit of their own; programs that look at the number want to see a large one.
const FILES: u64 = 1 << 40;

impl Filesystem {
    /// Space of the account. What is written and not committed counts as used. While the server is away, it is what was known last: programs
    /// that walk a tree ask for it in every directory.
    ///
    /// # Errors
    /// `EIO` if nothing is known.
    pub async fn statfs(&self) -> Result<Space, Errno> {
        let inner = &*self.inner;
        let mut kept = inner.space.lock().await;
        if let Some((at, space)) = *kept
            && (at.elapsed() < KEPT || inner.health.offline())
        {
            return Ok(space);
        }
        let quota = match (inner.health.ask(inner.client.quota()).await, *kept) {
            (Ok(quota), _) => quota,
            (Err(_), Some((_, space))) if inner.health.offline() => return Ok(space),
            (Err(error), _) => return Err(error.into()),
        };
        let dirty = inner.store.status().dirty_bytes;
        let used = quota.used_bytes.saturating_add(quota.pending_bytes).saturating_add(dirty);
        let block = u64::from(BLOCK);
        let space = Space {
            block: BLOCK,
            blocks: quota.limit_bytes / block,
            free: quota.limit_bytes.saturating_sub(used) / block,
            files: FILES,
            name_max: u32::try_from(NAME_MAX).unwrap_or(u32::MAX),
        };
        *kept = Some((Instant::now(), space));
        Ok(space)
    }
}
