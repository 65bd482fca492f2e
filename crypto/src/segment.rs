//! A blob that becomes a segment of its own: sealed, coded and hashed in one go over its bytes.
//!
//! Sealing needs whole frames, coding columns of all shards. What is done at a time are columns, and with them the frames in which they lie;
//! of a frame that reaches into the next shard, that shard takes care.

use std::ops::Range;

use cyx_core::chunk::Root;
use cyx_core::erasure::Coder;
use cyx_core::segment;
use cyx_core::units::FRAME_TAG;

use crate::frames::{BlobCipher, WrongLength};

#[expect(clippy::cast_possible_truncation, reason = "16")]
const TAG: usize = FRAME_TAG as usize;

/// Seals a blob, which lies at the beginning of a buffer of n shards with room for a tag behind each frame, pads its last shard with zeros, and
/// computes the parity and the root of each shard.
///
/// # Errors
/// [`WrongLength`] unless these are n shards of equal length with room for the blob; then nothing was written.
pub fn seal_and_code(cipher: &BlobCipher, coder: &Coder, shards: &mut [u8]) -> Result<Vec<Root>, WrongLength> {
    seal_with(cipher, coder, shards, |first, room| cipher.seal_in_place(first, room))
}

/// As [`seal_and_code`], of a blob whose plain bytes lie elsewhere, in pieces of any length that follow each other.
///
/// # Errors
/// [`WrongLength`] also if the pieces are not as long as the blob.
pub fn seal_pieces_and_code<P: AsRef<[u8]>>(
    cipher: &BlobCipher,
    coder: &Coder,
    shards: &mut [u8],
    pieces: &[P],
) -> Result<Vec<Root>, WrongLength> {
    let pieces = Pieces::new(pieces);
    if pieces.len as u64 != cipher.header().plain_len() {
        return Err(WrongLength { expected: cipher.header().plain_len(), given: pieces.len as u64 });
    }
    seal_with(cipher, coder, shards, |first, room| pieces.seal(cipher, first, room))
}

/// `seal` is given the index of the first of some frames and the room for them, in which what was there before still is.
fn seal_with(
    cipher: &BlobCipher,
    coder: &Coder,
    shards: &mut [u8],
    mut seal: impl FnMut(u64, &mut [u8]) -> Result<(), WrongLength>,
) -> Result<Vec<Root>, WrongLength> {
    let scheme = coder.scheme();
    let (shard_len, header) = (shards.len() / scheme.n(), cipher.header());
    let data_len = shard_len * scheme.k();
    let wrong = WrongLength { expected: header.sealed_len(), given: data_len as u64 };
    let sealed_len = usize::try_from(header.sealed_len()).map_err(|_| wrong)?;
    if shard_len * scheme.n() != shards.len() || sealed_len > data_len {
        return Err(wrong);
    }
    shards[sealed_len..data_len].fill(0);
    let frame = header.frame_plain() as usize + TAG;
    let mut sealed = Ok(());
    let roots = segment::code(coder, shards, |data, bytes| {
        let frames = frames_of(&bytes, shard_len, data_len, frame);
        let place = frames.start * frame..(frames.end * frame).min(sealed_len);
        if let Some(room) = data.get_mut(place).filter(|room| !room.is_empty()) {
            sealed = sealed.and_then(|()| seal(frames.start as u64, room));
        }
    });
    sealed?;
    roots.map_err(|_| wrong)
}

/// The frames that are sealed before these bytes of a shard are used.
fn frames_of(bytes: &Range<usize>, shard_len: usize, data_len: usize, frame: usize) -> Range<usize> {
    let shard = bytes.start / shard_len * shard_len;
    let start = if bytes.start == shard { shard / frame } else { bytes.start.div_ceil(frame) };
    let next = shard + shard_len;
    let end = if next < data_len { next / frame } else { usize::MAX };
    start..bytes.end.div_ceil(frame).min(end)
}

/// Plain bytes in pieces, and where each begins.
struct Pieces<'a> {
    pieces: Vec<(usize, &'a [u8])>,
    len: usize,
}

