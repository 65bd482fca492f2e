//! The write-ahead log of SQLite, as its file format document describes it (<https://www.sqlite.org/fileformat2.html#walformat>).
//!
//! ```text
//! header: magic u32 | version u32 | page size u32 | checkpoint u32 | salt 8 | checksum 8
//! frame:  page number u32 | pages of the database after a commit, or 0, u32 | salt 8 | checksum 8 | page
//! ```
//! All numbers are big-endian. A checksum covers everything before it: a frame's goes on from that of the frame before and covers
//! the first 8 bytes of its own header and its page. Frames with another salt are left over from an earlier life of the file. What
//! follows the last commit frame may still change.

use thiserror::Error;

/// Bytes of the header.
pub const HEADER_LEN: usize = 32;
/// Bytes of a frame before its page.
pub const FRAME_HEADER_LEN: usize = 24;

const MAGIC: u32 = 0x377f_0682;
const VERSION: u32 = 3_007_000;

/// Bytes are not the header of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WalError {
    /// There is no magic number, or another version's.
    #[error("not a write-ahead log that this program knows")]
    Foreign,
    /// The checksum is wrong: it is being written, or damaged.
    #[error("the header of the write-ahead log is incomplete or damaged")]
    Damaged,
}

/// A checksum as it goes on from frame to frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sum(u32, u32);

impl Sum {
    /// Adds bytes, whose number is a multiple of 8.
    fn add(&mut self, bytes: &[u8], big_endian: bool) {
        let (words, _) = bytes.as_chunks::<4>();
        let read = |word: [u8; 4]| if big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) };
        for pair in words.chunks_exact(2) {
            self.0 = self.0.wrapping_add(read(pair[0])).wrapping_add(self.1);
            self.1 = self.1.wrapping_add(read(pair[1])).wrapping_add(self.0);
        }
    }

    fn is(self, bytes: &[u8]) -> bool {
        bytes.len() == 8 && number(&bytes[..4]) == self.0 && number(&bytes[4..]) == self.1
    }
}

fn number(bytes: &[u8]) -> u32 {
    bytes.try_into().map_or(0, u32::from_be_bytes)
}

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Bytes of a page.
    pub page_size: u32,
    /// Different in every life of the file; its first half grows by one.
    pub salt: [u8; 8],
    big_endian: bool,
    sum: Sum,
}

impl Header {
    /// Reads and checks a header.
    ///
    /// # Errors
    /// [`WalError`].
    pub fn parse(bytes: &[u8; HEADER_LEN]) -> Result<Self, WalError> {
        let magic = number(&bytes[..4]);
        if magic & !1 != MAGIC || number(&bytes[4..8]) != VERSION {
            return Err(WalError::Foreign);
        }
        let big_endian = magic & 1 == 1;
        let page_size = number(&bytes[8..12]);
        if !page_size.is_power_of_two() || !(512..=65536).contains(&page_size) {
            return Err(WalError::Foreign);
        }
        let mut sum = Sum(0, 0);
        sum.add(&bytes[..24], big_endian);
        if !sum.is(&bytes[24..]) {
            return Err(WalError::Damaged);
        }
        let mut salt = [0; 8];
        salt.copy_from_slice(&bytes[16..24]);
        Ok(Self { page_size, salt, big_endian, sum })
    }

    /// Bytes of a frame.
    #[must_use]
    pub const fn frame_len(&self) -> usize {
        FRAME_HEADER_LEN + self.page_size as usize
    }

    /// Whether this is the next life of a file that had `before`.
    #[must_use]
    pub fn follows(&self, before: &Self) -> bool {
        number(&self.salt[..4]) == number(&before.salt[..4]).wrapping_add(1)
    }
}

/// A place between two frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    header: Header,
    sum: Sum,
    /// Bytes of the file before it.
    offset: u64,
}

/// One valid frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Number of the page, from 1.
    pub page: u32,
    /// Pages of the database after the commit that this frame ends; `None` if it ends none.
    pub commit: Option<u32>,
    /// The page.
    pub content: &'a [u8],
}

impl Cursor {
    /// The place of the first frame.
    #[must_use]
    pub const fn start(header: Header) -> Self {
        Self { header, sum: header.sum, offset: HEADER_LEN as u64 }
    }

