//! Renaming, replacing, exchanging.
//!
//! A rename that replaces a file must not be seen before the content of the file that takes its place: what is dirty is committed
//! first. So a program that saves by writing beside and renaming over never shows an empty file to anybody.

use std::sync::Arc;

use bytes::Bytes;
use cyx_core::error::ErrorCode;
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use cyx_proto::meta::v1::operation::Operation as Op;
use tokio::sync::MutexGuard;

use super::apply::{DECISIONS, decide_again, expected, operation};
use super::node::{Edge, Node, lock};
use super::{Filesystem, Found, Inner, RenameFlags, check_length, check_new_name};
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

/// Locks one or two directories, in the order of their numbers.
async fn both<'a>(a: &'a Node, b: &'a Node) -> (MutexGuard<'a, ()>, Option<MutexGuard<'a, ()>>) {
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
        for _ in 0..DECISIONS {
            let changing = both(old, new).await;
            let source = self.find(old, name).await?.ok_or(Errno::ENOENT)?;
            let target = self.find(new, new_name).await?;
            check(&source, target.as_ref(), flags)?;
            if let Some(target) = &target {
                if target.node.id == source.node.id {
                    // rename(2) between two names of one file does nothing.
                    return Ok(());
                }
                let replaces = !flags.exchange && source.node.kind == Kind::File;
                if replaces && !committed && self.is_dirty(&source.node) {
                    // Without the locks, and once: whoever goes on writing does not hold up the rename for ever.
                    drop(changing);
                    committed = true;
                    self.commit_now(&source.node).await?;
                    continue;
                }
            }
            let operation = rename.operation(&source, target.as_ref())?;
            let stamp = old.home.stamp();
            let before = Before { old: old.names_moved(), new: new.names_moved(), source: source.node.facts_moved() };
            let changes = 1 + u64::from(target.is_some());
            match self.apply(&old.home, vec![operation], stamp, changes).await {
                Ok(done) => {
                    let version = self.take_results(&source.node, &done, before.source);
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
                        lock(&target.node.listing).forget();
                    }
                    return Err(error.into());
                }
            }
        }
        Err(Errno::EBUSY)
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
                let mut facts = lock(&target.node.facts);
                facts.moved += 1;
                facts.attributes.ctime_ns = stamp;
                drop(facts);
                // Its entry is the change behind that of the other.
                old.set_name(name, &target.node, version + 1, before.old);
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
    fn operation(&self, source: &Edge, target: Option<&Edge>) -> Result<pb::Operation, Errno> {
        let (old_keys, new_keys) = (self.old.directory_keys()?, self.new.directory_keys()?);
        let (names, new_names) = (old_keys.tokens(self.name)?, new_keys.tokens(self.new_name)?);
        let moved = &source.node;
        let new_wrapped_key = new_keys.wrap(&new_names, moved.id, moved.kind, &moved.key())?.into();
        let exchanged_wrapped_key = match target {
            Some(other) if self.flags.exchange => {
                old_keys.wrap(&names, other.node.id, other.node.kind, &other.node.key())?.into()
            }
            _ => Bytes::new(),
        };
        Ok(operation(Op::Rename(pb::Rename {
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
        })))
    }
}
