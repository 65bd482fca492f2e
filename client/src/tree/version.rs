//! Versions: signing a commit, and believing one.
//!
//! A version is believed if its commit is signed by a key of the bucket's writer list, which was in it when the commit was made, says the
//! same as the inode beside it, and is not older than what this machine saw before. Only then are its extents looked at, and each page must hash to the id by
//! which the page above it (or the commit) names it.

use std::collections::HashMap;

use cyx_core::commit::Commit;
use cyx_core::extent::tree::extents_in;
use cyx_core::extent::{Extent, ExtentTreeError, OFFSET_MAX, Page, PageId, PageMap};
use cyx_core::ids::{InodeId, KeyId};
use cyx_core::writers::WriterList;
use cyx_crypto::identity::SignedCommit;
use cyx_proto::convert::{bytes_of, id, page_id, required};
use cyx_proto::meta::v1 as pb;

use crate::error::{Error, IntegrityError, Result};
use crate::memory::versions::{Seen, Versions};
use crate::tree::types::{Bucket, VerifiedVersion};

/// Pages asked for in one call.
const PAGES_PER_CALL: usize = 64;
/// Most pages of one file that are held at once: extents of a file far beyond the largest.
const PAGES_MAX: usize = 1 << 16;

impl Bucket {
    /// Signs version `base + 1` of a file with the account's key, as something that comes after the bucket was opened.
    #[must_use]
    pub fn sign_commit(&self, inode: InodeId, base: u64, size: u64, root: PageId) -> SignedCommit {
        self.client.secrets().identity.sign_commit(self.id, self.sequence, inode, base, size, root)
    }

    /// This account may write in the bucket. Asked before an upload, so that it does not fail at its end.
    #[must_use]
    pub fn may_write(&self) -> bool {
        self.writers().may_sign_now(self.client.secrets().identity.key_id()).is_some()
    }

    /// Believes the newest version of a file, or refuses it; `before` is what was seen of it before the server was asked, and
    /// `what` names the file in errors. A writer that was added since the bucket was opened is found by asking for the writer
    /// list again.
    ///
    /// # Errors
    /// [`IntegrityError::Signature`], [`IntegrityError::RolledBack`], [`IntegrityError::Forked`],
    /// [`IntegrityError::Mismatch`].
    pub async fn verify_newest(
        &self,
        before: Option<Seen>,
        inode: &pb::Inode,
        record: Option<&pb::VersionRecord>,
        what: &str,
    ) -> Result<VerifiedVersion> {
        let file: InodeId = id(&inode.id, "inode.id")?;
        let Some(record) = record else {
            if inode.version != 0 || inode.size != 0 || !inode.root_page.iter().all(|byte| *byte == 0) {
                return Err(IntegrityError::Mismatch("a version has no commit").into());
            }
            Versions::check_none(before, what)?;
            return Ok(VerifiedVersion { inode: file, version: 0, size: 0, root: PageId::EMPTY });
        };
        let commit = self.verify_record(file, record, what).await?;
        let root = page_id(&inode.root_page, "inode.root_page")?;
        if (inode.version, inode.size, root) != (commit.version, commit.size, commit.root) {
            return Err(IntegrityError::Mismatch("a file says something else than its commit").into());
        }
        self.client.memory().versions().check(before, &commit, what)?;
        Ok(believed(&commit))
    }

    /// Believes an older version that was asked for by number.
    ///
    /// # Errors
    /// As [`Self::verify_newest`], but it may be older than what was seen.
    pub async fn verify_older(
        &self,
        file: InodeId,
        asked: u64,
        record: &pb::VersionRecord,
        what: &str,
    ) -> Result<VerifiedVersion> {
        let commit = self.verify_record(file, record, what).await?;
        if commit.version == asked {
            Ok(believed(&commit))
        } else {
            Err(IntegrityError::Mismatch("it shows another version than the one asked for").into())
        }
    }

    async fn verify_record(&self, file: InodeId, record: &pb::VersionRecord, what: &str) -> Result<Commit> {
        let commit = Commit {
            bucket: self.id,
            inode: file,
            version: record.version,
            base: record.base,
            size: record.size,
            root: page_id(&record.root_page, "version.root_page")?,
            writer: id::<KeyId>(&record.writer, "version.writer")?,
        };
        let unsigned = || IntegrityError::Signature { what: what.to_owned(), version: record.version };
        if commit.version == 0 || commit.base != commit.version - 1 {
            return Err(unsigned().into());
        }
        let sequence = (record.sequence != 0).then_some(record.sequence);
        let check = |writers: &WriterList| writers.verify_commit(&commit, &record.signature, sequence);
        let known = self.writers();
        if check(&known).is_ok() {
            return Ok(commit);
        }
        // Its writer may have been added, again perhaps, since the list was read.
        if known.may_sign_now(commit.writer).is_none() {
            self.refresh_writers().await?;
            if check(&self.writers()).is_ok() {
                return Ok(commit);
            }
        }
        Err(unsigned().into())
    }

