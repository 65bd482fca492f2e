//! The newest version of each file that this machine saw, on disk and bounded.
//!
//! ```text
//! header: "cyxN" 1 | zeros 43                                                48 bytes
//! record: bucket 16 | inode 16 | version u64 | BLAKE3(commit body)[..8]      48 bytes, the later ones hold
//! ```
//! Records are appended; a file of more than twice [`KEPT`] records is rewritten with the newest [`KEPT`] of them. What was
//! pushed out is forgotten: memory is bounded, so protection against going back covers the files used most recently. A file
//! that is no such memory is an error, because forgetting quietly is what an attacker would want.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cyx_core::commit::Commit;
use cyx_core::ids::{BucketId, InodeId};

use crate::error::{Error, IntegrityError, Result};
use crate::files::{self, Lock};

/// Records that survive a rewrite.
pub const KEPT: usize = 65_536;
const RECORD_LEN: usize = 48;
const HEADER: [u8; RECORD_LEN] = {
    let mut header = [0; RECORD_LEN];
    let magic = b"cyxN\x01";
    let mut at = 0;
    while at < magic.len() {
        header[at] = magic[at];
        at += 1;
    }
    header
};

type Digest = [u8; 8];

/// What was seen of one file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    version: u64,
    digest: Digest,
}

impl Seen {
    /// Number of the version.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }
}

#[derive(Default)]
struct Table {
    /// With the order in which they were seen.
    seen: HashMap<(BucketId, InodeId), (Seen, u64)>,
    order: u64,
}

impl Table {
    fn get(&self, bucket: BucketId, inode: InodeId) -> Option<Seen> {
        self.seen.get(&(bucket, inode)).map(|(seen, _)| *seen)
    }

    fn put(&mut self, bucket: BucketId, inode: InodeId, new: Seen) {
        self.order += 1;
        let (seen, order) = self.seen.entry((bucket, inode)).or_insert((new, self.order));
        if new.version >= seen.version {
            (*seen, *order) = (new, self.order);
        }
        if self.seen.len() > 2 * KEPT {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let mut orders: Vec<u64> = self.seen.values().map(|(_, order)| *order).collect();
        let surplus = orders.len().saturating_sub(KEPT);
        if surplus > 0 {
            let (_, limit, _) = orders.select_nth_unstable(surplus - 1);
            let limit = *limit;
            self.seen.retain(|_, (_, order)| *order > limit);
        }
    }
}

/// The memory; one file, shared by all processes of a home folder. What another process sees is known to this one when it
/// starts.
pub struct Versions {
    path: PathBuf,
    table: Mutex<Table>,
    /// Open for appending.
    file: Mutex<Option<File>>,
}

impl Versions {
    /// Reads the file, which need not exist, and rewrites it if it has grown.
    ///
    /// # Errors
    /// [`Error::Local`], or [`Error::Memory`] for a file that is something else.
    pub fn open(path: &Path) -> Result<Self> {
        let memory = Self { path: path.to_owned(), table: Mutex::new(Table::default()), file: Mutex::new(None) };
        let _lock = memory.lock()?;
        let content = memory.read()?;
        let records = content.as_chunks::<RECORD_LEN>().0;
        {
            let mut table = memory.table();
            for record in records {
                let (bucket, inode, seen) = decode(record);
                table.put(bucket, inode, seen);
            }
            if records.len() > 2 * KEPT {
                table.forget_oldest();
                memory.rewrite(&table)?;
            }
        }
        Ok(memory)
    }

    /// The records, the newest of them if there are far too many.
    fn read(&self) -> Result<Vec<u8>> {
        let local = Error::local(&self.path);
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(local(error)),
        };
        // What processes may append that started before a rewrite was due.
        let most = (RECORD_LEN * KEPT * 8) as u64;
        let mut header = Vec::new();
        let mut content = Vec::new();
        let mut read = || -> io::Result<()> {
            (&file).take(RECORD_LEN as u64).read_to_end(&mut header)?;
            let len = file.metadata()?.len().saturating_sub(RECORD_LEN as u64);
            let skipped = len.saturating_sub(most).next_multiple_of(RECORD_LEN as u64);
            file.seek(io::SeekFrom::Start(RECORD_LEN as u64 + skipped))?;
            (&file).take(most).read_to_end(&mut content)?;
            Ok(())
        };
        read().map_err(local)?;
        // Less than a header is what a full disk leaves of a new file.
        if header.len() == RECORD_LEN && header != HEADER {
            let reason = "it is not a memory of versions that this program knows".into();
            return Err(Error::Memory { path: self.path.clone(), reason });
        }
        Ok(content)
    }

