//! Identifiers: one type each, so that the compiler refuses to mix them.
//!
//! Every id is 16 bytes and shown as 32 lower-case hexadecimal digits. Ids chosen at random are made by [`Random::random`], those of
//! things that clients make by the thousand by [`TimeOrdered::now`]; ids that are derived from something have a constructor that says
//! from what.

use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use thiserror::Error;

/// Bytes in every id.
pub const ID_LEN: usize = 16;

/// A byte string or a text was not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a {kind}: expected {ID_LEN} bytes or {} hexadecimal digits", ID_LEN * 2)]
pub struct InvalidId {
    /// Name of the id type that was expected.
    pub kind: &'static str,
}

/// Ids that are drawn at random.
pub trait Random: Sized {
    /// Draws a new id from the operating system's generator.
    ///
    /// # Panics
    /// If the operating system cannot give random bytes, which leaves nothing safe to do.
    fn random() -> Self;
}

/// Ids that begin with the time at which they were made: 48 bits of Unix milliseconds, big-endian, before 80 random bits.
///
/// What is made together then lies together in the indexes that databases keep of ids, where each of a thousand random ids would change a
/// page of its own. The layout is that of UUID version 7 (RFC 9562, section 5.7) without its fixed bits. Nothing but speed depends on the
/// order, so a wrong clock does no harm.
pub trait TimeOrdered: Sized {
    /// Makes a new id.
    ///
    /// # Panics
    /// If the operating system cannot give random bytes, which leaves nothing safe to do.
    fn now() -> Self;
}

/// Bytes of time at the beginning of a [`TimeOrdered`] id.
const TIME_LEN: usize = 6;

fn time_ordered(since_epoch_ms: u64) -> [u8; ID_LEN] {
    let mut bytes = random_bytes::<ID_LEN>();
    let [_, _, time @ ..] = since_epoch_ms.to_be_bytes();
    bytes[..TIME_LEN].copy_from_slice(&time);
    bytes
}

macro_rules! time_ordered {
    ($($name:ident),*) => {$(
        impl TimeOrdered for $name {
            fn now() -> Self {
                // A clock before 1970 gives ids that are as good, in another place.
                let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Self(time_ordered(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)))
            }
        }
    )*};
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; ID_LEN]);

        impl $name {
            /// The bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; ID_LEN] {
                &self.0
            }

            /// The bytes as a vector, as the wire and the database want them.
            #[must_use]
            pub fn to_vec(self) -> Vec<u8> {
                self.0.to_vec()
            }
        }

        impl Random for $name {
            fn random() -> Self {
                Self(random_bytes())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let mut bytes = [0; ID_LEN];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidId { kind: stringify!($name) })?;
                Ok(Self(bytes))
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = InvalidId;
            fn try_from(bytes: &[u8]) -> Result<Self, InvalidId> {
                bytes.try_into().map(Self).map_err(|_| InvalidId { kind: stringify!($name) })
            }
        }

        impl From<[u8; ID_LEN]> for $name {
            fn from(bytes: [u8; ID_LEN]) -> Self {
                Self(bytes)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(
    /// A person's or a machine's account.
    AccountId
);
id!(
    /// A bucket: a tree with one root key.
    BucketId
);
id!(
    /// A file, directory, symbolic link or special file. Unique inside its bucket; chosen by the client.
    InodeId
);
id!(
    /// A run of a file's bytes that is encrypted as one unit. Unique inside its bucket; chosen by the client.
    BlobId
);
id!(
    /// The erasure-coded container of one large blob or of a pack of small ones. Globally unique; chosen by the client.
    SegmentId
);
id!(
    /// One coded piece as a node sees it; derived from its segment by [`crate::chunk::chunk_id`].
    ChunkId
);
id!(
    /// An ordered list of nodes that holds the shards of many segments.
    PlacementId
);
id!(
    /// A client's time-limited right to use a placement.
    LeaseId
);
id!(
    /// A grant, so that a node can count what was used of it.
    GrantId
);
id!(
    /// What a node is to do for the network; its receipt names it as its grant.
    TaskId
);
id!(
    /// A storage node; derived from its public key by [`NodeId::from_public_key`].
    NodeId
);
id!(
    /// A logged-in device.
    SessionId
);
id!(
    /// A machine that may run a storage node, as its operator registered it.
    MachineId
);
id!(
    /// A key of a program; chosen by who makes it.
    ApiKeyId
);
id!(
    /// One attempt to change the tree; repeating it with the same id changes nothing more.
    TxnId
);
id!(
    /// What a node knows a bucket by; different on every node.
    BucketTag
);
id!(
    /// A writer's signing key: see [`crate::sign::key_id`].
    KeyId
);
id!(
    /// One entry of a trash.
    TrashId
);

time_ordered!(InodeId, BlobId, TxnId);

impl NodeId {
    /// `BLAKE3-derive("cyx v1 node id", public key)[..16]`.
    #[must_use]
    pub fn from_public_key(public_key: &[u8; 32]) -> Self {
        Self(derive(NODE_ID_CONTEXT, public_key))
    }
}

const NODE_ID_CONTEXT: &str = "cyx v1 node id";

/// The first 16 bytes of BLAKE3 in key derivation mode.
#[must_use]
pub fn derive(context: &'static str, input: &[u8]) -> [u8; ID_LEN] {
    let hash = blake3::derive_key(context, input);
    let mut id = [0; ID_LEN];
    id.copy_from_slice(&hash[..ID_LEN]);
    id
}

/// Fresh random bytes from the operating system.
///
/// # Panics
/// If the operating system cannot give any.
#[must_use]
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips() {
        let id = InodeId::random();
        assert_eq!(id.to_string().parse::<InodeId>(), Ok(id));
        assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{id}\""));
    }

    #[test]
    fn what_is_made_later_sorts_behind_and_what_is_made_at_once_differs() {
        let (earlier, later) = (time_ordered(0x0193_6b2f_00ff), time_ordered(0x0193_6b2f_0100));
        assert_eq!(hex::encode(&earlier[..TIME_LEN]), "01936b2f00ff");
        assert!(earlier < later);
        let (one, other) = (InodeId::now(), InodeId::now());
        assert_ne!(one.0[TIME_LEN..], other.0[TIME_LEN..]);
    }

    #[test]
    fn anything_else_is_refused() {
        assert!("12".parse::<InodeId>().is_err());
        assert!("zz".repeat(16).parse::<InodeId>().is_err());
        assert!(InodeId::try_from(&[0_u8; 15][..]).is_err());
    }

    #[test]
    fn node_ids_are_frozen() {
        assert_eq!(NodeId::from_public_key(&[7; 32]).to_string(), "b39fec1adda800280d49bb87d270ead3");
    }
}
