//! Renaming, replacing, exchanging.
//!
//! A rename that replaces a file must not be seen before the content of the file that takes its place: what is dirty is committed
//! first. So a program that saves by writing beside and renaming over never shows an empty file to anybody. A rename that is decided here
//! waits for that in the queue, and the program does not.

use std::sync::Arc;

use bytes::Bytes;
use cyx_core::error::ErrorCode;
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use cyx_proto::meta::v1::operation::Operation as Op;
use tokio::sync::MutexGuard;

use super::apply::{Applied, Change, DECISIONS, decide_again, expected};
use super::local::Turn;
use super::local::note::Named;
use super::node::{Edge, Node, lock};
use super::{ANY_VERSION, Filesystem, Found, Inner, RenameFlags, check_length, check_new_name};
use crate::attributes::{Ino, Kind};
use crate::errno::Errno;

impl Filesystem {
    /// Renames, replaces or exchanges.
    ///
    /// # Errors
    /// `ENOENT`, `EEXIST`, `ENOTEMPTY`, `EISDIR`, `ENOTDIR`, `EXDEV` between buckets, `EINVAL` below itself, `EROFS`; `EPERM` for
    /// a bucket.
    pub async fn rename(
        &self,
        parent: Ino,
        name: &[u8],
        new_parent: Ino,
        new_name: &[u8],
        flags: RenameFlags,
    ) -> Result<(), Errno> {
        let inner = &*self.inner;
        inner.writable()?;
        check_length(name)?;
        check_new_name(new_name)?;
        if flags.no_replace && flags.exchange {
            return Err(Errno::EINVAL);
        }
        let (old, new) = match (inner.found(parent)?, inner.found(new_parent)?) {
            (Found::Top, Found::Top) => return Err(Errno::EPERM),
            (Found::Node(old), Found::Node(new)) => (old, new),
            _ => return Err(Errno::EXDEV),
        };
        if !old.is_directory() || !new.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        if old.home.id != new.home.id {
            return Err(Errno::EXDEV);
        }
        if matches!(name, b"." | b"..") {
            return Err(Errno::EINVAL);
        }
        inner.rename_in(&Rename { old: &old, name, new: &new, new_name, flags }).await
    }
}

/// No directory lies deeper.
const DEPTH_MAX: usize = 4096;

/// Locks one or two directories, in the order of their numbers.
pub(super) async fn both<'a>(a: &'a Node, b: &'a Node) -> (MutexGuard<'a, ()>, Option<MutexGuard<'a, ()>>) {
    if a.ino == b.ino {
        (a.changing.lock().await, None)
    } else {
        let (first, second) = if a.ino < b.ino { (a, b) } else { (b, a) };
        (first.changing.lock().await, Some(second.changing.lock().await))
    }
}

/// What is to be renamed to what.
struct Rename<'a> {
    old: &'a Arc<Node>,
    name: &'a [u8],
    new: &'a Arc<Node>,
    new_name: &'a [u8],
    flags: RenameFlags,
}

/// Where counters stood before the server was asked.
struct Before {
    old: u64,
    new: u64,
    source: u64,
}

