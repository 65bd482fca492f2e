//! New keys for a bucket and everything in it, in place of those that somebody may have kept: an API key that was revoked, say.
//!
//! ```text
//! 1. a new root key: sealed for the owner and for every API key of the bucket, in one step on the server
//! 2. from the root down: every directory and file gets a new key of the same epoch, its names and its key are sealed under
//!    the new key of the directory above; its older keys are sealed under its new one, so what is there stays readable
//! 3. again, until nothing is found that was left: somebody else may have made or moved things meanwhile
//! ```
//! Whoever goes on working under an old key is told by the server (`STALE_KEY`) and gets the new one: [`Bucket::renew`],
//! [`Bucket::renewed_directory`]. Step 1 is what cannot be done twice; everything behind it is found to be done or not by looking at the
//! epochs, which lie inside the sealed keys. So an interrupted rotation can be gone on with: this machine remembers which root key it
//! made. Only if it is asked to: whoever has revoked something since then wants another root key.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use cyx_core::error::ErrorCode;
use cyx_core::ids::{BucketId, InodeId, TrashId};
use cyx_crypto::keys::InodeKey;
use cyx_crypto::wrap::{InodeKeyring, epoch_of, extend_history, open_history, seal_bucket_name, seal_root_key};
use cyx_proto::convert::{bytes_of, id};
use cyx_proto::meta::v1 as pb;
use cyx_proto::meta::v1::operation::Operation as Op;

use crate::client::Client;
use crate::error::{Error, IntegrityError, Result};
use crate::tree::change::{MUTATIONS_PER_CALL, is_stale, kind_of, mutation};
use crate::tree::names::DirectoryKeys;
use crate::tree::trash::Unreadable;
use crate::tree::types::{Bucket, Directory, Located};

/// Times that a bucket is gone through before others are said to be in the way.
const PASSES: u32 = 8;
/// Times that the root key is decided again.
const DECISIONS: u32 = 5;
/// Keys that a bucket may have had: each inode keeps all of its own, and a message of a thousand inodes has to stay in bounds.
const EPOCH_MAX: u32 = 512;
/// Deeper ways are not followed.
const DEPTH_MAX: usize = 4096;

/// What a rotation has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rotated {
    /// Epoch of the bucket's keys now.
    pub epoch: u32,
    /// Directories and files that got a new key.
    pub inodes: u64,
    /// API keys of the bucket that go on working with its new root key.
    pub api_keys: u64,
    /// An earlier rotation was interrupted and this one went on with it.
    pub resumed: bool,
    /// Entries that are not authentic, and so could not be given a new key.
    pub broken: u64,
}

impl Client {
    /// Replaces the keys of a bucket; with `resume` only goes on where this machine was interrupted. `progress` is told now and then.
    ///
    /// # Errors
    /// [`Error::NotFound`], also if there is nothing to go on with; [`Error::Invalid`] for a caller who is not the owner, and for API
    /// keys that are in the way; [`Error::Conflict`] if others change the bucket faster than it is gone through: going on later is
    /// safe.
    pub async fn rotate_bucket(
        &self,
        name: &str,
        resume: bool,
        progress: &(dyn Fn(Rotated) + Sync),
    ) -> Result<Rotated> {
        let mut rotated = self.rotate_root(name, resume).await?;
        let bucket = self.bucket(name).await?;
        rotated.epoch = bucket.key_epoch();
        progress(rotated);
        for _ in 0..PASSES {
            let mut pass = Pass::new(&bucket, rotated, progress);
            pass.tree().await?;
            pass.trash().await?;
            let Pass { changed, left, waiting, broken, done, .. } = pass;
            // Edges that cannot be opened may be what others wait for.
            let lacking = if broken > 0 { waiting.len() as u64 } else { 0 };
            rotated = Rotated { broken: broken + lacking, ..done };
            if !changed && left == 0 && waiting.len() as u64 == lacking {
                self.memory().end_rotation(bucket.id)?;
                return Ok(rotated);
            }
            bucket.renew().await?;
        }
        Err(Error::Conflict(format!("the bucket {name}")))
    }

