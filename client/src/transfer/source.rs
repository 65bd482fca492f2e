//! Where an upload's plain bytes come from, and how they get into a segment's buffer without being copied in memory.

use std::fs::File;
use std::io::{self, IoSliceMut, Read as _, Seek as _};
use std::os::unix::fs::MetadataExt as _;
use std::pin::Pin;

use bytes::{Buf as _, Bytes};
use cyx_core::units::{FRAME_PLAIN, FRAME_TAG};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::budget::PooledBuffer;
use super::coded::blocking;
use crate::error::{Error, Result};

#[expect(clippy::cast_possible_truncation, reason = "16,384 and 16")]
const FRAME: usize = FRAME_PLAIN as usize;
#[expect(clippy::cast_possible_truncation, reason = "16,384 and 16")]
const SEALED: usize = (FRAME_PLAIN + FRAME_TAG) as usize;
/// Frames that one system call fills: 1 MiB.
const FRAMES_PER_CALL: usize = 64;

/// Plain bytes to be uploaded.
pub enum Source {
    /// An open file, from where it stands to its end.
    File(File),
    /// A stream, for example standard input.
    Stream(Pin<Box<dyn AsyncRead + Send>>),
    /// Bytes in memory.
    Bytes(Bytes),
}

impl Source {
    /// The same once more from where it stands now, if it can be read twice. The two are read one after the other.
    pub(crate) fn again(&mut self) -> Option<Again> {
        match self {
            Self::File(file) => {
                let at = file.stream_position().ok()?;
                Some(Again::File(file.try_clone().ok()?, at))
            }
            Self::Bytes(bytes) => Some(Again::Bytes(bytes.clone())),
            Self::Stream(_) => None,
        }
    }

    /// To be looked at when it was read; nothing for what is no file.
    pub(crate) fn watched(&self) -> io::Result<Option<Watched>> {
        match self {
            Self::File(file) => Ok(Some(Watched { file: file.try_clone()?, stamp: Stamp::of(file)? })),
            Self::Stream(_) | Self::Bytes(_) => Ok(None),
        }
    }
}

/// What changes when somebody writes to a file, as far as its filesystem counts time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) size: u64,
    pub(crate) mtime_ns: i64,
}

impl Stamp {
    /// Of the open file, whatever has its name by now: a file that was replaced is whole.
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let mtime_ns = metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec());
        Ok(Self { size: metadata.len(), mtime_ns })
    }
}

/// A file as it was when reading it began.
pub(crate) struct Watched {
    file: File,
    stamp: Stamp,
}

impl Watched {
    /// Nothing was written to it since.
    pub(crate) fn is_steady(&self) -> io::Result<bool> {
        Ok(Stamp::of(&self.file)? == self.stamp)
    }
}

/// A source that can be read a second time.
pub(crate) enum Again {
    /// The file, and where it stood.
    File(File, u64),
    /// The bytes.
    Bytes(Bytes),
}

impl Again {
    /// The source as it was.
    pub(crate) fn source(self) -> io::Result<Source> {
        Ok(match self {
            Self::File(mut file, at) => {
                file.seek(io::SeekFrom::Start(at))?;
                Source::File(file)
            }
            Self::Bytes(bytes) => Source::Bytes(bytes),
        })
    }
}

/// A source that is being read, and the name it has in errors.
pub(crate) struct Feed {
    /// What was read already to see how much there is.
    ahead: Bytes,
    source: Option<Source>,
    name: String,
}

impl Feed {
    pub(crate) fn new(source: Source, name: String) -> Self {
        Self { ahead: Bytes::new(), source: Some(source), name }
    }

    /// The first bytes, at most `len` of them and fewer only if there are no more. They are still there for what comes next.
    pub(crate) async fn peek(&mut self, len: usize) -> Result<Bytes> {
        let source = self.source.take().ok_or(Error::Internal("a source is read by one"))?;
        let name = self.name.clone();
        let mut first = vec![0; len];
        let (source, first) = match source {
            Source::Bytes(bytes) => {
                let first = bytes.slice(..bytes.len().min(len));
                self.source = Some(Source::Bytes(bytes));
                return Ok(first);
            }
            Source::File(mut file) => {
                blocking(move || {
                    let filled = fill(&mut file, &mut [IoSliceMut::new(&mut first)]).map_err(reading(&name))?;
                    first.truncate(filled);
                    Ok((Source::File(file), first))
                })
                .await?
            }
            Source::Stream(mut stream) => {
                let filled = fill_async(&mut stream, &mut first).await.map_err(reading(&name))?;
                first.truncate(filled);
                (Source::Stream(stream), first)
            }
        };
        self.source = Some(source);
        self.ahead = first.into();
        Ok(self.ahead.clone())
    }

