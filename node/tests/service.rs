//! The chunk service over real connections: rights, receipts, reads, allowances, orders, TLS.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test that cannot go on has failed")]

mod cluster;

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use bytes::Bytes;
use cluster::{
    AT_MOST, Client, NOW, Running, TAG, chunk_parts, content, get, header, open, order, pass, server_key, session,
    signed,
};
use cyx_core::deletion::DeletionOrder;
use cyx_core::error::ErrorCode;
use cyx_core::grant::{Grant, Operations};
use cyx_core::ids::{BucketTag, ChunkId, Random as _};
use cyx_core::keeplist::Incarnation;
use cyx_core::proof;
use cyx_core::receipt::Receipt;
use cyx_core::sign;
use cyx_core::units::{FRAME_SEALED, FRAMES_PER_SHARD_MAX, KEEP_LIST_MARGIN_SECONDS, MIB};
use cyx_node::service::READS_MAX;
use cyx_proto::chunk::v1::chunk_state::Presence;
use cyx_proto::chunk::v1::store_chunk_request::Part;
use cyx_proto::chunk::v1::{
    DeleteChunkRequest, Flush, GetChunkRequest, StoreChunkRequest, StoreOpen, VerifyChunkRequest,
};
use cyx_proto::status::error_code;
use ed25519_dalek::SigningKey;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

const BOTH: Operations = Operations::STORE.and(Operations::READ);

fn chunks(sizes: &[usize]) -> Vec<(ChunkId, Vec<u8>)> {
    sizes.iter().enumerate().map(|(seed, len)| (ChunkId::random(), content(seed as u64, *len))).collect()
}

#[tokio::test]
async fn what_is_stored_has_a_receipt_and_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let node = Running::start(folder.path(), false).await;
    let mut client = node.client(&session()).await;
    let grant = node.grant(&session(), BOTH, 100 * MIB);
    let chunks = chunks(&[1, 16_384, 16_385, 524_800, 3_000_000]);
    let outcome = client.store(&grant, &chunks).await;
    assert!(outcome.end.is_none() && outcome.refused.is_empty());
    let mut received = Vec::new();
    for receipt in &outcome.receipts {
        let receipt = Receipt::verify(receipt, &node.node.identity.public_key()).unwrap();
        assert_eq!((receipt.node, receipt.grant, receipt.issued), (node.id(), grant.id, NOW));
        received.extend(receipt.chunks);
    }
    assert_eq!(received.len(), chunks.len());
    for (id, bytes) in &chunks {
        let receipt = received.iter().find(|chunk| chunk.id == *id).unwrap();
        assert_eq!((receipt.length as usize, receipt.root), (bytes.len(), *blake3::hash(bytes).as_bytes()));
        assert!(client.read(&grant, *id).await.unwrap() == *bytes);
    }
}

#[tokio::test]
async fn a_node_moves_little_without_an_order_and_everything_with_one() {
    let folder = tempfile::tempdir().unwrap();
    let node = Running::start(folder.path(), false).await;
    let mut client = node.client(&session()).await;
    let grant = node.grant(&session(), BOTH, 100 * MIB);
    let without = |order: Bytes| Part::Open(StoreOpen { grant: signed(&grant), order });
    let send = |order: Bytes, chunks: &[(ChunkId, Vec<u8>)]| {
        let parts = chunks.iter().flat_map(|(id, bytes)| chunk_parts(*id, TAG, bytes));
        std::iter::once(without(order)).chain(parts).collect::<Vec<_>>()
    };
    let big = chunks(&[10 << 20, 10 << 20]);
    let outcome = client.send(send(Bytes::new(), &big)).await;
    assert_eq!(outcome.stored(), [big[0].0]);
    assert_eq!(outcome.refused[0].code, ErrorCode::PermissionDenied.as_str());
    let outcome = client.send(send(order(&grant, 20 << 20), &big[1..])).await;
    assert_eq!(outcome.stored(), [big[1].0]);
    // Reads and stores together may be 16 MiB ahead of the order.
    let read = |order: Bytes, length| GetChunkRequest { length, order, ..get(&grant, big[0].0) };
    assert!(client.get(read(Bytes::new(), 9 << 20)).await.is_ok());
    let refused = client.get(read(Bytes::new(), 8 << 20)).await.unwrap_err();
    assert_eq!(error_code(&refused), ErrorCode::PermissionDenied);
    assert!(client.get(read(order(&grant, 40 << 20), 8 << 20)).await.is_ok());
    // What is refused for another reason is no traffic.
    for _ in 0..3 {
        let missing = GetChunkRequest { length: 0, ..get(&grant, ChunkId::random()) };
        assert_eq!(error_code(&client.get(missing).await.unwrap_err()), ErrorCode::NotFound);
    }
    let forged = Bytes::copy_from_slice(&[&order(&grant, 50 << 20)[..100], &[7; 9]].concat());
    for (order, code) in [
        (forged, ErrorCode::PermissionDenied),
        (order(&grant, (100 << 20) + 1), ErrorCode::PermissionDenied),
        (Bytes::from_static(b"order"), ErrorCode::InvalidArgument),
    ] {
        assert_eq!(error_code(&client.get(read(order.clone(), 1)).await.unwrap_err()), code);
        let end = client.send(send(order, &[])).await.end.unwrap();
        assert_eq!(error_code(&end), code);
    }
    let waiting = node.node.ledger.orders().waiting(9);
    assert_eq!(waiting.iter().map(|waiting| waiting.traffic).collect::<Vec<_>>(), [40 << 20]);
}

