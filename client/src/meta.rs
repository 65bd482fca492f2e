//! Calls of the server's metadata service: each one carries a fresh token and a request id, has a deadline, is repeated while
//! the server is away, and comes back with an [`Error`] of this crate.
//!
//! Repeating is safe because everything that changes something names it by an id that the client chose: a mutation by its
//! transaction, a bucket by its id, a stage by its transaction. Small questions are also asked again when their answer is late: see
//! [`Times::repeat_after`].

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cyx_core::error::ErrorCode;
use cyx_proto::connect_error;
use cyx_proto::meta::v1 as pb;
use cyx_proto::meta::v1::meta_service_client::MetaServiceClient;
use cyx_proto::status::{INCARNATION_KEY, READER_KEY, REQUEST_ID_KEY, error_code, retry_after};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::backoff::Backoff;
use crate::config::{Config, Gateway};
use crate::error::{Error, Result, said};
use crate::memory::Memory;
use crate::request_id;
use crate::session::{Session, is_ended};
use crate::times::Times;
use crate::tls;

/// Largest message either way. A batch of 1,024 inline files is 5 MiB.
const MESSAGE_MAX: usize = 64 * 1024 * 1024;
/// A call that takes longer is given up and repeated.
const DEADLINE: Duration = Duration::from_secs(30);
/// For calls that move many rows.
const LONG_DEADLINE: Duration = Duration::from_secs(120);
/// No attempt begins later than this after the first.
const PATIENCE: Duration = Duration::from_secs(90);
/// Attempts of a call while the server is away: about 20 seconds with the pauses between them.
const ATTEMPTS: u32 = 8;

/// Calls the metadata service of one gateway, as one session sees it. Cheap to clone.
#[derive(Clone)]
pub struct MetaClient {
    service: MetaServiceClient<Channel>,
    session: Arc<Session>,
    memory: Arc<Memory>,
    /// Of small questions.
    times: Arc<Times>,
}

/// What is known of a call.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    deadline: Duration,
    /// A question whose answer is small, so that it may be asked again when the answer is late.
    small: bool,
}

macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident($request:ident) -> $response:ident, $deadline:ident $(, $small:ident)?;)*) => {
        impl MetaClient {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// What the server refuses, [`Error::Network`], [`Error::NotLoggedIn`], [`Error::IncarnationChanged`].
                pub async fn $name(&self, request: pb::$request) -> Result<pb::$response> {
                    let small = [$(stringify!($small))?].contains(&"small");
                    let kind = Kind { name: stringify!($name), deadline: $deadline, small };
                    self.call(kind, request, |mut service, request| async move { service.$name(request).await })
                    .await
                }
            )*
        }
    };
}

calls! {
    /// Creates a bucket of an id chosen by the client.
    create_bucket(CreateBucketRequest) -> CreateBucketResponse, DEADLINE;
    /// The caller's buckets.
    list_buckets(ListBucketsRequest) -> ListBucketsResponse, DEADLINE, small;
    /// Deletes a bucket.
    delete_bucket(DeleteBucketRequest) -> DeleteBucketResponse, LONG_DEADLINE;
    /// A bucket's writer list.
    get_writers(GetWritersRequest) -> GetWritersResponse, DEADLINE, small;
    /// Adds an entry to a bucket's writer list.
    append_writer(AppendWriterRequest) -> AppendWriterResponse, DEADLINE;
    /// Gives a bucket a new root key.
    rotate_bucket(RotateBucketRequest) -> RotateBucketResponse, DEADLINE;
    /// The entries that lead from the root to an inode.
    get_path(GetPathRequest) -> GetPathResponse, DEADLINE, small;
    /// What names in one directory lead to.
    lookup(LookupRequest) -> LookupResponse, DEADLINE, small;
    /// Inodes by id.
    get_inodes(GetInodesRequest) -> GetInodesResponse, DEADLINE, small;
    /// All that is needed to read a part of a file.
    get_file(GetFileRequest) -> GetFileResponse, DEADLINE, small;
    /// All that is needed to read many small files.
    get_files(GetFilesRequest) -> GetFilesResponse, DEADLINE;
    /// Extent pages by id.
    get_pages(GetPagesRequest) -> GetPagesResponse, DEADLINE;
    /// Blobs by id.
    get_blobs(GetBlobsRequest) -> GetBlobsResponse, DEADLINE;
    /// Changes the tree. A repeated transaction gets its first answer again.
    apply(ApplyRequest) -> ApplyResponse, LONG_DEADLINE;
    /// Rights to store segments on nodes. A lease whose answer was lost expires unused.
    lease_placement(LeasePlacementRequest) -> LeasePlacementResponse, DEADLINE;
    /// Gives rights to store back.
    release_lease(ReleaseLeaseRequest) -> ReleaseLeaseResponse, DEADLINE;
    /// Rights to read from nodes.
    get_read_access(GetReadAccessRequest) -> GetReadAccessResponse, DEADLINE;
    /// Hands over segments before their commit.
    stage(StageRequest) -> StageResponse, DEADLINE;
    /// What was handed over under a transaction.
    get_staged(GetStagedRequest) -> GetStagedResponse, DEADLINE;
    /// Drops what was handed over under a transaction.
    abort_staged(AbortStagedRequest) -> AbortStagedResponse, DEADLINE;
    /// The account's space.
    get_quota(GetQuotaRequest) -> GetQuotaResponse, DEADLINE;
    /// The storage nodes.
    get_cluster(GetClusterRequest) -> GetClusterResponse, DEADLINE;
    /// Takes the right to decide a bucket's namespace locally.
    acquire_write_lease(AcquireWriteLeaseRequest) -> WriteLease, DEADLINE;
    /// Keeps that right.
    renew_write_lease(RenewWriteLeaseRequest) -> WriteLease, DEADLINE;
    /// Gives that right back.
    release_write_lease(ReleaseWriteLeaseRequest) -> ReleaseWriteLeaseResponse, DEADLINE;
}

