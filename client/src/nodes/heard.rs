//! When something was last heard over a connection, whatever it belonged to: a slow link that is busy with other data is told from a node
//! that says nothing.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The moment at which a byte last arrived.
pub(super) struct Heard {
    opened: Instant,
    /// Nanoseconds after `opened`.
    last: AtomicU64,
}

impl Default for Heard {
    fn default() -> Self {
        Self { opened: Instant::now(), last: AtomicU64::new(0) }
    }
}

impl Heard {
    fn note(&self) {
        let now = u64::try_from(self.opened.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    /// Whether anything arrived since then.
    pub(super) fn since(&self, since: Instant) -> bool {
        self.opened + Duration::from_nanos(self.last.load(Ordering::Relaxed)) >= since
    }
}

/// A stream of which is noted when something arrives.
pub(super) struct Heeded<S> {
    stream: S,
    heard: Arc<Heard>,
}

impl<S> Heeded<S> {
    pub(super) const fn new(stream: S, heard: Arc<Heard>) -> Self {
        Self { stream, heard }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heeded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.heard.note();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heeded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn what_arrives_is_heard_and_what_is_sent_is_not() {
        let (near, mut far) = tokio::io::duplex(64);
        let heard = Arc::new(Heard::default());
        let mut near = Heeded::new(near, Arc::clone(&heard));
        let began = Instant::now();
        near.write_all(b"are you there?").await.unwrap();
        assert!(!heard.since(began));
        far.write_all(b"yes").await.unwrap();
        near.read_exact(&mut [0; 3]).await.unwrap();
        assert!(heard.since(began));
        drop(far);
        let ended = Instant::now();
        assert_eq!(near.read(&mut [0]).await.unwrap(), 0);
        assert!(!heard.since(ended), "an end is not a word");
    }
}
