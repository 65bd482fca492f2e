//! A bucket to try things on, and what a client would send.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use cyx_core::chunk::chunk_id;
use cyx_core::error::ErrorCode;
use cyx_core::extent::{BlobHeader, Extent, PageId, tree};
use cyx_core::ids::{
    AccountId, BlobId, BucketId, GrantId, InodeId, LeaseId, NodeId, PlacementId, Random as _, SegmentId, SessionId,
    TxnId,
};
use cyx_core::receipt::{Receipt, ReceivedChunk};
use cyx_core::scheme::Scheme;
use cyx_core::segment::shard_len;
use cyx_core::sign;
use cyx_core::units::FILE_MAX;
use cyx_core::writers::{WriterAction, WriterList};
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use ed25519_dalek::SigningKey;
use pb::operation::Operation as Op;

use crate::test_support::TestDb;
use crate::tree::apply::{self, Batch, Outcome};
use crate::tree::buckets::{self, NewBucket, WriterCache};
use crate::tree::check::check;
use crate::tree::model::{EntryRow, InodeKind, InodeRow, Token};
use crate::tree::plan::{Network, PlanContext, UploadPlan};
use crate::tree::{Actor, SECOND_NS, Settings, TreeError, Work, read};

/// Seconds at which every test begins.
pub(crate) const BEGIN: i64 = 1_800_000_000;

/// Nodes with known keys.
pub(crate) struct TestNetwork {
    pub(crate) keys: HashMap<NodeId, SigningKey>,
}

impl TestNetwork {
    fn new(nodes: u8) -> Self {
        let keys = (1..=nodes).map(|number| SigningKey::from_bytes(&[number; 32]));
        let id = |key: &SigningKey| NodeId::from_public_key(&key.verifying_key().to_bytes());
        Self { keys: keys.map(|key| (id(&key), key)).collect() }
    }
}

impl Network for TestNetwork {
    fn node_key(&self, node: NodeId) -> Option<[u8; 32]> {
        self.keys.get(&node).map(|key| key.verifying_key().to_bytes())
    }

    fn store_grant_id(&self, lease: LeaseId, node: NodeId) -> GrantId {
        let mut id = lease.0;
        id.iter_mut().zip(node.0).for_each(|(byte, other)| *byte ^= other);
        GrantId(id)
    }
}

/// A placement that may be used, and the lease that says so.
pub(crate) struct TestLease {
    pub(crate) lease: LeaseId,
    pub(crate) placement: PlacementId,
    pub(crate) scheme: Scheme,
    pub(crate) nodes: Vec<NodeId>,
    pub(crate) spares: Vec<NodeId>,
}

/// A bucket of an account in a database of its own.
pub(crate) struct TestTree {
    pub(crate) test: TestDb,
    pub(crate) network: Arc<TestNetwork>,
    pub(crate) actor: Actor,
    pub(crate) key: SigningKey,
    pub(crate) bucket: BucketId,
    pub(crate) root: InodeId,
    pub(crate) settings: Settings,
    pub(crate) writers: WriterCache,
    /// Whether runs of small files may take the short way.
    pub(crate) fast: bool,
    now: AtomicI64,
}

pub(crate) fn attributes() -> pb::Attributes {
    pb::Attributes { mode: 0o644, uid: 1000, gid: 1000, mtime_ns: 5, ctime_ns: 6, atime_ns: 7, rdev: 0 }
}

pub(crate) fn token(name: &str) -> pb::NameToken {
    pb::NameToken { epoch: 0, name: name.as_bytes().to_vec().into() }
}

pub(crate) fn tokens(name: &str) -> Vec<pb::NameToken> {
    vec![token(name)]
}

pub(crate) fn expect(child: InodeId) -> Option<pb::Expected> {
    Some(pb::Expected { child: bytes_of(child), entry_version: 0 })
}

pub(crate) fn code(result: &pb::MutationResult) -> Option<ErrorCode> {
    result.fault.as_ref().map(|fault| ErrorCode::parse(&fault.code).expect("codes are known"))
}