impl Inner {
    async fn rename_in(&self, rename: &Rename<'_>) -> Result<(), Errno> {
        let Rename { old, name, new, new_name, flags } = *rename;
        let mut committed = false;
        let mut moving = None;
        let mut asked = None;
        for _ in 0..DECISIONS {
            let changing = both(old, new).await;
            let mut turn = self.turn(&old.home).await;
            let source = self.find(old, name).await?.ok_or(Errno::ENOENT)?;
            let target = self.find(new, new_name).await?;
            check(&source, target.as_ref(), flags)?;
            if let Some(target) = &target {
                if target.node.id == source.node.id {
                    // rename(2) between two names of one file does nothing.
                    return Ok(());
                }
                if rename.replaces(&source) && !turn.is_here() && !committed && self.is_dirty(&source.node) {
                    // Without the locks, and once: whoever goes on writing does not hold up the rename for ever.
                    drop(changing);
                    committed = true;
                    match self.commit_now(&source.node).await {
                        // It waits in the queue instead.
                        Err(_) if old.home.health.offline() => {}
                        committed => committed?,
                    }
                    continue;
                }
            }
            self.still_there(turn, new).await?;
            if turn.is_here() {
                let moves = |edge: &Edge| edge.node.is_directory() && !Arc::ptr_eq(old, new);
                if moving.is_none() && (moves(&source) || (flags.exchange && target.as_ref().is_some_and(moves))) {
                    // Before the directories' own locks, which are taken again.
                    drop(changing);
                    moving = Some(old.home.local.moving.lock().await);
                    continue;
                }
                if !self.check_here(rename, &source, target.as_ref()).await? {
                    turn = Turn::THERE;
                }
            }
            let waits = target.is_some() && rename.replaces(&source) && turn.is_here() && self.is_dirty(&source.node);
            let operation = rename.operation(&source, target.as_ref())?;
            let stamp = old.home.stamp();
            let before = Before { old: old.names_moved(), new: new.names_moved(), source: source.node.facts_moved() };
            let changes = 1 + u8::from(target.is_some());
            let replaced = target.as_ref().filter(|_| !flags.exchange);
            let loses = replaced.and_then(|target| self.known_of(&target.node, turn));
            let after = waits.then_some(source.node.id);
            let moved = &source.node;
            let named = Some(Named { kind: moved.kind, key: moved.key(), name: new_name.to_vec() });
            let change = Change { named, changes, after, loses, asked: asked.take(), ..Change::new(operation, stamp) };
            match self.apply(&old.home, turn, change, &mut asked).await {
                Ok(applied) => {
                    let version = match applied {
                        Applied::There(done) => self.take_results(&source.node, &done, before.source),
                        Applied::Here => {
                            source.node.name_changed(stamp);
                            ANY_VERSION
                        }
                    };
                    self.renamed(rename, &source, target.as_ref(), version, stamp, &before).await;
                    return Ok(());
                }
                Err(error) => {
                    old.doubt_name(name);
                    new.doubt_name(new_name);
                    if decide_again(&error) {
                        continue;
                    }
                    if error.code() == ErrorCode::NotEmpty
                        && let Some(target) = &target
                    {
                        target.node.listing().forget();
                    }
                    return Err(error.into());
                }
            }
        }
        Err(Errno::EBUSY)
    }

    /// Refuses what the server would refuse. False if that cannot be told here.
    async fn check_here(&self, rename: &Rename<'_>, source: &Edge, target: Option<&Edge>) -> Result<bool, Errno> {
        let Rename { old, new, flags, .. } = *rename;
        self.fresh(&source.node).await?;
        let across = !Arc::ptr_eq(old, new);
        if across && source.node.is_directory() {
            match self.lies_in(new, &source.node) {
                Some(true) => return Err(Errno::EINVAL),
                Some(false) => {}
                None => return Ok(false),
            }
        }
        let Some(target) = target else { return Ok(true) };
        self.fresh(&target.node).await?;
        if !target.node.is_directory() {
            return Ok(true);
        }
        if flags.exchange {
            return match self.lies_in(old, &target.node) {
                Some(true) if across => Err(Errno::EINVAL),
                None if across => Ok(false),
                _ => Ok(true),
            };
        }
        // Nothing is put into it meanwhile, or somebody is at it: then it is not for this machine alone to say.
        let Ok(_inside) = target.node.changing.try_lock() else { return Ok(false) };
        if self.list(&target.node).await?.entries.is_empty() { Ok(true) } else { Err(Errno::ENOTEMPTY) }
    }

