//! The service over a real connection: what a client sends, what nodes sign, what comes back.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use cyx_core::chunk::chunk_id;
use cyx_core::error::ErrorCode;
use cyx_core::extent::{BlobHeader, Extent, tree};
use cyx_core::grant::{Grant, Operations};
use cyx_core::ids::{AccountId, BlobId, BucketId, InodeId, NodeId, Random as _, SegmentId, SessionId, TxnId};
use cyx_core::receipt::{Receipt, ReceivedChunk};
use cyx_core::segment::shard_len;
use cyx_core::sign;
use cyx_core::writers::{WriterAction, WriterList};
use cyx_proto::convert::{bytes_of, id};
use cyx_proto::meta::v1 as pb;
use cyx_proto::meta::v1::meta_service_client::MetaServiceClient;
use cyx_proto::status::error_code;
use ed25519_dalek::SigningKey;
use pb::operation::Operation as Op;
use tokio::net::TcpListener;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Request;
use tonic::transport::{Channel, Endpoint, Server};

use super::MetaServer;
use crate::nodes::testing::{node, node_key, number, server_with};
use crate::orders::limit::FIRST_MIN;
use crate::test_support::TestApp;
use crate::time::now_seconds;
use crate::tree::check::check;
use crate::tree::tests::support::{attributes, code, create, mutation, ok};

/// How long a test waits for something that certainly comes.
const PATIENCE: Duration = Duration::from_secs(60);

struct Client {
    test: TestApp,
    meta: MetaServiceClient<Channel>,
    token: String,
    key: SigningKey,
    bucket: BucketId,
    root: InodeId,
}

impl Client {
    /// A client with a bucket on a server with this many nodes.
    async fn new(nodes: u8) -> Self {
        let test = server_with((1..=nodes).map(node), |_| {}).await;
        let key = SigningKey::from_bytes(&[222; 32]);
        let (account, session) = (AccountId::random(), SessionId::random());
        add_session(&test, account, session, &key).await;
        let token = test.app.tokens.access(account, session, None).unwrap().token;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = MetaServer::service(test.app.clone());
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)));
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        let meta =
            MetaServiceClient::new(channel).max_encoding_message_size(64 << 20).max_decoding_message_size(64 << 20);
        let mut client = Self { test, meta, token, key, bucket: BucketId::random(), root: InodeId::random() };
        client.make_bucket().await;
        client
    }

    async fn make_bucket(&mut self) {
        let public = self.key.verifying_key().to_bytes();
        let first_writer = WriterList::empty(self.bucket).next(WriterAction::Add, public, 0).sign(&self.key);
        let request = self.request(pb::CreateBucketRequest {
            id: bytes_of(self.bucket),
            root: bytes_of(self.root),
            name_token: b"token".as_slice().into(),
            sealed_name: b"sealed".as_slice().into(),
            wrapped_root_key: vec![1; 60].into(),
            first_writer: first_writer.into(),
            root_attributes: Some(attributes()),
            durable: false,
            ..pb::CreateBucketRequest::default()
        });
        let made = self.meta.create_bucket(request).await.unwrap().into_inner().bucket.unwrap();
        assert_eq!((made.owner_key, made.sequence), (Bytes::copy_from_slice(&public), 0));
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", format!("Bearer {}", self.token).parse().unwrap());
        request
    }

    async fn apply(&mut self, mutations: Vec<pb::Mutation>) -> pb::ApplyResponse {
        let request = pb::ApplyRequest { bucket: bytes_of(self.bucket), mutations, ..Default::default() };
        let request = self.request(request);
        self.meta.apply(request).await.unwrap().into_inner()
    }

    async fn subscribe(&mut self, from: Vec<pb::Position>) -> tonic::Streaming<pb::Event> {
        let request = self.request(pb::SubscribeRequest { from });
        self.meta.subscribe(request).await.unwrap().into_inner()
    }

    fn commit(&self, inode: InodeId, extent: &Extent, blob: pb::Blob) -> pb::Commit {
        let built = tree::build(std::slice::from_ref(extent)).unwrap();
        let writer = sign::key_id(&self.key.verifying_key().to_bytes());
        let signed = cyx_core::commit::Commit {
            bucket: self.bucket,
            inode,
            version: 1,
            base: 0,
            size: extent.len,
            root: built.root,
            writer,
        };
        let page = |(id, content): (cyx_core::extent::PageId, Vec<u8>)| pb::Page {
            id: id.to_vec().into(),
            content: content.into(),
        };
        pb::Commit {
            inode: bytes_of(inode),
            size: extent.len,
            root_page: built.root.to_vec().into(),
            pages: built.pages.into_iter().map(page).collect(),
            blobs: vec![blob],
            writer: bytes_of(writer),
            signature: signed.sign(&self.key).to_vec().into(),
            ..pb::Commit::default()
        }
    }
}

