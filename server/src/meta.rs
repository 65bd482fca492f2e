//! The gRPC service for clients: the encrypted tree, transfer, events. The contract is `proto/cyx/meta/v1/meta.proto`.
//!
//! Handlers authenticate, check fields, call [`crate::tree`] and [`crate::placement`] and turn the outcome into messages; the rules
//! themselves are there.
//!
//! | file | what it serves |
//! |---|---|
//! | [`buckets`] | buckets, writer lists, write leases |
//! | [`read`] | names, inodes, files |
//! | [`listing`] | directories and the trash, in parts |
//! | [`write`] | mutations, staging |
//! | [`gather`] | mutations of many callers in one job |
//! | [`transfer`] | leases of placements, read access, quota, cluster |
//! | [`subscribe`] | the stream of changes |
//! | [`scope`] | what keys for one bucket may ask for |

mod buckets;
mod gather;
mod listing;
mod read;
mod scope;
mod subscribe;
mod transfer;
mod write;

#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::sync::Arc;

use cyx_core::error::ErrorCode;
use cyx_core::ids::{AccountId, BucketId};
use cyx_proto::meta::v1 as pb;
use cyx_proto::meta::v1::meta_service_server::{MetaService, MetaServiceServer};
use tokio::sync::Semaphore;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use crate::app::{App, AppState};
use crate::auth::{Caller, Permission, caller_of};
use crate::db::ReadTx;
use crate::error::ApiError;
use crate::tree::model::BucketRow;
use crate::tree::{Actor, TreeError};

use self::gather::Gathering;
use self::scope::Scoped;

/// Most bytes of a request: a batch of a thousand inline files, with room.
const REQUEST_MAX: usize = 64 * 1024 * 1024;

/// The service.
pub struct MetaServer {
    app: AppState,
    gathering: Gathering,
    /// Listings that keep a connection to the database while they wait for their client.
    keepers: Arc<Semaphore>,
}

impl MetaServer {
    /// Serves an app's trees.
    #[must_use]
    pub fn service(app: AppState) -> MetaServiceServer<Self> {
        let gathering = Gathering::new(app.db.clone(), app.changes.clone());
        let keepers = Arc::new(Semaphore::new(app.db.connections() / 2));
        MetaServiceServer::new(Self { app, gathering, keepers })
            .max_decoding_message_size(REQUEST_MAX)
            .max_encoding_message_size(REQUEST_MAX)
    }

    async fn caller<T: Scoped>(&self, request: &Request<T>, permission: Permission) -> Result<Caller, ApiError> {
        let caller = caller_of(&self.app, request).await?;
        caller.require(permission)?;
        scope::check(&caller, request.get_ref())?;
        Ok(caller)
    }

    /// A snapshot, and the bucket in it if the caller may see it.
    async fn open(&self, caller: &Caller, bucket: BucketId) -> Result<(ReadTx, BucketRow), ApiError> {
        open(&self.app, caller.account, bucket).await
    }
}

async fn open(app: &App, account: AccountId, bucket: BucketId) -> Result<(ReadTx, BucketRow), ApiError> {
    let mut read = app.db.read().await?;
    let bucket = crate::tree::buckets::open(&mut read, account, bucket).await?;
    Ok((read, bucket))
}

const fn actor(caller: &Caller) -> Actor {
    Actor { account: caller.account, session: caller.session }
}

impl From<TreeError> for ApiError {
    fn from(error: TreeError) -> Self {
        match error {
            TreeError::Refused(refusal) => Self::new(refusal.code, refusal.message),
            TreeError::Database(error) => error.into(),
        }
    }
}

/// An answer that comes in parts.
type Parts<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn too_many(what: &str, most: usize) -> ApiError {
    ApiError::new(ErrorCode::TooLarge, format!("at most {most} {what} in one call"))
}

/// Answers a request by the method of the same name.
macro_rules! answer {
    ($self:ident.$method:ident($request:ident) as $permission:ident) => {{
        let caller = $self.caller(&$request, Permission::$permission).await?;
        Ok(Response::new($self.$method(&caller, $request.into_inner()).await?))
    }};
}

#[tonic::async_trait]
impl MetaService for MetaServer {
    type ReadDirectoryStream = Parts<pb::ReadDirectoryResponse>;
    type ListTrashStream = Parts<pb::ListTrashResponse>;
    type SubscribeStream = Parts<pb::Event>;

    async fn create_bucket(
        &self,
        request: Request<pb::CreateBucketRequest>,
    ) -> Result<Response<pb::CreateBucketResponse>, Status> {
        answer!(self.make_bucket(request) as StorageWrite)
    }

    async fn list_buckets(
        &self,
        request: Request<pb::ListBucketsRequest>,
    ) -> Result<Response<pb::ListBucketsResponse>, Status> {
        let caller = self.caller(&request, Permission::StorageRead).await?;
        let mut answer = self.all_buckets(&caller, request.into_inner()).await?;
        answer.buckets.retain(|bucket| BucketId::try_from(&bucket.id[..]).is_ok_and(|id| caller.scope.has(id)));
        Ok(Response::new(answer))
    }

    async fn delete_bucket(
        &self,
        request: Request<pb::DeleteBucketRequest>,
    ) -> Result<Response<pb::DeleteBucketResponse>, Status> {
        answer!(self.remove_bucket(request) as StorageWrite)
    }

