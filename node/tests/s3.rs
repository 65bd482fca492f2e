//! The store in a bucket of a real server that speaks S3, over the client that a node uses.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test that cannot go on has failed"
)]

#[expect(dead_code, reason = "not every test file uses all of it")]
mod conformance;
#[expect(unreachable_pub, reason = "shared with the tests of whole clusters")]
#[path = "../../tests/src/s3.rs"]
mod s3;
#[expect(unreachable_pub, reason = "shared with the tests of whole clusters")]
#[path = "../../tests/src/skip.rs"]
mod skip;

use cyx_core::ids::NodeId;
use cyx_node::agent::storage::Storage;
use cyx_node::store::{BucketOptions, BucketStore, ChunkStore as _, StoreError};
use cyx_node::{Config, Options};
use s3::S3;

fn place(server: &S3, bucket: &str) -> cyx_node::agent::storage::BucketPlace {
    let home = tempfile::tempdir().unwrap();
    let options = Options {
        home: Some(home.path().to_owned()),
        storage: Some(format!("s3://{bucket}/nodes")),
        s3_endpoint: Some(server.endpoint()),
        s3_credentials: Some(server.credentials()),
        storage_gb: Some(9),
        ..Options::default()
    };
    match Config::resolve(options).unwrap().storage {
        Storage::Bucket(place) => place,
        Storage::Disk => panic!("a disk"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bucket_store_conforms_over_s3() {
    let Some(server) = S3::start() else { return };
    assert!(!server.node_args().is_empty());
    let folder = tempfile::tempdir().unwrap();
    let place = place(&server, "chunks");
    let mut count = 0;
    conformance::suite(|clock| {
        count += 1;
        let options = BucketOptions { clock, margin: 0, ..BucketOptions::new(NodeId([count; 16])) };
        let options = BucketOptions { prefix: place.prefix(options.owner), ..options };
        let folder = folder.path().join(count.to_string());
        tokio::task::block_in_place(|| {
            let opening = BucketStore::open(&folder, place.client().unwrap(), options);
            tokio::runtime::Handle::current().block_on(opening).unwrap()
        })
    })
    .await;
    // An index that is lost is made anew from the objects.
    let (folder, owner) = (tempfile::tempdir().unwrap(), NodeId([99; 16]));
    let options = BucketOptions { margin: 0, prefix: place.prefix(owner), ..BucketOptions::new(owner) };
    let (id, bytes) = (cyx_core::ids::ChunkId([1; 16]), conformance::content(1, 300_000));
    let store = BucketStore::open(folder.path(), place.client().unwrap(), options.clone()).await.unwrap();
    store.store(conformance::chunk(id, &bytes)).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    let folder = tempfile::tempdir().unwrap();
    let store = BucketStore::open(folder.path(), place.client().unwrap(), options).await.unwrap();
    assert_eq!(conformance::read_all(&store, id).await.unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_is_not_there_is_refused_when_the_node_starts() {
    let Some(server) = S3::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let options = || BucketOptions { margin: 0, ..BucketOptions::new(NodeId([1; 16])) };
    let nowhere = place(&server, "no-such-bucket").client().unwrap();
    let refused = BucketStore::open(folder.path(), nowhere, options()).await.err();
    assert!(matches!(refused, Some(StoreError::Elsewhere(_) | StoreError::Away)), "{refused:?}");
    let client = place(&server, "chunks").client().unwrap();
    drop(server);
    let refused = BucketStore::open(folder.path(), client, options()).await.err();
    assert!(matches!(refused, Some(StoreError::Away)), "{refused:?}");
}
