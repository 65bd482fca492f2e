//! Short secrets as they stand in private files and REST bodies: base64 outside, zeroised inside.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Thirty-two secret bytes. Not `Debug`, not comparable.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret32([u8; 32]);

impl Secret32 {
    /// Draws a new one.
    #[must_use]
    pub fn random() -> Self {
        Self(cyx_core::ids::random_bytes())
    }

    /// Takes over bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes; do not copy them further than needed.
    #[must_use]
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Serialize for Secret32 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(STANDARD.encode(self.0)))
    }
}

impl<'de> Deserialize<'de> for Secret32 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        let mut bytes = Zeroizing::new([0; 32]);
        match STANDARD.decode_slice(text.as_bytes(), bytes.as_mut_slice()) {
            Ok(32) => Ok(Self(*bytes)),
            _ => Err(D::Error::custom("not 32 bytes in base64")),
        }
    }
}

/// Reads a secret text that is erased when dropped.
pub(crate) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}

/// Byte fields of REST bodies: standard base64 with padding.
pub(crate) mod base64_bytes {
    use super::{Deserialize, Deserializer, STANDARD, Serializer};
    use base64::Engine as _;
    use serde::de::Error as _;

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(deserializer)?).map_err(|_| D::Error::custom("not base64"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_round_trips_and_other_lengths_are_refused() {
        let text = serde_json::to_string(&Secret32::new([7; 32])).unwrap();
        assert_eq!(serde_json::from_str::<Secret32>(&text).unwrap().expose(), &[7; 32]);
        for wrong in [STANDARD.encode([7; 31]), STANDARD.encode([7; 33]), "~".into(), String::new()] {
            assert!(serde_json::from_str::<Secret32>(&format!("\"{wrong}\"")).is_err(), "{wrong}");
        }
    }
}
