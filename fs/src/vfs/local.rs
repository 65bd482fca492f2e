//! Deciding changes of names on this machine, while it is the only one that changes a bucket.
//!
//! Under the bucket's write lease nobody else changes anything, so what is known here is true, and what is decided here stays true. A
//! change is answered as soon as it is in the journal; it is sent behind, in order, many in one call. Whoever asks the server about
//! something waits until everything that was decided about it is there, so that no answer is older than what programs were told already.
//!
//! ```text
//! turn      the lease is wanted; may it be decided here?
//! decide    into the journal and into the queue, in one step
//! send      what can be sent, in one call; what the server refuses is kept beside or reported
//! lease     acquired, activated, renewed, given back, lost
//! ```
//!
//! | the lease | changes of names |
//! |---|---|
//! | is there, and all that others did before it has been heard | decided here |
//! | was just acquired, is recalled | sent one by one, behind the queue, under the lease |
//! | is not there | sent one by one, behind what they depend on in the queue, as everybody does |
//! | is not there, nor is the server | decided here, on what is known |
//!
//! After its end the queue is sent all the same: every change names what it expects, and one that does not apply any more is kept beside, or
//! not done and reported. So without the server names can be decided here for as long as it is away.
//!
//! | module | what it does |
//! |---|---|
//! | `lease` | whose turn it is |
//! | `note` | decided changes in the journal |
//! | `queue`, `order` | what can be sent, and what has to keep its order |
//! | `merge` | what is superseded before it is sent |
//! | `send` | sends it |
//! | `shift` | notes that keep a full journal full |
//! | `unwritten` | what waits for content that a damaged journal does not have |
//! | `refused`, `beside`, `redirect`, `reseal` | what the server does not take, and what becomes of it |
//! | `kept` | what it never can: the bucket is not there any more |

mod beside;
pub(crate) mod kept;
pub(crate) mod lease;
mod merge;
pub(crate) mod note;
mod order;
mod queue;
mod redirect;
mod refused;
mod reseal;
mod send;
mod shift;
mod unwritten;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cyx_client::transfer::WriteLease;
use cyx_core::ids::InodeId;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::health::Health;
use super::node::lock;
use crate::journal::{Position, Watch};
use note::{Note, loses, subject};
use queue::Item;
pub(super) use shift::shift;

/// Changes that may wait to be sent. More make programs wait.
const QUEUE_MAX: usize = 16 * 1024;
/// Taken off the life of a lease, for clocks that do not go the same.
const MARGIN: Duration = Duration::from_secs(2);
/// First pause after a failure to send; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A write lease that this machine has.
#[derive(Debug, Clone)]
pub(super) struct Held {
    id: Bytes,
    pub(super) fencing: u64,
    pub(super) granted: Instant,
    /// Nothing is decided behind this; less what the machine is suspended for until then, see [`Self::lasts`].
    pub(super) until: Instant,
    /// How long the machine had been suspended when it was asked for, or renewed.
    pub(super) suspended: Duration,
    pub(super) renew_at: Instant,
    pub(super) recalled: bool,
    /// The bucket's sequence when it was acquired, once that is known: others have changed nothing behind it.
    pub(super) from: Option<u64>,
    pub(super) active: bool,
}

impl Held {
    pub(super) fn pair(&self) -> WriteLease {
        WriteLease { id: self.id.clone(), fencing: self.fencing }
    }
}

/// Sequences of changes that this machine made: behind `from` under the lease of this number, and up to `upto` whatever became of that.
#[derive(Debug, Clone, Copy)]
struct Own {
    fencing: u64,
    from: u64,
    upto: u64,
    /// The highest one that was taken for this machine's own. Behind `upto` only because the lease was thought to be there.
    assumed: u64,
}

/// Why something failed, and when it is tried again.
#[derive(Debug, Clone)]
struct Failure {
    reason: String,
    again: Instant,
}

/// How often something failed.
#[derive(Debug, Default)]
struct Failures {
    /// In a row.
    row: u32,
    all: u64,
    last: Option<Failure>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Item>,
    /// Number of the next item.
    next: u64,
    lease: Option<Held>,
    /// The lease may be asked for again.
    ask_again: Option<Instant>,
    own: Option<Own>,
    /// Items that keep the content of a file from being committed.
    holding: HashMap<InodeId, u32>,
    /// Files whose content items wait for.
    awaited: HashMap<InodeId, u32>,
    /// Those of them whose content is being committed.
    committing: HashSet<InodeId>,
    /// An earlier run may have sent some of the queue, and it was not looked yet.
    doubtful: bool,
    /// Inodes about which the server does not know everything yet.
    touched: HashMap<InodeId, u32>,
    used: Option<Instant>,
    /// To send.
    unsent: Failures,
    /// To commit the content that something waits for.
    uncommitted: Failures,
}

