//! Copies inside a bucket: no content moves. The new file has its own key, and the keys of the same blobs are wrapped under it.

use cyx_core::extent::PageMap;
use cyx_core::extent::tree::build;
use cyx_crypto::wrap::{open_blob_key, seal_blob_key};
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use cyx_proto::meta::v1::operation::Operation as Op;

use crate::error::{Error, IntegrityError, Result};
use crate::tree::change::{
    DIRECTORY_MODE, NewKind, RemoveOptions, attributes_now, decide_again, is_stale, mutation, named, remove_operation,
};
use crate::tree::list::Walked;
use crate::tree::path::{TreePath, shown};
use crate::tree::types::{Bucket, Directory, Located};
use crate::tree::version::Purpose;

/// Times that a copy is decided again because somebody else was faster.
const DECISIONS: u32 = 8;
/// Files of a tree whose copies go in one call.
const FILES_PER_CALL: usize = 64;

/// How something is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CopyOptions {
    /// Also directories with all below them.
    pub recursive: bool,
    /// What exists stays: the server refuses, so nobody who is faster loses anything either.
    pub no_clobber: bool,
}

/// What a copy did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Copied {
    /// Files and symbolic links.
    pub files: u64,
    /// Directories that were made.
    pub directories: u64,
    /// Plain bytes of the files.
    pub bytes: u64,
}

impl Bucket {
    /// Copies as `cp` does: into `to` if that is a directory, else to that name. An existing file gets a new version; a link
    /// that is there, or a file where a link is to be, goes to the trash. Says where it ended up.
    ///
    /// # Errors
    /// [`Error::IsDirectory`] for a directory unless `recursive`; [`Error::NotFound`], [`Error::Conflict`]; integrity errors.
    pub async fn copy(&self, from: &TreePath, to: &TreePath, recursive: bool) -> Result<(TreePath, Copied)> {
        self.copy_with(from, to, CopyOptions { recursive, no_clobber: false }).await
    }

    /// As [`Self::copy`], with conditions.
    ///
    /// # Errors
    /// As [`Self::copy`], and [`Error::AlreadyExists`] for what is to stay.
    pub async fn copy_with(&self, from: &TreePath, to: &TreePath, options: CopyOptions) -> Result<(TreePath, Copied)> {
        let source = self.resolve(from).await?;
        if source.is_directory() && !options.recursive {
            return Err(Error::IsDirectory(from.to_string()));
        }
        let existing = if to.is_root() { None } else { self.try_resolve(to).await? };
        let into = to.is_root() || existing.as_ref().is_some_and(Located::is_directory);
        let target = if into { to.clone().join(&source.name)? } else { to.clone() };
        if source.is_directory() {
            if target.starts_with(from) {
                return Err(Error::invalid(format!("{from} cannot be copied below itself")));
            }
            let copied = self.copy_tree((from, &source), &target, options.no_clobber).await?;
            return Ok((target, copied));
        }
        if target == *from {
            return Err(Error::invalid(format!("{from} and {target} are the same file")));
        }
        let bytes = self.copy_entry(&source, &target, options.no_clobber).await?;
        Ok((target, Copied { files: 1, directories: 0, bytes }))
    }

    /// Copies one file or link to a name, in the place of a file or link that is there.
    async fn copy_entry(&self, source: &Located, target: &TreePath, no_clobber: bool) -> Result<u64> {
        let (above, name) = target.split().ok_or_else(|| Error::IsDirectory(target.to_string()))?;
        for _ in 0..DECISIONS {
            let directory = self.open_directory(&above).await?;
            let existing = self.existing(&directory, name, target, no_clobber).await?;
            let copy = self.copy_mutation(source, &directory, (name, target), existing.as_ref()).await?;
            let Some((mutation, bytes)) = copy else { return Ok(0) };
            match self.client.meta.apply_one(self.id.as_bytes(), mutation).await {
                Ok(_) => return Ok(bytes),
                Err(error) if is_stale(&error) => self.renew().await?,
                Err(error) if decide_again(&error) => self.directories.forget(),
                Err(error) => return Err(named(error, target)),
            }
        }
        Err(Error::Conflict(target.to_string()))
    }

