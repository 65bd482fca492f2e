//! What becomes of written content: the store commits it in the background, and what came of it is taken note of here.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cyx_core::ids::InodeId;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

use super::progress::Progress;
use crate::content::error::is_outage;
use crate::content::{Content, ContentError, StoreEvent};
use crate::errno::Errno;
use crate::journal::FileId;
use crate::vfs::node::{Node, lock};
use crate::vfs::{Filesystem, Inner, MountState};

/// How long one round of committing everything lasts.
const ROUND: Duration = Duration::from_secs(10);
/// While something cannot be sent, how often is looked whether its bucket is there at all.
const LOOK: Duration = Duration::from_secs(5);
/// Between rounds.
const PAUSE: Duration = Duration::from_millis(100);
/// How often is looked whether anything gets through.
const MEASURE: Duration = Duration::from_secs(1);
/// What cannot be stored when somebody waits for it is tried again for so long, as what cannot be read is.
const STORED_WITHIN: Duration = Duration::from_secs(20);
/// Before the second attempt; it doubles from then on, up to [`AGAIN_MAX`].
const AGAIN: Duration = Duration::from_millis(200);
const AGAIN_MAX: Duration = Duration::from_secs(2);

impl Filesystem {
    /// Begins to look after what the store commits.
    pub(crate) fn begin_commits(&self, mut events: UnboundedReceiver<StoreEvent>) {
        let inner = Arc::clone(&self.inner);
        self.inner.tasks.spawn(async move {
            loop {
                let event = tokio::select! {
                    () = inner.stop.cancelled() => return,
                    event = events.recv() => event,
                };
                match event {
                    None => return,
                    // The content lives until this is taken note of: what was asked for meanwhile may say how the file was before.
                    Some(StoreEvent::Committed { content, version, size }) => {
                        inner.committed(content.id(), version, size);
                    }
                    Some(StoreEvent::Unreadable { file }) => inner.report(&format!(
                        "the copy {} cannot be stored: what it is a copy of was changed or removed too long ago",
                        file.inode
                    )),
                    Some(StoreEvent::Failing { error }) => {
                        inner.report(&format!("changes could not be stored, and are tried again: {error}"));
                    }
                    Some(StoreEvent::Refused) => {
                        inner.begin(|inner| async move { inner.look_for_deleted().await });
                    }
                    Some(StoreEvent::Crowded { file }) => inner.shift_notes(file),
                    Some(StoreEvent::Lost { file }) => {
                        inner.begin(move |inner| async move { inner.settle_lost(file).await });
                    }
                }
            }
        });
    }

    /// Commits everything that is dirty; tells `moved` the state whenever something got through. What could not be committed stays in
    /// the journal, and the number of such files is returned. Gives up when nothing gets through for half a minute.
    ///
    /// # Errors
    /// If the journal cannot be made durable.
    pub async fn drain(&self, moved: &(dyn Fn(&MountState) + Sync)) -> Result<u64, Errno> {
        self.inner.store.journal().sync().await?;
        let (progress, failed) = (Progress::new(), Mutex::new(None));
        let measuring = async {
            loop {
                let state = self.state();
                if progress.note(&state) {
                    moved(&state);
                }
                tokio::time::sleep(MEASURE).await;
            }
        };
        tokio::select! {
            () = self.commit_everything(&failed) => return Ok(0),
            () = progress.stalled() => {}
            () = measuring => {}
        }
        let left = self.state().dirty_files;
        if let Some(error) = lock(&failed).take() {
            self.inner.report(&format!("{left} files are not committed: {error}"));
        }
        Ok(left)
    }

