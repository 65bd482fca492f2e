//! Changing the tree: new inodes, directories, renaming, removing, attributes.
//!
//! Operations name what they expect to find. If somebody else was faster the server answers RETRY, and what was decided here is
//! decided again on what is there now. Several changes that need no answer in between go in one call.

use bytes::Bytes;
use cyx_core::error::ErrorCode;
use cyx_core::ids::{InodeId, TimeOrdered as _, TrashId, TxnId};
use cyx_core::inode::InodeKind;
use cyx_crypto::keys::InodeKey;
use cyx_crypto::wrap::{Field, seal_field};
use cyx_proto::convert::{bytes_of, id};
use cyx_proto::meta::v1 as pb;
use cyx_proto::meta::v1::operation::Operation as Op;

use crate::clock;
use crate::error::{Error, IntegrityError, Result};
use crate::meta::fault_error;
use crate::tree::names::DirectoryKeys;
use crate::tree::path::TreePath;
use crate::tree::types::{Bucket, Directory, Located, NewInode};

/// Mutations in one call.
pub const MUTATIONS_PER_CALL: usize = 1000;
/// Times that something is decided again because somebody else was faster.
const DECISIONS: u32 = 8;
/// Longest target of a symbolic link, as on Linux.
pub const TARGET_MAX: usize = 4095;
/// Mode of directories that are made on the way.
pub(crate) const DIRECTORY_MODE: u32 = 0o755;

/// What kind of inode is to be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NewKind<'a> {
    /// A regular file without content.
    File,
    /// A directory.
    Directory,
    /// A symbolic link to this target.
    Symlink(&'a [u8]),
}

impl NewKind<'_> {
    const fn kind(self) -> InodeKind {
        match self {
            Self::File => InodeKind::File,
            Self::Directory => InodeKind::Directory,
            Self::Symlink(_) => InodeKind::Symlink,
        }
    }
}

/// How something is removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RemoveOptions {
    /// Also directories with all below them.
    pub recursive: bool,
    /// At once, not into the trash.
    pub permanent: bool,
}

/// How something is renamed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RenameOptions {
    /// Fails if the new name is taken.
    pub no_replace: bool,
    /// Both names must exist and change places.
    pub exchange: bool,
}

/// Mode and times of a new inode: everything now.
#[must_use]
pub fn attributes_now(mode: u32) -> pb::Attributes {
    let now = clock::unix_nanoseconds();
    pb::Attributes { mode: mode & 0o7777, mtime_ns: now, ctime_ns: now, atime_ns: now, ..pb::Attributes::default() }
}

/// One mutation of the given operations, under a new transaction id.
#[must_use]
pub fn mutation(operations: Vec<pb::Operation>) -> pb::Mutation {
    pb::Mutation { txn: bytes_of(TxnId::now()), operations, time_ns: None }
}

fn operation(operation: Op) -> pb::Operation {
    pb::Operation { operation: Some(operation) }
}

impl NewInode {
    /// As an opened directory: other things can be prepared in it before it exists.
    #[must_use]
    pub fn directory(&self) -> Directory {
        Directory { id: self.id, key: self.key.clone(), key_history: Bytes::new(), attributes: None }
    }
}

impl Bucket {
    /// Prepares a new inode and its entry. Nothing is sent: the operation goes into a mutation, alone or before a commit.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name or a link target that cannot be.
    pub fn prepare(
        &self,
        directory: &Directory,
        name: &[u8],
        kind: NewKind<'_>,
        attributes: pb::Attributes,
    ) -> Result<NewInode> {
        self.prepare_as(InodeId::now(), self.make_key(), directory, name, kind, attributes)
    }

