//! What a caller with a key for one bucket may ask for: the one place where that is checked for gRPC.
//!
//! Every request type says here which bucket it is about, or what it is otherwise; one that says nothing does not compile.

use cyx_core::ids::BucketId;
use cyx_proto::convert;
use cyx_proto::meta::v1 as pb;

use crate::auth::{Caller, Scope};
use crate::error::ApiError;

/// What a request is about.
pub(super) enum About<'a> {
    /// A bucket with this id, as it came.
    Bucket(&'a [u8]),
    /// What the caller may see, and no more: the handler leaves out what is not in its scope.
    Visible,
    /// The account, the network, or leases of the caller's own session.
    Nothing,
    /// The account as a whole: not for a key that is for one bucket.
    Account,
}

/// A request of the service.
pub(super) trait Scoped {
    fn about(&self) -> About<'_>;
}

macro_rules! about {
    ($($request:ident: $kind:ident $(($field:ident))?;)*) => {
        $(impl Scoped for pb::$request {
            fn about(&self) -> About<'_> {
                About::$kind $((&self.$field))?
            }
        })*
    };
}

about! {
    CreateBucketRequest: Account;
    ListBucketsRequest: Visible;
    DeleteBucketRequest: Account;
    GetWritersRequest: Bucket(bucket);
    AppendWriterRequest: Account;
    RotateBucketRequest: Account;
    LookupRequest: Bucket(bucket);
    ReadDirectoryRequest: Bucket(bucket);
    GetInodesRequest: Bucket(bucket);
    GetPathRequest: Bucket(bucket);
    GetFileRequest: Bucket(bucket);
    GetFilesRequest: Bucket(bucket);
    GetPagesRequest: Bucket(bucket);
    GetBlobsRequest: Bucket(bucket);
    ApplyRequest: Bucket(bucket);
    LeasePlacementRequest: Bucket(bucket);
    ReleaseLeaseRequest: Nothing;
    GetReadAccessRequest: Bucket(bucket);
    StageRequest: Bucket(bucket);
    GetStagedRequest: Bucket(bucket);
    AbortStagedRequest: Bucket(bucket);
    ListTrashRequest: Bucket(bucket);
    GetQuotaRequest: Nothing;
    GetClusterRequest: Nothing;
    AcquireWriteLeaseRequest: Bucket(bucket);
    RenewWriteLeaseRequest: Bucket(bucket);
    ReleaseWriteLeaseRequest: Bucket(bucket);
    SubscribeRequest: Visible;
}

/// Refuses what is outside the caller's scope.
///
/// # Errors
/// `NOT_FOUND` for another bucket, as if it did not exist; `PERMISSION_DENIED` for what concerns the whole account.
pub(super) fn check(caller: &Caller, request: &impl Scoped) -> Result<(), ApiError> {
    if caller.scope == Scope::Account {
        return Ok(());
    }
    match request.about() {
        About::Bucket(id) => caller.require_bucket(convert::id::<BucketId>(id, "bucket")?),
        About::Visible | About::Nothing => Ok(()),
        About::Account => Err(ApiError::denied("this key is for one bucket only")),
    }
}
