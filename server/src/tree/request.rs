//! Foreign mutations become checked operations: every length, count and kind is bounded here, before anything looks at them.

use bytes::Bytes;
use cyx_core::ids::{InodeId, TrashId, TxnId};
use cyx_proto::convert::{self, InvalidField};
use cyx_proto::meta::v1 as pb;

use super::error::TreeError;
use super::model::{InodeKind, Token};
use super::plan::{CommitPlan, PlanContext};
use super::rekey::Rekey;

/// Most mutations of one call.
pub const MUTATIONS_MAX: usize = 1024;
/// Most operations of one mutation.
pub const OPERATIONS_MAX: usize = 64;
/// Most operations of one call: a call must not keep everybody else waiting for long.
pub const OPERATIONS_IN_ALL_MAX: usize = 8192;
/// Longest encrypted name.
pub const NAME_TOKEN_MAX: usize = 512;
/// Most epochs of one name.
pub const EPOCHS_MAX: usize = 16;
/// Longest wrapped key.
pub const WRAPPED_KEY_MAX: usize = 256;
/// Longest sealed link target.
pub const SEALED_TARGET_MAX: usize = 8 * 1024;
/// Longest sealed metadata.
pub const SEALED_META_MAX: usize = 80 * 1024;
/// Most trash entries of one purge.
pub const TRASH_PURGE_MAX: usize = 1000;

/// A mutation that can be tried.
#[derive(Debug)]
pub struct Mutation {
    /// Its transaction id.
    pub txn: TxnId,
    /// When it was decided, if its caller says so.
    pub time_ns: Option<i64>,
    /// What it does.
    pub operations: Vec<Operation>,
}

/// One step of a mutation.
#[derive(Debug)]
pub enum Operation {
    /// A new inode and its first entry.
    Create(Box<Create>),
    /// Another entry for a file.
    Link(Link),
    /// One entry less.
    Unlink(Unlink),
    /// An entry elsewhere.
    Rename(Box<Rename>),
    /// Mode, owner, times.
    SetAttributes(SetAttributes),
    /// Sealed metadata.
    SetMeta(SetMeta),
    /// A new version of a file.
    Commit(Box<CommitPlan>),
    /// Back from the trash.
    TrashRestore(TrashRestore),
    /// Out of the trash for good.
    TrashPurge(Vec<TrashId>),
    /// A new key.
    Rekey(Box<Rekey>),
}

/// See [`pb::Create`].
#[derive(Debug, Clone)]
pub struct Create {
    /// The new inode.
    pub inode: InodeId,
    /// What it is.
    pub kind: InodeKind,
    /// Where.
    pub directory: InodeId,
    /// Its name under every epoch in use; never empty.
    pub names: Vec<Token>,
    /// Opaque.
    pub wrapped_key: Bytes,
    /// Mode, owner, times.
    pub attributes: pb::Attributes,
    /// Opaque; for symbolic links only.
    pub sealed_target: Bytes,
    /// Opaque.
    pub sealed_meta: Bytes,
}

/// See [`pb::Link`].
#[derive(Debug)]
pub struct Link {
    /// The file.
    pub inode: InodeId,
    /// Where.
    pub directory: InodeId,
    /// Under which name.
    pub names: Vec<Token>,
    /// Opaque.
    pub wrapped_key: Bytes,
    /// Of the key in it.
    pub key_epoch: u32,
}

/// What a caller believes a name leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// The inode.
    pub child: InodeId,
    /// Version of the entry; 0: any.
    pub entry_version: u64,
}

/// What becomes of an unlinked entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnlinkMode {
    /// unlink(2)
    File,
    /// rmdir(2)
    Directory,
    /// To the trash with all below it.
    Trash,
    /// Gone with all below it.
    Purge,
}

/// See [`pb::Unlink`].
#[derive(Debug)]
pub struct Unlink {
    /// Where.
    pub directory: InodeId,
    /// The name.
    pub names: Vec<Token>,
    /// What it leads to.
    pub expected: Expected,
    /// How.
    pub mode: UnlinkMode,
}

/// See [`pb::Rename`].
#[derive(Debug)]
pub struct Rename {
    /// From where.
    pub directory: InodeId,
    /// The name there.
    pub names: Vec<Token>,
    /// What it leads to.
    pub expected: Expected,
    /// To where.
    pub new_directory: InodeId,
    /// The name there.
    pub new_names: Vec<Token>,
    /// Opaque.
    pub new_wrapped_key: Bytes,
    /// Of the key in it.
    pub key_epoch: u32,
    /// What happens to what has the new name.
    pub collision: Collision,
}

