//! The life of a write lease: acquired when somebody changes names, activated when everything that others did before is known,
//! renewed, given back when somebody else wants to write or nobody here does any more, and lost when it cannot be renewed.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, io};

use cyx_client::Error;
use cyx_core::error::ErrorCode;
use cyx_core::ids::random_bytes;
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
#[cfg(target_os = "linux")]
use rustix::time::{ClockId, clock_gettime};
use tokio::time::timeout;

use super::{Held, Local, MARGIN, Own, Turn};
use crate::vfs::Inner;
use crate::vfs::node::{Opened, lock};

/// Before the lease is asked for again after somebody else had it, or after a failure; up to as much again is added by chance.
const AGAIN: Duration = Duration::from_secs(5);
/// How long a change of names waits for the lease before it goes its way without.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long changes of names wait for a lease to become active, counted from when it was asked for.
const ACTIVATION: Duration = Duration::from_secs(1);
/// A lease that is not used for so long is given back.
const IDLE: Duration = Duration::from_secs(60);
/// How often is looked whether what others did before was heard.
const LOOK: Duration = Duration::from_millis(5);
/// Between attempts to renew or to finish.
const RETRY: Duration = Duration::from_millis(500);

/// How long the machine has been suspended since it was started. [`Instant`] stands still meanwhile, and the server's clock does not.
#[cfg(target_os = "linux")]
fn suspended() -> Duration {
    let [running, all] = [ClockId::Monotonic, ClockId::Boottime].map(|clock| Duration::try_from(clock_gettime(clock)));
    all.ok().zip(running.ok()).map_or(Duration::ZERO, |(all, running)| all.saturating_sub(running))
}

#[cfg(not(target_os = "linux"))]
fn suspended() -> Duration {
    Duration::ZERO
}

/// When something was asked for: an answer says how it was at that moment, at the earliest.
#[derive(Clone, Copy)]
struct Asked {
    at: Instant,
    suspended: Duration,
}

impl Asked {
    fn now() -> Self {
        // In this order: a suspension in between counts as one behind it.
        Self { suspended: suspended(), at: Instant::now() }
    }
}

impl Held {
    /// A lease that the server gave, or prolonged, when it was asked.
    fn new(lease: pb::WriteLease, asked: Asked) -> Self {
        let before = asked.at;
        let life = Duration::from_millis(lease.remaining_ms);
        let until = before + life.saturating_sub(MARGIN.min(life / 4));
        Self {
            id: lease.lease,
            fencing: lease.fencing,
            granted: before,
            until,
            suspended: asked.suspended,
            renew_at: before + life / 3,
            recalled: lease.recalled,
            from: None,
            active: false,
        }
    }

    /// It is there, by the clocks of this machine.
    pub(super) fn lasts(&self) -> bool {
        self.lasts_at(Instant::now(), suspended())
    }

    /// `suspended`: how long the machine has been by then.
    fn lasts_at(&self, now: Instant, suspended: Duration) -> bool {
        now + suspended.saturating_sub(self.suspended) < self.until
    }
}

impl Local {
    fn lease(&self) -> Option<Held> {
        lock(&self.state).lease.clone()
    }

    fn may_ask(&self) -> bool {
        let state = lock(&self.state);
        !self.closed.is_cancelled()
            && state.lease.is_none()
            && state.ask_again.is_none_or(|again| Instant::now() >= again)
    }

    fn ask_again_in(&self, pause: Duration) {
        lock(&self.state).ask_again = Some(Instant::now() + pause);
    }

    fn is_idle(&self) -> bool {
        let state = lock(&self.state);
        state.queue.is_empty() && state.used.is_none_or(|used| used.elapsed() > IDLE)
    }

    /// Changes the lease, if it still is the one of this number.
    fn with_lease(&self, fencing: u64, change: impl FnOnce(&mut Held)) {
        if let Some(held) = lock(&self.state).lease.as_mut().filter(|held| held.fencing == fencing) {
            change(held);
        }
    }

