//! Reads of segments of which some node sends other bytes than it keeps, while others cannot or will not prove theirs.

#![allow(clippy::unwrap_used, reason = "tests")]

#[allow(unreachable_pub, reason = "shared by test files")]
mod cloud;
mod gateway;
#[allow(unreachable_pub, reason = "shared by test files")]
mod support;

use std::time::Duration;

use cloud::{SEGMENT, World, noise, path, tuning};
use cyx_client::Error;
use cyx_client::nodes::Patience;
use cyx_client::transfer::{FileReader, PutOptions, Transfer, Tuning};
use support::node::Manner;

async fn opened(world: &World, tuning: Tuning) -> FileReader {
    let engine = Transfer::new(world.bucket.client(), Some(world.home.path()), tuning);
    let located = world.bucket.resolve(&path("file")).await.unwrap();
    engine.open(&world.bucket, &located).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_could_not_be_asked_for_a_proof_are_asked_again_by_the_next_read() {
    let world = World::new(14).await;
    let plain = noise(SEGMENT);
    world.put("file", &plain, &PutOptions::default()).await.unwrap();
    // What it has is computed from what ten others have.
    world.nodes[0].kill();
    for node in &world.nodes[1..] {
        node.behave(Manner::ProvesNothing);
    }
    world.nodes[3].behave(Manner::FlipsBits);
    let reader = opened(&world, tuning()).await;
    let error = reader.read_range(100..5000).await.unwrap_err();
    assert!(matches!(error, Error::TooFewNodes { .. }), "none of them is known to have lost anything: {error}");
    for node in &world.nodes[1..] {
        node.behave(Manner::Honest);
    }
    world.nodes[3].behave(Manner::FlipsBits);
    assert!(reader.read_range(100..5000).await.unwrap() == plain[100..5000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_liar_whose_proof_does_not_end_holds_nobody_up() {
    let world = World::new(14).await;
    let plain = noise(SEGMENT);
    world.put("file", &plain, &PutOptions::default()).await.unwrap();
    world.nodes[3].behave(Manner::DripsProofs);
    let patience = Patience { connect: Duration::from_secs(60), idle: Duration::from_secs(1) };
    let reader = opened(&world, Tuning { patience, ..tuning() }).await;
    let from = 3 * SEGMENT / 10;
    let reading = reader.read_range(from as u64..from as u64 + 5000);
    let read = tokio::time::timeout(Duration::from_secs(60), reading).await.expect("it ends").unwrap();
    assert!(read == plain[from..from + 5000]);
}
