//! What the server refuses of what was decided here. Under the lease nothing is; behind its end others may have been faster.
//!
//! | what | becomes |
//! |---|---|
//! | something new under a name that is taken, or renamed to one | the same under `name (conflict <host> <date>)`, with all that is in it |
//! | something new in a directory that was removed | the same, in the nearest directory above it that is there |
//! | a rename over a file that somebody else has written to since | the same: both are kept |
//! | the removal of a file that somebody else has written to since | nothing; it is reported |
//! | what is the case already | nothing |
//! | a rename over a file, if the content that takes its place is missing in a damaged journal | nothing; it is reported (`unwritten`) |
//! | a change under a key that was replaced | the same under the newest one |
//! | any other change that does not apply any more | nothing; it is reported |
//! | a failure that may pass | is tried again |

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use cyx_client::tree::list::Walked;
use cyx_client::tree::names::DirectoryKeys;
use cyx_client::{Directory, Error, Result, TreePath};
use cyx_core::error::ErrorCode;
use cyx_core::ids::{InodeId, Random as _, TxnId};
use cyx_core::inode::InodeKind;
use cyx_proto::convert::{bytes_of, id};
use cyx_proto::meta::v1 as pb;
use pb::operation::Operation as Op;

use super::merge::ASKED;
use super::note::{Made, operation_of};
use super::queue::Item;
use crate::sync::conflicts::conflict_name;
use crate::vfs::Inner;
use crate::vfs::node::{Node, Opened, links, lock};

/// Names that are tried for something new.
const NAMES: u32 = 100;
/// No directory lies deeper.
const DEPTH_MAX: usize = 4096;
/// How often something else takes the place of a change that is refused. More can only be a mistake of this program, which would not end.
const REFUSALS: u32 = 32;

/// Whether a change can never apply any more: what it expects is not there.
fn is_final(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::AlreadyExists
            | ErrorCode::NotFound
            | ErrorCode::Retry
            | ErrorCode::Conflict
            | ErrorCode::NotEmpty
            | ErrorCode::IsDirectory
            | ErrorCode::NotDirectory
            | ErrorCode::Loop
            | ErrorCode::InvalidArgument
            | ErrorCode::StaleKey
            | ErrorCode::TooLarge
    )
}

/// What a change is, in words.
fn described(operation: Option<&Op>) -> &'static str {
    match operation {
        Some(Op::Create(_)) => "something new",
        Some(Op::Link(_)) => "a second name",
        Some(Op::Unlink(_)) => "a removal",
        Some(Op::Rename(_)) => "a new name",
        Some(Op::SetMeta(_)) => "extended attributes",
        _ => "attributes",
    }
}

/// What became of a change that the server refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    /// It is done with.
    Done,
    /// Another one took its place.
    Changed,
}

/// An entry that does not exist on the server, to be opened with the keys of its directory.
fn entry_of(directory: &Bytes, names: &[pb::NameToken], child: &Bytes, kind: i32, wrapped_key: &Bytes) -> pb::Entry {
    pb::Entry {
        directory: directory.clone(),
        name: names.last().cloned(),
        child: child.clone(),
        kind,
        wrapped_key: wrapped_key.clone(),
        version: 0,
    }
}

/// Another mutation with this operation, at the same time.
pub(super) fn instead_of(mutation: &pb::Mutation, operation: Op) -> pb::Mutation {
    pb::Mutation {
        txn: bytes_of(TxnId::random()),
        operations: vec![pb::Operation { operation: Some(operation) }],
        time_ns: mutation.time_ns,
    }
}

/// What the server says is there under the name.
fn present(result: &pb::MutationResult) -> Option<&pb::Entry> {
    result.operations.first().and_then(|present| present.entry.as_ref())
}