    /// From now on changes are decided here. Not if changes that others made before may not be known yet.
    pub(super) fn activate(&self, fencing: u64) {
        let mut state = lock(&self.state);
        let Some(held) = state.lease.as_mut().filter(|held| held.fencing == fencing) else { return };
        let Some(from) = held.from else { return };
        held.active = true;
        // It may have been active before: what was assumed since is still to be looked at.
        if state.own.is_none_or(|own| own.fencing != fencing) {
            state.own = Some(Own { fencing, from, upto: from, assumed: from });
        }
        drop(state);
        self.shorter.notify_waiters();
    }

    /// Waits for a lease that was just given to become active. Who changes names without it meanwhile, one after the other, always has a
    /// change on its way whose echo has to be heard first, and the lease never becomes active.
    async fn activation(&self) {
        loop {
            let activated = self.shorter.notified();
            let mut activated = std::pin::pin!(activated);
            activated.as_mut().enable();
            let patience = match &lock(&self.state).lease {
                Some(held) if !held.active && !held.recalled => held.granted + ACTIVATION,
                _ => return,
            };
            if tokio::time::timeout_at(patience.into(), activated).await.is_err() {
                return;
            }
        }
    }

    /// Lets go of a lease. Whether it was there.
    fn drop_lease(&self, fencing: u64) -> bool {
        let mut state = lock(&self.state);
        let is_it = state.lease.as_ref().is_some_and(|held| held.fencing == fencing);
        if is_it {
            state.lease = None;
        }
        drop(state);
        self.shorter.notify_waiters();
        is_it
    }
}

/// The name under which a folder's mounts ask for leases: the same for whichever process uses the folder, and nobody else's. So a mount
/// that follows one that was killed takes its lease over at once.
pub(crate) fn holder(folder: &Path) -> cyx_client::Result<String> {
    let path = folder.join("holder");
    match fs::read_to_string(&path) {
        Ok(holder) if is_holder(&holder) => return Ok(holder),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::local(&path)(error)),
        _ => {}
    }
    let holder = hex::encode(random_bytes::<16>());
    let new = folder.join("holder.new");
    let write = || -> io::Result<()> {
        fs::write(&new, &holder)?;
        fs::rename(&new, &path)
    };
    write().map_err(Error::local(&path))?;
    Ok(holder)
}