    /// Whether this machine was interrupted while it replaced the keys of a bucket, or before it came to it.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the bucket; network errors.
    pub async fn may_resume_rotation(&self, name: &str) -> Result<bool> {
        let bucket = self.bucket(name).await?;
        let begun = self.memory().rotation(bucket.id)? == Some(mark(&bucket.root_inode().await?));
        Ok(begun || self.memory().planned_rotations()?.contains(&bucket.id))
    }

    /// Remembers that all buckets of the account are to get new keys, until each has got them. Returns those of which that was remembered
    /// before.
    ///
    /// # Errors
    /// As [`Self::buckets`]; [`Error::Local`].
    pub async fn plan_rotations(&self) -> Result<Vec<BucketId>> {
        let buckets = self.buckets().await?.into_iter().flatten();
        let own: Vec<_> = buckets.filter(|bucket| bucket.owner == self.account()).map(|bucket| bucket.id).collect();
        let before = self.memory().planned_rotations()?;
        self.memory().plan_rotations(&own)?;
        Ok(before)
    }

    /// Remembers what [`Self::plan_rotations`] found, because the account's key was not replaced.
    ///
    /// # Errors
    /// [`Error::Local`].
    pub fn restore_planned_rotations(&self, before: &[BucketId]) -> Result<()> {
        self.memory().plan_rotations(before)
    }

