//! A file down into the local filesystem: under another name until it is whole and durable, and from where an interrupted
//! download of the same version was.

use std::fs::File;
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use cyx_core::extent::PageId;
use cyx_core::ids::{BlobId, InodeId};
use cyx_core::units::MIB;
use cyx_core::wire::{DecodeError, Reader, Writer};
use cyx_crypto::fingerprint::{Fingerprint, plaintext_fingerprint};
use cyx_crypto::keys::FingerprintKey;

use super::coded::blocking;
use super::download::Run;
use super::journal::{Journal, Records};
use super::progress::Progress;
use super::reader::FileReader;
use crate::error::{Error, Result};
use crate::local::folder::{Folder, set_file};

/// A large file is made durable in steps of so many bytes, which then leave the page cache: a download that is larger than
/// the machine's memory must not push out of it what other programs use, and the end is not one long wait for the disk.
const STEP: u64 = 32 * MIB;

/// How a file is written.
#[derive(Debug, Clone, Copy, Default)]
pub struct SaveOptions {
    /// Whatever has the name already keeps it.
    pub no_clobber: bool,
    /// Permission bits; absent: 0o666 less the umask's.
    pub mode: Option<u32>,
    /// When the content last changed, in Unix nanoseconds; absent: now.
    pub mtime_ns: Option<i64>,
    /// Large files go on where an interrupted download was, and are remembered if they are interrupted.
    pub resumable: bool,
}

impl FileReader {
    /// Writes the whole file to `folder` under `name`.
    pub(crate) async fn save(
        &self,
        folder: &Folder,
        name: &[u8],
        options: SaveOptions,
        progress: &dyn Progress,
    ) -> Result<()> {
        let mut partial = Partial::open(self, folder, name, options).await?;
        let done = partial.verified;
        if done > 0 {
            progress.notice(&format!("{} goes on after {done} bytes", self.name()));
            progress.bytes(done);
        }
        let mut runs = self.runs(done..self.size());
        while let Some((range, run)) = runs.next().await? {
            let len = range.end - range.start;
            if let Run::Data(bytes) = run {
                partial.write(range, bytes).await?;
            }
            progress.bytes(len);
        }
        partial.finish(self.size(), options).await
    }
}

/// A file that is not complete. Unless it can be resumed, it is removed when this is dropped.
struct Partial {
    file: Arc<File>,
    folder: Folder,
    name: Vec<u8>,
    partial: Vec<u8>,
    log: Option<Log>,
    /// So many first bytes are there and right.
    verified: u64,
    /// Whether it is made durable in steps, and the end of the last one.
    steps: bool,
    durable: u64,
    complete: bool,
}

/// What is remembered of a download.
struct Log {
    journal: Journal,
    key: FingerprintKey,
    inode: InodeId,
}

/// Which version of which file a partial file belongs to.
#[derive(PartialEq, Eq, Debug, Clone)]
struct Head {
    inode: InodeId,
    version: u64,
    root: PageId,
    partial: Vec<u8>,
}

impl Head {
    /// `inode 16 | version u64 | root 32 | name`.
    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.raw(&self.inode.0).u64(self.version).raw(&self.root.0).raw(&self.partial);
        writer.finish()
    }

    fn decode(record: &[u8]) -> std::result::Result<Self, DecodeError> {
        let mut reader = Reader::bare(record);
        let (inode, version, root) = (InodeId(reader.array()?), reader.u64()?, PageId(reader.array()?));
        let partial = reader.take(reader.remaining())?.to_vec();
        Ok(Self { inode, version, root, partial })
    }
}

/// `start u64 | end u64 | fingerprint 32`.
fn encode_run(range: &Range<u64>, fingerprint: &Fingerprint) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.u64(range.start).u64(range.end).raw(fingerprint);
    writer.finish()
}

fn decode_run(record: &[u8]) -> std::result::Result<(Range<u64>, Fingerprint), DecodeError> {
    let mut reader = Reader::bare(record);
    let (start, end, fingerprint) = (reader.u64()?, reader.u64()?, reader.array()?);
    reader.end()?;
    if start > end || end - start > 1 << 30 {
        return Err(DecodeError::Invalid("range"));
    }
    Ok((start..end, fingerprint))
}

