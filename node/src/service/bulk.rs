//! The two methods that move data, past the codec: see [`cyx_proto::bulk`]. All others go through it.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use cyx_core::error::ErrorCode;
use cyx_proto::bulk::{
    GET_CHUNK, GET_DATA, Part as Arrived, Parts, STORE_CHUNK, STORE_DATA, put_data_head, put_message,
};
use cyx_proto::chunk::v1::chunk_service_server::{ChunkService, ChunkServiceServer};
use cyx_proto::chunk::v1::store_chunk_request::Part;
use cyx_proto::chunk::v1::{GetChunkRequest, GetChunkResponse, StoreChunkRequest, StoreChunkResponse};
use cyx_proto::status::status;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt as _, Stream, StreamExt as _};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Request, Response};
use hyper::body::{Body as HttpBody, Frame};
use prost::Message as _;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::{Code, Status};

use super::MESSAGE_MAX;
use super::chunk::ChunkApi;

/// Largest message of the other methods: the 4,096 ids of a `VerifyChunk` or `DeleteChunk`, with what allows it. A node has little memory,
/// and what is two bytes of a list here can be a hundred there.
const CODED_MAX: usize = 128 * 1024;

/// `ChunkService` on a connection.
#[derive(Clone)]
pub(super) struct Service {
    api: ChunkApi,
    coded: ChunkServiceServer<ChunkApi>,
}

impl Service {
    pub(super) fn new(api: ChunkApi) -> Self {
        let coded = ChunkServiceServer::new(api.clone()).max_decoding_message_size(CODED_MAX);
        Self { api, coded }
    }
}

impl NamedService for Service {
    const NAME: &'static str = <ChunkServiceServer<ChunkApi> as NamedService>::NAME;
}

impl tower::Service<Request<Body>> for Service {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let api = self.api.clone();
        let answered = match request.uri().path() {
            STORE_CHUNK => async move { store(&api, request) }.boxed(),
            GET_CHUNK => async move { get(&api, request).await }.boxed(),
            _ => return self.coded.call(request),
        };
        answered.map(|answered| Ok(answered.unwrap_or_else(Status::into_http))).boxed()
    }
}

fn store(api: &ChunkApi, request: Request<Body>) -> Result<Response<Body>, Status> {
    let (head, body) = request.into_parts();
    let parts = Parts::of_request(body, STORE_DATA, MESSAGE_MAX);
    let requests = futures_util::stream::try_unfold(parts, |mut parts| async {
        let part = match parts.next().await? {
            None => return Ok(None),
            Some(Arrived::Data(data)) => Part::Data(data),
            Some(Arrived::Message(message)) => {
                let message = StoreChunkRequest::decode(message).map_err(|_| unreadable())?;
                message.part.ok_or_else(unreadable)?
            }
        };
        Ok(Some((part, parts)))
    });
    let answers = api.store(&head.extensions, requests.boxed())?;
    Ok(answer(answers.map(|answer: Result<StoreChunkResponse, Status>| answer.map(|message| Sent::whole(&message)))))
}

async fn get(api: &ChunkApi, request: Request<Body>) -> Result<Response<Body>, Status> {
    let (head, body) = request.into_parts();
    let wanted = match Parts::of_request(body, 0, MESSAGE_MAX).next().await? {
        Some(Arrived::Message(message)) => GetChunkRequest::decode(message).map_err(|_| unreadable())?,
        _ => return Err(unreadable()),
    };
    let mut request = tonic::Request::new(wanted);
    *request.extensions_mut() = head.extensions;
    let answers: BoxStream<'static, _> = api.get_chunk(request).await?.into_inner();
    Ok(answer(answers.map(|answer| answer.map(Sent::data))))
}

fn unreadable() -> Status {
    status(ErrorCode::InvalidArgument, "a message that cannot be read")
}

/// A message as it goes out: the data is not copied.
struct Sent {
    head: Bytes,
    data: Bytes,
}

impl Sent {
    fn whole(message: &impl prost::Message) -> Self {
        let mut head = BytesMut::new();
        put_message(&mut head, message);
        Self { head: head.freeze(), data: Bytes::new() }
    }

    fn data(message: GetChunkResponse) -> Self {
        let GetChunkResponse { chunk_length, data } = message;
        let before = GetChunkResponse { chunk_length, data: Bytes::new() };
        if data.is_empty() {
            return Self::whole(&before);
        }
        let mut head = BytesMut::new();
        put_data_head(&mut head, &before.encode_to_vec(), GET_DATA, data.len());
        Self { head: head.freeze(), data }
    }
}

/// The answer of a call that was accepted.
fn answer(messages: impl Stream<Item = Result<Sent, Status>> + Send + 'static) -> Response<Body> {
    let mut answer = Response::new(Body::new(Answer { messages: messages.boxed(), data: Bytes::new(), ended: false }));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    answer
}

struct Answer {
    messages: BoxStream<'static, Result<Sent, Status>>,
    /// Data whose head was sent.
    data: Bytes,
    ended: bool,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if !self.data.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.data)))));
        }
        let outcome = match ready!(self.messages.poll_next_unpin(context)) {
            Some(Ok(Sent { head, data })) => {
                self.data = data;
                return Poll::Ready(Some(Ok(Frame::data(head))));
            }
            Some(Err(status)) => status,
            None => Status::new(Code::Ok, ""),
        };
        self.ended = true;
        let mut trailers = HeaderMap::new();
        outcome.add_header(&mut trailers)?;
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}