    /// Gives a bucket its new root key, or finds that this machine did before it was interrupted.
    async fn rotate_root(&self, name: &str, resume: bool) -> Result<Rotated> {
        for _ in 0..DECISIONS {
            let bucket = self.bucket(name).await?;
            let opened = self.find_bucket_by_id(bucket.id).await?;
            if self.scope().is_some() || opened.info.owner != self.account() {
                return Err(Error::Invalid {
                    code: ErrorCode::PermissionDenied,
                    message: format!("only its owner replaces the keys of {name}"),
                    advice: None,
                });
            }
            let present = opened.root_key.epoch();
            let root = bucket.root_inode().await?;
            if root.key_epoch != 0 && root.key_epoch != present {
                // Somebody else was faster between the two questions.
                continue;
            }
            if resume {
                let begun = self.memory().rotation(bucket.id)? == Some(mark(&root));
                let nothing = || Error::NotFound(format!("an interrupted rotation of {name} on this machine"));
                if begun {
                    return Ok(Rotated { epoch: present, resumed: true, ..Rotated::default() });
                }
                if !self.memory().planned_rotations()?.contains(&bucket.id) {
                    return Err(nothing());
                }
            }
            if present >= EPOCH_MAX {
                return Err(Error::Invalid {
                    code: ErrorCode::TooLarge,
                    message: format!("the keys of {name} were replaced {EPOCH_MAX} times, and no more is possible"),
                    advice: Some("Copy the files to a new bucket with `cyx cp -r --to-bucket`.".to_owned()),
                });
            }
            let next = opened.root_key.make_next();
            let (older, newer) = (opened.root_key.derive_directory_key(), next.derive_directory_key());
            let key_history = extend_history(&root.key_history, opened.root, &older, &newer)
                .map_err(|_| IntegrityError::WrappedKey(format!("the bucket {name}")))?;
            let sealed_name = seal_bucket_name(&next, bucket.id, opened.info.name.as_bytes())
                .map_err(|error| Error::invalid(error.to_string()))?;
            let keys = self.account_keys();
            let own = &keys.secrets.key;
            let api_keys = self.rewrap_api_keys(&opened, &next).await?;
            let renewed_keys = api_keys.len() as u64;
            let request = pb::RotateBucketRequest {
                bucket: bytes_of(bucket.id),
                expected_epoch: root.key_epoch,
                epoch: next.epoch(),
                sealed_name: sealed_name.into(),
                wrapped_root_key: seal_root_key(own, &next, bucket.id, &opened.owner_key, self.account()).into(),
                key_history: key_history.into(),
                api_keys,
                account_key_epoch: keys.epoch,
            };
            let begun = pb::Inode { key_epoch: next.epoch(), key_history: request.key_history.clone(), ..root };
            self.memory().begin_rotation(bucket.id, &mark(&begun))?;
            match self.meta.rotate_bucket(request).await {
                Ok(_) => {
                    self.memory().check_root_epoch(bucket.id, next.epoch())?;
                    return Ok(Rotated { epoch: next.epoch(), api_keys: renewed_keys, ..Rotated::default() });
                }
                Err(error) if error.code() == ErrorCode::Retry => {}
                // The account's key was replaced at the same time.
                Err(error) if is_stale(&error) => {
                    self.renew_keys().await?;
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::Conflict(format!("the bucket {name}")))
    }
}

/// Tells a root key from every other one, also from one of the same epoch that somebody else made.
fn mark(root: &pb::Inode) -> String {
    format!("{} {}", root.key_epoch, blake3::hash(&root.key_history).to_hex())
}

impl Bucket {
    /// Gets the bucket's newest root key, and who may commit: its owner may have replaced keys since the bucket was opened.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the bucket is gone; integrity errors.
    pub async fn renew(&self) -> Result<()> {
        let opened = self.client.find_bucket_by_id(self.id).await?;
        if opened.owner_key != self.owner_key || opened.root != self.root {
            return Err(IntegrityError::OwnerKey.into());
        }
        self.client.memory().check_root_epoch(self.id, opened.root_key.epoch())?;
        let history = self.client.fetch_root_history(&opened).await?;
        self.open.root_keys.set(opened.root_key.derive_directory_key(), history);
        // The owner's next identity key comes with a list that was handed over to it.
        self.refresh_writers().await?;
        self.directories.forget();
        Ok(())
    }

    /// A directory with its newest key, by its id.
    ///
    /// # Errors
    /// [`Error::NotFound`] if nothing leads to it any more; integrity errors.
    pub async fn renewed_directory(&self, directory: InodeId) -> Result<Directory> {
        let (key, key_history) = self.renewed_key(directory).await?;
        Ok(Directory { id: directory, key, key_history, attributes: None })
    }

    /// The newest key of an inode and its older keys as the server keeps them, by its id: from the newest root key down.
    ///
    /// # Errors
    /// As [`Self::renewed_directory`].
    pub async fn renewed_key(&self, inode: InodeId) -> Result<(InodeKey, Bytes)> {
        self.renew().await?;
        let request = pb::GetPathRequest { bucket: bytes_of(self.id), inode: bytes_of(inode) };
        let answer = self.client.meta.get_path(request).await?;
        if answer.entries.len() != answer.inodes.len() || answer.entries.len() > DEPTH_MAX {
            return Err(IntegrityError::Mismatch("a way from the root is not one").into());
        }
        let mut directory = self.root_directory();
        for (entry, below) in answer.entries.iter().zip(answer.inodes) {
            let (_, child, key) = DirectoryKeys::new(&directory)?.open_entry(entry)?;
            if id::<InodeId>(&below.id, "inode.id")? != child {
                return Err(IntegrityError::Mismatch("an entry leads to another inode than it says").into());
            }
            directory = Directory { id: child, key, key_history: below.key_history, attributes: None };
        }
        if directory.id == inode {
            Ok((directory.key, directory.key_history))
        } else {
            Err(IntegrityError::Mismatch("a way from the root leads elsewhere").into())
        }
    }
}

impl Bucket {
    /// All keys of a file, from the one that is known and the inode that came with the file. The newest is asked for if the file has got
    /// another since.
    pub(crate) async fn keyring_of(
        &self,
        file: InodeId,
        key: &InodeKey,
        inode: Option<&pb::Inode>,
        what: &str,
    ) -> Result<InodeKeyring> {
        let (epoch, history) = inode.map(|inode| (inode.key_epoch, inode.key_history.clone())).unwrap_or_default();
        let (key, history) = if epoch > key.epoch() { self.renewed_key(file).await? } else { (key.clone(), history) };
        open_history(key, file, &history).map_err(|_| IntegrityError::WrappedKey(what.to_owned()).into())
    }

    /// Brings the keys of the bucket's epoch to one entry and what is below it: it comes from where a rotation did not reach.
    pub(crate) async fn renew_below(&self, directory: &Directory, name: &[u8]) -> Result<()> {
        let keys = Arc::new(DirectoryKeys::new(directory)?);
        let Some(located) = self.lookup_one(directory, name).await? else { return Ok(()) };
        let silent = |_| {};
        let mut pass = Pass::new(self, Rotated { epoch: self.key_epoch(), ..Rotated::default() }, &silent);
        let found = Found { located, directory: directory.id, trash: None, directory_epoch: keys.epoch(), keys };
        let mut plans = Vec::new();
        pass.take(found, &mut plans)?;
        pass.apply(plans).await?;
        pass.read().await
    }
}

/// One going through a bucket.
struct Pass<'a> {
    bucket: &'a Bucket,
    done: Rotated,
    progress: &'a (dyn Fn(Rotated) + Sync),
    /// Something was changed, so it has to be gone through again.
    changed: bool,
    /// What could not be changed because others were faster.
    left: u64,
    broken: u64,
    /// Files with several edges, until all of them were seen.
    waiting: HashMap<InodeId, Vec<Found>>,
    /// Directories that are still to be read.
    directories: Vec<Directory>,
}

/// An edge that was found, with what its directory wraps for it.
struct Found {
    located: Located,
    directory: InodeId,
    /// Absent for an entry of the tree.
    trash: Option<TrashId>,
    directory_epoch: u32,
    keys: Arc<DirectoryKeys>,
}

/// What an inode is to get.
struct Plan {
    mutation: pb::Mutation,
    /// To be read once it has its key.
    directory: Option<Directory>,
}

impl Found {
    /// It is sealed under the newest key of its directory, and so is its name.
    fn is_newest(&self) -> bool {
        let name = self.located.entry.name.as_ref().map(|name| name.epoch);
        let wrap = epoch_of(&self.located.entry.wrapped_key).ok();
        name == Some(self.directory_epoch) && wrap == Some(self.directory_epoch)
    }

