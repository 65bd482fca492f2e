//! Changes of others, as they are committed: exactly what changed is forgotten, here and in the kernel.
//!
//! While the stream stands, everything known is believed. When it breaks, everything is believed for a second at most; after it stands
//! again the changes that were missed come first. Only if the server cannot say what was missed is a bucket read anew.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cyx_client::events::{Notice, Subscription};
use cyx_core::ids::{BucketId, InodeId};
use cyx_proto::meta::v1 as pb;
use pb::change::Kind;

use crate::vfs::node::{Node, Opened, lock};
use crate::vfs::{Filesystem, Inner};

/// While changes wait that may be this machine's own, how often is looked whose they are.
const SETTLE: Duration = Duration::from_millis(50);
/// After an error that calling again does not mend, before calling again all the same.
const PAUSE: Duration = Duration::from_secs(5);
/// Nothing came over the stream for so long: a beat is missing, which comes every five seconds.
const QUIET: Duration = Duration::from_secs(8);
/// While that lasts, or the stream is down, how often is looked whether the server is there at all,
const LOOK: Duration = Duration::from_secs(1);
/// how long an answer may take,
const PATIENCE: Duration = Duration::from_secs(5);
/// and how long it may be away before nobody waits for it any more: it may only be started anew.
const GRACE: Duration = Duration::from_secs(5);

impl Filesystem {
    /// Begins to listen. Ends when the filesystem is shut down.
    pub(crate) fn begin_events(&self) {
        let inner = Arc::clone(&self.inner);
        self.inner.tasks.spawn(async move {
            tokio::select! {
                () = inner.stop.cancelled() => inner.health.set(false),
                () = inner.listen() => {}
            }
        });
        let inner = Arc::clone(&self.inner);
        self.inner.tasks.spawn(async move {
            tokio::select! {
                () = inner.stop.cancelled() => {}
                () = inner.look_for_server() => {}
            }
        });
    }
}

impl Inner {
    /// Finds out whether the server is there while nothing is heard of it. So whoever needs an answer is told soon that there is none, and
    /// what can be done without one is. Also while it is connected: one that hangs, or cannot be reached any more over the way there was,
    /// looks as before.
    async fn look_for_server(&self) {
        loop {
            self.health.doubted().await;
            if self.health.get() && !self.is_silent().await {
                tokio::time::sleep(LOOK).await;
                continue;
            }
            let mut since = Instant::now();
            while !self.health.get() {
                if self.health.look(self.client.meta.answers(PATIENCE)).await {
                    since = Instant::now();
                } else if since.elapsed() >= GRACE {
                    self.health.set_offline();
                }
                tokio::select! {
                    () = tokio::time::sleep(LOOK) => {}
                    () = self.health.wanted() => {}
                }
            }
        }
    }

    /// Asks the server something. Whether nothing at all is heard of it meanwhile: then it counts as one that is away.
    async fn is_silent(&self) -> bool {
        let signs = self.health.signs();
        if self.client.meta.answers(PATIENCE).await || self.health.signs() != signs {
            return false;
        }
        tracing::warn!("the server is connected and does not answer");
        self.health.fell_silent();
        true
    }

    async fn listen(&self) {
        let mut subscription = self.client.subscribe([]);
        let (mut settled, mut doubted) = (Instant::now(), Instant::now());
        // A beat came over the present connection: the stream can be relied on.
        let mut caught_up = false;
        loop {
            let unsettled = self.buckets.roots().iter().any(|root| root.home.flights.unsettled());
            let heard = subscription.last_heard();
            let quiet = heard.map(|at| (at + QUIET).max(doubted + LOOK));
            tokio::select! {
                notice = subscription.next() => match notice {
                    Ok(notice) => {
                        match notice {
                            Notice::Connected | Notice::Disconnected => caught_up = false,
                            Notice::Beat => caught_up = true,
                            _ => {}
                        }
                        if notice != Notice::Disconnected {
                            self.health.note_sign();
                        }
                        self.take_notice(&subscription, notice);
                        self.note_positions(&subscription);
                    }
                    Err(error) => {
                        caught_up = false;
                        self.health.set(false);
                        self.report(&format!("changes of others are not seen: {error}"));
                        tokio::time::sleep(PAUSE).await;
                    }
                },
                () = self.buckets.another.notified() => self.note_positions(&subscription),
                // Notices that come one after the other do not put it off.
                () = tokio::time::sleep_until((settled + SETTLE).into()), if unsettled => {
                    settled = Instant::now();
                    self.take_late();
                }
                // It was found silent: what it may still hold back comes again over another one.
                () = self.health.lost(), if caught_up => {
                    caught_up = false;
                    subscription.restart();
                }
                () = tokio::time::sleep_until(quiet.unwrap_or(settled).into()), if quiet.is_some() => {
                    doubted = Instant::now();
                    self.health.doubt();
                }
            }
        }
    }

