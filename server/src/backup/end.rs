//! The end of a generation after a clean stop, so that the next start goes on in it.
//!
//! When a server stops, everything is shipped and copied into the database file, and the log file goes. Whether the next start may go on depends
//! on one question: has anybody changed the database file since? The file `end` in the generation's folder holds what tells: device,
//! inode, length and both times of the file. Nothing can write to it without moving its change time, and while the server wrote this
//! down nobody could write for long enough that a later change has another time. It is removed before it is believed, so it serves
//! one start. Where it does not fit, shipping begins anew with a copy, as after anything else that was not seen.
//!
//! ```text
//! "cyxZ" 1 | next u64 | pieces u64 | salt 8 | device u64 | inode u64 | length u64 | modified u64 | changed u64 | BLAKE3 of all before 32
//! ```
//! `next` is the life of the log that comes, `pieces` where the last piece of the one before ended (0 if there is none), `salt` that life's.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use cyx_core::wire::{DecodeError, Reader, Writer};

use super::generation::Generation;
use super::piece;

const MAGIC: &[u8; 4] = b"cyxZ";
const VERSION: u8 = 1;
const LEN: usize = 5 + 8 * 8 + 32;
const FILE: &str = "end";
/// Times of files move in steps of up to 10 ms. Whoever keeps writers away for this long after the last write knows that a later
/// one shows.
pub const STILL: Duration = Duration::from_millis(50);

/// A database file as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: u64,
    changed: u64,
}

impl Stamp {
    /// As it is now.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn of(database: &Path) -> io::Result<Self> {
        let found = fs::metadata(database)?;
        let time = |seconds: i64, nanoseconds: i64| {
            u64::try_from(seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)).unwrap_or(0)
        };
        Ok(Self {
            device: found.dev(),
            inode: found.ino(),
            length: found.size(),
            modified: time(found.mtime(), found.mtime_nsec()),
            changed: time(found.ctime(), found.ctime_nsec()),
        })
    }

    /// Bytes of the file.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// As it is now, after a look of [`STILL`] which makes sure that every later change has another time.
    ///
    /// # Errors
    /// Those of the file system; if the file changes meanwhile.
    pub fn still(database: &Path) -> io::Result<Self> {
        let stamp = Self::of(database)?;
        std::thread::sleep(STILL);
        if Self::of(database)? == stamp {
            Ok(stamp)
        } else {
            Err(io::Error::other("somebody else checkpoints the database"))
        }
    }
}

/// What a clean stop leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// The life of the log that comes next.
    pub next: u64,
    /// Where the life before it ended.
    pub pieces: u64,
    /// Its salt.
    pub salt: [u8; 8],
    /// The database file.
    pub stamp: Stamp,
}

impl End {
    /// Writes it down durably.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(&self, generation: &Generation) -> io::Result<()> {
        let Stamp { device, inode, length, modified, changed } = self.stamp;
        let mut writer = Writer::new(MAGIC, VERSION);
        writer.u64(self.next).u64(self.pieces).raw(&self.salt);
        writer.u64(device).u64(inode).u64(length).u64(modified).u64(changed);
        let mut bytes = writer.finish();
        bytes.extend_from_slice(blake3::hash(&bytes).as_bytes());
        let temporary = generation.folder.join("end.part");
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, generation.folder.join(FILE))?;
        fs::File::open(&generation.folder)?.sync_all()
    }

    /// Takes it away and returns it, if it is there and says what is true: the database file is as it was, and no piece is missing.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn take(generation: &Generation, database: &Path) -> io::Result<Option<Self>> {
        let path = generation.folder.join(FILE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        fs::remove_file(&path)?;
        fs::File::open(&generation.folder)?.sync_all()?;
        let Ok(end) = Self::read(&bytes) else { return Ok(None) };
        let ended = match piece::list(&generation.wal())?.last() {
            Some((head, path)) => (head.log + 1, head.offset + piece::read(path)?.1.len() as u64),
            None => (0, 0),
        };
        let fits = ended == (end.next, end.pieces) && Stamp::of(database)? == end.stamp;
        Ok(fits.then_some(end))
    }

    fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        let what = "the end of a generation";
        let mut reader = Reader::new(bytes, MAGIC, VERSION, what)?;
        let (next, pieces, salt) = (reader.u64()?, reader.u64()?, reader.array()?);
        let (device, inode, length) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let stamp = Stamp { device, inode, length, modified: reader.u64()?, changed: reader.u64()? };
        let sum: [u8; 32] = reader.array()?;
        reader.end()?;
        if sum != *blake3::hash(&bytes[..LEN - 32]).as_bytes() {
            return Err(DecodeError::Invalid(what));
        }
        Ok(Self { next, pieces, salt, stamp })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, Generation, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let generation = Generation::create(dir.path(), 1).unwrap();
        let database = dir.path().join("db");
        fs::write(&database, b"content").unwrap();
        (dir, generation, database)
    }

    fn end(database: &Path) -> End {
        End { next: 0, pieces: 0, salt: [0; 8], stamp: Stamp::of(database).unwrap() }
    }

    #[test]
    fn it_serves_once() {
        let (_dir, generation, database) = place();
        let end = end(&database);
        end.write(&generation).unwrap();
        assert_eq!(End::take(&generation, &database).unwrap(), Some(end));
        assert_eq!(End::take(&generation, &database).unwrap(), None);
    }

    #[test]
    fn another_file_missing_pieces_and_damage_are_noticed() {
        let (dir, generation, database) = place();
        let end = end(&database);
        // A copy of the same content under the same name is another file.
        end.write(&generation).unwrap();
        fs::copy(&database, dir.path().join("copy")).unwrap();
        fs::rename(dir.path().join("copy"), &database).unwrap();
        assert_eq!(End::take(&generation, &database).unwrap(), None);
        let end = End { stamp: Stamp::of(&database).unwrap(), ..end };
        End { next: 3, ..end }.write(&generation).unwrap();
        assert_eq!(End::take(&generation, &database).unwrap(), None, "pieces of three lives are missing");
        end.write(&generation).unwrap();
        let path = generation.folder.join(FILE);
        let bytes = fs::read(&path).unwrap();
        assert_eq!((bytes.len(), &bytes[..5]), (LEN, &b"cyxZ\x01"[..]));
        for at in 0..bytes.len() {
            let mut broken = bytes.clone();
            broken[at] ^= 1;
            fs::write(&path, broken).unwrap();
            assert_eq!(End::take(&generation, &database).unwrap(), None, "byte {at}");
        }
        fs::write(&path, &bytes[..LEN - 1]).unwrap();
        assert_eq!(End::take(&generation, &database).unwrap(), None);
        fs::write(&path, &bytes).unwrap();
        assert_eq!(End::take(&generation, &database).unwrap(), Some(end));
    }
}
