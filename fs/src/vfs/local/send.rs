//! Sends what was decided, in order, many changes in one call.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use cyx_client::meta::fault_error;
use cyx_client::{Error, IntegrityError, Result};
use cyx_core::error::ErrorCode;
use cyx_core::ids::InodeId;
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;

use super::{Failure, Item, Local, PAUSE_MAX, PAUSE_MIN, count_down};
use crate::content::ContentError;
use crate::vfs::Inner;
use crate::vfs::apply::journal_error;
use crate::vfs::node::{Opened, lock};

/// What is decided is gathered for so long before it is sent behind everybody's back.
const GATHER: Duration = Duration::from_millis(50);

impl Local {
    /// Number behind the last change that was decided.
    fn end(&self) -> (u64, u64) {
        let state = lock(&self.state);
        (state.next, state.failed)
    }

    /// Every change below this number is done with.
    fn is_sent(&self, end: u64) -> bool {
        lock(&self.state).queue.front().is_none_or(|first| first.number >= end)
    }

    /// Why somebody else failed since; or a moment ago, if the server is away.
    fn failed_since(&self, failed: u64, offline: bool) -> Option<Error> {
        let state = lock(&self.state);
        let failure = state.failure.as_ref()?;
        (state.failed > failed || (offline && failure.again > Instant::now())).then(|| Error::Network {
            what: "changes of names are not sent yet".to_owned(),
            reason: failure.reason.clone(),
        })
    }

    /// How often it has failed in a row.
    fn note_failure(&self, error: &Error) -> u32 {
        let mut state = lock(&self.state);
        let pause = PAUSE_MIN.saturating_mul(1 << state.failures.min(8)).min(PAUSE_MAX);
        state.failures = state.failures.saturating_add(1);
        state.failed += 1;
        state.failure = Some(Failure { reason: error.to_string(), again: Instant::now() + pause });
        state.failures
    }

    fn note_success(&self) {
        let mut state = lock(&self.state);
        state.failures = 0;
        state.failure = None;
    }

    /// The file whose content the change at the front waits for.
    fn waits_for(&self) -> Option<(u64, InodeId)> {
        let state = lock(&self.state);
        let front = state.queue.front()?;
        front.after.map(|inode| (front.number, inode))
    }

    fn stop_waiting(&self, number: u64) {
        let mut state = lock(&self.state);
        let front = state.queue.front_mut().filter(|front| front.number == number);
        let Some(inode) = front.and_then(|front| front.after.take()) else { return };
        count_down(&mut state.awaited, inode);
    }

    /// Another mutation takes the place of the one at the front.
    pub(super) fn replace_front(&self, number: u64, mutation: pb::Mutation) {
        let mut state = lock(&self.state);
        if let Some(front) = state.queue.front_mut().filter(|front| front.number == number) {
            front.mutation = mutation;
        }
    }

    /// The change at the front is done with. The file whose content may be committed now.
    pub(super) fn take_front(&self, number: u64) -> Option<InodeId> {
        let mut state = lock(&self.state);
        let item = match state.queue.front() {
            Some(front) if front.number == number => state.queue.pop_front()?,
            _ => return None,
        };
        let freed = state.unhold(&item.mutation);
        state.untouch(&item.mutation);
        drop(state);
        self.done.fetch_add(1, Ordering::AcqRel);
        self.shorter.notify_waiters();
        freed
    }

    fn retry_in(&self) -> Duration {
        let state = lock(&self.state);
        state.failure.as_ref().map_or(GATHER, |failure| failure.again.saturating_duration_since(Instant::now()))
    }
}