/// What a rename does with what has the new name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Collision {
    /// Refuse if there is anything.
    NoReplace,
    /// Replace exactly this, or nothing.
    Replace(Option<Expected>),
    /// Swap with exactly this.
    Exchange {
        /// What the new name leads to.
        expected: Expected,
        /// Opaque: its key under the old directory's.
        wrapped_key: Bytes,
        /// Of the key in it.
        key_epoch: u32,
    },
}

/// See [`pb::SetAttributes`].
#[derive(Debug)]
pub struct SetAttributes {
    /// Of what.
    pub inode: InodeId,
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Last change of content.
    pub mtime_ns: Option<i64>,
    /// Last access.
    pub atime_ns: Option<i64>,
    /// Last change of anything.
    pub ctime_ns: Option<i64>,
}

/// See [`pb::SetMeta`].
#[derive(Debug)]
pub struct SetMeta {
    /// Of what.
    pub inode: InodeId,
    /// Opaque.
    pub sealed_meta: Bytes,
    /// What it replaces.
    pub expected_meta_version: u64,
    /// Of the key that seals it.
    pub key_epoch: u32,
}

/// See [`pb::TrashRestore`].
#[derive(Debug)]
pub struct TrashRestore {
    /// What.
    pub trash: TrashId,
    /// Under another name, with the key wrapped for it.
    pub renamed: Option<(Vec<Token>, Bytes)>,
    /// Of the key that is wrapped for it.
    pub key_epoch: u32,
}

const fn invalid<T>(field: &'static str) -> Result<T, InvalidField> {
    Err(InvalidField { field })
}

/// Checks a name under its epochs.
///
/// # Errors
/// [`InvalidField`] if there is none, too many of them, or one that is too long.
pub fn names(names: Vec<pb::NameToken>, field: &'static str) -> Result<Vec<Token>, InvalidField> {
    if names.is_empty() || names.len() > EPOCHS_MAX {
        return invalid(field);
    }
    names.into_iter().map(|token| self::token(token, field)).collect()
}

/// Checks one name.
///
/// # Errors
/// [`InvalidField`] if it is empty or too long.
pub fn token(token: pb::NameToken, field: &'static str) -> Result<Token, InvalidField> {
    if token.name.is_empty() || token.name.len() > NAME_TOKEN_MAX {
        return invalid(field);
    }
    Ok(Token { name: token.name, epoch: token.epoch })
}

fn bounded(bytes: Bytes, max: usize, field: &'static str) -> Result<Bytes, InvalidField> {
    if bytes.len() > max { invalid(field) } else { Ok(bytes) }
}

pub(super) fn wrapped_key(bytes: Bytes, field: &'static str) -> Result<Bytes, InvalidField> {
    if bytes.is_empty() { invalid(field) } else { bounded(bytes, WRAPPED_KEY_MAX, field) }
}

pub(super) fn mode(mode: u32) -> Result<u32, InvalidField> {
    if mode & !0o7777 == 0 { Ok(mode) } else { invalid("mode") }
}

/// Checks attributes.
///
/// # Errors
/// [`InvalidField`] if they are absent or the mode has other bits than permissions.
pub fn attributes(attributes: Option<pb::Attributes>) -> Result<pb::Attributes, InvalidField> {
    let attributes = convert::required(attributes, "attributes")?;
    mode(attributes.mode)?;
    if i64::try_from(attributes.rdev).is_err() {
        return invalid("rdev");
    }
    Ok(attributes)
}

fn expected(expected: &pb::Expected, field: &'static str) -> Result<Expected, InvalidField> {
    Ok(Expected { child: convert::id(&expected.child, field)?, entry_version: expected.entry_version })
}

/// Checks a mutation, the signatures of its commits and receipts included: work for a thread of its own, not for a transaction.
///
/// # Errors
/// The index of the operation and what is wrong with it.
pub fn mutation(mutation: pb::Mutation, context: &PlanContext) -> Result<Mutation, (usize, TreeError)> {
    let txn = convert::id(&mutation.txn, "txn").map_err(|error| (0, error.into()))?;
    if mutation.operations.is_empty() || mutation.operations.len() > OPERATIONS_MAX {
        return Err((0, InvalidField { field: "operations" }.into()));
    }
    let operations = mutation.operations.into_iter().enumerate();
    let operations: Result<Vec<_>, _> = operations
        .map(|(index, operation)| self::operation(operation, context).map_err(|error| (index, error)))
        .collect();
    Ok(Mutation { txn, time_ns: mutation.time_ns, operations: operations? })
}

