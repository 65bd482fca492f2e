//! One file up: what stands under the name now decides what the new content becomes, and a race that is lost is decided anew
//! with the content kept.

use cyx_core::commit::Commit;
use cyx_core::error::ErrorCode;
use cyx_core::ids::{InodeId, TimeOrdered as _, TxnId};
use cyx_core::units::INLINE_MAX;
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use cyx_proto::meta::v1::operation::Operation as Op;

use super::content::{Content, SegmentOutcome};
use super::progress::Progress;
use super::resume::{FileIdentity, Resume, journal_place};
use super::source::{Feed, Source};
use super::upload::{SendOptions, Uploads};
use crate::clock;
use crate::error::{Error, IntegrityError, Result};
use crate::meta::fault_error;
use crate::tree::change::{NewKind, RemoveOptions, attributes_now, is_stale, mutation, remove_operation};
use crate::tree::path::shown;
use crate::tree::types::{Directory, Located};

/// How often a decision is made anew because somebody else was faster.
const DECISIONS: u32 = 8;
/// Names that are tried for a conflict copy.
const CONFLICT_NAMES: u32 = 100;

/// What must be true for an upload to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Condition {
    /// Nothing: a file of this name gets a new version.
    #[default]
    Replace,
    /// There is nothing of this name.
    IfAbsent,
    /// There is a file of this name, and this is its newest version.
    IfVersion(u64),
}

/// What happens if somebody else commits the same file while it is uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum OnConflict {
    /// Both are kept: this one as `name (conflict <label>)`, where the label names the machine and the day.
    KeepBoth(String),
    /// This one becomes the newest version all the same.
    #[default]
    Replace,
    /// The upload fails.
    Fail,
}

/// How one file is uploaded.
#[derive(Debug, Clone, Default)]
pub struct PutOptions {
    /// What must be true.
    pub condition: Condition,
    /// If somebody else is faster.
    pub on_conflict: OnConflict,
    /// Not acknowledged before every shard is durable.
    pub all_shards: bool,
    /// Permission bits; absent: those of the file there is, else 0o644.
    pub mode: Option<u32>,
    /// When the content last changed, in Unix nanoseconds; absent: now.
    pub mtime_ns: Option<i64>,
    /// The upload goes on where an interrupted one was, and is remembered if it is interrupted.
    pub resumable: bool,
    /// A file that is written to while it is read is not committed.
    pub steady: bool,
}

/// Where a file goes, and what was found there.
#[derive(Clone)]
pub struct Place {
    /// The directory.
    pub directory: Directory,
    /// The name in it.
    pub name: Vec<u8>,
    /// What has that name now.
    pub found: Option<Located>,
}

/// A file that was uploaded.
#[derive(Debug, Clone)]
pub struct Put {
    /// The file.
    pub inode: InodeId,
    /// Its version.
    pub version: u64,
    /// Plain bytes.
    pub size: u64,
    /// Its name: another one than asked for if it became a conflict copy.
    pub name: Vec<u8>,
    /// How well each of its segments is stored; none if it is small enough for the server's database.
    pub segments: Vec<SegmentOutcome>,
    /// What can be lost, if fewer nodes are alive than the bucket asks for.
    pub warning: Option<String>,
}

impl Put {
    /// A symbolic link, which has no content and lies in the server's database.
    pub(crate) const fn of_link(inode: InodeId, name: Vec<u8>) -> Self {
        Self { inode, version: 0, size: 0, name, segments: Vec::new(), warning: None }
    }

    /// How many nodes of its worst segment may be lost without losing the file; `None` if it lies in the server's database.
    #[must_use]
    pub fn survives(&self) -> Option<usize> {
        self.segments.iter().filter_map(|segment| segment.scheme.survives(segment.present)).min()
    }

    /// Shards that are not durable yet and are left to repair.
    #[must_use]
    pub fn missing_shards(&self) -> usize {
        self.segments.iter().map(|segment| segment.scheme.n() - segment.present).sum()
    }
}

