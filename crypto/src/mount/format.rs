//! The bytes of a journal: files of records, and what the records hold. `docs/formats/mount-journal.md` is the long form.
//!
//! ```text
//! file:   "cyxJ" 1 | file 16 | first sequence u64 | records
//! record: "cyxQ" 1 | length u32 | sequence u64 | ciphertext (length bytes) | tag 16
//! ```
//! `length` counts plain bytes. The 17 bytes before the ciphertext are its associated data; the key is the file's.

use std::ops::{Deref, Range};

use bytes::Bytes;
use cyx_core::extent::PageId;
use cyx_core::ids::{BucketId, InodeId, TxnId};
use cyx_core::wire::{DecodeError, Reader, Writer};
use zeroize::{Zeroize as _, Zeroizing};

use super::{RecordCipher, TAG_LEN};
use crate::keys::InodeKey;

const FILE_MAGIC: &[u8; 4] = b"cyxJ";
const RECORD_MAGIC: &[u8; 4] = b"cyxQ";
const VERSION: u8 = 1;
/// Largest sequence that a file may begin with, so that what follows can be counted.
const FIRST_MAX: u64 = 1 << 62;
/// Bytes of a file before its first record.
pub const FILE_HEADER_LEN: usize = 29;
/// Bytes of a record before its ciphertext.
pub const RECORD_HEADER_LEN: usize = 17;
/// Bytes of a record beside what it holds.
pub const RECORD_OVERHEAD: usize = RECORD_HEADER_LEN + TAG_LEN;
/// Most plain bytes of a record.
pub const RECORD_MAX: usize = (1 << 20) + 4096;
/// Most bytes that one write record holds; longer writes are several records.
pub const WRITE_MAX: usize = 256 * 1024;
/// Where the bytes of a write begin in its record.
pub const WRITE_DATA_AT: usize = 1 + 32 + 8 + 8;
/// Most keys of one file.
const KEYS_MAX: usize = 1025;
/// Kind of a record with written bytes.
const WRITE: u8 = 2;

/// A file of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId {
    /// The bucket.
    pub bucket: BucketId,
    /// The inode.
    pub inode: InodeId,
}

/// The version that changes of a file are based on, and what is needed to read and commit it.
#[derive(Clone, PartialEq, Eq)]
pub struct Base {
    /// The file.
    pub file: FileId,
    /// Number of the version, 0 for none.
    pub version: u64,
    /// Its plain bytes.
    pub size: u64,
    /// Root of its extents.
    pub root: PageId,
    /// Keys of the file, the newest first.
    pub keys: Vec<InodeKey>,
    /// Records of the file up to this sequence are part of the version, or were given up.
    pub upto: u64,
}

/// What is about to be committed: if the answer is lost, the version that is found tells whether it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intent {
    /// The file.
    pub file: FileId,
    /// Transaction of the commit.
    pub txn: TxnId,
    /// Number of the version that it makes.
    pub version: u64,
    /// Plain bytes of that.
    pub size: u64,
    /// Root of its extents.
    pub root: PageId,
    /// Records of the file up to this sequence are part of it.
    pub upto: u64,
}

/// A range of a file that is a range of a version of another file of the bucket, and what is needed to read that.
#[derive(Clone, PartialEq, Eq)]
pub struct Share {
    /// The file.
    pub file: FileId,
    /// Where.
    pub offset: u64,
    /// How many bytes.
    pub len: u64,
    /// When, in Unix nanoseconds.
    pub time_ns: i64,
    /// The other file.
    pub inode: InodeId,
    /// Number of its version.
    pub version: u64,
    /// Plain bytes of that.
    pub size: u64,
    /// Root of its extents.
    pub root: PageId,
    /// Where the bytes are in it.
    pub from: u64,
    /// Keys of the other file, the newest first.
    pub keys: Vec<InodeKey>,
}

