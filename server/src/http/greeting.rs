//! What a connection says first, by which hyper tells HTTP/1.1 and HTTP/2 apart.
//!
//! Each of the two has a limit of time of its own, and neither holds while the choice is open: hyper then waits for more for ever.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What HTTP/2 begins with; whatever differs from it is HTTP/1.1.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Whether a connection has said which of the two it speaks.
#[derive(Debug, Clone, Default)]
pub(super) struct Greeted(Arc<AtomicBool>);

impl Greeted {
    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A connection that notes what it is greeted with.
pub(super) struct Greeting<S> {
    stream: S,
    /// Bytes so far, all of which the preface begins with.
    alike: usize,
    greeted: Greeted,
}

impl<S> Greeting<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, alike: 0, greeted: Greeted::default() }
    }

    pub(super) fn greeted(&self) -> Greeted {
        self.greeted.clone()
    }

    fn hear(&mut self, bytes: &[u8]) {
        if self.greeted.get() {
            return;
        }
        let alike = PREFACE[self.alike..].iter().zip(bytes).take_while(|(expected, byte)| expected == byte).count();
        self.alike += alike;
        if alike < bytes.len() || self.alike == PREFACE.len() {
            self.greeted.0.store(true, Ordering::Relaxed);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Greeting<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.hear(&buf.filled()[before..]);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Greeting<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_a_part_of_the_preface_leaves_it_open() {
        for (pieces, greeted) in [
            (&[""][..], false),
            (&["P"], false),
            (&["PRI", " * HTTP/2.0\r\n\r\nSM\r\n\r"], false),
            (&["PRI", " * HTTP/2.0\r\n\r\nSM\r\n\r\n"], true),
            (&["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n and more"], true),
            (&["G"], true),
            (&["P", "UT"], true),
            (&["PRI", "NT", "P"], true),
        ] {
            let mut greeting = Greeting::new(());
            for piece in pieces {
                greeting.hear(piece.as_bytes());
            }
            assert_eq!(greeting.greeted().get(), greeted, "{pieces:?}");
        }
    }
}
