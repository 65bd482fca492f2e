//! Connections: plain on loopback, TLS with the node's own key everywhere else, each with a challenge of its own.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use cyx_core::ids::random_bytes;
use cyx_core::units::KIB;
use cyx_proto::idle_restart::RestartAfterIdle;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::unfinished::Unfinished;

/// A TLS handshake that takes longer is given up, also one that does not begin.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections at the same time whose TLS handshake is not done, and of one address. Each takes a file descriptor and at most 64 KiB for a
/// message that comes in parts.
const UNFINISHED_MAX: usize = 1024;
const UNFINISHED_SHARE: usize = 256;
/// No connection looks for its rate more often.
const PROBES_AGAIN: Duration = Duration::from_secs(2);
/// No connection is slower because somebody asked for it: what waits to be sent takes memory.
const RATE_MIN: u64 = 64 * KIB;
/// Session keys that one connection may prove.
const PROVEN_MAX: usize = 16;

/// What is known about one connection: its challenge and the session keys whose possession was proved on it.
#[derive(Debug)]
pub struct Connection {
    challenge: [u8; 32],
    proven: Mutex<Vec<[u8; 32]>>,
    /// Whether its rate is to be looked for anew, and when that was asked for last.
    probes: AtomicBool,
    asked: Mutex<Option<Instant>>,
    /// Bytes a second that it may send at most, and what its socket was told last.
    rate: AtomicU64,
    set_rate: AtomicU64,
    /// Whether it was ever limited.
    was_limited: AtomicBool,
}

impl Connection {
    fn new() -> Self {
        Self {
            challenge: random_bytes(),
            proven: Mutex::default(),
            probes: AtomicBool::new(false),
            asked: Mutex::default(),
            rate: AtomicU64::new(u64::MAX),
            set_rate: AtomicU64::new(u64::MAX),
            was_limited: AtomicBool::new(false),
        }
    }

    /// What has to be signed on this connection.
    #[must_use]
    pub fn challenge(&self) -> &[u8; 32] {
        &self.challenge
    }

    /// Remembers that a session key's possession was proved. The oldest of too many is forgotten.
    pub(super) fn prove(&self, session_key: [u8; 32]) {
        let mut proven = self.proven.lock().unwrap_or_else(PoisonError::into_inner);
        if !proven.contains(&session_key) {
            if proven.len() >= PROVEN_MAX {
                proven.remove(0);
            }
            proven.push(session_key);
        }
    }

    /// Whether anybody's possession of a session key was proved on it.
    pub(super) fn is_proven(&self) -> bool {
        !self.proven.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Has its rate looked for anew with what is sent next, unless that was asked for just now.
    pub(super) fn probe_bandwidth(&self) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.is_none_or(|asked| asked.elapsed() >= PROBES_AGAIN) {
            *asked = Some(Instant::now());
            self.probes.store(true, Ordering::Relaxed);
        }
    }

    /// Has it send no more than so many bytes a second from now on, beginning with what is sent next. 0 changes nothing.
    pub(super) fn limit_rate(&self, bytes_per_second: u64) {
        if bytes_per_second > 0 {
            self.rate.store(bytes_per_second.max(RATE_MIN), Ordering::Relaxed);
        }
    }

    /// Whether a session key's possession was proved on this connection.
    #[must_use]
    pub fn has_proven(&self, session_key: &[u8; 32]) -> bool {
        self.proven.lock().unwrap_or_else(PoisonError::into_inner).contains(session_key)
    }
}

/// A connection's bytes.
pub struct Wire {
    io: Io,
    connection: Arc<Connection>,
}

enum Io {
    Plain(RestartAfterIdle),
    Tls(Box<TlsStream<RestartAfterIdle>>),
}

impl Connected for Wire {
    type ConnectInfo = Arc<Connection>;
    fn connect_info(&self) -> Arc<Connection> {
        Arc::clone(&self.connection)
    }
}