/// One record.
#[derive(Clone, PartialEq, Eq)]
pub enum Record {
    /// Changes of a file are based on this from now on.
    Base(Base),
    /// Bytes of a file, at most [`WRITE_MAX`].
    Write {
        /// The file.
        file: FileId,
        /// Where.
        offset: u64,
        /// When, in Unix nanoseconds.
        time_ns: i64,
        /// The bytes.
        data: Bytes,
    },
    /// A file has this length: what is beyond is cut off, what is missing is a hole.
    Length {
        /// The file.
        file: FileId,
        /// Its bytes.
        len: u64,
        /// When.
        time_ns: i64,
    },
    /// A range of a file is zeros and takes no room. It does not change the length.
    Hole {
        /// The file.
        file: FileId,
        /// First byte.
        start: u64,
        /// The byte behind the last.
        end: u64,
        /// When.
        time_ns: i64,
    },
    /// The time of the last change of a changed file's content is this one.
    Time {
        /// The file.
        file: FileId,
        /// Unix nanoseconds.
        mtime_ns: i64,
    },
    /// A range of a file is that of another, by reference.
    Share(Share),
    /// A commit is on its way.
    Intent(Intent),
    /// Something that is not content, in order with it.
    Note {
        /// What it is; the journal does not care.
        tag: u8,
        /// Its bytes.
        data: Bytes,
    },
    /// Notes are done, all at once.
    Done {
        /// Their sequences, one at least.
        sequences: Vec<u64>,
    },
}

impl Record {
    /// The file that it is about.
    #[must_use]
    pub fn file(&self) -> Option<FileId> {
        match self {
            Self::Base(base) => Some(base.file),
            Self::Write { file, .. }
            | Self::Length { file, .. }
            | Self::Hole { file, .. }
            | Self::Time { file, .. } => Some(*file),
            Self::Intent(intent) => Some(intent.file),
            Self::Share(share) => Some(share.file),
            Self::Note { .. } | Self::Done { .. } => None,
        }
    }

    /// Plain bytes of the record, about.
    #[must_use]
    pub fn plain_len(&self) -> usize {
        match self {
            Self::Base(base) => 112 + base.keys.len() * 36,
            Self::Share(share) => 160 + share.keys.len() * 36,
            Self::Write { data, .. } => WRITE_DATA_AT + data.len(),
            Self::Note { data, .. } => 2 + data.len(),
            Self::Done { sequences } => 1 + sequences.len() * 8,
            _ => 128,
        }
    }

    /// What is at the end of the record as it is.
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Write { data, .. } | Self::Note { data, .. } => data,
            _ => &[],
        }
    }

    /// Writes what comes before [`Self::bytes`].
    fn write_head(&self, writer: &mut Writer) {
        match self {
            Self::Base(base) => {
                put_file(writer.u8(1), base.file);
                writer.u64(base.version).u64(base.size).raw(&base.root.0).u64(base.upto);
                put_keys(writer, &base.keys);
            }
            Self::Write { file, offset, time_ns, .. } => {
                put_file(writer.u8(WRITE), *file);
                put_time(writer.u64(*offset), *time_ns);
            }
            Self::Length { file, len, time_ns } => {
                put_file(writer.u8(3), *file);
                put_time(writer.u64(*len), *time_ns);
            }
            Self::Hole { file, start, end, time_ns } => {
                put_file(writer.u8(4), *file);
                put_time(writer.u64(*start).u64(*end), *time_ns);
            }
            Self::Time { file, mtime_ns } => {
                put_file(writer.u8(5), *file);
                put_time(writer, *mtime_ns);
            }
            Self::Intent(intent) => {
                put_file(writer.u8(6), intent.file);
                writer.raw(&intent.txn.0).u64(intent.version).u64(intent.size);
                writer.raw(&intent.root.0).u64(intent.upto);
            }
            Self::Note { tag, .. } => {
                writer.u8(7).u8(*tag);
            }
            Self::Done { sequences } => {
                writer.u8(8);
                sequences.iter().for_each(|sequence| {
                    writer.u64(*sequence);
                });
            }
            Self::Share(share) => {
                put_file(writer.u8(9), share.file);
                put_time(writer.u64(share.offset).u64(share.len), share.time_ns);
                writer.raw(&share.inode.0).u64(share.version).u64(share.size).raw(&share.root.0).u64(share.from);
                put_keys(writer, &share.keys);
            }
        }
    }

    /// Reads what a record holds.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(plain: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::bare(plain);
        let record = match reader.u8()? {
            1 => {
                let file = take_file(&mut reader)?;
                let (version, size, root, upto) =
                    (reader.u64()?, reader.u64()?, PageId(reader.array()?), reader.u64()?);
                Self::Base(Base { file, version, size, root, keys: take_keys(&mut reader)?, upto })
            }
            WRITE => {
                let file = take_file(&mut reader)?;
                let (offset, time_ns) = (reader.u64()?, take_time(&mut reader)?);
                let data = reader.take(reader.remaining())?;
                let end = offset.checked_add(data.len() as u64);
                if data.is_empty() || data.len() > WRITE_MAX || end.is_none_or(|end| end > cyx_core::extent::OFFSET_MAX)
                {
                    return Err(DecodeError::Invalid("bytes of a write"));
                }
                Self::Write { file, offset, time_ns, data: Bytes::copy_from_slice(data) }
            }
            3 => {
                let file = take_file(&mut reader)?;
                let (len, time_ns) = (reader.u64()?, take_time(&mut reader)?);
                if len > cyx_core::extent::OFFSET_MAX {
                    return Err(DecodeError::Invalid("length of a file"));
                }
                Self::Length { file, len, time_ns }
            }
            4 => {
                let file = take_file(&mut reader)?;
                let (start, end, time_ns) = (reader.u64()?, reader.u64()?, take_time(&mut reader)?);
                if start >= end || end > cyx_core::extent::OFFSET_MAX {
                    return Err(DecodeError::Invalid("range of a hole"));
                }
                Self::Hole { file, start, end, time_ns }
            }
            5 => Self::Time { file: take_file(&mut reader)?, mtime_ns: take_time(&mut reader)? },
            6 => {
                let file = take_file(&mut reader)?;
                let txn = TxnId(reader.array()?);
                let (version, size, root) = (reader.u64()?, reader.u64()?, PageId(reader.array()?));
                Self::Intent(Intent { file, txn, version, size, root, upto: reader.u64()? })
            }
            7 => {
                let tag = reader.u8()?;
                Self::Note { tag, data: Bytes::copy_from_slice(reader.take(reader.remaining())?) }
            }
            8 => {
                let mut sequences = vec![reader.u64()?];
                while reader.remaining() > 0 {
                    sequences.push(reader.u64()?);
                }
                Self::Done { sequences }
            }
            9 => Self::Share(take_share(&mut reader)?),
            _ => return Err(DecodeError::Invalid("kind of record")),
        };
        reader.end()?;
        Ok(record)
    }
}

