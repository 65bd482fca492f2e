//! Listeners: connections in, requests out to a router.
//!
//! HTTP/1.1 and HTTP/2 are told apart by their first bytes. Connections that say nothing or read nothing are ended; when the server stops,
//! requests that are under way get some time to end. One address has its share of them and no more.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use cyx_proto::idle_restart::RestartAfterIdle;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::connections::{ConnectionLimiter, ConnectionPermit, Requests};
use super::extract::Peer;
use super::greeting::Greeting;

/// Connections at once, per listener.
const CONNECTIONS_MAX: usize = 8192;
/// Connections at once of one address, per listener. A whole office may be behind one.
const ADDRESS_MAX: usize = 512;
/// A connection without a request is closed after this, or up to twice as long.
const IDLE: Duration = Duration::from_secs(600);
/// How often it is said that an address has too many connections.
const REPORT_EVERY: Duration = Duration::from_secs(60);
/// A TLS handshake, the bytes that tell HTTP/1.1 and HTTP/2 apart, and the head of an HTTP/1.1 request must come within this time each.
const HELLO_TIMEOUT: Duration = Duration::from_secs(15);
/// An HTTP/2 connection is asked for a sign of life this often, and ended without an answer after [`PING_TIMEOUT`].
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Requests at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 512;
/// HTTP/2 flow control: enough that a batch of small files needs no round trip in between.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// How long requests may go on when the server stops.
const GRACE: Duration = Duration::from_secs(10);

/// A bound listener with its router.
pub struct Server {
    listener: TcpListener,
    router: Router,
    tls: Option<TlsAcceptor>,
    address_max: usize,
}

impl Server {
    /// Binds an address.
    ///
    /// # Errors
    /// Of the operating system, for example if the address is taken.
    pub async fn bind(address: SocketAddr, router: Router, tls: Option<Arc<rustls::ServerConfig>>) -> io::Result<Self> {
        let (listener, tls) = (TcpListener::bind(address).await?, tls.map(TlsAcceptor::from));
        Ok(Self { listener, router, tls, address_max: ADDRESS_MAX })
    }

    /// Lets all connections come from one address, which is a proxy's.
    #[must_use]
    pub fn behind_proxy(self, is_behind_proxy: bool) -> Self {
        Self { address_max: if is_behind_proxy { CONNECTIONS_MAX } else { self.address_max }, ..self }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// Of the operating system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until told to stop, then lets requests end.
    pub async fn serve(self, stop: CancellationToken) {
        let connections = TaskTracker::new();
        let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let limiter = ConnectionLimiter::new(self.address_max);
        let mut next_report = Instant::now();
        loop {
            let accepted = tokio::select! {
                accepted = accept(&self.listener, &permits) => accepted,
                () = stop.cancelled() => break,
            };
            let (stream, peer, permit) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, for example: going on at once would only burn time.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Some(permit) = limiter.take(peer.ip(), permit) else {
                if Instant::now() >= next_report {
                    next_report = Instant::now() + REPORT_EVERY;
                    tracing::warn!(%peer, most = self.address_max, "an address has too many connections; more are refused");
                }
                continue;
            };
            let (router, tls, stop) = (self.router.clone(), self.tls.clone(), stop.clone());
            connections.spawn(serve_stream(stream, peer, permit, router, tls, stop));
        }
        connections.close();
        if tokio::time::timeout(GRACE, connections.wait()).await.is_err() {
            tracing::warn!(connections = connections.len(), "connections were cut off");
        }
    }
}

type Accepted = (TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit);

async fn accept(listener: &TcpListener, permits: &Arc<Semaphore>) -> io::Result<Accepted> {
    let permit = Arc::clone(permits).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, permit))
}

async fn serve_stream(
    stream: TcpStream,
    peer: SocketAddr,
    permit: ConnectionPermit,
    router: Router,
    tls: Option<TlsAcceptor>,
    stop: CancellationToken,
) {
    // Small answers must not wait for earlier ones to be acknowledged.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, %peer, "a connection was gone at once");
        return;
    }
    let stream = RestartAfterIdle::new(stream);
    let patience = Patience { hello: HELLO_TIMEOUT, idle: IDLE };
    let Some(tls) = tls else { return serve_connection(stream, (peer, permit), router, stop, patience).await };
    match tokio::time::timeout(HELLO_TIMEOUT, tls.accept(stream)).await {
        Ok(Ok(stream)) => serve_connection(stream, (peer, permit), router, stop, patience).await,
        Ok(Err(error)) => tracing::debug!(%error, %peer, "a TLS handshake failed"),
        Err(_) => tracing::debug!(%peer, "a TLS handshake took too long"),
    }
}

