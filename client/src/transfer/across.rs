//! Copies from one bucket to another. Keys of one bucket open nothing in another, so content is opened and sealed anew here;
//! pieces are read while others are sent.

use std::io;

use bytes::Bytes;
use cyx_core::units::{MIB, PACK_FILE_MAX};
use cyx_proto::meta::v1 as pb;
use futures_util::stream::try_unfold;
use tokio_util::io::StreamReader;
use zeroize::Zeroizing;

use super::download::{Run, Runs};
use super::pack::SmallFile;
use super::progress::Progress;
use super::put::{Condition, OnConflict, Place, PutOptions};
use super::reader::{FileReader, Plain};
use super::source::Source;
use super::upload::Uploads;
use super::{Transfer, Tuning};
use crate::error::{Error, IntegrityError, Result};
use crate::tree::change::{DIRECTORY_MODE, mutation, named};
use crate::tree::copy::{Copied, CopyOptions};
use crate::tree::list::Walked;
use crate::tree::path::TreePath;
use crate::tree::types::{Bucket, Located};

/// Small files that go in one batch, and their plain bytes.
const BATCH_FILES: usize = 200;
const BATCH_BYTES: usize = 4 << 20;
/// Plain bytes that are read ahead of what is sealed.
const AHEAD: u64 = 8 * MIB;

impl Uploads {
    /// Copies from another bucket as `cp` does: into `to` if that is a directory, else to that name; an existing file gets a new
    /// version. Says where it ended up.
    ///
    /// # Errors
    /// [`Error::IsDirectory`] for a directory unless it is meant; [`Error::NotFound`], [`Error::AlreadyExists`]; whatever downloads
    /// and uploads fail with.
    pub async fn copy_from(
        &self,
        from: &Bucket,
        path: &TreePath,
        to: &TreePath,
        options: CopyOptions,
        progress: &dyn Progress,
    ) -> Result<(TreePath, Copied)> {
        let target = self.bucket();
        let source = if path.is_root() { None } else { Some(from.resolve(path).await?) };
        let is_directory = source.as_ref().is_none_or(Located::is_directory);
        if is_directory && !options.recursive {
            return Err(Error::IsDirectory(path.to_string()));
        }
        let existing = if to.is_root() { None } else { target.try_resolve(to).await? };
        let into = to.is_root() || existing.as_ref().is_some_and(Located::is_directory);
        let to = match source.as_ref().filter(|_| into) {
            Some(source) => to.clone().join(&source.name)?,
            None => to.clone(),
        };
        // What is read has memory of its own: it must not wait for memory that waits for it to be read. There is room for several
        // pieces, because the stream has the last one in its hands until the next one is there.
        let shared = &self.shared.transfer;
        let reading =
            shared.beside(Tuning { memory: 4 * AHEAD, reserve: AHEAD, read_piece: AHEAD, ..*shared.tuning() });
        let mut copying = Copying {
            uploads: self,
            from,
            reading,
            options,
            progress,
            batch: Vec::new(),
            batch_bytes: 0,
            copied: Copied::default(),
        };
        match source {
            Some(source) if !source.is_directory() => copying.entry(source, &to).await?,
            source => {
                // The root of a bucket has no mode that anybody chose.
                let mode = source.map_or(DIRECTORY_MODE, |source| source.mode_or(DIRECTORY_MODE));
                copying.tree(path, &to, mode).await?;
            }
        }
        copying.flush().await?;
        Ok((to, copying.copied))
    }
}

struct Copying<'a> {
    uploads: &'a Uploads,
    from: &'a Bucket,
    reading: Transfer,
    options: CopyOptions,
    progress: &'a dyn Progress,
    batch: Vec<(TreePath, SmallFile)>,
    batch_bytes: usize,
    copied: Copied,
}