#[tokio::test]
async fn the_largest_shards_of_large_segments_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let node = Running::start(folder.path(), false).await;
    let mut client = node.client(&session()).await;
    let grant = node.grant(&session(), BOTH, 100 * MIB);
    let shard = usize::try_from(FRAMES_PER_SHARD_MAX * FRAME_SEALED).unwrap();
    let copy = shard * 10;
    for (id, bytes) in chunks(&[shard, copy]) {
        let outcome = client.store(&grant, &[(id, bytes.clone())]).await;
        assert_eq!(outcome.stored(), [id]);
        let read = GetChunkRequest { order: order(&grant, grant.allowance), ..get(&grant, id) };
        assert!(client.get(read).await.unwrap() == bytes);
    }
}

#[tokio::test]
async fn ranges_and_their_proofs_are_exact() {
    let folder = tempfile::tempdir().unwrap();
    let node = Running::start(folder.path(), false).await;
    let mut client = node.client(&session()).await;
    let grant = node.grant(&session(), BOTH, 100 * MIB);
    let bytes = content(1, 2_700_001);
    let id = ChunkId::random();
    client.store(&grant, &[(id, bytes.clone())]).await;
    let root = *blake3::hash(&bytes).as_bytes();
    for (offset, length) in
        [(0, 1), (16_383, 2), (5, 2_000_000), (2_700_000, 1), (1_048_576, 1_048_577), (0, 0), (9, 0)]
    {
        let end = if length == 0 { bytes.len() as u64 } else { offset + length };
        let expected = &bytes[usize::try_from(offset).unwrap()..usize::try_from(end).unwrap()];
        let plain = client.get(GetChunkRequest { offset, length, ..get(&grant, id) }).await.unwrap();
        assert!(plain == expected, "{offset} {length}");
        let request = GetChunkRequest { offset, length, with_proof: true, ..get(&grant, id) };
        let proven = client.get(request).await.unwrap();
        assert!(proof::verify(&root, bytes.len() as u64, offset..end, &proven).unwrap() == expected);
    }
    for (offset, length) in [(0, 2_700_002), (2_700_002, 0), (u64::MAX, 2), (1, u64::MAX)] {
        let refused = client.get(GetChunkRequest { offset, length, ..get(&grant, id) }).await.unwrap_err();
        assert_eq!(error_code(&refused), ErrorCode::InvalidArgument, "{offset} {length}");
    }
    let first = client.rpc.get_chunk(get(&grant, id)).await.unwrap().into_inner().message().await.unwrap().unwrap();
    assert_eq!((first.chunk_length, first.data.len()), (2_700_001, 256 * 1024));
}

