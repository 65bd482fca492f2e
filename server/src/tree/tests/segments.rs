//! Segments: proofs, placements, staging, slack, and when they are freed.

use bytes::Bytes;
use cyx_core::error::ErrorCode;
use cyx_core::extent::Extent;
use cyx_core::ids::{InodeId, NodeId, Random as _, SegmentId, TxnId};
use cyx_core::receipt::Receipt;
use cyx_core::scheme::Scheme;
use cyx_core::segment::shard_len;
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use pb::operation::Operation as Op;
use pb::unlink::Mode;

use super::support::*;
use crate::nodes::NodeRecord;
use crate::placement::ReadFrom;
use crate::tree::model::InodeKind::File;
use crate::tree::{collect, file, staging};

const SCHEME: (u32, u32) = (4, 2);
const PLAIN: u64 = 50_000;

fn scheme() -> Scheme {
    Scheme::new(SCHEME.0, SCHEME.1).unwrap()
}

/// A commit of one blob that fills one segment with these shards.
struct Upload {
    tree: TestTree,
    lease: TestLease,
    file: InodeId,
    segment: pb::SegmentUpload,
    receipts: Vec<Bytes>,
    extent: Extent,
    blob: pb::Blob,
}

impl Upload {
    async fn new(shards: &[usize]) -> Self {
        Self::of(scheme(), shards).await
    }

    async fn of(scheme: Scheme, shards: &[usize]) -> Self {
        let tree = TestTree::new().await;
        let lease = tree.lease(scheme, 10 * PLAIN).await;
        let file = tree.make(tree.root, "f", File).await;
        let (segment, receipts) = tree.upload(&lease, sealed(PLAIN), shards);
        let (extent, blob) = placed(0, PLAIN, segment.segment.as_ref().unwrap(), 0);
        Self { tree, lease, file, segment, receipts, extent, blob }
    }

    fn segment(&mut self) -> &mut pb::Segment {
        self.segment.segment.as_mut().unwrap()
    }

    fn commit(&self) -> pb::Commit {
        let mut commit = self.tree.commit(self.file, 0, std::slice::from_ref(&self.extent), vec![self.blob.clone()]);
        commit.segments = vec![self.segment.clone()];
        commit.receipts.clone_from(&self.receipts);
        commit
    }

    async fn result(&self) -> Option<ErrorCode> {
        let result = code(&self.tree.one(Op::Commit(self.commit())).await);
        if result.is_some() {
            assert_eq!(self.tree.bytes().await, (0, 0, 10 * PLAIN), "a refusal leaves nothing behind");
        }
        self.tree.check().await;
        result
    }

    /// Which shards of the segment are stored, and which are to be repaired.
    async fn stored(&self) -> (u64, Vec<i64>) {
        let mut read = self.tree.test.db.read().await.unwrap();
        let found = file::file(&mut read, self.tree.bucket, self.file, 0, 0..u64::MAX).await.unwrap();
        let text = "SELECT shard FROM repair ORDER BY shard";
        let queued = sqlx::query_scalar(text).fetch_all(&mut *read).await.unwrap();
        (found.answer.segments[0].present, queued)
    }
}

#[tokio::test]
async fn a_proven_segment_is_committed_and_found_again() {
    let upload = Upload::new(&[0, 1, 2, 3, 5]).await;
    assert_eq!(upload.result().await, None);
    let tree = &upload.tree;
    assert_eq!(tree.bytes().await, (sealed(PLAIN), 0, 10 * PLAIN - sealed(PLAIN)));
    let mut read = tree.test.db.read().await.unwrap();
    let found = file::file(&mut read, tree.bucket, upload.file, 0, 0..u64::MAX).await.unwrap();
    assert_eq!(found.answer.blobs, std::slice::from_ref(&upload.blob));
    assert_eq!(found.answer.segments, [upload.segment.segment.clone().unwrap()]);
    assert_eq!(found.answer.placements[0].nodes.len(), 6);
    let bytes = shard_len(upload.lease.scheme, found.answer.segments[0].length);
    let mut holders = [0, 1, 2, 3, 5].map(|shard| ReadFrom { node: upload.lease.nodes[shard], bytes });
    holders.sort_by_key(|holder| holder.node);
    assert_eq!(found.nodes, holders);
    // What is missing waits to be repaired.
    let row = sqlx::query("SELECT shard FROM repair").fetch_all(&mut *read).await.unwrap();
    let shards: Vec<i64> = row.iter().map(|row| sqlx::Row::get(row, 0)).collect();
    assert_eq!(shards, [4]);
}

