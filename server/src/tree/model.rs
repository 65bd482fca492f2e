//! Rows of the tree and the messages they become.

use bytes::Bytes;
use cyx_core::extent::PageId;
use cyx_core::ids::{AccountId, BlobId, BucketId, InodeId, KeyId, SegmentId, TrashId, TxnId};
use cyx_core::scheme::Scheme;
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use sqlx::any::AnyRow;

use super::sql::{self, Cells};
use crate::db::DbError;

pub use cyx_proto::meta::v1::InodeKind;

/// A name under one key epoch of its directory.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token {
    /// The name, encrypted.
    pub name: Bytes,
    /// The epoch.
    pub epoch: u32,
}

impl Token {
    /// As on the wire.
    #[must_use]
    pub fn to_pb(&self) -> pb::NameToken {
        pb::NameToken { epoch: self.epoch, name: self.name.clone() }
    }
}

/// A bucket, without what differs between its members.
#[derive(Debug, Clone)]
pub struct BucketRow {
    /// Its id.
    pub id: BucketId,
    /// The account that pays for it.
    pub owner: AccountId,
    /// The owner's Ed25519 public key.
    pub owner_key: [u8; 32],
    /// Its root directory.
    pub root: InodeId,
    /// Its name under the root key.
    pub sealed_name: Bytes,
    /// Whether it asks for 10+10.
    pub durable: bool,
    /// Number of the newest change.
    pub sequence: u64,
    /// Entries of its writer list.
    pub writers: u64,
    /// Fencing number of the newest write lease.
    pub fencing: u64,
    /// Bytes that count.
    pub used_bytes: i64,
    /// Bytes that do not count any more.
    pub superseded_bytes: i64,
    /// Files.
    pub files: i64,
    /// When it was made.
    pub created_ns: i64,
    /// When it was deleted, or 0.
    pub deleted_ns: i64,
}

impl BucketRow {
    pub(super) const COLUMNS: usize = 14;

    /// Reads the columns of [`BUCKET_COLUMNS`](super::BUCKET_COLUMNS) from `at` on.
    pub(super) fn read(row: &AnyRow, at: usize) -> Result<Self, DbError> {
        Ok(Self {
            id: sql::id(row, at)?,
            owner: sql::id(row, at + 1)?,
            owner_key: sql::array(row, at + 2)?,
            root: sql::id(row, at + 3)?,
            sealed_name: sql::bytes(row, at + 4)?.into(),
            durable: sql::int(row, at + 5)? != 0,
            sequence: sql::uint(row, at + 6)?,
            writers: sql::uint(row, at + 7)?,
            fencing: sql::uint(row, at + 8)?,
            used_bytes: sql::int(row, at + 9)?,
            superseded_bytes: sql::int(row, at + 10)?,
            files: sql::int(row, at + 11)?,
            created_ns: sql::int(row, at + 12)?,
            deleted_ns: sql::int(row, at + 13)?,
        })
    }
}

/// An inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InodeRow {
    /// Its id.
    pub id: InodeId,
    /// What it is.
    pub kind: InodeKind,
    /// Permission bits.
    pub mode: u32,
    /// Owner as the client says.
    pub uid: u32,
    /// Group as the client says.
    pub gid: u32,
    /// Device number.
    pub rdev: u64,
    /// Last change of content.
    pub mtime_ns: i64,
    /// Last change of anything.
    pub ctime_ns: i64,
    /// Last access, as far as clients report it.
    pub atime_ns: i64,
    /// Links, see the migration.
    pub nlink: u32,
    /// Entries in the trash.
    pub trashed: u32,
    /// Plain bytes.
    pub size: u64,
    /// Newest version, 0 before the first commit.
    pub version: u64,
    /// Root of its extents.
    pub root_page: PageId,
    /// Opaque.
    pub sealed_target: Bytes,
    /// Opaque.
    pub sealed_meta: Bytes,
    /// Grows with every change of `sealed_meta`.
    pub meta_version: u64,
    /// Opaque.
    pub key_history: Bytes,
    /// When it was made.
    pub created_ns: i64,
    /// Since when no entry leads to it, or 0.
    pub deleted_ns: i64,
    /// Of its newest key; 0 if that is its first.
    pub key_epoch: u32,
}

impl InodeRow {
    pub(super) const COLUMNS: usize = 21;