    /// As [`Self::prepare`], with an id and a key that were drawn before.
    ///
    /// # Errors
    /// As [`Self::prepare`].
    pub fn prepare_as(
        &self,
        inode: InodeId,
        key: InodeKey,
        directory: &Directory,
        name: &[u8],
        kind: NewKind<'_>,
        attributes: pb::Attributes,
    ) -> Result<NewInode> {
        let keys = DirectoryKeys::new(directory)?;
        let tokens = keys.tokens(name)?;
        let wrapped_key = keys.wrap(&tokens, inode, kind.kind(), &key)?;
        let sealed_target = match kind {
            NewKind::Symlink(target) => seal_target(&key, inode, target)?,
            NewKind::File | NewKind::Directory => Bytes::new(),
        };
        let create = pb::Create {
            inode: bytes_of(inode),
            kind: i32::from(kind.kind().number()),
            directory: bytes_of(directory.id),
            names: tokens,
            wrapped_key: wrapped_key.into(),
            attributes: Some(attributes),
            sealed_target,
            sealed_meta: Bytes::new(),
        };
        let operation = operation(Op::Create(create));
        Ok(NewInode { id: inode, key, parent: directory.id, name: name.to_vec(), operation })
    }

    /// Applies mutations, any number of them, in order. Each result is that of the mutation in its place. If a call fails after others
    /// succeeded, that is the result of all mutations from there on.
    ///
    /// # Errors
    /// As every call of [`crate::meta::MetaClient`], if it is the first; what the server refuses about a mutation is in its place.
    pub async fn apply(&self, mutations: Vec<pb::Mutation>) -> Result<Vec<Result<pb::MutationResult>>> {
        let total = mutations.len();
        let mut results = Vec::with_capacity(total);
        let mut rest = mutations.into_iter();
        while results.len() < total {
            let part = rest.by_ref().take(MUTATIONS_PER_CALL).collect();
            match self.apply_part(part).await {
                Ok(part) => results.extend(part),
                Err(error) if results.is_empty() => return Err(error),
                // What was done is done, and whoever asked has to know it.
                Err(error) => results.resize_with(total, || Err(error.repeated())),
            }
        }
        if results.iter().flat_map(|result| result.as_ref().err()).any(is_stale)
            // Whoever decides again does it with the keys of now.
            && let Err(error) = self.renew().await
        {
            for result in &mut results {
                if result.as_ref().err().is_some_and(is_stale) {
                    *result = Err(error.repeated());
                }
            }
        }
        Ok(results)
    }

    async fn apply_part(&self, mutations: Vec<pb::Mutation>) -> Result<Vec<Result<pb::MutationResult>>> {
        let asked = mutations.len();
        let request = pb::ApplyRequest { bucket: bytes_of(self.id), mutations, ..pb::ApplyRequest::default() };
        let answer = self.client.meta.apply(request).await?;
        if answer.results.len() != asked {
            return Err(IntegrityError::Mismatch("it answers for more or fewer mutations").into());
        }
        let result = |result: pb::MutationResult| match &result.fault {
            None => Ok(result),
            Some(fault) => Err(fault_error(fault)),
        };
        Ok(answer.results.into_iter().map(result).collect())
    }

    /// Applies one mutation of the given operations.
    ///
    /// # Errors
    /// As [`Self::apply`], and what the server refuses.
    pub async fn apply_one(&self, operations: Vec<pb::Operation>) -> Result<pb::MutationResult> {
        let applied = self.client.meta.apply_one(self.id.as_bytes(), mutation(operations)).await;
        if applied.as_ref().err().is_some_and(is_stale) {
            self.renew().await?;
        }
        applied
    }

    /// Makes a directory; the one above it must exist.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`], [`Error::NotFound`], [`Error::NotDirectory`].
    pub async fn make_directory(&self, path: &TreePath, mode: u32) -> Result<Directory> {
        let (above, name) = path.split().ok_or_else(|| Error::AlreadyExists("the root of a bucket".into()))?;
        let directory = self.open_directory(&above).await?;
        let new = self.prepare(&directory, name, NewKind::Directory, attributes_now(mode))?;
        self.apply_one(vec![new.operation.clone()]).await.map_err(|error| named(error, path))?;
        Ok(new.directory())
    }

    /// Makes a directory and those above it that are missing; one that is there already is fine.
    ///
    /// # Errors
    /// [`Error::NotDirectory`] if something else is in the way.
    pub async fn make_directories(&self, path: &TreePath) -> Result<Directory> {
        self.make_directories_as(path, DIRECTORY_MODE).await
    }