#[tokio::test]
async fn too_few_shards_are_refused() {
    assert_eq!(Upload::new(&[0, 1, 2, 3]).await.result().await, Some(ErrorCode::InvalidArgument));
}

/// One more than the quorum is there, so one may be unproven; it counts as not stored.
#[tokio::test]
async fn a_shard_counts_by_its_receipt_only() {
    for kind in 0..5 {
        let mut upload = Upload::new(&[0, 1, 2, 3, 4, 5]).await;
        let segment = upload.segment().clone();
        let receipts = upload.receipts.clone();
        // None at all, that of another node, of another lease, and broken ones.
        let bad = |upload: &Upload, shard: usize| {
            let node = upload.lease.nodes[shard];
            let other = TestLease { lease: cyx_core::ids::LeaseId::random(), ..clone_of(&upload.lease) };
            let mut broken = receipts[shard].to_vec();
            broken[30] ^= 1;
            match kind {
                0 => Bytes::new(),
                1 => upload.tree.receipt(&upload.lease, &segment, shard, upload.lease.spares[0]),
                2 => upload.tree.receipt(&other, &segment, shard, node),
                3 => broken.into(),
                _ => Bytes::from_static(b"cyxR"),
            }
        };
        upload.receipts[5] = bad(&upload, 5);
        for (shard, good) in receipts.iter().enumerate().take(5) {
            upload.receipts[shard] = bad(&upload, shard);
            assert_eq!(upload.result().await, Some(ErrorCode::Restage), "kind {kind}, shards {shard} and 5");
            upload.receipts[shard].clone_from(good);
        }
        assert_eq!(upload.result().await, None, "kind {kind}");
        assert_eq!(upload.stored().await, (0b01_1111, vec![5]), "kind {kind}");
    }
}

/// A node whose clock is wrong, or that lies, must not spoil an upload that enough others have.
#[tokio::test]
async fn a_receipt_of_another_time_proves_nothing_and_spoils_nothing() {
    let wide = Scheme::DEFAULT;
    for (wrong, ahead, refused) in [
        (1, 121, None),
        (wide.n() - wide.write_quorum(), 180, None),
        (wide.n() - wide.write_quorum() + 1, 180, Some(ErrorCode::Restage)),
        (1, -(24 * 3600 + 1), None),
        (wide.n(), 120, None),
    ] {
        let all: Vec<usize> = (0..wide.n()).collect();
        let mut upload = Upload::of(wide, &all).await;
        for shard in 0..wrong {
            let mut receipt = Receipt::read_unchecked(&upload.receipts[shard]).unwrap();
            receipt.issued = receipt.issued.checked_add_signed(ahead).unwrap();
            upload.receipts[shard] = receipt.sign(&upload.tree.network.keys[&receipt.node]).into();
        }
        assert_eq!(upload.result().await, refused, "{wrong} by {ahead} s");
        if refused.is_none() {
            let unproven = if ahead == 120 { 0 } else { wrong };
            let lost: Vec<i64> = (0..i64::try_from(unproven).unwrap()).collect();
            let present = ((1 << wide.n()) - 1) & !((1 << unproven) - 1);
            assert_eq!(upload.stored().await, (present, lost), "{wrong} by {ahead} s");
        }
    }
}

fn clone_of(lease: &TestLease) -> TestLease {
    TestLease {
        lease: lease.lease,
        placement: lease.placement,
        scheme: lease.scheme,
        nodes: lease.nodes.clone(),
        spares: lease.spares.clone(),
    }
}