impl Inner {
    /// The server refused a change.
    ///
    /// # Errors
    /// If it has to be tried again.
    pub(super) async fn refused(
        &self,
        home: &Opened,
        item: &Item,
        error: &Error,
        result: &pb::MutationResult,
    ) -> Result<Settled> {
        let code = error.code();
        if !is_final(code) {
            return Err(Error::Server { code, message: error.to_string(), request_id: None });
        }
        let operation = operation_of(&item.mutation);
        let instead = if code == ErrorCode::StaleKey {
            home.doubt_keys();
            self.resealed(home, &item.mutation).await?
        } else {
            let is_done = match operation {
                Some(Op::Create(create)) if code == ErrorCode::AlreadyExists => {
                    self.was_made(home, create, result).await?
                }
                Some(Op::Link(link)) if code == ErrorCode::AlreadyExists => {
                    present(result).is_some_and(|entry| entry.child == link.inode)
                }
                Some(Op::Unlink(unlink)) if code == ErrorCode::NotFound => self.is_gone(home, unlink).await?,
                Some(Op::Rename(rename)) => self.was_renamed(home, rename).await?,
                _ => false,
            };
            if is_done {
                return Ok(Settled::Done);
            }
            match operation {
                Some(Op::Create(create)) if matches!(code, ErrorCode::AlreadyExists | ErrorCode::NotFound) => {
                    self.beside(home, create, item).await?
                }
                Some(Op::Rename(rename)) => self.renamed_beside(home, rename, &item.mutation).await?,
                _ => None,
            }
        };
        Ok(self.settle_with(home, item, instead, &error.to_string()))
    }

    /// Somebody else wrote to the file that loses a name by a change, since that was decided.
    pub(super) async fn written_since(&self, home: &Opened, item: &Item) -> Result<Settled> {
        let instead = match operation_of(&item.mutation) {
            Some(Op::Rename(rename)) => self.renamed_beside(home, rename, &item.mutation).await?,
            _ => None,
        };
        Ok(self.settle_with(home, item, instead, "the file was written to elsewhere since"))
    }

    pub(super) fn settle_with(
        &self,
        home: &Opened,
        item: &Item,
        instead: Option<pb::Mutation>,
        reason: &str,
    ) -> Settled {
        if let Some(mutation) = instead.filter(|_| item.refusals < REFUSALS) {
            if let Some(kept) = home.local.replace(item.number, mutation) {
                self.keep_name(home, kept);
            }
            return Settled::Changed;
        }
        self.report(format!(
            "{} in the bucket {} that this machine decided on does not apply any more: {reason}",
            described(operation_of(&item.mutation)),
            home.bucket.name
        ));
        self.doubt_everything(home);
        Settled::Done
    }

    /// What is known of the bucket came from decisions that did not hold.
    fn doubt_everything(&self, home: &Opened) {
        match self.buckets.root(home.id) {
            Some(root) => self.resync(&root),
            None => home.forget_all(),
        }
    }

    /// An earlier attempt, whose answer was lost, has made it, under this name or another one.
    async fn was_made(&self, home: &Opened, create: &pb::Create, result: &pb::MutationResult) -> Result<bool> {
        if present(result).is_some_and(|entry| entry.child == create.inode) {
            return Ok(true);
        }
        Ok(self.inode_at_server(home, &create.inode).await?.is_some())
    }

    /// What was to be removed has no name any more.
    async fn is_gone(&self, home: &Opened, unlink: &pb::Unlink) -> Result<bool> {
        let Some(expected) = &unlink.expected else { return Ok(false) };
        Ok(self.inode_at_server(home, &expected.child).await?.is_none_or(|inode| inode.nlink == 0))
    }

    /// An earlier attempt, whose answer was lost, has renamed it.
    async fn was_renamed(&self, home: &Opened, rename: &pb::Rename) -> Result<bool> {
        let Some(expected) = &rename.expected else { return Ok(false) };
        let leads = |entry: Option<pb::Entry>| entry.is_some_and(|entry| entry.child == expected.child);
        Ok(leads(self.entry_at_server(home, &rename.new_directory, &rename.new_names).await?)
            && !leads(self.entry_at_server(home, &rename.directory, &rename.names).await?))
    }

    pub(super) async fn inode_at_server(&self, home: &Opened, inode: &Bytes) -> Result<Option<pb::Inode>> {
        let found = self.inodes_at_server(home, &[id(inode, "inode")?]).await?;
        Ok(found.into_iter().find(|found| found.id == inode))
    }