impl<'a> Pieces<'a> {
    fn new(pieces: &'a [impl AsRef<[u8]>]) -> Self {
        let mut len = 0;
        let mut placed = |piece: &'a [u8]| {
            let start = len;
            len += piece.len();
            (start, piece)
        };
        let pieces = pieces.iter().map(|piece| placed(piece.as_ref())).collect();
        Self { pieces, len }
    }

    /// What follows from there on in one piece; nothing behind the end.
    fn at(&self, offset: usize) -> &'a [u8] {
        let next = self.pieces.partition_point(|(start, _)| *start <= offset);
        let piece = next.checked_sub(1).and_then(|last| self.pieces.get(last));
        piece.and_then(|(start, piece)| piece.get(offset - start..)).unwrap_or_default()
    }

    /// Seals frames into the room for them: out of a piece if they lie in one, so that they are not copied, and else where they belong.
    fn seal(&self, cipher: &BlobCipher, first: u64, mut room: &mut [u8]) -> Result<(), WrongLength> {
        let size = cipher.header().frame_plain() as usize;
        let mut frame = usize::try_from(first).unwrap_or(usize::MAX);
        while !room.is_empty() {
            let plain = room.len() - room.len().div_ceil(size + TAG) * TAG;
            let here = self.at(frame * size);
            let together = if here.len() < plain { here.len() / size * size } else { plain };
            let len = if together > 0 { together } else { plain.min(size) };
            let (sealed, rest) = room.split_at_mut(len + len.div_ceil(size) * TAG);
            if together > 0 {
                cipher.seal_frames(frame as u64, &here[..together], sealed)?;
            } else {
                self.copy(frame * size, &mut sealed[..len]);
                cipher.seal_in_place(frame as u64, sealed)?;
            }
            (frame, room) = (frame + len.div_ceil(size), rest);
        }
        Ok(())
    }

    fn copy(&self, mut offset: usize, mut to: &mut [u8]) {
        while !to.is_empty() {
            let here = self.at(offset);
            let len = here.len().min(to.len());
            if len == 0 {
                return;
            }
            to[..len].copy_from_slice(&here[..len]);
            (offset, to) = (offset + len, &mut to[len..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::BlobKey;
    use cyx_core::chunk::root;
    use cyx_core::extent::BlobHeader;
    use cyx_core::ids::BlobId;
    use cyx_core::scheme::Scheme;
    use cyx_core::segment::shard_len;
    use proptest::prelude::*;

    fn cipher(len: u64) -> BlobCipher {
        BlobCipher::new(&BlobKey::from_bytes([7; 32]), BlobId([3; 16]), BlobHeader::new(len).unwrap())
    }

    fn check(scheme: Scheme, len: u64) {
        let (cipher, coder) = (cipher(len), Coder::new(scheme));
        let sealed_len = cipher.header().sealed_len();
        let shard = usize::try_from(shard_len(scheme, sealed_len)).unwrap();
        let sealed_len = usize::try_from(sealed_len).unwrap();
        let mut expected: Vec<u8> = (0..shard * scheme.n()).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let mut shards = expected.clone();
        let frame = usize::try_from(cipher.header().sealed_range(0..1).end).unwrap();
        let plain: Vec<u8> =
            shards[..sealed_len].chunks(frame).flat_map(|frame| &frame[..frame.len() - TAG]).copied().collect();
        cipher.seal_in_place(0, &mut expected[..sealed_len]).unwrap();
        expected[sealed_len..shard * scheme.k()].fill(0);
        coder.encode_in_place(&mut expected).unwrap();
        let roots = seal_and_code(&cipher, &coder, &mut shards).unwrap();
        assert!(shards == expected, "{scheme}, {len}");
        assert_eq!(roots, expected.chunks_exact(shard).map(root).collect::<Vec<_>>());
        // Out of pieces: odd ones, long ones, some of whole frames, and empty ones.
        for lengths in [[1, 7, 0, 50_000], [16_384, 3 * 16_384, 1, 1 << 20], [1 << 22, 1, 0, 16_383]] {
            let mut rest = &plain[..];
            let mut pieces = Vec::new();
            let mut lengths = lengths.into_iter().cycle();
            while !rest.is_empty() {
                let (piece, others) = rest.split_at(rest.len().min(lengths.next().unwrap()));
                pieces.push(piece);
                rest = others;
            }
            let mut shards = vec![9; shards.len()];
            assert_eq!(seal_pieces_and_code(&cipher, &coder, &mut shards, &pieces).unwrap(), roots);
            assert!(shards == expected, "{scheme}, {len}");
            assert!(seal_pieces_and_code(&cipher, &coder, &mut shards, &pieces[1..]).is_err());
        }
    }

    #[test]
    fn whole_segments_and_odd_ones_are_what_one_step_after_the_other_makes() {
        for scheme in [Scheme::DEFAULT, Scheme::LADDER[3], Scheme::SINGLE] {
            for len in [1, 16_383, 16_384, 16_385, 320 * 16_384, 10 * 16_384 + 5] {
                check(scheme, len);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn so_does_any_length_under_any_scheme((k, m) in (1_u32..=20, 0_u32..=6), len in 1_u64..3_000_000) {
            check(Scheme::new(k, m).unwrap(), len);
        }
    }

    #[test]
    fn without_room_nothing_happens() {
        let (cipher, coder) = (cipher(100), Coder::new(Scheme::DEFAULT));
        for len in [0, 14, 14 * 11, 14 * 12 + 1] {
            let mut shards = vec![9; len];
            assert!(seal_and_code(&cipher, &coder, &mut shards).is_err());
            assert!(shards.iter().all(|byte| *byte == 9));
        }
    }
}
