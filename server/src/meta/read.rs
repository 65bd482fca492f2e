//! Names, inodes, files.

use std::ops::Range;

use cyx_core::error::ErrorCode;
use cyx_core::extent::{OFFSET_MAX, PageId};
use cyx_core::ids::{BlobId, InodeId};
use cyx_proto::convert;
use cyx_proto::meta::v1 as pb;
use prost::Message;

use super::{MetaServer, too_many};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::tree::model::{InodeRow, Token};
use crate::tree::{file, read, rekey, request};

/// Most bytes of an answer, which has to fit a message.
const ANSWER_MAX: usize = super::REQUEST_MAX - 1024 * 1024;

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
        sized(pb::LookupResponse { answers })
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
        sized(pb::GetInodesResponse { inodes: found.iter().map(InodeRow::to_pb).collect() })
    }

    pub(super) async fn path(
        &self,
        caller: &Caller,
        question: pb::GetPathRequest,
    ) -> Result<pb::GetPathResponse, ApiError> {
        let inode: InodeId = convert::id(&question.inode, "inode")?;
        let (mut read, bucket) = self.open(caller, convert::id(&question.bucket, "bucket")?).await?;
        let way = rekey::path(&mut read, bucket.id, bucket.root, inode).await?;
        sized(pb::GetPathResponse {
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
}

/// An answer that can be sent; who asked about fewer things gets one.
fn sized<T: Message>(answer: T) -> Result<T, ApiError> {
    if answer.encoded_len() <= ANSWER_MAX {
        return Ok(answer);
    }
    Err(ApiError::new(ErrorCode::TooLarge, "the answer is too large; ask about less in one call"))
}

/// The bytes that a question is about; no length means to the end.
fn range_of(offset: u64, length: u64) -> Range<u64> {
    let end = if length == 0 { OFFSET_MAX } else { offset.saturating_add(length).min(OFFSET_MAX) };
    offset.min(end)..end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_length_means_to_the_end() {
        assert_eq!(range_of(5, 0), 5..OFFSET_MAX);
        assert_eq!(range_of(5, 2), 5..7);
        assert_eq!(range_of(u64::MAX, u64::MAX), OFFSET_MAX..OFFSET_MAX);
    }
}