    /// The extents of a version in the file bytes `range`, whole and in order. `pages` may hold some of its pages and gets
    /// those that were missing.
    ///
    /// # Errors
    /// [`IntegrityError::Extents`] for pages that are broken, misplaced or withheld, or that reach beyond the file's size.
    pub async fn extents(
        &self,
        version: &VerifiedVersion,
        range: std::ops::Range<u64>,
        pages: &mut PageMap,
    ) -> Result<Vec<Extent>> {
        loop {
            match extents_known(pages, version, &range)? {
                Known::All(extents) => return Ok(extents),
                Known::Missing(missing) => take_pages(self.pages(missing).await?, pages)?,
            }
        }
    }

    /// Asks for pages. The first of them is in the answer, others may be.
    ///
    /// # Errors
    /// [`IntegrityError::Extents`] if the first is withheld; network errors.
    pub(crate) async fn pages(&self, ids: Vec<PageId>) -> Result<Vec<pb::Page>> {
        let request = pb::GetPagesRequest {
            bucket: bytes_of(self.id),
            ids: ids.iter().map(|id| bytes::Bytes::copy_from_slice(&id.0)).collect(),
        };
        let pages = self.client.meta.get_pages(request).await?.pages;
        match ids.first().filter(|first| !pages.iter().any(|page| page.id == first.0[..])) {
            Some(missing) => Err(IntegrityError::Extents(format!("page {missing} is withheld")).into()),
            None => Ok(pages),
        }
    }

    /// Everything about one file that a reader needs: its newest version, believed, with the answer it came in.
    ///
    /// # Errors
    /// As [`Self::verify_newest`]; [`Error::NotFound`].
    pub async fn fetch_file(
        &self,
        file: InodeId,
        range: std::ops::Range<u64>,
        what: &str,
    ) -> Result<(VerifiedVersion, PageMap, pb::GetFileResponse)> {
        self.fetch_file_for(file, range, what, Purpose::Read).await
    }

    /// As [`Self::fetch_file`]; who only looks gets no access to nodes.
    ///
    /// # Errors
    /// As [`Self::fetch_file`].
    pub(crate) async fn fetch_file_for(
        &self,
        file: InodeId,
        range: std::ops::Range<u64>,
        what: &str,
        purpose: Purpose,
    ) -> Result<(VerifiedVersion, PageMap, pb::GetFileResponse)> {
        let request = pb::GetFileRequest {
            bucket: bytes_of(self.id),
            inode: bytes_of(file),
            version: 0,
            offset: range.start,
            length: if range.end == u64::MAX { 0 } else { range.end.saturating_sub(range.start).max(1) },
            no_access: purpose == Purpose::Look,
        };
        let before = self.client.memory().versions().seen(self.id, file);
        let mut answer = self.client.meta.get_file(request).await.map_err(|error| match error {
            Error::Server { code: cyx_core::error::ErrorCode::NotFound, .. } => Error::NotFound(what.to_owned()),
            other => other,
        })?;
        let inode = required(answer.inode.as_ref(), "inode")?;
        if id::<InodeId>(&inode.id, "inode.id")? != file {
            return Err(IntegrityError::Mismatch("it shows another file").into());
        }
        let version = self.verify_newest(before, inode, answer.version.as_ref(), what).await?;
        let mut pages = PageMap::new();
        take_pages(std::mem::take(&mut answer.pages), &mut pages)?;
        Ok((version, pages, answer))
    }
}

/// What is wanted of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To read it from nodes, for which the server reserves traffic.
    Read,
    /// To know where it lies.
    Look,
}

/// A file among many that were asked for.
pub(crate) struct FetchedFile {
    /// Its newest version, believed.
    pub(crate) version: VerifiedVersion,
    /// Its root page, if it has extents.
    pub(crate) pages: PageMap,
    /// What the server says it is.
    pub(crate) inode: pb::Inode,
    /// Its blobs, as far as they came with it.
    pub(crate) blobs: Vec<pb::Blob>,
}