/// How long a connection may do nothing.
#[derive(Clone, Copy)]
struct Patience {
    hello: Duration,
    idle: Duration,
}

async fn serve_connection<S>(
    stream: S,
    (peer, permit): (SocketAddr, ConnectionPermit),
    router: Router,
    stop: CancellationToken,
    patience: Patience,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let requests = Requests::default();
    let begun = requests.clone();
    let service = router.map_request(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        // One that becomes a WebSocket outlives what is served here.
        request.extensions_mut().insert(permit.clone());
        request.map(axum::body::Body::new)
    });
    let service = tower::service_fn(move |request| begun.follow(service.clone().oneshot(request)));
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HELLO_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    let stream = Greeting::new(stream);
    let greeted = stream.greeted();
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(service));
    let hello = tokio::time::sleep(patience.hello);
    tokio::pin!(connection, hello);
    let mut idle = tokio::time::interval_at(tokio::time::Instant::now() + patience.idle, patience.idle);
    let mut seen = 0;
    let (mut stopping, mut waiting) = (false, true);
    loop {
        tokio::select! {
            // What has come counts, even if nobody looked at it in time.
            biased;
            ended = &mut connection => {
                if let Err(error) = ended {
                    tracing::debug!(%error, %peer, "a connection ended");
                }
                return;
            }
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            _ = idle.tick(), if !stopping => {
                if requests.are_none_since(&mut seen) {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
            () = &mut hello, if waiting => {
                if !greeted.get() {
                    tracing::debug!(%peer, "a connection said nothing");
                    return;
                }
                waiting = false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const PATIENT: Duration = Duration::from_secs(3600);

    async fn served(stream: tokio::io::DuplexStream, router: Router, patience: Patience) {
        let peer = (SocketAddr::from(([127, 0, 0, 1], 1)), super::super::connections::tests::permit().await);
        serve_connection(stream, peer, router, CancellationToken::new(), patience).await;
    }

    /// What a connection gets that says this and then waits, while the time for the first bytes is over at once.
    async fn told(said: &[u8]) -> String {
        let slow = get(|| async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            "answered"
        });
        let (mut client, server) = tokio::io::duplex(4096);
        client.write_all(said).await.unwrap();
        let patience = Patience { hello: Duration::ZERO, idle: PATIENT };
        let serving = served(server, Router::new().route("/", slow), patience);
        let mut answer = String::new();
        let (read, ()) = tokio::join!(client.read_to_string(&mut answer), serving);
        read.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_connection_that_says_nothing_is_ended_and_one_that_asks_is_answered() {
        assert_eq!(told(b"").await, "");
        assert_eq!(told(b"P").await, "");
        assert_eq!(told(b"PRI * HTTP/2.0\r\n").await, "");
        let answer = told(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
        assert!(answer.ends_with("answered"), "{answer}");
    }

    /// Whether the server leaves an HTTP/2 client within this time, once it got an answer or the beginning of one.
    async fn is_left(path: &str, within: Duration) -> bool {
        let endless =
            get(|| async { axum::body::Body::from_stream(tokio_stream::pending::<Result<String, io::Error>>()) });
        let router = Router::new().route("/short", get(|| async { "answered" })).route("/endless", endless);
        let (client, server) = tokio::io::duplex(1 << 16);
        let patience = Patience { hello: PATIENT, idle: Duration::from_millis(20) };
        let mut serving = tokio::spawn(served(server, router, patience));
        let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        let (mut sender, connection) = builder.handshake(TokioIo::new(client)).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::get(format!("http://a{path}")).body(axum::body::Body::empty()).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        let left = tokio::time::timeout(within, &mut serving).await.is_ok();
        serving.abort();
        drop((sender, answer));
        left
    }

    #[tokio::test]
    async fn a_connection_without_requests_is_closed_and_one_that_listens_is_not() {
        assert!(is_left("/short", PATIENT).await);
        assert!(!is_left("/endless", Duration::from_millis(200)).await);
    }
}
