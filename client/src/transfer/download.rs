//! A file down, in order: the next pieces are fetched while the last ones are written, as far as memory allows.

use std::collections::VecDeque;
use std::ops::Range;

use futures_util::stream::{FuturesOrdered, StreamExt as _};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio_util::task::AbortOnDropHandle;

use super::coded::joined;
use super::progress::Progress;
use super::reader::{FileReader, Piece, Plain};
use crate::error::{Error, Result};

/// File bytes that are planned at a time: the pages and blobs of so many are asked for together.
const WINDOW: u64 = 1 << 30;
/// Pieces under way at a time; how many have memory is the budget's business.
const AHEAD: usize = 6;

/// What is written next.
pub(crate) enum Run<'a> {
    /// Bytes.
    Data(&'a Plain),
    /// As many zeros as this range is long.
    Hole,
}

impl FileReader {
    /// Reads the file bytes `range` in order and hands each run to `write`, with its place in the file.
    pub(crate) async fn stream<W>(&self, range: Range<u64>, mut write: W) -> Result<()>
    where
        W: AsyncFnMut(Range<u64>, Run<'_>) -> Result<()>,
    {
        let end = range.end.min(self.size());
        let mut at = range.start;
        let budget = self.transfer().budget();
        let mut ahead = FuturesOrdered::new();
        let mut waiting: VecDeque<Piece> = VecDeque::new();
        loop {
            while ahead.len() < AHEAD {
                if waiting.is_empty() && at < end {
                    let window = at..end.min(at.saturating_add(WINDOW));
                    at = window.end;
                    waiting.extend(self.plan(window).await?);
                }
                let Some(piece) = waiting.front() else { break };
                let (sealed, plain) = self.need(piece)?;
                // Memory is taken in the order of the pieces: a later one that holds what an earlier one waits for would never
                // be written. And it is waited for only if nothing is ahead that will give some back.
                let room = match budget.try_lend_two(sealed, plain) {
                    Some(room) => room,
                    None if ahead.is_empty() => budget.lend_two(sealed, plain).await,
                    None => break,
                };
                let Some(piece) = waiting.pop_front() else { break };
                let reader = self.clone();
                ahead.push_back(AbortOnDropHandle::new(tokio::spawn(async move {
                    let plain = reader.read_in(&piece, room).await?;
                    Ok::<_, Error>((piece.range(), plain))
                })));
            }
            let Some(done) = ahead.next().await else { return Ok(()) };
            let (range, plain) = joined(done)?;
            match &plain {
                Some(plain) => write(range, Run::Data(plain)).await?,
                None => write(range, Run::Hole).await?,
            }
        }
    }

    /// Writes the file bytes `range` to a stream, for example standard output.
    ///
    /// # Errors
    /// As [`Self::read_range`], and [`Error::Local`] if the stream fails; what was written until then is authentic.
    pub async fn copy_to<O>(&self, range: Range<u64>, out: &mut O, progress: &dyn Progress) -> Result<()>
    where
        O: AsyncWrite + Unpin + Send + ?Sized,
    {
        const ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
        self.stream(range, async |range, run| {
            let len = range.end - range.start;
            match run {
                Run::Data(bytes) => out.write_all(bytes).await.map_err(Error::local(self.name()))?,
                Run::Hole => {
                    let mut left = len;
                    while left > 0 {
                        let part = usize::try_from(left).unwrap_or(usize::MAX).min(ZEROS.len());
                        out.write_all(&ZEROS[..part]).await.map_err(Error::local(self.name()))?;
                        left -= part as u64;
                    }
                }
            }
            progress.bytes(len);
            Ok(())
        })
        .await?;
        out.flush().await.map_err(Error::local(self.name()))
    }
}