fn put_file(writer: &mut Writer, file: FileId) {
    writer.raw(&file.bucket.0).raw(&file.inode.0);
}

fn take_file(reader: &mut Reader<'_>) -> Result<FileId, DecodeError> {
    Ok(FileId { bucket: BucketId(reader.array()?), inode: InodeId(reader.array()?) })
}

fn put_keys(writer: &mut Writer, keys: &[InodeKey]) {
    writer.u16(u16::try_from(keys.len()).unwrap_or(u16::MAX));
    for key in keys {
        writer.u32(key.epoch()).raw(key.expose());
    }
}

/// Keys at the end of a record.
fn take_keys(reader: &mut Reader<'_>) -> Result<Vec<InodeKey>, DecodeError> {
    let count = usize::from(reader.u16()?);
    if count == 0 || count > KEYS_MAX || reader.remaining() != count * 36 {
        return Err(DecodeError::Invalid("number of keys"));
    }
    (0..count).map(|_| Ok(InodeKey::from_parts(reader.u32()?, reader.array()?))).collect()
}

fn take_share(reader: &mut Reader<'_>) -> Result<Share, DecodeError> {
    let file = take_file(reader)?;
    let (offset, len, time_ns) = (reader.u64()?, reader.u64()?, take_time(reader)?);
    let (inode, version, size) = (InodeId(reader.array()?), reader.u64()?, reader.u64()?);
    let (root, from) = (PageId(reader.array()?), reader.u64()?);
    let keys = take_keys(reader)?;
    let end = offset.checked_add(len).filter(|end| *end <= cyx_core::extent::OFFSET_MAX);
    let from_end = from.checked_add(len).filter(|end| *end <= size);
    if len == 0 || version == 0 || end.is_none() || from_end.is_none() {
        return Err(DecodeError::Invalid("range that is shared"));
    }
    Ok(Share { file, offset, len, time_ns, inode, version, size, root, from, keys })
}

fn put_time(writer: &mut Writer, time_ns: i64) {
    writer.raw(&time_ns.to_le_bytes());
}

fn take_time(reader: &mut Reader<'_>) -> Result<i64, DecodeError> {
    Ok(i64::from_le_bytes(reader.array()?))
}

