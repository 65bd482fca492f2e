//! Content: a blob is sealed frame by frame, so that any 16 KiB of it can be read and checked alone.
//!
//! ```text
//! blob:  frames one after the other, nothing between them
//! frame: AES-256-GCM ciphertext (frame_plain bytes, the last frame may be shorter) | tag 16
//! nonce: frame index u64 | 0 0 0 0
//! associated data: format u8 | blob 16 | frame index u64 | last u8 (1 for the last frame, else 0)
//! ```
//! Frames that are swapped, left out, cut off or taken from another blob therefore do not open, and the end of a blob cannot be
//! moved. Nonces are counted, which is safe because a blob's key **must never** seal a second plaintext: a blob id and its
//! key are drawn together, used for one plaintext, and given up if that plaintext changes.
//!
//! `aws-lc-rs` does the work, several times faster than the `aes-gcm` that seals everything else; the tests hold both to the
//! same bytes.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use cyx_core::extent::BlobHeader;
use cyx_core::ids::BlobId;
use cyx_core::units::FRAME_TAG;

use zeroize::Zeroizing;

use crate::Undecryptable;
use crate::keys::BlobKey;

#[expect(clippy::cast_possible_truncation, reason = "16")]
const TAG: usize = FRAME_TAG as usize;
const AAD_LEN: usize = 26;

/// What authenticates a frame.
pub type FrameTag = [u8; TAG];

/// The buffers given do not fit the blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{given} bytes were given for {expected} bytes of frames")]
pub struct WrongLength {
    /// Bytes expected.
    pub expected: u64,
    /// Bytes given.
    pub given: u64,
}

/// Seals and opens the frames of one blob.
pub struct BlobCipher {
    key: LessSafeKey,
    blob: BlobId,
    header: BlobHeader,
}

impl BlobCipher {
    /// The cipher of a blob.
    #[must_use]
    pub fn new(key: &BlobKey, blob: BlobId, header: BlobHeader) -> Self {
        let key = match UnboundKey::new(&AES_256_GCM, key.expose()) {
            Ok(key) => LessSafeKey::new(key),
            Err(_) => unreachable!("a key of 32 bytes fits AES-256"),
        };
        Self { key, blob, header }
    }

    /// The header.
    #[must_use]
    pub const fn header(&self) -> BlobHeader {
        self.header
    }