pub(crate) fn ok(result: &pb::MutationResult) {
    assert!(result.fault.is_none(), "refused: {:?}", result.fault);
}

/// Adds an account with this limit.
pub(crate) async fn account(test: &TestDb, id: AccountId, key: &SigningKey, limit: i64) {
    let public = key.verifying_key().to_bytes();
    test.db
        .write(move |conn| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO account (id, username, username_key, email, email_key, verified, role, plan, limit_bytes, \
                     traffic_limit_bytes, salt, memory_kib, passes, lanes, auth_hash, wrapped_account_key, \
                     recovery_wrapped_account_key, signing_public_key, exchange_public_key, wrapped_private_keys, created_ns) \
                     VALUES ($1, $2, $2, $2, $2, 1, 'basic', 'free', $3, 0, $4, 1, 1, 1, $4, $4, $4, $5, $4, $4, 0)",
                )
                .bind(id.to_vec())
                .bind(id.to_string())
                .bind(limit)
                .bind(vec![0_u8; 16])
                .bind(public.to_vec())
                .execute(conn)
                .await?;
                Ok::<_, TreeError>(())
            })
        })
        .await
        .unwrap();
}

impl TestTree {
    pub(crate) async fn new() -> Self {
        Self::with_limit(1 << 40).await
    }

    pub(crate) async fn with_limit(limit: i64) -> Self {
        let test = TestDb::new().await;
        let key = SigningKey::from_bytes(&[200; 32]);
        let actor = Actor { account: AccountId([1; 16]), session: SessionId([2; 16]) };
        account(&test, actor.account, &key, limit).await;
        let mut tree = Self {
            test,
            network: Arc::new(TestNetwork::new(20)),
            actor,
            key,
            bucket: BucketId([3; 16]),
            root: InodeId([240; 16]),
            settings: Settings::default(),
            writers: WriterCache::default(),
            fast: true,
            now: AtomicI64::new(BEGIN * SECOND_NS),
        };
        tree.bucket = tree.make_bucket("bucket", tree.bucket, tree.root).await.unwrap();
        tree
    }

    pub(crate) fn now(&self) -> i64 {
        self.now.load(Ordering::Relaxed)
    }

    pub(crate) fn pass_seconds(&self, seconds: i64) {
        self.now.fetch_add(seconds * SECOND_NS, Ordering::Relaxed);
    }

    pub(crate) async fn make_bucket(&self, name: &str, id: BucketId, root: InodeId) -> Result<BucketId, TreeError> {
        let public = self.key.verifying_key().to_bytes();
        let first = WriterList::empty(id).next(WriterAction::Add, public, 0).sign(&self.key);
        let request = pb::CreateBucketRequest {
            id: bytes_of(id),
            root: bytes_of(root),
            name_token: name.as_bytes().to_vec().into(),
            sealed_name: name.as_bytes().to_vec().into(),
            wrapped_root_key: vec![1; 60].into(),
            first_writer: first.into(),
            root_attributes: Some(attributes()),
            durable: false,
            ..pb::CreateBucketRequest::default()
        };
        let new = Arc::new(NewBucket::check(request, public)?);
        let (actor, now, backend) = (self.actor, self.now(), self.test.db.backend());
        let made = self
            .test
            .db
            .write(move |conn| {
                let new = Arc::clone(&new);
                Box::pin(async move { buckets::create(conn, backend, actor, &new, now).await })
            })
            .await?;
        Ok(made.bucket.id)
    }

    pub(crate) async fn context(&self) -> Result<PlanContext, TreeError> {
        let mut read = self.test.db.read().await?;
        let bucket = buckets::open(&mut read, self.actor.account, self.bucket).await?;
        Ok(PlanContext {
            bucket: bucket.id,
            writers: self.writers.get(&mut read, &bucket).await?,
            network: Arc::clone(&self.network) as _,
            file_max: FILE_MAX,
            now: (self.now() / SECOND_NS).unsigned_abs(),
        })
    }