    /// As [`Self::make_directories`]; if the last one is new it gets this mode.
    ///
    /// # Errors
    /// As [`Self::make_directories`].
    pub(crate) async fn make_directories_as(&self, path: &TreePath, mode: u32) -> Result<Directory> {
        for _ in 0..DECISIONS {
            let mut directory = self.root_directory();
            let mut at = TreePath::root();
            let mut names = path.names().iter();
            let mut missing = None;
            for name in names.by_ref() {
                let below = at.clone().join(name)?;
                match self.open_directory(&below).await {
                    Ok(found) => (directory, at) = (found, below),
                    Err(Error::NotFound(_)) => {
                        missing = Some(name);
                        break;
                    }
                    Err(error) => return Err(error),
                }
            }
            let Some(first) = missing else { return Ok(directory) };
            let mut operations = Vec::new();
            let names: Vec<_> = std::iter::once(first).chain(names).collect();
            for (position, name) in names.iter().enumerate() {
                let mode = if position + 1 == names.len() { mode } else { DIRECTORY_MODE };
                let new = self.prepare(&directory, name, NewKind::Directory, attributes_now(mode))?;
                directory = new.directory();
                operations.push(new.operation);
            }
            match self.apply_one(operations).await {
                Ok(_) => return Ok(directory),
                // Somebody else made one of them first; what it is shows in the next round.
                Err(error) if decide_again(&error) || error.code() == ErrorCode::AlreadyExists => {
                    self.directories.forget();
                }
                Err(error) => return Err(named(error, path)),
            }
        }
        Err(Error::Conflict(path.to_string()))
    }

    /// Makes a symbolic link.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`], [`Error::NotFound`].
    pub async fn make_link(&self, path: &TreePath, target: &[u8]) -> Result<NewInode> {
        let (above, name) = path.split().ok_or_else(|| Error::AlreadyExists("the root of a bucket".into()))?;
        let directory = self.open_directory(&above).await?;
        let new = self.prepare(&directory, name, NewKind::Symlink(target), attributes_now(0o777))?;
        self.apply_one(vec![new.operation.clone()]).await.map_err(|error| named(error, path))?;
        Ok(new)
    }

    /// Renames: re-wraps one key, whatever lies below. An existing file or link of the new name goes to the trash, and an existing empty
    /// directory makes room for a directory.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::AlreadyExists`], [`Error::IsDirectory`], [`Error::NotDirectory`]; `NOT_EMPTY`, `LOOP`.
    pub async fn rename(&self, from: &TreePath, to: &TreePath, options: RenameOptions) -> Result<()> {
        let root = || Error::invalid("the root of a bucket cannot be renamed");
        let (from_above, from_name) = from.split().ok_or_else(root)?;
        let (to_above, to_name) = to.split().ok_or_else(root)?;
        if to.starts_with(from) {
            // Of nothing it would be said that it is where it shall go.
            self.resolve(from).await?;
        }
        if to.starts_with(from) && to != from {
            return Err(Error::Invalid {
                code: ErrorCode::Loop,
                message: format!("{from} cannot be moved below itself"),
                advice: None,
            });
        }
        if to == from {
            return Err(Error::invalid(format!("{from} cannot be moved to itself")));
        }
        for _ in 0..DECISIONS {
            let (old_directory, new_directory) =
                (self.open_directory(&from_above).await?, self.open_directory(&to_above).await?);
            let located =
                self.lookup_one(&old_directory, from_name).await?.ok_or_else(|| Error::NotFound(from.to_string()))?;
            let replaced = self.lookup_one(&new_directory, to_name).await?;
            if options.no_replace && replaced.is_some() {
                return Err(Error::AlreadyExists(to.to_string()));
            }
            if options.exchange && replaced.is_none() {
                return Err(Error::NotFound(to.to_string()));
            }
            let mut replaced = replaced;
            let mut operations = Vec::with_capacity(2);
            // Another name of the same file is replaced by nothing, and what cannot be replaced is refused by the server.
            let to_trash = !options.exchange && !located.is_directory();
            if let Some(other) = replaced.take_if(|other| to_trash && !other.is_directory() && other.id != located.id) {
                operations.push(remove_operation(&other, RemoveOptions::default())?);
            }
            let replaced = replaced.as_ref();
            operations.push(rename_operation(&located, &old_directory, &new_directory, to_name, replaced, options)?);
            let result = self.apply_one(operations).await;
            self.directories.forget();
            match result {
                Ok(_) => return Ok(()),
                Err(error) if decide_again(&error) => {}
                Err(error) => return Err(named(error, to)),
            }
        }
        Err(Error::Conflict(from.to_string()))
    }

