//! Frames: the fast implementation against the reference, and what a liar can do with them.

use cyx_core::extent::BlobHeader;
use cyx_core::ids::BlobId;
use cyx_crypto::Undecryptable;
use cyx_crypto::frames::{BlobCipher, WrongLength};
use cyx_crypto::keys::BlobKey;
use proptest::prelude::*;

use crate::reference;
use crate::support::{Numbers, assert_frozen};

const KEY: [u8; 32] = [0x11; 32];
const BLOB: BlobId = BlobId([0x22; 16]);
const FRAME: u32 = 1024;
const SEALED: usize = 1024 + 16;

fn cipher(plain_len: usize) -> BlobCipher {
    let header = BlobHeader::with_frames(plain_len as u64, FRAME).unwrap();
    BlobCipher::new(&BlobKey::from_bytes(KEY), BLOB, header)
}

fn seal(plain: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::new();
    cipher(plain.len()).seal(plain, &mut sealed).unwrap();
    sealed
}

fn open(plain_len: usize, sealed: &[u8]) -> Result<Vec<u8>, Undecryptable> {
    let mut plain = Vec::new();
    cipher(plain_len).open_frames(0, sealed, &mut plain).map(|()| plain)
}

#[test]
fn frames_are_frozen() {
    let plain = Numbers(1).bytes(1100);
    let sealed = reference::frames(&KEY, &BLOB.0, 1024, &plain);
    assert_frozen("blob-frames", &sealed);
    assert_eq!(seal(&plain), sealed);
    assert_eq!(open(1100, &sealed), Ok(plain));
}

#[test]
fn frames_of_the_usual_size_equal_the_reference() {
    let plain = Numbers(2).bytes(3 * 16_384 + 5);
    let header = BlobHeader::new(plain.len() as u64).unwrap();
    let mut sealed = Vec::new();
    BlobCipher::new(&BlobKey::from_bytes(KEY), BLOB, header).seal(&plain, &mut sealed).unwrap();
    assert!(sealed == reference::frames(&KEY, &BLOB.0, 16_384, &plain));
    assert_eq!(sealed.len() as u64, header.sealed_len());
}

#[test]
fn frames_that_are_moved_swapped_or_cut_do_not_open() {
    let plain = Numbers(3).bytes(4096);
    let sealed = seal(&plain);
    let frame = |index: usize| sealed[index * SEALED..(index + 1) * SEALED].to_vec();
    let swapped = [frame(1), frame(0), frame(2), frame(3)].concat();
    assert_eq!(open(4096, &swapped), Err(Undecryptable));
    let repeated = [frame(0), frame(0), frame(2), frame(3)].concat();
    assert_eq!(open(4096, &repeated), Err(Undecryptable));
    // The end cannot be moved, not even by whoever changes the length too.
    assert_eq!(open(3072, &sealed[..3 * SEALED]), Err(Undecryptable));
    assert_eq!(open(4096, &sealed[..3 * SEALED + 500]), Err(Undecryptable));
    let mut out = vec![7];
    assert_eq!(cipher(4096).open_frames(1, &frame(0), &mut out), Err(Undecryptable));
    assert_eq!(cipher(4096).open_frames(9, &frame(0), &mut out), Err(Undecryptable));
    assert_eq!(cipher(4096).open_frames(u64::MAX, &frame(0), &mut out), Err(Undecryptable));
    assert_eq!(out, [7], "nothing was added");
    assert_eq!(cipher(4096).open_frames(2, &[frame(2), frame(3)].concat(), &mut out), Ok(()));
    assert!(out[1..] == plain[2048..]);
}

#[test]
fn another_blob_key_or_frame_size_does_not_open() {
    let plain = Numbers(4).bytes(2000);
    let sealed = seal(&plain);
    let header = cipher(2000).header();
    let mut out = Vec::new();
    let other_key = BlobCipher::new(&BlobKey::from_bytes([0x12; 32]), BLOB, header);
    assert_eq!(other_key.open_frames(0, &sealed, &mut out), Err(Undecryptable));
    let other_blob = BlobCipher::new(&BlobKey::from_bytes(KEY), BlobId([0x23; 16]), header);
    assert_eq!(other_blob.open_frames(0, &sealed, &mut out), Err(Undecryptable));
    let other_size = BlobHeader::with_frames(2000, 2 * FRAME).unwrap();
    let other_size = BlobCipher::new(&BlobKey::from_bytes(KEY), BLOB, other_size);
    assert_eq!(other_size.open_frames(0, &sealed, &mut out), Err(Undecryptable));
    assert_eq!(out, [0_u8; 0]);
}

#[test]
fn every_changed_byte_is_noticed() {
    let sealed = seal(&Numbers(5).bytes(1500));
    for at in (0..sealed.len()).step_by(7) {
        let mut changed = sealed.clone();
        changed[at] ^= 0x40;
        let mut out = vec![0xff; 1500];
        assert_eq!(cipher(1500).open_into(0, &changed, &mut out), Err(Undecryptable), "byte {at}");
        assert!(out.iter().all(|byte| *byte == 0), "nothing is shown of what may be false");
    }
}