macro_rules! streams {
    ($($(#[$doc:meta])* $name:ident($request:ident) -> $response:ident;)*) => {
        impl MetaClient {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// As every call. What fails later comes out of the stream.
                pub async fn $name(&self, request: pb::$request) -> Result<MetaStream<pb::$response>> {
                    let kind = Kind { name: stringify!($name), deadline: LONG_DEADLINE, small: false };
                    let messages = self
                        .call(kind, request, |mut service, mut request| async move {
                            // The deadline is for the beginning; a stream may last as long as it likes.
                            request.metadata_mut().remove("grpc-timeout");
                            service.$name(request).await
                        })
                        .await?;
                    Ok(MetaStream { messages, meta: self.clone() })
                }
            )*
        }
    };
}

streams! {
    /// The entries of a directory, in the order of their encrypted names.
    read_directory(ReadDirectoryRequest) -> ReadDirectoryResponse;
    /// A bucket's trash.
    list_trash(ListTrashRequest) -> ListTrashResponse;
    /// Changes as they are committed.
    subscribe(SubscribeRequest) -> Event;
}

/// Messages of one streaming call.
pub struct MetaStream<T> {
    messages: Streaming<T>,
    meta: MetaClient,
}

impl<T> MetaStream<T> {
    /// The next message; `None` at the end.
    ///
    /// # Errors
    /// As every call. The stream is over then; with the token it was begun with as well, which is transient: the session goes on, and
    /// whether it does is found out by calling again.
    pub async fn next(&mut self) -> Result<Option<T>> {
        self.messages.message().await.map_err(|status| match error_code(&status) {
            ErrorCode::TokenExpired => {
                Error::Network { what: "a stream ended".to_owned(), reason: said(status.message()) }
            }
            _ => self.meta.error(&status),
        })
    }
}

impl MetaClient {
    /// The service as an API key or the login of the home folder sees it, without the keys of the account: for what the server knows by
    /// itself. There are logins that have no keys.
    ///
    /// # Errors
    /// [`Error::NotLoggedIn`], [`Error::ApiKeyRefused`], [`Error::OtherGateway`], network errors.
    pub async fn open(config: &Config) -> Result<Self> {
        let session = Arc::new(Session::connect(config).await?);
        let memory = Arc::new(Memory::open(&config.home, session.gateway().as_str(), session.account())?);
        Self::connect(config, session, memory).await
    }

    /// The gateway logged in to.
    #[must_use]
    pub fn gateway(&self) -> &Gateway {
        self.session.gateway()
    }

    /// The account's space.
    ///
    /// # Errors
    /// As every call.
    pub async fn quota(&self) -> Result<pb::Quota> {
        let answer = self.get_quota(pb::GetQuotaRequest {}).await?;
        Ok(answer.quota.ok_or(crate::IntegrityError::Mismatch("it says no quota"))?)
    }

    /// The storage nodes and the scheme that a new upload would get.
    ///
    /// # Errors
    /// As every call.
    pub async fn cluster(&self) -> Result<pb::GetClusterResponse> {
        self.get_cluster(pb::GetClusterRequest {}).await
    }

    /// The service of a session's gateway, with a connection if there can be one. Nothing is asked yet.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub(crate) async fn connect(config: &Config, session: Arc<Session>, memory: Arc<Memory>) -> Result<Self> {
        let tls = tls::settings(session.gateway(), config.ca_file.as_deref())?;
        let channel = tls::channel(session.gateway(), tls).await?;
        let service = MetaServiceClient::new(channel)
            .max_decoding_message_size(MESSAGE_MAX)
            .max_encoding_message_size(MESSAGE_MAX);
        Ok(Self { service, session, memory, times: Arc::default() })
    }

    /// Applies one mutation and returns its result.
    ///
    /// # Errors
    /// As every call, and what the server refuses about the mutation itself.
    pub async fn apply_one(&self, bucket: &[u8], mutation: pb::Mutation) -> Result<pb::MutationResult> {
        let request = pb::ApplyRequest {
            bucket: bytes::Bytes::copy_from_slice(bucket),
            mutations: vec![mutation],
            ..pb::ApplyRequest::default()
        };
        let mut results = self.apply(request).await?.results;
        let result = results.pop().ok_or(crate::IntegrityError::Mismatch("a mutation has no result"))?;
        match &result.fault {
            None => Ok(result),
            Some(fault) => Err(fault_error(fault)),
        }
    }

    /// Whether the server answers: asked once, and not for longer than this. What it answers does not matter.
    pub async fn answers(&self, patience: Duration) -> bool {
        let asking = async {
            let token = self.session.present_token().await;
            let mut request = Request::new(pb::ListBucketsRequest::default());
            request.set_timeout(patience);
            if self.sign(request.metadata_mut(), &token).is_err() {
                return false;
            }
            let answer = Box::pin(self.service.clone().list_buckets(request)).await;
            answer.map_or_else(|status| error_code(&status) != ErrorCode::Unavailable, |_| true)
        };
        tokio::time::timeout(patience, asking).await.unwrap_or(false)
    }

    async fn call<Q, A, F, R>(&self, kind: Kind, request: Q, send: F) -> Result<A>
    where
        Q: Clone,
        F: Fn(MetaServiceClient<Channel>, Request<Q>) -> R,
        R: Future<Output = Result<Response<A>, Status>>,
    {
        let Kind { name, deadline, small } = kind;
        let mut backoff = Backoff::new(ATTEMPTS);
        let mut token = self.session.access_token().await?;
        let mut renewed = false;
        let began = Instant::now();
        loop {
            let ask = || {
                let mut framed = Request::new(request.clone());
                framed.set_timeout(deadline);
                self.sign(framed.metadata_mut(), &token)?;
                // Boxed: the futures of tonic are large and lie in those of everybody who calls.
                Ok::<_, Error>(Box::pin(send(self.service.clone(), framed)))
            };
            let asked = ask()?;
            let sent = async {
                if !small {
                    return Ok(asked.await);
                }
                let began = Instant::now();
                let (answer, first) = once_more(asked, self.times.repeat_after(), ask).await?;
                if first && answer.is_ok() {
                    self.times.took(began.elapsed());
                }
                Ok::<_, Error>(answer)
            };
            // The server keeps to the deadline if it is there at all; the margin is for one that is not.
            let answer = tokio::time::timeout(deadline + Duration::from_secs(5), sent).await;
            let status = match answer {
                Ok(sent) => match sent? {
                    Ok(response) => {
                        self.check_incarnation(response.metadata())?;
                        return Ok(response.into_inner());
                    }
                    Err(status) => status,
                },
                Err(_) => Status::deadline_exceeded("no answer in time"),
            };
            self.check_incarnation(status.metadata())?;
            if error_code(&status) == ErrorCode::TokenExpired && !renewed {
                renewed = true;
                token = self.session.access_token_after(&token).await?;
                continue;
            }
            if let Some(pause) = retry_after(&status).filter(|pause| began.elapsed() + *pause <= PATIENCE) {
                // Too many calls at once, which the server counts: it says when there is room again.
                tokio::time::sleep(pause).await;
                token = self.session.access_token().await?;
                continue;
            }
            let error = self.error(&status);
            if !may_repeat(&status) || began.elapsed() > PATIENCE || !backoff.wait().await {
                return Err(error);
            }
            tracing::debug!(%error, name, "repeating a call");
            token = self.session.access_token().await?;
        }
    }

    fn sign(&self, metadata: &mut MetadataMap, token: &str) -> Result<()> {
        let mut bearer = MetadataValue::try_from(format!("Bearer {token}"))
            .map_err(|_| Error::Internal("an access token fits a header"))?;
        bearer.set_sensitive(true);
        metadata.insert("authorization", bearer);
        let id =
            MetadataValue::try_from(request_id::new()).map_err(|_| Error::Internal("a request id fits a header"))?;
        metadata.insert(REQUEST_ID_KEY, id);
        let reader = MetadataValue::try_from(hex::encode(self.session.reader()))
            .map_err(|_| Error::Internal("hexadecimal digits fit a header"))?;
        metadata.insert(READER_KEY, reader);
        if let Some(known) = self.memory.incarnation().and_then(|known| MetadataValue::try_from(known).ok()) {
            metadata.insert(INCARNATION_KEY, known);
        }
        Ok(())
    }

    fn check_incarnation(&self, metadata: &MetadataMap) -> Result<()> {
        match metadata.get(INCARNATION_KEY).and_then(|value| value.to_str().ok()) {
            Some(seen) => self.memory.check_incarnation(seen),
            None => Ok(()),
        }
    }

    fn error(&self, status: &Status) -> Error {
        let code = error_code(status);
        if is_ended(code) {
            return self.session.ended();
        }
        let from_server = status.metadata().contains_key(cyx_proto::status::CODE_KEY);
        if !from_server && code == ErrorCode::Unavailable {
            let what = format!("cannot reach {}", self.session.gateway());
            return Error::Network { what, reason: transport_reason(status) };
        }
        let request_id = status.metadata().get(REQUEST_ID_KEY).and_then(|id| id.to_str().ok()).map(str::to_owned);
        Error::refused(code, status.message(), request_id, retry_after(status))
    }
}