    /// The header of the file.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Bytes of the file before this place.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Takes the frame at the beginning of `bytes`, if it is whole, of this life of the file and undamaged.
    pub fn take<'a>(&mut self, bytes: &'a [u8]) -> Option<Frame<'a>> {
        let (head, content) = bytes.get(..self.header.frame_len())?.split_at(FRAME_HEADER_LEN);
        if head[8..16] != self.header.salt {
            return None;
        }
        let mut sum = self.sum;
        sum.add(&head[..8], self.header.big_endian);
        sum.add(content, self.header.big_endian);
        if !sum.is(&head[16..]) {
            return None;
        }
        let page = number(&head[..4]);
        if page == 0 {
            return None;
        }
        self.sum = sum;
        self.offset += self.header.frame_len() as u64;
        let commit = number(&head[4..8]);
        Some(Frame { page, commit: (commit != 0).then_some(commit), content })
    }

    /// How many of the bytes that follow this place are committed, and the place behind them.
    #[must_use]
    pub fn committed(&self, bytes: &[u8]) -> (usize, Self) {
        let (mut at, mut cursor) = (0, *self);
        let mut found = (0, *self);
        while let Some(frame) = bytes.get(at..).and_then(|rest| cursor.take(rest)) {
            at += self.header.frame_len();
            if frame.commit.is_some() {
                found = (at, cursor);
            }
        }
        found
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use sqlx::{Connection as _, Executor as _};

    use super::*;

    /// A log with a header and frames, written independently of the reader: (page, commit, fill byte) each.
    pub(in crate::backup) fn log(salt: u32, big_endian: bool, frames: &[(u32, u32, u8)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for value in [MAGIC | u32::from(big_endian), VERSION, 512, 0, salt, 77] {
            bytes.extend_from_slice(&value.to_be_bytes());
        }
        let mut sum = [0_u32; 2];
        let mut add = |bytes: &[u8]| -> [u32; 2] {
            for pair in bytes.chunks(8) {
                for half in 0..2 {
                    let word: [u8; 4] = pair[half * 4..half * 4 + 4].try_into().unwrap();
                    let word = if big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) };
                    sum[half] = sum[half].wrapping_add(word).wrapping_add(sum[1 - half]);
                }
            }
            sum
        };
        let checksum = add(&bytes.clone());
        bytes.extend(checksum.iter().flat_map(|half| half.to_be_bytes()));
        for (page, commit, fill) in frames {
            let head = [page.to_be_bytes(), commit.to_be_bytes()].concat();
            let content = vec![*fill; 512];
            add(&head);
            let checksum = add(&content);
            bytes.extend_from_slice(&head);
            bytes.extend_from_slice(&salt.to_be_bytes());
            bytes.extend_from_slice(&77_u32.to_be_bytes());
            bytes.extend(checksum.iter().flat_map(|half| half.to_be_bytes()));
            bytes.extend_from_slice(&content);
        }
        bytes
    }

    fn start(bytes: &[u8]) -> Cursor {
        Cursor::start(Header::parse(bytes[..HEADER_LEN].try_into().unwrap()).unwrap())
    }

    #[test]
    fn frames_are_read_up_to_the_last_commit() {
        for big_endian in [false, true] {
            let bytes = log(5, big_endian, &[(1, 0, 1), (2, 2, 2), (3, 3, 3), (4, 0, 4)]);
            let cursor = start(&bytes);
            let (len, end) = cursor.committed(&bytes[HEADER_LEN..]);
            assert_eq!(len, 3 * (24 + 512));
            assert_eq!(end.offset(), (HEADER_LEN + len) as u64);
            let mut cursor = cursor;
            let frame = cursor.take(&bytes[HEADER_LEN..]).unwrap();
            assert_eq!((frame.page, frame.commit, frame.content), (1, None, &[1; 512][..]));
            // Going on from the end finds what is committed later.
            let more = log(5, big_endian, &[(1, 0, 1), (2, 2, 2), (3, 3, 3), (4, 0, 4), (5, 9, 5)]);
            let at = usize::try_from(end.offset()).unwrap();
            assert_eq!(end.committed(&more[at..]).0, 2 * (24 + 512));
        }
    }

    #[test]
    fn every_damaged_byte_ends_the_log_before_its_frame() {
        let bytes = log(5, false, &[(1, 1, 1), (2, 2, 2), (3, 3, 3)]);
        let frame_len = 24 + 512;
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 4;
            let header = Header::parse(changed[..HEADER_LEN].try_into().unwrap());
            if at < HEADER_LEN {
                assert!(header.is_err(), "byte {at}");
            } else {
                let whole = (at - HEADER_LEN) / frame_len;
                let (len, _) = Cursor::start(header.unwrap()).committed(&changed[HEADER_LEN..]);
                assert_eq!(len, whole * frame_len, "byte {at}");
            }
        }
    }

    #[test]
    fn frames_of_an_earlier_life_are_not_read() {
        let old = log(5, false, &[(1, 1, 1), (2, 2, 2)]);
        let new = log(6, false, &[(9, 9, 9)]);
        let mut mixed = old.clone();
        mixed[..new.len()].copy_from_slice(&new);
        assert_eq!(start(&mixed).committed(&mixed[HEADER_LEN..]).0, 24 + 512);
        assert!(start(&new).header().follows(start(&old).header()));
        assert!(!start(&old).header().follows(start(&new).header()));
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), HEADER_LEN..2000)) {
            if let Ok(header) = Header::parse(bytes[..HEADER_LEN].try_into().unwrap()) {
                prop_assert!(Cursor::start(header).committed(&bytes[HEADER_LEN..]).0 <= bytes.len());
            }
        }
    }

    #[tokio::test]
    async fn a_log_that_sqlite_wrote_is_read() {
        sqlx::any::install_default_drivers();
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}?mode=rwc", dir.path().join("a.db").display());
        let mut connection = sqlx::AnyConnection::connect(&url).await.unwrap();
        let text = "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (a); INSERT INTO t VALUES (1); \
                    INSERT INTO t VALUES (randomblob(20000));";
        connection.execute(sqlx::raw_sql(text)).await.unwrap();
        let bytes = std::fs::read(dir.path().join("a.db-wal")).unwrap();
        let cursor = start(&bytes);
        let (len, end) = cursor.committed(&bytes[HEADER_LEN..]);
        assert_eq!(HEADER_LEN + len, bytes.len(), "everything is committed");
        let (mut commits, mut at, mut cursor) = (0, HEADER_LEN, cursor);
        while let Some(frame) = cursor.take(&bytes[at..]) {
            commits += usize::from(frame.commit.is_some());
            at += cursor.header().frame_len();
        }
        assert_eq!((commits, cursor), (3, end));
        connection.close().await.unwrap();
    }
}
