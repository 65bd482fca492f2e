//! Names, inodes, files, trash.

use std::ops::Range;
use std::time::Duration;

use cyx_core::extent::{OFFSET_MAX, PageId};
use cyx_core::ids::{BlobId, BucketId, InodeId, TrashId};
use cyx_proto::convert;
use cyx_proto::meta::v1 as pb;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{MetaServer, Parts, too_many};
use crate::auth::Caller;
use crate::db::{DbError, ReadTx};
use crate::error::ApiError;
use crate::tree::model::{BucketRow, EntryRow, InodeRow, Token};
use crate::tree::rekey::{self, require_newest};
use crate::tree::{file, read, request, trash};

/// How long an answer in parts waits for a client that does not read: its snapshot must not live for ever.
const PATIENCE: Duration = Duration::from_secs(60);
/// Parts that wait for a slow client.
const WAITING: usize = 4;
/// Trash entries of one message.
const TRASH_PAGE: i64 = 500;
/// Bytes of one message, about: one of a full page of the largest rows could not be sent.
const PART_BYTES: usize = 16 * 1024 * 1024;

impl MetaServer {
    pub(super) async fn look_up(
        &self,
        caller: &Caller,
        question: pb::LookupRequest,
    ) -> Result<pb::LookupResponse, ApiError> {
        if question.names.len() > read::LOOKUP_MAX {
            return Err(too_many("names", read::LOOKUP_MAX));
        }
        let directory: InodeId = convert::id(&question.directory, "directory")?;
        let names = question.names.into_iter().map(|name| request::names(name.tokens, "names"));
        let names: Vec<Vec<Token>> = names.collect::<Result<_, _>>()?;
        let (mut read, bucket) = self.open(caller, convert::id(&question.bucket, "bucket")?).await?;
        let answers = read::lookup(&mut read, bucket.id, directory, &names).await?;
        Ok(pb::LookupResponse { answers })
    }

    pub(super) async fn list_directory(
        &self,
        caller: &Caller,
        question: pb::ReadDirectoryRequest,
    ) -> Result<Parts<pb::ReadDirectoryResponse>, ApiError> {
        let directory: InodeId = convert::id(&question.directory, "directory")?;
        let after = question.after.map(|after| request::token(after, "after")).transpose()?;
        let (mut read, bucket) = self.open(caller, convert::id(&question.bucket, "bucket")?).await?;
        let row = read::directory(&mut read, bucket.id, directory).await?;
        if question.key_epoch != 0 {
            require_newest(&row, question.key_epoch)?;
        }
        let limit = if question.limit == 0 { u32::MAX } else { question.limit };
        let (sender, receiver) = mpsc::channel(WAITING);
        tokio::spawn(async move {
            let listing = Listing { bucket, directory, after, limit };
            if let Err(error) = listing.send(read, &sender).await {
                let _ = sender.send(Err(ApiError::from(error).into())).await;
            }
        });
        Ok(Box::pin(ReceiverStream::new(receiver)))
    }

    pub(super) async fn inodes(
        &self,
        caller: &Caller,
        question: pb::GetInodesRequest,
    ) -> Result<pb::GetInodesResponse, ApiError> {
        if question.ids.len() > read::INODES_MAX {
            return Err(too_many("inodes", read::INODES_MAX));
        }
        let ids: Vec<InodeId> = question.ids.iter().map(|id| convert::id(id, "ids")).collect::<Result<_, _>>()?;
        let (mut read, bucket) = self.open(caller, convert::id(&question.bucket, "bucket")?).await?;
        let found = read::inodes_of(&mut read, bucket.id, &ids).await?;
        Ok(pb::GetInodesResponse { inodes: found.iter().map(InodeRow::to_pb).collect() })
    }

    pub(super) async fn path(
        &self,
        caller: &Caller,
        question: pb::GetPathRequest,
    ) -> Result<pb::GetPathResponse, ApiError> {
        let inode: InodeId = convert::id(&question.inode, "inode")?;
        let (mut read, bucket) = self.open(caller, convert::id(&question.bucket, "bucket")?).await?;
        let way = rekey::path(&mut read, bucket.id, bucket.root, inode).await?;
        Ok(pb::GetPathResponse {
            entries: way.iter().map(|(entry, _)| entry.to_pb()).collect(),
            inodes: way.iter().map(|(_, inode)| inode.to_pb()).collect(),
        })
    }