    async fn get_writers(
        &self,
        request: Request<pb::GetWritersRequest>,
    ) -> Result<Response<pb::GetWritersResponse>, Status> {
        answer!(self.writers(request) as StorageRead)
    }

    async fn append_writer(
        &self,
        request: Request<pb::AppendWriterRequest>,
    ) -> Result<Response<pb::AppendWriterResponse>, Status> {
        answer!(self.add_writer(request) as StorageWrite)
    }

    async fn rotate_bucket(
        &self,
        request: Request<pb::RotateBucketRequest>,
    ) -> Result<Response<pb::RotateBucketResponse>, Status> {
        answer!(self.rotate(request) as StorageWrite)
    }

    async fn get_path(&self, request: Request<pb::GetPathRequest>) -> Result<Response<pb::GetPathResponse>, Status> {
        answer!(self.path(request) as StorageRead)
    }

    async fn lookup(&self, request: Request<pb::LookupRequest>) -> Result<Response<pb::LookupResponse>, Status> {
        answer!(self.look_up(request) as StorageRead)
    }

    async fn read_directory(
        &self,
        request: Request<pb::ReadDirectoryRequest>,
    ) -> Result<Response<Self::ReadDirectoryStream>, Status> {
        answer!(self.list_directory(request) as StorageRead)
    }

    async fn get_inodes(
        &self,
        request: Request<pb::GetInodesRequest>,
    ) -> Result<Response<pb::GetInodesResponse>, Status> {
        answer!(self.inodes(request) as StorageRead)
    }

    async fn get_file(&self, request: Request<pb::GetFileRequest>) -> Result<Response<pb::GetFileResponse>, Status> {
        answer!(self.file(request) as StorageRead)
    }

    async fn get_files(&self, request: Request<pb::GetFilesRequest>) -> Result<Response<pb::GetFilesResponse>, Status> {
        answer!(self.files(request) as StorageRead)
    }

    async fn get_pages(&self, request: Request<pb::GetPagesRequest>) -> Result<Response<pb::GetPagesResponse>, Status> {
        answer!(self.pages(request) as StorageRead)
    }

    async fn get_blobs(&self, request: Request<pb::GetBlobsRequest>) -> Result<Response<pb::GetBlobsResponse>, Status> {
        answer!(self.blobs(request) as StorageRead)
    }

    async fn apply(&self, request: Request<pb::ApplyRequest>) -> Result<Response<pb::ApplyResponse>, Status> {
        answer!(self.apply_batch(request) as StorageWrite)
    }

    async fn lease_placement(
        &self,
        request: Request<pb::LeasePlacementRequest>,
    ) -> Result<Response<pb::LeasePlacementResponse>, Status> {
        answer!(self.lease(request) as StorageWrite)
    }

    async fn release_lease(
        &self,
        request: Request<pb::ReleaseLeaseRequest>,
    ) -> Result<Response<pb::ReleaseLeaseResponse>, Status> {
        answer!(self.end_leases(request) as StorageWrite)
    }

    async fn get_read_access(
        &self,
        request: Request<pb::GetReadAccessRequest>,
    ) -> Result<Response<pb::GetReadAccessResponse>, Status> {
        answer!(self.read_access(request) as StorageRead)
    }

    async fn stage(&self, request: Request<pb::StageRequest>) -> Result<Response<pb::StageResponse>, Status> {
        answer!(self.stage_upload(request) as StorageWrite)
    }

    async fn get_staged(
        &self,
        request: Request<pb::GetStagedRequest>,
    ) -> Result<Response<pb::GetStagedResponse>, Status> {
        answer!(self.staged(request) as StorageWrite)
    }

    async fn abort_staged(
        &self,
        request: Request<pb::AbortStagedRequest>,
    ) -> Result<Response<pb::AbortStagedResponse>, Status> {
        answer!(self.drop_staged(request) as StorageWrite)
    }

    async fn list_trash(
        &self,
        request: Request<pb::ListTrashRequest>,
    ) -> Result<Response<Self::ListTrashStream>, Status> {
        answer!(self.trash(request) as StorageRead)
    }

    async fn get_quota(&self, request: Request<pb::GetQuotaRequest>) -> Result<Response<pb::GetQuotaResponse>, Status> {
        answer!(self.quota(request) as StorageRead)
    }

    async fn get_cluster(
        &self,
        request: Request<pb::GetClusterRequest>,
    ) -> Result<Response<pb::GetClusterResponse>, Status> {
        answer!(self.cluster(request) as StorageRead)
    }

    async fn acquire_write_lease(
        &self,
        request: Request<pb::AcquireWriteLeaseRequest>,
    ) -> Result<Response<pb::WriteLease>, Status> {
        answer!(self.acquire(request) as StorageWrite)
    }

    async fn renew_write_lease(
        &self,
        request: Request<pb::RenewWriteLeaseRequest>,
    ) -> Result<Response<pb::WriteLease>, Status> {
        answer!(self.renew(request) as StorageWrite)
    }

    async fn release_write_lease(
        &self,
        request: Request<pb::ReleaseWriteLeaseRequest>,
    ) -> Result<Response<pb::ReleaseWriteLeaseResponse>, Status> {
        answer!(self.release(request) as StorageWrite)
    }

    async fn subscribe(
        &self,
        request: Request<pb::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let token = crate::auth::bearer(request.metadata().as_ref())?.to_owned();
        let caller = self.caller(&request, Permission::StorageRead).await?;
        Ok(Response::new(self.watch(&caller, token, request.into_inner()).await?))
    }
}