async fn add_session(test: &TestApp, account: AccountId, session: SessionId, key: &SigningKey) {
    crate::nodes::testing::account(test, account, 1 << 40).await;
    let public = key.verifying_key().to_bytes().to_vec();
    let write = test.app.db.write(move |conn| {
        let public = public.clone();
        Box::pin(async move {
            sqlx::query("UPDATE account SET signing_public_key = $2 WHERE id = $1")
                .bind(account.to_vec())
                .bind(public.clone())
                .execute(&mut *conn)
                .await?;
            sqlx::query(
                "INSERT INTO session (id, account, device_name, public_key, generation, created_ns, expires_ns) \
                 VALUES ($1, $2, 'test', $3, 0, 0, $4)",
            )
            .bind(session.to_vec())
            .bind(account.to_vec())
            .bind(public)
            .bind(i64::MAX)
            .execute(conn)
            .await?;
            Ok::<_, crate::db::DbError>(())
        })
    });
    write.await.unwrap();
}

fn extent(blob: BlobId, plain: u64) -> Extent {
    Extent {
        file_offset: 0,
        len: plain,
        blob,
        blob_offset: 0,
        key_epoch: 0,
        header: BlobHeader::new(plain).unwrap(),
        wrapped_key: [5; 60],
    }
}

/// A segment as it would have been stored under the lease, with what its nodes sign.
fn upload(lease: &pb::PlacementLease, length: u64) -> (pb::SegmentUpload, Vec<Bytes>) {
    let scheme = cyx_proto::convert::scheme(lease.scheme, "scheme").unwrap();
    let segment_id = SegmentId::random();
    let roots: Vec<[u8; 32]> = (0..scheme.n()).map(|shard| [u8::try_from(shard).unwrap(); 32]).collect();
    let receipts = lease.nodes.iter().enumerate().map(|(shard, access)| {
        let number = (1..=20).find(|number| node(*number).id.0 == access.node[..]).unwrap();
        let grant = Grant::read_unchecked(&access.grant).unwrap();
        assert!(grant.operations.allows(Operations::STORE));
        let chunk = ReceivedChunk {
            id: chunk_id(segment_id, u8::try_from(shard).unwrap()),
            length: u32::try_from(shard_len(scheme, length)).unwrap(),
            root: roots[shard],
        };
        let receipt = Receipt { node: grant.node, grant: grant.id, issued: now_seconds(), chunks: vec![chunk] };
        Bytes::from(receipt.sign(&node_key(number)))
    });
    let receipts: Vec<Bytes> = receipts.collect();
    let segment = pb::Segment {
        id: bytes_of(segment_id),
        scheme: lease.scheme,
        length,
        placement: lease.placement.clone(),
        present: (1 << receipts.len()) - 1,
        overrides: Vec::new(),
        roots: roots.concat().into(),
        audited_ns: 0,
    };
    (pb::SegmentUpload { segment: Some(segment), lease: lease.lease.clone() }, receipts)
}