    /// The bucket's newest change.
    pub(crate) async fn sequence(&self) -> u64 {
        let mut read = self.test.db.read().await.unwrap();
        buckets::open(&mut read, self.actor.account, self.bucket).await.unwrap().sequence
    }

    /// Does a request; whether it was done, or held up by a write lease.
    pub(crate) async fn applied(&self, request: pb::ApplyRequest) -> Result<bool, ErrorCode> {
        match self.attempt(request).await {
            Ok(Outcome::Applied(applied)) => {
                applied.results.iter().for_each(ok);
                Ok(true)
            }
            Ok(Outcome::Held { .. }) => Ok(false),
            Err(error) => Err(error.code()),
        }
    }

    pub(crate) async fn attempt(&self, request: pb::ApplyRequest) -> Result<Outcome, TreeError> {
        self.attempt_in(request, &self.context().await?).await
    }

    /// Does a request that is checked with what was known earlier.
    pub(crate) async fn attempt_with(
        &self,
        request: pb::ApplyRequest,
        context: &PlanContext,
    ) -> Vec<pb::MutationResult> {
        match self.attempt_in(request, context).await.unwrap() {
            Outcome::Applied(applied) => applied.results,
            Outcome::Held { .. } => panic!("somebody holds the write lease"),
        }
    }

    async fn attempt_in(&self, request: pb::ApplyRequest, context: &PlanContext) -> Result<Outcome, TreeError> {
        let mut batch = Batch::check(request, self.actor, self.settings, context)?;
        batch.fast = self.fast;
        let (batch, backend, now) = (Arc::new(batch), self.test.db.backend(), self.now());
        self.test
            .db
            .write(move |conn| {
                let batch = Arc::clone(&batch);
                Box::pin(async move { apply::apply(conn, backend, &batch, now).await })
            })
            .await
    }

    pub(crate) async fn apply(&self, mutations: Vec<pb::Mutation>) -> Vec<pb::MutationResult> {
        let request = pb::ApplyRequest { bucket: bytes_of(self.bucket), mutations, ..pb::ApplyRequest::default() };
        match self.attempt(request).await.unwrap() {
            Outcome::Applied(applied) => applied.results,
            Outcome::Held { .. } => panic!("somebody holds the write lease"),
        }
    }

    /// Does one mutation of one operation.
    pub(crate) async fn one(&self, operation: Op) -> pb::MutationResult {
        self.apply(vec![mutation(vec![operation])]).await.remove(0)
    }

    pub(crate) async fn make(&self, directory: InodeId, name: &str, kind: InodeKind) -> InodeId {
        let id = InodeId::random();
        ok(&self.one(create(id, directory, name, kind)).await);
        id
    }

    pub(crate) async fn in_bucket<T, F>(&self, job: F) -> Result<T, TreeError>
    where
        T: Send + 'static,
        F: for<'w, 'c> Fn(&'w mut Work<'c>) -> futures_util::future::BoxFuture<'w, Result<T, TreeError>>
            + Send
            + Sync
            + 'static,
    {
        let (backend, bucket, actor, settings, now) =
            (self.test.db.backend(), self.bucket, self.actor, self.settings, self.now());
        let job = Arc::new(job);
        self.test
            .db
            .write(move |conn| {
                let job = Arc::clone(&job);
                Box::pin(async move {
                    let mut work = Work::open(conn, backend, bucket, actor, settings, now).await?;
                    let value = job(&mut work).await?;
                    work.finish().await?;
                    Ok(value)
                })
            })
            .await
    }

    pub(crate) async fn inode(&self, id: InodeId) -> Option<InodeRow> {
        let mut read = self.test.db.read().await.unwrap();
        read::inodes_of(&mut read, self.bucket, &[id]).await.unwrap().pop()
    }

    pub(crate) async fn lookup(&self, directory: InodeId, name: &str) -> Option<pb::LookupAnswer> {
        let mut read = self.test.db.read().await.unwrap();
        let question = vec![Token { name: name.as_bytes().to_vec().into(), epoch: 0 }];
        let answer = read::lookup(&mut read, self.bucket, directory, &[question]).await.unwrap().remove(0);
        answer.entry.is_some().then_some(answer)
    }