fn operation(operation: pb::Operation, context: &PlanContext) -> Result<Operation, TreeError> {
    use pb::operation::Operation as Pb;
    Ok(match convert::required(operation.operation, "operation")? {
        Pb::Create(create) => Operation::Create(Box::new(self::create(create)?)),
        Pb::Link(link) => Operation::Link(Link {
            inode: convert::id(&link.inode, "inode")?,
            directory: convert::id(&link.directory, "directory")?,
            names: names(link.names, "names")?,
            wrapped_key: wrapped_key(link.wrapped_key, "wrapped_key")?,
            key_epoch: link.key_epoch,
        }),
        Pb::Unlink(unlink) => Operation::Unlink(self::unlink(unlink)?),
        Pb::Rename(rename) => Operation::Rename(Box::new(self::rename(rename)?)),
        Pb::SetAttributes(set) => Operation::SetAttributes(SetAttributes {
            inode: convert::id(&set.inode, "inode")?,
            mode: set.mode.map(mode).transpose()?,
            uid: set.uid,
            gid: set.gid,
            mtime_ns: set.mtime_ns,
            atime_ns: set.atime_ns,
            ctime_ns: set.ctime_ns,
        }),
        Pb::SetMeta(set) => Operation::SetMeta(SetMeta {
            inode: convert::id(&set.inode, "inode")?,
            sealed_meta: bounded(set.sealed_meta, SEALED_META_MAX, "sealed_meta")?,
            expected_meta_version: set.expected_meta_version,
            key_epoch: set.key_epoch,
        }),
        Pb::Commit(commit) => Operation::Commit(Box::new(CommitPlan::check(commit, context)?)),
        Pb::TrashRestore(restore) => Operation::TrashRestore(TrashRestore {
            trash: convert::id(&restore.trash, "trash")?,
            key_epoch: restore.key_epoch,
            renamed: match (restore.names.is_empty(), restore.wrapped_key.is_empty()) {
                (true, true) => None,
                _ => Some((names(restore.names, "names")?, wrapped_key(restore.wrapped_key, "wrapped_key")?)),
            },
        }),
        Pb::TrashPurge(purge) => {
            if purge.trash.len() > TRASH_PURGE_MAX {
                return Err(InvalidField { field: "trash" }.into());
            }
            let ids: Result<_, InvalidField> = purge.trash.iter().map(|id| convert::id(id, "trash")).collect();
            Operation::TrashPurge(ids?)
        }
        Pb::Rekey(rekey) => Operation::Rekey(Box::new(Rekey::check(rekey)?)),
    })
}

fn create(create: pb::Create) -> Result<Create, InvalidField> {
    let kind = convert::kind(create.kind, "kind")?;
    let sealed_target = bounded(create.sealed_target, SEALED_TARGET_MAX, "sealed_target")?;
    if sealed_target.is_empty() == (kind == InodeKind::Symlink) {
        return invalid("sealed_target");
    }
    Ok(Create {
        inode: convert::id(&create.inode, "inode")?,
        kind,
        directory: convert::id(&create.directory, "directory")?,
        names: names(create.names, "names")?,
        wrapped_key: wrapped_key(create.wrapped_key, "wrapped_key")?,
        attributes: attributes(create.attributes)?,
        sealed_target,
        sealed_meta: bounded(create.sealed_meta, SEALED_META_MAX, "sealed_meta")?,
    })
}

fn unlink(unlink: pb::Unlink) -> Result<Unlink, InvalidField> {
    use pb::unlink::Mode;
    Ok(Unlink {
        directory: convert::id(&unlink.directory, "directory")?,
        names: names(unlink.names, "names")?,
        expected: expected(&convert::required(unlink.expected, "expected")?, "expected")?,
        mode: match Mode::try_from(unlink.mode) {
            Ok(Mode::File) => UnlinkMode::File,
            Ok(Mode::Directory) => UnlinkMode::Directory,
            Ok(Mode::Trash) => UnlinkMode::Trash,
            Ok(Mode::Purge) => UnlinkMode::Purge,
            Ok(Mode::Unspecified) | Err(_) => return invalid("mode"),
        },
    })
}