#[tokio::test]
async fn receipts_expire() {
    let upload = Upload::new(&[0, 1, 2, 3, 4]).await;
    upload.tree.pass_seconds(24 * 3600 + 1);
    let result = code(&upload.tree.one(Op::Commit(upload.commit())).await);
    assert_eq!(result, Some(ErrorCode::Restage), "who slept in between stores it again");
}

#[tokio::test]
async fn receipts_must_fit_the_segment_exactly() {
    for change in 0..4 {
        let mut upload = Upload::new(&[0, 1, 2, 3, 4]).await;
        let segment = upload.segment();
        match change {
            0 => segment.length += 4,
            1 => segment.id = bytes_of(SegmentId::random()),
            2 => segment.roots = vec![9; 32 * 6].into(),
            _ => segment.present = 0b10_1111,
        }
        if change == 1 {
            let (extent, blob) = placed(0, PLAIN, &upload.segment().clone(), 0);
            (upload.extent, upload.blob) = (extent, blob);
        }
        // Other bytes than were signed for are an error; shards of which nothing is signed are only missing.
        let refused = if change % 2 == 0 { ErrorCode::InvalidArgument } else { ErrorCode::Restage };
        assert_eq!(upload.result().await, Some(refused), "change {change}");
    }
}

#[tokio::test]
async fn shards_may_lie_on_spares_of_the_lease_only() {
    let mut upload = Upload::new(&[0, 1, 2, 3, 4]).await;
    let segment = upload.segment().clone();
    let spare = upload.lease.spares[0];
    let on = |node: NodeId| vec![pb::Override { shard: 4, node: bytes_of(node) }];
    let known: Vec<NodeId> = upload.lease.nodes.iter().chain(&upload.lease.spares).copied().collect();
    let outsider = *upload.tree.network.keys.keys().find(|node| !known.contains(node)).unwrap();
    // Not named by the lease; the node of another shard; somebody who did not sign.
    for node in [outsider, upload.lease.nodes[0]] {
        upload.segment().overrides = on(node);
        let receipt = upload.tree.receipt(&upload.lease, &segment, 4, node);
        upload.receipts.push(receipt);
        assert_eq!(upload.result().await, Some(ErrorCode::InvalidArgument));
    }
    upload.segment().overrides = on(spare);
    assert_eq!(upload.result().await, Some(ErrorCode::Restage));
    let receipt = upload.tree.receipt(&upload.lease, &segment, 4, spare);
    upload.receipts.push(receipt);
    assert_eq!(upload.result().await, None);
}

/// Whoever leaves in order has said what it holds. A shard that is committed there afterwards is not believed to be there.
#[tokio::test]
async fn a_shard_on_a_node_that_has_left_counts_as_not_stored() {
    for (left, refused) in [(1, None), (2, Some(ErrorCode::Restage))] {
        let upload = Upload::new(&[0, 1, 2, 3, 4, 5]).await;
        for node in &upload.lease.nodes[..left] {
            let record = NodeRecord { id: *node, ..crate::nodes::testing::node(1) };
            let write = upload.tree.test.db.write(move |conn| {
                let record = record.clone();
                Box::pin(async move {
                    crate::nodes::rows::register(conn, &record).await?;
                    let text = "UPDATE node SET leaving = 'exited' WHERE id = $1";
                    sqlx::query(text).bind(record.id.to_vec()).execute(conn).await?;
                    Ok::<_, crate::db::DbError>(())
                })
            });
            write.await.unwrap();
        }
        assert_eq!(upload.result().await, refused, "{left} have left");
        if refused.is_none() {
            assert_eq!(upload.stored().await, (0b11_1110, vec![0]));
        }
    }
}