    /// Commits until nothing is left; says what went wrong last.
    async fn commit_everything(&self, failed: &Mutex<Option<ContentError>>) {
        let mut looked = None::<Instant>;
        loop {
            let names = self.inner.send_everything().await.map_err(ContentError::from);
            let result = names.and(self.inner.store.drain(ROUND).await);
            if result.is_err() && looked.is_none_or(|at| at.elapsed() >= LOOK) {
                looked = Some(Instant::now());
                self.inner.look_for_deleted().await;
            }
            *lock(failed) = result.err();
            if self.inner.only_orphans() {
                return;
            }
            // Conflict copies are being made, or the server is away.
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Ends the background work. Nothing may be called afterwards.
    pub async fn shutdown(&self) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        self.inner.give_back_unused().await;
        // What is not committed is in the journal; it must be durable there whatever was promised before.
        if let Err(error) = self.inner.store.journal().sync().await {
            self.inner.report(&format!("the journal could not be made durable: {error}"));
        }
        let journal = self.inner.store.journal().clone();
        let ended = tokio::task::spawn_blocking(move || journal.end()).await;
        if let Ok(Err(error)) = ended {
            self.inner.report(&format!("the journal could not be ended: {error}"));
        }
        self.inner.store.abandon();
    }
}

impl Node {
    /// A version of this size was committed here. `dirty`: more was written since.
    pub(crate) fn note_commit(&self, version: u64, size: u64, dirty: bool) {
        let mut facts = lock(&self.facts);
        if version > facts.version {
            facts.moved += 1;
            facts.version = version;
            facts.size = size;
        }
        if dirty || version != facts.version {
            return;
        }
        match facts.written.take() {
            // The commit carried these times.
            Some(written) => {
                facts.attributes.mtime_ns = written.mtime_ns;
                facts.attributes.ctime_ns = facts.attributes.ctime_ns.max(written.ctime_ns);
                // The rest is as it was, and is believed for no longer.
            }
            None => facts.disbelieve(),
        }
    }
}

impl Inner {
    /// Begins something that is of no use any more when the filesystem is shut down, which waits for no server and no node. What it leaves
    /// undone is found in the journal as after a crash.
    pub(crate) fn begin<F>(self: &Arc<Self>, task: impl FnOnce(Arc<Self>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (stop, task) = (self.stop.clone(), task(Arc::clone(self)));
        let until_stopped = async move {
            stop.run_until_cancelled(task).await;
        };
        // The kernel's requests come on threads of their own.
        self.tasks.spawn_on(until_stopped, &self.runtime);
    }

    /// What was written of a file is a version now.
    fn committed(&self, file: FileId, version: u64, size: u64) {
        if let Some(home) = self.buckets.get(file.bucket)
            && !home.flights.committed(file.inode, version, size)
        {
            home.moved();
        }
        let Some(node) = self.table.by_id(file.bucket, file.inode) else { return };
        node.note_commit(version, size, self.is_dirty(&node));
        self.let_go(&node);
    }

    /// Everything that is dirty has no name any more.
    fn only_orphans(&self) -> bool {
        let named = self.buckets.roots().iter().all(|root| !root.home.local.is_pending());
        named
            && self
                .store
                .dirty()
                .iter()
                .all(|content| content.is_orphaned() || self.store.is_stranded(content.id().bucket))
    }

    /// Commits what is dirty of a file, and waits until every machine can see it. What lost a race is in a copy, which is waited for as well.
    pub(crate) async fn commit_now(&self, node: &Arc<Node>) -> Result<(), Errno> {
        self.commit_one(node).await?;
        loop {
            let Some(copy) = lock(&node.file).copies.last().copied() else { return Ok(()) };
            let committed = self.commit_copy(node, copy).await;
            // One that cannot be stored is told once. It is tried again behind, and keeps nobody from what became of the original.
            lock(&node.file).copies.retain(|inode| *inode != copy);
            committed?;
        }
    }

    async fn commit_copy(&self, node: &Arc<Node>, copy: InodeId) -> Result<(), Errno> {
        self.settle(&node.home, &[copy]).await?;
        if self.is_unsent(node.home.id, copy) {
            let copied = self.node_of(FileId { bucket: node.home.id, inode: copy }).await?;
            Box::pin(self.commit_now(&copied)).await?;
        }
        Ok(())
    }

    /// Nodes that are away may be back in a moment.
    async fn commit_one(&self, node: &Arc<Node>) -> Result<(), Errno> {
        // The server has to know the file, and what comes before it.
        self.settle(&node.home, &[node.id]).await?;
        let Some(content) = self.content_if_any(node) else { return Ok(()) };
        if content.is_orphaned() {
            // It has no name by which any machine could see it.
            return Ok(());
        }
        let health = &node.home.health;
        let (until, mut pause) = (Instant::now() + STORED_WITHIN, AGAIN);
        let passes = |error: &ContentError| match error {
            ContentError::Client(error) => is_outage(error),
            ContentError::Filling => true,
            _ => false,
        };
        loop {
            match health.try_to(async { Ok(content.commit().await) }).await? {
                Ok(()) => return Ok(()),
                Err(ContentError::Lost) => return self.keep_both(node, &content).await,
                Err(error) if passes(&error) && Instant::now() + pause < until => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(AGAIN_MAX);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    pub(crate) fn is_dirty(&self, node: &Node) -> bool {
        self.content_if_any(node).is_some_and(|content| content.is_dirty())
    }

    /// The content of a file if it is open or dirty.
    pub(crate) fn content_if_any(&self, node: &Node) -> Option<Arc<Content>> {
        node.content().or_else(|| self.store.existing(node.home.id, node.id))
    }
}