impl Uploads {
    /// Uploads one file, whatever its size.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] and [`Error::Conflict`] as the conditions say, [`Error::IsDirectory`],
    /// [`Error::TooFewNodes`], quota and network errors, [`Error::Local`] and [`Error::Changing`] for the source.
    pub async fn put(
        &self,
        place: Place,
        mut source: Source,
        known: Option<u64>,
        options: &PutOptions,
        progress: &dyn Progress,
    ) -> Result<Put> {
        let again = source.again();
        let put = Box::pin(self.put_once(place.clone(), source, known, options, progress)).await;
        match (put, again) {
            // What was staged was collected before the commit, or its receipts are too old: it is sent once more.
            (Err(error), Some(again)) if error.code() == ErrorCode::Restage => {
                self.shared.leases.forget().await;
                let source = again.source().map_err(Error::local(shown(&place.name)))?;
                Box::pin(self.put_once(place, source, known, options, progress)).await
            }
            (put, _) => put,
        }
    }

    async fn put_once(
        &self,
        place: Place,
        source: Source,
        known: Option<u64>,
        options: &PutOptions,
        progress: &dyn Progress,
    ) -> Result<Put> {
        let (bucket, transfer) = (&self.shared.bucket, &self.shared.transfer);
        if !bucket.may_write() {
            return Err(Error::Server {
                code: ErrorCode::PermissionDenied,
                message: format!("this account may not write to {}", bucket.name),
                request_id: None,
            });
        }
        let target = Target::decide(&place, options.condition)?;
        let existing = target.identity();
        let mut resume = None;
        if options.resumable && known.is_some_and(|known| known > INLINE_MAX.max(transfer.tuning().frames * 16 * 1024))
        {
            let journal = transfer
                .home()
                .map(|home| journal_place(bucket.client(), home, bucket.id, place.directory.id, &place.name));
            if let Some(journal) = journal {
                resume = Resume::open(bucket, journal, existing.clone()).await?;
            }
        }
        let file = match (&resume, existing) {
            (Some(resume), _) => resume.file().clone(),
            (None, Some(existing)) => existing,
            (None, None) => FileIdentity::draw(bucket),
        };
        let txn = resume.as_ref().map_or_else(TxnId::now, Resume::txn);
        if let Some(staged) = resume.as_ref().map(Resume::staged_bytes).filter(|staged| *staged > 0) {
            progress.notice(&format!("{} goes on after {staged} bytes", shown(&place.name)));
        }
        let stages = resume.is_none() && known.is_none_or(|known| known > INLINE_MAX);
        let under_way = stages.then(|| self.under_way(txn));
        let resumes = resume.as_ref().is_some_and(|resume| resume.staged_bytes() > 0);
        let reading = || Error::local(shown(&place.name));
        let watched = if options.steady { source.watched().map_err(reading())? } else { None };
        let feed = Feed::new(source, shown(&place.name));
        let sending = SendOptions { all_shards: options.all_shards, progress, txn, resume: resume.as_mut() };
        let sent = match self.send(&file.key, feed, known, sending).await {
            Ok(content) => match watched.map_or(Ok(true), |watched| watched.is_steady()) {
                Ok(true) => self.commit(place, target, file, content, options).await,
                Ok(false) => Err(Error::Changing(shown(&place.name))),
                Err(error) => Err(reading()(error)),
            },
            Err(error) => Err(error),
        };
        match (&sent, resume) {
            (Ok(_), Some(resume)) => {
                if resumes {
                    // Blobs of an earlier run that are not the file's bytes any more.
                    self.abort_staged(txn).await;
                }
                resume.complete()?;
            }
            (Err(error), Some(mut resume)) if error.code() == ErrorCode::Restage => resume.restart()?,
            (Err(_), None) if stages => self.abort_staged(txn).await,
            _ => {}
        }
        if let Some(under_way) = under_way {
            under_way.over();
        }
        sent
    }

    /// Forgets what an interrupted upload to this place left behind. Whether there was anything.
    ///
    /// # Errors
    /// [`Error::Conflict`] while the upload is running; network errors.
    pub async fn abort(&self, directory: &Directory, name: &[u8]) -> Result<bool> {
        let bucket = &self.shared.bucket;
        let Some(home) = self.shared.transfer.home() else { return Ok(false) };
        let journal = journal_place(bucket.client(), home, bucket.id, directory.id, name);
        Resume::abort(bucket.client(), journal, bucket.id).await
    }