#[tokio::test]
async fn a_file_is_uploaded_under_a_lease_and_read_back() {
    let mut client = Client::new(14).await;
    let plain = 100_000;
    let length = BlobHeader::new(plain).unwrap().sealed_len();
    let wanted =
        pb::LeasePlacementRequest { bucket: bytes_of(client.bucket), bytes: length, count: 1, ..Default::default() };
    let request = client.request(wanted);
    let lease = client.meta.lease_placement(request).await.unwrap().into_inner().leases.remove(0);
    assert_eq!(lease.nodes.len(), 14);
    let (segment, receipts) = upload(&lease, length);
    let (inode, extent) = (InodeId::random(), extent(BlobId::random(), plain));
    let place = pb::BlobPlace { segment: segment.segment.as_ref().unwrap().id.clone(), offset: 0 };
    let blob = pb::Blob { id: bytes_of(extent.blob), length, place: Some(pb::blob::Place::Segment(place)) };
    let mut commit = client.commit(inode, &extent, blob.clone());
    (commit.segments, commit.receipts) = (vec![segment.clone()], receipts);
    let file = create(inode, client.root, "f", pb::InodeKind::File);
    let mutation = mutation(vec![file, Op::Commit(commit)]);
    let answer = client.apply(vec![mutation.clone()]).await;
    ok(&answer.results[0]);
    assert_eq!(answer.sequence, 2);
    // The reply was lost.
    let again = client.apply(vec![mutation]).await;
    assert!(again.results[0].replayed);

    let question = pb::GetFileRequest { bucket: bytes_of(client.bucket), inode: bytes_of(inode), ..Default::default() };
    let request = client.request(question);
    let found = client.meta.get_file(request).await.unwrap().into_inner();
    assert!(found.complete);
    assert_eq!((&found.blobs, &found.segments), (&vec![blob], &vec![segment.segment.unwrap()]));
    assert_eq!(found.placements.len(), 1);
    let nodes: HashSet<Bytes> = found.nodes.iter().map(|access| access.node.clone()).collect();
    assert_eq!(nodes.len(), 14);
    for access in &found.nodes {
        let grant = Grant::read_unchecked(&access.grant).unwrap();
        assert!(grant.operations.allows(Operations::READ) && !grant.operations.allows(Operations::STORE));
        assert_eq!(grant.node, id::<NodeId>(&access.node, "node").unwrap());
    }
    nothing_is_reserved_for_who_only_looks(&mut client, &found).await;
    let request = client.request(pb::GetQuotaRequest {});
    let quota = client.meta.get_quota(request).await.unwrap().into_inner().quota.unwrap();
    assert_eq!((quota.used_bytes, quota.pending_bytes), (length, 0));
    let findings = check(&mut client.test.app.db.read().await.unwrap()).await.unwrap();
    assert!(findings.is_empty(), "{findings:?}");
}

/// Asks for the same file once more, and about its chunks, without reading.
async fn nothing_is_reserved_for_who_only_looks(client: &mut Client, found: &pb::GetFileResponse) {
    let rows = "SELECT CAST(COUNT(*) AS BIGINT) FROM traffic_grant";
    let before = number(&client.test, rows).await;
    let bucket = bytes_of(client.bucket);
    // It is another program, for which there are no grants yet.
    let program = |mut request: tonic::Request<pb::GetFileRequest>| {
        request.metadata_mut().insert("cyx-reader", "ab".repeat(16).parse().unwrap());
        request
    };
    let inode = found.inode.as_ref().unwrap().id.clone();
    let looks = pb::GetFileRequest { bucket: bucket.clone(), inode, no_access: true, ..Default::default() };
    let request = program(client.request(looks.clone()));
    let looked = client.meta.get_file(request).await.unwrap().into_inner();
    assert_eq!(looked, pb::GetFileResponse { nodes: Vec::new(), ..found.clone() });
    let ids = found.blobs.iter().map(|blob| blob.id.clone()).collect();
    let request = client.request(pb::GetBlobsRequest { bucket: bucket.clone(), ids, no_access: true });
    let blobs = client.meta.get_blobs(request).await.unwrap().into_inner();
    assert_eq!((blobs.nodes.len(), blobs.segments), (0, found.segments.clone()));
    let nodes = found.nodes.iter().map(|access| access.node.clone()).collect();
    let asks = pb::GetReadAccessRequest { bucket, nodes, asks_only: true, ..Default::default() };
    let mut request = client.request(asks);
    request.metadata_mut().insert("cyx-reader", "ab".repeat(16).parse().unwrap());
    let answer = client.meta.get_read_access(request).await.unwrap().into_inner();
    let allowance = |access: &pb::NodeAccess| Grant::read_unchecked(&access.grant).unwrap().allowance;
    assert_eq!(answer.nodes.iter().map(allowance).collect::<Vec<u64>>(), [0; 14]);
    assert_eq!(number(&client.test, rows).await, before);
    // Who reads a little of it reserves as little.
    let request = program(client.request(pb::GetFileRequest { no_access: false, length: 1, ..looks }));
    let read = client.meta.get_file(request).await.unwrap().into_inner();
    assert_eq!(read.nodes.iter().map(allowance).collect::<Vec<u64>>(), [FIRST_MIN; 14]);
}