impl Partial {
    async fn open(reader: &FileReader, folder: &Folder, name: &[u8], options: SaveOptions) -> Result<Self> {
        let transfer = reader.transfer();
        if let Some(home) =
            transfer.home().filter(|_| options.resumable && reader.size() >= transfer.tuning().large_file)
        {
            let secrets = &reader.bucket().client().secrets().key;
            let (key, journal_key) = (secrets.derive_fingerprint_key(), secrets.derive_journal_key());
            let path = folder.path_of(name);
            let absolute = std::path::absolute(&path).map_err(Error::local(&path))?;
            let place = plaintext_fingerprint(&key, BlobId([0; 16]), absolute.as_os_str().as_encoded_bytes());
            let journal = home.join("transfers").join(format!("{}.download", hex::encode(&place[..16])));
            let version = reader.version();
            let head =
                Head { inode: version.inode(), version: version.version(), root: version.root(), partial: Vec::new() };
            let (folder, name, private) = (folder.clone(), name.to_vec(), options.mode.is_some());
            let opened =
                blocking(move || Self::resume(journal, journal_key, key, &head, folder, name, private)).await?;
            if let Some(opened) = opened {
                return Ok(opened);
            }
        }
        let (file, partial) = folder.begin(name, options.mode.is_some())?;
        Ok(Self {
            file: Arc::new(file),
            folder: folder.clone(),
            name: name.to_vec(),
            partial,
            log: None,
            verified: 0,
            steps: reader.size() >= transfer.tuning().large_file,
            durable: 0,
            complete: false,
        })
    }

    /// `None` if another program is at it.
    fn resume(
        journal: PathBuf,
        journal_key: cyx_crypto::keys::JournalKey,
        key: FingerprintKey,
        head: &Head,
        folder: Folder,
        name: Vec<u8>,
        private: bool,
    ) -> Result<Option<Self>> {
        let Some((mut journal, records)) = Journal::open(journal, journal_key)? else { return Ok(None) };
        let found = earlier(&records, head, &folder);
        let (file, partial, verified) = match found {
            Some((file, partial)) => {
                let verified = verify(&file, &records, &key, head.inode);
                (file, partial, verified)
            }
            None => {
                let (file, partial) = folder.begin(&name, private)?;
                (file, partial, 0)
            }
        };
        if verified == 0 {
            journal.clear()?;
            journal.append(&Head { partial: partial.clone(), ..head.clone() }.encode())?;
        }
        file.set_len(verified).map_err(Error::local(folder.path_of(&partial)))?;
        let log = Some(Log { journal, key, inode: head.inode });
        let (file, steps, durable) = (Arc::new(file), true, verified);
        Ok(Some(Self { file, folder, name, partial, log, verified, steps, durable, complete: false }))
    }

    async fn write(&mut self, range: Range<u64>, bytes: super::reader::Plain) -> Result<()> {
        let (file, path) = (Arc::clone(&self.file), self.folder.path_of(&self.partial));
        let log = self.log.as_ref().map(|log| (log.key.clone(), BlobId(log.inode.0)));
        let start = range.start;
        let step = (self.steps && range.end.saturating_sub(self.durable) >= STEP).then_some(self.durable..range.end);
        if let Some(step) = &step {
            self.durable = step.end;
        }
        let fingerprint = blocking(move || {
            file.write_all_at(&bytes, start).map_err(Error::local(&path))?;
            if let Some(step) = step {
                file.sync_data().map_err(Error::local(&path))?;
                // Advice only: a filesystem that cannot follow it keeps the pages.
                let len = NonZeroU64::new(step.end - step.start);
                let _ = rustix::fs::fadvise(&*file, step.start, len, rustix::fs::Advice::DontNeed);
            }
            Ok(log.map(|(key, file)| plaintext_fingerprint(&key, file, &bytes)))
        })
        .await?;
        if let (Some(log), Some(fingerprint)) = (&mut self.log, fingerprint) {
            log.journal.append(&encode_run(&range, &fingerprint))?;
        }
        Ok(())
    }