    /// Whether a directory is another one or lies in it, by what is known for sure.
    fn lies_in(&self, directory: &Arc<Node>, above: &Arc<Node>) -> Option<bool> {
        let root = self.buckets.root(directory.home.id)?;
        let mut at = Arc::clone(directory);
        for _ in 0..DEPTH_MAX {
            if at.id == above.id {
                return Some(true);
            }
            if at.id == root.id {
                return Some(false);
            }
            let (parent, name) = lock(&at.file).place.clone()?;
            let parent = parent.upgrade()?;
            if !parent.leads(&name, &at) {
                return None;
            }
            at = parent;
        }
        None
    }

    /// What is known after a rename.
    async fn renamed(
        &self,
        rename: &Rename<'_>,
        source: &Edge,
        target: Option<&Edge>,
        version: u64,
        stamp: i64,
        before: &Before,
    ) {
        let Rename { old, name, new, new_name, flags } = *rename;
        if let Some(written) = &mut lock(&source.node.facts).written {
            written.ctime_ns = stamp;
        }
        let across = !Arc::ptr_eq(old, new);
        let moved = i32::from(source.node.is_directory() && across);
        let replaced = target.map_or(0, |target| i32::from(target.node.is_directory()));
        let exchanged = target.filter(|_| flags.exchange);
        let (gone, come) = match exchanged {
            Some(_) if across => (replaced - moved, moved - replaced),
            Some(_) => (0, 0),
            None if across => (-moved, moved - replaced),
            None => (-replaced, 0),
        };
        old.names_changed(stamp, gone);
        if across {
            new.names_changed(stamp, come);
        }
        match exchanged {
            Some(target) => {
                target.node.name_changed(stamp);
                // Its entry is the change behind that of the other.
                let its = if version == ANY_VERSION { ANY_VERSION } else { version + 1 };
                old.set_name(name, &target.node, its, before.old);
            }
            None => old.drop_name(name, before.old),
        }
        // In one directory the counter has moved by one since.
        let new_before = if across { before.new } else { before.old + 1 };
        new.set_name(new_name, &source.node, version, new_before);
        if let Some(target) = target.filter(|_| !flags.exchange) {
            self.replaced(&target.node, stamp).await;
        }
    }
}

/// What rename(2) refuses before anything else.
fn check(source: &Edge, target: Option<&Edge>, flags: RenameFlags) -> Result<(), Errno> {
    match target {
        Some(_) if flags.no_replace => Err(Errno::EEXIST),
        None if flags.exchange => Err(Errno::ENOENT),
        Some(target) if !flags.exchange => match (source.node.is_directory(), target.node.is_directory()) {
            (true, false) => Err(Errno::ENOTDIR),
            (false, true) => Err(Errno::EISDIR),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

impl Rename<'_> {
    /// A file may take the place of another one.
    fn replaces(&self, source: &Edge) -> bool {
        !self.flags.exchange && source.node.kind == Kind::File
    }

    fn operation(&self, source: &Edge, target: Option<&Edge>) -> Result<Op, Errno> {
        let (old_keys, new_keys) = (self.old.directory_keys()?, self.new.directory_keys()?);
        let (names, new_names) = (old_keys.tokens(self.name)?, new_keys.tokens(self.new_name)?);
        let moved = &source.node;
        let key = moved.key();
        let new_wrapped_key = new_keys.wrap(&new_names, moved.id, moved.kind, &key)?.into();
        let (exchanged_wrapped_key, exchanged_key_epoch) = match target {
            Some(other) if self.flags.exchange => {
                let other_key = other.node.key();
                let wrapped = old_keys.wrap(&names, other.node.id, other.node.kind, &other_key)?;
                (wrapped.into(), other_key.epoch())
            }
            _ => (Bytes::new(), 0),
        };
        Ok(Op::Rename(pb::Rename {
            directory: bytes_of(self.old.id),
            names,
            expected: Some(expected(source)),
            new_directory: bytes_of(self.new.id),
            new_names,
            new_wrapped_key,
            no_replace: self.flags.no_replace,
            exchange: self.flags.exchange,
            replaced: target.map(expected),
            exchanged_wrapped_key,
            key_epoch: key.epoch(),
            exchanged_key_epoch,
        }))
    }
}
