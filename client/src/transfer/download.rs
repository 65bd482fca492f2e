//! A file down, in order: the next pieces are fetched while the last ones are written, as far as memory allows.

use std::collections::VecDeque;
use std::io::{self, Read as _};
use std::ops::Range;

use futures_util::stream::{FuturesOrdered, StreamExt as _};
use tokio_util::task::AbortOnDropHandle;

use super::coded::{blocking, joined};
use super::progress::Progress;
use super::reader::{FileReader, Piece, Plain};
use crate::error::{Error, Result};

/// File bytes that are planned at a time: the pages and blobs of so many are asked for together.
const WINDOW: u64 = 1 << 30;
/// Pieces under way at a time; how many have memory is the budget's business.
const AHEAD: usize = 6;
/// Bytes of buffers under way at a time, beside those of the run that is written: two segments of a large file, whole or in halves, which is
/// several times what a link of 1 Gbit/s and 100 ms holds.
const AHEAD_BYTES: usize = 48 << 20;

/// What is written next.
pub(crate) enum Run {
    /// Bytes.
    Data(Plain),
    /// As many zeros as this range is long.
    Hole,
}

/// A piece that was read; no bytes for a hole.
type Fetched = Result<(Range<u64>, Option<Plain>)>;

/// The runs of a file in order. Pieces that are under way are given up when this is dropped.
pub(crate) struct Runs {
    reader: FileReader,
    /// Where the planning is.
    at: u64,
    end: u64,
    waiting: VecDeque<Piece>,
    ahead: FuturesOrdered<AbortOnDropHandle<Fetched>>,
    /// What their buffers take, in the same order.
    ahead_bytes: VecDeque<usize>,
}

impl Runs {
    /// The next run, with its place in the file. The one before has to be given back by now: what is waited for may be its memory.
    pub(crate) async fn next(&mut self) -> Result<Option<(Range<u64>, Run)>> {
        self.begin_more(true).await?;
        let Some(done) = self.ahead.next().await else { return Ok(None) };
        let (range, plain) = joined(done)?;
        self.ahead_bytes.pop_front();
        // What comes next is fetched while this run is written. It is not waited for: this run has memory that somebody, or this
        // file itself, would wait for in turn.
        self.begin_more(false).await?;
        Ok(Some((range, plain.map_or(Run::Hole, Run::Data))))
    }

    async fn begin_more(&mut self, may_wait: bool) -> Result<()> {
        let budget = self.reader.transfer().budget().clone();
        while self.ahead.len() < AHEAD {
            if self.waiting.is_empty() && self.at < self.end {
                let window = self.at..self.end.min(self.at.saturating_add(WINDOW));
                self.at = window.end;
                self.waiting.extend(self.reader.plan(window).await?);
            }
            if let Some([first, second]) = self.waiting.front().and_then(|piece| self.reader.in_halves(piece)) {
                self.waiting.pop_front();
                self.waiting.push_front(second);
                self.waiting.push_front(first);
            }
            let Some(piece) = self.waiting.front() else { break };
            let (sealed, plain) = self.reader.need(piece)?;
            let bytes = sealed.saturating_add(plain);
            let under_way: usize = self.ahead_bytes.iter().sum();
            if under_way > 0 && under_way.saturating_add(bytes) > AHEAD_BYTES {
                break;
            }
            // Memory is taken in the order of the pieces: a later one that holds what an earlier one waits for would never be
            // written. And it is waited for only if nothing is ahead that will give some back.
            let room = match budget.try_lend_two(sealed, plain) {
                Some(room) => room,
                None if may_wait && self.ahead.is_empty() => budget.lend_two(sealed, plain).await,
                None => break,
            };
            let Some(piece) = self.waiting.pop_front() else { break };
            let reader = self.reader.clone();
            self.ahead_bytes.push_back(bytes);
            self.ahead.push_back(AbortOnDropHandle::new(tokio::spawn(async move {
                let plain = reader.read_in(&piece, room).await?;
                Ok((piece.range(), plain))
            })));
        }
        Ok(())
    }
}

impl FileReader {
    /// The runs of the file bytes `range`.
    pub(crate) fn runs(&self, range: Range<u64>) -> Runs {
        Runs {
            reader: self.clone(),
            at: range.start,
            end: range.end.min(self.size()),
            waiting: VecDeque::new(),
            ahead: FuturesOrdered::new(),
            ahead_bytes: VecDeque::new(),
        }
    }

    /// Writes the file bytes `range` to a stream, for example standard output, from threads that may wait for it. Gives the stream back.
    ///
    /// # Errors
    /// As [`Self::read_range`], and [`Error::Local`] if the stream fails; what was written until then is authentic.
    pub async fn copy_to<O>(&self, range: Range<u64>, mut out: O, progress: &dyn Progress) -> Result<O>
    where
        O: io::Write + Send + 'static,
    {
        let mut runs = self.runs(range);
        while let Some((range, run)) = runs.next().await? {
            let (len, failed) = (range.end - range.start, Error::local(self.name().to_owned()));
            out = blocking(move || {
                let written = match run {
                    Run::Data(bytes) => out.write_all(&bytes),
                    Run::Hole => io::copy(&mut io::repeat(0).take(len), &mut out).map(drop),
                };
                written.map(|()| out).map_err(failed)
            })
            .await?;
            progress.bytes(len);
        }
        let failed = Error::local(self.name().to_owned());
        blocking(move || out.flush().map(|()| out).map_err(failed)).await
    }
}