#[tokio::test]
async fn a_grant_serves_who_proved_its_key_on_this_connection_only() {
    let folder = tempfile::tempdir().unwrap();
    let node = Running::start(folder.path(), false).await;
    let grant = node.grant(&session(), BOTH, MIB);
    let chunk = chunks(&[100]);
    let mut silent = Client::new(node.channel().await);
    let refused = silent.store(&grant, &chunk).await;
    assert_eq!(error_code(&refused.end.unwrap()), ErrorCode::InvalidCredentials);
    let mut other = node.client(&SigningKey::from_bytes(&[43; 32])).await;
    let refused = other.store(&grant, &chunk).await;
    assert_eq!(error_code(&refused.end.unwrap()), ErrorCode::InvalidCredentials);
    let mut owner = node.client(&session()).await;
    assert_eq!(owner.store(&grant, &chunk).await.stored(), [chunk[0].0]);
    assert_eq!(error_code(&silent.read(&grant, chunk[0].0).await.unwrap_err()), ErrorCode::InvalidCredentials);
    let probe = || cyx_proto::chunk::v1::ProbeBandwidthRequest { max_rate: 1_000_000 };
    let refused = silent.rpc.probe_bandwidth(probe()).await.unwrap_err();
    assert_eq!(error_code(&refused), ErrorCode::InvalidCredentials);
    owner.rpc.probe_bandwidth(probe()).await.unwrap();
    assert_eq!(owner.read(&grant, chunk[0].0).await.unwrap(), chunk[0].1);
    // A proof for another connection's challenge is worth nothing here.
    let theirs = owner.rpc.get_challenge(cyx_proto::chunk::v1::GetChallengeRequest {}).await.unwrap().into_inner();
    let body = [&theirs.node_id[..], &theirs.challenge].concat();
    let proof = cyx_proto::chunk::v1::ProvePossessionRequest {
        session_key: Bytes::copy_from_slice(&session().verifying_key().to_bytes()),
        signature: Bytes::copy_from_slice(&sign::sign(&session(), sign::Purpose::Possession, &body)),
    };
    let refused = silent.rpc.prove_possession(proof).await.unwrap_err();
    assert_eq!(error_code(&refused), ErrorCode::InvalidCredentials);
}

#[tokio::test]
async fn only_what_a_grant_says_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let node = Running::start(folder.path(), false).await;
    let mut client = node.client(&session()).await;
    let good = node.grant(&session(), BOTH, MIB);
    let chunk = chunks(&[100]);
    client.store(&good, &chunk).await;
    let id = chunk[0].0;
    let cases: [(Grant, ErrorCode); 5] = [
        (Grant { operations: Operations::STORE, ..good.clone() }, ErrorCode::PermissionDenied),
        (Grant { node: cyx_core::ids::NodeId::random(), ..good.clone() }, ErrorCode::PermissionDenied),
        (Grant { tags: vec![BucketTag([9; 16])], ..good.clone() }, ErrorCode::PermissionDenied),
        (Grant { expires: NOW, ..good.clone() }, ErrorCode::TokenExpired),
        (Grant { not_before: NOW + 200, ..good.clone() }, ErrorCode::TokenExpired),
    ];
    for (grant, code) in cases {
        assert_eq!(error_code(&client.read(&grant, id).await.unwrap_err()), code, "{grant:?}");
    }
    let forged = GetChunkRequest { grant: good.sign(&SigningKey::from_bytes(&[1; 32])).into(), ..get(&good, id) };
    assert_eq!(error_code(&client.get(forged).await.unwrap_err()), ErrorCode::PermissionDenied);
    // A chunk of another bucket is not there, whoever asks.
    let other = Grant { tags: vec![BucketTag([9; 16])], ..good.clone() };
    let request = GetChunkRequest { bucket_tag: vec![9; 16].into(), ..get(&other, id) };
    assert_eq!(error_code(&client.get(request).await.unwrap_err()), ErrorCode::NotFound);
    let reading = Grant { operations: Operations::READ, ..good };
    assert_eq!(error_code(&client.store(&reading, &chunk).await.end.unwrap()), ErrorCode::PermissionDenied);
}

