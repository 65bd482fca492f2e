//! The transfer engine against a gateway and nodes in the test's own process: every size up and down, nodes that die and lie,
//! servers that swap, races, and interrupted transfers that go on.

#![allow(clippy::unwrap_used, reason = "tests")]

#[allow(unreachable_pub, reason = "shared by test files")]
mod cloud;
mod gateway;
#[allow(unreachable_pub, reason = "shared by test files")]
mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use cloud::{SEGMENT, World, noise, path, tuning};
use cyx_client::nodes::SessionProof as _;
use cyx_client::transfer::{Condition, OnConflict, PutOptions, Silent, SmallFile, Source, Transfer, Tuning};
use cyx_client::{Error, IntegrityError};
use cyx_core::error::ErrorCode;
use cyx_core::grant::Operations;
use cyx_core::scheme::Scheme;
use cyx_proto::meta::v1 as pb;
use ed25519_dalek::SigningKey;
use support::node::{FakeNode, Manner};

#[tokio::test(flavor = "multi_thread")]
async fn every_size_comes_back_from_every_kind_of_source() {
    let world = World::new(14).await;
    let borders = [0, 4096, 16_384, 256 * 1024, SEGMENT, 3 * SEGMENT];
    let sizes = borders.iter().flat_map(|border: &usize| [border.saturating_sub(1), *border, border + 1]);
    let (engine, uploads) = (world.engine(), world.uploads());
    for (number, size) in sizes.enumerate() {
        let plain = noise(size);
        let name = format!("file-{number}");
        let place = uploads.place(&path(&name)).await.unwrap();
        let (source, known) = match number % 3 {
            0 => (Source::Bytes(plain.clone().into()), Some(size as u64)),
            1 => (Source::Stream(Box::pin(std::io::Cursor::new(plain.clone()))), None),
            _ => {
                let file = world.home.path().join("source");
                std::fs::write(&file, &plain).unwrap();
                (Source::File(std::fs::File::open(file).unwrap()), Some(size as u64))
            }
        };
        let put = uploads.put(place, source, known, &PutOptions::default(), &Silent).await.unwrap();
        assert_eq!((put.size, put.version), (size as u64, 1));
        assert_eq!(put.segments.len(), if size <= 4096 { 0 } else { size.div_ceil(SEGMENT) }, "{size}");
        assert!(world.get(&name).await.unwrap() == plain, "{size}");
        let reader = engine.open(&world.bucket, &world.bucket.resolve(&path(&name)).await.unwrap()).await.unwrap();
        for (from, len) in [(0, 1), (size / 3, 5000), (size.saturating_sub(7), 100), (size, 1), (16_380, 8)] {
            let expected = &plain[from.min(size)..(from + len).min(size)];
            let range = from as u64..(from + len) as u64;
            assert!(reader.read_range(range).await.unwrap() == expected, "{size}: {from}");
        }
    }
    uploads.finish().await;
    assert_eq!(world.gateway.state().storage.leases.len(), 0, "leases are given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_far_larger_than_memory_flows_through_both_ways() {
    let world = World::new(3).await;
    let plain = noise(24 << 20);
    let uploads = world.uploads();
    let place = uploads.place(&path("big")).await.unwrap();
    let source = Source::Stream(Box::pin(std::io::Cursor::new(plain.clone())));
    let put = uploads.put(place, source, None, &PutOptions::default(), &Silent).await.unwrap();
    assert_eq!(put.survives(), Some(1));
    assert!(world.gateway.state().calls["stage"] > 10, "a long upload is handed over as it goes");
    assert!(world.gateway.state().storage.staged.is_empty());
    assert!(world.get("big").await.unwrap() == plain);
}

#[tokio::test(flavor = "multi_thread")]
async fn downloads_that_share_memory_for_one_piece_all_end() {
    let world = World::new(3).await;
    let plain = noise(5 * SEGMENT + 7);
    world.put("file", &plain, &PutOptions::default()).await.unwrap();
    let tuning = Tuning { memory: 400 << 10, reserve: 64 << 10, ..tuning() };
    let engine = Transfer::new(world.bucket.client(), None, tuning);
    let located = world.bucket.resolve(&path("file")).await.unwrap();
    let downloads = (0..4).map(|_| async {
        let reader = engine.open(&world.bucket, &located).await.unwrap();
        let out = reader.copy_to(0..u64::MAX, Vec::new(), &Silent).await.unwrap();
        assert!(out == plain);
    });
    let all = futures_util::future::join_all(downloads);
    tokio::time::timeout(Duration::from_secs(300), all).await.expect("nobody waits for somebody who waits");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_range_of_a_large_file_touches_one_node() {
    let world = World::new(14).await;
    let plain = noise(5 * SEGMENT);
    world.put("file", &plain, &PutOptions::default()).await.unwrap();
    let before = world.reads();
    let located = world.bucket.resolve(&path("file")).await.unwrap();
    let reader = world.engine().open_at(&world.bucket, &located, 700_000..704_096).await.unwrap();
    assert_eq!(reader.read_range(700_000..704_096).await.unwrap(), plain[700_000..704_096]);
    assert_eq!(world.reads() - before, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_dead_nodes_leave_twelve_and_four_more_would_still_not_lose_a_full_file() {
    let world = World::new(14).await;
    let plain = noise(2 * SEGMENT);
    assert_eq!(world.put("full", &plain, &PutOptions::default()).await.unwrap().survives(), Some(4));
    world.nodes[..2].iter().for_each(FakeNode::kill);
    let put = world.put("twelve", &plain, &PutOptions::default()).await.unwrap();
    assert_eq!((put.survives(), put.missing_shards()), (Some(2), 4));
    let refused = world.put("all", &plain, &PutOptions { all_shards: true, ..PutOptions::default() }).await;
    assert!(matches!(refused, Err(Error::TooFewNodes { needed: 14, .. })), "{refused:?}");
    world.nodes[2..4].iter().for_each(FakeNode::kill);
    assert!(world.get("full").await.unwrap() == plain);
    assert!(world.get("twelve").await.unwrap() == plain);
    world.nodes[4].kill();
    let error = world.get("full").await.unwrap_err();
    assert!(matches!(error, Error::TooFewNodes { reachable: 9, needed: 10, .. }), "{error}");
    assert_eq!(error.exit_code(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_ten_nodes_alive_the_same_bytes_go_out_under_the_next_scheme() {
    let world = World::new(14).await;
    world.nodes[..4].iter().for_each(FakeNode::kill);
    let plain = noise(2 * SEGMENT + 1);
    let put = world.put("file", &plain, &PutOptions::default()).await.unwrap();
    assert!(put.segments.iter().all(|segment| segment.scheme.to_string() == "6+3"), "{:?}", put.segments);
    assert!(world.get("file").await.unwrap() == plain);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_placement_of_dead_nodes_is_exchanged_before_segments_get_narrower() {
    let world = World::new(22).await;
    world.nodes[..8].iter().for_each(FakeNode::kill);
    let plain = noise(2 * SEGMENT + 1);
    let put = world.put("file", &plain, &PutOptions::default()).await.unwrap();
    assert!(put.segments.iter().all(|segment| segment.scheme == Scheme::DEFAULT), "{:?}", put.segments);
    assert_eq!((put.survives(), put.missing_shards()), (Some(4), 0));
    assert!(world.get("file").await.unwrap() == plain);
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_that_nodes_take_for_ended_are_asked_for_anew() {
    let world = World::new(14).await;
    world.nodes.iter().for_each(|node| node.behave(Manner::RefusesUntil(1)));
    let put = world.put("file", &noise(SEGMENT), &PutOptions::default()).await.unwrap();
    assert_eq!((put.segments[0].scheme, put.missing_shards()), (Scheme::DEFAULT, 0));
    assert_eq!(world.gateway.state().storage.leased, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_that_were_no_use_are_given_back_at_once() {
    let world = World::new(14).await;
    world.nodes.iter().for_each(|node| node.behave(Manner::Refuses(ErrorCode::InsufficientStorage)));
    let uploads = world.one_by_one();
    for name in ["one", "two", "three"] {
        let source = Source::Bytes(Bytes::from(noise(SEGMENT)));
        let place = uploads.place(&path(name)).await.unwrap();
        let refused = uploads.put(place, source, Some(SEGMENT as u64), &PutOptions::default(), &Silent).await;
        assert!(matches!(refused, Err(Error::TooFewNodes { .. })), "{refused:?}");
        let state = world.gateway.state();
        assert!(
            state.storage.leases.len() <= 1,
            "but for the one at hand: {} of {}",
            state.storage.leases.len(),
            state.storage.leased
        );
    }
    uploads.finish().await;
    assert!(world.gateway.state().storage.leased > 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lies_is_named_and_survived() {
    for manner in [Manner::FlipsBits, Manner::Swaps] {
        let world = World::new(14).await;
        let plain = noise(2 * SEGMENT);
        world.put("file", &plain, &PutOptions::default()).await.unwrap();
        world.nodes[3].behave(manner.clone());
        let located = world.bucket.resolve(&path("file")).await.unwrap();
        let reader = world.engine().open(&world.bucket, &located).await.unwrap();
        assert!(reader.read_range(0..u64::MAX).await.unwrap() == plain);
        assert_eq!(reader.liars(), [world.nodes[3].id()], "{manner:?}");
        assert!(world.get("file").await.unwrap() == plain, "also where several pieces find out at the same time");
        let small = world.engine().open(&world.bucket, &located).await.unwrap();
        let at = 3 * SEGMENT / 10 + 100;
        assert!(small.read_range(at as u64..at as u64 + 10).await.unwrap() == plain[at..at + 10]);
        assert_eq!(small.liars(), [world.nodes[3].id()]);
        let health = small.reported_health(false).await.unwrap();
        assert_eq!((health.segments, health.scheme, health.shards_healthy), (2, Some(Scheme::DEFAULT), 14));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_swaps_blobs_is_refused() {
    let world = World::new(14).await;
    for (name, size) in [("one", 5000), ("two", 5001), ("one-small", 100), ("two-small", 101)] {
        world.put(name, &noise(size), &PutOptions::default()).await.unwrap();
    }
    {
        let mut state = world.gateway.state();
        for inline in [false, true] {
            let is_meant = |blob: &&mut pb::Blob| matches!(blob.place, Some(pb::blob::Place::Inline(_))) == inline;
            let mut blobs: Vec<&mut pb::Blob> = state.storage.blobs.values_mut().filter(is_meant).collect();
            let [first, second] = &mut blobs[..] else { panic!("there are two of each") };
            std::mem::swap(&mut first.place, &mut second.place);
        }
    }
    for name in ["one", "two", "one-small", "two-small"] {
        let error = world.get(name).await.unwrap_err();
        let content = matches!(&error, Error::Integrity(IntegrityError::Content(_) | IntegrityError::Mismatch(_)));
        assert!(content, "{name}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn small_files_share_one_pack_and_one_call() {
    let world = World::new(14).await;
    let uploads = world.uploads();
    let mut files = Vec::new();
    for number in 0..40_usize {
        let place = uploads.place(&path(&format!("f{number}"))).await.unwrap();
        let plain = noise(number * 700).into();
        files.push(SmallFile { place, plain, options: PutOptions::default() });
    }
    // One of those that would carry the pack is taken meanwhile.
    world.put("f6", b"taken", &PutOptions::default()).await.unwrap();
    let calls = world.gateway.state().calls["apply"];
    files[6].options.condition = Condition::IfAbsent;
    let results = uploads.put_small(files).await;
    assert_eq!(world.stored(), 14, "one round of requests");
    assert!(world.gateway.state().calls["apply"] - calls <= 3);
    for (number, result) in results.iter().enumerate() {
        match result {
            Ok(put) => assert_eq!(put.size, number as u64 * 700),
            Err(error) => assert!(number == 6 && matches!(error, Error::AlreadyExists(_)), "{number}: {error}"),
        }
    }
    for number in (0..40).filter(|number| *number != 6) {
        assert!(world.get(&format!("f{number}")).await.unwrap() == noise(number * 700), "{number}");
    }
    assert_eq!(world.get("f6").await.unwrap(), b"taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_and_lost_races_are_decided_as_asked() {
    let world = World::new(3).await;
    let old = world.uploads().place(&path("file.txt")).await.unwrap();
    world.put("file.txt", b"first", &PutOptions::default()).await.unwrap();
    let put = |place, plain: &'static [u8], condition, on_conflict| {
        let uploads = world.uploads();
        async move {
            let options = PutOptions { condition, on_conflict, ..PutOptions::default() };
            uploads.put(place, Source::Bytes(Bytes::from_static(plain)), None, &options, &Silent).await
        }
    };
    // What `old` saw is out of date: the name was free then.
    let refused = put(old.clone(), b"x", Condition::IfAbsent, OnConflict::Replace).await;
    assert!(matches!(refused, Err(Error::AlreadyExists(_))));
    let refused = put(old.clone(), b"x", Condition::Replace, OnConflict::Fail).await;
    assert!(matches!(refused, Err(Error::Conflict(_))));
    let copy = put(old.clone(), b"mine", Condition::Replace, OnConflict::KeepBoth("here".into())).await.unwrap();
    assert_eq!(copy.name, b"file (conflict here).txt");
    assert_eq!(world.get("file (conflict here).txt").await.unwrap(), b"mine");
    assert_eq!(world.get("file.txt").await.unwrap(), b"first");
    let replaced = put(old, b"second", Condition::Replace, OnConflict::Replace).await.unwrap();
    assert_eq!((replaced.version, world.get("file.txt").await.unwrap()), (2, b"second".to_vec()));

    let now = world.uploads().place(&path("file.txt")).await.unwrap();
    let refused = put(now.clone(), b"x", Condition::IfVersion(1), OnConflict::Replace).await;
    assert!(matches!(refused, Err(Error::Conflict(_))));
    let done = put(now, b"third", Condition::IfVersion(2), OnConflict::Replace).await.unwrap();
    assert_eq!(done.version, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_after_the_commit_changes_nothing_more() {
    let world = World::new(3).await;
    let place = world.uploads().place(&path("file")).await.unwrap();
    world.gateway.state().lost_answers = 1;
    let source = Source::Bytes(Bytes::from_static(b"content"));
    let put = world.uploads().put(place, source, None, &PutOptions::default(), &Silent).await.unwrap();
    assert_eq!((put.version, world.get("file").await.unwrap()), (1, b"content".to_vec()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_upload_sends_only_what_is_missing_and_nothing_that_changed() {
    let world = World::new(3).await;
    let mut plain = noise(16 * SEGMENT);
    let file = world.home.path().join("source");
    std::fs::write(&file, &plain).unwrap();
    let options = PutOptions { resumable: true, ..PutOptions::default() };
    let run = |options: PutOptions| {
        let (uploads, file, size) = (world.one_by_one(), file.clone(), 16 * SEGMENT as u64);
        async move {
            let place = uploads.place(&path("file")).await?;
            let source = Source::File(std::fs::File::open(file).unwrap());
            uploads.put(place, source, Some(size), &options, &Silent).await
        }
    };
    // It hangs for ever after a part was handed over.
    world.nodes.iter().for_each(|node| node.behave(Manner::HangsAfter(6)));
    let task = tokio::spawn(run(options.clone()));
    let staged = |world: &World| world.gateway.state().storage.staged.values().map(Vec::len).sum::<usize>();
    while staged(&world) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    task.abort();
    let _ = task.await;
    world.nodes.iter().for_each(FakeNode::release);
    assert!(world.get("file").await.is_err(), "nothing is there before the commit");

    let (kept, before) = (staged(&world), world.stored());
    assert_eq!(kept, 4);
    let leases = |world: &World| world.gateway.state().storage.leases.clone();
    let held = leases(&world);
    assert!(!held.is_empty(), "they count as used");
    plain[0] ^= 1;
    std::fs::write(&file, &plain).unwrap();
    let put = run(options).await.unwrap();
    assert_eq!(put.segments.len(), 16);
    assert!(world.get("file").await.unwrap() == plain);
    let sent = (world.stored() - before) / 3;
    // What was staged is not sent again, but for the segment that changed.
    assert_eq!(sent, 13);
    assert_eq!(std::fs::read_dir(world.home.path().join("transfers")).unwrap().count(), 0);
    assert_eq!(staged(&world), 0, "what did not fit any more is given up");
    assert!(!leases(&world).iter().any(|lease| held.contains(lease)), "what the first run held is given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_pauses_does_not_keep_back_what_is_stored() {
    let world = World::new(3).await;
    let tuning = Tuning { stage_after: Duration::from_millis(50), ..tuning() };
    let uploads = Transfer::new(world.bucket.client(), None, tuning).uploads(&world.bucket);
    let place = uploads.place(&path("file")).await.unwrap();
    let (mut write, read) = tokio::io::duplex(1 << 16);
    let task = tokio::spawn(async move {
        uploads.put(place, Source::Stream(Box::pin(read)), None, &PutOptions::default(), &Silent).await
    });
    let plain = noise(SEGMENT + 10);
    tokio::io::AsyncWriteExt::write_all(&mut write, &plain).await.unwrap();
    // The source is not at its end, but the first segment is handed over.
    while world.gateway.state().storage.staged.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(write);
    assert_eq!(task.await.unwrap().unwrap().size, plain.len() as u64);
    assert!(world.get("file").await.unwrap() == plain);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_dropped_leaves_nothing_to_resume() {
    let world = World::new(3).await;
    let plain = noise(8 * SEGMENT);
    let uploads = world.one_by_one();
    let place = uploads.place(&path("file")).await.unwrap();
    world.nodes.iter().for_each(|node| node.behave(Manner::HangsAfter(5)));
    let (directory, task) = {
        let (uploads, directory) = (uploads.clone(), place.directory.clone());
        let options = PutOptions { resumable: true, ..PutOptions::default() };
        let source = Source::Bytes(plain.clone().into());
        (directory, tokio::spawn(async move { uploads.put(place, source, Some(8 << 20), &options, &Silent).await }))
    };
    while world.gateway.state().storage.staged.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    task.abort();
    let _ = task.await;
    assert!(uploads.abort(&directory, b"file").await.unwrap());
    assert!(world.gateway.state().storage.staged.is_empty());
    assert!(!uploads.abort(&directory, b"file").await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nodes_lost_is_counted() {
    let world = World::new(14).await;
    world.put("file", &noise(SEGMENT), &PutOptions::default()).await.unwrap();
    world.nodes[0].behave(Manner::Forgets);
    world.nodes[1].kill();
    let located = world.bucket.resolve(&path("file")).await.unwrap();
    let reader = world.engine().open_to_check(&world.bucket, &located).await.unwrap();
    let health = reader.reported_health(false).await.unwrap();
    assert_eq!(world.gateway.state().asked_only, [true], "no traffic is asked for");
    assert_eq!((health.scheme, health.shards_healthy, health.survives), (Some(Scheme::DEFAULT), 12, Some(2)));
    assert_eq!((health.faulty, health.unreachable), (vec![world.nodes[0].id()], vec![world.nodes[1].id()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moment_without_nodes_is_waited_out_and_costs_no_shard() {
    let world = World::new(14).await;
    let minute = Duration::from_secs(60);
    let tuning = Tuning { outage: 10 * minute, tail_min: minute, tail_max: minute, ..tuning() };
    let engine = Transfer::new(world.bucket.client(), Some(world.home.path()), tuning);
    let uploads = engine.uploads(&world.bucket);
    let place = uploads.place(&path("a")).await.unwrap();
    let plain = noise(SEGMENT);
    // Some take their shard before the way breaks: too many for an outage.
    for node in &world.nodes[7..] {
        node.behave(Manner::BreaksAfter(0));
    }
    let options = PutOptions::default();
    let source = Source::Bytes(Bytes::copy_from_slice(&plain));
    let putting = uploads.put(place, source, Some(plain.len() as u64), &options, &Silent);
    let breaking = async {
        let tried = |node: &FakeNode| node.state.stores.load(Ordering::SeqCst) > 0;
        while !world.nodes.iter().all(tried) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world.nodes.iter().for_each(|node| node.behave(Manner::BreaksAfter(0)));
        while world.stored() < 3 * 14 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world.nodes.iter().for_each(|node| node.behave(Manner::Honest));
    };
    let both = futures_util::future::join(putting, breaking);
    let (put, ()) = tokio::time::timeout(10 * minute, both).await.unwrap();
    let put = put.unwrap();
    assert_eq!((put.survives(), put.missing_shards()), (Some(4), 0));
    uploads.finish().await;
    assert_eq!(world.get("a").await.unwrap(), plain);
}

/// What becomes of the first five nodes of a file, which is one more than it can lack.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    /// They hand their shards over and do not have them any more.
    HandOver,
    /// They are lost, and others got their shards.
    AreRepaired,
    /// They are the same nodes at other addresses.
    Move,
    /// They are lost.
    AreLost,
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_that_are_elsewhere_since_a_file_was_opened_are_found() {
    for fate in [Fate::HandOver, Fate::AreRepaired, Fate::Move, Fate::AreLost] {
        let mut world = World::new(19).await;
        let plain = noise(3 * SEGMENT);
        world.put("file", &plain, &PutOptions::default()).await.unwrap();
        let located = world.bucket.resolve(&path("file")).await.unwrap();
        let reader = world.engine().open(&world.bucket, &located).await.unwrap();
        assert!(reader.read_range(0..u64::MAX).await.unwrap() == plain, "where everything is, is known");
        let (server, key) = (SigningKey::from_bytes(&[1; 32]), world.bucket.client().session.public_key());
        let all = Operations::STORE.and(Operations::READ);
        for shard in 0..5_usize {
            let spare = 14 + shard;
            if fate == Fate::Move {
                world.nodes[spare] = FakeNode::start(u8::try_from(shard + 1).unwrap()).await;
                let access = world.nodes[spare].access(&server, key, all);
                world.gateway.state().storage.nodes[shard] = access;
            }
            let (from, to) = (&world.nodes[shard], &world.nodes[spare]);
            if fate != Fate::AreLost {
                let chunks = std::mem::take(&mut *from.state.chunks.lock().unwrap());
                to.state.chunks.lock().unwrap().extend(chunks);
            }
            if matches!(fate, Fate::HandOver | Fate::AreRepaired) {
                let moved =
                    pb::Override { shard: u32::try_from(shard).unwrap(), node: Bytes::copy_from_slice(&to.id().0) };
                for segment in world.gateway.state().storage.segments.values_mut() {
                    segment.overrides.push(moved.clone());
                }
            }
            if fate != Fate::HandOver {
                from.kill();
            }
        }
        let asked = world.gateway.state().calls.get("get_blobs").copied().unwrap_or_default();
        let half = plain.len() as u64 / 2;
        let (first, second) = tokio::join!(reader.read_range(0..half), reader.read_range(half..u64::MAX));
        let read = first.and_then(|first| Ok([first, second?].concat()));
        let asked = world.gateway.state().calls.get("get_blobs").copied().unwrap_or_default() - asked;
        match fate {
            Fate::AreLost => {
                let error = read.unwrap_err();
                assert!(matches!(error, Error::TooFewNodes { reachable: 9, needed: 10, .. }), "{error}");
                assert!((1..=2).contains(&asked), "the server is asked once for each, and says nothing new: {asked}");
            }
            _ => {
                assert!(read.unwrap() == plain, "{fate:?}");
                assert!((1..=3).contains(&asked), "{fate:?}: {asked}");
                assert!(reader.read_range(0..u64::MAX).await.unwrap() == plain, "{fate:?}");
                assert!(world.get("file").await.unwrap() == plain, "{fate:?}: who opens it now");
            }
        }
    }
}
