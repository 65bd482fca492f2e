//! A file down into the local filesystem: under another name until it is whole and durable, and from where an interrupted
//! download of the same version was.

use std::fs::File;
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use cyx_core::error::ErrorCode;
use cyx_core::extent::PageId;
use cyx_core::ids::{BlobId, InodeId};
use cyx_core::units::MIB;
use cyx_core::wire::{DecodeError, Reader, Writer};
use cyx_crypto::fingerprint::{Fingerprint, frames_fingerprint, plaintext_fingerprint};
use cyx_crypto::keys::FingerprintKey;

use super::coded::blocking;
use super::direct::Output;
use super::download::Run;
use super::journal::{Journal, Records};
use super::progress::Progress;
use super::reader::{FileReader, Frames, Plain};
use super::resume::Place;
use crate::error::{Error, Result};
use crate::local::folder::{Folder, set_file};

mod together;

pub(crate) use together::{Pace, Whole, save_together};

/// A large file is made durable in steps of so many bytes, which then leave the page cache: a download that is larger than
/// the machine's memory must not push out of it what other programs use, and the end is not one long wait for the disk.
const STEP: u64 = 32 * MIB;

/// A file of at most this many bytes is read whole and then written, made durable and named in one go.
pub(crate) const AT_ONCE: u64 = 256 * 1024;

/// No run is longer.
const RUN_MAX: u64 = 128 * MIB;

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
        if self.size() <= AT_ONCE {
            return self.save_at_once(folder, name, options, progress).await;
        }
        let mut partial = Partial::open(self, folder, name, options).await?;
        let done = partial.verified;
        if done > 0 {
            progress.notice(&format!("{} goes on after {done} bytes", self.name()));
            progress.bytes(done);
        }
        let mut runs = self.runs(done..self.size());
        while let Some((range, run)) = runs.next().await? {
            let len = range.end - range.start;
            if let Run::Data(bytes) = run
                && let Err(error) = partial.write(range, bytes).await
            {
                return Err(partial.give_up_if_full(error, progress));
            }
            progress.bytes(len);
        }
        partial.finish(self.size(), options).await
    }

    /// Where there are thousands of files, going to another thread and back costs more than writing them.
    async fn save_at_once(
        &self,
        folder: &Folder,
        name: &[u8],
        options: SaveOptions,
        progress: &dyn Progress,
    ) -> Result<()> {
        let content = self.read_range(0..self.size()).await?;
        let whole = Whole { folder: folder.clone(), name: name.to_vec(), content, options };
        blocking(move || whole.save()).await?;
        progress.bytes(self.size());
        Ok(())
    }
}

/// A file that is not complete. Unless it can be resumed, it is removed when this is dropped.
struct Partial {
    file: Output,
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

/// A run that was written, as the journal remembers it.
struct Written {
    range: Range<u64>,
    /// Whether the fingerprint is of whole frames' tags, not of the bytes.
    of_frames: bool,
    fingerprint: Fingerprint,
}

impl Written {
    fn new(range: Range<u64>, plain: &Plain, key: &FingerprintKey, inode: InodeId) -> Self {
        let (of_frames, fingerprint) = match plain.frames() {
            Some(frames) => (true, frames_fingerprint(key, frames.blob, frames.first, frames.tags.iter().copied())),
            None => (false, plaintext_fingerprint(key, BlobId(inode.0), plain)),
        };
        Self { range, of_frames, fingerprint }
    }

    /// `start u64 | end u64 | whole frames u8 | fingerprint 32`.
    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.u64(self.range.start).u64(self.range.end).u8(self.of_frames.into()).raw(&self.fingerprint);
        writer.finish()
    }

    fn decode(record: &[u8]) -> std::result::Result<Self, DecodeError> {
        let mut reader = Reader::bare(record);
        let (start, end, of_frames, fingerprint) = (reader.u64()?, reader.u64()?, reader.u8()?, reader.array()?);
        reader.end()?;
        if start > end || end - start > RUN_MAX || of_frames > 1 {
            return Err(DecodeError::Invalid("run"));
        }
        Ok(Self { range: start..end, of_frames: of_frames == 1, fingerprint })
    }