    /// What has a name now, unless that is to stay. Without anything a copy makes the name, which the server refuses if somebody
    /// else was faster.
    async fn existing(
        &self,
        directory: &Directory,
        name: &[u8],
        path: &TreePath,
        no_clobber: bool,
    ) -> Result<Option<Located>> {
        match self.lookup_one(directory, name).await? {
            Some(_) if no_clobber => Err(Error::AlreadyExists(path.to_string())),
            existing => Ok(existing),
        }
    }

    async fn copy_tree(
        &self,
        (from, source): (&TreePath, &Located),
        target: &TreePath,
        no_clobber: bool,
    ) -> Result<Copied> {
        let mut copied = Copied::default();
        self.make_directories_as(target, source.mode_or(DIRECTORY_MODE)).await?;
        copied.directories += 1;
        let mut walk = self.walk(from, true).await?;
        let mut waiting: Vec<(TreePath, pb::Mutation, u64)> = Vec::new();
        while let Some(found) = walk.next().await {
            let item = match found {
                Walked::Item(item) => item,
                Walked::Failed { error, .. } => return Err(error),
            };
            let path = TreePath::parse(&item.path)?;
            let below = path.names().get(from.names().len()..).unwrap_or_default();
            let mut copy = target.clone();
            for name in below {
                copy = copy.join(name)?;
            }
            if item.located.is_directory() {
                self.make_directories_as(&copy, item.located.mode_or(DIRECTORY_MODE)).await?;
                copied.directories += 1;
                continue;
            }
            let (above, name) = copy.split().ok_or(Error::Internal("a copy has a name"))?;
            let directory = self.make_directories(&above).await?;
            let existing = self.existing(&directory, name, &copy, no_clobber).await?;
            let made = self.copy_mutation(&item.located, &directory, (name, &copy), existing.as_ref()).await?;
            let Some((mutation, bytes)) = made else {
                copied.files += 1;
                continue;
            };
            waiting.push((copy.clone(), mutation, bytes));
            if waiting.len() >= FILES_PER_CALL {
                self.finish(&mut waiting, &mut copied).await?;
            }
        }
        self.finish(&mut waiting, &mut copied).await?;
        Ok(copied)
    }

    async fn finish(&self, waiting: &mut Vec<(TreePath, pb::Mutation, u64)>, copied: &mut Copied) -> Result<()> {
        let (paths, mutations): (Vec<_>, Vec<_>) =
            waiting.drain(..).map(|(path, mutation, bytes)| ((path, bytes), mutation)).unzip();
        for ((path, bytes), result) in paths.into_iter().zip(self.apply(mutations).await?) {
            result.map_err(|error| named(error, &path))?;
            copied.files += 1;
            copied.bytes += bytes;
        }
        Ok(())
    }

    /// What makes a symbolic link under a name, in the place of a file or of another link; nothing if it is there already.
    pub(crate) fn link_operations(
        &self,
        source: &Located,
        directory: &Directory,
        (name, path): (&[u8], &TreePath),
        existing: Option<&Located>,
    ) -> Result<Vec<pb::Operation>> {
        let target = source.link_target()?;
        let mut operations = Vec::new();
        match existing {
            Some(link) if link.kind() == pb::InodeKind::Symlink && link.link_target()? == target => {
                return Ok(operations);
            }
            Some(other) => operations.push(in_the_way(other, path)?),
            None => {}
        }
        let new = self.prepare(directory, name, NewKind::Symlink(&target), source.copied_attributes(0o777))?;
        operations.push(new.operation);
        Ok(operations)
    }