    pub(super) async fn file(
        &self,
        caller: &Caller,
        question: pb::GetFileRequest,
    ) -> Result<pb::GetFileResponse, ApiError> {
        let inode: InodeId = convert::id(&question.inode, "inode")?;
        let range = range_of(question.offset, question.length);
        let (mut read, bucket) = self.open(caller, convert::id(&question.bucket, "bucket")?).await?;
        let found = file::file(&mut read, bucket.id, inode, question.version, range).await?;
        drop(read);
        if question.no_access {
            return Ok(found.answer);
        }
        let length = if question.length == 0 { u64::MAX } else { question.length };
        let nodes = self.first_access(caller, bucket.id, found.nodes, length).await?;
        Ok(pb::GetFileResponse { nodes, ..found.answer })
    }

    pub(super) async fn files(
        &self,
        caller: &Caller,
        question: pb::GetFilesRequest,
    ) -> Result<pb::GetFilesResponse, ApiError> {
        if question.inodes.len() > file::FILES_MAX {
            return Err(too_many("files", file::FILES_MAX));
        }
        let ids = question.inodes.iter().map(|id| convert::id(id, "inodes"));
        let ids: Vec<InodeId> = ids.collect::<Result<_, _>>()?;
        let (mut read, bucket) = self.open(caller, convert::id(&question.bucket, "bucket")?).await?;
        let found = file::files(&mut read, bucket.id, &ids).await?;
        drop(read);
        let nodes = self.first_access(caller, bucket.id, found.nodes, u64::MAX).await?;
        Ok(pb::GetFilesResponse { nodes, ..found.answer })
    }

    pub(super) async fn pages(
        &self,
        caller: &Caller,
        question: pb::GetPagesRequest,
    ) -> Result<pb::GetPagesResponse, ApiError> {
        if question.ids.len() > file::PAGES_MAX {
            return Err(too_many("pages", file::PAGES_MAX));
        }
        let ids = question.ids.iter().map(|id| convert::page_id(id, "ids"));
        let ids: Vec<PageId> = ids.collect::<Result<_, _>>()?;
        let (mut read, bucket) = self.open(caller, convert::id(&question.bucket, "bucket")?).await?;
        Ok(pb::GetPagesResponse { pages: file::pages(&mut read, bucket.id, &ids).await? })
    }

    pub(super) async fn blobs(
        &self,
        caller: &Caller,
        question: pb::GetBlobsRequest,
    ) -> Result<pb::GetBlobsResponse, ApiError> {
        if question.ids.len() > file::BLOBS_MAX {
            return Err(too_many("blobs", file::BLOBS_MAX));
        }
        let ids: Vec<BlobId> = question.ids.iter().map(|id| convert::id(id, "ids")).collect::<Result<_, _>>()?;
        let (mut read, bucket) = self.open(caller, convert::id(&question.bucket, "bucket")?).await?;
        let found = file::locate(&mut read, bucket.id, &ids).await?;
        drop(read);
        let nodes = if question.no_access {
            Vec::new()
        } else {
            self.first_access(caller, bucket.id, found.nodes, u64::MAX).await?
        };
        Ok(pb::GetBlobsResponse {
            blobs: found.blobs.iter().map(crate::tree::model::BlobRow::to_pb).collect(),
            segments: found.segments,
            nodes,
            placements: found.placements,
        })
    }

    pub(super) async fn trash(
        &self,
        caller: &Caller,
        question: pb::ListTrashRequest,
    ) -> Result<Parts<pb::ListTrashResponse>, ApiError> {
        let (read, bucket) = self.open(caller, convert::id(&question.bucket, "bucket")?).await?;
        let (sender, receiver) = mpsc::channel(WAITING);
        tokio::spawn(async move {
            if let Err(error) = send_trash(read, bucket.id, bucket.root, &sender).await {
                let _ = sender.send(Err(ApiError::from(error).into())).await;
            }
        });
        Ok(Box::pin(ReceiverStream::new(receiver)))
    }
}