#[test]
fn frames_that_are_opened_where_they_lie_close_their_ranks() {
    for len in [1, 1023, 1024, 1025, 3000, 4096] {
        let plain = Numbers(6).bytes(len);
        let mut buffer = seal(&plain);
        assert_eq!(cipher(len).open_within(0, &mut buffer), Ok(len));
        assert_eq!(buffer[..len], plain);
    }
    // A part of a blob, its short last frame included.
    let plain = Numbers(6).bytes(3000);
    let mut part = seal(&plain)[SEALED..].to_vec();
    assert_eq!(cipher(3000).open_within(1, &mut part), Ok(3000 - 1024));
    assert_eq!(part[..3000 - 1024], plain[1024..]);
    assert_eq!(cipher(3000).open_within(0, &mut seal(&plain)[SEALED..].to_vec()), Err(Undecryptable), "other frames");
    assert_eq!(
        cipher(3000).open_within(0, &mut seal(&plain)[..SEALED + 1].to_vec()),
        Err(Undecryptable),
        "a torn frame"
    );
}

#[test]
fn a_buffer_that_does_not_open_stays_as_it_was() {
    let sealed = seal(&Numbers(7).bytes(3500));
    for at in (0..sealed.len()).step_by(13) {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        let mut buffer = changed.clone();
        assert_eq!(cipher(3500).open_within(0, &mut buffer), Err(Undecryptable), "byte {at}");
        assert!(buffer == changed, "byte {at}");
    }
}

#[test]
fn plain_bytes_have_the_tags_that_they_would_be_sealed_with() {
    let plain = Numbers(8).bytes(3000);
    let sealed = seal(&plain);
    let cipher = cipher(3000);
    let in_sealed: Vec<_> = cipher.tags_in(&sealed).collect();
    assert_eq!(in_sealed.len(), 3);
    assert_eq!(in_sealed[2], sealed[sealed.len() - 16..]);
    assert_eq!(cipher.tags_of(0, plain.chunks(1024)), Ok(in_sealed.clone()));
    assert_eq!(cipher.tags_of(1, plain[1024..].chunks(1024)), Ok(in_sealed[1..].to_vec()));
    let mut other = plain.clone();
    other[2999] ^= 1;
    assert_ne!(cipher.tags_of(0, other.chunks(1024)), Ok(in_sealed));
    assert!(cipher.tags_of(0, plain.chunks(1000)).is_err(), "not its frames");
    assert!(cipher.tags_of(0, [&[0; 2000][..]]).is_err(), "longer than a frame");
}

#[test]
fn plain_bytes_of_another_length_are_refused() {
    let mut out = vec![1];
    let error = Err(WrongLength { expected: 100, given: 99 });
    assert_eq!(cipher(100).seal(&[0; 99], &mut out), error);
    assert_eq!(out, [1]);
    assert!(cipher(3000).seal_frames(0, &[0; 1000], &mut [0; 1016]).is_err(), "a short frame that is not the last");
    assert!(cipher(3000).seal_frames(3, &[0; 1024], &mut [0; SEALED]).is_err(), "a frame beyond the end");
    assert!(cipher(3000).seal_in_place(0, &mut [0; SEALED - 1]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Sealing at once, frame by frame and in place makes the reference's bytes, and any run of frames opens.
    #[test]
    fn all_ways_to_seal_and_open_agree(len in prop_oneof![1_usize..40, 1020_usize..1030, 1_usize..20_000], seed: u64) {
        let mut numbers = Numbers(seed);
        let plain = numbers.bytes(len);
        let sealed = seal(&plain);
        prop_assert!(sealed == reference::frames(&KEY, &BLOB.0, 1024, &plain));

        let cipher = cipher(len);
        let mut by_frame = vec![0xee; sealed.len()];
        for (index, (plain, sealed)) in plain.chunks(1024).zip(by_frame.chunks_mut(SEALED)).enumerate() {
            cipher.seal_frames(index as u64, plain, sealed).unwrap();
        }
        prop_assert!(by_frame == sealed);

        let mut in_place: Vec<u8> = plain.chunks(1024).flat_map(|frame| [frame, &[0x99; 16]].concat()).collect();
        cipher.seal_in_place(0, &mut in_place).unwrap();
        prop_assert!(in_place == sealed);

        let start = numbers.below(len) as u64;
        let range = start..start + 1 + numbers.below(len) as u64;
        let frames = cipher.header().frames_of(range);
        let bytes = |range: std::ops::Range<u64>| usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        let mut opened = Vec::new();
        cipher.open_frames(frames.start, &sealed[bytes(cipher.header().sealed_range(frames.clone()))], &mut opened).unwrap();
        prop_assert!(opened == plain[bytes(cipher.header().plain_range(frames))]);
    }
}