#[tokio::test]
async fn a_refused_chunk_does_not_end_the_stream() {
    let folder = tempfile::tempdir().unwrap();
    let node = Running::start(folder.path(), false).await;
    let mut client = node.client(&session()).await;
    let grant = node.grant(&session(), BOTH, 100 * MIB);
    let [lying, foreign, good] = [1, 2, 3].map(|seed| (ChunkId::random(), content(seed, 300_000)));
    let mut parts = vec![open(&grant)];
    parts.push(Part::Header(header(lying.0, TAG, &content(9, 300_000))));
    parts.extend(chunk_parts(lying.0, TAG, &lying.1).into_iter().skip(1));
    parts.extend(chunk_parts(foreign.0, BucketTag([8; 16]), &foreign.1));
    parts.extend(chunk_parts(good.0, TAG, &good.1));
    parts.push(Part::Flush(Flush {}));
    let outcome = client.send(parts).await;
    assert!(outcome.end.is_none());
    assert_eq!(outcome.stored(), [good.0]);
    let mut refused: Vec<_> =
        outcome.refused.iter().map(|refused| (&refused.chunk_id[..], &refused.code[..])).collect();
    refused.sort_by_key(|(_, code)| *code);
    assert_eq!(refused, [(&lying.0.0[..], "INTEGRITY"), (&foreign.0.0[..], "PERMISSION_DENIED")]);
    let taken = client.store(&grant, &[(good.0, content(7, 100))]).await;
    assert_eq!(taken.refused[0].code, "ALREADY_EXISTS");
}

#[tokio::test]
async fn a_broken_contract_ends_the_stream_after_the_receipts() {
    let folder = tempfile::tempdir().unwrap();
    let node = Running::start(folder.path(), false).await;
    let mut client = node.client(&session()).await;
    let grant = node.grant(&session(), BOTH, 100 * MIB);
    let data = || Part::Data(Bytes::from_static(b"0123456789"));
    let head = |len: usize| Part::Header(header(ChunkId::random(), TAG, &content(1, len)));
    let cases: [(&str, Vec<Part>); 6] = [
        ("no grant", vec![data()]),
        ("data without a header", vec![open(&grant), data()]),
        ("more data than announced", vec![open(&grant), head(9), data()]),
        ("cut short", vec![open(&grant), head(11), data()]),
        ("a header inside a chunk", vec![open(&grant), head(11), head(11)]),
        ("opened twice", vec![open(&grant), open(&grant)]),
    ];
    for (what, parts) in cases {
        let good = (ChunkId::random(), content(1, 1000));
        let mut whole = Vec::new();
        if matches!(parts[0], Part::Open(_)) {
            whole.push(open(&grant));
            whole.extend(chunk_parts(good.0, TAG, &good.1));
            whole.extend(parts.into_iter().skip(1));
        } else {
            whole = parts;
        }
        let had_good = whole.len() > 1;
        let outcome = client.send(whole).await;
        assert_eq!(error_code(&outcome.end.clone().unwrap()), ErrorCode::InvalidArgument, "{what}");
        assert_eq!(outcome.stored(), if had_good { vec![good.0] } else { vec![] }, "{what}");
    }
    let mut huge = header(ChunkId::random(), TAG, b"x");
    huge.length = u32::MAX;
    let outcome = client.send(vec![open(&grant), Part::Header(huge)]).await;
    assert_eq!(error_code(&outcome.end.unwrap()), ErrorCode::TooLarge);
    let garbage = vec![Part::Open(StoreOpen { grant: Bytes::from_static(&[7; 300]), order: Bytes::new() })];
    assert_eq!(error_code(&client.send(garbage).await.end.unwrap()), ErrorCode::InvalidArgument);
}

#[tokio::test]
async fn an_allowance_is_not_exceeded_and_not_renewed_by_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let node = Running::start(folder.path(), false).await;
    let grant = node.grant(&session(), BOTH, 1_000_000);
    let chunks = chunks(&[600_000, 400_001, 400_000]);
    let mut client = node.client(&session()).await;
    let outcome = client.store(&grant, &chunks[..2]).await;
    assert_eq!(outcome.stored(), [chunks[0].0]);
    assert_eq!(outcome.refused[0].code, "QUOTA_EXCEEDED");
    // Storing again what is there uses nothing.
    let outcome = client.store(&grant, &chunks[2..]).await;
    assert_eq!(outcome.stored(), [chunks[2].0]);
    drop(client);
    node.crash().await;
    let node = Running::start(folder.path(), false).await;
    let mut client = node.client(&session()).await;
    let outcome = client.store(&grant, &[(ChunkId::random(), vec![1])]).await;
    assert_eq!(outcome.refused[0].code, "QUOTA_EXCEEDED", "the grant was used up before the crash");
    assert!(client.read(&grant, chunks[0].0).await.unwrap() == chunks[0].1);
}

