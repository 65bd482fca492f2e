//! The metadata part of the fake gateway: as much of a tree as the tests need, without any of the server's checks.

use std::pin::Pin;

use bytes::Bytes;
use cyx_core::error::ErrorCode;
use cyx_core::extent::Page;
use cyx_core::writers::WriterEntry;
use cyx_proto::meta::v1 as pb;
use cyx_proto::meta::v1::meta_service_server::{MetaService, MetaServiceServer};
use cyx_proto::meta::v1::operation::Operation as Op;
use cyx_proto::status::{INCARNATION_KEY, status};
use futures_util::Stream;
use futures_util::StreamExt as _;
use prost::Message as _;
use tokio::sync::mpsc::UnboundedReceiver;
use tonic::{Request, Response, Status};

use super::{Shared, State};

pub fn service(state: Shared) -> MetaServiceServer<Fake> {
    MetaServiceServer::new(Fake { state }).max_decoding_message_size(64 << 20).max_encoding_message_size(64 << 20)
}

/// When directories change, in Unix nanoseconds.
const MADE_AT: i64 = 1_600_000_000_000_000_000;

pub struct Fake {
    state: Shared,
}

/// What a test sends while a stream stands.
async fn next<T>(mut more: UnboundedReceiver<T>) -> Option<(Result<T, Status>, UnboundedReceiver<T>)> {
    Some((Ok(more.recv().await?), more))
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Fake {
    fn call<Q, A>(
        &self,
        name: &'static str,
        request: Request<Q>,
        work: impl FnOnce(&mut State, Q) -> Result<A, Status>,
    ) -> Result<Response<A>, Status> {
        let mut state = self.state.lock().unwrap();
        *state.calls.entry(name).or_default() += 1;
        if state.unavailable > 0 {
            state.unavailable -= 1;
            return Err(Status::unavailable("away"));
        }
        let bearer = request.metadata().get("authorization").and_then(|value| value.to_str().ok()).map(str::to_owned);
        state.authorised(bearer.as_deref()).map_err(|code| status(code, "refused"))?;
        let answer = work(&mut state, request.into_inner())?;
        if state.lost_answers > 0 {
            state.lost_answers -= 1;
            return Err(Status::unavailable("the answer is lost"));
        }
        let mut response = Response::new(answer);
        response.metadata_mut().insert(INCARNATION_KEY, state.incarnation.parse().unwrap());
        Ok(response)
    }
}

impl State {
    fn find(&self, directory: &Bytes, names: &[pb::NameToken]) -> Option<usize> {
        self.entries.iter().position(|entry| {
            entry.directory == *directory && entry.name.as_ref().is_some_and(|name| names.contains(name))
        })
    }

    fn apply(&mut self, mutation: pb::Mutation) -> pb::MutationResult {
        if let Some(done) = self.done.get(&mutation.txn) {
            return pb::MutationResult { replayed: true, ..done.clone() };
        }
        let before = (self.inodes.clone(), self.entries.clone(), self.versions.clone(), self.trash.clone());
        let mut result = pb::MutationResult::default();
        for (at, operation) in mutation.operations.into_iter().enumerate() {
            match self.operate(operation.operation.unwrap()) {
                Ok(done) => result.operations.push(done),
                Err(code) => {
                    result.fault = Some(pb::Fault { code: code.as_str().into(), message: code.as_str().into() });
                    result.operation = u32::try_from(at).unwrap();
                    (self.inodes, self.entries, self.versions, self.trash) = before;
                    return result;
                }
            }
        }
        self.done.insert(mutation.txn, result.clone());
        result
    }

    fn operate(&mut self, operation: Op) -> Result<pb::OperationResult, ErrorCode> {
        match operation {
            Op::Create(create) => {
                if self.find(&create.directory, &create.names).is_some() {
                    return Err(ErrorCode::AlreadyExists);
                }
                let inode = pb::Inode {
                    id: create.inode.clone(),
                    kind: create.kind,
                    attributes: create.attributes,
                    nlink: 1,
                    root_page: vec![0; 32].into(),
                    sealed_target: create.sealed_target,
                    ..pb::Inode::default()
                };
                self.inodes.insert(create.inode.clone(), inode);
                let above = self.inodes.get_mut(&create.directory).and_then(|above| above.attributes.as_mut());
                above.into_iter().for_each(|above| above.mtime_ns = MADE_AT);
                self.entries.push(pb::Entry {
                    directory: create.directory,
                    name: create.names.last().cloned(),
                    child: create.inode,
                    kind: create.kind,
                    wrapped_key: create.wrapped_key,
                    version: 1,
                });
            }
            Op::Commit(commit) => {
                let inode = self.inodes.get_mut(&commit.inode).ok_or(ErrorCode::NotFound)?;
                if inode.version != commit.base_version {
                    return Err(ErrorCode::Conflict);
                }
                self.storage.take(&commit.segments, &commit.blobs, &commit.receipts, &commit.staged)?;
                if let Some(attributes) = &mut inode.attributes {
                    attributes.mtime_ns = commit.mtime_ns;
                }
                inode.version += 1;
                inode.size = commit.size;
                inode.root_page = commit.root_page.clone();
                let record = pb::VersionRecord {
                    version: inode.version,
                    base: commit.base_version,
                    size: commit.size,
                    root_page: commit.root_page,
                    writer: commit.writer,
                    signature: commit.signature,
                    committed_ns: 1,
                    sequence: 0,
                };
                self.versions.insert(commit.inode, record);
                self.pages.extend(commit.pages.into_iter().map(|page| (page.id.clone(), page)));
            }
            Op::SetAttributes(change) => {
                let inode = self.inodes.get_mut(&change.inode).ok_or(ErrorCode::NotFound)?;
                if let Some(attributes) = &mut inode.attributes {
                    attributes.mode = change.mode.unwrap_or(attributes.mode);
                    attributes.mtime_ns = change.mtime_ns.unwrap_or(attributes.mtime_ns);
                }
            }
            Op::Rename(rename) => {
                let at = self.find(&rename.directory, &rename.names).ok_or(ErrorCode::NotFound)?;
                let expected = rename.expected.unwrap();
                if self.entries[at].child != expected.child || self.entries[at].version != expected.entry_version {
                    return Err(ErrorCode::Retry);
                }
                let there = self.find(&rename.new_directory, &rename.new_names);
                if there.map(|at| &self.entries[at].child) != rename.replaced.as_ref().map(|replaced| &replaced.child) {
                    return Err(ErrorCode::Retry);
                }
                let mut moved = self.entries[at].clone();
                moved.directory = rename.new_directory;
                moved.name = rename.new_names.last().cloned();
                moved.wrapped_key = rename.new_wrapped_key;
                moved.version += 1;
                let gone: Vec<usize> = std::iter::once(at).chain(there).collect();
                let mut number = 0;
                self.entries.retain(|_| {
                    number += 1;
                    !gone.contains(&(number - 1))
                });
                self.entries.push(moved);
            }
            Op::Unlink(unlink) => {
                let at = self.find(&unlink.directory, &unlink.names).ok_or(ErrorCode::NotFound)?;
                let entry = self.entries.remove(at);
                let inode = self.inodes.get(&entry.child).cloned();
                let id = Bytes::copy_from_slice(&entry.child);
                let entry = pb::TrashEntry { id: id.clone(), entry: Some(entry), inode, ..pb::TrashEntry::default() };
                self.trash.push(entry);
                return Ok(pb::OperationResult { trash: id, ..pb::OperationResult::default() });
            }
            Op::TrashRestore(restore) => {
                let at = self.trash.iter().position(|entry| entry.id == restore.trash).ok_or(ErrorCode::NotFound)?;
                let mut entry = self.trash.remove(at).entry.unwrap();
                if let Some(name) = restore.names.last() {
                    entry.name = Some(name.clone());
                    entry.wrapped_key = restore.wrapped_key;
                }
                self.entries.push(entry);
            }
            Op::Rekey(rekey) => {
                for edge in rekey.edges {
                    let at = self.find(&edge.directory, edge.name.as_slice()).ok_or(ErrorCode::Retry)?;
                    self.entries[at].name = edge.new_name;
                    self.entries[at].wrapped_key = edge.wrapped_key;
                    self.entries[at].version += 1;
                }
                let inode = self.inodes.get_mut(&rekey.inode).ok_or(ErrorCode::Retry)?;
                inode.key_epoch = rekey.epoch;
                if !rekey.key_history.is_empty() {
                    inode.key_history = rekey.key_history;
                }
            }
            Op::TrashPurge(purge) => self.trash.retain(|entry| !purge.trash.contains(&entry.id)),
            _ => return Err(ErrorCode::InvalidArgument),
        }
        Ok(pb::OperationResult::default())
    }
}

#[tonic::async_trait]
impl MetaService for Fake {
    async fn create_bucket(
        &self,
        request: Request<pb::CreateBucketRequest>,
    ) -> Result<Response<pb::CreateBucketResponse>, Status> {
        self.call("create_bucket", request, |state, bucket| {
            if bucket.account_key_epoch != state.account_epoch {
                return Err(status(ErrorCode::StaleKey, "a newer account key"));
            }
            if state.buckets.iter().any(|other| other.name_token == bucket.name_token) {
                return Err(status(ErrorCode::AlreadyExists, "taken"));
            }
            let entry = WriterEntry::read_unchecked(&bucket.first_writer).unwrap();
            let owner_key = Bytes::copy_from_slice(&entry.key);
            let root = pb::Inode {
                id: bucket.root.clone(),
                kind: pb::InodeKind::Directory.into(),
                attributes: bucket.root_attributes,
                ..pb::Inode::default()
            };
            state.inodes.insert(bucket.root.clone(), root);
            state.writers.insert(bucket.id.clone(), vec![bucket.first_writer]);
            let row = pb::Bucket {
                id: bucket.id,
                root: bucket.root,
                name_token: bucket.name_token,
                sealed_name: bucket.sealed_name,
                wrapped_root_key: bucket.wrapped_root_key,
                owner: Bytes::copy_from_slice(&state.account.0),
                owner_key,
                durable: bucket.durable,
                ..pb::Bucket::default()
            };
            state.buckets.push(row.clone());
            Ok(pb::CreateBucketResponse { bucket: Some(row) })
        })
    }

    async fn list_buckets(
        &self,
        request: Request<pb::ListBucketsRequest>,
    ) -> Result<Response<pb::ListBucketsResponse>, Status> {
        self.call("list_buckets", request, |state, asked| {
            let wanted = |bucket: &&pb::Bucket| asked.name_token.is_empty() || bucket.name_token == asked.name_token;
            let mut buckets: Vec<pb::Bucket> = state.buckets.iter().filter(wanted).cloned().collect();
            for bucket in buckets.iter_mut().filter(|_| asked.with_writers) {
                bucket.writers = state.writers.get(&bucket.id).cloned().unwrap_or_default();
            }
            Ok(pb::ListBucketsResponse { buckets, account_key_epoch: state.account_epoch })
        })
    }

    async fn delete_bucket(
        &self,
        request: Request<pb::DeleteBucketRequest>,
    ) -> Result<Response<pb::DeleteBucketResponse>, Status> {
        self.call("delete_bucket", request, |state, asked| {
            state.buckets.retain(|bucket| bucket.id != asked.id);
            Ok(pb::DeleteBucketResponse {})
        })
    }

    async fn get_writers(
        &self,
        request: Request<pb::GetWritersRequest>,
    ) -> Result<Response<pb::GetWritersResponse>, Status> {
        self.call("get_writers", request, |state, asked| {
            Ok(pb::GetWritersResponse { entries: state.writers.get(&asked.bucket).cloned().unwrap_or_default() })
        })
    }

    async fn append_writer(
        &self,
        request: Request<pb::AppendWriterRequest>,
    ) -> Result<Response<pb::AppendWriterResponse>, Status> {
        self.call("append_writer", request, |state, asked| {
            state.writers.entry(asked.bucket).or_default().push(asked.entry);
            Ok(pb::AppendWriterResponse {})
        })
    }

    async fn lookup(&self, request: Request<pb::LookupRequest>) -> Result<Response<pb::LookupResponse>, Status> {
        self.call("lookup", request, |state, asked| {
            state.lookups.insert(asked.encode_to_vec());
            let answer = |question: &pb::NameQuestion| match state.find(&asked.directory, &question.tokens) {
                None => pb::LookupAnswer::default(),
                Some(at) => pb::LookupAnswer {
                    entry: Some(state.entries[at].clone()),
                    inode: state.inodes.get(&state.entries[at].child).cloned(),
                },
            };
            let answer = pb::LookupResponse { answers: asked.names.iter().map(answer).collect() };
            if answer.encoded_len() > state.answer_max.unwrap_or(usize::MAX) {
                return Err(status(ErrorCode::TooLarge, "too much at once"));
            }
            Ok(answer)
        })
    }

    type ReadDirectoryStream = Answers<pb::ReadDirectoryResponse>;

    async fn read_directory(
        &self,
        request: Request<pb::ReadDirectoryRequest>,
    ) -> Result<Response<Self::ReadDirectoryStream>, Status> {
        self.call("read_directory", request, |state, asked| {
            let mut entries: Vec<_> =
                state.entries.iter().filter(|entry| entry.directory == asked.directory).cloned().collect();
            entries.sort_by(|a, b| token(a).cmp(token(b)));
            if let Some(after) = &asked.after {
                entries.retain(|entry| token(entry) > &after.name);
            }
            let cut = state.break_listing_after.filter(|most| entries.len() > *most);
            entries.truncate(cut.unwrap_or(usize::MAX));
            let messages: Vec<_> = entries
                .chunks(100)
                .map(|part| {
                    let inodes = part.iter().map(|entry| state.inodes[&entry.child].clone()).collect();
                    Ok(pb::ReadDirectoryResponse { entries: part.to_vec(), inodes, sequence: 7 })
                })
                .chain(cut.map(|_| Err(Status::unavailable("broken"))))
                .collect();
            Ok(stream_of(messages))
        })
    }

    async fn get_path(&self, request: Request<pb::GetPathRequest>) -> Result<Response<pb::GetPathResponse>, Status> {
        self.call("get_path", request, |state, asked| {
            let (mut entries, mut inodes, mut at) = (Vec::new(), Vec::new(), asked.inode);
            while let Some(entry) = state.entries.iter().find(|entry| entry.child == at) {
                inodes.insert(0, state.inodes[&entry.child].clone());
                entries.insert(0, entry.clone());
                at = entry.directory.clone();
            }
            Ok(pb::GetPathResponse { entries, inodes })
        })
    }

    async fn rotate_bucket(
        &self,
        request: Request<pb::RotateBucketRequest>,
    ) -> Result<Response<pb::RotateBucketResponse>, Status> {
        self.call("rotate_bucket", request, |state, asked| {
            if asked.account_key_epoch != state.account_epoch {
                return Err(status(ErrorCode::StaleKey, "a newer account key"));
            }
            let row = state.buckets.iter_mut().find(|row| row.id == asked.bucket);
            let row = row.ok_or_else(|| status(ErrorCode::NotFound, "no bucket"))?;
            (row.sealed_name, row.wrapped_root_key) = (asked.sealed_name, asked.wrapped_root_key);
            let root = state.inodes.get_mut(&row.root).ok_or_else(|| status(ErrorCode::NotFound, "no root"))?;
            (root.key_epoch, root.key_history) = (asked.epoch, asked.key_history);
            Ok(pb::RotateBucketResponse { sequence: row.sequence })
        })
    }

    async fn get_inodes(
        &self,
        request: Request<pb::GetInodesRequest>,
    ) -> Result<Response<pb::GetInodesResponse>, Status> {
        self.call("get_inodes", request, |state, asked| {
            let inodes = asked.ids.iter().filter_map(|id| state.inodes.get(id).cloned()).collect();
            Ok(pb::GetInodesResponse { inodes })
        })
    }

    async fn get_file(&self, request: Request<pb::GetFileRequest>) -> Result<Response<pb::GetFileResponse>, Status> {
        self.call("get_file", request, |state, asked| {
            let inode = state.inodes.get(&asked.inode).cloned();
            let inode = inode.ok_or_else(|| status(ErrorCode::NotFound, "no such file"))?;
            // A file whose root is a leaf comes with all that is needed.
            let root = state.pages.get(&inode.root_page).and_then(|page| Page::decode(&page.content).ok());
            let blobs: Vec<Bytes> = root.iter().flat_map(Page::blobs).map(|id| Bytes::copy_from_slice(&id.0)).collect();
            let pb::GetBlobsResponse { blobs, segments, mut nodes, placements } = state.storage.blobs_answer(&blobs);
            nodes.retain(|_| !asked.no_access);
            Ok(pb::GetFileResponse {
                blobs,
                segments,
                nodes,
                placements,
                version: state.versions.get(&asked.inode).cloned(),
                pages: state.pages.get(&inode.root_page).cloned().into_iter().collect(),
                inode: Some(inode),
                ..pb::GetFileResponse::default()
            })
        })
    }

    async fn get_files(&self, request: Request<pb::GetFilesRequest>) -> Result<Response<pb::GetFilesResponse>, Status> {
        self.call("get_files", request, |state, asked| {
            let mut answer = pb::GetFilesResponse::default();
            let mut wanted = Vec::new();
            for inode in asked.inodes.iter().filter_map(|id| state.inodes.get(id)) {
                let root = state.pages.get(&inode.root_page).cloned();
                let page = root.as_ref().and_then(|root| Page::decode(&root.content).ok());
                let own: Vec<Bytes> =
                    page.iter().flat_map(Page::blobs).map(|id| Bytes::copy_from_slice(&id.0)).collect();
                wanted.extend_from_slice(&own);
                answer.files.push(pb::FoundFile {
                    version: state.versions.get(&inode.id).cloned(),
                    inode: Some(inode.clone()),
                    root,
                    blobs: state.storage.blobs_answer(&own).blobs,
                    complete: page.is_none_or(|page| page.level() == 0),
                });
            }
            let pb::GetBlobsResponse { segments, nodes, placements, .. } = state.storage.blobs_answer(&wanted);
            Ok(pb::GetFilesResponse { segments, nodes, placements, ..answer })
        })
    }

    async fn get_pages(&self, request: Request<pb::GetPagesRequest>) -> Result<Response<pb::GetPagesResponse>, Status> {
        self.call("get_pages", request, |state, asked| {
            Ok(pb::GetPagesResponse { pages: asked.ids.iter().filter_map(|id| state.pages.get(id).cloned()).collect() })
        })
    }

    async fn apply(&self, request: Request<pb::ApplyRequest>) -> Result<Response<pb::ApplyResponse>, Status> {
        self.call("apply", request, |state, asked| {
            let refused = state.applies_left == Some(0);
            state.applies_left = state.applies_left.map(|left| left.saturating_sub(1));
            if state.refuse_apply || refused {
                return Err(status(ErrorCode::Internal, "nothing is changed now"));
            }
            let results = asked.mutations.into_iter().map(|mutation| state.apply(mutation)).collect();
            Ok(pb::ApplyResponse { results, sequence: 1 })
        })
    }

    type ListTrashStream = Answers<pb::ListTrashResponse>;

    async fn list_trash(
        &self,
        request: Request<pb::ListTrashRequest>,
    ) -> Result<Response<Self::ListTrashStream>, Status> {
        self.call("list_trash", request, |state, _| {
            Ok(stream_of(vec![Ok(pb::ListTrashResponse { entries: state.trash.clone() })]))
        })
    }

    type SubscribeStream = Answers<pb::Event>;

    async fn subscribe(
        &self,
        request: Request<pb::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let way = self.state.lock().unwrap().way_of_subscriptions;
        tokio::time::sleep(way).await;
        self.call("subscribe", request, |state, asked| {
            state.subscriptions.push(asked.from);
            let mut events: Vec<_> = std::mem::take(&mut state.events).into_iter().map(Ok).collect();
            events.extend(state.end_of_subscription.take().map(|code| Err(status(code, "as the test wants it"))));
            // The first stream ends behind its events; what was not sent comes on the next one.
            let rest: Answers<pb::Event> = stream_of(events);
            let more = state.more_events.take();
            Ok(match more {
                Some(more) => rest.chain(futures_util::stream::unfold(more, next)).boxed(),
                None if state.subscriptions.len() > 1 => rest.chain(futures_util::stream::pending()).boxed(),
                None => rest,
            })
        })
    }

    async fn get_quota(&self, request: Request<pb::GetQuotaRequest>) -> Result<Response<pb::GetQuotaResponse>, Status> {
        self.call("get_quota", request, |_, _| Ok(pb::GetQuotaResponse { quota: Some(pb::Quota::default()) }))
    }

    async fn get_cluster(
        &self,
        request: Request<pb::GetClusterRequest>,
    ) -> Result<Response<pb::GetClusterResponse>, Status> {
        self.call("get_cluster", request, |_, _| Ok(pb::GetClusterResponse::default()))
    }

    async fn get_blobs(&self, request: Request<pb::GetBlobsRequest>) -> Result<Response<pb::GetBlobsResponse>, Status> {
        self.call("get_blobs", request, |state, asked| {
            let mut answer = state.storage.blobs_answer(&asked.ids);
            answer.nodes.retain(|_| !asked.no_access);
            Ok(answer)
        })
    }

    async fn lease_placement(
        &self,
        request: Request<pb::LeasePlacementRequest>,
    ) -> Result<Response<pb::LeasePlacementResponse>, Status> {
        self.call("lease_placement", request, |state, asked| state.storage.lease(&asked))
    }

    async fn release_lease(
        &self,
        request: Request<pb::ReleaseLeaseRequest>,
    ) -> Result<Response<pb::ReleaseLeaseResponse>, Status> {
        self.call("release_lease", request, |state, asked| {
            state.storage.release(&asked.leases);
            Ok(pb::ReleaseLeaseResponse {})
        })
    }

    async fn get_read_access(
        &self,
        request: Request<pb::GetReadAccessRequest>,
    ) -> Result<Response<pb::GetReadAccessResponse>, Status> {
        self.call("get_read_access", request, |state, asked| {
            state.asked_only.push(asked.asks_only);
            let wanted = |access: &&pb::NodeAccess| asked.nodes.contains(&access.node);
            Ok(pb::GetReadAccessResponse { nodes: state.storage.nodes.iter().filter(wanted).cloned().collect() })
        })
    }

    async fn stage(&self, request: Request<pb::StageRequest>) -> Result<Response<pb::StageResponse>, Status> {
        self.call("stage", request, |state, asked| {
            state
                .storage
                .take(&asked.segments, &asked.blobs, &asked.receipts, &[])
                .map_err(|code| status(code, "stage"))?;
            let ids = asked.blobs.iter().map(|blob| blob.id.clone());
            state.storage.staged.entry(asked.txn).or_default().extend(ids);
            Ok(pb::StageResponse {})
        })
    }

    async fn get_staged(
        &self,
        request: Request<pb::GetStagedRequest>,
    ) -> Result<Response<pb::GetStagedResponse>, Status> {
        self.call("get_staged", request, |state, asked| {
            let ids = state.storage.staged.get(&asked.txn).cloned().unwrap_or_default();
            let blobs = ids.iter().filter_map(|id| state.storage.blobs.get(id).cloned()).collect();
            Ok(pb::GetStagedResponse { segments: Vec::new(), blobs })
        })
    }

    async fn abort_staged(
        &self,
        request: Request<pb::AbortStagedRequest>,
    ) -> Result<Response<pb::AbortStagedResponse>, Status> {
        self.call("abort_staged", request, |state, asked| {
            state.storage.staged.remove(&asked.txn);
            Ok(pb::AbortStagedResponse {})
        })
    }

    async fn acquire_write_lease(
        &self,
        _: Request<pb::AcquireWriteLeaseRequest>,
    ) -> Result<Response<pb::WriteLease>, Status> {
        Err(Status::unimplemented("not in this fake"))
    }

    async fn renew_write_lease(
        &self,
        _: Request<pb::RenewWriteLeaseRequest>,
    ) -> Result<Response<pb::WriteLease>, Status> {
        Err(Status::unimplemented("not in this fake"))
    }

    async fn release_write_lease(
        &self,
        _: Request<pb::ReleaseWriteLeaseRequest>,
    ) -> Result<Response<pb::ReleaseWriteLeaseResponse>, Status> {
        Err(Status::unimplemented("not in this fake"))
    }
}

fn token(entry: &pb::Entry) -> &Bytes {
    &entry.name.as_ref().unwrap().name
}

fn stream_of<T: Send + 'static>(messages: Vec<Result<T, Status>>) -> Answers<T> {
    Box::pin(futures_util::stream::iter(messages))
}
