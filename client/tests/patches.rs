//! Patches of files, as a mount writes them, and the leases that they need.

#![allow(clippy::unwrap_used, reason = "tests")]

#[allow(unreachable_pub, reason = "shared by test files")]
mod cloud;
mod gateway;
#[allow(unreachable_pub, reason = "shared by test files")]
mod support;

use std::iter::once;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cloud::{World, noise, path};
use cyx_client::Error;
use cyx_client::transfer::{Patch, Patched, PlainSource, PutOptions, Silent, Source};
use cyx_core::error::ErrorCode;
use cyx_core::ids::{Random as _, TxnId};

/// What a file in a mount was written over with.
struct Written;

impl PlainSource for Written {
    fn read_at(&self, _offset: u64, plain: &mut [u8]) -> std::io::Result<()> {
        plain.fill(7);
        Ok(())
    }
}

/// A patch that writes these ranges of a file.
async fn patch(world: &World, name: &str, size: u64, data: impl IntoIterator<Item = Range<u64>>) -> Patch {
    let located = world.bucket.resolve(&path(name)).await.unwrap();
    Patch {
        base: world.engine().open(&world.bucket, &located).await.unwrap(),
        size,
        data: data.into_iter().collect(),
        holes: Vec::new(),
        shared: Vec::new(),
        source: Arc::new(Written),
        ahead: Vec::new(),
        mtime_ns: 1,
        changed_ns: 1,
        txn: TxnId::random(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_whose_segment_is_refused_says_why() {
    let world = World::new(3).await;
    let (mut patches, names, len) = (Vec::new(), ["a", "b"], 50_000);
    for name in names {
        world.put(name, &[1; 50_000], &PutOptions::default()).await.unwrap();
        patches.push(patch(&world, name, len, once(0..len)).await);
    }
    // The files share a segment.
    let refusal = (ErrorCode::QuotaExceeded, "this month's traffic of the plan is used up");
    world.gateway.state().storage.refuses_leases = Some(refusal);
    let results = world.uploads().prepare(patches).await.commit(None).await;
    let errors: Vec<Error> = results.into_iter().map(|result| result.err().unwrap()).collect();
    assert_eq!(errors.len(), names.len());
    for error in errors {
        assert_eq!((error.code(), error.to_string().as_str()), refusal);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_lease_suffices_for_what_a_patch_writes() {
    let world = World::new(3).await;
    world.put("file", &[1; 50_000], &PutOptions::default()).await.unwrap();
    // Alone longer than what is asked for at least, and in blobs of one frame and less.
    for data in [once(0..400_000).collect::<Vec<_>>(), (0..100).map(|at| at * 20_000..at * 20_000 + 9_000).collect()] {
        let patch = patch(&world, "file", 2_000_000, data).await;
        let before = world.gateway.state().storage.leased;
        world.uploads().prepare(vec![patch]).await.commit(None).await.pop().unwrap().unwrap();
        assert_eq!(world.gateway.state().storage.leased, before + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_too_small_is_given_back_for_one_that_is_not() {
    let world = World::new(3).await;
    world.gateway.state().storage.room = Some(300_000);
    let uploads = world.uploads();
    uploads.expect(1);
    while world.gateway.state().storage.leased == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let plain = noise(290_000);
    let place = uploads.place(&path("file")).await.unwrap();
    let source = Source::Bytes(Bytes::from(plain.clone()));
    uploads.put(place, source, None, &PutOptions::default(), &Silent).await.unwrap();
    assert!(world.get("file").await.unwrap() == plain);
    assert_eq!(world.gateway.state().storage.leased, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_committed_after_all_keeps_no_lease() {
    let world = World::new(3).await;
    world.put("file", &[1; 50_000], &PutOptions::default()).await.unwrap();
    world.gateway.state().storage.room = Some(500_000);
    let patch = patch(&world, "file", 400_000, once(0..400_000)).await;
    let uploads = world.uploads();
    drop(uploads.prepare(vec![patch]).await);
    let place = uploads.place(&path("other")).await.unwrap();
    let source = Source::Bytes(Bytes::from(noise(290_000)));
    uploads.put(place, source, None, &PutOptions::default(), &Silent).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_fills_its_buffer_whatever_was_in_it() {
    let world = World::new(3).await;
    world.put("a", &[1; 50_000], &PutOptions::default()).await.unwrap();
    let holes = once(10_000..20_000).collect();
    let patch = Patch { holes, ..patch(&world, "a", 150_000, once(100_000..120_000)).await };
    let patched = world.uploads().prepare(vec![patch]).await.commit(None).await.pop().unwrap().unwrap();
    let Patched::Committed(reader) = patched else { panic!("it is lost") };
    let parts: [&[u8]; 5] = [&[1; 5_000], &[0; 10_000], &[1; 30_000], &[0; 50_000], &[7; 20_000]];
    let expected = [parts.concat(), vec![0; 45_000]].concat();
    let mut out = vec![9; expected.len()];
    reader.read_cached(5_000, &mut out).await.unwrap();
    assert!(out == expected);
    reader.read_cached(150_000, &mut out).await.unwrap();
    assert!(out.iter().all(|byte| *byte == 0), "nothing lies behind the end");
}
