//! Sends what was decided, many changes in one call: in order, except that what waits for content lets others pass that have nothing to do
//! with it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cyx_client::meta::fault_error;
use cyx_client::{Error, IntegrityError, Result};
use cyx_core::error::ErrorCode;
use cyx_core::extent::PageId;
use cyx_core::ids::InodeId;
use cyx_proto::convert::{bytes_of, id};
use cyx_proto::meta::v1 as pb;

use super::merge::{ASKED, taken};
use super::note::loses;
use super::order::Footprint;
use super::queue::{Goal, Item};
use super::refused::Settled;
use super::{Failure, Failures, Local, PAUSE_MAX, PAUSE_MIN};
use crate::content::ContentError;
use crate::content::journal_error;
use crate::vfs::Inner;
use crate::vfs::health::gone;
use crate::vfs::node::{Opened, lock};
use crate::vfs::orphans::Links;

/// What is decided is gathered for so long before it is sent behind everybody's back.
const GATHER: Duration = Duration::from_millis(50);

impl Failures {
    /// Notes one; says how many there were in a row.
    fn note(&mut self, error: &Error) -> u32 {
        let pause = PAUSE_MIN.saturating_mul(1 << self.row.min(8)).min(PAUSE_MAX);
        self.row = self.row.saturating_add(1);
        self.all += 1;
        self.last = Some(Failure { reason: error.to_string(), again: Instant::now() + pause });
        self.row
    }

    fn note_success(&mut self) {
        (self.row, self.last) = (0, None);
    }

    /// Why somebody else failed since there were `before`; or a moment ago, if that is reason enough.
    fn since(&self, before: u64, recent: bool) -> Option<Error> {
        let last = self.last.as_ref()?;
        (self.all > before || (recent && last.again > Instant::now())).then(|| Error::Network {
            what: "changes of names are not sent yet".to_owned(),
            reason: last.reason.clone(),
        })
    }

    fn retry_in(&self) -> Duration {
        self.last.as_ref().map_or(GATHER, |failure| failure.again.saturating_duration_since(Instant::now()))
    }
}

impl Local {
    fn unsent<T>(&self, look: impl FnOnce(&mut Failures) -> T) -> T {
        look(&mut lock(&self.state).unsent)
    }

    fn uncommitted<T>(&self, look: impl FnOnce(&mut Failures) -> T) -> T {
        look(&mut lock(&self.state).uncommitted)
    }
}