#[tokio::test]
async fn a_lease_belongs_to_a_session_and_ends_with_its_allowance() {
    let mut upload = Upload::new(&[0, 1, 2, 3, 4]).await;
    let session = upload.tree.actor.session;
    upload.tree.actor.session = cyx_core::ids::SessionId([99; 16]);
    assert_eq!(upload.result().await, Some(ErrorCode::Restage));
    upload.tree.actor.session = session;
    let small = upload.tree.lease(scheme(), PLAIN).await;
    let (segment, receipts) = upload.tree.upload(&small, sealed(PLAIN), &[0, 1, 2, 3, 4]);
    let (extent, blob) = placed(0, PLAIN, segment.segment.as_ref().unwrap(), 0);
    let mut commit = upload.tree.commit(upload.file, 0, &[extent], vec![blob]);
    (commit.segments, commit.receipts) = (vec![segment], receipts);
    assert_eq!(code(&upload.tree.one(Op::Commit(commit)).await), Some(ErrorCode::InvalidArgument));
    upload.tree.check().await;
}

#[tokio::test]
async fn what_an_abandoned_lease_allows_stops_counting_until_it_is_used_again() {
    let upload = Upload::new(&[0, 1, 2, 3, 4]).await;
    let tree = &upload.tree;
    let pending = async || tree.bytes().await.2;
    assert_eq!(pending().await, 10 * PLAIN);
    tree.pass_seconds(179);
    assert_eq!(pending().await, 10 * PLAIN);
    tree.pass_seconds(1);
    assert_eq!(pending().await, 0, "whoever had it may be dead");
    // It was only slow.
    assert_eq!(code(&tree.one(Op::Commit(upload.commit())).await), None);
    assert_eq!(pending().await, 10 * PLAIN - sealed(PLAIN));
    tree.pass_seconds(180);
    assert_eq!(tree.bytes().await, (sealed(PLAIN), 0, 0));
    tree.check().await;
}

#[tokio::test]
async fn blobs_lie_inside_their_segment_and_leave_no_free_room() {
    let upload = Upload::new(&[0, 1, 2, 3, 4]).await;
    let tree = &upload.tree;
    let segment = upload.segment.segment.clone().unwrap();
    let attempt = async |extent: Extent, blob: pb::Blob, with_segment: bool| {
        let mut commit = tree.commit(upload.file, 0, &[extent], vec![blob]);
        if with_segment {
            commit.segments = vec![upload.segment.clone()];
            commit.receipts.clone_from(&upload.receipts);
        }
        code(&tree.one(Op::Commit(commit)).await)
    };
    let (extent, blob) = placed(0, PLAIN, &segment, 1);
    assert_eq!(attempt(extent, blob, true).await, Some(ErrorCode::InvalidArgument));
    let (extent, blob) = placed(0, 10, &segment, 0);
    assert_eq!(attempt(extent, blob, false).await, Some(ErrorCode::InvalidArgument), "no such segment");
    let (extent, blob) = inline(0, 10);
    assert_eq!(attempt(extent, blob, true).await, Some(ErrorCode::InvalidArgument), "no blob lies in the segment");
    // A small blob in a large segment: the rest counts all the same.
    let (extent, blob) = placed(0, 10, &segment, 0);
    assert_eq!(attempt(extent, blob, true).await, None);
    assert_eq!(tree.bytes().await.0, sealed(PLAIN));
    tree.check().await;
    // Others may be placed behind it while there is room.
    let other = tree.make(tree.root, "g", File).await;
    let (extent, blob) = placed(0, 20_000, &segment, sealed(10));
    ok(&tree.one(Op::Commit(tree.commit(other, 0, &[extent], vec![blob]))).await);
    assert_eq!(tree.bytes().await.0, sealed(PLAIN));
    let (extent, blob) = placed(0, 40_000, &segment, 0);
    let refused = tree.one(Op::Commit(tree.commit(other, 1, &[extent], vec![blob]))).await;
    assert_eq!(code(&refused), Some(ErrorCode::InvalidArgument));
    tree.check().await;
}

