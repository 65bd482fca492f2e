//! A long file is sent while it is still being written: what is appended to it goes to the nodes piece by piece, ahead of the
//! commit that will refer to it. The journal keeps everything all the same; a piece that was changed before its commit, or could not be
//! stored, is sent again with the rest.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::task::JoinHandle;

use super::commit::Written;
use super::remote::{OnItsWay, Sent};
use super::{Content, Inner, StoreOptions};

/// Pieces of one file on their way at a time; memory bounds them as well.
pub(super) const AT_ONCE: usize = 5;

/// What of a file is sent ahead.
#[derive(Default)]
pub(super) struct Stream {
    /// What was appended last in one go and not sent.
    run: Range<u64>,
    /// Bytes before it, in the same go, that were sent or are being sent.
    sent: u64,
    /// Pieces that no commit has taken yet.
    pieces: Vec<Piece>,
    at_work: usize,
    /// A piece could not be stored: the next commit will say why.
    failed: bool,
}

struct Piece {
    range: Range<u64>,
    /// Changes of the range up to this record are in it.
    upto: u64,
    job: JoinHandle<Option<Sent>>,
}

impl Stream {
    /// Bytes were written; the file had `len` before.
    pub(super) fn written(&mut self, range: Range<u64>, len: u64) {
        if range.start == self.run.end && range.start == len {
            self.run.end = range.end;
        } else if range.start >= len {
            (self.run, self.sent) = (range, 0);
        }
    }

    /// The file has this length now, or a range up to there became something else.
    pub(super) fn restart(&mut self, len: u64) {
        (self.run, self.sent) = (len..len, 0);
    }

    /// Whether there is a piece to be sent.
    pub(super) fn has_piece(&self, options: &StoreOptions) -> bool {
        let least = if self.sent > 0 { self.piece(options) } else { options.ahead_from };
        !self.failed && self.run.end - self.run.start >= least
    }

    /// As much as was sent before: whoever waits for the first pieces waits for short ones.
    fn piece(&self, options: &StoreOptions) -> u64 {
        self.sent.clamp(options.ahead_least, options.ahead_piece)
    }

    fn next(&mut self, options: &StoreOptions) -> Option<Range<u64>> {
        if self.at_work >= AT_ONCE || !self.has_piece(options) {
            return None;
        }
        let range = self.run.start..self.run.start + self.piece(options).min(self.run.end - self.run.start);
        self.run.start = range.end;
        self.sent += range.end - range.start;
        self.at_work += 1;
        Some(range)
    }
}

impl Inner {
    /// The pieces that a commit of everything up to now can use. What comes after it is sent ahead as before.
    pub(super) fn take_ahead(&mut self) -> Vec<OnItsWay> {
        (self.stream.run, self.stream.failed) = (self.len..self.len, false);
        let mut pieces = std::mem::take(&mut self.stream.pieces);
        pieces.retain(|piece| self.changes.is_written_by(&piece.range, piece.upto));
        pieces.sort_unstable_by_key(|piece| piece.range.start);
        let on_its_way =
            |Piece { range, job, .. }| OnItsWay { range, sent: Box::pin(job.map(|done| done.ok().flatten())) };
        pieces.into_iter().map(on_its_way).collect()
    }
}

impl Content {
    /// Sends what there is to be sent ahead.
    pub(super) fn send_ahead(self: &Arc<Self>) {
        let mut inner = self.inner();
        // What is held may never have to be sent: a file without a name, for example.
        if inner.held || inner.lost || inner.failures > 0 || self.store.is_gone(self.id.bucket) {
            return;
        }
        while let Some(range) = inner.stream.next(&self.store.options) {
            let changes = inner.changes.within(&range);
            let source = Written { journal: self.store.journal.clone(), changes, memo: Mutex::default() };
            // A file that is this long already goes on for about as long again.
            let sending = self.store.remote.ahead(self.id.bucket, range.clone(), Arc::new(source), inner.len);
            let job = tokio::spawn(self.finish_ahead(sending));
            let upto = inner.newest;
            inner.stream.pieces.push(Piece { range, upto, job });
        }
    }

    fn finish_ahead(
        self: &Arc<Self>,
        sending: BoxFuture<'static, Result<Sent, cyx_client::Error>>,
    ) -> impl Future<Output = Option<Sent>> + Send + use<> {
        let content = Arc::downgrade(self);
        async move {
            let sent = sending.await;
            if let Err(error) = &sent {
                tracing::debug!(%error, "a piece is sent again with the rest");
            }
            if let Some(content) = content.upgrade() {
                let mut inner = content.inner();
                inner.stream.at_work -= 1;
                inner.stream.failed |= sent.is_err();
                drop(inner);
                content.store.mark_stream(content.id);
            }
            sent.ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_grow_with_what_was_sent() {
        let options =
            StoreOptions { ahead_from: 25, ahead_least: 10, ahead_piece: 40, ..StoreOptions::new("unused".into()) };
        let mut stream = Stream::default();
        stream.written(0..24, 0);
        assert!(!stream.has_piece(&options), "too short to begin");
        stream.written(24..150, 24);
        let mut pieces = Vec::new();
        while let Some(piece) = stream.next(&options) {
            stream.at_work = 0;
            pieces.push(piece);
        }
        assert_eq!(pieces, [0..10, 10..20, 20..40, 40..80, 80..120]);
        stream.restart(150);
        stream.written(150..174, 150);
        assert!(!stream.has_piece(&options), "it begins anew");
    }
}