impl Inner {
    /// Sends what is decided in a bucket, behind everybody's back, until the mount ends or the bucket is not there any more.
    pub(crate) async fn keep_sending(self: Arc<Self>, home: Arc<Opened>) {
        let sending = async {
            loop {
                let more = home.local.send.notified();
                if !home.local.has_ready() {
                    more.await;
                }
                tokio::time::sleep(home.local.unsent(|failures| failures.retry_in())).await;
                if let Err(error) = self.send_ready(&home, &Goal::All, home.local.end()).await {
                    tracing::debug!(%error, bucket = %home.id, "changes of names are not sent yet");
                    self.look_if_gone(&error).await;
                }
            }
        };
        let committing = async {
            loop {
                let more = home.local.commit.notified();
                if home.local.awaiting().is_empty() {
                    more.await;
                }
                tokio::time::sleep(home.local.uncommitted(|failures| failures.retry_in())).await;
                if let Err(error) = self.commit_awaited(&home).await {
                    tracing::debug!(%error, bucket = %home.id, "changes of names wait for content");
                    self.look_if_gone(&error).await;
                }
            }
        };
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = home.local.closed() => {}
            () = sending => {}
            () = committing => {}
        }
    }

    /// Returns when everything that was decided in a bucket by now is known to the server.
    ///
    /// # Errors
    /// If it could not be sent. It stays in the journal, and is tried again.
    pub(crate) async fn send_all(&self, home: &Opened) -> Result<()> {
        self.send_for(home, &Goal::All).await
    }

    /// Returns when the server knows everything that was decided about these inodes by now.
    ///
    /// # Errors
    /// As [`Self::send_all`].
    pub(crate) async fn settle(&self, home: &Opened, inodes: &[InodeId]) -> Result<()> {
        if home.local.touches(inodes) { self.send_for(home, &Goal::About(inodes)).await } else { Ok(()) }
    }

    /// Returns when the server knows everything that has to come before a change.
    ///
    /// # Errors
    /// As [`Self::send_all`].
    pub(in crate::vfs) async fn send_before(&self, home: &Opened, change: &pb::Mutation) -> Result<()> {
        if !home.local.is_pending() {
            return Ok(());
        }
        self.send_for(home, &Goal::Before(&Footprint::of(change))).await
    }

    async fn send_for(&self, home: &Opened, goal: &Goal<'_>) -> Result<()> {
        let end = home.local.end();
        while !home.local.is_reached(goal, end) {
            self.send_ready(home, goal, end).await?;
            if home.local.is_reached(goal, end) {
                break;
            }
            self.commit_awaited(home).await?;
        }
        Ok(())
    }

    /// Sends until the goal is reached or nothing is left that can be sent.
    async fn send_ready(&self, home: &Opened, goal: &Goal<'_>, end: u64) -> Result<()> {
        let failed = home.local.unsent(|failures| failures.all);
        while !home.local.is_reached(goal, end) {
            let _one = home.local.sending.lock().await;
            if home.local.is_reached(goal, end) {
                break;
            }
            let recent = home.health.offline();
            if let Some(error) = home.local.unsent(|failures| failures.since(failed, recent)) {
                return Err(error);
            }
            match self.send_some(home).await {
                Ok(sent) => {
                    home.local.unsent(Failures::note_success);
                    if !sent {
                        break;
                    }
                }
                Err(error) => {
                    let row = home.local.unsent(|failures| failures.note(&error));
                    if error.is_transient() {
                        home.health.set_offline();
                    } else if row == 1 {
                        self.report(&format!(
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

    /// Sends one call of what can be sent; false if there is nothing. `sending` is held.
    async fn send_some(&self, home: &Opened) -> Result<bool> {
        if home.health.offline() {
            return Err(gone());
        }
        // What a killed run had under its lease must not wait for that lease's end; and while it is there nobody else changes what is looked at.
        if home.local.has_ready() {
            self.acquire(home).await;
        }
        if home.local.is_doubtful() {
            self.merge_recovered(home).await?;
        }
        let batch = home.local.batch();
        if batch.is_empty() {
            return Ok(false);
        }
        let batch = self.unless_lost(home, batch).await?;
        if batch.is_empty() {
            return Ok(true);
        }
        let mutations = batch.iter().map(|item| item.mutation.clone()).collect();
        let flight = home.flights.begin();
        let Some(answer) = self.call(home, mutations).await? else { return Ok(true) };
        let made = batch.iter().zip(&answer.results).filter(|(_, result)| result.fault.is_none() && !result.replayed);
        home.flights.made(answer.sequence, made.map(|(item, _)| item.changes).sum());
        drop(flight);
        if answer.results.len() != batch.len() {
            return Err(IntegrityError::Mismatch("a mutation has no result").into());
        }
        let lost: Vec<InodeId> = batch.iter().filter_map(|item| loses(&item.mutation)).collect();
        let links = self.links_left(home, &lost).await?;
        for (item, result) in batch.iter().zip(&answer.results) {
            if let Some(fault) = &result.fault
                && self.refused(home, item, &fault_error(fault), result).await? == Settled::Changed
            {
                // It is sent again, and what comes behind it as well: what of that is done already is not done twice.
                return Ok(true);
            }
            self.done(home, item, &links)?;
        }
        Ok(true)
    }

    /// Leaves out what would take the last trace of a version that somebody else wrote since it was decided, or of a file that was to keep another name,
    /// which somebody else has removed: that is settled here. Under the
    /// lease under which something was decided nobody else writes; versions that this machine made since are its own.
    async fn unless_lost(&self, home: &Opened, batch: Vec<Item>) -> Result<Vec<Item>> {
        let under = home.local.pair().map(|lease| lease.fencing);
        let behind = |item: &Item| item.known.is_some() && (item.under.is_none() || item.under != under);
        let mut losses: HashMap<InodeId, u32> = HashMap::new();
        batch.iter().filter_map(|item| loses(&item.mutation)).for_each(|inode| *losses.entry(inode).or_default() += 1);
        let ids: HashSet<InodeId> =
            batch.iter().filter(|item| behind(item)).filter_map(|item| loses(&item.mutation)).collect();
        if ids.is_empty() {
            return Ok(batch);
        }
        let ids: Vec<bytes::Bytes> = ids.into_iter().map(bytes_of).collect();
        let mut newest: HashMap<InodeId, (u64, Option<PageId>)> = HashMap::new();
        for ids in ids.chunks(ASKED) {
            let request = pb::GetInodesRequest { bucket: bytes_of(home.id), ids: ids.to_vec() };
            for inode in home.health.ask(self.client.meta.get_inodes(request)).await?.inodes {
                let found: InodeId = id(&inode.id, "inode.id")?;
                // What keeps another name is not lost.
                if inode.nlink > 0 && losses.get(&found).is_some_and(|losses| inode.nlink <= *losses) {
                    newest.insert(found, (inode.version, inode.root_page[..].try_into().ok().map(PageId)));
                }
            }
        }
        for item in batch.iter().filter(|item| behind(item)) {
            let lost = loses(&item.mutation);
            let there = lost.and_then(|inode| newest.get(&inode)).copied();
            let made = |version, root: Option<PageId>| {
                item.watch.as_ref().zip(root).is_some_and(|(watch, root)| watch.made(version, root))
            };
            let written =
                there.zip(item.known).is_some_and(|((version, root), known)| version > known && !made(version, root));
            let alone = !item.last
                && there.is_some()
                && lost.is_some_and(|lost| !home.local.lets_go_of(lost))
                && self.is_to_be_taken(home, item).await?;
            if written || alone {
                let why = if written {
                    "the file was written to elsewhere since"
                } else {
                    "its other names were removed elsewhere"
                };
                if self.is_needed(home, item, why).await? == Settled::Done {
                    self.undone(home, item).await?;
                }
                // What comes behind it is looked at again.
                return Ok(Vec::new());
            }
        }
        Ok(batch)
    }

    /// Whether what is to lose a name has it still: an attempt that had no answer may have taken it.
    async fn is_to_be_taken(&self, home: &Opened, item: &Item) -> Result<bool> {
        let Some((directory, names)) = taken(&item.mutation) else { return Ok(false) };
        let there = self.entry_at_server(home, directory, names).await?;
        Ok(there.is_some_and(|entry| loses(&item.mutation).is_some_and(|lost| entry.child[..] == lost.0)))
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
        match (home.health.ask(self.client.meta.apply(request)).await, under) {
            (Ok(answer), under) => {
                self.health.note_sign();
                self.health.set_online();
                if let Some(under) = under {
                    home.local.note_own(under.fencing, answer.sequence);
                }
                Ok(Some(answer))
            }
            (Err(error), Some(under)) if error.code() == ErrorCode::StaleLease => {
                tracing::info!(bucket = %home.id, "the write lease is over");
                self.lease_is_over(home, under.fencing);
                Ok(None)
            }
            (Err(error), _) => Err(error),
        }
    }

    /// A change is given up.
    pub(super) async fn undone(&self, home: &Opened, item: &Item) -> Result<()> {
        let lost: Vec<InodeId> = loses(&item.mutation).into_iter().collect();
        let links = self.links_left(home, &lost).await?;
        self.done(home, item, &links)
    }

    /// A change is done with, in one way or the other. `links`: of what would have lost a name by it. In one step: whoever sends may be cut
    /// off wherever it waits, and others wait for it.
    fn done(&self, home: &Opened, item: &Item, links: &Links) -> Result<()> {
        let Some((notes, freed)) = home.local.take(item.number) else { return Ok(()) };
        let lost = loses(&item.mutation).filter(|lost| item.last && links.get(lost) == Some(&0));
        if let Some(content) = lost.and_then(|lost| self.store.existing(home.id, lost)) {
            content.orphan();
        }
        if let Some(inode) = freed {
            self.free(home, inode, links.get(&inode).copied());
        }
        self.store.journal().finish_all(&notes).map_err(journal_error)
    }

    /// Nothing that is to be sent keeps the content of a file from being committed any more.
    fn free(&self, home: &Opened, inode: InodeId, links: Option<u32>) {
        let Some(content) = self.store.existing(home.id, inode) else { return };
        if content.is_orphaned() && links.is_none_or(|links| links == 0) {
            self.let_go_of_orphan(home, &content);
        } else if links.is_some() {
            // Should somebody else have removed its last name, its commit finds that out.
            self.keep_name(home, inode);
        } else {
            self.allow(home, &content);
        }
    }

    /// A file that was to lose a name here keeps one.
    pub(super) fn keep_name(&self, home: &Opened, inode: InodeId) {
        let Some(content) = self.store.existing(home.id, inode) else { return };
        self.allow(home, &content);
        content.upload_soon();
    }

    /// Commits what was written to files that are to take the place of others: many together, before they do.
    async fn commit_awaited(&self, home: &Opened) -> Result<()> {
        let failed = home.local.uncommitted(|failures| failures.all);
        let _one = home.local.committing.lock().await;
        let recent = home.health.offline();
        if let Some(error) = home.local.uncommitted(|failures| failures.since(failed, recent)) {
            return Err(error);
        }
        let committed = if recent { Err(gone()) } else { self.commit_some(home).await };
        match &committed {
            Ok(()) => home.local.uncommitted(Failures::note_success),
            Err(error) => {
                let row = home.local.uncommitted(|failures| failures.note(error));
                if row == 1 && !error.is_transient() {
                    self.report(&format!(
                        "a file in the bucket {} does not take the place of another one yet: its content cannot be stored: {error}",
                        home.bucket.name
                    ));
                }
            }
        }
        committed
    }

    /// See [`Self::commit_awaited`]. `committing` is held.
    async fn commit_some(&self, home: &Opened) -> Result<()> {
        if home.local.is_doubtful() {
            // What need not be committed is found out by whoever sends.
            return Ok(());
        }
        let mut numbers: HashMap<InodeId, Vec<u64>> = HashMap::new();
        let mut contents = Vec::new();
        let (awaiting, _committing) = home.local.begin_commit();
        for (number, inode) in awaiting {
            match self.store.existing(home.id, inode) {
                Some(content) => {
                    let waiting = numbers.entry(inode).or_default();
                    if waiting.is_empty() {
                        contents.push(content);
                    }
                    waiting.push(number);
                }
                // Everything is committed.
                None => home.local.stop_waiting(number),
            }
        }
        if contents.is_empty() {
            return Ok(());
        }
        let store = self.store.clone();
        // What is begun is finished, whoever waits for it.
        let working = tokio::spawn(async move { store.commit_each(contents).await });
        let committed = home.health.try_to(async { working.await.map_err(|_| Error::Interrupted) }).await?;
        let mut first = Ok(());
        for (inode, result) in committed {
            match result {
                // Lost: a conflict copy is made of it by whoever looks after those; the name goes its way.
                Ok(()) | Err(ContentError::Lost) => {
                    let Some(waiting) = numbers.remove(&inode) else { continue };
                    waiting.into_iter().for_each(|number| home.local.stop_waiting(number));
                }
                Err(error) => first = first.and(Err(crate::vfs::store_error(error))),
            }
        }
        first
    }
}
