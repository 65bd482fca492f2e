//! Who reads at the same time, and for how long: a client that takes no answers must not keep others from reading.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use cyx_core::error::ErrorCode;
use cyx_proto::status::status;
use futures_util::Stream;
use futures_util::stream::BoxStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tonic::Status;

use super::{READS_MAX, store_status};
use crate::store::StoreError;

/// Chunks that one session reads at the same time, on all its connections together.
const SESSION_MAX: usize = READS_MAX / 2;

/// Permits for chunks being read.
pub(super) struct Reads {
    all: Arc<Semaphore>,
    /// What each session may take of them, as long as somebody has or waits for some of it.
    shares: Mutex<HashMap<[u8; 32], Weak<Semaphore>>>,
}

/// The right to read one chunk.
pub(super) struct ReadPermit {
    _share: OwnedSemaphorePermit,
    _permit: OwnedSemaphorePermit,
}

impl Reads {
    pub(super) fn new() -> Self {
        Self { all: Arc::new(Semaphore::new(READS_MAX)), shares: Mutex::default() }
    }

    /// Waits until a session may read one more chunk.
    pub(super) async fn permit(&self, session: &[u8; 32]) -> Result<ReadPermit, Status> {
        let stopped = |_| store_status(&StoreError::Stopped);
        // Its own share first: what waits for that keeps nobody else waiting.
        let share = self.share(session).acquire_owned().await.map_err(stopped)?;
        let permit = Arc::clone(&self.all).acquire_owned().await.map_err(stopped)?;
        Ok(ReadPermit { _share: share, _permit: permit })
    }

    fn share(&self, session: &[u8; 32]) -> Arc<Semaphore> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get(session).and_then(Weak::upgrade) {
            return share;
        }
        if shares.len() >= READS_MAX {
            shares.retain(|_, share| share.strong_count() > 0);
        }
        let share = Arc::new(Semaphore::new(SESSION_MAX));
        shares.insert(*session, Arc::downgrade(&share));
        share
    }
}

/// A stream that is given up, with all that it holds, when no item is taken for `stall`.
///
/// A stream whose client grants no window is not polled, so somebody else looks at the clock.
pub(super) fn taken_within<T: Send + 'static>(
    stall: Duration,
    stream: BoxStream<'static, Result<T, Status>>,
) -> impl Stream<Item = Result<T, Status>> + Send {
    let state = State { stream: Some(stream), taken: Instant::now(), waker: None, given_up: false };
    let state = Arc::new(Mutex::new(state));
    let watch = tokio::spawn(watch(Arc::downgrade(&state), stall)).abort_handle();
    Watched { state, watch }
}

struct State<T> {
    stream: Option<BoxStream<'static, Result<T, Status>>>,
    /// When something was taken last.
    taken: Instant,
    /// Who waits for the next item.
    waker: Option<Waker>,
    given_up: bool,
}

struct Watched<T> {
    state: Arc<Mutex<State<T>>>,
    watch: AbortHandle,
}

impl<T> Stream for Watched<T> {
    type Item = Result<T, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(stream) = &mut state.stream else {
            let why = std::mem::take(&mut state.given_up);
            return Poll::Ready(why.then(|| Err(status(ErrorCode::Unavailable, "nothing was taken for too long"))));
        };
        let polled = stream.as_mut().poll_next(context);
        match &polled {
            Poll::Pending => state.waker = Some(context.waker().clone()),
            Poll::Ready(Some(Ok(_))) => state.taken = Instant::now(),
            // The end: what the stream holds is of no use any more.
            Poll::Ready(_) => state.stream = None,
        }
        polled
    }
}

impl<T> Drop for Watched<T> {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

async fn watch<T>(state: Weak<Mutex<State<T>>>, stall: Duration) {
    loop {
        let until = {
            let Some(state) = state.upgrade() else { return };
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            let until = state.taken + stall;
            if state.stream.is_none() {
                return;
            }
            if until <= Instant::now() {
                state.stream = None;
                state.given_up = true;
                if let Some(waker) = state.waker.take() {
                    waker.wake();
                }
                return;
            }
            until
        };
        tokio::time::sleep_until(until).await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, StreamExt as _};

    use super::*;

    fn endless(held: &Arc<()>) -> BoxStream<'static, Result<u8, Status>> {
        let held = Arc::clone(held);
        futures_util::stream::repeat_with(move || Ok(u8::try_from(Arc::strong_count(&held)).unwrap())).boxed()
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_taken_is_given_up_with_what_it_holds() {
        let held = Arc::new(());
        let stall = Duration::from_secs(60);
        let mut stream = taken_within(stall, endless(&held)).boxed();
        for _ in 0..5 {
            tokio::time::sleep(stall * 3 / 4).await;
            assert!(stream.next().await.unwrap().is_ok(), "slow, but not too slow");
        }
        tokio::time::sleep(stall * 2).await;
        assert_eq!(Arc::strong_count(&held), 1);
        assert!(stream.next().await.unwrap().is_err());
        assert!(stream.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_for_an_item_is_told_that_it_is_given_up() {
        let never = futures_util::stream::pending::<Result<u8, Status>>().boxed();
        let mut stream = taken_within(Duration::from_secs(60), never).boxed();
        assert!(stream.next().await.unwrap().is_err());
    }

    #[tokio::test]
    async fn a_session_takes_half_of_the_permits_and_leaves_the_rest() {
        let reads = Reads::new();
        let mut taken = Vec::new();
        for _ in 0..SESSION_MAX {
            taken.push(reads.permit(&[1; 32]).await.unwrap());
        }
        assert!(reads.permit(&[1; 32]).now_or_never().is_none());
        assert!(reads.permit(&[2; 32]).now_or_never().is_some());
        taken.pop();
        assert!(reads.permit(&[1; 32]).now_or_never().is_some());
    }
}