    /// Reads up to `frames` frames into a buffer, each with room for its tag behind it, and says how many plain bytes came:
    /// fewer than asked for only at the end.
    pub(crate) async fn fill(&mut self, mut buffer: PooledBuffer, frames: usize) -> Result<(PooledBuffer, u64)> {
        let source = self.source.take().ok_or(Error::Internal("a source is read by one"))?;
        let name = self.name.clone();
        let mut ahead = std::mem::take(&mut self.ahead);
        let (source, buffer, filled) = match source {
            Source::Bytes(mut bytes) => {
                let filled = frames_of(&mut buffer.bytes, frames).map(|frame| take(&mut bytes, frame)).sum();
                (Source::Bytes(bytes), buffer, filled)
            }
            Source::File(mut file) => {
                blocking(move || {
                    let filled =
                        fill_frames(&mut file, &mut ahead, &mut buffer.bytes, frames).map_err(reading(&name))?;
                    Ok((Source::File(file), buffer, filled))
                })
                .await?
            }
            Source::Stream(mut stream) => {
                let mut filled = 0;
                for frame in frames_of(&mut buffer.bytes, frames) {
                    let given = take(&mut ahead, frame);
                    let came = given + fill_async(&mut stream, &mut frame[given..]).await.map_err(reading(&name))?;
                    filled += came;
                    if came < FRAME {
                        break;
                    }
                }
                (Source::Stream(stream), buffer, filled)
            }
        };
        self.source = Some(source);
        Ok((buffer, filled as u64))
    }
}

fn reading(name: &str) -> impl FnOnce(io::Error) -> Error {
    Error::local(name)
}

/// The plain part of each frame of a buffer.
fn frames_of(buffer: &mut [u8], frames: usize) -> impl Iterator<Item = &mut [u8]> {
    buffer.chunks_exact_mut(SEALED).take(frames).map(|frame| &mut frame[..FRAME])
}

fn take(from: &mut Bytes, into: &mut [u8]) -> usize {
    let len = from.len().min(into.len());
    into[..len].copy_from_slice(&from[..len]);
    from.advance(len);
    len
}

fn fill_frames(file: &mut File, ahead: &mut Bytes, buffer: &mut [u8], frames: usize) -> io::Result<usize> {
    let mut filled = 0;
    let mut rest: Vec<&mut [u8]> = frames_of(buffer, frames)
        .map(|frame| {
            let given = take(ahead, frame);
            filled += given;
            &mut frame[given..]
        })
        .filter(|frame| !frame.is_empty())
        .collect();
    for part in rest.chunks_mut(FRAMES_PER_CALL) {
        let wanted: usize = part.iter().map(|frame| frame.len()).sum();
        let mut slices: Vec<IoSliceMut<'_>> = part.iter_mut().map(|frame| IoSliceMut::new(frame)).collect();
        let came = fill(file, &mut slices)?;
        filled += came;
        if came < wanted {
            break;
        }
    }
    Ok(filled)
}

/// Fills all slices, or as many as there are bytes for.
fn fill(file: &mut File, mut slices: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    let mut filled = 0;
    while !slices.is_empty() {
        match file.read_vectored(slices) {
            Ok(0) => break,
            Ok(came) => {
                filled += came;
                IoSliceMut::advance_slices(&mut slices, came);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

async fn fill_async(stream: &mut Pin<Box<dyn AsyncRead + Send>>, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match stream.read(&mut buffer[filled..]).await? {
            0 => break,
            came => filled += came,
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use std::io::{SeekFrom, Write as _};

    use super::*;
    use crate::transfer::budget::Budget;
    use proptest::prelude::*;

    /// Reads everything through `fill` and gives back the plain bytes.
    async fn read_all(source: Source, peeked: usize, frames: usize) -> Vec<u8> {
        let budget = Budget::new(64 << 20);
        let mut feed = Feed::new(source, "test".to_owned());
        if peeked > 0 {
            feed.peek(peeked).await.unwrap();
        }
        let mut all = Vec::new();
        loop {
            let (mut buffer, filled) = feed.fill(budget.lend(frames * SEALED).await, frames).await.unwrap();
            let mut left = usize::try_from(filled).unwrap();
            for frame in frames_of(&mut buffer.bytes, frames) {
                let used = left.min(FRAME);
                all.extend_from_slice(&frame[..used]);
                left -= used;
            }
            if filled < (frames * FRAME) as u64 {
                return all;
            }
        }
    }

    #[tokio::test]
    async fn a_source_is_read_again_from_where_it_stood() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"before, and what is meant").unwrap();
        file.seek(SeekFrom::Start(12)).unwrap();
        for mut source in [Source::File(file), Source::Bytes(b"what is meant"[..].into())] {
            let again = source.again().unwrap();
            assert_eq!(read_all(source, 0, 1).await, b"what is meant");
            assert_eq!(read_all(again.source().unwrap(), 5, 1).await, b"what is meant");
        }
        assert!(Source::Stream(Box::pin(tokio::io::empty())).again().is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn every_source_gives_every_byte_once_in_order(
            border in prop::sample::select(vec![0_usize, FRAME, 3 * FRAME, 70 * FRAME]),
            off in -1_isize..=1,
            peeked in prop::sample::select(vec![0_usize, 1, 4097]),
            frames in prop::sample::select(vec![1_usize, 3, 70]),
        ) {
            let len = border.saturating_add_signed(off);
            let plain: Vec<u8> = (0..len).map(|at| u8::try_from(at % 253).unwrap()).collect();
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&plain).unwrap();
            file.seek(SeekFrom::Start(0)).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let stream = Box::pin(io::Cursor::new(plain.clone()));
                for source in [Source::File(file), Source::Stream(stream), Source::Bytes(plain.clone().into())] {
                    prop_assert!(read_all(source, peeked, frames).await == plain);
                }
                Ok(())
            })?;
        }
    }
}
