//! The top of the mount: a directory for each bucket.
//!
//! Buckets come and go without events, so the list is asked for anew after a second. A bucket is opened when its name is first used,
//! and stays open. `mkdir` and `rmdir` at the top make and delete buckets, empty ones only; nothing else can be done there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use cyx_client::buckets::{BucketInfo, check_bucket_name};
use cyx_core::error::ErrorCode;
use cyx_core::ids::BucketId;
use tokio::sync::Notify;

use super::local::Local;
use super::node::{Health, Node, Opened, UNWATCHED, lock};
use super::{Filesystem, Inner, Top, answered, check_new_name, store_error};
use crate::attributes::{Attr, Kind, ROOT_INO};
use crate::errno::Errno;
use crate::journal::FileId;

/// The buckets that are open, and the list of all.
pub(crate) struct Buckets {
    health: Arc<Health>,
    opened: Mutex<HashMap<BucketId, Arc<Node>>>,
    /// One was opened.
    pub(crate) another: Notify,
    opening: tokio::sync::Mutex<()>,
    /// Held by whoever looks whether some are not there any more.
    pub(super) looking: tokio::sync::Mutex<()>,
    list: Mutex<Option<(Instant, Arc<Vec<BucketInfo>>)>>,
    began_ns: i64,
}

impl Buckets {
    pub(crate) fn new(health: &Arc<Health>) -> Self {
        Self {
            health: Arc::clone(health),
            opened: Mutex::default(),
            another: Notify::new(),
            opening: tokio::sync::Mutex::default(),
            looking: tokio::sync::Mutex::default(),
            list: Mutex::default(),
            began_ns: super::now_ns(),
        }
    }

    /// The root directories of the open buckets.
    pub(crate) fn roots(&self) -> Vec<Arc<Node>> {
        lock(&self.opened).values().cloned().collect()
    }

    /// The root directory of a bucket that is open.
    pub(crate) fn root(&self, bucket: BucketId) -> Option<Arc<Node>> {
        lock(&self.opened).get(&bucket).cloned()
    }

    /// A bucket that is open.
    pub(crate) fn get(&self, bucket: BucketId) -> Option<Arc<Opened>> {
        lock(&self.opened).get(&bucket).map(|root| Arc::clone(&root.home))
    }

    /// A bucket is not there any more. Its root directory, if it was open.
    pub(super) fn remove(&self, bucket: BucketId) -> Option<Arc<Node>> {
        self.forget_list();
        lock(&self.opened).remove(&bucket)
    }

    fn forget_list(&self) {
        *lock(&self.list) = None;
    }
}

impl Inner {
    /// All buckets, as they were a second ago at most; while the server is away, as they were before.
    pub(crate) async fn bucket_list(&self) -> Result<Arc<Vec<BucketInfo>>, Errno> {
        let known = lock(&self.buckets.list).clone();
        if let Some((at, list)) = &known
            && (at.elapsed() < UNWATCHED || self.health.offline())
        {
            return Ok(Arc::clone(list));
        }
        match (self.ask_for_buckets(self.health.ask(self.client.buckets())).await, known) {
            (Ok(list), _) => Ok(list),
            (Err(error), Some((_, list))) if error.is_transient() => {
                self.health.set_offline();
                Ok(list)
            }
            (Err(error), _) => Err(error.into()),
        }
    }

    /// Takes the answer of the server for the list.
    pub(crate) async fn ask_for_buckets(
        &self,
        asking: impl Future<Output = cyx_client::Result<Vec<cyx_client::Result<BucketInfo>>>>,
    ) -> cyx_client::Result<Arc<Vec<BucketInfo>>> {
        let at = Instant::now();
        let mut list = Vec::new();
        for found in asking.await? {
            match found {
                Ok(info) => list.push(info),
                Err(error) => tracing::error!(%error, "a bucket cannot be opened"),
            }
        }
        let list = Arc::new(list);
        *lock(&self.buckets.list) = Some((at, Arc::clone(&list)));
        Ok(list)
    }

    /// The root directory of the bucket with this name.
    pub(crate) async fn find_bucket(&self, name: &[u8]) -> Result<Option<Arc<Node>>, Errno> {
        let list = self.bucket_list().await?;
        let Some(info) = list.iter().find(|info| info.name.as_bytes() == name) else { return Ok(None) };
        self.bucket_root(info).await.map(Some)
    }

    /// The root directory of a bucket of the list.
    pub(crate) async fn bucket_root(&self, info: &BucketInfo) -> Result<Arc<Node>, Errno> {
        let known = lock(&self.buckets.opened).get(&info.id).cloned();
        match known {
            Some(root) => Ok(root),
            None => Ok(self.open_bucket(&info.name).await?),
        }
    }