    /// Inodes as the server knows them, whatever was decided here since.
    pub(crate) async fn inodes_at_server(&self, home: &Opened, inodes: &[InodeId]) -> Result<Vec<pb::Inode>> {
        let mut found = Vec::with_capacity(inodes.len());
        for some in inodes.chunks(ASKED) {
            let ids = some.iter().copied().map(bytes_of).collect();
            let request = pb::GetInodesRequest { bucket: bytes_of(home.id), ids };
            found.extend(home.health.ask(self.client.meta.get_inodes(request)).await?.inodes);
        }
        Ok(found)
    }

    /// Whether the server has a directory to put something into.
    async fn is_there(&self, home: &Opened, directory: InodeId) -> Result<bool> {
        Ok(self.inodes_at_server(home, &[directory]).await?.iter().any(|inode| links(inode) > 0))
    }

    /// The nearest directory above one that was removed, as far as is known where that was; or the root of the bucket. `None` if the bucket is
    /// not open any more.
    pub(crate) async fn nearest_above(&self, home: &Opened, directory: InodeId) -> Result<Option<Arc<Node>>> {
        let mut at = self.table.by_id(home.id, directory);
        for _ in 0..DEPTH_MAX {
            let Some(node) = at else { break };
            at = lock(&node.file).place.as_ref().and_then(|(above, _)| above.upgrade());
            match &at {
                Some(above) if self.is_there(home, above.id).await? => return Ok(at),
                _ => {}
            }
        }
        Ok(self.buckets.root(home.id))
    }