#[tokio::test]
async fn chunks_are_verified_without_their_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let node = Running::start(folder.path(), false).await;
    let mut client = node.client(&session()).await;
    let grant = node.grant(&session(), BOTH, MIB);
    let chunks = chunks(&[100, 200, 70_000]);
    client.store(&grant, &chunks).await;
    node.node.store.trash(vec![chunks[1].0], u64::MAX).await.unwrap();
    let volume = folder.path().join("volumes/00000001.cyxvol");
    let file = std::fs::OpenOptions::new().read(true).write(true).open(volume).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0; 16], 4096 + 2 * 4096 + 1000).unwrap();
    let request = |scrub| VerifyChunkRequest {
        grant: signed(&grant),
        bucket_tag: TAG.to_vec().into(),
        chunk_ids: chunks.iter().map(|(id, _)| *id).chain([ChunkId::random()]).map(|id| id.to_vec().into()).collect(),
        scrub,
    };
    let mut presences = Vec::new();
    for scrub in [false, true, false] {
        let states = client.rpc.verify_chunk(request(scrub)).await.unwrap().into_inner().states;
        assert_eq!((states[0].length, &states[0].root[..]), (100, &blake3::hash(&chunks[0].1).as_bytes()[..]));
        presences.push(states.iter().map(|state| state.presence()).collect::<Vec<_>>());
    }
    use Presence::{Damaged, Missing, Present, Trashed};
    assert_eq!(presences[0], [Present, Trashed, Present, Missing]);
    assert_eq!(presences[1], [Present, Trashed, Damaged, Missing]);
    assert_eq!(presences[2], [Present, Trashed, Damaged, Missing], "it is remembered");
    assert_eq!(error_code(&client.read(&grant, chunks[2].0).await.unwrap_err()), ErrorCode::Integrity);
    assert_eq!(error_code(&client.read(&grant, chunks[1].0).await.unwrap_err()), ErrorCode::NotFound);
    let many = VerifyChunkRequest { chunk_ids: vec![vec![7; 16].into(); 4096], ..request(false) };
    assert_eq!(client.rpc.verify_chunk(many).await.unwrap().into_inner().states.len(), 4096);
    let nothing = VerifyChunkRequest { chunk_ids: vec![Bytes::new(); 70_000], ..request(false) };
    assert_eq!(client.rpc.verify_chunk(nothing).await.unwrap_err().code(), tonic::Code::OutOfRange, "it was decoded");
}

#[tokio::test]
async fn only_the_server_orders_deletions_and_only_of_what_is_older() {
    let folder = tempfile::tempdir().unwrap();
    let node = Running::start(folder.path(), false).await;
    let mut client = node.client(&session()).await;
    let grant = node.grant(&session(), BOTH, MIB);
    let chunks = chunks(&[100]);
    client.store(&grant, &chunks).await;
    let order = DeletionOrder {
        key: sign::key_id(&server_key().verifying_key().to_bytes()),
        node: node.id(),
        issued: NOW + 1,
        chunks: vec![chunks[0].0],
    };
    let mut delete = async |order: &DeletionOrder, key: &SigningKey| {
        let request = DeleteChunkRequest { order: order.sign(key).into() };
        client.rpc.delete_chunk(request).await.map(|answer| answer.into_inner().trashed)
    };
    let refused = delete(&order, &session()).await.unwrap_err();
    assert_eq!(error_code(&refused), ErrorCode::PermissionDenied);
    let old = DeletionOrder { issued: NOW - 3600, ..order.clone() };
    assert_eq!(error_code(&delete(&old, &server_key()).await.unwrap_err()), ErrorCode::PermissionDenied);
    assert_eq!(delete(&order, &server_key()).await.unwrap(), 0, "it was just stored");
    let later = NOW + KEEP_LIST_MARGIN_SECONDS;
    node.time.store(later, SeqCst);
    let order = DeletionOrder { issued: later + 1, ..order };
    assert_eq!(delete(&order, &server_key()).await.unwrap(), 0, "it is not older than 48 hours");
    node.time.store(later + 1, SeqCst);
    let restored = |time| Incarnation { time, random: 1 };
    node.node.store.note_incarnation(restored(1)).await.unwrap();
    node.node.store.note_incarnation(restored(2)).await.unwrap();
    let refused = delete(&order, &server_key()).await.unwrap_err();
    assert_eq!(
        error_code(&refused),
        ErrorCode::PermissionDenied,
        "the operator has not confirmed the restored database"
    );
    assert!(node.node.store.confirm_incarnation(restored(2)).await.unwrap());
    assert_eq!(delete(&order, &server_key()).await.unwrap(), 1);
    assert_eq!(delete(&order, &server_key()).await.unwrap(), 0);
}