#[tokio::test]
async fn ten_thousand_entries_come_in_parts() {
    let mut client = Client::new(1).await;
    for part in 0..10 {
        let files = (0..1000).map(|number| {
            let (inode, extent) = (InodeId::random(), extent(BlobId::random(), 10));
            let length = extent.header.sealed_len();
            let place = Some(pb::blob::Place::Inline(vec![0; usize::try_from(length).unwrap()].into()));
            let blob = pb::Blob { id: bytes_of(extent.blob), length, place };
            let file = create(inode, client.root, &format!("{part}-{number:03}"), pb::InodeKind::File);
            mutation(vec![file, Op::Commit(client.commit(inode, &extent, blob))])
        });
        let files = files.collect();
        client.apply(files).await.results.iter().for_each(ok);
    }
    let question = pb::ReadDirectoryRequest {
        bucket: bytes_of(client.bucket),
        directory: bytes_of(client.root),
        ..Default::default()
    };
    let request = client.request(question.clone());
    let mut parts = client.meta.read_directory(request).await.unwrap().into_inner();
    let (mut names, mut messages) = (Vec::new(), 0);
    while let Some(part) = parts.next().await {
        let part = part.unwrap();
        messages += 1;
        assert_eq!((part.entries.len(), part.sequence), (part.inodes.len(), 20_000));
        for (entry, inode) in part.entries.iter().zip(&part.inodes) {
            assert_eq!((&entry.child, inode.size, inode.version), (&inode.id, 10, 1));
            names.push(entry.name.clone().unwrap().name);
        }
    }
    assert!(names.is_sorted() && names.len() == 10_000, "{} names", names.len());
    assert!(messages >= 10);
    let after = Some(pb::NameToken { epoch: 0, name: names[9_995].clone() });
    let request = client.request(pb::ReadDirectoryRequest { after, limit: 3, ..question });
    let mut parts = client.meta.read_directory(request).await.unwrap().into_inner();
    let part = parts.next().await.unwrap().unwrap();
    let rest: Vec<Bytes> = part.entries.into_iter().map(|entry| entry.name.unwrap().name).collect();
    assert_eq!(rest, names[9_996..9_999]);
    assert!(parts.next().await.is_none());
}

#[tokio::test]
async fn listings_that_nobody_reads_keep_no_connection_from_others() {
    let mut client = Client::new(1).await;
    for part in 0..8 {
        let name = |number| format!("{part}-{number:03}-{}", "x".repeat(200));
        let files = (0..1000).map(|number| create(InodeId::random(), client.root, &name(number), pb::InodeKind::File));
        let files = files.map(|file| mutation(vec![file])).collect();
        client.apply(files).await.results.iter().for_each(ok);
    }
    let (bucket, directory) = (bytes_of(client.bucket), bytes_of(client.root));
    let question = pb::ReadDirectoryRequest { bucket, directory, ..Default::default() };
    let mut listings = Vec::new();
    for _ in 0..12 {
        let request = client.request(question.clone());
        listings.push(client.meta.read_directory(request).await.unwrap().into_inner());
    }
    for _ in 0..12 {
        drop(client.test.app.db.read().await.expect("a connection is free"));
    }
    // All at once: they share the window of their connection.
    let names = listings.into_iter().map(|mut listing| async move {
        let mut names = Vec::new();
        while let Some(part) = listing.next().await {
            names.extend(part.unwrap().entries.into_iter().map(|entry| entry.name.unwrap().name));
        }
        names
    });
    for names in futures_util::future::join_all(names).await {
        assert!(names.is_sorted() && names.len() == 8000, "{} names", names.len());
    }
}