    fn edge(&self, key: &InodeKey) -> Result<pb::RekeyedEdge> {
        let tokens = self.keys.tokens(&self.located.name)?;
        let wrapped_key = self.keys.wrap(&tokens, self.located.id, kind_of(&self.located)?, key)?;
        Ok(pb::RekeyedEdge {
            directory: bytes_of(self.directory),
            name: self.located.entry.name.clone(),
            trash: self.trash.map(bytes_of).unwrap_or_default(),
            version: self.located.entry.version,
            new_name: tokens.last().cloned(),
            wrapped_key: wrapped_key.into(),
        })
    }
}

/// What the inode of these edges is to get; `None` if it has got it.
fn plan(edges: &[Found], epoch: u32) -> Result<Option<Plan>> {
    let Some(newest) = edges.iter().max_by_key(|edge| edge.located.key.epoch()).map(|edge| &edge.located) else {
        return Ok(None);
    };
    let has_key = newest.key.epoch() >= epoch;
    let is_same = edges.iter().all(|edge| edge.located.key == newest.key);
    if has_key && is_same && edges.iter().all(Found::is_newest) {
        return Ok(None);
    }
    let key = if has_key { newest.key.clone() } else { InodeKey::make_at(epoch) };
    let key_history = if has_key {
        Bytes::new()
    } else {
        let broken = |_| IntegrityError::WrappedKey(crate::tree::path::shown(&newest.name));
        extend_history(&newest.inode.key_history, newest.id, &newest.key, &key).map_err(broken)?.into()
    };
    let older = if has_key { newest.inode.key_history.clone() } else { key_history.clone() };
    let known = newest.inode.key_epoch;
    if !has_key && known >= epoch {
        // The server says that there is a newer key, and no edge holds it.
        return Err(IntegrityError::WrappedKey(crate::tree::path::shown(&newest.name)).into());
    }
    let rekey = pb::Rekey {
        inode: bytes_of(newest.id),
        expected_epoch: known,
        epoch: if has_key { known } else { epoch },
        key_history,
        edges: edges.iter().map(|edge| edge.edge(&key)).collect::<Result<_>>()?,
    };
    let directory = newest.is_directory().then(|| Directory {
        id: newest.id,
        key: key.clone(),
        key_history: older,
        attributes: None,
    });
    let operation = pb::Operation { operation: Some(Op::Rekey(rekey)) };
    Ok(Some(Plan { mutation: mutation(vec![operation]), directory }))
}

impl<'a> Pass<'a> {
    fn new(bucket: &'a Bucket, done: Rotated, progress: &'a (dyn Fn(Rotated) + Sync)) -> Self {
        Self {
            bucket,
            done,
            progress,
            changed: false,
            left: 0,
            broken: 0,
            waiting: HashMap::new(),
            directories: Vec::new(),
        }
    }