fn rename(rename: pb::Rename) -> Result<Rename, InvalidField> {
    let replaced = rename.replaced.as_ref().map(|replaced| expected(replaced, "replaced")).transpose()?;
    let collision = match (rename.exchange, rename.no_replace) {
        (true, true) => return invalid("exchange"),
        (true, false) => Collision::Exchange {
            expected: convert::required(replaced, "replaced")?,
            wrapped_key: wrapped_key(rename.exchanged_wrapped_key, "exchanged_wrapped_key")?,
            key_epoch: rename.exchanged_key_epoch,
        },
        (false, true) => Collision::NoReplace,
        (false, false) => Collision::Replace(replaced),
    };
    Ok(Rename {
        directory: convert::id(&rename.directory, "directory")?,
        names: names(rename.names, "names")?,
        expected: expected(&convert::required(rename.expected, "expected")?, "expected")?,
        new_directory: convert::id(&rename.new_directory, "new_directory")?,
        new_names: names(rename.new_names, "new_names")?,
        new_wrapped_key: wrapped_key(rename.new_wrapped_key, "new_wrapped_key")?,
        key_epoch: rename.key_epoch,
        collision,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyx_core::ids::{BucketId, Random as _};
    use cyx_proto::convert::bytes_of;

    fn token_of(len: usize) -> pb::NameToken {
        pb::NameToken { epoch: 0, name: vec![1; len].into() }
    }

    fn create_of(kind: InodeKind) -> pb::Create {
        pb::Create {
            inode: bytes_of(InodeId::random()),
            kind: kind.into(),
            directory: bytes_of(InodeId::random()),
            names: vec![token_of(16)],
            wrapped_key: vec![1; 60].into(),
            attributes: Some(pb::Attributes::default()),
            ..pb::Create::default()
        }
    }

    #[test]
    fn names_are_bounded() {
        assert!(names(vec![], "names").is_err());
        assert!(names(vec![token_of(0)], "names").is_err());
        assert!(names(vec![token_of(NAME_TOKEN_MAX + 1)], "names").is_err());
        assert!(names(vec![token_of(1); EPOCHS_MAX + 1], "names").is_err());
        assert_eq!(names(vec![token_of(NAME_TOKEN_MAX)], "names").unwrap().len(), 1);
    }

    #[test]
    fn only_symbolic_links_have_a_target_and_they_must() {
        assert!(create(create_of(InodeKind::File)).is_ok());
        assert!(create(create_of(InodeKind::Symlink)).is_err());
        let target = pb::Create { sealed_target: vec![1; 32].into(), ..create_of(InodeKind::File) };
        assert!(create(target).is_err());
        let target = pb::Create { sealed_target: vec![1; 32].into(), ..create_of(InodeKind::Symlink) };
        assert!(create(target).is_ok());
    }

    #[test]
    fn a_mutation_names_the_operation_that_is_wrong() {
        let good = pb::Operation { operation: Some(pb::operation::Operation::Create(create_of(InodeKind::File))) };
        let bad = pb::Operation { operation: None };
        let request = pb::Mutation { txn: vec![0; 16].into(), operations: vec![good, bad], time_ns: None };
        let context = crate::tree::tests::empty_context(BucketId::random());
        assert_eq!(mutation(request, &context).unwrap_err().0, 1);
        assert!(mutation(pb::Mutation { txn: vec![0; 16].into(), ..pb::Mutation::default() }, &context).is_err());
    }

    #[test]
    fn exchange_needs_to_know_both_sides() {
        let rename_of = |exchange, no_replace, replaced| pb::Rename {
            directory: bytes_of(InodeId::random()),
            names: vec![token_of(1)],
            expected: Some(pb::Expected { child: bytes_of(InodeId::random()), entry_version: 0 }),
            new_directory: bytes_of(InodeId::random()),
            new_names: vec![token_of(1)],
            new_wrapped_key: vec![1].into(),
            exchange,
            no_replace,
            replaced,
            exchanged_wrapped_key: vec![1].into(),
            key_epoch: 0,
            exchanged_key_epoch: 0,
        };
        let other = Some(pb::Expected { child: bytes_of(InodeId::random()), entry_version: 3 });
        assert!(rename(rename_of(true, false, None)).is_err());
        assert!(rename(rename_of(true, true, other.clone())).is_err());
        assert!(rename(rename_of(true, false, other.clone())).is_ok());
        assert!(rename(rename_of(false, true, other)).is_ok());
    }
}
