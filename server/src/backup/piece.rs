//! A shipped piece of the write-ahead log.
//!
//! ```text
//! "cyxB" 1 | log u64 | offset u64 | time u64 | length u64 | BLAKE3 of the bytes 32 | bytes
//! ```
//! `log` counts the lives of the log file within a generation, `offset` says where the bytes stood in the file (the piece at 0 begins
//! with the header), `time` is when they were shipped in Unix milliseconds. The bytes end with a commit.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use cyx_core::wire::{Reader, Writer};

const MAGIC: &[u8; 4] = b"cyxB";
const VERSION: u8 = 1;
const HEAD_LEN: usize = 5 + 4 * 8 + 32;
/// Longest piece that is written. One transaction may be longer than that and still is one piece.
pub const PIECE_MAX: usize = 32 << 20;
/// Longest piece that is read.
const READ_MAX: u64 = 4 << 30;
/// How the names of pieces end.
const EXTENSION: &str = "wal";

/// What a piece says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Head {
    /// Which life of the log.
    pub log: u64,
    /// Where in the file.
    pub offset: u64,
    /// Unix milliseconds.
    pub time: u64,
}

impl Head {
    fn name(&self) -> String {
        format!("{:010}-{:012}.{EXTENSION}", self.log, self.offset)
    }
}

/// Writes a piece durably: it is there as a whole or not at all.
///
/// # Errors
/// Those of the file system.
pub fn write(folder: &Path, head: Head, bytes: &[u8]) -> io::Result<()> {
    let mut writer = Writer::new(MAGIC, VERSION);
    writer.u64(head.log).u64(head.offset).u64(head.time).u64(bytes.len() as u64).raw(blake3::hash(bytes).as_bytes());
    let temporary = folder.join("next.part");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(&writer.finish())?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, folder.join(head.name()))?;
    fs::File::open(folder)?.sync_all()
}

/// Reads a piece and checks it.
///
/// # Errors
/// Those of the file system; [`io::ErrorKind::InvalidData`] for a damaged piece.
pub fn read(path: &Path) -> io::Result<(Head, Vec<u8>)> {
    let mut file = fs::File::open(path)?;
    let (head, length, hash) = read_head(&mut file)?;
    let mut bytes = Vec::new();
    file.take(length + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != length || blake3::hash(&bytes).as_bytes() != &hash {
        return Err(damaged());
    }
    Ok((head, bytes))
}

/// The pieces of a folder in order, by their names and heads alone.
///
/// # Errors
/// Those of the file system; [`io::ErrorKind::InvalidData`] for a file that is not what its name says.
pub fn list(folder: &Path) -> io::Result<Vec<(Head, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            let (head, ..) = read_head(&mut fs::File::open(&path)?)?;
            if path.file_name().is_none_or(|name| name != head.name().as_str()) {
                return Err(damaged());
            }
            found.push((head, path));
        }
    }
    found.sort();
    Ok(found)
}

fn read_head(file: &mut fs::File) -> io::Result<(Head, u64, [u8; 32])> {
    let mut bytes = [0; HEAD_LEN];
    file.read_exact(&mut bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => damaged(),
        _ => error,
    })?;
    let parse = || {
        let mut reader = Reader::new(&bytes, MAGIC, VERSION, "piece of a log")?;
        let head = Head { log: reader.u64()?, offset: reader.u64()?, time: reader.u64()? };
        Ok::<_, cyx_core::wire::DecodeError>((head, reader.u64()?, reader.array()?))
    };
    let (head, length, hash) = parse().map_err(|_| damaged())?;
    if length > READ_MAX {
        return Err(damaged());
    }
    Ok((head, length, hash))
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a piece of the write-ahead log is damaged")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_back_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let heads = [(1, 0), (0, 536), (0, 0), (11, 0)].map(|(log, offset)| Head { log, offset, time: 7 });
        for head in heads {
            write(dir.path(), head, head.name().as_bytes()).unwrap();
        }
        let listed: Vec<(u64, u64)> =
            list(dir.path()).unwrap().iter().map(|(head, _)| (head.log, head.offset)).collect();
        assert_eq!(listed, [(0, 0), (0, 536), (1, 0), (11, 0)]);
        let (head, bytes) = read(&list(dir.path()).unwrap()[1].1).unwrap();
        assert_eq!((head, bytes), (heads[1], heads[1].name().into_bytes()));
    }

    #[test]
    fn every_damaged_or_missing_byte_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let head = Head { log: 3, offset: 4, time: 5 };
        write(dir.path(), head, b"bytes").unwrap();
        let path = dir.path().join(head.name());
        let whole = fs::read(&path).unwrap();
        let is_refused = || read(&path).map(|(found, _)| found != head).unwrap_or(true) || list(dir.path()).is_err();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&path, changed).unwrap();
            assert!(is_refused(), "byte {at}");
            fs::write(&path, &whole[..at]).unwrap();
            assert!(is_refused(), "cut at {at}");
        }
        fs::write(&path, [&whole[..], b"x"].concat()).unwrap();
        assert!(is_refused());
    }

    #[test]
    fn the_layout_is_frozen() {
        let dir = tempfile::tempdir().unwrap();
        let head = Head { log: 1, offset: 2, time: 3 };
        write(dir.path(), head, b"").unwrap();
        let bytes = fs::read(dir.path().join("0000000001-000000000002.wal")).unwrap();
        let expected = "637978420101000000000000000200000000000000030000000000000000000000000000\
                        00af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(hex::encode(bytes), expected);
    }
}