    /// Whether these bytes are the ones that were written. Of whole frames it takes their cipher.
    fn is(&self, bytes: &[u8], frames: Option<&Frames>, key: &FingerprintKey, inode: InodeId) -> bool {
        if !self.of_frames {
            return plaintext_fingerprint(key, BlobId(inode.0), bytes) == self.fingerprint;
        }
        let Some(Frames { cipher, blob, first }) = frames else { return false };
        let plain = bytes.chunks(cipher.header().frame_plain() as usize);
        let tags = cipher.tags_of(*first, plain);
        tags.is_ok_and(|tags| frames_fingerprint(key, *blob, *first, tags) == self.fingerprint)
    }
}

impl Partial {
    async fn open(reader: &FileReader, folder: &Folder, name: &[u8], options: SaveOptions) -> Result<Self> {
        let transfer = reader.transfer();
        if let Some(home) =
            transfer.home().filter(|_| options.resumable && reader.size() >= transfer.tuning().large_file)
        {
            let path = folder.path_of(name);
            let absolute = std::path::absolute(&path).map_err(Error::local(&path))?;
            let place = Place::find(reader.bucket().client(), |key| {
                let place = plaintext_fingerprint(key, BlobId([0; 16]), absolute.as_os_str().as_encoded_bytes());
                home.join("transfers").join(format!("{}.download", hex::encode(&place[..16])))
            });
            let (key, journal_key, journal) = (place.fingerprint_key(), place.journal_key(), place.path);
            let version = reader.version();
            let head =
                Head { inode: version.inode(), version: version.version(), root: version.root(), partial: Vec::new() };
            let (folder, name, private) = (folder.clone(), name.to_vec(), options.mode.is_some());
            if let Some((journal, records)) = blocking(move || Journal::open(journal, journal_key)).await? {
                return Self::resume(reader, journal, &records, key, head, folder, name, private).await;
            }
            // Otherwise another program is at it.
        }
        let (mut partial, file) = Self::begin(folder, name, options.mode.is_some())?;
        partial.steps = reader.size() >= transfer.tuning().large_file;
        partial.file = Output::new(file, partial.steps);
        Ok(partial)
    }

    /// An empty one that nobody remembers.
    fn begin(folder: &Folder, name: &[u8], private: bool) -> Result<(Self, Arc<File>)> {
        let (file, partial) = folder.begin(name, private)?;
        let file = Arc::new(file);
        let (folder, name) = (folder.clone(), name.to_vec());
        let begun = Self {
            file: Output::new(Arc::clone(&file), false),
            folder,
            name,
            partial,
            log: None,
            verified: 0,
            steps: false,
            durable: 0,
            complete: false,
        };
        Ok((begun, file))
    }

    #[expect(clippy::too_many_arguments, reason = "what was found, and what is to be")]
    async fn resume(
        reader: &FileReader,
        mut journal: Journal,
        records: &Records,
        key: FingerprintKey,
        head: Head,
        folder: Folder,
        name: Vec<u8>,
        private: bool,
    ) -> Result<Self> {
        let (file, partial, verified) = match earlier(records, &head, &folder) {
            Some((file, partial)) => {
                let file = Arc::new(file);
                let verified = verified_prefix(reader, &file, records, &key, head.inode).await?;
                (file, partial, verified)
            }
            None => {
                let (file, partial) = folder.begin(&name, private)?;
                (Arc::new(file), partial, 0)
            }
        };
        if verified == 0 {
            journal.clear()?;
            journal.append(&Head { partial: partial.clone(), ..head.clone() }.encode())?;
        }
        file.set_len(verified).map_err(Error::local(folder.path_of(&partial)))?;
        let log = Some(Log { journal, key, inode: head.inode });
        let file = Output::new(file, true);
        Ok(Self { file, folder, name, partial, log, verified, steps: true, durable: verified, complete: false })
    }

