//! What is sealed in an inode's metadata field: extended attributes and, for objects, content type and user metadata, which
//! are attributes with names of their own.
//!
//! ```text
//! "cyxX" | version u8 = 1 | count u32 | count × (name len u16 | name | value len u32 | value)
//! ```
//! Names are sorted, each comes once and none is empty or has a NUL, so the same attributes have one encoding. No attributes at all
//! are an empty field. `docs/formats/boxes.md` is the long form.

use std::collections::BTreeMap;

use cyx_core::wire::{DecodeError, Reader, Writer};

const MAGIC: &[u8; 4] = b"cyxX";
const VERSION: u8 = 1;
/// Longest value, as on Linux.
pub const VALUE_MAX: usize = 64 * 1024;
/// All of it, before it is sealed. The server takes a little more.
pub const META_MAX: usize = 78 * 1024;

/// Attributes by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExtendedAttributes {
    /// Extended attributes with the names that programs use, such as `user.comment`.
    pub attributes: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl ExtendedAttributes {
    /// The bytes to seal, none for no attributes. `None` if they are too many.
    #[must_use]
    pub fn encode(&self) -> Option<Vec<u8>> {
        if self.attributes.is_empty() {
            return Some(Vec::new());
        }
        let mut writer = Writer::new(MAGIC, VERSION);
        writer.u32(u32::try_from(self.attributes.len()).ok()?);
        for (name, value) in &self.attributes {
            writer.u16(u16::try_from(name.len()).ok()?).raw(name);
            writer.u32(u32::try_from(value.len()).ok()?).raw(value);
        }
        let bytes = writer.finish();
        (bytes.len() <= META_MAX).then_some(bytes)
    }

    /// Reads what was sealed.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut attributes = BTreeMap::new();
        if bytes.is_empty() {
            return Ok(Self { attributes });
        }
        let mut reader = Reader::new(bytes, MAGIC, VERSION, "metadata field")?;
        let count = reader.u32()?;
        let mut before: Option<&[u8]> = None;
        for _ in 0..count {
            let name_len = usize::from(reader.u16()?);
            let name = reader.take(name_len)?;
            if name.is_empty() || name.contains(&0) || before.is_some_and(|before| before >= name) {
                return Err(DecodeError::Invalid("name of an attribute"));
            }
            before = Some(name);
            let value_len = usize::try_from(reader.u32()?).map_err(|_| DecodeError::Truncated)?;
            attributes.insert(name.to_vec(), reader.take(value_len)?.to_vec());
        }
        reader.end()?;
        if attributes.is_empty() {
            return Err(DecodeError::Invalid("metadata field without attributes"));
        }
        Ok(Self { attributes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(pairs: &[(&str, &[u8])]) -> ExtendedAttributes {
        let attributes = pairs.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec())).collect();
        ExtendedAttributes { attributes }
    }

    #[test]
    fn the_bytes_are_frozen() {
        let bytes = meta(&[("user.b", b"2"), ("user.a", b"")]).encode().unwrap();
        assert_eq!(hex::encode(&bytes), "6379785801020000000600757365722e61000000000600757365722e620100000032");
        assert_eq!(ExtendedAttributes::decode(&bytes).unwrap(), meta(&[("user.a", b""), ("user.b", b"2")]));
    }

    #[test]
    fn no_attributes_are_no_bytes() {
        assert_eq!(ExtendedAttributes::default().encode(), Some(Vec::new()));
        assert_eq!(ExtendedAttributes::decode(&[]), Ok(ExtendedAttributes::default()));
    }

    #[test]
    fn every_cut_and_every_other_order_is_refused() {
        let bytes = meta(&[("user.a", b"xyz"), ("user.b", b"2")]).encode().unwrap();
        for cut in 1..bytes.len() {
            assert!(ExtendedAttributes::decode(&bytes[..cut]).is_err(), "{cut}");
        }
        let mut swapped = bytes.clone();
        let (first, second) =
            (bytes.windows(6).position(|at| at == b"user.a"), bytes.windows(6).position(|at| at == b"user.b"));
        swapped[first.unwrap() + 5] = b'b';
        swapped[second.unwrap() + 5] = b'a';
        assert!(ExtendedAttributes::decode(&swapped).is_err());
        assert!(ExtendedAttributes::decode(&[&bytes[..], b"x"].concat()).is_err());
    }

    #[test]
    fn more_than_a_field_holds_is_refused() {
        let large = vec![7; VALUE_MAX];
        assert!(meta(&[("user.a", &large)]).encode().is_some());
        assert_eq!(meta(&[("user.a", &large), ("user.b", &large)]).encode(), None);
    }
}