    /// Takes notice of the changes that waited and are those of others after all.
    fn take_late(&self) {
        for root in self.buckets.roots() {
            for change in root.home.flights.settle() {
                if !committed_here(&root.home, &change) {
                    self.apply_change(&root.home, &change);
                }
            }
        }
    }

    /// Everything up to these positions was taken notice of.
    fn note_positions(&self, subscription: &Subscription) {
        for root in self.buckets.roots() {
            if let Some(position) = subscription.position(root.home.id) {
                root.home.local.hear(position);
            }
        }
    }

    fn take_notice(&self, subscription: &Subscription, notice: Notice) {
        match notice {
            Notice::Connected => {
                for root in self.buckets.roots() {
                    // Of a bucket without a position the stream begins at the present: what came before was not heard.
                    if subscription.position(root.home.id).is_none() {
                        self.resync(&root);
                    }
                }
                self.health.set_online();
                self.store.connected();
            }
            Notice::Disconnected => self.health.set(false),
            // What came first over a new connection is what was missed. A beat comes after all of it.
            Notice::Beat => self.health.set(true),
            Notice::Resync(bucket) => {
                if let Some(root) = self.buckets.root(bucket) {
                    tracing::info!(%bucket, "changes were missed: the bucket is read anew");
                    self.resync(&root);
                }
            }
            Notice::Change(change) => {
                let Ok(bucket) = BucketId::try_from(&change.bucket[..]) else { return };
                let Some(home) = self.buckets.get(bucket) else { return };
                let same_session = change.session[..] == self.client.session.id().0[..];
                // The lease alone does not tell: it may have ended and this machine not know it yet, as after it was suspended.
                if committed_here(&home, &change) || same_session && home.local.is_own(change.sequence) {
                    return;
                }
                if change.kind() == Kind::Content && same_session {
                    // Commits are not calls of this module: whether it was one of its store shows in a moment.
                    home.flights.hold(&change);
                } else if home.flights.is_foreign(&change, same_session) == Some(true) {
                    self.apply_change(&home, &change);
                }
            }
            Notice::LeaseRecall(bucket) => {
                if let (Some(home), Some(fencing)) = (self.buckets.get(bucket), subscription.recalled(bucket)) {
                    home.local.recall(fencing);
                }
            }
        }
    }

    /// Everything that is known of a bucket is to be asked for anew.
    pub(crate) fn resync(&self, root: &Arc<Node>) {
        let nodes = self.table.nodes(Some(root.home.id));
        // Answers that are under way may be of before. This comes first: who asks in between is told how it is now.
        for node in &nodes {
            lock(&node.facts).moved += 1;
            node.listing().moved += 1;
        }
        root.home.forget_all();
        let Some(invalidator) = self.invalidator.get() else { return };
        invalidator.overtake();
        for node in nodes {
            invalidator.inode(node.ino, 0..u64::MAX);
            if node.is_directory() {
                let names: Vec<Box<[u8]>> = node.listing().names.keys().cloned().collect();
                for name in names {
                    invalidator.entry(node.ino, &name);
                }
            }
        }
    }

