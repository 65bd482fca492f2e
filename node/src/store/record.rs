//! The byte layout of volumes: a file header, then records, each a header, a chunk and the values of its groups.
//!
//! `docs/formats/volumes.md` has the layout in full. Every header carries a check keyed with the store's own secret, so a
//! record can be recognised wherever it stands, and a chunk whose bytes imitate a record cannot fool a recovery.

use cyx_core::chunk::Root;
use cyx_core::ids::{BucketTag, ChunkId, NodeId};
use cyx_core::units::CHUNK_MAX;
use cyx_core::wire::{DecodeError, Reader, Writer};

use super::groups;

/// Records begin at multiples of this, so that appending never rewrites a block that is durable already.
pub(crate) const ALIGN: u64 = 4096;
/// Bytes of a volume before its first record.
pub(crate) const VOLUME_HEADER: u64 = ALIGN;
/// Bytes of a record's header.
pub(crate) const RECORD_HEADER: u64 = 128;

const VOLUME_MAGIC: &[u8; 4] = b"cyxV";
const RECORD_MAGIC: &[u8; 4] = b"cyxE";
const MARKER_MAGIC: &[u8; 4] = b"cyxB";
const VERSION: u8 = 1;
const CHECK: usize = 16;
const VOLUME_HEADER_USED: usize = 64;
const RECORD_HEADER_LEN: usize = 128;
const MARKER_LEN: usize = 80;

/// The secret under which the headers of one store are checked; also tells stores apart.
pub(crate) type StoreKey = [u8; 32];

/// What a record's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) id: ChunkId,
    pub(crate) tag: BucketTag,
    pub(crate) len: u64,
    pub(crate) root: Root,
    pub(crate) stored_at: u64,
}

fn check(key: &StoreKey, bytes: &[u8]) -> [u8; CHECK] {
    let hash = blake3::keyed_hash(key, bytes);
    let mut check = [0; CHECK];
    check.copy_from_slice(&hash.as_bytes()[..CHECK]);
    check
}

/// Pads with zeros and appends the check.
fn seal<const N: usize>(key: &StoreKey, mut bytes: Vec<u8>) -> [u8; N] {
    bytes.resize(N - CHECK, 0);
    let check = check(key, &bytes);
    bytes.extend_from_slice(&check);
    let mut sealed = [0; N];
    sealed.copy_from_slice(&bytes);
    sealed
}

fn open<'a, const N: usize>(
    key: &StoreKey,
    bytes: &'a [u8],
    magic: &[u8; 4],
    what: &'static str,
) -> Result<Reader<'a>, DecodeError> {
    let bytes = bytes.get(..N).ok_or(DecodeError::Truncated)?;
    let (body, found) = bytes.split_at(N - CHECK);
    let reader = Reader::new(body, magic, VERSION, what)?;
    if check(key, body) != found {
        return Err(DecodeError::Invalid("check"));
    }
    Ok(reader)
}

/// The first bytes of volume `number`. They carry the key, so that volumes that lost their index can still be read.
pub(crate) fn encode_volume_header(key: &StoreKey, number: u32) -> Vec<u8> {
    let mut writer = Writer::new(VOLUME_MAGIC, VERSION);
    writer.u32(number).raw(key);
    let mut header = seal::<VOLUME_HEADER_USED>(key, writer.finish()).to_vec();
    header.resize(usize::try_from(VOLUME_HEADER).unwrap_or(VOLUME_HEADER_USED), 0);
    header
}

/// Checks that a file is volume `number` of this store.
pub(crate) fn check_volume_header(key: &StoreKey, number: u32, bytes: &[u8]) -> Result<(), DecodeError> {
    let mut reader = open::<VOLUME_HEADER_USED>(key, bytes, VOLUME_MAGIC, "volume")?;
    match (reader.u32()? == number, reader.array::<32>()? == *key) {
        (true, true) => Ok(()),
        _ => Err(DecodeError::Invalid("another volume")),
    }
}

/// The key that a volume's header carries, if the header is whole.
pub(crate) fn volume_key(bytes: &[u8]) -> Option<StoreKey> {
    let key: StoreKey = *bytes.get(9..)?.first_chunk()?;
    open::<VOLUME_HEADER_USED>(&key, bytes, VOLUME_MAGIC, "volume").ok().map(|_| key)
}

/// What says in a bucket whose volumes lie there: the node and the key of its store.
pub(crate) fn encode_marker(key: &StoreKey, owner: NodeId) -> [u8; MARKER_LEN] {
    let mut writer = Writer::new(MARKER_MAGIC, VERSION);
    writer.raw(&owner.0).raw(key);
    seal(key, writer.finish())
}

