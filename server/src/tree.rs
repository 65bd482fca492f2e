//! The encrypted tree: buckets, directories, files, versions, trash.
//!
//! The server keeps the truths of a POSIX tree (unique names, link counts, no loops, rmdir only of what is empty) without ever
//! learning a name, and the truths of content (every reference resolves, every byte is counted once, everything stored was
//! proven) without ever learning a key. `docs/metadata.md` lists tables, counters and invariants, and [`check`] verifies them.
//!
//! | module | what it does |
//! |---|---|
//! | [`request`], [`plan`] | foreign messages become checked operations, outside of any transaction |
//! | [`work`] | a transaction on one bucket: lock, savepoints, change log, counters |
//! | [`apply`], [`fast`] | a batch of mutations; the set-based path for runs of small new files |
//! | [`namespace`], [`rename`], [`attributes`], [`trash`] | operations on names and inodes |
//! | [`rekey`] | new keys for inodes and buckets |
//! | [`commit`], [`upload`], [`refs`], [`blobs`] | new versions, their segments and the counters of pages and blobs |
//! | [`staging`] | segments handed over before their commit |
//! | [`purge`], [`collect`] | what is gone for good, in bounded steps |
//! | [`read`], [`file`] | questions |
//! | [`buckets`] | buckets, their members and writer lists |
//! | [`write_lease`] | the right to decide a bucket's namespace locally |
//! | [`check`] | the invariants |
//! | [`model`], [`sql`] | rows and the messages they become; statements over lists of keys |
//! | [`error`] | why the tree does not do what it was asked to |

pub mod apply;
mod attributes;
mod blobs;
pub mod buckets;
pub mod check;
pub mod collect;
mod commit;
pub mod error;
mod fast;
pub mod file;
pub mod model;
mod namespace;
pub mod plan;
mod purge;
pub mod read;
mod refs;
pub mod rekey;
mod rename;
pub mod request;
pub(crate) mod sql;
pub mod staging;
pub mod trash;
mod upload;
pub mod work;
pub mod write_lease;

#[cfg(test)]
pub(crate) mod tests;

pub use self::error::{Refusal, TreeError};
pub use self::work::{Actor, Changes, Work};

/// Columns of a bucket, of table alias `b`.
pub(crate) const BUCKET_COLUMNS: &str = "b.id, b.owner, b.owner_key, b.root, b.sealed_name, b.durable, b.sequence, b.writers, \
     b.fencing, b.used_bytes, b.superseded_bytes, b.files, b.created_ns, b.deleted_ns";
/// Columns of an inode, of table alias `i`.
pub(crate) const INODE_COLUMNS: &str = "i.id, i.kind, i.mode, i.uid, i.gid, i.rdev, i.mtime_ns, i.ctime_ns, i.atime_ns, i.nlink, \
     i.trashed, i.size, i.version, i.root_page, i.sealed_target, i.sealed_meta, i.meta_version, i.key_history, i.created_ns, \
     i.deleted_ns, i.key_epoch";
/// Columns of an entry, of table alias `e`.
pub(crate) const ENTRY_COLUMNS: &str = "e.directory, e.name, e.epoch, e.child, e.kind, e.wrapped_key, e.version";
/// Columns of a trash entry, of table alias `t`.
pub(crate) const TRASH_COLUMNS: &str =
    "t.id, t.directory, t.name, t.epoch, t.child, t.kind, t.wrapped_key, t.deleted_ns, t.expires_ns";

/// Nanoseconds in a second.
pub(crate) const SECOND_NS: i64 = 1_000_000_000;

/// How long things are kept, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Trash entries and unlinked inodes.
    pub trash_seconds: u64,
    /// Superseded versions.
    pub superseded_seconds: u64,
    /// Staged segments, since the last call of their transaction.
    pub staged_seconds: u64,
    /// Changes, and the answers of mutations.
    pub history_seconds: u64,
    /// Write leases, since they were acquired or renewed.
    pub write_lease_seconds: u64,
}

impl Default for Settings {
    fn default() -> Self {
        const DAY: u64 = 24 * 3600;
        Self {
            trash_seconds: 30 * DAY,
            superseded_seconds: DAY,
            staged_seconds: 7 * DAY,
            history_seconds: 7 * DAY,
            write_lease_seconds: 30,
        }
    }
}

/// The time that is this many seconds before `now`.
pub(crate) fn before(now: i64, seconds: u64) -> i64 {
    now.saturating_sub(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(SECOND_NS))
}

/// The time that is this many seconds after `now`.
pub(crate) fn after(now: i64, seconds: u64) -> i64 {
    now.saturating_add(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(SECOND_NS))
}

impl From<&crate::config::Config> for Settings {
    fn from(config: &crate::config::Config) -> Self {
        Self {
            trash_seconds: config.trash.as_secs(),
            superseded_seconds: config.superseded.as_secs(),
            staged_seconds: config.staged.as_secs(),
            history_seconds: config.changes.as_secs(),
            write_lease_seconds: config.write_lease.as_secs(),
        }
    }
}