    pub(crate) async fn list(&self, directory: InodeId) -> Vec<(EntryRow, InodeRow)> {
        let mut read = self.test.db.read().await.unwrap();
        read::page(&mut read, self.bucket, directory, None, u32::MAX).await.unwrap().rows
    }

    /// Used, superseded and pending bytes of the account.
    pub(crate) async fn bytes(&self) -> (u64, u64, u64) {
        let mut read = self.test.db.read().await.unwrap();
        let quota = crate::quota::of_account(&mut read, self.actor.account, self.now()).await.unwrap();
        (quota.used_bytes, quota.superseded_bytes, quota.pending_bytes)
    }

    pub(crate) async fn check(&self) {
        let findings = check(&mut self.test.db.read().await.unwrap()).await.unwrap();
        assert!(findings.is_empty(), "{findings:#?}");
    }

    pub(crate) async fn collect(&self) -> crate::tree::collect::Collected {
        let bus = crate::changes::Bus::default();
        let (collected, outcome) = crate::tree::collect::collect(&self.test.db, &bus, self.settings, self.now()).await;
        outcome.unwrap();
        collected
    }

    /// A placement of the scheme on the first nodes, and a lease of it.
    pub(crate) async fn lease(&self, scheme: Scheme, allowance: u64) -> TestLease {
        let mut all: Vec<NodeId> = self.network.keys.keys().copied().collect();
        all.sort();
        let spares = all.split_off(scheme.n());
        let lease = TestLease {
            lease: LeaseId::random(),
            placement: PlacementId::random(),
            scheme,
            nodes: all,
            spares: spares.into_iter().take(2).collect(),
        };
        let flat = |nodes: &[NodeId]| nodes.iter().flat_map(|node| node.0).collect::<Vec<u8>>();
        let (id, placement) = (lease.lease, lease.placement);
        let (nodes, spares) = (flat(&lease.nodes), flat(&lease.spares));
        let (actor, bucket, expires) = (self.actor, self.bucket, self.now() / SECOND_NS + 3600);
        let (k, m) = (i64::try_from(scheme.k()).unwrap(), i64::try_from(scheme.m()).unwrap());
        let allowance = i64::try_from(allowance).unwrap();
        self.test
            .db
            .write(move |conn| {
                let (nodes, spares) = (nodes.clone(), spares.clone());
                Box::pin(async move {
                    sqlx::query(
                        "INSERT INTO placement (id, k, m, nodes, open, created_ns) VALUES ($1, $2, $3, $4, 1, 0)",
                    )
                    .bind(placement.to_vec())
                    .bind(k)
                    .bind(m)
                    .bind(nodes)
                    .execute(&mut *conn)
                    .await?;
                    sqlx::query(
                        "INSERT INTO lease (id, session, account, bucket, placement, spares, allowance, used, expires, touched) \
                         VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, $9)",
                    )
                    .bind(id.to_vec())
                    .bind(actor.session.to_vec())
                    .bind(actor.account.to_vec())
                    .bind(bucket.to_vec())
                    .bind(placement.to_vec())
                    .bind(spares)
                    .bind(allowance)
                    .bind(expires)
                    .bind(expires - 3600)
                    .execute(conn)
                    .await?;
                    Ok::<_, TreeError>(())
                })
            })
            .await
            .unwrap();
        lease
    }