    /// Commits content and decides lost races. Nothing that was sent is sent again.
    async fn commit(
        &self,
        mut place: Place,
        mut target: Target,
        mut file: FileIdentity,
        mut content: Content,
        options: &PutOptions,
    ) -> Result<Put> {
        let wanted_name = place.name.clone();
        let mut conflict_names = 0;
        for _ in 0..DECISIONS + CONFLICT_NAMES {
            let (mutation, commit) = self.mutation(&place, &target, &file, &content, options)?;
            let result = self.shared.bucket.apply(vec![mutation]).await?.pop();
            let error = match self.settle(result, &commit, &place.name)? {
                Settled::Done => {
                    content.settle();
                    return Ok(Put {
                        inode: file.inode,
                        version: commit.version,
                        size: content.size,
                        name: place.name,
                        segments: std::mem::take(&mut content.outcomes),
                        warning: content.warning.take(),
                    });
                }
                Settled::Lost(error) => error,
            };
            let lost_copy_name = conflict_names > 0 && error.code() == ErrorCode::AlreadyExists;
            if is_stale(&error) {
                place.directory = self.shared.bucket.renewed_directory(place.directory.id).await?;
            }
            if conflict_names == 0 {
                place.found = self.shared.bucket.lookup_one(&place.directory, &place.name).await?;
                target = decide_again(&place, &target, options)?;
            }
            if let OnConflict::KeepBoth(label) = &options.on_conflict
                && (lost_copy_name || (conflict_names == 0 && target.identity().is_some()))
                && !matches!(options.condition, Condition::IfVersion(_))
            {
                conflict_names += 1;
                place.name = conflict_name(&wanted_name, label, conflict_names);
                place.found = None;
                target = Target::New;
            }
            let identity = match target.identity() {
                Some(existing) => existing,
                // An inode id is used once: the lost attempt may have been another file's.
                None => FileIdentity::draw(&self.shared.bucket),
            };
            if identity.inode != file.inode || identity.key != file.key {
                content.rewrap(&file.key, &identity.key)?;
                file = identity;
            }
        }
        Err(Error::Conflict(shown(&wanted_name)))
    }

    /// The mutation that commits content.
    pub(crate) fn mutation(
        &self,
        place: &Place,
        target: &Target,
        file: &FileIdentity,
        content: &Content,
        options: &PutOptions,
    ) -> Result<(pb::Mutation, Commit)> {
        let mtime_ns = options.mtime_ns.unwrap_or_else(clock::unix_nanoseconds);
        let (commit, signed) = content.commit(&self.shared.bucket, file.inode, target.base(), mtime_ns)?;
        let mut operations = Vec::with_capacity(3);
        let operation = |operation| pb::Operation { operation: Some(operation) };
        match target {
            Target::Existing { located, .. } => {
                let old = located.inode.attributes.as_ref().map(|attributes| attributes.mode);
                if let Some(mode) = options.mode.filter(|mode| Some(*mode & 0o7777) != old) {
                    let inode = bytes_of(file.inode);
                    let change = pb::SetAttributes { inode, mode: Some(mode & 0o7777), ..pb::SetAttributes::default() };
                    operations.push(operation(Op::SetAttributes(change)));
                }
            }
            Target::New | Target::Instead(_) => {
                if let Target::Instead(located) = target {
                    operations.push(remove_operation(located, RemoveOptions::default())?);
                }
                let mut attributes = attributes_now(options.mode.unwrap_or(0o644));
                attributes.mtime_ns = mtime_ns;
                let new = self.shared.bucket.prepare_as(
                    file.inode,
                    file.key.clone(),
                    &place.directory,
                    &place.name,
                    NewKind::File,
                    attributes,
                )?;
                operations.push(new.operation);
            }
        }
        operations.push(operation(Op::Commit(commit)));
        Ok((mutation(operations), signed))
    }

    /// Reads the answer to a mutation made by [`Self::mutation`].
    pub(crate) fn settle(
        &self,
        result: Option<Result<pb::MutationResult>>,
        commit: &Commit,
        name: &[u8],
    ) -> Result<Settled> {
        let result = result.ok_or(IntegrityError::Mismatch("a mutation has no result"))?;
        let error = match result {
            Ok(result) => match &result.fault {
                None => {
                    self.shared.bucket.client().remember(commit, &shown(name))?;
                    return Ok(Settled::Done);
                }
                Some(fault) => fault_error(fault),
            },
            Err(error) => error,
        };
        match error.code() {
            ErrorCode::Conflict
            | ErrorCode::Retry
            | ErrorCode::StaleKey
            | ErrorCode::AlreadyExists
            | ErrorCode::NotFound => Ok(Settled::Lost(error)),
            _ => Err(error),
        }
    }
}