macro_rules! each {
    ($self:ident, $io:ident => $call:expr) => {
        match &mut $self.get_mut().io {
            Io::Plain(inner) => {
                let $io = Pin::new(inner);
                $call
            }
            Io::Tls(inner) => {
                let $io = Pin::new(&mut **inner);
                $call
            }
        }
    };
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, io => io.poll_read(cx, buf))
    }
}

impl Wire {
    fn socket(&self) -> &RestartAfterIdle {
        match &self.io {
            Io::Plain(stream) => stream,
            Io::Tls(stream) => stream.get_ref().0,
        }
    }

    fn prepare_to_send(&self) {
        let rate = self.connection.rate.load(Ordering::Relaxed);
        if rate != self.connection.set_rate.load(Ordering::Relaxed) {
            self.connection.set_rate.store(rate, Ordering::Relaxed);
            cyx_proto::socket::limit_rate(self.socket(), rate);
            if !self.connection.was_limited.swap(true, Ordering::Relaxed) {
                // Much is read for the first time. What is believed of the rate comes from a few small messages.
                cyx_proto::socket::probe_bandwidth(self.socket());
            }
        }
        if self.connection.probes.load(Ordering::Relaxed) && self.connection.probes.swap(false, Ordering::Relaxed) {
            cyx_proto::socket::probe_bandwidth(self.socket());
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.prepare_to_send();
        each!(self, io => io.poll_write(cx, buf))
    }
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.prepare_to_send();
        each!(self, io => io.poll_write_vectored(cx, bufs))
    }
    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Plain(io) => io.is_write_vectored(),
            Io::Tls(io) => io.is_write_vectored(),
        }
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, io => io.poll_flush(cx))
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, io => io.poll_shutdown(cx))
    }
}

/// Accepts connections until the receiver is dropped; handshakes do not hold each other up.
pub fn accept(listener: TcpListener, tls: Option<Arc<rustls::ServerConfig>>) -> mpsc::Receiver<io::Result<Wire>> {
    accept_few(listener, tls, Unfinished::new(UNFINISHED_MAX, UNFINISHED_SHARE))
}

fn accept_few(
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    unfinished: Unfinished,
) -> mpsc::Receiver<io::Result<Wire>> {
    let (ready, accepted) = mpsc::channel(16);
    let tls = tls.map(TlsAcceptor::from);
    if let Err(error) = cyx_proto::socket::prepare_listener(&listener) {
        tracing::debug!(%error, "connections stay as the system has them");
    }
    tokio::spawn(async move {
        loop {
            // Taken before: who has to wait does so in the system's queue, and takes nothing here.
            let room = tokio::select! {
                () = ready.closed() => return,
                room = unfinished.room() => room,
            };
            let Ok(room) = room else { return };
            let (stream, peer) = tokio::select! {
                () = ready.closed() => return,
                accepted = listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        // Out of file descriptors, most likely: trying again at once would only burn the processor.
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                },
            };
            if let Err(error) = cyx_proto::socket::prepare(&stream) {
                tracing::debug!(%error, "the connection is gone already");
                continue;
            }
            let Some(acceptor) = &tls else {
                if ready.send(Ok(wire(Io::Plain(RestartAfterIdle::new(stream))))).await.is_err() {
                    return;
                }
                continue;
            };
            let Some(handshake) = unfinished.begin(peer.ip(), room) else {
                tracing::debug!("an address has too many connections whose TLS handshake is not done");
                continue;
            };
            let (acceptor, ready) = (acceptor.clone(), ready.clone());
            tokio::spawn(async move {
                let _handshake = handshake;
                let stream = RestartAfterIdle::new(stream);
                match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => drop(ready.send(Ok(wire(Io::Tls(Box::new(stream))))).await),
                    Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
                    Err(_) => tracing::debug!("a TLS handshake took too long"),
                }
            });
        }
    });
    accepted
}

fn wire(io: Io) -> Wire {
    metrics::counter!("cyx_node_connections_total").increment(1);
    Wire { io, connection: Arc::new(Connection::new()) }
}