    /// Everything that has a name.
    async fn tree(&mut self) -> Result<()> {
        self.directories.push(self.bucket.root_directory());
        self.read().await
    }

    /// What is in the trash, with what is below it. Entries whose directory is in the trash itself are out of reach; they get new keys
    /// when they are restored.
    async fn trash(&mut self) -> Result<()> {
        let mut plans = Vec::new();
        for trashed in self.bucket.trash().await? {
            let trashed = match trashed {
                Ok(trashed) if trashed.below_trash => continue,
                Ok(trashed) => trashed,
                Err(Unreadable { error: Error::NotFound(_), .. }) => continue,
                Err(Unreadable { error: Error::Integrity(_), .. }) => {
                    self.broken += 1;
                    continue;
                }
                Err(Unreadable { error, .. }) => return Err(error),
            };
            let keys = Arc::new(DirectoryKeys::new(&trashed.directory)?);
            let found = Found {
                directory: trashed.directory.id,
                trash: Some(trashed.id),
                directory_epoch: keys.epoch(),
                keys,
                located: trashed.located,
            };
            self.take(found, &mut plans)?;
            if plans.len() >= MUTATIONS_PER_CALL {
                self.apply(std::mem::take(&mut plans)).await?;
            }
        }
        self.apply(plans).await?;
        self.read().await
    }

    async fn read(&mut self) -> Result<()> {
        while let Some(directory) = self.directories.pop() {
            let keys = Arc::new(DirectoryKeys::new(&directory)?);
            let mut listing = self.bucket.read(&directory)?;
            loop {
                let batch = match listing.next_batch().await {
                    Ok(Some(batch)) => batch,
                    Ok(None) => break,
                    // It was removed while it was read.
                    Err(error) if error.code() == ErrorCode::NotFound => break,
                    Err(error) => return Err(error),
                };
                let mut plans = Vec::new();
                for located in batch {
                    match located {
                        Ok(located) => {
                            let found = Found {
                                located,
                                directory: directory.id,
                                trash: None,
                                directory_epoch: keys.epoch(),
                                keys: Arc::clone(&keys),
                            };
                            self.take(found, &mut plans)?;
                        }
                        Err(Error::Integrity(_)) => self.broken += 1,
                        Err(error) => return Err(error),
                    }
                }
                self.apply(plans).await?;
            }
        }
        Ok(())
    }

    /// Plans what an edge needs, or keeps it until the others of its inode are found.
    fn take(&mut self, found: Found, plans: &mut Vec<Plan>) -> Result<()> {
        let inode = &found.located.inode;
        let edges = if found.located.is_directory() { 1 } else { inode.nlink.saturating_add(inode.trashed) };
        let (id, directory) = (found.located.id, found.located.directory());
        let all = if edges <= 1 {
            vec![found]
        } else {
            let known = self.waiting.entry(id).or_default();
            known.push(found);
            if known.len() < edges as usize {
                return Ok(());
            }
            self.waiting.remove(&id).unwrap_or_default()
        };
        match plan(&all, self.done.epoch) {
            Ok(Some(plan)) => plans.push(plan),
            Ok(None) => self.directories.extend(directory),
            Err(Error::Integrity(_)) => self.broken += 1,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn apply(&mut self, plans: Vec<Plan>) -> Result<()> {
        if plans.is_empty() {
            return Ok(());
        }
        let (mutations, directories): (Vec<_>, Vec<_>) =
            plans.into_iter().map(|plan| (plan.mutation, plan.directory)).unzip();
        for (result, directory) in self.bucket.apply(mutations).await?.into_iter().zip(directories) {
            match result {
                Ok(_) => {
                    self.changed = true;
                    self.done.inodes += 1;
                    self.directories.extend(directory);
                }
                Err(error) if was_faster(&error) => self.left += 1,
                Err(error) => return Err(error),
            }
        }
        (self.progress)(self.done);
        Ok(())
    }
}

fn was_faster(error: &Error) -> bool {
    is_stale(error) || matches!(error.code(), ErrorCode::Retry | ErrorCode::NotFound | ErrorCode::AlreadyExists)
}