impl Copying<'_> {
    async fn tree(&mut self, from: &TreePath, to: &TreePath, mode: u32) -> Result<()> {
        self.uploads.bucket().make_directories_as(to, mode).await?;
        self.copied.directories += 1;
        let mut walk = self.from.walk(from, true).await?;
        while let Some(found) = walk.next().await {
            let item = match found {
                Walked::Item(item) => item,
                Walked::Failed { error, .. } => return Err(error),
            };
            let path = TreePath::parse(&item.path)?;
            let mut copy = to.clone();
            for name in path.names().get(from.names().len()..).unwrap_or_default() {
                copy = copy.join(name)?;
            }
            if item.located.is_directory() {
                self.uploads.bucket().make_directories_as(&copy, item.located.mode_or(DIRECTORY_MODE)).await?;
                self.copied.directories += 1;
            } else {
                self.entry(item.located, &copy).await?;
            }
        }
        Ok(())
    }

    /// A file or a link.
    async fn entry(&mut self, source: Located, to: &TreePath) -> Result<()> {
        match source.kind() {
            pb::InodeKind::File => self.file(&source, to).await,
            pb::InodeKind::Symlink => self.link(&source, to).await,
            _ => Err(Error::invalid(format!("{to} is neither a file nor a symbolic link"))),
        }
    }

    async fn link(&mut self, source: &Located, to: &TreePath) -> Result<()> {
        let Place { directory, name, found, .. } = self.uploads.place(to).await?;
        if self.options.no_clobber && found.is_some() {
            return Err(Error::AlreadyExists(to.to_string()));
        }
        let bucket = self.uploads.bucket();
        let operations = bucket.link_operations(source, &directory, (&name, to), found.as_ref())?;
        if !operations.is_empty() {
            for result in bucket.apply(vec![mutation(operations)]).await? {
                result.map_err(|error| named(error, to))?;
            }
        }
        self.copied.files += 1;
        Ok(())
    }

    async fn file(&mut self, source: &Located, to: &TreePath) -> Result<()> {
        let place = self.uploads.place(to).await?;
        if self.options.no_clobber && place.found.is_some() {
            return Err(Error::AlreadyExists(to.to_string()));
        }
        let attributes = source.inode.attributes.unwrap_or_default();
        let options = PutOptions {
            condition: if self.options.no_clobber { Condition::IfAbsent } else { Condition::Replace },
            on_conflict: if self.options.no_clobber { OnConflict::Fail } else { OnConflict::Replace },
            mode: Some(attributes.mode),
            mtime_ns: Some(attributes.mtime_ns),
            ..PutOptions::default()
        };
        let reader = self.reading.open(self.from, source).await?;
        let size = reader.size();
        self.progress.found(1, size);
        if size <= PACK_FILE_MAX {
            let plain = Zeroizing::new(reader.read_range(0..size).await?);
            self.batch_bytes += plain.len();
            self.batch.push((to.clone(), SmallFile { place, plain, options }));
            if self.batch.len() >= BATCH_FILES || self.batch_bytes >= BATCH_BYTES {
                self.flush().await?;
            }
            return Ok(());
        }
        let put = self.uploads.put(place, stream(&reader), Some(size), &options, self.progress).await?;
        if put.size != size {
            return Err(IntegrityError::Content(to.to_string()).into());
        }
        self.copied.files += 1;
        self.copied.bytes += size;
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        let (paths, files): (Vec<_>, Vec<_>) = std::mem::take(&mut self.batch).into_iter().unzip();
        self.batch_bytes = 0;
        let mut failed = None;
        for (path, put) in paths.into_iter().zip(Box::pin(self.uploads.put_small(files)).await) {
            match put {
                Ok(put) => {
                    self.progress.bytes(put.size);
                    self.copied.files += 1;
                    self.copied.bytes += put.size;
                }
                Err(error) => failed = failed.or(Some(named(error, &path))),
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

/// A file as a stream. If reading fails so does the stream: it never ends early.
fn stream(reader: &FileReader) -> Source {
    let runs = reader.runs(0..reader.size());
    let pieces = try_unfold((runs, 0), |(mut runs, zeros): (Runs, u64)| async move {
        if zeros > 0 {
            return Ok(Some(hole(runs, zeros)));
        }
        match runs.next().await.map_err(io::Error::other)? {
            None => Ok(None),
            Some((_, Run::Data(plain))) => Ok::<_, io::Error>(Some((Bytes::from_owner(Owned(plain)), (runs, 0)))),
            Some((range, Run::Hole)) => Ok(Some(hole(runs, range.end - range.start))),
        }
    });
    Source::Stream(Box::pin(StreamReader::new(Box::pin(pieces))))
}

/// The next zeros of a hole, and what is left of it.
fn hole(runs: Runs, len: u64) -> (Bytes, (Runs, u64)) {
    static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
    let part = usize::try_from(len).unwrap_or(usize::MAX).min(ZEROS.len());
    (Bytes::from_static(&ZEROS[..part]), (runs, len - part as u64))
}

struct Owned(Plain);

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
