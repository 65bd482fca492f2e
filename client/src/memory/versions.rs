//! The newest version of each file that this machine saw, on disk and bounded.
//!
//! ```text
//! record: bucket 16 | inode 16 | version u64 | BLAKE3(commit body)[..8]      48 bytes, the later ones hold
//! ```
//! Records are appended; a file of more than twice [`KEPT`] records is rewritten with the newest [`KEPT`] of them. What was
//! pushed out is forgotten: memory is bounded, so protection against going back covers the files used most recently.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use cyx_core::commit::Commit;
use cyx_core::ids::{BucketId, InodeId};

use crate::error::{Error, IntegrityError, Result};
use crate::files::{self, Lock};

/// Records that survive a rewrite.
pub const KEPT: usize = 65_536;
const RECORD_LEN: usize = 48;

type Digest = [u8; 8];

#[derive(Clone, Copy)]
struct Seen {
    version: u64,
    digest: Digest,
    order: u64,
}

#[derive(Default)]
struct Table {
    seen: HashMap<(BucketId, InodeId), Seen>,
    order: u64,
}

impl Table {
    fn put(&mut self, bucket: BucketId, inode: InodeId, version: u64, digest: Digest) {
        self.order += 1;
        let order = self.order;
        let seen = self.seen.entry((bucket, inode)).or_insert(Seen { version, digest, order });
        if version >= seen.version {
            *seen = Seen { version, digest, order };
        }
        if self.seen.len() > 2 * KEPT {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let mut orders: Vec<u64> = self.seen.values().map(|seen| seen.order).collect();
        let surplus = orders.len().saturating_sub(KEPT);
        if surplus > 0 {
            let (_, limit, _) = orders.select_nth_unstable(surplus - 1);
            let limit = *limit;
            self.seen.retain(|_, seen| seen.order > limit);
        }
    }
}

/// The memory; one file, shared by all processes of a home folder.
pub struct Versions {
    path: PathBuf,
    table: Mutex<Table>,
}

impl Versions {
    /// Reads the file, which need not exist, and rewrites it if it has grown.
    ///
    /// # Errors
    /// [`Error::Local`].
    pub fn open(path: &Path) -> Result<Self> {
        let memory = Self { path: path.to_owned(), table: Mutex::new(Table::default()) };
        let _lock = memory.lock()?;
        let mut content = Vec::new();
        match File::open(path) {
            Ok(mut file) => {
                // Twice the rewrite limit, plus what processes that started before it may still append.
                let most = (RECORD_LEN * KEPT * 8) as u64;
                let len = file.metadata().map_err(Error::local(path))?.len();
                let start = len.saturating_sub(most).next_multiple_of(RECORD_LEN as u64);
                file.seek(io::SeekFrom::Start(start)).map_err(Error::local(path))?;
                file.take(most).read_to_end(&mut content).map_err(Error::local(path))?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::local(path)(error)),
        }
        let records = content.as_chunks::<RECORD_LEN>().0;
        {
            let mut table = memory.table();
            for record in records {
                let (bucket, inode, version, digest) = decode(record);
                table.put(bucket, inode, version, digest);
            }
            if records.len() > 2 * KEPT {
                table.forget_oldest();
                memory.rewrite(&table)?;
            }
        }
        Ok(memory)
    }

    /// Refuses a commit that is older than the newest seen, or as new and different; remembers a newer one.
    ///
    /// # Errors
    /// [`IntegrityError::RolledBack`] or [`IntegrityError::Forked`]; [`Error::Local`].
    pub fn check(&self, commit: &Commit, what: &str) -> Result<()> {
        let digest = digest(commit);
        let mut table = self.table();
        if let Some(seen) = table.seen.get(&(commit.bucket, commit.inode)) {
            if commit.version < seen.version {
                let (shown, seen) = (commit.version, seen.version);
                return Err(IntegrityError::RolledBack { what: what.to_owned(), shown, seen }.into());
            }
            if commit.version == seen.version {
                let alike = digest == seen.digest;
                let forked = || IntegrityError::Forked { what: what.to_owned(), version: commit.version };
                return if alike { Ok(()) } else { Err(forked().into()) };
            }
        }
        table.put(commit.bucket, commit.inode, commit.version, digest);
        drop(table);
        self.append(&encode(commit, digest))
    }

    /// The newest version that was seen of a file.
    #[must_use]
    pub fn newest(&self, bucket: BucketId, inode: InodeId) -> Option<u64> {
        self.table().seen.get(&(bucket, inode)).map(|seen| seen.version)
    }

    /// Forgets everything.
    ///
    /// # Errors
    /// [`Error::Local`].
    pub fn forget(&self) -> Result<()> {
        let _lock = self.lock()?;
        *self.table() = Table::default();
        files::remove(&self.path)
    }

    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> Result<Lock> {
        Lock::acquire(&self.path.with_extension("lock"))
    }