/// The node and the key that a marker names.
pub(crate) fn decode_marker(bytes: &[u8]) -> Result<(NodeId, StoreKey), DecodeError> {
    let key: StoreKey = *bytes.get(21..).and_then(<[u8]>::first_chunk).ok_or(DecodeError::Truncated)?;
    let mut reader = open::<MARKER_LEN>(&key, bytes, MARKER_MAGIC, "marker")?;
    Ok((NodeId(reader.array()?), key))
}

impl RecordHeader {
    pub(crate) fn encode(&self, key: &StoreKey) -> [u8; RECORD_HEADER_LEN] {
        let mut writer = Writer::new(RECORD_MAGIC, VERSION);
        writer.raw(&self.id.0).raw(&self.tag.0).u64(self.len).raw(&self.root).u64(self.stored_at);
        seal(key, writer.finish())
    }

    pub(crate) fn decode(key: &StoreKey, bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = open::<RECORD_HEADER_LEN>(key, bytes, RECORD_MAGIC, "record")?;
        let header = Self {
            id: ChunkId(reader.array()?),
            tag: BucketTag(reader.array()?),
            len: reader.u64()?,
            root: reader.array()?,
            stored_at: reader.u64()?,
        };
        if header.len == 0 || header.len > CHUNK_MAX {
            return Err(DecodeError::Invalid("length"));
        }
        Ok(header)
    }
}

/// Bytes of a record with a chunk of `len` bytes, without padding.
pub(crate) const fn record_len(len: u64) -> u64 {
    RECORD_HEADER + len + groups::stored_count(len) * groups::VALUE_LEN as u64
}

/// Bytes that a record takes from its volume, padding included.
pub(crate) const fn span(len: u64) -> u64 {
    record_len(len).next_multiple_of(ALIGN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: StoreKey = [7; 32];

    fn example() -> RecordHeader {
        RecordHeader { id: ChunkId([1; 16]), tag: BucketTag([2; 16]), len: 9, root: [3; 32], stored_at: 4 }
    }

    #[test]
    fn headers_are_frozen() {
        let bytes = example().encode(&KEY);
        assert_eq!(hex::encode(&bytes[..21]), "6379784501".to_owned() + &"01".repeat(16));
        assert_eq!(hex::encode(&bytes[112..]), "be0f545d2a6aa9d8fe1b75eac4fc3f52");
        let marker = encode_marker(&KEY, NodeId([4; 16]));
        assert_eq!(hex::encode(&marker[..21]), "6379784201".to_owned() + &"04".repeat(16));
        assert_eq!(decode_marker(&marker), Ok((NodeId([4; 16]), KEY)));
        for at in 0..marker.len() {
            let mut changed = marker;
            changed[at] ^= 1;
            assert!(decode_marker(&changed).is_err() && decode_marker(&marker[..at]).is_err(), "byte {at}");
        }
        let volume = encode_volume_header(&KEY, 5);
        assert_eq!(volume.len(), 4096);
        assert_eq!(hex::encode(&volume[..9]), "637978560105000000");
    }

    #[test]
    fn a_header_is_believed_whole_and_under_its_own_key_only() {
        let bytes = example().encode(&KEY);
        assert_eq!(RecordHeader::decode(&KEY, &bytes), Ok(example()));
        assert!(RecordHeader::decode(&[8; 32], &bytes).is_err());
        for at in 0..bytes.len() {
            let mut changed = bytes;
            changed[at] ^= 0x10;
            assert!(RecordHeader::decode(&KEY, &changed).is_err(), "byte {at}");
            assert!(RecordHeader::decode(&KEY, &bytes[..at]).is_err(), "cut at {at}");
        }
        let volume = encode_volume_header(&KEY, 5);
        assert_eq!(check_volume_header(&KEY, 5, &volume), Ok(()));
        assert!(check_volume_header(&KEY, 6, &volume).is_err());
        assert!(check_volume_header(&[8; 32], 5, &volume).is_err());
        assert_eq!(volume_key(&volume), Some(KEY));
        assert_eq!(volume_key(&[0; 4096]), None);
        assert_eq!(volume_key(&volume[..63]), None);
    }

    #[test]
    fn lengths_out_of_bounds_are_refused() {
        for len in [0, CHUNK_MAX + 1] {
            let bytes = RecordHeader { len, ..example() }.encode(&KEY);
            assert!(RecordHeader::decode(&KEY, &bytes).is_err());
        }
    }

    #[test]
    fn spans_are_whole_blocks() {
        assert_eq!(record_len(100), 228);
        assert_eq!(span(100), 4096);
        assert_eq!(record_len(16_385), 128 + 16_385 + 64);
        assert_eq!(span(524_800), 528_384);
    }
}
