//! When changes are committed: soon after they were made, and after a pause if that failed.
//!
//! Pauses double, because a server and nodes that are away are not to be asked all the time by everything that waits for them. So that nothing
//! waits for long behind their return, such a pause ends early
//!
//! - when the server is connected again, or something that had failed as well is committed: for everything that waits for them;
//! - when nothing was tried for [`TRIED_EVERY`]: for the one that waits longest, because nodes that are back do not say so.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::store::{Shared, Store, lock};
use super::{Content, Inner};

/// First pause after a failure; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// No sign makes a pause shorter than this: a connection may come and go.
const PAUSE_LEAST: Duration = Duration::from_secs(5);
/// Of all that wait for server or nodes, one is tried so long after the last attempt of any.
const TRIED_EVERY: Duration = Duration::from_secs(10);

/// From a failure to the next attempt.
#[derive(Clone, Copy)]
pub(super) struct Pause {
    began: Instant,
    until: Instant,
    /// Server or nodes were away, rather than something being wrong with this file.
    is_outage: bool,
}

impl Inner {
    /// Something failed, and is tried again after a pause.
    pub(super) fn pause(&mut self, is_outage: bool) {
        let (pause, began) = (PAUSE_MIN.saturating_mul(1 << self.failures.min(10)).min(PAUSE_MAX), Instant::now());
        self.failures = self.failures.saturating_add(1);
        self.pause = Some(Pause { began, until: began + pause, is_outage });
    }

    /// It was tried, and server or nodes were away.
    pub(super) fn is_outage(&self) -> bool {
        self.pause.is_some_and(|pause| pause.is_outage)
    }
}

/// Contents that wait for server or nodes.
#[derive(Default)]
struct Waiting {
    /// One of them is being tried, or is about to be.
    is_tried: bool,
    /// When the last one failed.
    latest: Option<Instant>,
    /// Since when the one waits that waits longest, and when it is due but for that.
    longest: Option<(Instant, Instant, Arc<Content>)>,
}

impl Waiting {
    /// One that is being tried.
    fn try_one(&mut self, inner: &Inner) {
        self.is_tried |= inner.is_outage();
    }

    /// One that is due at `at`, but for its pause.
    fn take(&mut self, content: &Arc<Content>, inner: &Inner, at: Instant) {
        let Some(Pause { began, until, .. }) = inner.pause.filter(|pause| pause.is_outage) else { return };
        self.is_tried |= until.max(at) <= Instant::now();
        self.latest = self.latest.max(Some(began));
        if self.longest.as_ref().is_none_or(|(longest, ..)| began < *longest) {
            self.longest = Some((began, at, Arc::clone(content)));
        }
    }

    /// The one that is tried before its pause is over, and when.
    fn next(self) -> Option<(Instant, Arc<Content>)> {
        let (_, at, content) = self.longest.filter(|_| !self.is_tried)?;
        Some((at.max(self.latest? + TRIED_EVERY), content))
    }
}

impl Shared {
    /// Contents whose changes should be committed now, and when the next ones should be.
    pub(super) fn due(&self, all: bool) -> (Vec<Arc<Content>>, Option<Instant>) {
        let now = Instant::now();
        let mut next: Option<Instant> = None;
        let (mut due, mut waiting) = (Vec::new(), Waiting::default());
        let busy = lock(&self.busy);
        for (file, content) in &*lock(&self.dirty) {
            let inner = content.inner();
            if busy.contains(file) {
                waiting.try_one(&inner);
                continue;
            }
            if inner.held || inner.filling || inner.lost || inner.is_settled() || self.is_gone(file.bucket) {
                continue;
            }
            let is_urgent = all || inner.grown >= self.options.grown;
            let (Some(since), Some(latest)) = (inner.since, inner.latest) else { continue };
            let mut at = (latest + self.options.idle).min(since + self.options.age);
            if inner.soon || is_urgent {
                at = now;
            }
            waiting.take(content, &inner, at);
            at = inner.pause.map_or(at, |pause| at.max(pause.until));
            drop(inner);
            if at <= now {
                due.push(Arc::clone(content));
            } else {
                next = Some(next.map_or(at, |next| next.min(at)));
            }
        }
        if let Some((at, content)) = waiting.next() {
            if at <= now {
                due.push(content);
            } else {
                next = Some(next.map_or(at, |next| next.min(at)));
            }
        }
        (due, next)
    }

    /// Server or nodes seem to be back: what waits for them is tried soon.
    pub(super) fn try_again(&self) {
        let now = Instant::now();
        for content in lock(&self.dirty).values() {
            if let Some(pause) = content.inner().pause.as_mut().filter(|pause| pause.is_outage) {
                pause.until = pause.until.min(now.max(pause.began + PAUSE_LEAST));
            }
        }
        self.wake.notify_one();
    }
}

impl Store {
    /// The server is connected again: what waits for it is tried soon.
    pub(crate) fn connected(&self) {
        self.shared.try_again();
    }
}