/// The header of a file.
#[must_use]
pub fn file_header(file: &[u8; 16], first: u64) -> Vec<u8> {
    let mut writer = Writer::new(FILE_MAGIC, VERSION);
    writer.raw(file).u64(first);
    writer.finish()
}

/// Reads the header of a file: its id and its first sequence.
///
/// # Errors
/// [`DecodeError`].
pub fn read_file_header(bytes: &[u8]) -> Result<([u8; 16], u64), DecodeError> {
    let mut reader = Reader::new(bytes, FILE_MAGIC, VERSION, "mount journal")?;
    let header = (reader.array()?, reader.u64()?);
    reader.end()?;
    if header.1 > FIRST_MAX {
        return Err(DecodeError::Invalid("first sequence"));
    }
    Ok(header)
}

/// Seals a record as it lies in a file.
#[must_use]
pub fn seal(cipher: &RecordCipher, sequence: u64, record: &Record) -> Option<Vec<u8>> {
    let mut room = Vec::new();
    seal_over(&mut room, cipher, sequence, record)?;
    Some(room)
}

/// As [`seal`], over what is in `room`, which grows if the record does not fit. Bytes that were written are sealed from where they lie.
#[must_use]
pub fn seal_over<'a>(room: &'a mut Vec<u8>, cipher: &RecordCipher, sequence: u64, record: &Record) -> Option<&'a [u8]> {
    let bytes = record.bytes();
    let mut writer = Writer::new(RECORD_MAGIC, VERSION);
    writer.reserve(record.plain_len() - bytes.len()).u32(0).u64(sequence);
    record.write_head(&mut writer);
    let mut head = Zeroizing::new(writer.finish());
    let len = u32::try_from(head.len() - RECORD_HEADER_LEN + bytes.len()).ok();
    let len = len.filter(|len| *len as usize <= RECORD_MAX)?;
    head[5..9].copy_from_slice(&len.to_le_bytes());
    let (header, head) = head.split_at(RECORD_HEADER_LEN);
    let whole = RECORD_OVERHEAD + len as usize;
    if room.len() < whole {
        room.resize(whole, 0);
    }
    let (sealed_header, sealed) = room[..whole].split_at_mut(RECORD_HEADER_LEN);
    sealed_header.copy_from_slice(header);
    cipher.seal_parts(sequence, header, [head, bytes], sealed).ok()?;
    Some(&room[..whole])
}

/// Plain bytes and sequence that a record's header names.
///
/// # Errors
/// [`DecodeError`], also for a length that no record has.
pub fn read_record_header(header: &[u8]) -> Result<(usize, u64), DecodeError> {
    let mut reader = Reader::new(header, RECORD_MAGIC, VERSION, "record of a mount journal")?;
    let (len, sequence) = (reader.u32()? as usize, reader.u64()?);
    reader.end()?;
    if len == 0 || len > RECORD_MAX {
        return Err(DecodeError::Invalid("length of a record"));
    }
    Ok((len, sequence))
}

/// What a record holds, kind first. It is overwritten when it is dropped.
pub struct PlainRecord {
    bytes: Vec<u8>,
    plain: Range<usize>,
}

impl Deref for PlainRecord {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(self.plain.clone()).unwrap_or_default()
    }
}

impl Drop for PlainRecord {
    fn drop(&mut self) {
        if self.first() == Some(&WRITE) {
            // Content, of which there is much: byte by byte, as keys are, it takes longer than everything else that is done with it.
            self.bytes.fill(0);
            std::hint::black_box(&mut self.bytes);
        } else {
            self.bytes.zeroize();
        }
    }
}

/// Opens a whole sealed record of which this is the sequence, where it lies.
///
/// # Errors
/// [`DecodeError`]; a record that is not authentic is an invalid one.
pub fn open(cipher: &RecordCipher, sequence: u64, mut sealed: Vec<u8>) -> Result<PlainRecord, DecodeError> {
    let (header, rest) = sealed.split_at_mut_checked(RECORD_HEADER_LEN).ok_or(DecodeError::Truncated)?;
    let (len, named) = read_record_header(header)?;
    if named != sequence || rest.len() != len + TAG_LEN {
        return Err(DecodeError::Invalid("place of a record"));
    }
    cipher.open_in_place(sequence, header, rest).map_err(|_| DecodeError::Invalid("record"))?;
    Ok(PlainRecord { bytes: sealed, plain: RECORD_HEADER_LEN..RECORD_HEADER_LEN + len })
}