/// What is decided here of one bucket.
#[derive(Default)]
pub(crate) struct Local {
    state: Mutex<State>,
    health: Arc<Health>,
    /// Held by whoever sends.
    sending: tokio::sync::Mutex<()>,
    /// Held by whoever commits content that something waits for.
    committing: tokio::sync::Mutex<()>,
    /// Held by whoever asks for the lease.
    acquiring: tokio::sync::Mutex<()>,
    /// Held by whoever moves directories to other directories, so that none ends up below itself.
    pub(super) moving: tokio::sync::Mutex<()>,
    /// There is something to be sent.
    pub(super) send: Notify,
    /// There may be content to be committed.
    commit: Notify,
    /// Something about the lease changed.
    pub(super) attend: Notify,
    /// The queue got shorter.
    shorter: Notify,
    /// Changes of the bucket up to this sequence were heard.
    heard: AtomicU64,
    /// Rises with every change that is done with.
    done: AtomicU64,
    /// The bucket is not there any more.
    closed: CancellationToken,
}

/// Why a change may be decided here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Basis {
    /// Under the lease of this number nobody else decides.
    Lease(u64),
    /// Nobody can be asked. What others decide meanwhile is found out when this is sent.
    Away,
}

/// Whether a change may be decided here. What it is decided on has to be looked at behind this.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn(Option<Basis>);

impl Turn {
    /// It is for the server to decide.
    pub(crate) const THERE: Self = Self(None);

    pub(crate) const fn is_here(self) -> bool {
        self.0.is_some()
    }
}

/// What became of an attempt to decide something here.
pub(super) enum Decided {
    /// It is in the journal and in the queue.
    Here,
    /// The lease is over, or another one than at its turn, or the server is back.
    Late,
    /// The journal has no room, or the queue.
    Full,
}

impl State {
    fn decides(&self) -> Option<u64> {
        let held = self.lease.as_ref()?;
        (held.active && !held.recalled && held.lasts()).then_some(held.fencing)
    }

    /// The lease of this number is there, as far as this machine can tell: the server may have ended it, by another clock.
    fn holds(&self, fencing: u64) -> bool {
        self.lease.as_ref().is_some_and(|held| held.fencing == fencing && held.lasts())
    }
}

/// One less of something; it is forgotten when there is none.
fn count_down(counts: &mut HashMap<InodeId, u32>, inode: InodeId) {
    if let Some(count) = counts.get_mut(&inode) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&inode);
        }
    }
}

impl Local {
    /// With what an earlier run decided and did not send.
    /// `watch` is asked for files that lose a name.
    pub(crate) fn recovered(
        notes: Vec<(Position, Note)>,
        health: Arc<Health>,
        watch: impl Fn(InodeId) -> Watch,
    ) -> Self {
        let local = Self { health, ..Self::default() };
        {
            let mut state = lock(&local.state);
            for (position, note) in notes {
                let watch = note.known.and_then(|_| loses(&note.mutation)).map(|inode| Arc::new(watch(inode)));
                state.push_recovered(position, note, watch);
            }
        }
        local.send.notify_one();
        local.commit.notify_one();
        local
    }

    fn basis(&self, state: &State) -> Option<Basis> {
        if self.closed.is_cancelled() {
            return None;
        }
        state.decides().map(Basis::Lease).or_else(|| self.health.offline().then_some(Basis::Away))
    }

    /// May be decided here, at this moment.
    pub(super) fn turn(&self) -> Turn {
        Turn(self.basis(&lock(&self.state)))
    }

    /// This machine alone changes the bucket, and knows what was changed before.
    pub(crate) fn decides(&self) -> bool {
        lock(&self.state).decides().is_some()
    }

    /// Something is decided and not sent.
    pub(crate) fn is_pending(&self) -> bool {
        !lock(&self.state).queue.is_empty()
    }

