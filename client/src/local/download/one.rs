//! One file or link down, alone or in a batch.

use std::collections::HashMap;
use std::sync::Arc;

use cyx_core::ids::{InodeId, NodeId};
use cyx_proto::meta::v1 as pb;
use futures_util::StreamExt as _;
use tokio::task::JoinSet;

use super::super::folder::{Folder, Found, is_special};
use crate::error::{Error, Result};
use crate::transfer::coded::{blocking, joined};
use crate::transfer::save::{AT_ONCE, Pace, Whole, save_together};
use crate::transfer::{FileOutcome, FileReader, Progress, SaveOptions, Transfer};
use crate::tree::types::{Bucket, Located};

/// What became of one.
pub(super) struct Done {
    pub(super) path: Vec<u8>,
    pub(super) bytes: u64,
    pub(super) liars: Vec<NodeId>,
    pub(super) special: bool,
    pub(super) result: Result<FileOutcome>,
}

/// One file or link.
pub(super) struct One {
    pub(super) transfer: Transfer,
    pub(super) bucket: Bucket,
    pub(super) folder: Folder,
    pub(super) name: Vec<u8>,
    /// As it is shown.
    pub(super) path: Vec<u8>,
    pub(super) located: Located,
    pub(super) no_clobber: bool,
    pub(super) progress: Arc<dyn Progress>,
}

/// Files of a batch that are read at a time.
const READS: usize = 64;

/// Small files: what is to be known of them is asked for together, and those that are to be written are made durable together.
pub(super) async fn all_of(batch: Vec<One>, pace: Arc<Pace>) -> Result<Vec<Done>> {
    let begun = blocking(move || {
        let begin = |one: One| {
            let found = one.looking().look();
            (one, found)
        };
        Ok(batch.into_iter().map(begin).collect::<Vec<_>>())
    });
    let begun = begun.await?;
    let mut readers = open_together(&begun).await;
    let mut jobs = JoinSet::new();
    let mut all = Vec::with_capacity(begun.len());
    let mut together = Vec::new();
    let allowed = pace.allows(readers.len());
    for (one, found) in begun {
        match (found, readers.remove(&one.located.id)) {
            (Ok(None), Some(Ok(reader))) if allowed && reader.size() <= AT_ONCE => together.push((one, reader)),
            begun => drop(jobs.spawn(one.done(Some(begun)))),
        }
    }
    if !together.is_empty() {
        all.extend(write_together(together, pace).await?);
    }
    while let Some(done) = jobs.join_next().await {
        all.push(joined(done.map(Ok))?);
    }
    Ok(all)
}

/// Reads files and writes them.
async fn write_together(files: Vec<(One, FileReader)>, pace: Arc<Pace>) -> Result<Vec<Done>> {
    let reads = files.into_iter().map(|(one, reader)| async move {
        one.progress.begins(&one.path, Some(one.located.inode.size));
        let content = reader.read_range(0..reader.size()).await;
        (one, reader.liars(), content)
    });
    let mut reads = futures_util::stream::iter(reads).buffer_unordered(READS);
    let (mut done, mut read, mut wholes) = (Vec::new(), Vec::new(), Vec::new());
    while let Some((one, liars, content)) = reads.next().await {
        match content {
            Ok(content) => {
                let options = one.options();
                wholes.push(Whole { folder: one.folder.clone(), name: one.name.clone(), content, options });
                read.push((one, liars));
            }
            Err(error) => done.push(one.ends(liars, Err(error))),
        }
    }
    let saved = blocking(move || {
        let saved = save_together(&wholes, &pace);
        Ok(wholes.into_iter().map(|whole| whole.content.len() as u64).zip(saved).collect::<Vec<_>>())
    });
    for ((one, liars), (bytes, saved)) in read.into_iter().zip(saved.await?) {
        if saved.is_ok() {
            one.progress.bytes(bytes);
        }
        done.push(one.ends(liars, saved.map(|()| FileOutcome::Done)));
    }
    Ok(done)
}