/// Whether connections to this listener may be plain: only those that never leave the machine.
#[must_use]
pub fn may_be_plain(address: SocketAddr) -> bool {
    address.ip().is_loopback()
}

#[cfg(test)]
mod tests {
    use cyx_proto::tls::pinned_config;
    use rustls_pki_types::ServerName;
    use tokio::net::TcpStream;
    use tokio_rustls::TlsConnector;

    use super::*;
    use crate::service::identity::Identity;

    #[test]
    fn only_loopback_may_be_plain() {
        for (address, plain) in
            [("127.0.0.1:1", true), ("[::1]:1", true), ("0.0.0.0:1", false), ("[::]:1", false), ("10.0.0.1:1", false)]
        {
            assert_eq!(may_be_plain(address.parse().unwrap()), plain, "{address}");
        }
    }

    #[test]
    fn challenges_differ_and_proofs_stay_with_their_connection() {
        let [one, other] = [Connection::new(), Connection::new()];
        assert_ne!(one.challenge(), other.challenge());
        one.prove([1; 32]);
        assert!(one.has_proven(&[1; 32]) && !other.has_proven(&[1; 32]));
        for key in 2..=17 {
            one.prove([key; 32]);
        }
        assert!(!one.has_proven(&[1; 32]), "the oldest of too many is forgotten");
    }

    #[tokio::test]
    async fn connections_whose_handshake_is_not_done_are_counted_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity::open(folder.path()).unwrap();
        let serve = async |unfinished| {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            (address, accept_few(listener, Some(identity.tls_config().unwrap()), Unfinished::new(unfinished, 2)))
        };
        let config = Arc::new(pinned_config(identity.public_key()).unwrap());
        let shake = |address: SocketAddr| {
            let (connector, name) = (TlsConnector::from(Arc::clone(&config)), ServerName::try_from("node").unwrap());
            async move { connector.connect(name, TcpStream::connect(address).await?).await }
        };
        let ((full, mut of_full), (free, mut of_free)) = (serve(1).await, serve(1).await);
        let silent = TcpStream::connect(full).await.unwrap();
        let waits = tokio::spawn(shake(full));
        // All of these are open at the same time.
        let mut connected = Vec::new();
        for _ in 0..10 {
            connected.push((shake(free).await.unwrap(), of_free.recv().await.unwrap().unwrap()));
        }
        assert!(!waits.is_finished(), "another is served before the one that says nothing has ended");
        drop(silent);
        waits.await.unwrap().unwrap();
        of_full.recv().await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_rate_is_looked_for_with_what_is_sent_next_and_not_all_the_time() {
        use tokio::io::AsyncWriteExt as _;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut wire = wire(Io::Plain(RestartAfterIdle::new(listener.accept().await.unwrap().0)));
        let connection = wire.connect_info();
        assert!(!connection.is_proven());
        connection.prove([1; 32]);
        assert!(connection.is_proven());
        connection.probe_bandwidth();
        assert!(connection.probes.load(Ordering::Relaxed));
        wire.write_all(b"next").await.unwrap();
        assert!(!connection.probes.load(Ordering::Relaxed));
        connection.probe_bandwidth();
        assert!(!connection.probes.load(Ordering::Relaxed), "it did so just now");
    }

    #[tokio::test]
    async fn a_rate_is_limited_from_what_is_sent_next_and_never_to_nothing() {
        use tokio::io::AsyncWriteExt as _;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut wire = wire(Io::Plain(RestartAfterIdle::new(listener.accept().await.unwrap().0)));
        let connection = wire.connect_info();
        for (asked, set) in [(0, u64::MAX), (1_000_000, 1_000_000), (0, 1_000_000), (1, RATE_MIN), (u64::MAX, u64::MAX)]
        {
            connection.limit_rate(asked);
            wire.write_all(b"next").await.unwrap();
            assert_eq!(connection.set_rate.load(Ordering::Relaxed), set, "{asked}");
        }
    }
}