/// What became of a mutation.
pub(crate) enum Settled {
    Done,
    /// Somebody else was faster.
    Lost(Error),
}

/// What the content becomes.
pub(crate) enum Target {
    /// A file that does not exist yet.
    New,
    /// The next version of a file.
    Existing { located: Located, base: u64 },
    /// A new file in the place of something that is no file; that goes to the trash.
    Instead(Located),
}

impl Target {
    pub(crate) fn decide(place: &Place, condition: Condition) -> Result<Self> {
        let name = || shown(&place.name);
        match (&place.found, condition) {
            (None, Condition::IfVersion(_)) => Err(Error::NotFound(name())),
            (None, _) => Ok(Self::New),
            (Some(_), Condition::IfAbsent) => Err(Error::AlreadyExists(name())),
            (Some(located), _) if located.is_directory() => Err(Error::IsDirectory(name())),
            (Some(located), condition) if located.kind() == pb::InodeKind::File => {
                if matches!(condition, Condition::IfVersion(version) if version != located.inode.version) {
                    return Err(Error::Conflict(name()));
                }
                Ok(Self::Existing { located: located.clone(), base: located.inode.version })
            }
            (Some(_), Condition::IfVersion(_)) => Err(Error::Conflict(name())),
            (Some(located), Condition::Replace) => Ok(Self::Instead(located.clone())),
        }
    }

    pub(crate) fn identity(&self) -> Option<FileIdentity> {
        match self {
            Self::Existing { located, .. } => Some(FileIdentity { inode: located.id, key: located.key.clone() }),
            Self::New | Self::Instead(_) => None,
        }
    }

    pub(crate) const fn base(&self) -> u64 {
        match self {
            Self::Existing { base, .. } => *base,
            Self::New | Self::Instead(_) => 0,
        }
    }
}

/// What the content becomes now that something else was there than before.
fn decide_again(place: &Place, before: &Target, options: &PutOptions) -> Result<Target> {
    let now = Target::decide(place, options.condition)?;
    let raced = match (before, &now) {
        (Target::Existing { base, .. }, Target::Existing { base: newer, .. }) => base != newer,
        (Target::New, Target::Existing { .. }) => true,
        _ => false,
    };
    if raced && options.on_conflict == OnConflict::Fail {
        return Err(Error::Conflict(shown(&place.name)));
    }
    Ok(now)
}

/// `name (conflict label)`, before the extension, and no longer than a name may be.
fn conflict_name(name: &[u8], label: &str, number: u32) -> Vec<u8> {
    let suffix = match number {
        1 => format!(" (conflict {label})"),
        number => format!(" (conflict {label} {number})"),
    };
    let dot = name.iter().rposition(|byte| *byte == b'.').filter(|dot| *dot > 0 && name.len() - dot <= 16);
    let (stem, extension) = name.split_at(dot.unwrap_or(name.len()));
    let room = cyx_core::units::NAME_MAX.saturating_sub(suffix.len() + extension.len());
    [&stem[..stem.len().min(room)], suffix.as_bytes(), extension].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_copy_keeps_its_extension_and_fits() {
        let copy = |name: &[u8], number| String::from_utf8(conflict_name(name, "host 2026-11-26", number)).unwrap();
        assert_eq!(copy(b"photo.jpg", 1), "photo (conflict host 2026-11-26).jpg");
        assert_eq!(copy(b"photo.jpg", 3), "photo (conflict host 2026-11-26 3).jpg");
        assert_eq!(copy(b".profile", 1), ".profile (conflict host 2026-11-26)");
        assert_eq!(copy(&[b'a'; 255], 1).len(), 255);
    }

    #[test]
    fn the_worst_segment_decides_what_a_file_survives() {
        use cyx_core::scheme::Scheme;
        let segment = |present| SegmentOutcome { scheme: Scheme::DEFAULT, present };
        let put = Put {
            inode: InodeId([0; 16]),
            version: 1,
            size: 1,
            name: Vec::new(),
            segments: vec![segment(14), segment(12)],
            warning: None,
        };
        assert_eq!((put.survives(), put.missing_shards()), (Some(2), 2));
    }
}