impl Bucket {
    /// As [`Self::fetch_file`], for many files with one question. What cannot be believed of a file is that file's error. Of those that are left out nothing
    /// is known: they do not exist, or do not fit into one answer.
    ///
    /// # Errors
    /// If the question is not answered.
    pub(crate) async fn fetch_files(
        &self,
        files: &[(InodeId, &str)],
    ) -> Result<(HashMap<InodeId, Result<FetchedFile>>, pb::GetFilesResponse)> {
        let seen = |file: InodeId| self.client.memory().versions().seen(self.id, file);
        let mut asked: HashMap<InodeId, (Option<Seen>, &str)> =
            files.iter().map(|(file, what)| (*file, (seen(*file), *what))).collect();
        let request = pb::GetFilesRequest {
            bucket: bytes_of(self.id),
            inodes: files.iter().map(|(file, _)| bytes_of(*file)).collect(),
        };
        let mut answer = self.client.meta.get_files(request).await?;
        let mut fetched = HashMap::with_capacity(files.len());
        for found in std::mem::take(&mut answer.files) {
            let inode = required(found.inode, "inode")?;
            let file: InodeId = id(&inode.id, "inode.id")?;
            let Some((before, what)) = asked.remove(&file) else {
                return Err(IntegrityError::Mismatch("it shows a file that was not asked for").into());
            };
            let believing = async {
                let version = self.verify_newest(before, &inode, found.version.as_ref(), what).await?;
                let mut pages = PageMap::new();
                take_pages(found.root.into_iter().collect(), &mut pages)?;
                Ok(FetchedFile { version, pages, inode, blobs: found.blobs })
            };
            let believed = believing.await;
            fetched.insert(file, believed);
        }
        Ok((fetched, answer))
    }
}

const fn believed(commit: &Commit) -> VerifiedVersion {
    VerifiedVersion { inode: commit.inode, version: commit.version, size: commit.size, root: commit.root }
}

/// Takes pages that hash to their ids; the tree decides whether they are in their place.
///
/// # Errors
/// [`IntegrityError::Extents`], [`IntegrityError::Decode`].
pub fn take_pages(received: Vec<pb::Page>, pages: &mut PageMap) -> Result<()> {
    for page in received {
        let named = page_id(&page.id, "page.id")?;
        if PageId::of(&page.content) != named {
            return Err(IntegrityError::Extents(format!("page {named} has other content")).into());
        }
        pages.insert(named, Page::decode(&page.content).map_err(Error::decode("an extent page"))?);
    }
    Ok(())
}

/// The extents in a range, or the pages that they cannot be found without.
pub(crate) enum Known {
    All(Vec<Extent>),
    /// The first is needed next, the others later.
    Missing(Vec<PageId>),
}

/// The extents of a version in the file bytes `range`, whole and in order, as far as `pages` leads to them.
///
/// # Errors
/// [`IntegrityError::Extents`] for pages that are broken, misplaced or far too many, or that reach beyond the file's size.
pub(crate) fn extents_known(pages: &PageMap, version: &VerifiedVersion, range: &std::ops::Range<u64>) -> Result<Known> {
    let range = range.start..range.end.min(version.size).min(OFFSET_MAX);
    match extents_in(pages, version.root, range.clone()) {
        Ok(extents) if extents.last().is_none_or(|last| last.end() <= version.size) => Ok(Known::All(extents)),
        Ok(_) => Err(IntegrityError::Extents("they reach beyond the file".into()).into()),
        Err(ExtentTreeError::MissingPage(_)) if pages.len() >= PAGES_MAX => {
            Err(IntegrityError::Extents("there are far too many".into()).into())
        }
        Err(ExtentTreeError::MissingPage(missing)) => Ok(Known::Missing(wanted(pages, version.root, &range, missing))),
        Err(error) => Err(error.into()),
    }
}

/// The missing page and others beside it that will be asked for next, so that a large file is not read page by page.
fn wanted(pages: &PageMap, root: PageId, range: &std::ops::Range<u64>, missing: PageId) -> Vec<PageId> {
    let mut wanted = vec![missing];
    let mut waiting = vec![root];
    while let Some(at) = waiting.pop() {
        let Some(Page::Branch { children, .. }) = pages.get(&at) else { continue };
        for (number, child) in children.iter().enumerate() {
            let end = children.get(number + 1).map_or(OFFSET_MAX, |next| next.first_offset);
            if child.first_offset >= range.end || end <= range.start {
                continue;
            }
            match pages.get(&child.id) {
                Some(_) => waiting.push(child.id),
                None if wanted.len() < PAGES_PER_CALL && !wanted.contains(&child.id) => wanted.push(child.id),
                None => {}
            }
        }
    }
    wanted
}
