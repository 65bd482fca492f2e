//! Sizes and limits that programs must agree on.

/// 1,024 bytes.
pub const KIB: u64 = 1024;
/// 1,024 KiB.
pub const MIB: u64 = 1024 * KIB;
/// 1,024 MiB.
pub const GIB: u64 = 1024 * MIB;
/// 10^9 bytes, the unit of plans and of what operators offer.
pub const GB: u64 = 1_000_000_000;

/// Plain bytes in a frame, except a blob's last.
pub const FRAME_PLAIN: u64 = 16 * KIB;
/// Bytes that the authentication tag adds to a frame.
pub const FRAME_TAG: u64 = 16;
/// Bytes of a sealed frame, except a blob's last.
pub const FRAME_SEALED: u64 = FRAME_PLAIN + FRAME_TAG;
/// Blobs of at most this many plain bytes are stored inline, in the server's database.
pub const INLINE_MAX: u64 = 4096;
/// Files of at most this many plain bytes are packed into shared segments.
pub const PACK_FILE_MAX: u64 = 256 * KIB;
/// Frames per data shard in an ordinary full segment: 32 frames × 10 shards is 5 MiB of plain bytes.
pub const FRAMES_PER_SHARD: u64 = 32;
/// Frames per data shard in the largest segment: 256 frames × 10 shards is 40 MiB of plain bytes.
pub const FRAMES_PER_SHARD_MAX: u64 = 256;
/// Most bytes of one chunk that a node accepts (a plain copy of the largest segment, with room).
pub const CHUNK_MAX: u64 = 64 * MIB;
/// Most entries of one extent page.
pub const PAGE_ENTRIES_MAX: usize = 1024;
/// Names are padded to a multiple of this many bytes before they are encrypted.
pub const NAME_PADDING: usize = 16;
/// Longest plain name in bytes, as on every Unix filesystem.
pub const NAME_MAX: usize = 255;
/// Largest file in bytes unless the server is configured otherwise.
pub const FILE_MAX: u64 = 100 * GB;
/// Bytes of each node that the server reserves for the network's own needs.
pub const NODE_RESERVED: u64 = 2 * GIB;
/// What the reserve is for, by name: it adds up to [`NODE_RESERVED`].
pub const NODE_RESERVATION: [(&str, u64); 5] = [
    ("metadata_index", 500 * MIB),
    ("parity_buffer", 500 * MIB),
    ("rebalance_buffer", 500 * MIB),
    ("health_data", 256 * MIB),
    ("logs_and_metrics", 292 * MIB),
];
const _: () = {
    let (mut sum, mut at) = (0, 0);
    while at < NODE_RESERVATION.len() {
        sum += NODE_RESERVATION[at].1;
        at += 1;
    }
    assert!(sum == NODE_RESERVED, "the categories are the whole reserve");
};
/// Least bytes a node must offer: the reserve and 1 GiB to fill.
pub const NODE_MINIMUM: u64 = 3 * GIB;
/// Receipts older than this many seconds are refused.
pub const RECEIPT_LIFETIME_SECONDS: u64 = 24 * 3600;
/// Longest life of a grant in seconds.
pub const GRANT_LIFETIME_SECONDS: u64 = 3600;
/// Keep-lists never touch chunks younger than this many seconds.
pub const KEEP_LIST_MARGIN_SECONDS: u64 = 48 * 3600;
/// A node keeps what it was told to drop for this many seconds.
pub const NODE_TRASH_SECONDS: u64 = 7 * 24 * 3600;
/// Data is moved between disk, memory and wire in pieces of about this many bytes.
pub const PIECE: usize = 256 * 1024;
