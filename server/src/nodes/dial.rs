//! Dialling back: before a node's address is told to anyone, the server connects to it and makes it prove that it is the node.
//!
//! With TLS the handshake itself is the proof, because the certificate must carry the node's own key. Without it, on loopback only,
//! the answer to `GetChallenge` must name the node.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use cyx_core::ids::NodeId;
use cyx_proto::chunk::v1::GetChallengeRequest;
use cyx_proto::chunk::v1::chunk_service_client::ChunkServiceClient;
use cyx_proto::tls::pinned_config;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio_rustls::TlsConnector;
use tonic::body::Body;

/// For everything together.
const PATIENCE: Duration = Duration::from_secs(10);
/// Addresses that are dialled at a time.
const DIALS: usize = 16;
/// Of these, addresses of one operator. Several, or a few nodes that cannot be reached would keep the operator's others waiting for longer than
/// they wait for their registration.
const DIALS_OF_OPERATOR: usize = 3;
/// More than the answer to a challenge needs.
const MESSAGE_MAX: usize = 4096;

/// Why the node was not found at its address. Both say the same: otherwise anybody could have the server look for what runs in its own network.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DialError {
    /// Nobody answers there in time.
    #[error(
        "the node does not answer at {0}; is the port open to the outside and forwarded to it, and no other program there?"
    )]
    Unreachable(SocketAddr),
    /// Somebody else answers.
    #[error(
        "the node does not answer at {0}; is the port open to the outside and forwarded to it, and no other program there?"
    )]
    Impostor(SocketAddr),
}

/// Lets only a few addresses be dialled at a time, and of these fewer of each operator: whose addresses never answer keeps no other from their
/// turn.
pub struct Dials {
    all: Semaphore,
    of_operators: Mutex<HashMap<[u8; 16], Arc<Semaphore>>>,
}

/// A turn, until it is dropped.
pub struct Turn<'a> {
    _all: SemaphorePermit<'a>,
    _own: OwnedSemaphorePermit,
}

impl Default for Dials {
    fn default() -> Self {
        Self { all: Semaphore::new(DIALS), of_operators: Mutex::default() }
    }
}

impl Dials {
    /// Waits for the turn of an operator, which lasts until it is dropped.
    ///
    /// # Errors
    /// [`AcquireError`], which never happens.
    pub async fn turn(&self, whose: [u8; 16]) -> Result<Turn<'_>, AcquireError> {
        let own = self.of_operator(whose).acquire_owned().await?;
        let all = self.all.acquire().await?;
        Ok(Turn { _all: all, _own: own })
    }

    fn of_operator(&self, whose: [u8; 16]) -> Arc<Semaphore> {
        let mut operators = self.of_operators.lock().unwrap_or_else(PoisonError::into_inner);
        // Permits and those who wait for one refer to theirs.
        operators.retain(|_, own| Arc::strong_count(own) > 1);
        Arc::clone(operators.entry(whose).or_insert_with(|| Arc::new(Semaphore::new(DIALS_OF_OPERATOR))))
    }
}

/// Checks that the holder of `public_key` answers at `address`.
///
/// # Errors
/// [`DialError`].
pub async fn dial_back(address: SocketAddr, public_key: [u8; 32], tls: bool) -> Result<(), DialError> {
    match tokio::time::timeout(PATIENCE, connect(address, public_key, tls)).await {
        Ok(outcome) => outcome,
        Err(_elapsed) => Err(DialError::Unreachable(address)),
    }
}

async fn connect(address: SocketAddr, public_key: [u8; 32], tls: bool) -> Result<(), DialError> {
    let impostor = DialError::Impostor(address);
    let mut client = open(address, public_key, tls, MESSAGE_MAX).await?;
    let answer = client.get_challenge(GetChallengeRequest {}).await.map_err(|_| impostor.clone())?.into_inner();
    if answer.node_id == NodeId::from_public_key(&public_key).0[..] { Ok(()) } else { Err(impostor) }
}

/// Connects to a node. With TLS whoever answers is the node; without it that is still to be seen. Messages of more than `message_max`
/// bytes are not taken.
///
/// # Errors
/// [`DialError`]. How long it may take, the caller says.
pub(crate) async fn open(
    address: SocketAddr,
    public_key: [u8; 32],
    tls: bool,
    message_max: usize,
) -> Result<ChunkServiceClient<Channel>, DialError> {
    let impostor = DialError::Impostor(address);
    let stream = TcpStream::connect(address).await.map_err(|_| DialError::Unreachable(address))?;
    let channel = if tls {
        let config = pinned_config(public_key).map_err(|_| impostor.clone())?;
        let name = ServerName::try_from("node.cyx.invalid").map_err(|_| impostor.clone())?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|_| impostor.clone())?;
        Channel::over(stream).await
    } else {
        Channel::over(stream).await
    };
    let channel = channel.map_err(|_| impostor.clone())?;
    let origin = http::Uri::builder().scheme("http").authority(address.to_string()).path_and_query("/").build();
    let origin = origin.map_err(|_| impostor)?;
    Ok(ChunkServiceClient::with_origin(channel, origin).max_decoding_message_size(message_max))
}

/// One HTTP/2 connection to a node. Ends with the last of its clones.
#[derive(Clone)]
pub(crate) struct Channel {
    sender: http2::SendRequest<Body>,
}

impl Channel {
    async fn over<S>(stream: S) -> Result<Self, hyper::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        // Ends with its last sender.
        tokio::spawn(connection);
        Ok(Self { sender })
    }
}

impl tower::Service<http::Request<Body>> for Channel {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.sender.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.sender.send_request(request))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::*;

    #[tokio::test]
    async fn one_operator_has_three_dials_at_a_time() {
        let dials = Dials::default();
        let first = dials.turn([1; 16]).await.unwrap();
        let _more = [dials.turn([1; 16]).await.unwrap(), dials.turn([1; 16]).await.unwrap()];
        let mut waits = Box::pin(dials.turn([1; 16]));
        assert!(poll!(waits.as_mut()).is_pending());
        let _other = dials.turn([2; 16]).await.unwrap();
        drop(first);
        drop(waits.await.unwrap());
    }

    #[tokio::test]
    async fn all_operators_together_have_sixteen() {
        let dials = Dials::default();
        let mut turns = Vec::new();
        for number in 0..DIALS {
            turns.push(dials.turn([u8::try_from(number / DIALS_OF_OPERATOR).unwrap(); 16]).await.unwrap());
        }
        let mut waits = Box::pin(dials.turn([99; 16]));
        assert!(poll!(waits.as_mut()).is_pending());
        turns.pop();
        drop(waits.await.unwrap());
    }
}