    /// The mutation that copies a file or link to a name, and the bytes that it copies; `None` if that is there already.
    async fn copy_mutation(
        &self,
        source: &Located,
        directory: &Directory,
        (name, path): (&[u8], &TreePath),
        existing: Option<&Located>,
    ) -> Result<Option<(pb::Mutation, u64)>> {
        let what = shown(&source.name);
        let attributes = source.copied_attributes(0o644);
        match source.kind() {
            pb::InodeKind::File => {}
            pb::InodeKind::Symlink => {
                let operations = self.link_operations(source, directory, (name, path), existing)?;
                return Ok((!operations.is_empty()).then(|| (mutation(operations), 0)));
            }
            _ => return Err(Error::invalid(format!("{what} is neither a file nor a symbolic link"))),
        }

        let (version, mut pages, _) = self.fetch_file_for(source.id, 0..u64::MAX, &what, Purpose::Look).await?;
        let mut operations = Vec::new();
        let (id, key, base) = match existing {
            Some(file) if file.kind() == pb::InodeKind::File => (file.id, file.key.clone(), file.inode.version),
            other => {
                if let Some(other) = other {
                    operations.push(in_the_way(other, path)?);
                }
                let new = self.prepare(directory, name, NewKind::File, attributes)?;
                operations.push(new.operation);
                (new.id, new.key, 0)
            }
        };
        let (root, new_pages) = self.rewrap(source, &version, &mut pages, &key).await?;
        let signed = self.sign_commit(id, base, version.size(), root);
        let commit = pb::Commit {
            inode: bytes_of(id),
            base_version: base,
            size: version.size(),
            root_page: bytes::Bytes::copy_from_slice(&root.0),
            pages: new_pages,
            writer: bytes_of(signed.commit.writer),
            signature: bytes::Bytes::copy_from_slice(&signed.signature),
            mtime_ns: attributes.mtime_ns,
            key_epoch: key.epoch(),
            ..pb::Commit::default()
        };
        operations.push(pb::Operation { operation: Some(Op::Commit(commit)) });
        Ok(Some((mutation(operations), version.size())))
    }

    /// The extents of a version with their blob keys under another file's key.
    async fn rewrap(
        &self,
        source: &Located,
        version: &crate::tree::types::VerifiedVersion,
        pages: &mut PageMap,
        key: &cyx_crypto::keys::InodeKey,
    ) -> Result<(cyx_core::extent::PageId, Vec<pb::Page>)> {
        let broken = |_| IntegrityError::Content(shown(&source.name));
        let keyring = source.keyring()?;
        let mut extents = self.extents(version, 0..version.size(), pages).await?;
        for extent in &mut extents {
            let old = keyring.of_epoch(extent.key_epoch).map_err(broken)?;
            let blob_key = open_blob_key(old, extent.blob, extent.header, &extent.wrapped_key).map_err(broken)?;
            extent.wrapped_key = seal_blob_key(key, extent.blob, extent.header, &blob_key);
            extent.key_epoch = key.epoch();
        }
        let built = build(&extents)?;
        let pages = built
            .pages
            .into_iter()
            .map(|(id, content)| pb::Page { id: bytes::Bytes::copy_from_slice(&id.0), content: content.into() })
            .collect();
        Ok((built.root, pages))
    }
}

/// Moves what has a name to the trash, unless it is a directory.
fn in_the_way(located: &Located, path: &TreePath) -> Result<pb::Operation> {
    if located.is_directory() {
        return Err(Error::IsDirectory(path.to_string()));
    }
    remove_operation(located, RemoveOptions::default())
}

impl Located {
    /// Its mode, or this one if none is known.
    pub(crate) fn mode_or(&self, mode: u32) -> u32 {
        self.inode.attributes.map_or(mode, |attributes| attributes.mode)
    }

    /// What a copy of it begins with.
    fn copied_attributes(&self, mode: u32) -> pb::Attributes {
        let mtime_ns = self.inode.attributes.map_or(0, |attributes| attributes.mtime_ns);
        pb::Attributes { mtime_ns, ..attributes_now(self.mode_or(mode)) }
    }
}