    /// Reads the columns of [`INODE_COLUMNS`](super::INODE_COLUMNS) from `at` on.
    pub(super) fn read(row: &impl Cells, at: usize) -> Result<Self, DbError> {
        Ok(Self {
            id: sql::id(row, at)?,
            kind: kind(row, at + 1)?,
            mode: sql::uint(row, at + 2)?,
            uid: sql::uint(row, at + 3)?,
            gid: sql::uint(row, at + 4)?,
            rdev: sql::uint(row, at + 5)?,
            mtime_ns: sql::int(row, at + 6)?,
            ctime_ns: sql::int(row, at + 7)?,
            atime_ns: sql::int(row, at + 8)?,
            nlink: sql::uint(row, at + 9)?,
            trashed: sql::uint(row, at + 10)?,
            size: sql::uint(row, at + 11)?,
            version: sql::uint(row, at + 12)?,
            root_page: PageId(sql::array(row, at + 13)?),
            sealed_target: sql::bytes(row, at + 14)?.into(),
            sealed_meta: sql::bytes(row, at + 15)?.into(),
            meta_version: sql::uint(row, at + 16)?,
            key_history: sql::bytes(row, at + 17)?.into(),
            created_ns: sql::int(row, at + 18)?,
            deleted_ns: sql::int(row, at + 19)?,
            key_epoch: sql::uint(row, at + 20)?,
        })
    }

    /// Whether it is a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.kind == InodeKind::Directory
    }

    /// Whether its newest version counts against quota: it has a link, or could be restored from the trash.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        self.nlink > 0 || self.trashed > 0
    }

    /// As on the wire.
    #[must_use]
    pub fn to_pb(&self) -> pb::Inode {
        pb::Inode {
            id: bytes_of(self.id),
            kind: self.kind.into(),
            attributes: Some(pb::Attributes {
                mode: self.mode,
                uid: self.uid,
                gid: self.gid,
                rdev: self.rdev,
                mtime_ns: self.mtime_ns,
                ctime_ns: self.ctime_ns,
                atime_ns: self.atime_ns,
            }),
            nlink: self.nlink,
            size: self.size,
            version: self.version,
            root_page: Bytes::copy_from_slice(&self.root_page.0),
            sealed_target: self.sealed_target.clone(),
            sealed_meta: self.sealed_meta.clone(),
            meta_version: self.meta_version,
            key_history: self.key_history.clone(),
            created_ns: self.created_ns,
            deleted_ns: self.deleted_ns,
            key_epoch: self.key_epoch,
            trashed: self.trashed,
        }
    }
}

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryRow {
    /// The directory.
    pub directory: InodeId,
    /// The name it is stored under.
    pub token: Token,
    /// What it leads to.
    pub child: InodeId,
    /// What that is.
    pub kind: InodeKind,
    /// Opaque.
    pub wrapped_key: Bytes,
    /// Number of the change that made it as it is.
    pub version: u64,
}

impl EntryRow {
    pub(super) const COLUMNS: usize = 7;

    /// Reads the columns of [`ENTRY_COLUMNS`](super::ENTRY_COLUMNS) from `at` on.
    pub(super) fn read(row: &impl Cells, at: usize) -> Result<Self, DbError> {
        Ok(Self {
            directory: sql::id(row, at)?,
            token: Token { name: sql::bytes(row, at + 1)?.into(), epoch: sql::uint(row, at + 2)? },
            child: sql::id(row, at + 3)?,
            kind: kind(row, at + 4)?,
            wrapped_key: sql::bytes(row, at + 5)?.into(),
            version: sql::uint(row, at + 6)?,
        })
    }

    /// As on the wire.
    #[must_use]
    pub fn to_pb(&self) -> pb::Entry {
        pb::Entry {
            directory: bytes_of(self.directory),
            name: Some(self.token.to_pb()),
            child: bytes_of(self.child),
            kind: self.kind.into(),
            wrapped_key: self.wrapped_key.clone(),
            version: self.version,
        }
    }
}

/// An entry in the trash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrashRow {
    /// Its id.
    pub id: TrashId,
    /// The entry as it was; its version is 0.
    pub entry: EntryRow,
    /// When it was put there.
    pub deleted_ns: i64,
    /// When it goes for good.
    pub expires_ns: i64,
}

impl TrashRow {
    pub(super) const COLUMNS: usize = 9;

