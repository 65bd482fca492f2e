//! What gRPC calls that are not answered yet have sent: how much memory it may take, of each caller and of all together.
//!
//! A message may be 64 MiB, and its lists as much again, and one caller may have hundreds of calls under way. What an ordinary call sends counts
//! for nothing, so that whoever fills the memory is in the way of large messages only.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use cyx_core::error::ErrorCode;
use cyx_core::ids::{AccountId, MachineId};
use hyper::body::{Frame, SizeHint};
use tonic::Status;

use crate::error::ApiError;

/// What a call may take without being counted.
const UNCOUNTED: usize = 64 * 1024;
/// What all calls of a caller may have sent: three of the longest messages, with few lists.
pub const CALLER_MAX: usize = 192 << 20;
/// What those of all callers may.
const ALL_MAX: usize = 768 << 20;
/// When it is worth trying again.
const PAUSE: Duration = Duration::from_secs(1);

/// Whose calls are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Who {
    /// An account's.
    Account(AccountId),
    /// A storage node's machine's.
    Machine(MachineId),
}

/// What was sent by calls that are not answered yet.
#[derive(Clone, Default)]
pub struct Arriving(Arc<Mutex<Sent>>);

#[derive(Default)]
struct Sent {
    all: usize,
    of: HashMap<Who, usize>,
}

impl Arriving {
    /// Begins to count a call.
    #[must_use]
    pub fn call(&self, who: Who) -> Call {
        Call { arriving: self.clone(), who, sent: Mutex::default() }
    }

    fn locked(&self) -> MutexGuard<'_, Sent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call whose bytes count until this is dropped.
pub struct Call {
    arriving: Arriving,
    who: Who,
    sent: Mutex<usize>,
}

impl Call {
    /// Counts bytes that arrived, or that lists of what arrived will take.
    ///
    /// # Errors
    /// [`ErrorCode::RateLimited`].
    pub fn count(&self, len: usize) -> Result<(), ApiError> {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let more = (*sent + len).saturating_sub(UNCOUNTED.max(*sent));
        if more > 0 {
            let mut arriving = self.arriving.locked();
            let of = arriving.of.get(&self.who).copied().unwrap_or_default() + more;
            if of > CALLER_MAX || arriving.all + more > ALL_MAX {
                let error = ApiError::new(ErrorCode::RateLimited, "too much was sent at once; try again later");
                return Err(error.after(PAUSE));
            }
            arriving.of.insert(self.who, of);
            arriving.all += more;
        }
        *sent += len;
        Ok(())
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let sent = self.sent.get_mut().unwrap_or_else(PoisonError::into_inner);
        let counted = sent.saturating_sub(UNCOUNTED);
        if counted > 0 {
            let mut arriving = self.arriving.locked();
            arriving.all -= counted;
            if let Some(of) = arriving.of.get_mut(&self.who) {
                *of -= counted;
                if *of == 0 {
                    arriving.of.remove(&self.who);
                }
            }
        }
    }
}

/// A request whose bytes are counted as they arrive.
pub(super) struct Counted {
    pub(super) body: Body,
    pub(super) call: Arc<Call>,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        polled.map(|frame| match frame? {
            Ok(frame) => match self.call.count(frame.data_ref().map_or(0, Bytes::len)) {
                Ok(()) => Some(Ok(frame)),
                Err(error) => Some(Err(error.into())),
            },
            Err(error) => Some(Err(Status::from_error(error.into()))),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Who = Who::Account(AccountId([1; 16]));

    fn is_refused(call: &Call, len: usize) -> bool {
        call.count(len).is_err_and(|error| error.code == ErrorCode::RateLimited && error.retry_after.is_some())
    }

    #[test]
    fn a_caller_and_all_together_have_their_share_and_get_it_back() {
        let arriving = Arriving::default();
        let (first, second) = (arriving.call(ONE), arriving.call(ONE));
        first.count(CALLER_MAX).unwrap();
        second.count(UNCOUNTED * 2).unwrap();
        assert!(is_refused(&second, 1));
        let others: Vec<Call> = (2..5).map(|number| arriving.call(Who::Machine(MachineId([number; 16])))).collect();
        for other in &others {
            other.count(CALLER_MAX).unwrap();
        }
        // Whoever sends little is not concerned, whoever else sends how much.
        let last = arriving.call(Who::Account(AccountId([9; 16])));
        last.count(UNCOUNTED).unwrap();
        assert!(is_refused(&last, 5 * UNCOUNTED));
        drop(first);
        last.count(5 * UNCOUNTED).unwrap();
        second.count(CALLER_MAX / 2).unwrap();
        drop((second, others, last));
        let left = arriving.locked();
        assert_eq!((left.all, left.of.len()), (0, 0));
    }

    #[test]
    fn what_comes_in_pieces_counts_as_much_as_in_one() {
        let arriving = Arriving::default();
        let (pieces, whole) = (arriving.call(ONE), arriving.call(ONE));
        for _ in 0..300 {
            pieces.count(1000).unwrap();
        }
        assert_eq!(arriving.locked().all, 300_000 - UNCOUNTED);
        whole.count(300_000).unwrap();
        assert_eq!(arriving.locked().all, 2 * (300_000 - UNCOUNTED));
    }
}
