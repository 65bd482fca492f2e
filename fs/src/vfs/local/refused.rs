//! What the server refuses of what was decided here. Under the lease nothing is; behind its end others may have been faster.
//!
//! | what | becomes |
//! |---|---|
//! | something new under a name that is taken, linked or renamed to one | the same under `name (conflict <host> <date>)`, with all that is in it ([`super::beside`]) |
//! | something new in a directory that was removed | the same, in the nearest directory above it that is there |
//! | what was done here to something that has got another name so | the same under that one ([`super::redirect`]) |
//! | a rename over a file that somebody else has written to since | the same: both are kept |
//! | the removal of a file that somebody else has written to since | nothing; it is reported |
//! | the removal of a name of a file whose other names, which it has here, somebody else removed | the same |
//! | what is the case already | nothing |
//! | a rename over a file, if the content that takes its place is missing in a damaged journal | nothing; it is reported (`unwritten`) |
//! | a change under a key that was replaced | the same under the newest one |
//! | any other change that does not apply any more | nothing; it is reported |
//! | a failure that may pass | is tried again |

use std::sync::Arc;

use bytes::Bytes;
use cyx_client::tree::names::DirectoryKeys;
use cyx_client::{Error, Result};
use cyx_core::error::ErrorCode;
use cyx_core::ids::{InodeId, Random as _, TxnId};
use cyx_proto::convert::{bytes_of, id};
use cyx_proto::meta::v1 as pb;
use pb::operation::Operation as Op;

use super::merge::ASKED;
use super::note::operation_of;
use super::queue::Item;
use crate::vfs::Inner;
use crate::vfs::node::Opened;

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

/// What takes the place of a change.
pub(super) struct Instead {
    mutation: pb::Mutation,
    /// Of the directory in which it gives something a name.
    keys: Option<Arc<DirectoryKeys>>,
}

impl Instead {
    pub(super) const fn named(mutation: pb::Mutation, keys: Arc<DirectoryKeys>) -> Self {
        Self { mutation, keys: Some(keys) }
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
            let resealed = self.resealed(home, &item.mutation).await?;
            resealed.map(|mutation| Instead { mutation, keys: None })
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
                    self.created_beside(home, create, item).await?
                }
                Some(Op::Link(link)) => self.linked_beside(home, link, item).await?,
                Some(Op::Rename(rename)) => self.renamed_beside(home, rename, item).await?,
                _ => None,
            }
        };
        Ok(self.settle_with(home, item, instead, &error.to_string()))
    }

    /// The file must not lose its name by a change, because of what somebody else did since that was decided.
    pub(super) async fn is_needed(&self, home: &Opened, item: &Item, why: &str) -> Result<Settled> {
        let instead = match operation_of(&item.mutation) {
            Some(Op::Rename(rename)) => self.renamed_beside(home, rename, item).await?,
            _ => None,
        };
        Ok(self.settle_with(home, item, instead, why))
    }

    pub(super) fn settle_with(&self, home: &Opened, item: &Item, instead: Option<Instead>, reason: &str) -> Settled {
        if let Some(Instead { mutation, keys }) = instead.filter(|_| item.refusals < REFUSALS) {
            if let Some(kept) = home.local.replace(item.number, mutation, keys.as_deref()) {
                self.keep_name(home, kept);
            }
            return Settled::Changed;
        }
        let name = item.named.as_ref().map(|named| format!(" ({:?})", String::from_utf8_lossy(&named.name)));
        self.report(&format!(
            "{}{} in the bucket {} that this machine decided on does not apply any more: {reason}",
            described(operation_of(&item.mutation)),
            name.unwrap_or_default(),
            home.bucket.name
        ));
        self.doubt_everything(home);
        Settled::Done
    }

    /// What is known of the bucket came from decisions that did not hold.
    pub(super) fn doubt_everything(&self, home: &Opened) {
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

    pub(super) async fn entry_at_server(
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