    /// Moves as `mv` does: into `to` if that is a directory, else to that name. Says where it ended up.
    ///
    /// # Errors
    /// As [`Self::rename`].
    pub async fn move_to(&self, from: &TreePath, to: &TreePath, no_replace: bool) -> Result<TreePath> {
        let into = to.is_root() || self.try_resolve(to).await?.is_some_and(|located| located.is_directory());
        let name = from.name().ok_or_else(|| Error::invalid("the root of a bucket cannot be renamed"))?;
        let target = if into { to.clone().join(name)? } else { to.clone() };
        self.rename(from, &target, RenameOptions { no_replace, exchange: false }).await?;
        Ok(target)
    }

    /// Removes one entry. Says under which id it lies in the trash, unless it is removed for good.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::IsDirectory`] for a directory unless `recursive`.
    pub async fn remove(&self, path: &TreePath, options: RemoveOptions) -> Result<Option<TrashId>> {
        let mut removed = self.remove_many(std::slice::from_ref(path), options).await?;
        removed.pop().ok_or(Error::Internal("nothing was removed"))?
    }

    /// Removes many entries with few calls; results are in the order asked. If a call fails after others succeeded, that is the result of
    /// every entry of which nothing else is known.
    ///
    /// # Errors
    /// Those that concern all of them.
    pub async fn remove_many(
        &self,
        paths: &[TreePath],
        options: RemoveOptions,
    ) -> Result<Vec<Result<Option<TrashId>>>> {
        let mut results: Vec<Option<Result<Option<TrashId>>>> = paths.iter().map(|_| None).collect();
        for _ in 0..DECISIONS {
            if results.iter().all(Option::is_some) {
                break;
            }
            if let Err(error) = self.remove_open(paths, options, &mut results).await {
                if results.iter().all(Option::is_none) {
                    return Err(error);
                }
                for result in &mut results {
                    result.get_or_insert_with(|| Err(error.repeated()));
                }
            }
        }
        let lost = |path: &TreePath| Err(Error::Conflict(path.to_string()));
        Ok(results.into_iter().zip(paths).map(|(result, path)| result.unwrap_or_else(|| lost(path))).collect())
    }

    /// Removes the entries that have no result yet. Those that have to be decided again still have none afterwards.
    async fn remove_open(
        &self,
        paths: &[TreePath],
        options: RemoveOptions,
        results: &mut [Option<Result<Option<TrashId>>>],
    ) -> Result<()> {
        let open: Vec<usize> = (0..paths.len()).filter(|at| results[*at].is_none()).collect();
        let asked: Vec<TreePath> = open.iter().map(|at| paths[*at].clone()).collect();
        let mut mutations = Vec::new();
        let mut places = Vec::new();
        for (at, found) in open.into_iter().zip(self.resolve_many(&asked).await?) {
            match found {
                Err(error) => results[at] = Some(Err(error)),
                Ok(located) if located.is_directory() && !options.recursive => {
                    results[at] = Some(Err(Error::IsDirectory(paths[at].to_string())));
                }
                Ok(located) => {
                    mutations.push(mutation(vec![remove_operation(&located, options)?]));
                    places.push(at);
                }
            }
        }
        let answers = self.apply(mutations).await;
        self.directories.forget();
        for (at, answer) in places.into_iter().zip(answers?) {
            results[at] = match answer {
                Ok(result) => Some(trash_of(&result)),
                Err(error) if decide_again(&error) => None,
                Err(error) => Some(Err(named(error, &paths[at]))),
            };
        }
        Ok(())
    }

    /// Changes mode or times.
    ///
    /// # Errors
    /// As [`Self::apply_one`].
    pub async fn set_attributes(&self, change: pb::SetAttributes) -> Result<()> {
        self.apply_one(vec![operation(Op::SetAttributes(change))]).await.map(|_| ())
    }

    /// Gets the writer list as it is now.
    ///
    /// # Errors
    /// Integrity errors about the list.
    pub async fn refresh_writers(&self) -> Result<()> {
        self.set_writers(self.client.fetch_writers(self.id, self.owner_key, self.own).await?);
        Ok(())
    }
}

