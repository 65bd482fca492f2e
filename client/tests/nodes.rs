//! The connection pool against fake nodes: what an honest node gets and gives, and how every kind of bad one is found out.

#![allow(clippy::unwrap_used, reason = "tests")]

#[allow(unreachable_pub, reason = "shared by test files")]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cyx_client::nodes::read::{ChunkHealth, ChunkRef};
use cyx_client::nodes::{Chunk, NodeAccess, NodePool, Patience, Problem};
use cyx_core::chunk::root;
use cyx_core::error::ErrorCode;
use cyx_core::grant::Operations;
use cyx_core::ids::{ChunkId, NodeId};
use ed25519_dalek::SigningKey;

use support::TestSession;
use support::node::{FakeNode, Manner};

/// Generous, because other work may share the machine.
fn pool() -> NodePool {
    NodePool::new(TestSession::shared(), Patience { connect: Duration::from_secs(60), idle: Duration::from_secs(60) })
}

fn access(node: &FakeNode) -> NodeAccess {
    let server = SigningKey::from_bytes(&[1; 32]);
    let session = TestSession::shared().public_key();
    node.access(&server, session, Operations::STORE.and(Operations::READ)).try_into().unwrap()
}

fn chunk(number: u8, length: usize) -> Chunk {
    let bytes: Bytes = (0..length).map(|at| number.wrapping_add(u8::try_from(at % 251).unwrap())).collect();
    Chunk { id: ChunkId([number; 16]), root: root(&bytes), bytes }
}

fn reference(chunk: &Chunk) -> ChunkRef {
    ChunkRef { id: chunk.id, length: chunk.bytes.len() as u64, root: chunk.root }
}

async fn store(pool: &NodePool, node: &FakeNode, chunks: &[Chunk]) -> Result<(), Problem> {
    pool.store(&access(node), Arc::from(chunks)).await.map(drop).map_err(|error| error.problem)
}

async fn read(pool: &NodePool, node: &FakeNode, chunk: &Chunk, from: u64, to: u64) -> Result<Bytes, Problem> {
    let mut out = vec![0; usize::try_from(to - from).unwrap()];
    let read = pool.read_into(&access(node), reference(chunk), from..to, &mut out, &AtomicU64::default()).await;
    read.map(|()| out.into()).map_err(|error| error.problem)
}