fn is_holder(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// [`AGAIN`], and as much again by chance, so that several machines do not ask in step.
fn again() -> Duration {
    let chance: [u8; 2] = random_bytes();
    AGAIN.mul_f64(1.0 + f64::from(u16::from_le_bytes(chance)) / f64::from(u16::MAX))
}

impl Inner {
    /// Somebody wants to change names in a bucket: whether that may be decided here. What it is decided on has to be looked at afterwards.
    pub(crate) async fn turn(&self, home: &Opened) -> Turn {
        home.local.note_use();
        let turn = home.local.turn();
        if turn.is_here() {
            home.local.room().await;
            return home.local.turn();
        }
        self.acquire(home).await;
        home.local.activation().await;
        home.local.turn()
    }

    /// Asks for the write lease, unless it is there or was refused a moment ago.
    pub(crate) async fn acquire(&self, home: &Opened) {
        if !home.local.may_ask() || home.health.offline() {
            return;
        }
        // Whoever comes meanwhile waits: a change that is sent without the lease would recall it.
        let _one = home.local.acquiring.lock().await;
        if !home.local.may_ask() {
            return;
        }
        let asking = async {
            // Nor may one be on its way that was sent without.
            let calls = self.store.calls(home.id);
            let _none = match &calls {
                Some(calls) => Some(calls.write().await),
                None => None,
            };
            let asked = Asked::now();
            let request = pb::AcquireWriteLeaseRequest { bucket: bytes_of(home.id), holder: self.holder.clone() };
            let lease = home.health.ask(self.client.meta.acquire_write_lease(request)).await?;
            let held = Held::new(lease, asked);
            self.store.set_write_lease(home.id, Some(held.pair()));
            lock(&home.local.state).lease = Some(held);
            Ok::<(), Error>(())
        };
        match timeout(PATIENCE, asking).await {
            Ok(Ok(())) => home.local.attend.notify_one(),
            Ok(Err(error)) => {
                tracing::debug!(%error, bucket = %home.id, "no write lease");
                home.local.ask_again_in(again());
            }
            Err(_) => home.local.ask_again_in(again()),
        }
    }

    /// Looks after the write lease of a bucket until the mount ends, or the bucket is not there any more.
    pub(crate) async fn keep_lease(self: Arc<Self>, home: Arc<Opened>) {
        let keeping = async {
            loop {
                let attended = home.local.attend.notified();
                let pause = match home.local.lease() {
                    Some(held) => self.look_after(&home, &held).await,
                    None => Duration::from_secs(3600),
                };
                tokio::select! {
                    () = attended => {}
                    () = tokio::time::sleep(pause) => {}
                }
            }
        };
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = home.local.closed() => {}
            () = keeping => {}
        }
    }

    /// Does what the lease needs now; says when it needs something again.
    async fn look_after(&self, home: &Opened, held: &Held) -> Duration {
        let now = Instant::now();
        if !held.lasts() {
            tracing::info!(bucket = %home.id, "the write lease could not be renewed");
            self.lease_is_over(home, held.fencing);
            return Duration::ZERO;
        }
        if held.recalled || home.local.is_idle() {
            return self.finish_lease(home, held).await;
        }
        if now >= held.renew_at {
            return self.renew(home, held).await;
        }
        if !held.active {
            return self.activate(home, held).await;
        }
        held.renew_at.min(held.until).saturating_duration_since(now)
    }

    async fn renew(&self, home: &Opened, held: &Held) -> Duration {
        let (asked, assumed) = (Asked::now(), home.local.assumed(held.fencing));
        let request = pb::RenewWriteLeaseRequest { bucket: bytes_of(home.id), lease: held.id.clone() };
        let asking = self.client.meta.renew_write_lease(request);
        match tokio::time::timeout_at(held.until.into(), asking).await {
            Ok(Ok(lease)) => {
                let renewed = Held::new(lease, asked);
                home.local.with_lease(held.fencing, |held| {
                    (held.until, held.suspended) = (renewed.until, renewed.suspended);
                    held.renew_at = renewed.renew_at;
                    held.recalled |= renewed.recalled;
                });
                // It has not ended in between, so what was assumed is true.
                if let Some(sequence) = assumed {
                    home.local.note_own(held.fencing, sequence);
                }
                Duration::ZERO
            }
            Ok(Err(error)) if error.code() == ErrorCode::StaleLease => {
                self.lease_is_over(home, held.fencing);
                Duration::ZERO
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, bucket = %home.id, "the write lease is not renewed yet");
                RETRY
            }
            Err(_) => Duration::ZERO,
        }
    }

    /// Decides here from the moment on when what an earlier run decided is sent and all that others did before was heard.
    async fn activate(&self, home: &Opened, held: &Held) -> Duration {
        let Some(from) = held.from else {
            // A long queue goes on when the lease is renewed: without it, what is sent would wait for its end.
            match tokio::time::timeout_at(held.renew_at.into(), self.send_all(home)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::debug!(%error, bucket = %home.id, "what was decided before is not sent yet");
                    return RETRY;
                }
                Err(_) => return Duration::ZERO,
            }
            return match self.client.meta.list_buckets(pb::ListBucketsRequest::default()).await {
                Ok(answer) => {
                    let row = answer.buckets.iter().find(|row| row.id[..] == home.id.0[..]);
                    let sequence = row.map(|row| row.sequence);
                    home.local.with_lease(held.fencing, |held| held.from = sequence);
                    if sequence.is_some() { Duration::ZERO } else { RETRY }
                }
                Err(_) => RETRY,
            };
        };
        if home.local.heard.load(std::sync::atomic::Ordering::Acquire) < from || home.flights.unsettled() {
            return LOOK;
        }
        home.local.activate(held.fencing);
        Duration::ZERO
    }

    /// Sends what was decided and gives the lease back.
    async fn finish_lease(&self, home: &Opened, held: &Held) -> Duration {
        home.local.with_lease(held.fencing, |held| held.active = false);
        let sent = tokio::time::timeout_at(held.until.into(), self.send_all(home)).await;
        if let Ok(Err(error)) = sent {
            tracing::debug!(%error, bucket = %home.id, "what was decided is not sent yet");
            if home.health.offline() || home.local.has_ready() {
                return RETRY;
            }
            // What is left waits for content that cannot be stored; nobody else is to wait for that.
        }
        if held.recalled {
            home.local.ask_again_in(again());
        }
        match self.make_sure(home, held).await {
            Some(pause) => pause,
            None => {
                self.release(home, held).await;
                Duration::ZERO
            }
        }
    }

    /// Finds out whether what was taken for this machine's own is: giving the lease back does not tell whether it was there. `None` if so,
    /// else when to try again.
    async fn make_sure(&self, home: &Opened, held: &Held) -> Option<Duration> {
        let assumed = home.local.assumed(held.fencing)?;
        let pause = self.renew(home, held).await;
        (!home.local.is_own_for_sure(assumed)).then_some(pause)
    }

    async fn release(&self, home: &Opened, held: &Held) {
        if !self.lose_lease(home, held.fencing) {
            return;
        }
        let request = pb::ReleaseWriteLeaseRequest { bucket: bytes_of(home.id), lease: held.id.clone() };
        match timeout(PATIENCE, self.client.meta.release_write_lease(request)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(%error, bucket = %home.id, "the write lease ends by itself"),
            Err(_) => tracing::debug!(bucket = %home.id, "the write lease ends by itself"),
        }
    }

    /// Sends what was decided and gives the lease back, if it is there: so that others, or calls that cannot name it, need not wait.
    ///
    /// # Errors
    /// As [`Self::send_all`].
    pub(crate) async fn give_back(&self, home: &Opened) -> cyx_client::Result<()> {
        let Some(held) = home.local.lease() else { return self.send_all(home).await };
        home.local.with_lease(held.fencing, |held| held.active = false);
        self.send_all(home).await?;
        // Otherwise it is over, or will be recalled.
        if self.make_sure(home, &held).await.is_none() {
            self.release(home, &held).await;
        }
        Ok(())
    }

    /// Gives leases back at the end, of buckets in which nothing is left to be sent. The others' are needed again by the next run.
    pub(crate) async fn give_back_unused(&self) {
        for root in self.buckets.roots() {
            let home = &root.home;
            if let Some(held) = home.local.lease().filter(|_| !home.local.is_pending()) {
                self.release(home, &held).await;
            }
        }
    }

    /// The lease is over, and may have been for long: what was taken for this machine's own may be of others.
    pub(super) fn lease_is_over(&self, home: &Opened, fencing: u64) {
        // Nothing is assumed any more once it is lost.
        if self.lose_lease(home, fencing) && home.local.assumed(fencing).is_some() {
            self.doubt_everything(home);
        }
    }

    /// The lease is over. Whether it was there.
    fn lose_lease(&self, home: &Opened, fencing: u64) -> bool {
        let was_there = home.local.drop_lease(fencing);
        if was_there {
            self.store.set_write_lease(home.id, None);
            home.local.attend.notify_one();
            home.local.send.notify_one();
        }
        was_there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_trusted_for_less_than_its_life_counted_from_before_it_was_asked_for() {
        let asked = Asked::now();
        let before = asked.at;
        let held = |remaining_ms| Held::new(pb::WriteLease { remaining_ms, ..pb::WriteLease::default() }, asked);
        assert_eq!(held(30_000).until, before + Duration::from_secs(28));
        assert_eq!(held(30_000).renew_at, before + Duration::from_secs(10));
        assert_eq!(held(2_000).until, before + Duration::from_millis(1_500));
        assert_eq!(held(0).until, before);
    }

    #[test]
    fn a_lease_goes_on_while_the_machine_is_suspended() {
        let asked = Asked { at: Instant::now(), suspended: Duration::from_secs(1000) };
        let held = Held::new(pb::WriteLease { remaining_ms: 30_000, ..pb::WriteLease::default() }, asked);
        let soon = asked.at + Duration::from_secs(1);
        assert!(held.lasts_at(soon, asked.suspended));
        assert!(held.lasts_at(soon, asked.suspended + Duration::from_secs(26)));
        assert!(!held.lasts_at(soon, asked.suspended + Duration::from_secs(27)));
        assert!(!held.lasts_at(asked.at + Duration::from_secs(28), asked.suspended));
        assert!(held.lasts_at(soon, Duration::ZERO), "no clock goes back");
    }

    #[tokio::test]
    async fn who_changes_names_waits_for_a_lease_to_become_active_but_not_for_long() {
        let given = |granted: Instant| {
            let local = Local::default();
            let lease = pb::WriteLease { remaining_ms: 30_000, ..pb::WriteLease::default() };
            let asked = Asked { at: granted, ..Asked::now() };
            lock(&local.state).lease = Some(Held { from: Some(7), ..Held::new(lease, asked) });
            local
        };
        Local::default().activation().await;
        let local = given(Instant::now() + Duration::from_secs(3600));
        let mut waiting = Box::pin(local.activation());
        assert!(futures_util::poll!(&mut waiting).is_pending());
        local.activate(0);
        waiting.await;
        assert!(local.turn().is_here());
        let local = given(Instant::now() + Duration::from_secs(3600));
        let mut waiting = Box::pin(local.activation());
        assert!(futures_util::poll!(&mut waiting).is_pending());
        local.drop_lease(0);
        waiting.await;
        // Long ago: something keeps it.
        let local = given(Instant::now().checked_sub(ACTIVATION).unwrap());
        local.activation().await;
        assert!(!local.turn().is_here());
    }

    #[test]
    fn what_was_assumed_under_a_lease_is_not_forgotten_when_that_becomes_active_again() {
        let local = Local::default();
        let give = |fencing| {
            let lease = pb::WriteLease { remaining_ms: 30_000, fencing, ..pb::WriteLease::default() };
            lock(&local.state).lease = Some(Held { from: Some(7), ..Held::new(lease, Asked::now()) });
            local.activate(fencing);
        };
        give(1);
        assert!(local.is_own(9));
        local.with_lease(1, |held| held.active = false);
        local.activate(1);
        assert_eq!(local.assumed(1), Some(9));
        give(2);
        assert_eq!((local.assumed(1), local.assumed(2)), (None, None));
    }

    #[test]
    fn a_folder_keeps_its_name_and_gets_another_one_if_that_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let first = holder(folder.path()).unwrap();
        assert_eq!(holder(folder.path()).unwrap(), first);
        fs::write(folder.path().join("holder"), "torn").unwrap();
        let second = holder(folder.path()).unwrap();
        assert!(is_holder(&second) && second != first);
        assert_ne!(holder(tempfile::tempdir().unwrap().path()).unwrap(), second);
    }

    #[test]
    fn asking_again_is_not_in_step_and_not_at_once() {
        for _ in 0..100 {
            assert!((AGAIN..=AGAIN * 2).contains(&again()));
        }
    }
}
