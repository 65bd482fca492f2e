//! The two calls that move data, past the codec: see [`cyx_proto::bulk`].

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use cyx_proto::bulk::Parts;
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderValue, Method, Request, Version};
use hyper::body::{Body, Frame, Incoming};
use tonic::Status;
use tower::Service as _;

use super::wire::{MESSAGE_MAX, Wire};

/// A request as it goes out: each item is a frame, which is not copied.
pub(super) struct Sent<I>(I);

impl<I: Iterator<Item = Bytes> + Unpin> Sent<I> {
    pub(super) const fn new(frames: I) -> Self {
        Self(frames)
    }
}

impl<I: Iterator<Item = Bytes> + Unpin> Body for Sent<I> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.next().map(|bytes| Ok(Frame::data(bytes))))
    }
}

impl Wire {
    /// Calls a method; the answers carry data in field number `field`.
    pub(super) async fn call_bulk<I>(
        &self,
        path: &'static str,
        sent: Sent<I>,
        field: u32,
    ) -> Result<Parts<Incoming>, Status>
    where
        I: Iterator<Item = Bytes> + Unpin + Send + 'static,
    {
        let mut request = Request::new(tonic::body::Body::new(sent));
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = self.uri(path);
        request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        let broken = |error: hyper::Error| Status::from_error(Box::new(error));
        let mut wire = self.clone();
        std::future::poll_fn(|context| wire.poll_ready(context)).await.map_err(broken)?;
        let (head, body) = wire.call(request).await.map_err(broken)?.into_parts();
        Parts::of_answer((head.status, &head.headers), body, field, MESSAGE_MAX)
    }
}