    /// What was seen of a file so far. To be asked before the server is, because while its answer is on its way somebody may
    /// see a newer version.
    #[must_use]
    pub fn seen(&self, bucket: BucketId, inode: InodeId) -> Option<Seen> {
        self.table().get(bucket, inode)
    }

    /// Refuses a commit that is older than what was seen before it was asked for, or as new as one that was seen and different;
    /// remembers a newer one.
    ///
    /// # Errors
    /// [`IntegrityError::RolledBack`] or [`IntegrityError::Forked`].
    pub fn check(&self, before: Option<Seen>, commit: &Commit, what: &str) -> Result<()> {
        match before {
            Some(seen) if commit.version < seen.version => {
                let (shown, seen) = (commit.version, seen.version);
                Err(IntegrityError::RolledBack { what: what.to_owned(), shown, seen }.into())
            }
            _ => self.remember(commit, what),
        }
    }

    /// Refuses a file without any version if there was one before it was asked for.
    ///
    /// # Errors
    /// [`IntegrityError::RolledBack`].
    pub fn check_none(before: Option<Seen>, what: &str) -> Result<()> {
        match before {
            None => Ok(()),
            Some(Seen { version, .. }) => {
                Err(IntegrityError::RolledBack { what: what.to_owned(), shown: 0, seen: version }.into())
            }
        }
    }

    /// Remembers a commit, unless a newer one was seen.
    ///
    /// # Errors
    /// [`IntegrityError::Forked`] if another one of the same number was seen.
    pub fn remember(&self, commit: &Commit, what: &str) -> Result<()> {
        let new = Seen { version: commit.version, digest: digest(commit) };
        {
            let mut table = self.table();
            match table.get(commit.bucket, commit.inode) {
                Some(seen) if seen.version > new.version => return Ok(()),
                Some(seen) if seen == new => return Ok(()),
                Some(seen) if seen.version == new.version => {
                    return Err(IntegrityError::Forked { what: what.to_owned(), version: new.version }.into());
                }
                _ => table.put(commit.bucket, commit.inode, new),
            }
        }
        // A full disk must not keep anybody from reading; this process still remembers.
        if let Err(error) = self.append(&encode(commit.bucket, commit.inode, new)) {
            tracing::warn!(%error, "a version that was seen cannot be remembered");
        }
        Ok(())
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

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> Result<Lock> {
        Lock::acquire(&self.path.with_extension("lock"))
    }

    /// Not fsynced: a power cut may forget the last seconds, which only weakens a warning.
    fn append(&self, record: &[u8; RECORD_LEN]) -> Result<()> {
        let mut open = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let known = match open.take() {
            // Another process may have rewritten or removed it meanwhile, or died within a record.
            Some(file) => {
                file.metadata().is_ok_and(|now| now.nlink() > 0 && now.len() % RECORD_LEN as u64 == 0).then_some(file)
            }
            None => None,
        };
        let mut file = match known {
            Some(file) => file,
            None => self.open_to_append()?,
        };
        file.write_all(record).map_err(Error::local(&self.path))?;
        *open = Some(file);
        Ok(())
    }

    fn open_to_append(&self) -> Result<File> {
        let _lock = self.lock()?;
        let open = || -> io::Result<File> {
            let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path)?;
            let len = file.metadata()?.len();
            let torn = len % RECORD_LEN as u64;
            if torn != 0 {
                file.set_len(len - torn)?;
            }
            if len == torn {
                file.write_all(&HEADER)?;
            }
            Ok(file)
        };
        open().map_err(Error::local(&self.path))
    }

