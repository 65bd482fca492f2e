//! From paths to entries.
//!
//! One call answers for any number of names in one directory. Opened directories are kept for a few seconds, so that a thousand
//! paths with a common beginning ask for it once.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cyx_core::error::ErrorCode;
use cyx_core::ids::InodeId;
use cyx_proto::convert::{bytes_of, id, required};
use cyx_proto::meta::v1 as pb;

use crate::error::{Error, IntegrityError, Result};
use crate::tree::change::is_stale;
use crate::tree::names::DirectoryKeys;
use crate::tree::path::TreePath;
use crate::tree::types::{Bucket, Directory, Located};

/// Names asked for in one call.
const NAMES_PER_CALL: usize = 1000;
/// How long an opened directory is believed to be where it was. Changes of this client forget it at once.
const KEPT_FOR: Duration = Duration::from_secs(5);
const KEPT: usize = 4096;

/// Directories that were opened a moment ago, by path.
#[derive(Default)]
pub struct DirectoryCache {
    directories: Mutex<HashMap<TreePath, (Directory, Instant)>>,
}

impl DirectoryCache {
    fn get(&self, path: &TreePath) -> Option<Directory> {
        let directories = self.lock();
        let (directory, since) = directories.get(path)?;
        (since.elapsed() < KEPT_FOR).then(|| directory.clone())
    }

    fn put(&self, path: TreePath, directory: Directory) {
        let mut directories = self.lock();
        if directories.len() >= KEPT {
            directories.clear();
        }
        directories.insert(path, (directory, Instant::now()));
    }