fn seal_target(key: &InodeKey, inode: InodeId, target: &[u8]) -> Result<Bytes> {
    if target.is_empty() || target.len() > TARGET_MAX || target.contains(&0) {
        return Err(Error::invalid(format!("the target of a symbolic link has 1 to {TARGET_MAX} bytes without NUL")));
    }
    let sealed =
        seal_field(key, inode, Field::LinkTarget, target).map_err(|error| Error::invalid(error.to_string()))?;
    Ok(sealed.into())
}

/// The operation that renames an entry.
///
/// # Errors
/// [`Error::Invalid`] for a name that cannot be.
pub fn rename_operation(
    located: &Located,
    old_directory: &Directory,
    new_directory: &Directory,
    new_name: &[u8],
    replaced: Option<&Located>,
    options: RenameOptions,
) -> Result<pb::Operation> {
    let (old_keys, new_keys) = (DirectoryKeys::new(old_directory)?, DirectoryKeys::new(new_directory)?);
    let (names, new_names) = (old_keys.tokens(&located.name)?, new_keys.tokens(new_name)?);
    let new_wrapped_key = new_keys.wrap(&new_names, located.id, kind_of(located)?, &located.key)?;
    let exchanged_wrapped_key = match replaced {
        Some(other) if options.exchange => old_keys.wrap(&names, other.id, kind_of(other)?, &other.key)?.into(),
        _ => Bytes::new(),
    };
    Ok(operation(Op::Rename(pb::Rename {
        directory: bytes_of(old_directory.id),
        names,
        expected: Some(located.expected()),
        new_directory: bytes_of(new_directory.id),
        new_names,
        new_wrapped_key: new_wrapped_key.into(),
        key_epoch: located.key.epoch(),
        exchanged_key_epoch: replaced.map_or(0, |other| other.key.epoch()),
        no_replace: options.no_replace,
        exchange: options.exchange,
        replaced: replaced.map(Located::expected),
        exchanged_wrapped_key,
    })))
}

/// The operation that removes an entry that was just looked up.
pub(crate) fn remove_operation(located: &Located, options: RemoveOptions) -> Result<pb::Operation> {
    let token = located.entry.name.clone().ok_or(Error::Internal("an opened entry has a name"))?;
    let mode = if options.permanent { pb::unlink::Mode::Purge } else { pb::unlink::Mode::Trash };
    Ok(operation(Op::Unlink(pb::Unlink {
        directory: bytes_of(located.parent),
        names: vec![token],
        expected: Some(located.expected()),
        mode: mode.into(),
    })))
}

pub(crate) fn kind_of(located: &Located) -> Result<InodeKind> {
    InodeKind::from_number(located.entry.kind).map_err(Error::decode("an entry's kind"))
}

fn trash_of(result: &pb::MutationResult) -> Result<Option<TrashId>> {
    match result.operations.first() {
        Some(done) if !done.trash.is_empty() => Ok(Some(id(&done.trash, "trash")?)),
        _ => Ok(None),
    }
}

/// Somebody else was faster: what is there now decides.
pub(crate) fn decide_again(error: &Error) -> bool {
    matches!(error, Error::Server { code: ErrorCode::Retry | ErrorCode::StaleKey, .. })
}

/// A key that was used has been replaced.
pub(crate) fn is_stale(error: &Error) -> bool {
    error.code() == ErrorCode::StaleKey
}

/// The server's refusal with the path that a person knows.
#[must_use]
pub fn named(error: Error, path: &TreePath) -> Error {
    match error {
        Error::Server { code: ErrorCode::NotFound, .. } => Error::NotFound(path.to_string()),
        Error::Server { code: ErrorCode::AlreadyExists, .. } => Error::AlreadyExists(path.to_string()),
        Error::Server { code: ErrorCode::IsDirectory, .. } => Error::IsDirectory(path.to_string()),
        Error::Server { code: ErrorCode::NotDirectory, .. } => Error::NotDirectory(path.to_string()),
        Error::Server { code: ErrorCode::Conflict | ErrorCode::Retry | ErrorCode::StaleKey, .. } => {
            Error::Conflict(path.to_string())
        }
        other => other,
    }
}
