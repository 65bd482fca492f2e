//! Checked conversions of foreign fields.
//!
//! Every message from the other side passes through these before anything else looks at it: wrong lengths, impossible
//! schemes and unknown kinds become [`InvalidField`], which names the field.

use bytes::Bytes;
use cyx_core::chunk::Root;
use cyx_core::error::ErrorCode;
use cyx_core::extent::PageId;
use cyx_core::scheme::Scheme;
use thiserror::Error;
use tonic::Status;

use crate::meta::v1 as pb;
use crate::status::status;

/// A field of a message is not what the contract says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the field {field} is missing or not valid")]
pub struct InvalidField {
    /// Name of the field.
    pub field: &'static str,
}

impl From<InvalidField> for Status {
    fn from(error: InvalidField) -> Self {
        status(ErrorCode::InvalidArgument, error.to_string())
    }
}

/// An id of any type.
///
/// # Errors
/// [`InvalidField`] unless it has 16 bytes.
pub fn id<'a, T: TryFrom<&'a [u8]>>(bytes: &'a [u8], field: &'static str) -> Result<T, InvalidField> {
    T::try_from(bytes).map_err(|_| InvalidField { field })
}

/// Bytes of a fixed length.
///
/// # Errors
/// [`InvalidField`] for any other length.
pub fn array<const N: usize>(bytes: &[u8], field: &'static str) -> Result<[u8; N], InvalidField> {
    bytes.try_into().map_err(|_| InvalidField { field })
}

/// A page id.
///
/// # Errors
/// [`InvalidField`] unless it has 32 bytes.
pub fn page_id(bytes: &[u8], field: &'static str) -> Result<PageId, InvalidField> {
    array(bytes, field).map(PageId)
}

/// A message that must be there.
///
/// # Errors
/// [`InvalidField`] if it is absent.
pub fn required<T>(value: Option<T>, field: &'static str) -> Result<T, InvalidField> {
    value.ok_or(InvalidField { field })
}

/// A scheme.
///
/// # Errors
/// [`InvalidField`] for one that no program uses.
pub fn scheme(scheme: Option<pb::Scheme>, field: &'static str) -> Result<Scheme, InvalidField> {
    let scheme = required(scheme, field)?;
    Scheme::new(scheme.k, scheme.m).map_err(|_| InvalidField { field })
}

/// The BLAKE3 roots of a segment's chunks.
///
/// # Errors
/// [`InvalidField`] unless there are n of them.
pub fn roots(bytes: &[u8], scheme: Scheme, field: &'static str) -> Result<Vec<Root>, InvalidField> {
    let (parts, rest) = bytes.as_chunks::<32>();
    if rest.is_empty() && parts.len() == scheme.n() { Ok(parts.to_vec()) } else { Err(InvalidField { field }) }
}

/// A kind that this version knows.
///
/// # Errors
/// [`InvalidField`] for unspecified and unknown kinds.
pub fn kind(kind: i32, field: &'static str) -> Result<pb::InodeKind, InvalidField> {
    match pb::InodeKind::try_from(kind) {
        Ok(pb::InodeKind::Unspecified) | Err(_) => Err(InvalidField { field }),
        Ok(known) => Ok(known),
    }
}

impl From<Scheme> for pb::Scheme {
    fn from(scheme: Scheme) -> Self {
        let count = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        Self { k: count(scheme.k()), m: count(scheme.m()) }
    }
}

/// Copies an id into a field.
pub fn bytes_of(id: impl AsRef16) -> Bytes {
    Bytes::copy_from_slice(&id.as_ref16())
}

/// Sixteen bytes: implemented by every id.
pub trait AsRef16: Copy {
    /// The bytes.
    fn as_ref16(&self) -> [u8; 16];
}

macro_rules! as_ref16 {
    ($($id:ident)*) => {
        $(impl AsRef16 for cyx_core::ids::$id {
            fn as_ref16(&self) -> [u8; 16] {
                self.0
            }
        })*
    };
}

as_ref16!(AccountId BucketId InodeId BlobId SegmentId ChunkId PlacementId LeaseId GrantId NodeId SessionId TxnId BucketTag KeyId TrashId TaskId ApiKeyId);

#[cfg(test)]
mod tests {
    use super::*;
    use cyx_core::ids::{InodeId, Random as _};

    #[test]
    fn wrong_lengths_name_their_field() {
        assert_eq!(id::<InodeId>(&[0; 15], "inode"), Err(InvalidField { field: "inode" }));
        let inode = InodeId::random();
        assert_eq!(id::<InodeId>(&bytes_of(inode), "inode"), Ok(inode));
    }

    #[test]
    fn impossible_schemes_and_kinds_are_refused() {
        assert!(scheme(Some(pb::Scheme { k: 0, m: 4 }), "scheme").is_err());
        assert!(scheme(None, "scheme").is_err());
        assert_eq!(scheme(Some(Scheme::DEFAULT.into()), "scheme"), Ok(Scheme::DEFAULT));
        assert!(kind(0, "kind").is_err());
        assert!(kind(99, "kind").is_err());
        assert!(roots(&[0; 32 * 13], Scheme::DEFAULT, "roots").is_err());
    }
}