#[tokio::test]
async fn an_answer_with_too_many_large_inodes_is_refused_as_such() {
    let mut client = Client::new(1).await;
    let ids: Vec<InodeId> = (0..1000).map(|_| InodeId::random()).collect();
    let name = |number: usize| format!("{number:03}");
    let files = ids.iter().enumerate();
    let files = files.map(|(number, id)| mutation(vec![create(*id, client.root, &name(number), pb::InodeKind::File)]));
    let files = files.collect();
    client.apply(files).await.results.iter().for_each(ok);
    let enlarge = client.test.app.db.write::<_, crate::db::DbError, _>(|c| {
        Box::pin(async move {
            sqlx::query("UPDATE inode SET sealed_meta = $1").bind(vec![1; 70_000]).execute(c).await?;
            Ok(())
        })
    });
    enlarge.await.unwrap();
    let (bucket, directory) = (bytes_of(client.bucket), bytes_of(client.root));
    for (most, expected) in [(1000, Err(ErrorCode::TooLarge)), (500, Ok(500))] {
        let question = |number| pb::NameQuestion {
            tokens: vec![pb::NameToken { epoch: 0, name: name(number).into_bytes().into() }],
        };
        let names = (0..most).map(question).collect();
        let request = pb::LookupRequest { bucket: bucket.clone(), directory: directory.clone(), names };
        let request = client.request(request);
        let answer = client.meta.lookup(request).await.map(|answer| answer.into_inner().answers.len());
        assert_eq!(answer.map_err(|status| error_code(&status)), expected);
        let inodes = ids[..most].iter().map(|id| bytes_of(*id)).collect();
        let request = client.request(pb::GetInodesRequest { bucket: bucket.clone(), ids: inodes });
        let answer = client.meta.get_inodes(request).await.map(|answer| answer.into_inner().inodes.len());
        assert_eq!(answer.map_err(|status| error_code(&status)), expected);
    }
}

async fn next_event(events: &mut tonic::Streaming<pb::Event>) -> pb::event::Event {
    loop {
        let event = tokio::time::timeout(PATIENCE, events.next()).await.expect("an event comes").unwrap().unwrap();
        match event.event.unwrap() {
            pb::event::Event::Beat(_) => {}
            other => return other,
        }
    }
}

#[tokio::test]
async fn changes_are_pushed_and_can_be_resumed() {
    let mut client = Client::new(1).await;
    let mut events = client.subscribe(vec![]).await;
    let made = create(InodeId::random(), client.root, "a", pb::InodeKind::Directory);
    client.apply(vec![mutation(vec![made])]).await;
    let pb::event::Event::Change(change) = next_event(&mut events).await else { panic!("a change comes") };
    assert_eq!((change.sequence, change.kind()), (1, pb::change::Kind::Created));
    drop(events);
    let made = create(InodeId::random(), client.root, "b", pb::InodeKind::Directory);
    client.apply(vec![mutation(vec![made])]).await;
    let from = vec![pb::Position { bucket: bytes_of(client.bucket), sequence: 1 }];
    let mut events = client.subscribe(from).await;
    let pb::event::Event::Change(change) = next_event(&mut events).await else { panic!("a change comes") };
    assert_eq!((change.sequence, change.name.unwrap().name), (2, Bytes::from_static(b"b")));
}

