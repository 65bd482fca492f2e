//! What the server refuses of what was decided here. Under the lease nothing is; behind its end others may have been faster.
//!
//! | what | becomes |
//! |---|---|
//! | something new under a name that is taken | the same under `name (conflict <host> <date>)`, with all that is in it |
//! | any other change that does not apply any more | nothing; it is reported |
//! | a failure that may pass | is tried again |

use std::sync::Arc;
use std::sync::atomic::Ordering;

use cyx_client::tree::list::Walked;
use cyx_client::tree::names::DirectoryKeys;
use cyx_client::{Directory, Error, Result, TreePath};
use cyx_core::error::ErrorCode;
use cyx_core::ids::{InodeId, Random as _, TxnId};
use cyx_core::inode::InodeKind;
use cyx_proto::convert::{bytes_of, id};
use cyx_proto::meta::v1 as pb;
use pb::operation::Operation as Op;

use super::Item;
use super::note::operation_of;
use crate::sync::conflicts::conflict_name;
use crate::vfs::Inner;
use crate::vfs::node::Opened;

/// Names that are tried for something new.
const NAMES: u32 = 100;

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

impl Inner {
    /// The server refused a change at the front of the queue. True: it is done with; false: another one took its place.
    ///
    /// # Errors
    /// If it has to be tried again.
    pub(super) async fn refused(
        &self,
        home: &Opened,
        item: &Item,
        error: &Error,
        result: &pb::MutationResult,
    ) -> Result<bool> {
        if !is_final(error.code()) {
            return Err(Error::Server { code: error.code(), message: error.to_string(), request_id: None });
        }
        let operation = operation_of(&item.mutation);
        if let Some(Op::Create(create)) = operation
            && error.code() == ErrorCode::AlreadyExists
        {
            if self.was_made(home, create, result).await? {
                return Ok(true);
            }
            if let Some(mutation) = self.beside(home, create, &item.mutation).await? {
                home.local.replace_front(item.number, mutation);
                return Ok(false);
            }
        }
        self.report(format!(
            "{} in the bucket {} that this machine decided on does not apply any more: {error}",
            described(operation),
            home.bucket.name
        ));
        self.doubt_everything(home);
        Ok(true)
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
        let present = result.operations.first().and_then(|present| present.entry.as_ref());
        if present.is_some_and(|entry| entry.child == create.inode) {
            return Ok(true);
        }
        let request = pb::GetInodesRequest { bucket: bytes_of(home.id), ids: vec![create.inode.clone()] };
        Ok(!self.client.meta.get_inodes(request).await?.inodes.is_empty())
    }

    /// The same under a name that is free and says why. `None` if there is no directory to put it into.
    async fn beside(
        &self,
        home: &Opened,
        create: &pb::Create,
        mutation: &pb::Mutation,
    ) -> Result<Option<pb::Mutation>> {
        let directory: InodeId = id(&create.directory, "create.directory")?;
        let Some(keys) = self.keys_of(home, directory).await? else { return Ok(None) };
        let entry = pb::Entry {
            directory: create.directory.clone(),
            name: create.names.last().cloned(),
            child: create.inode.clone(),
            kind: create.kind,
            wrapped_key: create.wrapped_key.clone(),
            version: 0,
        };
        let (name, child, key) = keys.open_entry(&entry)?;
        let kind = InodeKind::from_number(create.kind).map_err(Error::decode("the kind of something new"))?;
        let at = mutation.time_ns.unwrap_or_else(crate::vfs::now_ns);
        for number in 1..=NAMES {
            let wanted = conflict_name(&name, &self.options.host, at, number);
            let names = keys.tokens(&wanted)?;
            if self.is_taken(home, directory, &names).await? {
                continue;
            }
            let wrapped_key = keys.wrap(&names, child, kind, &key)?.into();
            let operation = Op::Create(pb::Create { names, wrapped_key, ..create.clone() });
            self.conflicts.fetch_add(1, Ordering::Relaxed);
            self.report(format!(
                "{:?} was made elsewhere at the same time; what was made here is kept as {:?}",
                String::from_utf8_lossy(&name),
                String::from_utf8_lossy(&wanted)
            ));
            self.doubt_everything(home);
            return Ok(Some(pb::Mutation {
                txn: bytes_of(TxnId::random()),
                operations: vec![pb::Operation { operation: Some(operation) }],
                time_ns: mutation.time_ns,
            }));
        }
        Ok(None)
    }

    async fn is_taken(&self, home: &Opened, directory: InodeId, tokens: &[pb::NameToken]) -> Result<bool> {
        let request = pb::LookupRequest {
            bucket: bytes_of(home.id),
            directory: bytes_of(directory),
            names: vec![pb::NameQuestion { tokens: tokens.to_vec() }],
        };
        let answer = self.client.meta.lookup(request).await?;
        Ok(answer.answers.first().is_some_and(|answer| answer.entry.is_some()))
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
