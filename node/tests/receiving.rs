//! Clients of the chunk service that store without keeping to what is usual: they say nothing, or are gone in the middle.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[expect(dead_code, reason = "not every test file uses all of it")]
mod cluster;

use cluster::{AT_MOST, Client, Running, pass};
use cyx_core::error::ErrorCode;
use cyx_proto::chunk::v1::StoreChunkRequest;
use cyx_proto::status::error_code;
use tokio_stream::wrappers::ReceiverStream;

#[tokio::test]
async fn a_stream_that_nobody_opens_ends() {
    let folder = tempfile::tempdir().unwrap();
    let node = Running::start(folder.path(), false).await;
    let mut client = Client::new(node.channel().await);
    let (_parts, sent) = tokio::sync::mpsc::channel::<StoreChunkRequest>(1);
    let mut answers = client.rpc.store_chunk(ReceiverStream::new(sent)).await.unwrap().into_inner();
    pass(61).await;
    let end = tokio::time::timeout(AT_MOST, answers.message()).await.unwrap();
    assert_eq!(error_code(&end.unwrap_err()), ErrorCode::Unavailable);
}
