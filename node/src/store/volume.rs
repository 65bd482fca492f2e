//! One volume file: appended to by one thread, read by many, punched where chunks have been purged.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::buffer::spare_capacity;
use rustix::fs::{Advice, FallocateFlags};
use rustix::io::Errno;

use super::record::{self, StoreKey, VOLUME_HEADER};

/// The system calls that make chunks durable: the place where tests let a disk fail.
pub trait DiskIo: Send + Sync + 'static {
    /// Writes some of `bytes` at `offset` and returns how many.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn write_at(&self, file: &File, bytes: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;

    /// Appends to `bytes` what is read at `offset`, at most as much as there is spare capacity for, and returns how much that was.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn read_at(&self, file: &File, bytes: &mut Vec<u8>, offset: u64) -> io::Result<usize> {
        Ok(rustix::io::retry_on_intr(|| rustix::io::pread(file, spare_capacity(bytes), offset))?)
    }

    /// Makes what was written to `file` durable.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn sync(&self, file: &File) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn sync_names(&self, directory: &Path) -> io::Result<()> {
        sync_directory(directory)
    }

    /// Bytes that the filesystem of `directory` has left.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn free(&self, directory: &Path) -> io::Result<u64>;
}

/// The real system calls.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealIo;

impl DiskIo for RealIo {
    fn write_at(&self, file: &File, bytes: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        Ok(rustix::io::retry_on_intr(|| rustix::io::pwritev(file, bytes, offset))?)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn free(&self, directory: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(directory)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// Most buffers of one write, as the kernel allows.
const BUFFERS_MAX: usize = 1024;
const SUFFIX: &str = ".cyxvol";

/// One open volume.
pub(crate) struct Volume {
    pub(crate) number: u32,
    pub(crate) file: File,
    /// Whether its header was read. It only says whose the file is: what lies behind an unreadable one verifies by itself.
    pub(crate) is_labelled: bool,
    io: Arc<dyn DiskIo>,
}

impl Volume {
    pub(crate) fn path(directory: &Path, number: u32) -> PathBuf {
        directory.join(format!("{number:08}{SUFFIX}"))
    }

    /// The numbers of the volumes in a directory, in order. Other files are left alone.
    pub(crate) fn list(directory: &Path) -> io::Result<Vec<u32>> {
        let mut numbers = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            let name = entry?.file_name();
            let number: Option<u32> =
                name.to_str().and_then(|name| name.strip_suffix(SUFFIX)).and_then(|number| number.parse().ok());
            numbers.extend(number);
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Makes a new volume, durable with its name.
    pub(crate) fn create(directory: &Path, number: u32, key: &StoreKey, io: Arc<dyn DiskIo>) -> io::Result<Self> {
        let path = Self::path(directory, number);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        let volume = Self { number, file, is_labelled: true, io };
        volume.write(&[&record::encode_volume_header(key, number)], 0)?;
        volume.sync()?;
        volume.io.sync_names(directory)?;
        Ok(volume)
    }

    /// The key in a volume's header, if the header is whole.
    pub(crate) fn key(directory: &Path, number: u32, io: Arc<dyn DiskIo>) -> io::Result<Option<StoreKey>> {
        let volume = Self { number, file: File::open(Self::path(directory, number))?, is_labelled: false, io };
        let len = volume.len()?.min(VOLUME_HEADER);
        Ok(record::volume_key(&volume.read(0, usize::try_from(len).unwrap_or_default())?))
    }

    /// Opens an existing volume. A file without a header, which a crash while making it can leave behind, is begun anew; one whose header
    /// the disk cannot read is opened without.
    pub(crate) fn open(directory: &Path, number: u32, key: &StoreKey, io: Arc<dyn DiskIo>) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(Self::path(directory, number))?;
        let mut volume = Self { number, file, is_labelled: true, io: Arc::clone(&io) };
        let len = volume.len()?;
        let header = match volume.read(0, usize::try_from(len.min(VOLUME_HEADER)).unwrap_or_default()) {
            Err(error) if is_loss(&error) => {
                tracing::error!(volume = number, %error, "the header of a volume cannot be read");
                volume.is_labelled = false;
                return Ok(volume);
            }
            header => header?,
        };
        if len <= VOLUME_HEADER && header.iter().all(|byte| *byte == 0) || len < VOLUME_HEADER {
            drop(volume);
            return Self::create(directory, number, key, io);
        }
        record::check_volume_header(key, number, &header)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("volume {number} is {error}")))?;
        Ok(volume)
    }

    /// Writes all pieces one after the other from `offset` on, in as few system calls as possible.
    pub(crate) fn write(&self, pieces: &[&[u8]], mut offset: u64) -> io::Result<()> {
        for batch in pieces.chunks(BUFFERS_MAX) {
            let mut slices: Vec<IoSlice<'_>> = batch.iter().map(|piece| IoSlice::new(piece)).collect();
            let mut rest = &mut slices[..];
            while !rest.is_empty() {
                match self.io.write_at(&self.file, rest, offset)? {
                    0 => return Err(io::ErrorKind::WriteZero.into()),
                    written => {
                        offset += written as u64;
                        IoSlice::advance_slices(&mut rest, written);
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads exactly `len` bytes, without clearing the memory first.
    pub(crate) fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            let at = offset + bytes.len() as u64;
            // The vector may have been given more room than asked for; bytes beyond `len` are cut off below.
            if self.io.read_at(&self.file, &mut bytes, at)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        bytes.truncate(len);
        Ok(bytes)
    }

    /// Lets go of what the page cache has from `offset` on. After a sync that failed that may never have reached the disk although it
    /// reads as if it had.
    pub(crate) fn forget_cached(&self, offset: u64) -> io::Result<()> {
        Ok(rustix::fs::fadvise(&self.file, offset, None, Advice::DontNeed)?)
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.io.sync(&self.file)
    }

    pub(crate) fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Cuts off what lies beyond `len`, durably.
    pub(crate) fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)?;
        self.sync()
    }

    /// Gives the blocks of a range back to the filesystem; the range then reads as zeros.
    ///
    /// Filesystems that cannot do it keep the blocks until the whole volume goes.
    pub(crate) fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match rustix::io::retry_on_intr(|| rustix::fs::fallocate(&self.file, flags, offset, len)) {
            Ok(()) | Err(Errno::OPNOTSUPP) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether a failed read says that the bytes are bad or gone. Damage is told to the server and is for good, so whatever else can
/// keep a moment's read from succeeding, too little memory for one, says nothing about them.
pub(crate) fn is_loss(error: &io::Error) -> bool {
    // Besides EIO: how the kernel's block layer and filesystems report bad sectors, failed targets, checksums and structures.
    let losses = [Errno::IO, Errno::NODATA, Errno::REMOTEIO, Errno::BADMSG, Errno::ILSEQ, Errno::UCLEAN];
    error.kind() == io::ErrorKind::UnexpectedEof
        || Errno::from_io_error(error).is_some_and(|error| losses.contains(&error))
}

/// Whether a file could not be opened because too many are open, which passes.
pub(crate) fn is_short_of_files(error: &io::Error) -> bool {
    Errno::from_io_error(error).is_some_and(|error| matches!(error, Errno::MFILE | Errno::NFILE))
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes at most three bytes at a time.
    struct Short;

    impl DiskIo for Short {
        fn write_at(&self, file: &File, bytes: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
            let first: &[u8] = bytes.iter().find(|piece| !piece.is_empty()).map_or(&[], |piece| piece);
            Ok(rustix::io::pwrite(file, &first[..first.len().min(3)], offset)?)
        }
        fn sync(&self, _: &File) -> io::Result<()> {
            Ok(())
        }
        fn free(&self, _: &Path) -> io::Result<u64> {
            Ok(u64::MAX)
        }
    }

    #[test]
    fn only_what_speaks_of_the_bytes_is_a_loss() {
        for lost in [Errno::IO, Errno::NODATA, Errno::UCLEAN] {
            assert!(is_loss(&lost.into()), "{lost}");
        }
        assert!(is_loss(&io::ErrorKind::UnexpectedEof.into()));
        for passing in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::ACCESS, Errno::AGAIN] {
            assert!(!is_loss(&passing.into()), "{passing}");
        }
    }

    #[test]
    fn short_writes_are_continued() {
        let folder = tempfile::tempdir().unwrap();
        let volume = Volume::create(folder.path(), 1, &[1; 32], Arc::new(Short)).unwrap();
        volume.write(&[b"hello", b"", b" ", b"world"], VOLUME_HEADER).unwrap();
        assert_eq!(volume.read(VOLUME_HEADER, 11).unwrap(), b"hello world");
        assert_eq!(volume.len().unwrap(), VOLUME_HEADER + 11);
    }

    #[test]
    fn a_volume_of_another_store_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        Volume::create(folder.path(), 1, &[1; 32], Arc::new(RealIo)).unwrap();
        assert!(Volume::open(folder.path(), 1, &[2; 32], Arc::new(RealIo)).is_err());
        assert!(Volume::open(folder.path(), 1, &[1; 32], Arc::new(RealIo)).is_ok());
    }

    #[test]
    fn a_punched_range_reads_as_zeros_and_the_rest_stays() {
        let folder = tempfile::tempdir().unwrap();
        let volume = Volume::create(folder.path(), 1, &[1; 32], Arc::new(RealIo)).unwrap();
        volume.write(&[&[9; 12_288]], VOLUME_HEADER).unwrap();
        volume.punch(VOLUME_HEADER + 4096, 4096).unwrap();
        let bytes = volume.read(VOLUME_HEADER, 12_288).unwrap();
        assert!(bytes[..4096].iter().chain(&bytes[8192..]).all(|byte| *byte == 9));
        assert!(bytes[4096..8192].iter().all(|byte| *byte == 0));
    }
}
