//! Connections over which small messages go, with pauses between them.
//!
//! `bbr` takes what such a message brought in a round trip for what the way can carry, and spaces the packets of the next one accordingly: over
//! a way of 100 ms those of an answer of 5 KiB leave over another 80. So a connection with so low a rate finds its rate anew when it begins
//! to send behind a pause, and sends small messages as fast as a new one would.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::socket;

/// Whoever had nothing to send for so long begins a new message.
pub(crate) const PAUSE: Duration = Duration::from_millis(20);

/// A connection that sends small messages at once.
pub struct RestartAfterIdle {
    stream: TcpStream,
    /// When it last sent, if nothing has waited for room since.
    sent: Option<Instant>,
}

impl RestartAfterIdle {
    /// Of a connection to anybody.
    #[must_use]
    pub const fn new(stream: TcpStream) -> Self {
        Self { stream, sent: None }
    }

    fn begin(&self) {
        if self.sent.is_some_and(|sent| sent.elapsed() >= PAUSE) {
            socket::forget_low_rate(&self.stream);
        }
    }

    fn end<T>(&mut self, outcome: Poll<T>) -> Poll<T> {
        // Who waits for room has more to send, however long that takes.
        self.sent = outcome.is_ready().then(Instant::now);
        outcome
    }
}

impl AsFd for RestartAfterIdle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl AsyncRead for RestartAfterIdle {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for RestartAfterIdle {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.begin();
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.end(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.begin();
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.end(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