/// A call's answer, or that of the same call made again because the answer is late; and whether it is the first one's.
async fn once_more<T, F: Future<Output = T> + Unpin>(
    mut first: F,
    after: Option<Duration>,
    again: impl FnOnce() -> Result<F>,
) -> Result<(T, bool)> {
    let Some(after) = after else { return Ok((first.await, true)) };
    tokio::select! {
        biased;
        answer = &mut first => return Ok((answer, true)),
        () = tokio::time::sleep(after) => {}
    }
    let mut second = again()?;
    tokio::select! {
        biased;
        answer = &mut first => Ok((answer, true)),
        answer = &mut second => Ok((answer, false)),
    }
}

/// Everything is repeated that the server did not decide: see the module's documentation.
fn may_repeat(status: &Status) -> bool {
    error_code(status) == ErrorCode::Unavailable && status.code() != Code::Cancelled
}

/// The innermost reason: tonic itself says no more than `transport error`.
fn transport_reason(status: &Status) -> String {
    std::error::Error::source(status).map_or_else(|| said(status.message()), connect_error::reason)
}

/// A mutation that the server refused.
#[must_use]
pub fn fault_error(fault: &pb::Fault) -> Error {
    let code = ErrorCode::parse(&fault.code).unwrap_or(ErrorCode::Internal);
    Error::refused(code, &fault.message, None, None)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_late_question_is_asked_again_and_whoever_answers_first_counts() {
        let asked = AtomicU32::new(0);
        let ask = |answer: u32, after: u64| {
            Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(after)).await;
                answer
            })
        };
        let again = |after: u64| {
            let asked = &asked;
            move || {
                asked.fetch_add(1, Ordering::Relaxed);
                Ok(ask(2, after))
            }
        };
        let late = Some(Duration::from_millis(50));
        assert_eq!(once_more(ask(1, 40), late, again(0)).await.unwrap(), (1, true));
        assert_eq!(once_more(ask(1, 4000), None, again(0)).await.unwrap(), (1, true));
        assert_eq!(asked.load(Ordering::Relaxed), 0, "what is in time, or of which nothing is known, is asked once");
        assert_eq!(once_more(ask(1, 4000), late, again(10)).await.unwrap(), (2, false));
        assert_eq!(once_more(ask(1, 60), late, again(1000)).await.unwrap(), (1, true));
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }
}