#[tokio::test]
async fn a_segment_is_freed_with_its_last_blob_and_forgotten_later() {
    let upload = Upload::new(&[0, 1, 2, 3, 4]).await;
    assert_eq!(upload.result().await, None);
    let tree = &upload.tree;
    ok(&tree.one(unlink(tree.root, "f", upload.file, Mode::Purge)).await);
    assert_eq!(tree.bytes().await.0, 0);
    tree.check().await;
    let forget = |before: i64| {
        tree.test.db.write(move |conn| {
            Box::pin(async move { Ok::<_, crate::tree::TreeError>(collect::forget_segments(conn, before).await?) })
        })
    };
    assert_eq!(forget(tree.now() - 1).await.unwrap(), 0);
    // Until then its id stays taken.
    let id = tree.make(tree.root, "g", File).await;
    let again = pb::Commit { inode: bytes_of(id), ..upload.commit() };
    let mut again = again;
    tree.sign(&mut again);
    assert_eq!(code(&tree.one(Op::Commit(again)).await), Some(ErrorCode::AlreadyExists));
    assert_eq!(forget(tree.now()).await.unwrap(), 1);
    let mut read = tree.test.db.read().await.unwrap();
    for table in ["segment", "segment_override", "repair"] {
        let text = sqlx::AssertSqlSafe(format!("SELECT 1 FROM {table}"));
        assert!(sqlx::query(text).fetch_optional(&mut *read).await.unwrap().is_none(), "{table}");
    }
}

#[tokio::test]
async fn staged_segments_count_and_are_taken_by_commits() {
    let upload = Upload::new(&[0, 1, 2, 3, 4]).await;
    let tree = &upload.tree;
    let txn = TxnId::random();
    let segment = upload.segment.segment.clone().unwrap();
    let (first, second) = (placed(0, 20_000, &segment, 0), placed(0, 25_000, &segment, sealed(20_000)));
    let blobs = vec![first.1.clone(), second.1.clone()];
    let stage = || tree.stage(txn, vec![upload.segment.clone()], blobs.clone(), &upload.receipts);
    stage().await.unwrap();
    let slack = sealed(PLAIN) - sealed(20_000) - sealed(25_000);
    let leased = 10 * PLAIN - sealed(PLAIN);
    let staged = sealed(20_000) + sealed(25_000);
    assert_eq!(tree.bytes().await, (slack, 0, leased + staged));
    tree.check().await;
    // A lost reply.
    stage().await.unwrap();
    assert_eq!(tree.bytes().await, (slack, 0, leased + staged));
    let mut read = tree.test.db.read().await.unwrap();
    let found = staging::staged(&mut read, tree.bucket, txn).await.unwrap();
    assert_eq!((found.segments.len(), found.blobs.len()), (1, 2));
    drop(read);
    // A commit that does not name the transaction cannot have its blobs.
    let mut commit = tree.commit(upload.file, 0, std::slice::from_ref(&first.0), vec![]);
    assert_eq!(code(&tree.one(Op::Commit(commit.clone())).await), Some(ErrorCode::AlreadyExists));
    commit.staged = bytes_of(txn);
    ok(&tree.one(Op::Commit(commit)).await);
    assert_eq!(tree.bytes().await, (slack + sealed(20_000), 0, leased + sealed(25_000)));
    tree.check().await;
    // What nobody commits goes after a while, and then it has to be staged again.
    tree.pass_seconds(7 * 24 * 3600);
    assert_eq!(tree.collect().await.staged, 1);
    assert_eq!(tree.bytes().await, (slack + sealed(20_000), 0, 0));
    let other = tree.make(tree.root, "g", File).await;
    let mut commit = tree.commit(other, 0, &[second.0], vec![]);
    commit.staged = bytes_of(txn);
    assert_eq!(code(&tree.one(Op::Commit(commit)).await), Some(ErrorCode::Restage));
    tree.check().await;
}

#[tokio::test]
async fn an_aborted_upload_leaves_nothing() {
    let upload = Upload::new(&[0, 1, 2, 3, 4]).await;
    let tree = &upload.tree;
    let txn = TxnId::random();
    let (_, inline_blob) = inline(0, 10);
    let blobs = vec![upload.blob.clone(), inline_blob];
    tree.stage(txn, vec![upload.segment.clone()], blobs, &upload.receipts).await.unwrap();
    let abort = || tree.in_bucket(move |work| Box::pin(work.abort_staged(txn)));
    abort().await.unwrap();
    abort().await.unwrap();
    assert_eq!(tree.bytes().await, (0, 0, 10 * PLAIN - sealed(PLAIN)));
    tree.check().await;
}