    async fn write(&mut self, range: Range<u64>, bytes: Plain) -> Result<()> {
        let (file, path) = (self.file.clone(), self.folder.path_of(&self.partial));
        let log = self.log.as_ref().map(|log| (log.key.clone(), log.inode));
        let step = (self.steps && range.end.saturating_sub(self.durable) >= STEP).then_some(self.durable..range.end);
        if let Some(step) = &step {
            self.durable = step.end;
        }
        let written = blocking(move || {
            file.write(&bytes, range.start).map_err(Error::local(&path))?;
            if let Some(step) = step {
                let file = file.file();
                file.sync_data().map_err(Error::local(&path))?;
                // Advice only: a filesystem that cannot follow it keeps the pages.
                let len = NonZeroU64::new(step.end - step.start);
                let _ = rustix::fs::fadvise(file, step.start, len, rustix::fs::Advice::DontNeed);
            }
            Ok(log.map(|(key, inode)| Written::new(range, &bytes, &key, inode)))
        })
        .await?;
        if let (Some(log), Some(written)) = (&mut self.log, written) {
            log.journal.append(&written.encode())?;
        }
        Ok(())
    }

    /// Keeps nothing on a full disk, where there may be many such files: others need the room more.
    fn give_up_if_full(mut self, error: Error, progress: &dyn Progress) -> Error {
        let partial = self.folder.path_of(&self.partial);
        let full = error.code() == ErrorCode::InsufficientStorage;
        if matches!(&error, Error::Local { path, .. } if full && *path == partial)
            && let Some(log) = self.log.take()
        {
            let path = self.folder.path_of(&self.name);
            progress.notice(&format!("there is no room for {}: what there was of it is removed", path.display()));
            if let Err(error) = log.journal.remove() {
                return error;
            }
        }
        error
    }

    async fn finish(self, size: u64, options: SaveOptions) -> Result<()> {
        blocking(move || self.complete(size, options)).await
    }