    /// Not fsynced: a power cut may forget the last seconds, which only weakens a warning.
    fn append(&self, record: &[u8; RECORD_LEN]) -> Result<()> {
        let _lock = self.lock()?;
        let write = || -> io::Result<()> {
            let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path)?;
            let torn = file.metadata()?.len() % RECORD_LEN as u64;
            if torn != 0 {
                // The rest of a record that an earlier process could not write to its end.
                file.set_len(file.metadata()?.len() - torn)?;
            }
            file.write_all(record)
        };
        write().map_err(Error::local(&self.path))
    }

    fn rewrite(&self, table: &Table) -> Result<()> {
        let mut all: Vec<_> = table.seen.iter().collect();
        all.sort_unstable_by_key(|(_, seen)| seen.order);
        let mut content = Vec::with_capacity(all.len() * RECORD_LEN);
        for ((bucket, inode), seen) in all {
            content.extend_from_slice(&record(*bucket, *inode, seen.version, seen.digest));
        }
        files::write_private(&self.path, &content)
    }
}

fn digest(commit: &Commit) -> Digest {
    let hash = blake3::hash(&commit.body());
    let mut digest = Digest::default();
    digest.copy_from_slice(&hash.as_bytes()[..8]);
    digest
}

fn encode(commit: &Commit, digest: Digest) -> [u8; RECORD_LEN] {
    record(commit.bucket, commit.inode, commit.version, digest)
}

fn record(bucket: BucketId, inode: InodeId, version: u64, digest: Digest) -> [u8; RECORD_LEN] {
    let mut record = [0; RECORD_LEN];
    record[..16].copy_from_slice(&bucket.0);
    record[16..32].copy_from_slice(&inode.0);
    record[32..40].copy_from_slice(&version.to_le_bytes());
    record[40..].copy_from_slice(&digest);
    record
}

fn decode(record: &[u8; RECORD_LEN]) -> (BucketId, InodeId, u64, Digest) {
    let (mut bucket, mut inode, mut version, mut digest) = ([0; 16], [0; 16], [0; 8], Digest::default());
    bucket.copy_from_slice(&record[..16]);
    inode.copy_from_slice(&record[16..32]);
    version.copy_from_slice(&record[32..40]);
    digest.copy_from_slice(&record[40..]);
    (BucketId(bucket), InodeId(inode), u64::from_le_bytes(version), digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyx_core::extent::PageId;
    use cyx_core::ids::KeyId;

    fn commit(inode: u8, version: u64, size: u64) -> Commit {
        Commit {
            bucket: BucketId([1; 16]),
            inode: InodeId([inode; 16]),
            version,
            base: version - 1,
            size,
            root: PageId([3; 32]),
            writer: KeyId([4; 16]),
        }
    }

    fn integrity(result: Result<()>) -> IntegrityError {
        match result {
            Err(Error::Integrity(error)) => error,
            other => panic!("expected an integrity error, got {other:?}"),
        }
    }

    #[test]
    fn an_older_version_is_refused_also_by_the_next_process() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Versions::open(&folder.path().join("versions")).unwrap();
        open().check(&commit(1, 4, 0), "a").unwrap();
        open().check(&commit(1, 5, 0), "a").unwrap();
        open().check(&commit(1, 5, 0), "a").unwrap();
        open().check(&commit(2, 1, 0), "b").unwrap();
        let error = integrity(open().check(&commit(1, 4, 0), "a"));
        assert_eq!(error, IntegrityError::RolledBack { what: "a".into(), shown: 4, seen: 5 });
    }

    #[test]
    fn two_contents_of_one_version_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let versions = Versions::open(&folder.path().join("versions")).unwrap();
        versions.check(&commit(1, 4, 10), "a").unwrap();
        let error = integrity(versions.check(&commit(1, 4, 11), "a"));
        assert_eq!(error, IntegrityError::Forked { what: "a".into(), version: 4 });
    }

    #[test]
    fn a_torn_record_is_dropped_and_does_not_shift_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("versions");
        Versions::open(&path).unwrap().check(&commit(1, 4, 0), "a").unwrap();
        let mut torn = std::fs::read(&path).unwrap();
        torn.extend_from_slice(&[9; 20]);
        std::fs::write(&path, torn).unwrap();
        Versions::open(&path).unwrap().check(&commit(2, 7, 0), "b").unwrap();
        let again = Versions::open(&path).unwrap();
        assert!(again.check(&commit(1, 3, 0), "a").is_err());
        assert!(again.check(&commit(2, 6, 0), "b").is_err());
    }

    #[test]
    fn the_file_is_bounded_and_keeps_the_newest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("versions");
        let inode = |number: usize| {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&(number as u64).to_le_bytes());
            InodeId(id)
        };
        let total = 2 * KEPT + 10;
        let content: Vec<u8> =
            (0..total).flat_map(|number| record(BucketId([1; 16]), inode(number), 5, [0; 8])).collect();
        std::fs::write(&path, content).unwrap();
        let versions = Versions::open(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), (KEPT * RECORD_LEN) as u64);
        let newest = Commit { inode: inode(total - 1), ..commit(0, 4, 0) };
        assert!(versions.check(&newest, "newest").is_err());
        let oldest = Commit { inode: inode(0), ..commit(0, 4, 0) };
        versions.check(&oldest, "oldest").unwrap();
    }
}