    /// A segment with these shards, as uploaded under the lease, and the receipts that prove it.
    pub(crate) fn upload(&self, lease: &TestLease, length: u64, shards: &[usize]) -> (pb::SegmentUpload, Vec<Bytes>) {
        let id = SegmentId::random();
        let present = shards.iter().fold(0_u64, |bits, shard| bits | 1 << shard);
        let roots: Vec<[u8; 32]> = (0..lease.scheme.n()).map(|shard| [u8::try_from(shard).unwrap(); 32]).collect();
        let segment = pb::Segment {
            id: bytes_of(id),
            scheme: Some(lease.scheme.into()),
            length,
            placement: bytes_of(lease.placement),
            present,
            overrides: Vec::new(),
            roots: roots.concat().into(),
            audited_ns: 0,
        };
        let receipts = shards.iter().map(|shard| self.receipt(lease, &segment, *shard, lease.nodes[*shard])).collect();
        (pb::SegmentUpload { segment: Some(segment), lease: bytes_of(lease.lease) }, receipts)
    }

    pub(crate) fn receipt(&self, lease: &TestLease, segment: &pb::Segment, shard: usize, node: NodeId) -> Bytes {
        let id = SegmentId::try_from(&segment.id[..]).unwrap();
        let chunk = ReceivedChunk {
            id: chunk_id(id, u8::try_from(shard).unwrap()),
            length: u32::try_from(shard_len(lease.scheme, segment.length)).unwrap(),
            root: segment.roots[shard * 32..(shard + 1) * 32].try_into().unwrap(),
        };
        let receipt = Receipt {
            node,
            grant: self.network.store_grant_id(lease.lease, node),
            issued: (self.now() / SECOND_NS).unsigned_abs(),
            chunks: vec![chunk],
        };
        receipt.sign(&self.network.keys[&node]).into()
    }

    pub(crate) async fn stage(
        &self,
        txn: TxnId,
        segments: Vec<pb::SegmentUpload>,
        blobs: Vec<pb::Blob>,
        receipts: &[Bytes],
    ) -> Result<(), TreeError> {
        let now = (self.now() / SECOND_NS).unsigned_abs();
        let upload = Arc::new(UploadPlan::check(segments, blobs, receipts, &*self.network, now)?);
        self.in_bucket(move |work| {
            let upload = Arc::clone(&upload);
            Box::pin(async move { work.stage(txn, &upload).await })
        })
        .await
    }

    /// Signs a commit.
    pub(crate) fn sign(&self, commit: &mut pb::Commit) {
        let signed = self.signed(commit);
        commit.writer = bytes_of(signed.writer);
        commit.signature = signed.sign(&self.key).to_vec().into();
    }

    /// Signs a commit as one that comes after this change.
    pub(crate) fn sign_after(&self, commit: &mut pb::Commit, seen: u64) {
        let signed = self.signed(commit);
        commit.writer = bytes_of(signed.writer);
        commit.signature = signed.sign_after(seen, &self.key).to_vec().into();
    }

    fn signed(&self, commit: &pb::Commit) -> cyx_core::commit::Commit {
        let public = self.key.verifying_key().to_bytes();
        cyx_core::commit::Commit {
            bucket: self.bucket,
            inode: InodeId::try_from(&commit.inode[..]).unwrap(),
            version: commit.base_version + 1,
            base: commit.base_version,
            size: commit.size,
            root: PageId::try_from(&commit.root_page[..]).unwrap(),
            writer: sign::key_id(&public),
        }
    }

    /// A commit of these pieces.
    pub(crate) fn commit(&self, inode: InodeId, base: u64, extents: &[Extent], blobs: Vec<pb::Blob>) -> pb::Commit {
        let built = tree::build(extents).unwrap();
        let size = extents.last().map_or(0, Extent::end);
        self.commit_built(inode, base, size, built, blobs)
    }

    pub(crate) fn commit_built(
        &self,
        inode: InodeId,
        base: u64,
        size: u64,
        built: tree::Built,
        blobs: Vec<pb::Blob>,
    ) -> pb::Commit {
        let page = |(id, content): (PageId, Vec<u8>)| pb::Page { id: id.to_vec().into(), content: content.into() };
        let mut commit = pb::Commit {
            inode: bytes_of(inode),
            base_version: base,
            size,
            root_page: built.root.to_vec().into(),
            pages: built.pages.into_iter().map(page).collect(),
            blobs,
            mtime_ns: 77,
            ..pb::Commit::default()
        };
        self.sign(&mut commit);
        commit
    }