    /// Opens a bucket by name.
    pub(crate) async fn open_bucket(&self, name: &str) -> cyx_client::Result<Arc<Node>> {
        let _opening = self.buckets.opening.lock().await;
        let bucket = self.client.bucket(name).await?;
        let known = lock(&self.buckets.opened).get(&bucket.id).cloned();
        if let Some(root) = known {
            return Ok(root);
        }
        let watch = |inode| self.store.journal().watch(FileId { bucket: bucket.id, inode });
        let local = Local::recovered(self.notes_of(bucket.id), Arc::clone(&self.buckets.health), watch);
        let opened = Arc::new(Opened::new(bucket, Arc::clone(&self.buckets.health), local, Arc::clone(&self.names)));
        let seen = opened.seen_now();
        let inode = opened.bucket.root_inode().await?;
        let directory = opened.bucket.root_directory();
        let fixed = matches!(self.options.top, Top::Bucket(_)).then_some(ROOT_INO);
        let (root, _) = self.table.get_or_make(opened.id, directory.id, fixed, |ino| {
            Node::new(ino, Arc::clone(&opened), directory.id, Kind::Directory, directory.key.clone(), &inode, seen)
        });
        self.store.know(&opened.bucket);
        if opened.local.is_pending() || self.store.recovers(opened.id) {
            // A run that was killed may have left its lease standing: what is sent without taking it over would wait for its end.
            self.acquire(&opened).await;
        }
        self.forget_orphans(opened.id).await.map_err(store_error)?;
        let held = opened.local.held_contents();
        let replayed = self.store.attach(&opened.bucket, &held).map_err(store_error)?;
        let names = opened.local.pending().len();
        if !replayed.is_empty() || names > 0 {
            tracing::info!(bucket = name, files = replayed.len(), names, "going on with what an earlier run wrote");
        }
        lock(&self.buckets.opened).insert(opened.id, Arc::clone(&root));
        self.buckets.another.notify_one();
        if let Some(inner) = self.me.upgrade() {
            self.tasks.spawn(Arc::clone(&inner).keep_lease(Arc::clone(&opened)));
            self.tasks.spawn(inner.keep_sending(opened));
        }
        Ok(root)
    }

    /// Opens the buckets of files that an earlier run wrote, so that those are committed.
    pub(crate) async fn open_recovered(&self, buckets: &[BucketId]) -> cyx_client::Result<()> {
        if buckets.is_empty() {
            return Ok(());
        }
        let answer = answered(self.client.buckets()).await?;
        // One that cannot be opened may be it.
        let certain = answer.iter().all(Result::is_ok);
        let found: Vec<BucketInfo> = answer.into_iter().flatten().collect();
        for bucket in buckets {
            match found.iter().find(|info| info.id == *bucket) {
                Some(info) => {
                    answered(self.open_bucket(&info.name)).await?;
                }
                None if certain => self.strand(*bucket),
                None => {
                    self.report(&format!(
                        "the bucket {bucket} is not found; what was written to it stays in the journal"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Attributes of the list of buckets.
    pub(crate) fn top_attr(&self) -> Attr {
        let listed = lock(&self.buckets.list).as_ref().map_or(0, |(_, list)| list.len());
        let began = self.buckets.began_ns;
        Attr {
            ino: ROOT_INO,
            kind: Kind::Directory,
            mode: 0o755 & !self.look.umask,
            uid: self.look.uid.unwrap_or_else(|| rustix::process::getuid().as_raw()),
            gid: self.look.gid.unwrap_or_else(|| rustix::process::getgid().as_raw()),
            nlink: u32::try_from(listed).unwrap_or(u32::MAX).saturating_add(2),
            rdev: 0,
            size: 4096,
            blocks: 8,
            atime_ns: began,
            mtime_ns: began,
            ctime_ns: began,
        }
    }
}

impl Filesystem {
    /// `mkdir` at the top.
    pub(super) async fn make_bucket(&self, name: &[u8]) -> Result<Attr, Errno> {
        let inner = &*self.inner;
        inner.writable()?;
        check_new_name(name)?;
        let name = std::str::from_utf8(name).map_err(|_| Errno::EINVAL)?;
        check_bucket_name(name).map_err(|_| Errno::EINVAL)?;
        inner.buckets.forget_list();
        inner.client.create_bucket(name, false).await?;
        let root = inner.open_bucket(name).await?;
        inner.buckets.forget_list();
        let attr = root.attr(&inner.look);
        inner.table.count(&root);
        Ok(attr)
    }

    /// `rmdir` at the top: a bucket that still has a trash is not empty.
    pub(super) async fn remove_bucket(&self, name: &[u8]) -> Result<(), Errno> {
        let inner = &*self.inner;
        inner.writable()?;
        let list = inner.bucket_list().await?;
        let info = list.iter().find(|info| info.name.as_bytes() == name).ok_or(Errno::ENOENT)?;
        if let Some(home) = inner.buckets.get(info.id) {
            // The call cannot name the lease.
            inner.give_back(&home).await?;
        }
        let deleted = inner.client.delete_bucket(&info.name, false).await;
        inner.buckets.forget_list();
        match deleted {
            Ok(()) => {
                // Somebody was faster, and made something in it just before.
                if inner.leave(info.id) {
                    inner.strand(info.id);
                }
                Ok(())
            }
            Err(error) if error.code() == ErrorCode::NotEmpty => Err(Errno::ENOTEMPTY),
            Err(error) => Err(error.into()),
        }
    }
}