    /// The inodes that are concerned by what is not sent.
    pub(crate) fn pending(&self) -> Vec<InodeId> {
        lock(&self.state).queue.iter().filter_map(|item| subject(&item.mutation)).collect()
    }

    /// Files whose content must not be committed yet.
    pub(crate) fn held_contents(&self) -> Vec<InodeId> {
        lock(&self.state).holding.keys().copied().collect()
    }

    /// The server does not know everything about one of these inodes yet.
    pub(crate) fn touches(&self, inodes: &[InodeId]) -> bool {
        let state = lock(&self.state);
        !state.touched.is_empty() && inodes.iter().any(|inode| state.touched.contains_key(inode))
    }

    /// Everything about which the server does not know everything yet.
    pub(crate) fn touched(&self) -> HashSet<InodeId> {
        lock(&self.state).touched.keys().copied().collect()
    }

    /// How many changes are done with.
    pub(crate) fn done(&self) -> u64 {
        self.done.load(Ordering::Acquire)
    }

    /// Something that is not sent yet waits for the content of this file.
    pub(crate) fn awaits(&self, inode: InodeId) -> bool {
        lock(&self.state).awaited.contains_key(&inode)
    }

    /// A file that is to lose a name may keep it: the server knows the file, and was not asked yet.
    pub(crate) fn may_keep_name(&self, inode: InodeId) -> bool {
        let state = lock(&self.state);
        state.holding.contains_key(&inode) && !state.makes(inode)
    }

    /// Does something with a content that must not be committed yet, in one step with finding out.
    pub(crate) fn if_held(&self, inode: InodeId, hold: impl FnOnce()) {
        let state = lock(&self.state);
        if state.holding.contains_key(&inode) {
            hold();
        }
    }

    /// Does something with a content that may be committed, in one step with finding out.
    pub(crate) fn if_free(&self, inode: InodeId, allow: impl FnOnce()) {
        let state = lock(&self.state);
        if !state.holding.contains_key(&inode) {
            allow();
        }
    }

    /// Somebody changes names: the lease is worth having.
    fn note_use(&self) {
        lock(&self.state).used = Some(Instant::now());
    }

    /// Decides a change, if it still is its turn: `append` writes it to the journal.
    pub(super) fn decide<E>(
        &self,
        turn: Turn,
        note: Note,
        watch: Option<Arc<Watch>>,
        append: impl FnOnce() -> Result<Option<Position>, E>,
        hold: impl FnOnce(InodeId),
    ) -> Result<Decided, E> {
        let mut state = lock(&self.state);
        let Some(basis) = turn.0.filter(|_| self.basis(&state) == turn.0) else { return Ok(Decided::Late) };
        let under = match basis {
            Basis::Lease(fencing) => Some(fencing),
            // Nothing makes it shorter before the server is back.
            Basis::Away if state.queue.len() >= QUEUE_MAX => return Ok(Decided::Full),
            Basis::Away => None,
        };
        let Some(position) = append()? else { return Ok(Decided::Full) };
        let waits = note.after.is_some();
        if let Some(held) = state.push(position, note, watch, under) {
            hold(held);
        }
        drop(state);
        self.send.notify_one();
        if waits {
            self.commit.notify_one();
        }
        Ok(Decided::Here)
    }

    /// Waits until the queue is not full, or is not added to any more.
    pub(super) async fn room(&self) {
        loop {
            let shorter = self.shorter.notified();
            let mut shorter = std::pin::pin!(shorter);
            shorter.as_mut().enable();
            let until = {
                let state = lock(&self.state);
                match &state.lease {
                    Some(held) if state.queue.len() >= QUEUE_MAX && state.decides().is_some() => held.until,
                    _ => return,
                }
            };
            let _ = tokio::time::timeout_at(until.into(), shorter).await;
        }
    }

    /// Changes up to a sequence were heard.
    pub(crate) fn hear(&self, sequence: u64) {
        self.heard.fetch_max(sequence, Ordering::AcqRel);
    }

    /// A change of the bucket with this sequence, by this machine's session, was made by this machine under a lease. That is assumed while
    /// the lease is thought to be there, see [`Self::assumed`]; others may have the same session.
    pub(crate) fn is_own(&self, sequence: u64) -> bool {
        let mut state = lock(&self.state);
        let Some(mut own) = state.own else { return false };
        let is_own = sequence > own.from && (sequence <= own.upto || state.holds(own.fencing));
        if is_own {
            own.assumed = own.assumed.max(sequence);
            state.own = Some(own);
        }
        is_own
    }