    fn complete(mut self, size: u64, options: SaveOptions) -> Result<()> {
        let path = self.folder.path_of(&self.partial);
        let file = self.file.file();
        file.set_len(size).map_err(Error::local(&path))?;
        set_file(file, options.mode, options.mtime_ns).map_err(Error::local(&path))?;
        file.sync_all().map_err(Error::local(&path))?;
        self.folder.finish(&self.partial, &self.name, options.no_clobber)?;
        self.complete = true;
        if let Some(log) = self.log.take() {
            self.folder.sync()?;
            log.journal.remove()?;
        }
        Ok(())
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
async fn verified_prefix(
    reader: &FileReader,
    file: &Arc<File>,
    records: &Records,
    key: &FingerprintKey,
    inode: InodeId,
) -> Result<u64> {
    let mut verified = 0;
    for record in records.iter().skip(1) {
        let Ok(run) = Written::decode(record) else { break };
        let frames = if run.of_frames { reader.frames_of(run.range.clone()).await? } else { None };
        let len = usize::try_from(run.range.end - run.range.start).unwrap_or(usize::MAX);
        let mut buffer = reader.transfer().budget().lend(len).await;
        let (file, key, from, end) = (Arc::clone(file), key.clone(), verified, run.range.end);
        let same = blocking(move || {
            Ok(holds(&file, from, &run, &mut buffer.bytes) && run.is(&buffer.bytes, frames.as_ref(), &key, inode))
        });
        if !same.await? {
            break;
        }
        verified = end;
    }
    Ok(verified)
}

/// Reads a run that was written behind the first `from` bytes, between which there is nothing.
fn holds(file: &File, from: u64, run: &Written, bytes: &mut [u8]) -> bool {
    // A hole leaves no record: its zeros are made again by leaving it out.
    run.range.start >= from
        && is_hole(file, from, run.range.start)
        && file.read_exact_at(bytes, run.range.start).is_ok()
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
    use cyx_core::extent::BlobHeader;
    use cyx_crypto::frames::BlobCipher;
    use cyx_crypto::keys::{AccountKey, BlobKey};

    #[test]
    fn only_bytes_that_are_still_right_count() {
        let key = AccountKey::make().derive_fingerprint_key();
        let inode = InodeId([1; 16]);
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(b"aaaabbbb\0\0\0\0dddd", 0).unwrap();
        let run = |range: Range<u64>, bytes: &[u8]| {
            let fingerprint = plaintext_fingerprint(&key, BlobId(inode.0), bytes);
            Written::decode(&Written { range, of_frames: false, fingerprint }.encode()).unwrap()
        };
        let runs = [run(0..4, b"aaaa"), run(4..8, b"bbbb"), run(12..16, b"dddd")];
        let verified = || {
            let mut verified = 0;
            for run in &runs {
                let mut bytes = [0; 4];
                if !holds(&file, verified, run, &mut bytes) || !run.is(&bytes, None, &key, inode) {
                    break;
                }
                verified = run.range.end;
            }
            verified
        };
        assert_eq!(verified(), 16);
        file.write_all_at(b"x", 9).unwrap();
        assert_eq!(verified(), 8, "something stands in the hole");
        file.write_all_at(b"x", 5).unwrap();
        assert_eq!(verified(), 4);
        file.set_len(2).unwrap();
        assert_eq!(verified(), 0);
    }

    #[test]
    fn whole_frames_are_known_by_their_tags() {
        let key = AccountKey::make().derive_fingerprint_key();
        let header = BlobHeader::new(40_000).unwrap();
        let (blob, blob_key) = (BlobId([7; 16]), BlobKey::make());
        let frames = |first| Frames { cipher: BlobCipher::new(&blob_key, blob, header), blob, first };
        let plain: Vec<u8> = (0..40_000_u32).map(|at| u8::try_from(at % 249).unwrap()).collect();
        let mut sealed = Vec::new();
        frames(0).cipher.seal(&plain, &mut sealed).unwrap();
        // The last two frames.
        let tags = frames(1).cipher.tags_in(&sealed[16_400..]).collect::<Vec<_>>();
        let fingerprint = frames_fingerprint(&key, blob, 1, tags);
        let run = Written { range: 16_384..40_000, of_frames: true, fingerprint };
        let is = |bytes: &[u8], frames: Option<&Frames>| run.is(bytes, frames, &key, InodeId([1; 16]));
        assert!(is(&plain[16_384..], Some(&frames(1))));
        assert!(!is(&plain[16_384..], None));
        assert!(!is(&plain[16_384..], Some(&frames(0))));
        assert!(!is(&plain[16_384..39_999], Some(&frames(1))));
        let mut changed = plain[16_384..].to_vec();
        changed[20_000] ^= 1;
        assert!(!is(&changed, Some(&frames(1))));
    }

    #[test]
    fn a_full_disk_keeps_no_partial_file() {
        let (target, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let account = AccountKey::make();
        let left = |kind: std::io::ErrorKind, of_partial: bool| {
            let folder = Folder::open(target.path()).unwrap();
            let (mut partial, _) = Partial::begin(&folder, b"large", false).unwrap();
            let path = home.path().join(format!("{kind}{of_partial}.download"));
            let (journal, _) = Journal::open(path.clone(), account.derive_journal_key()).unwrap().unwrap();
            partial.log = Some(Log { journal, key: account.derive_fingerprint_key(), inode: InodeId([1; 16]) });
            let file = target.path().join(std::str::from_utf8(&partial.partial).unwrap());
            let failed = if of_partial { &file } else { &path };
            let error = partial.give_up_if_full(Error::local(failed)(kind.into()), &crate::transfer::Silent);
            assert!(matches!(error, Error::Local { source, .. } if source.kind() == kind));
            (file.exists(), path.exists())
        };
        assert_eq!(left(std::io::ErrorKind::StorageFull, true), (false, false));
        assert_eq!(left(std::io::ErrorKind::StorageFull, false), (true, true), "another disk is full");
        assert_eq!(left(std::io::ErrorKind::PermissionDenied, true), (true, true));
    }

    #[test]
    fn the_head_says_which_version_of_which_file() {
        let head =
            Head { inode: InodeId([1; 16]), version: 7, root: PageId([2; 32]), partial: b"a.1.cyx-partial".to_vec() };
        assert_eq!(Head::decode(&head.encode()), Ok(head));
    }
}
