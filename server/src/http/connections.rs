//! Connections of one listener: how many each address has, and whether one is asked anything.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

use crate::accounts::limits;

/// Counts the connections of each address and bounds them.
#[derive(Clone)]
pub(super) struct ConnectionLimiter {
    most: usize,
    taken: Arc<Mutex<HashMap<String, usize>>>,
}

/// Lets one connection be there, and whatever became of it, until the last clone is dropped.
#[derive(Clone)]
pub struct ConnectionPermit {
    _slot: Arc<Slot>,
}

struct Slot {
    limiter: ConnectionLimiter,
    address: String,
    _permit: OwnedSemaphorePermit,
}

impl ConnectionLimiter {
    /// At most so many for each address.
    pub(super) fn new(most: usize) -> Self {
        Self { most, taken: Arc::default() }
    }

    /// A permit for a connection; none if its address has its share already.
    pub(super) fn take(&self, peer: IpAddr, permit: OwnedSemaphorePermit) -> Option<ConnectionPermit> {
        let address = limits::address(peer);
        let mut taken = self.locked();
        let count = taken.entry(address.clone()).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(ConnectionPermit { _slot: Arc::new(Slot { limiter: self.clone(), address, _permit: permit }) })
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.limiter.locked();
        if let Some(count) = taken.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

/// The requests of one connection.
#[derive(Clone, Default)]
pub(super) struct Requests(Arc<Counts>);

#[derive(Default)]
struct Counts {
    begun: AtomicU64,
    running: AtomicU64,
}

impl Requests {
    /// Counts a request until its answer is sent to the end: some last as long as their client listens.
    pub(super) fn follow<F, E>(&self, answer: F) -> impl Future<Output = Result<http::Response<Body>, E>> + use<F, E>
    where
        F: Future<Output = Result<http::Response<Body>, E>>,
    {
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        self.0.running.fetch_add(1, Ordering::Relaxed);
        let running = Running(Arc::clone(&self.0));
        async move { Ok(answer.await?.map(|body| Body::new(Followed { body, _running: running }))) }
    }

    /// Whether there are none, and none began since this was asked last.
    pub(super) fn are_none_since(&self, seen: &mut u64) -> bool {
        let begun = self.0.begun.load(Ordering::Relaxed);
        std::mem::replace(seen, begun) == begun && self.0.running.load(Ordering::Relaxed) == 0
    }
}

struct Running(Arc<Counts>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An answer that is still sent.
struct Followed {
    body: Body,
    _running: Running,
}

impl HttpBody for Followed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    async fn semaphore_permit() -> OwnedSemaphorePermit {
        Arc::new(tokio::sync::Semaphore::new(1)).acquire_owned().await.unwrap()
    }

    /// A permit where there is room.
    pub(crate) async fn permit() -> ConnectionPermit {
        ConnectionLimiter::new(1).take([127, 0, 0, 1].into(), semaphore_permit().await).unwrap()
    }

    #[tokio::test]
    async fn an_address_has_its_share_and_gets_it_back() {
        let (limiter, [one, other]) =
            (ConnectionLimiter::new(2), [IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2])]);
        let first = limiter.take(one, semaphore_permit().await).unwrap();
        let second = limiter.take(one, semaphore_permit().await).unwrap();
        assert!(limiter.take(one, semaphore_permit().await).is_none());
        let third = limiter.take(other, semaphore_permit().await).unwrap();
        // A WebSocket goes on.
        let kept = first.clone();
        drop(first);
        assert!(limiter.take(one, semaphore_permit().await).is_none());
        drop(kept);
        assert!(limiter.take(one, semaphore_permit().await).is_some());
        drop((second, third));
        assert!(limiter.locked().is_empty());
    }

    #[tokio::test]
    async fn a_request_lasts_until_its_answer_is_sent() {
        let (requests, mut seen) = (Requests::default(), 0);
        assert!(requests.are_none_since(&mut seen));
        let answer = requests.follow(async { Ok::<_, axum::Error>(http::Response::new(Body::from("word"))) });
        assert!(!requests.are_none_since(&mut seen));
        let answer = answer.await.unwrap();
        assert!(!requests.are_none_since(&mut seen));
        drop(answer);
        assert!(requests.are_none_since(&mut seen));
        drop(requests.follow(std::future::pending::<Result<_, axum::Error>>()));
        assert!(!requests.are_none_since(&mut seen), "one was there meanwhile");
        assert!(requests.are_none_since(&mut seen));
    }
}