    /// Reads the columns of [`TRASH_COLUMNS`](super::TRASH_COLUMNS) from `at` on.
    pub(super) fn read(row: &AnyRow, at: usize) -> Result<Self, DbError> {
        Ok(Self {
            id: sql::id(row, at)?,
            entry: EntryRow {
                directory: sql::id(row, at + 1)?,
                token: Token { name: sql::bytes(row, at + 2)?.into(), epoch: sql::uint(row, at + 3)? },
                child: sql::id(row, at + 4)?,
                kind: kind(row, at + 5)?,
                wrapped_key: sql::bytes(row, at + 6)?.into(),
                version: 0,
            },
            deleted_ns: sql::int(row, at + 7)?,
            expires_ns: sql::int(row, at + 8)?,
        })
    }
}

/// A version of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRow {
    /// Its number.
    pub version: u64,
    /// The version it replaced.
    pub base: u64,
    /// Plain bytes.
    pub size: u64,
    /// Root of its extents.
    pub root_page: PageId,
    /// Who signed it.
    pub writer: KeyId,
    /// The signature.
    pub signature: Bytes,
    /// When.
    pub committed_ns: i64,
    /// Number of the change that made it; 0 if that was not kept.
    pub sequence: u64,
}

impl VersionRow {
    pub(super) const COLUMNS: usize = 8;

    /// Reads `version, base, size, root_page, writer, signature, committed_ns, sequence`.
    pub(super) fn read(row: &AnyRow) -> Result<Self, DbError> {
        Ok(Self {
            version: sql::uint(row, 0)?,
            base: sql::uint(row, 1)?,
            size: sql::uint(row, 2)?,
            root_page: PageId(sql::array(row, 3)?),
            writer: sql::id(row, 4)?,
            signature: sql::bytes(row, 5)?.into(),
            committed_ns: sql::int(row, 6)?,
            sequence: sql::uint(row, 7)?,
        })
    }

    /// As on the wire.
    #[must_use]
    pub fn to_pb(&self) -> pb::VersionRecord {
        pb::VersionRecord {
            version: self.version,
            base: self.base,
            size: self.size,
            root_page: Bytes::copy_from_slice(&self.root_page.0),
            writer: bytes_of(self.writer),
            signature: self.signature.clone(),
            committed_ns: self.committed_ns,
            sequence: self.sequence,
        }
    }
}

/// Where a blob's sealed bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In its row.
    Inline(Bytes),
    /// In a segment.
    Segment {
        /// Which.
        segment: SegmentId,
        /// First byte in it.
        offset: u64,
    },
}

/// A blob, without its counters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobRow {
    /// Its id.
    pub id: BlobId,
    /// Sealed bytes.
    pub length: u64,
    /// Where they are.
    pub place: Place,
    /// Transaction it was staged under and not committed from yet.
    pub staged: Option<TxnId>,
}

impl BlobRow {
    pub(super) const SELECT: &'static str =
        "SELECT id, length, inline_bytes, segment, segment_offset, staged FROM blob";

    /// Reads the columns of [`Self::SELECT`].
    pub(super) fn read(row: &AnyRow) -> Result<Self, DbError> {
        let place = match (sql::optional_bytes(row, 2)?, sql::optional_bytes(row, 3)?) {
            (Some(bytes), None) => Place::Inline(bytes.into()),
            (None, Some(_)) => Place::Segment { segment: sql::id(row, 3)?, offset: sql::uint(row, 4)? },
            _ => return Err(DbError::Corrupt("a blob is in no place or in two")),
        };
        let staged = match sql::optional_bytes(row, 5)? {
            Some(_) => Some(sql::id(row, 5)?),
            None => None,
        };
        Ok(Self { id: sql::id(row, 0)?, length: sql::uint(row, 1)?, place, staged })
    }

    /// As on the wire.
    #[must_use]
    pub fn to_pb(&self) -> pb::Blob {
        use pb::blob::Place as PbPlace;
        let place = match &self.place {
            Place::Inline(bytes) => PbPlace::Inline(bytes.clone()),
            Place::Segment { segment, offset } => {
                PbPlace::Segment(pb::BlobPlace { segment: bytes_of(*segment), offset: *offset })
            }
        };
        pb::Blob { id: bytes_of(self.id), length: self.length, place: Some(place) }
    }
}

/// Reads a scheme from two columns.
pub(super) fn scheme(row: &AnyRow, at: usize) -> Result<Scheme, DbError> {
    Scheme::new(sql::uint(row, at)?, sql::uint(row, at + 1)?).map_err(|_| DbError::Corrupt("scheme"))
}

fn kind(row: &impl Cells, at: usize) -> Result<InodeKind, DbError> {
    let number: i32 = sql::uint(row, at)?;
    InodeKind::try_from(number).map_err(|_| DbError::Corrupt("kind of inode"))
}