#[tokio::test]
async fn another_writer_waits_until_the_lease_is_given_back() {
    let mut client = Client::new(1).await;
    let mut events = client.subscribe(vec![]).await;
    let request = client.request(pb::AcquireWriteLeaseRequest { bucket: bytes_of(client.bucket), holder: "a".into() });
    let lease = client.meta.acquire_write_lease(request).await.unwrap().into_inner();
    let made = create(InodeId::random(), client.root, "a", pb::InodeKind::File);
    let other = pb::ApplyRequest {
        bucket: bytes_of(client.bucket),
        mutations: vec![mutation(vec![made])],
        ..Default::default()
    };
    let (request, mut meta) = (client.request(other), client.meta.clone());
    let waiting = tokio::spawn(async move { meta.apply(request).await.unwrap().into_inner() });
    assert!(matches!(next_event(&mut events).await, pb::event::Event::Recall(_)));
    assert!(!waiting.is_finished());
    let request =
        client.request(pb::RenewWriteLeaseRequest { bucket: bytes_of(client.bucket), lease: lease.lease.clone() });
    assert!(client.meta.renew_write_lease(request).await.unwrap().into_inner().recalled);
    let request = client.request(pb::AcquireWriteLeaseRequest { bucket: bytes_of(client.bucket), holder: "b".into() });
    assert_eq!(error_code(&client.meta.acquire_write_lease(request).await.unwrap_err()), ErrorCode::Retry);
    let request = client.request(pb::ReleaseWriteLeaseRequest { bucket: bytes_of(client.bucket), lease: lease.lease });
    client.meta.release_write_lease(request).await.unwrap();
    let answer = tokio::time::timeout(PATIENCE, waiting).await.expect("the other writer goes on").unwrap();
    ok(&answer.results[0]);
}

#[tokio::test]
async fn a_bucket_is_deleted_with_what_a_lease_holder_had_in_mind() {
    let mut client = Client::new(1).await;
    let mut events = client.subscribe(vec![]).await;
    let request = client.request(pb::AcquireWriteLeaseRequest { bucket: bytes_of(client.bucket), holder: "a".into() });
    let lease = client.meta.acquire_write_lease(request).await.unwrap().into_inner();
    let delete = client.request(pb::DeleteBucketRequest { id: bytes_of(client.bucket), with_content: false });
    let mut meta = client.meta.clone();
    let waiting = tokio::spawn(async move { meta.delete_bucket(delete).await });
    let pb::event::Event::Recall(recall) = next_event(&mut events).await else { panic!("the lease is recalled") };
    assert_eq!((recall.fencing, recall.expires_at), (lease.fencing, lease.expires_at));
    let made = create(InodeId::random(), client.root, "a", pb::InodeKind::File);
    let last = pb::ApplyRequest {
        bucket: bytes_of(client.bucket),
        mutations: vec![mutation(vec![made])],
        write_lease: lease.lease.clone(),
        fencing: lease.fencing,
    };
    let request = client.request(last);
    ok(&client.meta.apply(request).await.unwrap().into_inner().results[0]);
    let request = client.request(pb::ReleaseWriteLeaseRequest { bucket: bytes_of(client.bucket), lease: lease.lease });
    client.meta.release_write_lease(request).await.unwrap();
    let refused = tokio::time::timeout(PATIENCE, waiting).await.expect("the deletion goes on").unwrap().unwrap_err();
    assert_eq!(error_code(&refused), ErrorCode::NotEmpty, "what was decided under the lease counts");
}

#[tokio::test]
async fn staged_uploads_are_seen_and_dropped() {
    let mut client = Client::new(1).await;
    let (txn, extent) = (TxnId::random(), extent(BlobId::random(), 10));
    let length = extent.header.sealed_len();
    let place = Some(pb::blob::Place::Inline(vec![0; usize::try_from(length).unwrap()].into()));
    let blob = pb::Blob { id: bytes_of(extent.blob), length, place };
    let (bucket, txn) = (bytes_of(client.bucket), bytes_of(txn));
    let stage = pb::StageRequest { bucket: bucket.clone(), txn: txn.clone(), blobs: vec![blob], ..Default::default() };
    let request = client.request(stage);
    client.meta.stage(request).await.unwrap();
    let request = client.request(pb::GetStagedRequest { bucket: bucket.clone(), txn: txn.clone() });
    let staged = client.meta.get_staged(request).await.unwrap().into_inner();
    assert_eq!((staged.blobs.len(), staged.blobs[0].length), (1, length));
    let request = client.request(pb::AbortStagedRequest { bucket: bucket.clone(), txn: txn.clone() });
    client.meta.abort_staged(request).await.unwrap();
    let request = client.request(pb::GetStagedRequest { bucket, txn });
    assert!(client.meta.get_staged(request).await.unwrap().into_inner().blobs.is_empty());
}