    /// Forgets everything: something was moved or removed.
    pub(crate) fn forget(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TreePath, (Directory, Instant)>> {
        self.directories.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bucket {
    /// Opens the directory of a path.
    ///
    /// # Errors
    /// [`Error::NotFound`] or [`Error::NotDirectory`], naming the part of the path; integrity errors.
    pub async fn open_directory(&self, path: &TreePath) -> Result<Directory> {
        let mut known = path.clone();
        let mut missing = Vec::new();
        let mut directory = loop {
            match (self.directories.get(&known), known.split()) {
                (Some(directory), _) => break directory,
                (None, None) => break self.root_directory(),
                (None, Some((above, name))) => {
                    missing.push(name.to_vec());
                    known = above;
                }
            }
        };
        while let Some(name) = missing.pop() {
            let found = self.lookup_one(&directory, &name).await?;
            known = known.join(&name)?;
            let located = found.ok_or_else(|| Error::NotFound(known.to_string()))?;
            directory = located.directory().ok_or_else(|| Error::NotDirectory(known.to_string()))?;
            self.directories.put(known.clone(), directory.clone());
        }
        Ok(directory)
    }

    /// What a path leads to; symbolic links are not followed.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Invalid`] for the root, which has no entry; integrity errors.
    pub async fn resolve(&self, path: &TreePath) -> Result<Located> {
        self.try_resolve(path).await?.ok_or_else(|| Error::NotFound(path.to_string()))
    }

    /// As [`Self::resolve`]; `None` if the last name does not exist, or a directory before it.
    ///
    /// # Errors
    /// [`Error::NotDirectory`] if something else stands where a directory is needed; integrity errors.
    pub async fn try_resolve(&self, path: &TreePath) -> Result<Option<Located>> {
        let (above, name) = path.split().ok_or_else(|| Error::invalid("the root of a bucket is not an entry"))?;
        match self.open_directory(&above).await {
            Ok(directory) => self.lookup_one(&directory, name).await,
            Err(Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What many paths lead to, in the order asked, with one call for each directory.
    ///
    /// # Errors
    /// Only those that concern all of them, such as a server that is away; what concerns one path is in its place.
    pub async fn resolve_many(&self, paths: &[TreePath]) -> Result<Vec<Result<Located>>> {
        let mut by_directory: BTreeMap<TreePath, Vec<usize>> = BTreeMap::new();
        let mut results: Vec<Option<Result<Located>>> = Vec::new();
        for (at, path) in paths.iter().enumerate() {
            results.push(None);
            match path.split() {
                Some((above, _)) => by_directory.entry(above).or_default().push(at),
                None => results[at] = Some(Err(Error::invalid("the root of a bucket is not an entry"))),
            }
        }
        for (above, places) in by_directory {
            let directory = match self.open_directory(&above).await {
                Ok(directory) => directory,
                Err(error) if concerns_all(&error) => return Err(error),
                Err(error) => {
                    for at in places {
                        let path = paths[at].to_string();
                        results[at] = Some(Err(match &error {
                            Error::NotDirectory(which) => Error::NotDirectory(which.clone()),
                            Error::Integrity(error) => error.clone().into(),
                            _ => Error::NotFound(path),
                        }));
                    }
                    continue;
                }
            };
            let names: Vec<&[u8]> = places.iter().map(|at| paths[*at].name().unwrap_or_default()).collect();
            for (at, found) in places.iter().zip(self.lookup(&directory, &names).await?) {
                let missing = || Error::NotFound(paths[*at].to_string());
                results[*at] = Some(found.and_then(|located| located.ok_or_else(missing)));
            }
        }
        let unanswered = || Err(Error::Internal("a path was not resolved"));
        Ok(results.into_iter().map(|result| result.unwrap_or_else(unanswered)).collect())
    }

    /// What one name in a directory leads to.
    ///
    /// # Errors
    /// Integrity errors; `NOT_FOUND` if the directory itself is gone.
    pub async fn lookup_one(&self, directory: &Directory, name: &[u8]) -> Result<Option<Located>> {
        let mut found = self.lookup(directory, &[name]).await?;
        found.pop().ok_or(Error::Internal("a name was not looked up"))?
    }

    /// What names in one directory lead to, in the order asked. An entry that is not authentic, or a name that is none, is an
    /// error in its place.
    ///
    /// # Errors
    /// As every call of [`crate::meta::MetaClient`].
    pub async fn lookup(&self, directory: &Directory, names: &[&[u8]]) -> Result<Vec<Result<Option<Located>>>> {
        match self.lookup_with(directory, names).await {
            // The directory got a newer key: the names are asked for under that one.
            Err(error) if is_stale(&error) => {
                let directory = self.renewed_directory(directory.id).await?;
                self.lookup_with(&directory, names).await
            }
            found => found,
        }
    }

    async fn lookup_with(&self, directory: &Directory, names: &[&[u8]]) -> Result<Vec<Result<Option<Located>>>> {
        let keys = DirectoryKeys::new(directory)?;
        let mut results = Vec::with_capacity(names.len());
        for names in names.chunks(NAMES_PER_CALL) {
            let tokens: Vec<Result<Vec<pb::NameToken>>> = names.iter().map(|name| keys.tokens(name)).collect();
            let questions: Vec<_> =
                tokens.iter().flatten().map(|tokens| pb::NameQuestion { tokens: tokens.clone() }).collect();
            let asked = questions.len();
            let mut answers = Vec::new();
            if asked > 0 {
                answers = self.ask_names(directory.id, &questions).await?;
            }
            if answers.len() != asked {
                return Err(IntegrityError::Mismatch("it answers for more or fewer names").into());
            }
            let mut answers = answers.into_iter();
            for (name, tokens) in names.iter().zip(tokens) {
                results.push(match tokens {
                    Err(error) => Err(error),
                    Ok(_) => answer(&keys, name, answers.next().unwrap_or_default()),
                });
            }
        }
        Ok(results)
    }

    /// The server's answers; in several calls if the inodes are too large for one.
    async fn ask_names(&self, directory: InodeId, names: &[pb::NameQuestion]) -> Result<Vec<pb::LookupAnswer>> {
        let request =
            pb::LookupRequest { bucket: bytes_of(self.id), directory: bytes_of(directory), names: names.to_vec() };
        match self.client.meta.lookup(request).await {
            Err(error) if error.code() == ErrorCode::TooLarge && names.len() > 1 => {
                let (first, second) = names.split_at(names.len() / 2);
                let mut answers = Box::pin(self.ask_names(directory, first)).await?;
                answers.append(&mut Box::pin(self.ask_names(directory, second)).await?);
                Ok(answers)
            }
            answer => Ok(answer?.answers),
        }
    }

    /// The root directory's inode: mode and times of the bucket.
    ///
    /// # Errors
    /// As every call of [`crate::meta::MetaClient`].
    pub async fn root_inode(&self) -> Result<pb::Inode> {
        let request = pb::GetInodesRequest { bucket: bytes_of(self.id), ids: vec![bytes_of(self.root)] };
        let inode = required(self.client.meta.get_inodes(request).await?.inodes.pop(), "inode")?;
        if id::<InodeId>(&inode.id, "inode.id")? != self.root || inode.kind() != pb::InodeKind::Directory {
            return Err(IntegrityError::Mismatch("it shows another directory as the root").into());
        }
        Ok(inode)
    }
}

fn answer(keys: &DirectoryKeys, name: &[u8], answer: pb::LookupAnswer) -> Result<Option<Located>> {
    let Some(entry) = answer.entry else { return Ok(None) };
    let located = keys.open(entry, required(answer.inode, "inode")?)?;
    if located.name != name {
        return Err(IntegrityError::Mismatch("it answers with another name").into());
    }
    Ok(Some(located))
}

/// Errors after which nothing else can succeed either.
pub(crate) fn concerns_all(error: &Error) -> bool {
    matches!(
        error,
        Error::Network { .. } | Error::NotLoggedIn { .. } | Error::IncarnationChanged { .. } | Error::Local { .. }
    ) || matches!(error.code(), ErrorCode::Unavailable | ErrorCode::RateLimited | ErrorCode::PermissionDenied)
}