    fn nonce(index: u64) -> Nonce {
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&index.to_le_bytes());
        Nonce::assume_unique_for_key(nonce)
    }

    fn associated(&self, index: u64) -> Aad<[u8; AAD_LEN]> {
        let mut bytes = [0; AAD_LEN];
        bytes[0] = self.header.format();
        bytes[1..17].copy_from_slice(&self.blob.0);
        bytes[17..25].copy_from_slice(&index.to_le_bytes());
        bytes[25] = u8::from(index + 1 == self.header.frames());
        Aad::from(bytes)
    }

    /// Seals the whole blob and appends it to `out`. `plain` must have exactly the header's length.
    ///
    /// # Errors
    /// [`WrongLength`]; then `out` is as it was.
    pub fn seal(&self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), WrongLength> {
        let start = out.len();
        let sealed = usize::try_from(self.header.sealed_len()).unwrap_or(usize::MAX);
        check_length(self.header.plain_len(), plain.len())?;
        out.resize(start + sealed, 0);
        self.seal_frames(0, plain, &mut out[start..])
    }

    /// Seals whole frames, the first of which has this index, from one buffer into another of their sealed length. `plain`
    /// holds full frames; only the blob's last may be shorter.
    ///
    /// # Errors
    /// [`WrongLength`]; then nothing was written.
    pub fn seal_frames(&self, first: u64, plain: &[u8], sealed: &mut [u8]) -> Result<(), WrongLength> {
        let size = self.header.frame_plain() as usize;
        let frames = first..first.saturating_add(plain.len().div_ceil(size) as u64);
        check_range(self.header.plain_range(frames.clone()), plain.len())?;
        check_range(self.header.sealed_range(frames), sealed.len())?;
        for (index, (plain, sealed)) in (first..).zip(plain.chunks(size).zip(sealed.chunks_mut(size + TAG))) {
            let (ciphertext, tag) = sealed.split_at_mut(plain.len());
            let associated = self.associated(index);
            // The buffers were measured above, which leaves nothing to fail.
            let _ = self.key.seal_out_of_place_scatter(Self::nonce(index), associated, plain, ciphertext, &[], tag);
        }
        Ok(())
    }

    /// Seals whole frames where they lie: `buffer` holds for each frame its plain bytes and 16 bytes of room for the tag.
    /// A file that is read into such a buffer is never copied in memory.
    ///
    /// # Errors
    /// [`WrongLength`]; then nothing was written.
    pub fn seal_in_place(&self, first: u64, buffer: &mut [u8]) -> Result<(), WrongLength> {
        let size = self.header.frame_plain() as usize + TAG;
        let frames = first..first.saturating_add(buffer.len().div_ceil(size) as u64);
        check_range(self.header.sealed_range(frames), buffer.len())?;
        for (index, frame) in (first..).zip(buffer.chunks_mut(size)) {
            let Some((plain, tag)) = frame.split_last_chunk_mut::<TAG>() else { continue };
            if let Ok(sealed) = self.key.seal_in_place_separate_tag(Self::nonce(index), self.associated(index), plain) {
                tag.copy_from_slice(sealed.as_ref());
            }
        }
        Ok(())
    }

    /// The tags of whole frames that are sealed.
    pub fn tags_in(&self, sealed: &[u8]) -> impl Iterator<Item = FrameTag> {
        sealed.chunks(self.header.frame_plain() as usize + TAG).filter_map(|frame| frame.last_chunk::<TAG>().copied())
    }

    /// The tags that whole frames of these plain bytes have, the first of which has the index `first`. Nothing but the tags comes
    /// out: a second plaintext must never leave this program sealed under the same key.
    ///
    /// # Errors
    /// [`WrongLength`] unless the pieces are that blob's frames.
    pub fn tags_of<'a>(
        &self,
        first: u64,
        frames: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Vec<FrameTag>, WrongLength> {
        let mut beside = Zeroizing::new(vec![0; self.header.frame_plain() as usize + TAG]);
        let mut tags = Vec::new();
        for (index, plain) in (first..).zip(frames) {
            let sealed = beside.get_mut(..plain.len() + TAG);
            let expected = u64::from(self.header.frame_plain());
            let sealed = sealed.ok_or(WrongLength { expected, given: plain.len() as u64 })?;
            self.seal_frames(index, plain, sealed)?;
            tags.extend(sealed.last_chunk::<TAG>());
        }
        Ok(tags)
    }

    /// Opens whole frames, the first of which has this index, and appends their plain bytes to `out`: as many frames as
    /// `sealed` holds. Whoever knows how many there should be uses [`Self::open_into`] or compares.
    ///
    /// # Errors
    /// [`Undecryptable`], also for bytes that are not whole frames; then `out` is as it was.
    pub fn open_frames(&self, first: u64, sealed: &[u8], out: &mut Vec<u8>) -> Result<(), Undecryptable> {
        let start = out.len();
        let size = self.header.frame_plain() as usize + TAG;
        let frames = first..first.saturating_add(sealed.len().div_ceil(size) as u64);
        let plain = self.header.plain_range(frames.clone());
        check_range(self.header.sealed_range(frames), sealed.len()).map_err(|_| Undecryptable)?;
        out.resize(start + usize::try_from(plain.end - plain.start).map_err(|_| Undecryptable)?, 0);
        let opened = self.open_into(first, sealed, &mut out[start..]);
        if opened.is_err() {
            out.truncate(start);
        }
        opened
    }

    /// As [`Self::open_frames`], into a buffer of exactly the plain length of the frames expected.
    ///
    /// # Errors
    /// [`Undecryptable`]; then the buffer holds zeros.
    pub fn open_into(&self, first: u64, sealed: &[u8], plain: &mut [u8]) -> Result<(), Undecryptable> {
        let size = self.header.frame_plain() as usize;
        let frames = first..first.saturating_add(plain.len().div_ceil(size) as u64);
        let fits = check_range(self.header.plain_range(frames.clone()), plain.len())
            .and_then(|()| check_range(self.header.sealed_range(frames), sealed.len()));
        let opened = fits.map_err(|_| Undecryptable).and_then(|()| {
            let mut pairs = (first..).zip(sealed.chunks(size + TAG).zip(plain.chunks_mut(size)));
            pairs.try_for_each(|(index, (sealed, plain))| self.open_frame(index, sealed, plain))
        });
        if opened.is_err() {
            plain.fill(0);
        }
        opened
    }

    /// Opens whole frames where they lie and closes their ranks: afterwards the plain bytes stand at the beginning of the buffer,
    /// and behind them is what was left over. Says how many they are.
    ///
    /// # Errors
    /// [`Undecryptable`]; then the buffer is as it was, so that it can be found out which of its bytes are wrong.
    pub fn open_within(&self, first: u64, buffer: &mut [u8]) -> Result<usize, Undecryptable> {
        let size = self.header.frame_plain() as usize;
        let frames = first..first.saturating_add(buffer.len().div_ceil(size + TAG) as u64);
        check_range(self.header.sealed_range(frames), buffer.len()).map_err(|_| Undecryptable)?;
        // A frame is opened beside the buffer, where the processor has it at hand: one that does not open must stay.
        let mut beside = Zeroizing::new(vec![0; size.min(buffer.len()) + TAG]);
        let (mut from, mut to) = (0, 0);
        while from < buffer.len() {
            let sealed = &buffer[from..buffer.len().min(from + size + TAG)];
            let (len, index) = (sealed.len(), first + (from / (size + TAG)) as u64);
            let plain_len = len.saturating_sub(TAG);
            if self.open_frame(index, sealed, &mut beside[..plain_len]).is_err() {
                self.seal_again(first, &mut buffer[..from], &mut beside);
                return Err(Undecryptable);
            }
            buffer[to..to + plain_len].copy_from_slice(&beside[..plain_len]);
            (from, to) = (from + len, to + plain_len);
        }
        Ok(to)
    }

    /// Undoes [`Self::open_within`] for full frames, from the last to the first: each comes to lie where none is left to seal.
    fn seal_again(&self, first: u64, buffer: &mut [u8], beside: &mut [u8]) {
        let size = self.header.frame_plain() as usize;
        for at in (0..buffer.len() / (size + TAG)).rev() {
            let sealed = &mut beside[..size + TAG];
            sealed[..size].copy_from_slice(&buffer[at * size..(at + 1) * size]);
            // Measured by whoever opened it, which leaves nothing to fail.
            let _ = self.seal_in_place(first + at as u64, sealed);
            buffer[at * (size + TAG)..(at + 1) * (size + TAG)].copy_from_slice(sealed);
        }
    }

    fn open_frame(&self, index: u64, sealed: &[u8], plain: &mut [u8]) -> Result<(), Undecryptable> {
        let (ciphertext, tag) = sealed.split_at(plain.len());
        self.key
            .open_separate_gather(Self::nonce(index), self.associated(index), ciphertext, tag, plain)
            .map_err(|_| Undecryptable)
    }
}

fn check_length(expected: u64, given: usize) -> Result<(), WrongLength> {
    let given = given as u64;
    if expected == given { Ok(()) } else { Err(WrongLength { expected, given }) }
}

fn check_range(range: std::ops::Range<u64>, given: usize) -> Result<(), WrongLength> {
    check_length(range.end - range.start, given)
}