#[tokio::test]
async fn refusals_name_the_field_and_strangers_find_nothing() {
    let mut client = Client::new(1).await;
    let request = client.request(pb::LookupRequest { bucket: vec![1; 3].into(), ..Default::default() });
    let refused = client.meta.lookup(request).await.unwrap_err();
    assert_eq!(error_code(&refused), ErrorCode::InvalidArgument);
    let mutations = vec![pb::Mutation::default(); 1025];
    let request = client.request(pb::ApplyRequest { bucket: bytes_of(client.bucket), mutations, ..Default::default() });
    assert_eq!(error_code(&client.meta.apply(request).await.unwrap_err()), ErrorCode::TooLarge);
    let unlinked = mutation(vec![create(InodeId::random(), InodeId::random(), "x", pb::InodeKind::File)]);
    let answer = client.apply(vec![unlinked]).await;
    assert_eq!(code(&answer.results[0]), Some(ErrorCode::NotFound));
    let (account, session) = (AccountId::random(), SessionId::random());
    add_session(&client.test, account, session, &SigningKey::from_bytes(&[7; 32])).await;
    client.token = client.test.app.tokens.access(account, session, None).unwrap().token;
    let request = client.request(pb::GetWritersRequest { bucket: bytes_of(client.bucket) });
    assert_eq!(error_code(&client.meta.get_writers(request).await.unwrap_err()), ErrorCode::NotFound);
    let request = client.request(pb::ListBucketsRequest::default());
    assert!(client.meta.list_buckets(request).await.unwrap().into_inner().buckets.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_about_many_large_inodes_can_be_sent() {
    let mut client = Client::new(0).await;
    let inodes: Vec<InodeId> = (0..1000).map(|_| InodeId::random()).collect();
    let named: Vec<(String, InodeId)> = inodes.iter().map(|id| (id.to_string(), *id)).collect();
    // 70 MB of them, as whoever sets extended attributes of many files can make.
    for part in named.chunks(500) {
        let made = part.iter().map(|(name, id)| match create(*id, client.root, name, pb::InodeKind::File) {
            Op::Create(create) => {
                mutation(vec![Op::Create(pb::Create { sealed_meta: vec![7; 70_000].into(), ..create })])
            }
            _ => unreachable!(),
        });
        let made = made.collect();
        client.apply(made).await.results.iter().for_each(ok);
    }
    let touched = inodes.iter().map(|id| {
        mutation(vec![Op::SetAttributes(pb::SetAttributes {
            inode: bytes_of(*id),
            mode: Some(0o600),
            ..Default::default()
        })])
    });
    let touched = client.apply(touched.collect()).await;
    touched.results.iter().for_each(ok);
    assert_eq!(touched.results.len(), inodes.len());
    assert!(touched.results[0].operations[0].inode.is_some());
    let (bucket, directory) = (bytes_of(client.bucket), bytes_of(client.root));
    let listing = client.request(pb::ReadDirectoryRequest { bucket: bucket.clone(), directory, ..Default::default() });
    let mut listing = client.meta.read_directory(listing).await.unwrap().into_inner();
    let mut found = 0;
    while let Some(part) = listing.next().await {
        let part = part.unwrap();
        assert_eq!(part.entries.len(), part.inodes.len());
        assert!(part.inodes.iter().all(|inode| inode.sealed_meta.len() == 70_000));
        found += part.inodes.len();
    }
    assert_eq!(found, inodes.len());
}