    async fn entry_at_server(
        &self,
        home: &Opened,
        directory: &Bytes,
        names: &[pb::NameToken],
    ) -> Result<Option<pb::Entry>> {
        let request = pb::LookupRequest {
            bucket: bytes_of(home.id),
            directory: directory.clone(),
            names: vec![pb::NameQuestion { tokens: names.to_vec() }],
        };
        match home.health.ask(self.client.meta.lookup(request)).await {
            Ok(answer) => Ok(answer.answers.into_iter().next().and_then(|answer| answer.entry)),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A rename to the name that it was to have, if that is free by now, or to one that is free and says why. `None` if what was to be renamed is
    /// not where it was, or there is no directory to put it into.
    async fn renamed_beside(
        &self,
        home: &Opened,
        rename: &pb::Rename,
        mutation: &pb::Mutation,
    ) -> Result<Option<pb::Mutation>> {
        let Some(expected) = rename.expected.as_ref().filter(|_| !rename.exchange) else { return Ok(None) };
        let source = self.entry_at_server(home, &rename.directory, &rename.names).await?;
        let Some(source) = source.filter(|source| source.child == expected.child) else { return Ok(None) };
        let directory: InodeId = id(&rename.new_directory, "rename.new_directory")?;
        let Some(keys) = self.keys_of(home, directory).await? else { return Ok(None) };
        if !self.is_there(home, directory).await? {
            return Ok(None);
        }
        let (new_names, wrapped) = (&rename.new_names, &rename.new_wrapped_key);
        let entry = entry_of(&rename.new_directory, new_names, &source.child, source.kind, wrapped);
        let (name, child, key) = keys.open_entry(&entry)?;
        let kind = InodeKind::from_number(source.kind).map_err(Error::decode("the kind of what is renamed"))?;
        let Some((new_names, beside)) = self.free_name(home, (directory, &keys), &name, true, mutation).await? else {
            return Ok(None);
        };
        let renamed = pb::Rename {
            expected: Some(pb::Expected { child: source.child.clone(), entry_version: source.version }),
            new_wrapped_key: keys.wrap(&new_names, child, kind, &key)?.into(),
            new_names,
            replaced: None,
            ..rename.clone()
        };
        if let Some(beside) = beside {
            self.conflicts.fetch_add(1, Ordering::Relaxed);
            self.report(format!(
                "{:?} was made or changed elsewhere at the same time; what was to take its place here is kept as {:?}",
                String::from_utf8_lossy(&name),
                String::from_utf8_lossy(&beside)
            ));
        }
        self.doubt_everything(home);
        Ok(Some(instead_of(mutation, Op::Rename(renamed))))
    }

    /// The name itself if it is free in a directory and `plain` enough, else one that says why it is not; and that one.
    async fn free_name(
        &self,
        home: &Opened,
        (directory, keys): (InodeId, &DirectoryKeys),
        name: &[u8],
        plain: bool,
        mutation: &pb::Mutation,
    ) -> Result<Option<(Vec<pb::NameToken>, Option<Vec<u8>>)>> {
        if plain {
            let names = keys.tokens(name)?;
            if !self.is_taken(home, directory, &names).await? {
                return Ok(Some((names, None)));
            }
        }
        let at = mutation.time_ns.unwrap_or_else(crate::vfs::now_ns);
        for number in 1..=NAMES {
            let wanted = conflict_name(name, &self.options.host, at, number);
            let names = keys.tokens(&wanted)?;
            if !self.is_taken(home, directory, &names).await? {
                return Ok(Some((names, Some(wanted))));
            }
        }
        Ok(None)
    }

    /// The same under a name that is free and says why. `None` if there is no directory to put it into.
    async fn beside(&self, home: &Opened, create: &pb::Create, item: &Item) -> Result<Option<pb::Mutation>> {
        let mutation = &item.mutation;
        let mut directory: InodeId = id(&create.directory, "create.directory")?;
        let child: InodeId = id(&create.inode, "create.inode")?;
        let kind = InodeKind::from_number(create.kind).map_err(Error::decode("the kind of something new"))?;
        let mut known = self.keys_of(home, directory).await?;
        let made = match (&item.made, &known) {
            (Some(made), _) => made.clone(),
            (None, Some(keys)) => {
                let entry = entry_of(&create.directory, &create.names, &create.inode, create.kind, &create.wrapped_key);
                let (name, _, key) = keys.open_entry(&entry)?;
                Made { name, key }
            }
            (None, None) => return Ok(None),
        };
        let Made { name, key } = made;
        let is_there = self.is_there(home, directory).await?;
        if !is_there {
            let Some(above) = self.nearest_above(home, directory).await? else { return Ok(None) };
            (directory, known) = (above.id, Some(Arc::new(DirectoryKeys::new(&above.directory())?)));
        }
        let Some(keys) = known else { return Ok(None) };
        let Some((names, beside)) = self.free_name(home, (directory, &keys), &name, is_there, mutation).await? else {
            return Ok(None);
        };
        if let Some(beside) = beside {
            let why = if is_there { "was made" } else { "lost its directory" };
            self.conflicts.fetch_add(1, Ordering::Relaxed);
            self.report(format!(
                "{:?} {why} elsewhere at the same time; what was made here is kept as {:?}",
                String::from_utf8_lossy(&name),
                String::from_utf8_lossy(&beside)
            ));
        }
        self.doubt_everything(home);
        let (directory, wrapped_key) = (bytes_of(directory), keys.wrap(&names, child, kind, &key)?.into());
        Ok(Some(instead_of(mutation, Op::Create(pb::Create { directory, names, wrapped_key, ..create.clone() }))))
    }

    async fn is_taken(&self, home: &Opened, directory: InodeId, tokens: &[pb::NameToken]) -> Result<bool> {
        Ok(self.entry_at_server(home, &bytes_of(directory), tokens).await?.is_some())
    }

    /// The keys of a directory that the server has. Not by way of what is known here, which waits for the queue.
    async fn keys_of(&self, home: &Opened, directory: InodeId) -> Result<Option<Arc<DirectoryKeys>>> {
        if let Some(node) = self.table.by_id(home.id, directory) {
            let known = node.directory();
            return Ok(Some(Arc::new(DirectoryKeys::new(&known)?)));
        }
        let mut walk = home.bucket.walk(&TreePath::root(), true).await?;
        while let Some(found) = walk.next().await {
            let Walked::Item(item) = found else { continue };
            if item.located.id == directory {
                let located = item.located;
                let known = Directory {
                    id: located.id,
                    key: located.key.clone(),
                    key_history: located.inode.key_history,
                    attributes: None,
                };
                return Ok(Some(Arc::new(DirectoryKeys::new(&known)?)));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_tried_again_and_what_cannot_apply_is_given_up() {
        for code in [ErrorCode::Retry, ErrorCode::NotFound, ErrorCode::NotEmpty, ErrorCode::AlreadyExists] {
            assert!(is_final(code), "{code}");
        }
        for code in [ErrorCode::Unavailable, ErrorCode::Internal, ErrorCode::PermissionDenied, ErrorCode::QuotaExceeded]
        {
            assert!(!is_final(code), "{code}");
        }
    }
}