/// Cuts rows into parts of about [`PART_BYTES`], at least one.
fn parts<T>(rows: Vec<T>, bytes_of: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let (mut parts, mut bytes) = (vec![Vec::new()], 0);
    for row in rows {
        let more = bytes_of(&row);
        match parts.last_mut() {
            Some(part) if part.is_empty() || bytes + more <= PART_BYTES => {
                part.push(row);
                bytes += more;
            }
            _ => {
                parts.push(vec![row]);
                bytes = more;
            }
        }
    }
    parts
}

/// The bytes that a question is about; no length means to the end.
fn range_of(offset: u64, length: u64) -> Range<u64> {
    let end = if length == 0 { OFFSET_MAX } else { offset.saturating_add(length).min(OFFSET_MAX) };
    offset.min(end)..end
}

/// Hands a part to the client. Whether it still listens.
async fn send<T>(sender: &mpsc::Sender<Result<T, Status>>, part: T) -> bool {
    matches!(tokio::time::timeout(PATIENCE, sender.send(Ok(part))).await, Ok(Ok(())))
}

struct Listing {
    bucket: BucketRow,
    directory: InodeId,
    after: Option<Token>,
    limit: u32,
}

impl Listing {
    async fn send(
        self,
        mut read: ReadTx,
        sender: &mpsc::Sender<Result<pb::ReadDirectoryResponse, Status>>,
    ) -> Result<(), DbError> {
        let mut left = self.limit;
        let mut after = self.after;
        let mut wanted = left.min(read::PAGE);
        let mut page = read::page(&mut read, self.bucket.id, self.directory, after.as_ref(), wanted).await?;
        loop {
            let found = u32::try_from(page.len()).unwrap_or(u32::MAX);
            left -= found.min(left);
            let last = found < wanted || left == 0;
            if let Some((entry, _)) = page.last() {
                after = Some(entry.token.clone());
            }
            let sequence = self.bucket.sequence;
            let sending = async {
                let rows = page.iter().map(|(entry, inode)| (EntryRow::to_pb(entry), InodeRow::to_pb(inode))).collect();
                for part in parts(rows, |(entry, inode)| entry.encoded_len() + inode.encoded_len()) {
                    let (entries, inodes) = part.into_iter().unzip();
                    if !send(sender, pb::ReadDirectoryResponse { entries, inodes, sequence }).await {
                        return false;
                    }
                }
                true
            };
            if last {
                sending.await;
                return Ok(());
            }
            wanted = left.min(read::PAGE);
            // Asked for first: the database looks for the next page while this one is made ready.
            let next = read::page(&mut read, self.bucket.id, self.directory, after.as_ref(), wanted);
            let (next, listens) = tokio::join!(next, sending);
            if !listens {
                return Ok(());
            }
            page = next?;
        }
    }
}

async fn send_trash(
    mut read: ReadTx,
    bucket: BucketId,
    root: InodeId,
    sender: &mpsc::Sender<Result<pb::ListTrashResponse, Status>>,
) -> Result<(), DbError> {
    let mut after: Option<TrashId> = None;
    loop {
        let entries = trash::list_pb(&mut read, bucket, root, after, TRASH_PAGE).await?;
        let Some(last) = entries.last() else { return Ok(()) };
        after = Some(TrashId::try_from(&last.id[..]).map_err(|_| DbError::Corrupt("trash.id"))?);
        for entries in parts(entries, pb::TrashEntry::encoded_len) {
            if !send(sender, pb::ListTrashResponse { entries }).await {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_row_is_lost_and_none_is_cut() {
        let rows = vec![PART_BYTES * 2, 1, PART_BYTES - 1, 1, 1];
        assert_eq!(parts(rows, |row| *row), [vec![PART_BYTES * 2], vec![1, PART_BYTES - 1], vec![1, 1]]);
        assert_eq!(parts(Vec::<usize>::new(), |row| *row), [Vec::<usize>::new()]);
    }

    #[test]
    fn no_length_means_to_the_end() {
        assert_eq!(range_of(5, 0), 5..OFFSET_MAX);
        assert_eq!(range_of(5, 2), 5..7);
        assert_eq!(range_of(u64::MAX, u64::MAX), OFFSET_MAX..OFFSET_MAX);
    }
}
