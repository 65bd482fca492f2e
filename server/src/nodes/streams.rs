//! Answers in parts to nodes, one per node at a time.
//!
//! Whoever makes the parts of a keep-list has millions of ids in memory meanwhile, so neither a node that does not read nor one that asks again and
//! again may keep more than one of them.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cyx_core::error::ErrorCode;
use cyx_core::ids::NodeId;
use futures_util::{StreamExt as _, stream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::error::ApiError;

/// Parts that wait to be sent: one more than the one that is being made.
const PARTS_AHEAD: usize = 2;
/// How long a part waits for a node that applies the one before it: a slow disk has up to a million chunks to look for.
const PATIENCE: Duration = Duration::from_secs(300);

/// Parts of an answer as the node gets them.
pub type Parts<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Where the parts of an answer go.
pub struct PartSender<T> {
    parts: mpsc::Sender<T>,
    patience: Duration,
}

impl<T> PartSender<T> {
    /// Hands a part to the node.
    ///
    /// # Errors
    /// If it does not read, or has hung up.
    pub async fn send(&self, part: T) -> Result<(), ApiError> {
        let sent = tokio::time::timeout(self.patience, self.parts.send(part)).await;
        sent.map_err(|_| unavailable("the node did not read for too long"))?
            .map_err(|_| unavailable("the node hung up"))
    }
}

fn unavailable(why: &str) -> ApiError {
    ApiError::new(ErrorCode::Unavailable, why)
}

/// The answers that are being made.
pub struct Streams {
    running: Mutex<HashMap<NodeId, AbortHandle>>,
    patience: Duration,
}

impl Default for Streams {
    fn default() -> Self {
        Self { running: Mutex::default(), patience: PATIENCE }
    }
}

impl Streams {
    /// Answers with what `make` sends. An answer to the same node that is not at its end is given up, which its receiver is told.
    pub fn begin<T, F, W>(&self, node: NodeId, make: F) -> Parts<T>
    where
        T: Send + 'static,
        F: FnOnce(PartSender<T>) -> W,
        W: Future<Output = Result<(), ApiError>> + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(PARTS_AHEAD);
        let (end, ended) = oneshot::channel();
        let work = make(PartSender { parts: sender, patience: self.patience });
        // Whoever hung up does not listen to why it ended.
        let task = tokio::spawn(async move { drop(end.send(work.await)) });
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|_, task| !task.is_finished());
        if let Some(before) = running.insert(node, task.abort_handle()) {
            before.abort();
        }
        drop(running);
        let end = async move {
            match ended.await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(Err(error.into())),
                Err(_) => Some(Err(unavailable("this node has asked again").into())),
            }
        };
        Box::pin(ReceiverStream::new(receiver).map(Ok).chain(stream::once(end).filter_map(std::future::ready)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endless(streams: &Streams, node: u8) -> Parts<u32> {
        streams.begin(NodeId([node; 16]), |sender| async move {
            for number in 0.. {
                sender.send(number).await?;
            }
            Ok(())
        })
    }

    #[tokio::test]
    async fn a_newer_answer_ends_the_one_before_and_that_of_no_other_node() {
        let streams = Streams::default();
        let [first, mut other, mut second] = [1, 2, 1].map(|node| endless(&streams, node));
        let first: Vec<Result<u32, Status>> = first.collect().await;
        assert!(first.last().is_some_and(Result::is_err), "{first:?}");
        for expected in 0..10 {
            assert_eq!(second.next().await.unwrap().unwrap(), expected);
            assert_eq!(other.next().await.unwrap().unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn who_does_not_read_is_not_waited_for() {
        let streams = Streams { patience: Duration::ZERO, ..Streams::default() };
        let parts = endless(&streams, 1);
        while streams.running.lock().unwrap().values().any(|task| !task.is_finished()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let parts: Vec<Result<u32, Status>> = parts.collect().await;
        assert_eq!(parts.len(), PARTS_AHEAD + 1);
        assert!(parts.last().is_some_and(Result::is_err), "{parts:?}");
    }

    #[tokio::test]
    async fn a_whole_answer_ends_without_an_error() {
        let parts = Streams::default().begin(NodeId([1; 16]), |sender| async move { sender.send(7).await });
        let parts: Vec<Result<u32, Status>> = parts.collect().await;
        assert_eq!(parts.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [7]);
    }
}