impl Inner {
    /// Sends what is decided in a bucket, behind everybody's back, until the mount ends.
    pub(crate) async fn keep_sending(self: Arc<Self>, home: Arc<Opened>) {
        let sending = async {
            loop {
                let more = home.local.send.notified();
                if !home.local.is_pending() {
                    more.await;
                }
                tokio::time::sleep(home.local.retry_in()).await;
                if let Err(error) = self.send_all(&home).await {
                    tracing::debug!(%error, bucket = %home.id, "changes of names are not sent yet");
                }
            }
        };
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = sending => {}
        }
    }

    /// Returns when everything that was decided in a bucket by now is known to the server.
    ///
    /// # Errors
    /// If it could not be sent. It stays in the journal, and is tried again.
    pub(crate) async fn send_all(&self, home: &Opened) -> Result<()> {
        let (end, failed) = home.local.end();
        while !home.local.is_sent(end) {
            let _one = home.local.sending.lock().await;
            if home.local.is_sent(end) {
                break;
            }
            if let Some(error) = home.local.failed_since(failed, home.health.offline()) {
                return Err(error);
            }
            match self.send_some(home).await {
                Ok(()) => home.local.note_success(),
                Err(error) => {
                    let failures = home.local.note_failure(&error);
                    if error.is_transient() {
                        home.health.set_offline();
                    } else if failures == 1 {
                        self.report(format!(
                            "changes of names in the bucket {} are not sent yet: {error}",
                            home.bucket.name
                        ));
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Returns when the server knows everything that was decided about these inodes by now.
    ///
    /// # Errors
    /// As [`Self::send_all`].
    pub(crate) async fn settle(&self, home: &Opened, inodes: &[InodeId]) -> Result<()> {
        if home.local.touches(inodes) { self.send_all(home).await } else { Ok(()) }
    }

    /// Sends what is decided in all buckets.
    ///
    /// # Errors
    /// The first, after all were tried.
    pub(crate) async fn send_everything(&self) -> Result<()> {
        let mut first = Ok(());
        for root in self.buckets.roots() {
            let sent = self.send_all(&root.home).await;
            first = first.and(sent);
        }
        first
    }

    /// Sends the front of the queue. `sending` is held.
    async fn send_some(&self, home: &Opened) -> Result<()> {
        if let Some((number, inode)) = home.local.waits_for() {
            self.commit_before(home, inode).await?;
            home.local.stop_waiting(number);
            return Ok(());
        }
        let batch = lock(&home.local.state).batch();
        if batch.is_empty() {
            return Ok(());
        }
        // What a killed run had under its lease must not wait for that lease's end.
        self.acquire(home).await;
        let mutations = batch.iter().map(|item| item.mutation.clone()).collect();
        let flight = home.flights.begin();
        let Some(answer) = self.call(home, mutations).await? else { return Ok(()) };
        let made = batch.iter().zip(&answer.results).filter(|(_, result)| result.fault.is_none() && !result.replayed);
        home.flights.made(answer.sequence, made.map(|(item, _)| item.changes).sum());
        drop(flight);
        if answer.results.len() != batch.len() {
            return Err(IntegrityError::Mismatch("a mutation has no result").into());
        }
        for (item, result) in batch.iter().zip(&answer.results) {
            if let Some(fault) = &result.fault {
                let error = fault_error(fault);
                if !self.refused(home, item, &error, result).await? {
                    // It was changed and is sent again, and what comes behind it as well: what of that is done already is not done twice.
                    return Ok(());
                }
            }
            self.done(home, item)?;
        }
        Ok(())
    }

    /// One call that changes a bucket, under the lease if it is there. `None`: it was under one that is over, and nothing was done.
    pub(in crate::vfs) async fn call(
        &self,
        home: &Opened,
        mutations: Vec<pb::Mutation>,
    ) -> Result<Option<pb::ApplyResponse>> {
        let calls = self.store.calls(home.id);
        let _call = match &calls {
            Some(calls) => Some(calls.read().await),
            None => None,
        };
        let under = home.local.pair();
        let request = pb::ApplyRequest {
            bucket: bytes_of(home.id),
            mutations,
            write_lease: under.as_ref().map(|lease| lease.id.clone()).unwrap_or_default(),
            fencing: under.as_ref().map_or(0, |lease| lease.fencing),
        };
        match (self.client.meta.apply(request).await, under) {
            (Ok(answer), under) => {
                self.health.set_online();
                if let Some(under) = under {
                    home.local.note_own(under.fencing, answer.sequence);
                }
                Ok(Some(answer))
            }
            (Err(error), Some(under)) if error.code() == ErrorCode::StaleLease => {
                tracing::info!(bucket = %home.id, "the write lease is over");
                self.lose_lease(home, under.fencing);
                Ok(None)
            }
            (Err(error), _) => Err(error),
        }
    }

    /// A change is done with, in one way or the other.
    fn done(&self, home: &Opened, item: &Item) -> Result<()> {
        self.store.journal().finish(item.note).map_err(journal_error)?;
        if let Some(inode) = home.local.take_front(item.number) {
            self.allow(home, inode);
        }
        Ok(())
    }

    /// The content of a file may be committed now, unless the file has no name any more.
    fn allow(&self, home: &Opened, inode: InodeId) {
        let Some(content) = self.store.existing(home.id, inode) else { return };
        let orphaned = self.table.by_id(home.id, inode).is_some_and(|node| lock(&node.facts).nlink == 0);
        if !orphaned {
            home.local.if_free(inode, || content.allow());
        }
    }

    /// Commits what was written to a file that takes the place of another one, before it does.
    async fn commit_before(&self, home: &Opened, inode: InodeId) -> Result<()> {
        let Some(content) = self.store.existing(home.id, inode) else { return Ok(()) };
        match content.commit().await {
            Ok(()) => Ok(()),
            // A conflict copy is made of it by whoever looks after those; the name goes its way.
            Err(ContentError::Lost) => Ok(()),
            Err(error) => Err(crate::vfs::store_error(error)),
        }
    }
}