    async fn finish(mut self, size: u64, options: SaveOptions) -> Result<()> {
        blocking(move || {
            let path = self.folder.path_of(&self.partial);
            self.file.set_len(size).map_err(Error::local(&path))?;
            set_file(&self.file, options.mode, options.mtime_ns).map_err(Error::local(&path))?;
            self.file.sync_all().map_err(Error::local(&path))?;
            self.folder.finish(&self.partial, &self.name, options.no_clobber)?;
            self.complete = true;
            if let Some(log) = self.log.take() {
                self.folder.sync()?;
                log.journal.remove()?;
            }
            Ok(())
        })
        .await
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.complete && self.log.is_none() {
            self.folder.discard(&self.partial);
        }
    }
}

/// The partial file of an earlier run, if it is of the same version.
fn earlier(records: &Records, head: &Head, folder: &Folder) -> Option<(File, Vec<u8>)> {
    let found = Head::decode(records.first()?).ok()?;
    let partial = found.partial.clone();
    let same = found == Head { partial: partial.clone(), ..head.clone() };
    match folder.reopen(&partial) {
        Some(file) if same => Some((file, partial)),
        Some(_) => {
            // Of another version: nobody will ask for it again.
            folder.discard(&partial);
            None
        }
        None => None,
    }
}

/// How many first bytes of a partial file are those that were written.
fn verify(file: &File, records: &Records, key: &FingerprintKey, inode: InodeId) -> u64 {
    let mut verified = 0;
    for record in records.iter().skip(1) {
        let Ok((range, fingerprint)) = decode_run(record) else { break };
        // A hole leaves no record: its zeros are made again by leaving it out.
        if range.start < verified || !is_hole(file, verified, range.start) {
            break;
        }
        let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap_or(0)];
        let same = file.read_exact_at(&mut bytes, range.start).is_ok()
            && plaintext_fingerprint(key, BlobId(inode.0), &bytes) == fingerprint;
        if !same {
            break;
        }
        verified = range.end;
    }
    verified
}

/// Whether the bytes from `start` to `end` are zeros, as they must be where nothing was written.
fn is_hole(file: &File, mut start: u64, end: u64) -> bool {
    let mut bytes = vec![0; 64 * 1024];
    while start < end {
        let part = usize::try_from(end - start).unwrap_or(usize::MAX).min(bytes.len());
        if file.read_exact_at(&mut bytes[..part], start).is_err() || bytes[..part].iter().any(|byte| *byte != 0) {
            return false;
        }
        start += part as u64;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyx_crypto::keys::AccountKey;
    use zeroize::Zeroizing;

    #[test]
    fn only_bytes_that_are_still_right_count() {
        let key = AccountKey::make().derive_fingerprint_key();
        let (inode, blob) = (InodeId([1; 16]), BlobId([1; 16]));
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(b"aaaabbbb\0\0\0\0dddd", 0).unwrap();
        let run = |range: Range<u64>, bytes: &[u8]| {
            Zeroizing::new(encode_run(&range, &plaintext_fingerprint(&key, blob, bytes)))
        };
        let head = Zeroizing::new(Vec::new());
        let records = vec![head, run(0..4, b"aaaa"), run(4..8, b"bbbb"), run(12..16, b"dddd")];
        assert_eq!(verify(&file, &records, &key, inode), 16);
        file.write_all_at(b"x", 9).unwrap();
        assert_eq!(verify(&file, &records, &key, inode), 8, "something stands in the hole");
        file.write_all_at(b"x", 5).unwrap();
        assert_eq!(verify(&file, &records, &key, inode), 4);
        file.set_len(2).unwrap();
        assert_eq!(verify(&file, &records, &key, inode), 0);
    }

    #[test]
    fn the_head_says_which_version_of_which_file() {
        let head =
            Head { inode: InodeId([1; 16]), version: 7, root: PageId([2; 32]), partial: b"a.1.cyx-partial".to_vec() };
        assert_eq!(Head::decode(&head.encode()), Ok(head));
    }
}
