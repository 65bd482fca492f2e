//! What it costs to move bytes over loopback, both ends in this process: bare TCP, and the project's own gRPC stream with a
//! receiver that throws everything away.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use bytes::Bytes;
use cyx_core::units::PIECE;
use cyx_proto::chunk::v1 as pb;
use cyx_proto::chunk::v1::chunk_service_client::ChunkServiceClient;
use cyx_proto::chunk::v1::chunk_service_server::{ChunkService, ChunkServiceServer};
use cyx_proto::chunk::v1::store_chunk_request::Part;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use hyper_util::rt::TokioIo;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Endpoint, Server, Uri};
use tonic::{Request, Response, Status, Streaming};
use tower::service_fn;

use crate::Result;
use crate::raw::process_cost;

/// As the programs have them.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;
const FRAME: u32 = 1 << 20;

/// Processor seconds per GiB over one TCP connection.
pub(crate) fn tcp(bytes: u64) -> Result<f64> {
    process_cost(bytes, || {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        std::thread::scope(|scope| {
            let receiver = scope.spawn(move || -> std::io::Result<()> {
                let (mut stream, _) = listener.accept()?;
                let mut buffer = vec![0; PIECE];
                while stream.read(&mut buffer)? > 0 {}
                Ok(())
            });
            // The other end gives nothing back, so only this one matters.
            let mut stream = connected(address)?;
            let piece = vec![1; PIECE];
            for _ in 0..bytes / PIECE as u64 {
                stream.write_all(&piece)?;
            }
            drop(stream);
            receiver.join().map_err(|_| "the receiver panicked")??;
            Ok(())
        })
    })
}

/// Processor seconds per GiB over one gRPC stream.
pub(crate) fn grpc(bytes: u64) -> Result<f64> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    process_cost(bytes, || runtime.block_on(stream(bytes)))
}

async fn stream(bytes: u64) -> Result<()> {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let server = Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .add_service(ChunkServiceServer::new(Sink).max_decoding_message_size(4 << 20))
        .serve_with_incoming(TcpListenerStream::new(listener));
    let server = tokio::spawn(server);
    let channel = Endpoint::from_shared(format!("http://{address}"))?
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .connect_with_connector(service_fn(move |_: Uri| async move {
            cyx_proto::socket::connect(&address.to_string()).await.map(TokioIo::new)
        }))
        .await?;
    let piece = Bytes::from(vec![1; PIECE]);
    let count = usize::try_from(bytes)? / PIECE;
    let messages = futures_util::stream::iter(0..count)
        .map(move |_| pb::StoreChunkRequest { part: Some(Part::Data(piece.clone())) });
    let mut answers = ChunkServiceClient::new(channel).store_chunk(messages).await?.into_inner();
    while answers.message().await?.is_some() {}
    server.abort();
    Ok(())
}

/// A blocking connection as the client sets it up.
fn connected(address: SocketAddr) -> std::io::Result<TcpStream> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let stream = runtime.block_on(cyx_proto::socket::connect(&address.to_string()))?.into_std()?;
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// Takes a stream and throws it away.
struct Sink;

fn unused<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("this only measures a stream"))
}

#[tonic::async_trait]
impl ChunkService for Sink {
    type StoreChunkStream = BoxStream<'static, Result<pb::StoreChunkResponse, Status>>;
    type GetChunkStream = BoxStream<'static, Result<pb::GetChunkResponse, Status>>;

    async fn store_chunk(
        &self,
        request: Request<Streaming<pb::StoreChunkRequest>>,
    ) -> Result<Response<Self::StoreChunkStream>, Status> {
        let mut requests = request.into_inner();
        while requests.message().await?.is_some() {}
        Ok(Response::new(futures_util::stream::empty().boxed()))
    }

    async fn get_challenge(
        &self,
        _: Request<pb::GetChallengeRequest>,
    ) -> Result<Response<pb::GetChallengeResponse>, Status> {
        unused()
    }

    async fn prove_possession(
        &self,
        _: Request<pb::ProvePossessionRequest>,
    ) -> Result<Response<pb::ProvePossessionResponse>, Status> {
        unused()
    }

    async fn get_chunk(&self, _: Request<pb::GetChunkRequest>) -> Result<Response<Self::GetChunkStream>, Status> {
        unused()
    }

    async fn verify_chunk(
        &self,
        _: Request<pb::VerifyChunkRequest>,
    ) -> Result<Response<pb::VerifyChunkResponse>, Status> {
        unused()
    }

    async fn probe_bandwidth(
        &self,
        _: Request<pb::ProbeBandwidthRequest>,
    ) -> Result<Response<pb::ProbeBandwidthResponse>, Status> {
        unused()
    }

    async fn delete_chunk(
        &self,
        _: Request<pb::DeleteChunkRequest>,
    ) -> Result<Response<pb::DeleteChunkResponse>, Status> {
        unused()
    }
}