    /// A commit of one new inline blob of `len` plain bytes.
    pub(crate) fn small(&self, inode: InodeId, base: u64, len: u64) -> pb::Commit {
        let (extent, blob) = inline(0, len);
        self.commit(inode, base, &[extent], vec![blob])
    }

    /// A new file with one inline blob.
    pub(crate) async fn make_small(&self, directory: InodeId, name: &str, len: u64) -> InodeId {
        let id = InodeId::random();
        let operations = vec![create(id, directory, name, InodeKind::File), Op::Commit(self.small(id, 0, len))];
        ok(&self.apply(vec![mutation(operations)]).await[0]);
        id
    }
}

pub(crate) fn mutation(operations: Vec<Op>) -> pb::Mutation {
    let operations = operations.into_iter().map(|operation| pb::Operation { operation: Some(operation) }).collect();
    pb::Mutation { txn: bytes_of(TxnId::random()), operations, time_ns: None }
}

pub(crate) fn create(inode: InodeId, directory: InodeId, name: &str, kind: InodeKind) -> Op {
    let sealed_target = if kind == InodeKind::Symlink { vec![1; 32].into() } else { Bytes::new() };
    Op::Create(pb::Create {
        inode: bytes_of(inode),
        kind: kind.into(),
        directory: bytes_of(directory),
        names: tokens(name),
        wrapped_key: vec![9; 60].into(),
        attributes: Some(attributes()),
        sealed_target,
        sealed_meta: Bytes::new(),
    })
}

pub(crate) fn link(inode: InodeId, directory: InodeId, name: &str) -> Op {
    Op::Link(pb::Link {
        inode: bytes_of(inode),
        directory: bytes_of(directory),
        names: tokens(name),
        wrapped_key: vec![8; 60].into(),
        key_epoch: 0,
    })
}

pub(crate) fn unlink(directory: InodeId, name: &str, child: InodeId, mode: pb::unlink::Mode) -> Op {
    Op::Unlink(pb::Unlink {
        directory: bytes_of(directory),
        names: tokens(name),
        expected: expect(child),
        mode: mode.into(),
    })
}

pub(crate) fn rename_of(from: (InodeId, &str), child: InodeId, to: (InodeId, &str)) -> pb::Rename {
    pb::Rename {
        directory: bytes_of(from.0),
        names: tokens(from.1),
        expected: expect(child),
        new_directory: bytes_of(to.0),
        new_names: tokens(to.1),
        new_wrapped_key: vec![7; 60].into(),
        ..pb::Rename::default()
    }
}

pub(crate) fn extent_of(at: u64, blob: BlobId, plain: u64) -> Extent {
    Extent {
        file_offset: at,
        len: plain,
        blob,
        blob_offset: 0,
        key_epoch: 0,
        header: BlobHeader::new(plain).unwrap(),
        wrapped_key: [5; 60],
    }
}

/// A new inline blob at a file offset.
pub(crate) fn inline(at: u64, plain: u64) -> (Extent, pb::Blob) {
    let extent = extent_of(at, BlobId::random(), plain);
    let length = extent.header.sealed_len();
    let place = Some(pb::blob::Place::Inline(vec![0; usize::try_from(length).unwrap()].into()));
    let blob = pb::Blob { id: bytes_of(extent.blob), length, place };
    (extent, blob)
}

/// A new blob at a file offset, at an offset of a segment.
pub(crate) fn placed(at: u64, plain: u64, segment: &pb::Segment, offset: u64) -> (Extent, pb::Blob) {
    let extent = extent_of(at, BlobId::random(), plain);
    let place = Some(pb::blob::Place::Segment(pb::BlobPlace { segment: segment.id.clone(), offset }));
    let blob = pb::Blob { id: bytes_of(extent.blob), length: extent.header.sealed_len(), place };
    (extent, blob)
}

/// Sealed bytes of a blob.
pub(crate) fn sealed(plain: u64) -> u64 {
    BlobHeader::new(plain).unwrap().sealed_len()
}