    fn rewrite(&self, table: &Table) -> Result<()> {
        let mut all: Vec<_> = table.seen.iter().collect();
        all.sort_unstable_by_key(|(_, (_, order))| *order);
        let mut content = HEADER.to_vec();
        for ((bucket, inode), (seen, _)) in all {
            content.extend_from_slice(&encode(*bucket, *inode, *seen));
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

fn encode(bucket: BucketId, inode: InodeId, seen: Seen) -> [u8; RECORD_LEN] {
    let mut record = [0; RECORD_LEN];
    record[..16].copy_from_slice(&bucket.0);
    record[16..32].copy_from_slice(&inode.0);
    record[32..40].copy_from_slice(&seen.version.to_le_bytes());
    record[40..].copy_from_slice(&seen.digest);
    record
}

fn decode(record: &[u8; RECORD_LEN]) -> (BucketId, InodeId, Seen) {
    let (mut bucket, mut inode, mut version, mut digest) = ([0; 16], [0; 16], [0; 8], Digest::default());
    bucket.copy_from_slice(&record[..16]);
    inode.copy_from_slice(&record[16..32]);
    version.copy_from_slice(&record[32..40]);
    digest.copy_from_slice(&record[40..]);
    (BucketId(bucket), InodeId(inode), Seen { version: u64::from_le_bytes(version), digest })
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

    /// As a reader does it whose answer is on its way only for a moment.
    fn check(versions: &Versions, commit: &Commit, what: &str) -> Result<()> {
        versions.check(versions.seen(commit.bucket, commit.inode), commit, what)
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
        check(&open(), &commit(1, 4, 0), "a").unwrap();
        check(&open(), &commit(1, 5, 0), "a").unwrap();
        check(&open(), &commit(1, 5, 0), "a").unwrap();
        check(&open(), &commit(2, 1, 0), "b").unwrap();
        let error = integrity(check(&open(), &commit(1, 4, 0), "a"));
        assert_eq!(error, IntegrityError::RolledBack { what: "a".into(), shown: 4, seen: 5 });
        let none = integrity(Versions::check_none(open().seen(BucketId([1; 16]), InodeId([2; 16])), "b"));
        assert_eq!(none, IntegrityError::RolledBack { what: "b".into(), shown: 0, seen: 1 });
    }

    #[test]
    fn an_answer_that_was_overtaken_on_its_way_is_no_lie() {
        let folder = tempfile::tempdir().unwrap();
        let versions = Versions::open(&folder.path().join("versions")).unwrap();
        versions.remember(&commit(1, 4, 0), "a").unwrap();
        let before = versions.seen(BucketId([1; 16]), InodeId([1; 16]));
        versions.remember(&commit(1, 5, 0), "a").unwrap();
        versions.check(before, &commit(1, 4, 0), "a").unwrap();
        versions.remember(&commit(1, 4, 0), "a").unwrap();
        assert!(check(&versions, &commit(1, 4, 0), "a").is_err());
    }

    #[test]
    fn two_contents_of_one_version_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let versions = Versions::open(&folder.path().join("versions")).unwrap();
        check(&versions, &commit(1, 4, 10), "a").unwrap();
        let error = integrity(check(&versions, &commit(1, 4, 11), "a"));
        assert_eq!(error, IntegrityError::Forked { what: "a".into(), version: 4 });
    }

    #[test]
    fn the_file_is_frozen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("versions");
        check(&Versions::open(&path).unwrap(), &commit(2, 7, 5), "a").unwrap();
        let expected = format!("6379784e01{}{}{}0700000000000000", "00".repeat(43), "01".repeat(16), "02".repeat(16));
        let found = hex::encode(std::fs::read(&path).unwrap());
        assert_eq!(&found[..expected.len()], expected);
        assert_eq!(&found[expected.len()..], "250ff59dd49fd51e");
    }

    #[test]
    fn a_file_of_another_kind_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("versions");
        let mut other = HEADER;
        other[4] = 2;
        std::fs::write(&path, other).unwrap();
        assert!(matches!(Versions::open(&path), Err(Error::Memory { .. })));
    }

    #[test]
    fn a_torn_record_is_dropped_and_does_not_shift_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("versions");
        let before = Versions::open(&path).unwrap();
        check(&before, &commit(1, 4, 0), "a").unwrap();
        let mut torn = std::fs::read(&path).unwrap();
        torn.extend_from_slice(&[9; 20]);
        std::fs::write(&path, torn).unwrap();
        check(&Versions::open(&path).unwrap(), &commit(2, 7, 0), "b").unwrap();
        // Also by a process that had the file open all the time, and after it was replaced.
        check(&before, &commit(3, 7, 0), "c").unwrap();
        let content = std::fs::read(&path).unwrap();
        files::write_private(&path, &content).unwrap();
        check(&before, &commit(4, 7, 0), "d").unwrap();
        let again = Versions::open(&path).unwrap();
        assert!(check(&again, &commit(1, 3, 0), "a").is_err());
        for inode in 2..=4 {
            assert!(check(&again, &commit(inode, 6, 0), "later").is_err(), "{inode}");
        }
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
        let seen = Seen { version: 5, digest: [0; 8] };
        let records = (0..total).flat_map(|number| encode(BucketId([1; 16]), inode(number), seen));
        std::fs::write(&path, HEADER.into_iter().chain(records).collect::<Vec<u8>>()).unwrap();
        let versions = Versions::open(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), ((KEPT + 1) * RECORD_LEN) as u64);
        let newest = Commit { inode: inode(total - 1), ..commit(0, 4, 0) };
        assert!(check(&versions, &newest, "newest").is_err());
        let oldest = Commit { inode: inode(0), ..commit(0, 4, 0) };
        check(&versions, &oldest, "oldest").unwrap();
    }
}