/// Many streams with large chunks at once: memory permits make them wait, and all of them finish.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_large_streams_wait_for_each_other_and_all_finish() {
    let folder = tempfile::tempdir().unwrap();
    let node = Arc::new(Running::start(folder.path(), false).await);
    let tasks: Vec<_> = (0..6_u64)
        .map(|stream| {
            let node = Arc::clone(&node);
            tokio::spawn(async move {
                let mut client = node.client(&session()).await;
                let grant = node.grant(&session(), BOTH, 100 * MIB);
                let chunks: Vec<_> =
                    (0..3).map(|seed| (ChunkId::random(), content(stream * 10 + seed, 9 << 20))).collect();
                let mut stored = client.store(&grant, &chunks).await.stored();
                stored.sort();
                let mut sent: Vec<_> = chunks.iter().map(|(id, _)| *id).collect();
                sent.sort();
                assert_eq!(stored, sent);
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(node.node.store.usage().chunks, 18);
}

/// Whether this is not answered while the node answers others: a machine that stands still holds up those as well.
async fn waits(node: &Running, read: impl Future) -> bool {
    let others = async {
        for key in 100..120 {
            node.client(&SigningKey::from_bytes(&[key; 32])).await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    tokio::select! {
        biased;
        _ = read => false,
        () = others => true,
    }
}

#[tokio::test]
async fn clients_that_take_nothing_keep_nobody_from_reading_for_long() {
    let folder = tempfile::tempdir().unwrap();
    let node = Running::start(folder.path(), false).await;
    let grant = node.grant(&session(), BOTH, 100 * MIB);
    let chunk = chunks(&[1_000_000]);
    let mut owner = node.client(&session()).await;
    owner.store(&grant, &chunk).await;
    let small = |grant: &Grant| GetChunkRequest { length: 10, ..get(grant, chunk[0].0) };
    // A window of 1000 bytes is enough to prove a key, and to leave all else of an answer where it is.
    let mut stuck = Vec::new();
    for key in [50, 51] {
        let key = SigningKey::from_bytes(&[key; 32]);
        let address = Channel::from_shared(format!("http://{}", node.address)).unwrap();
        let channel = address.initial_stream_window_size(1000).connect().await.unwrap();
        let mut client = Client::new(channel);
        client.prove(&key).await.unwrap();
        let theirs = node.grant(&key, Operations::READ, 100 * MIB);
        for _ in 0..READS_MAX / 2 {
            // So much may be read without an order.
            let wanted = GetChunkRequest { length: 500_000, ..get(&theirs, chunk[0].0) };
            stuck.push(client.rpc.get_chunk(wanted).await.unwrap());
        }
        let more = client.rpc.get_chunk(small(&theirs));
        assert!(waits(&node, more).await, "one session reads half of what is possible");
        if stuck.len() < READS_MAX {
            tokio::time::timeout(AT_MOST, owner.get(small(&grant))).await.unwrap().unwrap();
        }
    }
    assert!(waits(&node, owner.get(small(&grant))).await, "all permits are taken");
    pass(301).await;
    assert_eq!(tokio::time::timeout(AT_MOST, owner.get(small(&grant))).await.unwrap().unwrap(), chunk[0].1[..10]);
}

#[tokio::test]
async fn a_chunk_that_comes_in_trickles_ends_its_stream() {
    let folder = tempfile::tempdir().unwrap();
    let node = Running::start(folder.path(), false).await;
    let grant = node.grant(&session(), BOTH, 100 * MIB);
    let mut client = node.client(&session()).await;
    let (parts, sent) = tokio::sync::mpsc::channel(4);
    let send = async |part| parts.send(StoreChunkRequest { part: Some(part) }).await.unwrap();
    send(open(&grant)).await;
    let chunk = content(1, 640 * 1024);
    send(Part::Header(header(ChunkId::random(), TAG, &chunk))).await;
    let mut answers = client.rpc.store_chunk(ReceiverStream::new(sent)).await.unwrap().into_inner();
    // Never a minute without a byte, but in 380 seconds all of them should be there.
    for byte in 0..10 {
        send(Part::Data(Bytes::copy_from_slice(&chunk[byte..=byte]))).await;
        pass(40).await;
    }
    let end = tokio::time::timeout(AT_MOST, answers.message()).await.unwrap();
    assert_eq!(error_code(&end.unwrap_err()), ErrorCode::Unavailable);
}

mod tls {
    use super::*;
    use hyper_util::rt::TokioIo;
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{DigitallySignedStruct, SignatureScheme};
    use tonic::transport::Endpoint;

    /// Believes one public key and nothing else, as clients do.
    #[derive(Debug)]
    struct Pinned([u8; 32]);

    impl ServerCertVerifier for Pinned {
        fn verify_server_cert(
            &self,
            certificate: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            // The public key ends the only Ed25519 SubjectPublicKeyInfo there is.
            let spki: Vec<u8> = [&[0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0][..], &self.0].concat();
            match certificate.windows(spki.len()).any(|window| window == spki) {
                true => Ok(ServerCertVerified::assertion()),
                false => Err(rustls::Error::General("another key".to_owned())),
            }
        }
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Err(rustls::Error::General("TLS 1.3 only".to_owned()))
        }
        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
            rustls::crypto::verify_tls13_signature(message, certificate, signature, &algorithms)
        }
        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ED25519]
        }
    }

    async fn connect(address: &str, key: [u8; 32]) -> Result<Channel, tonic::transport::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pinned(key)))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let address = address.to_owned();
        let dial = tower::service_fn(move |_| {
            let (connector, address) = (connector.clone(), address.clone());
            async move {
                let tcp = tokio::net::TcpStream::connect(address).await?;
                let name = ServerName::try_from("cyx-node").unwrap();
                connector.connect(name, tcp).await.map(TokioIo::new)
            }
        });
        Endpoint::from_static("http://node").connect_with_connector(dial).await
    }

    #[tokio::test]
    async fn the_nodes_own_key_is_its_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let node = Running::start(folder.path(), true).await;
        assert!(connect(&node.address, [1; 32]).await.is_err());
        let mut client = Client::new(connect(&node.address, node.node.identity.public_key()).await.unwrap());
        client.prove(&session()).await.unwrap();
        let grant = node.grant(&session(), BOTH, 100 * MIB);
        let chunks = chunks(&[100, 3_000_000]);
        assert_eq!(client.store(&grant, &chunks).await.stored().len(), 2);
        assert!(client.read(&grant, chunks[1].0).await.unwrap() == chunks[1].1);
        assert!(
            Channel::from_shared(format!("http://{}", node.address)).unwrap().connect().await.is_err()
                || Client::new(node.channel().await).prove(&session()).await.is_err(),
            "plain text is not understood"
        );
    }

    #[tokio::test]
    async fn connections_that_say_nothing_keep_nobody_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let node = Running::start(folder.path(), true).await;
        let mut silent = Vec::new();
        for _ in 0..100 {
            silent.push(tokio::net::TcpStream::connect(&node.address).await.unwrap());
        }
        connect(&node.address, node.node.identity.public_key()).await.unwrap();
        let still_open = |stream: &tokio::net::TcpStream| {
            stream.try_read(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
        };
        assert!(silent.iter().all(still_open), "it was served before their time was over");
    }

    #[tokio::test]
    async fn plain_text_off_loopback_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let node = Running::start(folder.path(), false).await;
        let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
        let refused = cyx_node::service::serve(Arc::clone(&node.node), listener, false, std::future::pending()).await;
        assert!(matches!(refused, Err(cyx_node::service::ServeError::PlainOffLoopback(_))));
    }
}