/// Readers of those files that are wanted, as far as one answer has them; each of the others is asked for by itself, and says what is wrong if
/// something is.
async fn open_together(begun: &[(One, Result<Option<FileOutcome>>)]) -> HashMap<InodeId, Result<FileReader>> {
    let wanted: Vec<&Located> =
        begun.iter().filter(|(_, found)| matches!(found, Ok(None))).map(|(one, _)| &one.located).collect();
    match begun.first() {
        Some((one, _)) if wanted.len() > 1 => one.transfer.open_many(&one.bucket, &wanted).await.unwrap_or_default(),
        _ => HashMap::new(),
    }
}

/// A question about what stands here where a file or link is to be.
struct Looking {
    folder: Folder,
    name: Vec<u8>,
    no_clobber: bool,
    /// What would be there if it were here already; `None` for a link.
    same: Option<Found>,
}

impl Looking {
    /// What becomes of the file or link at once; `None` if it is to be written.
    fn look(&self) -> Result<Option<FileOutcome>> {
        let found = self.folder.find(&self.name)?;
        match found {
            Some(_) if self.no_clobber => Ok(Some(FileOutcome::Skipped("it exists".to_owned()))),
            Some(Found::Folder) => Err(Error::IsDirectory(self.folder.path_of(&self.name).display().to_string())),
            Some(Found::Special) => {
                let path = self.folder.path_of(&self.name);
                Err(Error::invalid(format!("{} is neither a file nor a link", path.display())))
            }
            Some(found) if Some(found) == self.same => Ok(Some(FileOutcome::Unchanged)),
            _ => Ok(None),
        }
    }
}

/// What is known of a file before: what its name stands for here, and a reader of it.
type Begun = (Result<Option<FileOutcome>>, Option<Result<FileReader>>);

impl One {
    pub(super) async fn done(self, begun: Option<Begun>) -> Done {
        self.progress.begins(&self.path, Some(self.located.inode.size));
        let mut liars = Vec::new();
        let result = self.run(begun, &mut liars).await;
        self.ends(liars, result)
    }

    fn ends(self, liars: Vec<NodeId>, result: Result<FileOutcome>) -> Done {
        let special = self.located.inode.attributes.is_some_and(|attributes| is_special(attributes.mode));
        Done { bytes: self.located.inode.size, path: self.path, liars, special, result }
    }

    fn options(&self) -> SaveOptions {
        let attributes = self.located.inode.attributes.unwrap_or_default();
        SaveOptions {
            no_clobber: self.no_clobber,
            mode: Some(attributes.mode),
            mtime_ns: Some(attributes.mtime_ns),
            resumable: true,
        }
    }

    fn looking(&self) -> Looking {
        let mtime_ns = self.located.inode.attributes.unwrap_or_default().mtime_ns;
        let same = Found::File { size: self.located.inode.size, mtime_ns };
        Looking {
            folder: self.folder.clone(),
            name: self.name.clone(),
            no_clobber: self.no_clobber,
            same: (self.located.kind() == pb::InodeKind::File).then_some(same),
        }
    }

    async fn run(&self, begun: Option<Begun>, liars: &mut Vec<NodeId>) -> Result<FileOutcome> {
        let (found, reader) = match begun {
            Some(begun) => begun,
            None => {
                let looking = self.looking();
                (blocking(move || looking.look()).await, None)
            }
        };
        if let Some(outcome) = found? {
            return Ok(outcome);
        }
        if self.located.kind() == pb::InodeKind::Symlink {
            let (folder, name, target) = (self.folder.clone(), self.name.clone(), self.located.link_target()?);
            let mtime_ns = self.located.inode.attributes.map(|attributes| attributes.mtime_ns);
            return blocking(move || {
                if folder.links_to(&name, &target) {
                    return Ok(FileOutcome::Unchanged);
                }
                folder.link(&name, &target, mtime_ns)?;
                Ok(FileOutcome::Done)
            })
            .await;
        }
        let reader = match reader {
            Some(reader) => reader?,
            None => self.transfer.open(&self.bucket, &self.located).await?,
        };
        let saved = reader.save(&self.folder, &self.name, self.options(), &*self.progress).await;
        *liars = reader.liars();
        saved.map(|()| FileOutcome::Done)
    }
}
