//! Journals of transfers: what this machine must remember so that an interrupted upload or download goes on where it was.
//!
//! ```text
//! "cyxT" 1 | journal id 16 | (record length u32 | record sealed under an account-derived key) …
//! ```
//! Records are only appended. One that was cut short by a crash, and everything behind it, is left out. The file has mode 0600
//! and is locked while it is used, so that two programs never resume the same transfer.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use cyx_core::ids::random_bytes;
use cyx_core::wire::{Reader, Writer};
use cyx_crypto::keys::JournalKey;
use cyx_crypto::wrap::{open_journal_record, seal_journal_record};
use zeroize::Zeroizing;

use crate::error::{Error, Result};

const MAGIC: &[u8; 4] = b"cyxT";
const VERSION: u8 = 1;
const HEADER_LEN: u64 = 21;
/// Longest journal that is read: of a file far beyond the largest, in the smallest segments.
const JOURNAL_MAX: u64 = 64 << 20;

/// An open journal.
pub(crate) struct Journal {
    file: File,
    path: PathBuf,
    key: JournalKey,
    id: [u8; 16],
    /// Records in it.
    count: u64,
}

/// A journal's records in order.
pub(crate) type Records = Vec<Zeroizing<Vec<u8>>>;

impl Journal {
    /// Opens the journal at `path`, or begins one. `None` if another program uses it. What cannot be read is an empty journal.
    pub(crate) fn open(path: PathBuf, key: JournalKey) -> Result<Option<(Self, Records)>> {
        if let Some(folder) = path.parent() {
            crate::files::make_private_folder(folder)?;
        }
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let mut file = file.map_err(Error::local(&path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(Error::local(&path)(error)),
        }
        let mut bytes = Vec::new();
        (&mut file).take(JOURNAL_MAX).read_to_end(&mut bytes).map_err(Error::local(&path))?;
        let mut journal = Self { file, path, key, id: random_bytes(), count: 0 };
        let records = journal.read(&bytes).unwrap_or_default();
        if records.is_empty() {
            journal.clear()?;
        }
        Ok(Some((journal, records)))
    }

    /// Reads what is whole and cuts off the rest.
    fn read(&mut self, bytes: &[u8]) -> Option<Records> {
        let mut reader = Reader::new(bytes, MAGIC, VERSION, "transfer journal").ok()?;
        self.id = reader.array().ok()?;
        let mut end = HEADER_LEN;
        let mut records = Records::new();
        while let Ok(len) = reader.u32() {
            let Ok(sealed) = reader.take(usize::try_from(len).ok()?) else { break };
            let Ok(record) = open_journal_record(&self.key, self.id, records.len() as u64, sealed) else { break };
            records.push(record);
            end += 4 + u64::from(len);
        }
        self.count = records.len() as u64;
        self.file.set_len(end).ok()?;
        self.file.seek(SeekFrom::Start(end)).ok()?;
        Some(records)
    }

    /// Begins anew.
    pub(crate) fn clear(&mut self) -> Result<()> {
        self.id = random_bytes();
        self.count = 0;
        let mut writer = Writer::new(MAGIC, VERSION);
        writer.raw(&self.id);
        let header = writer.finish();
        self.file
            .set_len(0)
            .and_then(|()| self.file.seek(SeekFrom::Start(0)))
            .and_then(|_| self.file.write_all(&header))
            .map_err(Error::local(&self.path))
    }

    /// Adds a record. It survives the end of this program; after a power cut it may be missing, which only means more to send.
    pub(crate) fn append(&mut self, record: &[u8]) -> Result<()> {
        let sealed = seal_journal_record(&self.key, self.id, self.count, record);
        let mut bytes = u32::try_from(sealed.len()).unwrap_or(u32::MAX).to_le_bytes().to_vec();
        bytes.extend_from_slice(&sealed);
        self.file.write_all(&bytes).map_err(Error::local(&self.path))?;
        self.count += 1;
        Ok(())
    }

    /// The transfer is over.
    pub(crate) fn remove(self) -> Result<()> {
        remove(&self.path)
    }
}

fn remove(path: &Path) -> Result<()> {
    crate::files::remove(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyx_crypto::keys::AccountKey;

    fn records(path: &Path, key: &JournalKey) -> Vec<Vec<u8>> {
        let (_, records) = Journal::open(path.to_owned(), key.clone()).unwrap().unwrap();
        records.iter().map(|record| record.to_vec()).collect()
    }

    #[test]
    fn whole_records_survive_whatever_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("transfers/a.upload");
        let key = AccountKey::make().derive_journal_key();
        let (mut journal, _) = Journal::open(path.clone(), key.clone()).unwrap().unwrap();
        assert!(Journal::open(path.clone(), key.clone()).unwrap().is_none(), "it is locked while it is used");
        journal.append(b"one").unwrap();
        journal.append(b"two").unwrap();
        drop(journal);
        let whole = std::fs::read(&path).unwrap();
        assert_eq!(records(&path, &key), [b"one".to_vec(), b"two".to_vec()]);
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let found = records(&path, &key);
            assert!(found.len() <= 1, "cut at {cut}");
            let (mut journal, _) = Journal::open(path.clone(), key.clone()).unwrap().unwrap();
            journal.append(b"more").unwrap();
            drop(journal);
            assert_eq!(records(&path, &key).last().unwrap(), b"more", "cut at {cut}");
        }
        assert_eq!(
            std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions()) & 0o777,
            0o600
        );
    }

    /// Made by an independent program: account key 32 bytes of 0x61, journal id 16 of 0x6a, nonces of 0x30 and 0x31.
    #[test]
    fn the_layout_is_frozen() {
        let golden: String = include_str!("../../tests/vectors/transfer-journal.hex").split_whitespace().collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.upload");
        std::fs::write(&path, hex::decode(golden).unwrap()).unwrap();
        let key = AccountKey::from_bytes([0x61; 32]).derive_journal_key();
        assert_eq!(records(&path, &key), [b"first record".to_vec(), b"second".to_vec()]);
    }

    #[test]
    fn a_journal_of_another_kind_or_version_is_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.upload");
        let key = AccountKey::make().derive_journal_key();
        let (mut journal, _) = Journal::open(path.clone(), key.clone()).unwrap().unwrap();
        journal.append(b"record").unwrap();
        drop(journal);
        let whole = std::fs::read(&path).unwrap();
        for at in [0, 4, 5, 21, 25, whole.len() - 1] {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            std::fs::write(&path, changed).unwrap();
            assert!(records(&path, &key).is_empty(), "byte {at}");
        }
    }

    #[test]
    fn another_accounts_journal_is_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.upload");
        let (mut journal, _) = Journal::open(path.clone(), AccountKey::make().derive_journal_key()).unwrap().unwrap();
        journal.append(b"secret").unwrap();
        drop(journal);
        assert!(!std::fs::read(&path).unwrap().windows(6).any(|window| window == b"secret"));
        assert!(records(&path, &AccountKey::make().derive_journal_key()).is_empty());
    }
}
