//! Reads through a cache of sealed frames, and what is brought into it ahead of readers.

#![allow(clippy::unwrap_used, reason = "tests")]

#[allow(unreachable_pub, reason = "shared by test files")]
mod cloud;
mod gateway;
#[allow(unreachable_pub, reason = "shared by test files")]
mod support;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use cloud::{SEGMENT, World, noise, path, tuning};
use cyx_client::transfer::{FileReader, FrameCache, PutOptions, Transfer};
use cyx_core::ids::BlobId;
use support::node::Manner;

/// Keeps every frame until it is forgotten, and the first of two.
#[derive(Default)]
struct Frames(Mutex<HashMap<(BlobId, u64), Vec<u8>>>);

impl FrameCache for Frames {
    fn has(&self, blob: BlobId, mut frames: Range<u64>) -> bool {
        let kept = self.0.lock().unwrap();
        frames.all(|frame| kept.contains_key(&(blob, frame)))
    }

    fn get(&self, blob: BlobId, frame: u64, sealed: &mut [u8]) -> bool {
        let kept = self.0.lock().unwrap();
        let found = kept.get(&(blob, frame)).filter(|kept| kept.len() == sealed.len());
        found.map(|kept| sealed.copy_from_slice(kept)).is_some()
    }

    fn put(&self, blob: BlobId, frame: u64, sealed: &[u8]) {
        self.0.lock().unwrap().entry((blob, frame)).or_insert_with(|| sealed.to_vec());
    }

    fn forget(&self, blob: BlobId, frames: Range<u64>) {
        self.0.lock().unwrap().retain(|(of, frame), _| *of != blob || !frames.contains(frame));
    }
}

async fn open(world: &World) -> FileReader {
    let engine =
        Transfer::with_cache(world.bucket.client(), Some(world.home.path()), tuning(), Arc::new(Frames::default()));
    let located = world.bucket.resolve(&path("file")).await.unwrap();
    engine.open(&world.bucket, &located).await.unwrap()
}

/// What a range is, as it was brought: without gaps.
async fn brought(reader: &FileReader, range: Range<u64>) -> Vec<u8> {
    let mut pieces = reader.warm(range.clone()).await.unwrap();
    pieces.sort_by_key(|(range, _)| range.start);
    let mut all = Vec::new();
    for (piece, bytes) in pieces {
        assert_eq!(piece.start, range.start + all.len() as u64);
        assert_eq!(piece.end - piece.start, bytes.len() as u64);
        all.extend_from_slice(&bytes);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_brought_is_there_at_once_and_again_without_nodes() {
    let world = World::new(14).await;
    let plain = noise(3 * SEGMENT);
    world.put("file", &plain, &PutOptions::default()).await.unwrap();
    let reader = open(&world).await;
    // Neither begins nor ends with a frame.
    let part = 1000..2 * SEGMENT + 77;
    assert!(brought(&reader, part.start as u64..part.end as u64).await == plain[part.clone()]);
    let reads = world.reads();
    assert!(brought(&reader, part.start as u64..part.end as u64).await.is_empty(), "it is in the cache");
    let mut out = vec![9; part.len()];
    reader.read_cached(part.start as u64, &mut out).await.unwrap();
    assert!(out == plain[part]);
    assert_eq!(world.reads(), reads);
    assert!(brought(&reader, 2 * SEGMENT as u64 + 77..u64::MAX).await == plain[2 * SEGMENT + 77..], "the rest");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_liar_sends_does_not_stay_in_the_cache() {
    for manner in [Manner::FlipsBits, Manner::Swaps] {
        let world = World::new(14).await;
        let plain = noise(2 * SEGMENT);
        world.put("file", &plain, &PutOptions::default()).await.unwrap();
        world.nodes[3].behave(manner.clone());
        let reader = open(&world).await;
        assert!(brought(&reader, 0..u64::MAX).await == plain, "{manner:?}");
        assert_eq!(reader.liars(), [world.nodes[3].id()], "{manner:?}");
        let reads = world.reads();
        let mut out = vec![9; plain.len()];
        reader.read_cached(0, &mut out).await.unwrap();
        assert!(out == plain, "{manner:?}");
        assert_eq!(world.reads(), reads, "{manner:?}: everything is in the cache");
    }
}