#[tokio::test]
async fn chunks_come_back_as_they_were_stored_over_one_connection() {
    let (pool, node) = (pool(), FakeNode::start(1).await);
    let chunks = [chunk(1, 700_000), chunk(2, 1), chunk(3, 262_144)];
    let stored = pool.store(&access(&node), Arc::from(chunks.clone())).await.unwrap();
    assert_eq!(stored.receipts.len(), 3);
    for chunk in &chunks {
        let length = chunk.bytes.len() as u64;
        assert_eq!(read(&pool, &node, chunk, 0, length).await.unwrap(), chunk.bytes);
    }
    assert_eq!(
        read(&pool, &node, &chunks[0], 300_000, 300_010).await.unwrap(),
        chunks[0].bytes.slice(300_000..300_010)
    );
    let proven = pool.read_proven(&access(&node), reference(&chunks[0]), 300_000..300_010).await.unwrap();
    assert_eq!(proven, chunks[0].bytes.slice(300_000..300_010));
    assert_eq!(node.state.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn many_at_once_share_one_connection() {
    let (pool, node) = (pool(), FakeNode::start(1).await);
    let jobs = (0..20).map(|number| {
        let (pool, node) = (pool.clone(), &node);
        async move { store(&pool, node, &[chunk(number, 1000)]).await }
    });
    for done in futures_util::future::join_all(jobs).await {
        assert_eq!(done, Ok(()));
    }
    assert_eq!(node.state.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_broken_connection_is_replaced_and_proven_anew() {
    let (pool, node) = (pool(), FakeNode::start(1).await);
    let first = chunk(1, 1000);
    store(&pool, &node, std::slice::from_ref(&first)).await.unwrap();
    node.drop_connections();
    // A request may still run into the dying connection, but not the one after it.
    let mut outcome = read(&pool, &node, &first, 0, 1000).await;
    if outcome.is_err() {
        outcome = read(&pool, &node, &first, 0, 1000).await;
    }
    assert_eq!(outcome, Ok(first.bytes));
    assert_eq!(node.state.connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_dead_node_is_unreachable_and_avoided() {
    let (pool, node) = (pool(), FakeNode::start(1).await);
    let access = access(&node);
    node.kill();
    let error = pool.store(&access, Arc::from([chunk(1, 10)])).await.unwrap_err();
    assert!(matches!(error.problem, Problem::Unreachable(_)), "{error}");
    assert!(pool.health().is_avoided(node.id()));
}

#[tokio::test]
async fn receipts_that_are_wrong_in_any_way_are_not_taken() {
    let (pool, node) = (pool(), FakeNode::start(1).await);
    let manners = [
        Manner::WrongRoot,
        Manner::WrongSignature,
        Manner::WrongGrant,
        Manner::WrongTime,
        Manner::NoReceipt,
        Manner::EmptyReceipts,
    ];
    for manner in manners {
        node.behave(manner.clone());
        let chunks = [chunk(1, 1000)];
        let outcome = tokio::time::timeout(Duration::from_secs(30), store(&pool, &node, &chunks)).await;
        let outcome = outcome.expect("it ends");
        assert!(matches!(outcome, Err(Problem::WrongReceipt(_))), "{manner:?}: {outcome:?}");
    }
    assert!(pool.health().is_avoided(node.id()));
}

#[tokio::test]
async fn refusals_keep_their_code_and_do_not_count_against_a_node() {
    let (pool, node) = (pool(), FakeNode::start(1).await);
    node.behave(Manner::Refuses(ErrorCode::PermissionDenied));
    let outcome = store(&pool, &node, &[chunk(1, 1000)]).await;
    assert!(matches!(outcome, Err(Problem::Refused { code: ErrorCode::PermissionDenied, .. })), "{outcome:?}");
    assert!(!pool.health().is_avoided(node.id()));
    node.behave(Manner::Honest);
    assert_eq!(store(&pool, &node, &[chunk(1, 1000)]).await, Ok(()));
}

#[tokio::test]
async fn wrong_lengths_are_noticed_at_once_and_wrong_bytes_by_their_proof() {
    let (pool, node) = (pool(), FakeNode::start(1).await);
    let (first, second) = (chunk(1, 100_000), chunk(2, 100_000));
    store(&pool, &node, &[first.clone(), second]).await.unwrap();
    node.behave(Manner::Truncates);
    assert!(matches!(read(&pool, &node, &first, 0, 100_000).await, Err(Problem::WrongData(_))));
    for manner in [Manner::FlipsBits, Manner::Swaps, Manner::Truncates] {
        node.behave(manner.clone());
        let outcome = pool.read_proven(&access(&node), reference(&first), 20_000..30_000).await;
        assert!(matches!(outcome.unwrap_err().problem, Problem::WrongData(_)), "{manner:?}");
    }
    node.behave(Manner::Honest);
    assert!(pool.read_proven(&access(&node), reference(&first), 20_000..30_000).await.is_ok());
}

#[tokio::test]
async fn a_node_says_what_it_has() {
    let (pool, node) = (pool(), FakeNode::start(1).await);
    let (here, away) = (chunk(1, 10), chunk(2, 10));
    store(&pool, &node, std::slice::from_ref(&here)).await.unwrap();
    let other_root = ChunkRef { root: [0; 32], ..reference(&here) };
    let asked = [reference(&here), reference(&away), other_root];
    let found = pool.verify(&access(&node), &asked, false).await.unwrap();
    assert_eq!(found, [ChunkHealth::Present, ChunkHealth::Missing, ChunkHealth::Damaged]);
}

#[tokio::test]
async fn tls_is_accepted_from_the_nodes_own_key_only() {
    let own = SigningKey::from_bytes(&[7; 32]);
    let node = FakeNode::start_tls(7, &own).await;
    assert_eq!(store(&pool(), &node, &[chunk(1, 300_000)]).await, Ok(()));
    let stranger = FakeNode::start_tls(8, &own).await;
    let outcome = store(&pool(), &stranger, &[chunk(1, 10)]).await;
    assert!(matches!(outcome, Err(Problem::Impostor(_))), "{outcome:?}");
}

#[tokio::test]
async fn a_node_that_claims_another_id_is_refused() {
    let (pool, node) = (pool(), FakeNode::start(1).await);
    *node.state.claimed.lock().unwrap() = NodeId([3; 16]);
    let outcome = store(&pool, &node, &[chunk(1, 10)]).await;
    assert!(matches!(outcome, Err(Problem::Impostor(_))), "{outcome:?}");
}

#[tokio::test]
async fn all_that_was_asked_for_on_a_connection_that_turns_out_to_be_gone_is_asked_for_again() {
    let (pool, node) = (pool(), FakeNode::start(1).await);
    let chunk = chunk(1, 100_000);
    store(&pool, &node, std::slice::from_ref(&chunk)).await.unwrap();
    node.behave(Manner::Hanging);
    let both = async { tokio::join!(read(&pool, &node, &chunk, 0, 10), read(&pool, &node, &chunk, 50_000, 50_010)) };
    let gone = async {
        while node.state.reads.load(Ordering::SeqCst) < 2 {
            tokio::task::yield_now().await;
        }
        // What waits there is not let go on, so that it is never answered.
        node.behave(Manner::Honest);
        node.drop_connections();
    };
    let ((first, second), ()) = tokio::join!(both, gone);
    assert_eq!(first.unwrap(), chunk.bytes[..10]);
    assert_eq!(second.unwrap(), chunk.bytes[50_000..50_010]);
}