    /// Up to where changes were taken for this machine's own of which the server has not said since that the lease of this number was there.
    fn assumed(&self, fencing: u64) -> Option<u64> {
        let own = lock(&self.state).own?;
        (own.fencing == fencing && own.assumed > own.upto).then_some(own.assumed)
    }

    /// The server has said that this was made under the lease.
    fn is_own_for_sure(&self, sequence: u64) -> bool {
        lock(&self.state).own.is_some_and(|own| sequence <= own.upto)
    }

    /// The lease of this number was still there when the bucket stood at this sequence.
    fn note_own(&self, fencing: u64, sequence: u64) {
        if let Some(own) = lock(&self.state).own.as_mut().filter(|own| own.fencing == fencing) {
            own.upto = own.upto.max(sequence);
        }
    }

    /// The pair that calls carry.
    pub(super) fn pair(&self) -> Option<WriteLease> {
        lock(&self.state).lease.as_ref().map(Held::pair)
    }

    /// Somebody else wants to write.
    pub(crate) fn recall(&self, fencing: u64) {
        let mut state = lock(&self.state);
        if let Some(held) = state.lease.as_mut().filter(|held| held.fencing == fencing) {
            held.recalled = true;
        }
        drop(state);
        self.attend.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyx_core::ids::{BucketId, Random as _, TxnId};
    use cyx_proto::convert::bytes_of;
    use cyx_proto::meta::v1 as pb;
    use pb::operation::Operation as Op;
    use queue::Goal;

    fn note(inode: InodeId, after: Option<InodeId>) -> Note {
        let create = pb::Create { inode: bytes_of(inode), ..pb::Create::default() };
        let operations = vec![pb::Operation { operation: Some(Op::Create(create)) }];
        let mutation = pb::Mutation { txn: bytes_of(TxnId::random()), operations, time_ns: None };
        Note { bucket: BucketId([1; 16]), mutation, changes: 1, after, known: None, last: false, named: None }
    }

    fn held(fencing: u64, active: bool) -> Held {
        let until = Instant::now() + Duration::from_secs(3600);
        let granted = Instant::now();
        let suspended = Duration::ZERO;
        let from = Some(10);
        Held { id: Bytes::new(), fencing, granted, until, suspended, renew_at: until, recalled: false, from, active }
    }

    fn with_lease(held: Held) -> Local {
        let local = Local::default();
        lock(&local.state).lease = Some(held);
        local
    }

    fn decide(local: &Local, turn: Turn, inode: InodeId) -> bool {
        let at = Some(Position::for_tests(1));
        matches!(local.decide(turn, note(inode, None), None, || Ok::<_, ()>(at), |_| {}), Ok(Decided::Here))
    }

    #[test]
    fn nothing_is_decided_without_an_active_lease_or_under_another_one() {
        let inode = InodeId([1; 16]);
        assert!(!Local::default().turn().is_here());
        assert!(!with_lease(held(1, false)).turn().is_here(), "what others did before is not known");
        let local = with_lease(held(1, true));
        let turn = local.turn();
        assert!(decide(&local, turn, inode));
        lock(&local.state).lease = Some(held(2, true));
        assert!(!decide(&local, turn, inode), "it was looked at under the lease before");
        let turn = local.turn();
        local.recall(1);
        assert!(decide(&local, turn, inode), "another one was recalled");
        local.recall(2);
        assert!(!decide(&local, turn, inode));
        lock(&local.state).lease = Some(Held { until: Instant::now(), ..held(3, true) });
        assert!(!local.turn().is_here(), "it is over");
        assert!(!decide(&local, Turn::THERE, inode));
    }

    #[test]
    fn a_full_journal_takes_nothing_into_the_queue() {
        let local = with_lease(held(1, true));
        let full = local.decide(local.turn(), note(InodeId([1; 16]), None), None, || Ok::<_, ()>(None), |_| {});
        assert!(matches!(full, Ok(Decided::Full)));
        assert!(!local.is_pending() && local.held_contents().is_empty());
    }

    #[test]
    fn what_waits_for_content_holds_up_only_what_is_built_on_it() {
        let local = with_lease(held(1, true));
        let files: Vec<InodeId> = (1..5).map(|byte| InodeId([byte; 16])).collect();
        for (at, file) in [0_u64, 1, 2, 1, 3].into_iter().zip([0, 1, 2, 1, 3].map(|at: usize| files[at])) {
            let waits = (at == 1 && !local.awaits(files[0])).then_some(files[0]);
            lock(&local.state).push(Position::for_tests(at), note(file, waits), None, Some(1));
        }
        let numbers = |local: &Local| local.batch().iter().map(|item| item.number).collect::<Vec<_>>();
        assert_eq!(numbers(&local), [0, 2, 4], "the fourth is about the same file as the second");
        assert_eq!(local.awaiting(), [], "what it waits for is not made yet");
        for number in [0, 2, 4] {
            local.take(number);
        }
        assert!(numbers(&local).is_empty() && local.is_pending());
        assert!(!local.is_reached(&Goal::All, local.end()) && !local.is_reached(&Goal::About(&files[1..2]), 2));
        assert!(local.is_reached(&Goal::About(&files[2..]), local.end()) && local.is_reached(&Goal::All, 1));
        assert_eq!(local.awaiting(), [(1, files[0])]);
        local.stop_waiting(1);
        assert_eq!(numbers(&local), [1, 3]);
        assert!(!local.awaits(files[0]));
    }

    #[test]
    fn without_the_server_names_are_decided_as_long_as_it_is_away_and_the_queue_has_room() {
        let inode = InodeId([1; 16]);
        let local = Local::default();
        local.health.set_offline();
        let turn = local.turn();
        assert!(decide(&local, turn, inode) && !local.decides());
        assert_eq!(lock(&local.state).queue[0].under, None);
        local.health.set_online();
        assert!(!decide(&local, turn, inode) && !local.turn().is_here(), "it is back");
        local.health.set_offline();
        while lock(&local.state).queue.len() < QUEUE_MAX {
            assert!(decide(&local, turn, inode));
        }
        let full = local.decide(turn, note(inode, None), None, || Err::<Option<Position>, _>("not even tried"), |_| {});
        assert!(matches!(full, Ok(Decided::Full)));
    }

    #[test]
    fn what_is_not_sent_is_known_by_everything_that_it_touches() {
        let local = with_lease(held(1, true));
        let (file, other) = (InodeId([1; 16]), InodeId([2; 16]));
        assert!(!local.touches(&[file]));
        for _ in 0..2 {
            assert!(decide(&local, local.turn(), file));
        }
        assert!(local.touches(&[other, file]) && !local.touches(&[other]) && local.is_pending());
        for number in 0..2 {
            assert!(local.touches(&[file]));
            local.take(number);
        }
        assert!(!local.touches(&[file]) && !local.is_pending());
        assert_eq!(local.done(), 2);
    }

    #[test]
    fn a_content_is_held_until_all_that_holds_it_is_done() {
        let mut state = State::default();
        let file = InodeId([3; 16]);
        let notes = [note(file, None), note(file, None)];
        for (at, note) in notes.iter().enumerate() {
            assert_eq!(state.push(Position::for_tests(at as u64), note.clone(), None, None), Some(file));
        }
        let held = note::holds(&notes[0].mutation);
        assert_eq!(state.unhold(held), None);
        assert_eq!(state.unhold(held), Some(file));
        assert!(state.holding.is_empty());
    }

    #[test]
    fn changes_under_the_lease_are_own_ones() {
        let local = with_lease(held(1, true));
        local.activate(1);
        assert!(!local.is_own(10) && local.is_own(11) && local.is_own(1000));
        local.note_own(1, 20);
        local.note_own(2, 30);
        lock(&local.state).lease = Some(held(2, false));
        assert!(local.is_own(20) && !local.is_own(21), "behind the lease others may have made it");
        assert!(!Local::default().is_own(1));
    }

    #[test]
    fn what_is_taken_for_own_is_assumed_until_the_server_says_that_the_lease_was_there() {
        let local = with_lease(held(1, true));
        local.activate(1);
        assert_eq!(local.assumed(1), None);
        assert!(local.is_own(12) && local.is_own(11) && !local.is_own(9));
        assert_eq!((local.assumed(1), local.assumed(2)), (Some(12), None));
        local.note_own(1, 12);
        assert_eq!(local.assumed(1), None);
        assert!(local.is_own(12));
        assert_eq!(local.assumed(1), None);
    }
}