    fn apply_change(&self, home: &Opened, change: &pb::Change) {
        home.moved();
        if let Some(invalidator) = self.invalidator.get() {
            invalidator.overtake();
        }
        let inode = self.known(home, &change.inode);
        let place = self.name_of(home, &change.directory, change.name.as_ref());
        match change.kind() {
            Kind::Created | Kind::Restored => self.name_changed(place.as_ref()),
            Kind::Linked => {
                self.name_changed(place.as_ref());
                self.attributes_changed(inode.as_ref());
            }
            Kind::Unlinked | Kind::Trashed | Kind::Purged => {
                if let Some((directory, name)) = &place {
                    self.doubt(directory, name);
                    if let (Some(invalidator), Some(inode)) = (self.invalidator.get(), &inode) {
                        invalidator.delete(directory.ino, inode.ino, name);
                    } else if let Some(invalidator) = self.invalidator.get() {
                        invalidator.entry(directory.ino, name);
                    }
                }
                self.attributes_changed(inode.as_ref());
            }
            Kind::Renamed => {
                self.name_changed(place.as_ref());
                let new = self.name_of(home, &change.new_directory, change.new_name.as_ref());
                self.name_changed(new.as_ref());
                self.attributes_changed(inode.as_ref());
            }
            Kind::Attributes => self.attributes_changed(inode.as_ref()),
            Kind::Content => {
                if let Some(node) = inode {
                    let mut facts = lock(&node.facts);
                    // It may have been asked for already; what the kernel keeps is of an older one all the same.
                    if facts.version < change.version {
                        facts.disbelieve();
                    }
                    drop(facts);
                    if let Some(invalidator) = self.invalidator.get() {
                        invalidator.inode(node.ino, 0..u64::MAX);
                    }
                }
            }
            Kind::Keys => {
                home.hear_of_keys();
                if let Some(node) = &inode {
                    node.doubt_key();
                }
                // The entry has another version. What programs see has not changed, so the kernel need not forget.
                if let Some((directory, name)) = &place {
                    directory.disbelieve_name(name);
                }
            }
            Kind::Writers | Kind::Unspecified => {}
        }
    }

    fn known(&self, home: &Opened, id: &[u8]) -> Option<Arc<Node>> {
        self.table.by_id(home.id, InodeId::try_from(id).ok()?)
    }

    /// The directory and the plain name in it, if anything of the directory is known here.
    fn name_of(&self, home: &Opened, directory: &[u8], token: Option<&pb::NameToken>) -> Option<(Arc<Node>, Vec<u8>)> {
        let directory = self.known(home, directory)?;
        let name = directory.directory_keys().ok().and_then(|keys| keys.name_of(token?).ok());
        match name {
            Some(name) => Some((directory, name)),
            None => {
                // A name under a key that is not known yet: anything in the directory may have changed.
                let names: Vec<Box<[u8]>> = directory.listing().names.keys().cloned().collect();
                directory.listing().forget();
                lock(&directory.facts).disbelieve();
                if let Some(invalidator) = self.invalidator.get() {
                    invalidator.inode(directory.ino, 0..u64::MAX);
                    for name in names {
                        invalidator.entry(directory.ino, &name);
                    }
                }
                None
            }
        }
    }

    fn doubt(&self, directory: &Node, name: &[u8]) {
        directory.disbelieve_name(name);
        lock(&directory.facts).disbelieve();
        if let Some(invalidator) = self.invalidator.get() {
            // The listing that the kernel keeps is content.
            invalidator.inode(directory.ino, 0..u64::MAX);
        }
    }

    fn name_changed(&self, place: Option<&(Arc<Node>, Vec<u8>)>) {
        let Some((directory, name)) = place else { return };
        self.doubt(directory, name);
        if let Some(invalidator) = self.invalidator.get() {
            invalidator.entry(directory.ino, name);
        }
    }

    fn attributes_changed(&self, node: Option<&Arc<Node>>) {
        let Some(node) = node else { return };
        lock(&node.facts).disbelieve();
        if let Some(invalidator) = self.invalidator.get() {
            invalidator.inode(node.ino, 0..0);
        }
    }
}

/// The version that was committed is one of this machine.
fn committed_here(home: &Opened, change: &pb::Change) -> bool {
    if change.kind() != Kind::Content {
        return false;
    }
    InodeId::try_from(&change.inode[..]).is_ok_and(|inode| home.flights.take_commit(inode, change.version))
}
