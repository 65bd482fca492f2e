//! Segments of the largest size: client, server and nodes take them in every scheme, and read them back with nodes missing.

#![allow(clippy::unwrap_used, missing_docs)]

use cyx_client::transfer::{FileReader, PutOptions, Silent, Source, Transfer, Tuning};
use cyx_client::{Bucket, Client, Config, Overrides, TreePath};
use cyx_core::scheme::Scheme;
use cyx_core::units::{FRAMES_PER_SHARD_MAX, MIB};
use cyx_tests::{Cluster, User, noise};

const BUCKET: &str = "large";

/// Bytes of the files: an ordinary segment, with which every file begins, one of the largest, and the rest.
const SIZE: usize = 50 << 20;

/// An engine that cuts everything into the largest segments.
fn largest() -> Tuning {
    Tuning { frames_large: FRAMES_PER_SHARD_MAX * 10, large_file: MIB, ..Tuning::default() }
}

async fn bucket(user: &User, cluster: &Cluster) -> Bucket {
    let (home, gateway) = (user.home(), cluster.gateway());
    let variable = |name: &str| match name {
        "CYXCLOUD_HOME" => Some(home.clone().into_os_string()),
        "CYXCLOUD_GATEWAY" => Some(gateway.clone().into()),
        _ => None,
    };
    let client = Client::open(&Config::load_from(Overrides::default(), &variable).unwrap()).await.unwrap();
    client.bucket(BUCKET).await.unwrap()
}

/// Uploads content and says in which schemes its segments are.
async fn put(transfer: &Transfer, bucket: &Bucket, content: &[u8]) -> Vec<Scheme> {
    let uploads = transfer.uploads(bucket);
    let place = uploads.place(&path()).await.unwrap();
    let options = PutOptions { all_shards: true, ..PutOptions::default() };
    let source = Source::Bytes(content.to_vec().into());
    let put = uploads.put(place, source, Some(content.len() as u64), &options, &Silent).await.unwrap();
    uploads.finish().await;
    put.segments.iter().map(|segment| segment.scheme).collect()
}

fn path() -> TreePath {
    TreePath::parse(b"file").unwrap()
}

async fn open(transfer: &Transfer, bucket: &Bucket) -> FileReader {
    transfer.open(bucket, &bucket.resolve(&path()).await.unwrap()).await.unwrap()
}

async fn check(transfer: &Transfer, bucket: &Bucket, content: &[u8]) {
    let reader = open(transfer, bucket).await;
    let back = reader.copy_to(0..reader.size(), Vec::new(), &Silent).await.unwrap();
    assert!(back == content, "the whole file");
    for range in [0..1, 5_200_000..5_300_000, 24_000_000..24_300_000, 47_100_000..47_300_000] {
        let expected = &content[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()];
        assert!(reader.read_range(range.clone()).await.unwrap() == expected, "{range:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_in_segments_of_40_mib_outlives_four_nodes() {
    let (cluster, user) = tokio::task::block_in_place(|| {
        let cluster = Cluster::start(14);
        let user = cluster.user("ada");
        user.ok(["bucket", "create", BUCKET]);
        (cluster, user)
    });
    let content = noise(1, SIZE);
    let bucket = bucket(&user, &cluster).await;
    let transfer = Transfer::new(bucket.client(), None, largest());
    assert_eq!(put(&transfer, &bucket, &content).await, [Scheme::DEFAULT; 3]);
    check(&transfer, &bucket, &content).await;
    let health = open(&transfer, &bucket).await.reported_health(true).await.unwrap();
    assert_eq!((health.segments, health.shards_healthy, health.survives), (3, 14, Some(4)));

    tokio::task::block_in_place(|| [0, 4, 9, 13].into_iter().for_each(|node| cluster.kill_node(node)));
    let transfer = Transfer::new(bucket.client(), None, largest());
    check(&transfer, &bucket, &content).await;
    // And with the memory of an ordinary program, in pieces that are larger than its reserve.
    let tight = Tuning { read_piece: 40 * MIB, reserve: MIB, memory: 42 * MIB, ..largest() };
    check(&Transfer::new(bucket.client(), None, tight), &bucket, &content).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_takes_plain_copies_of_40_mib() {
    let (cluster, user) = tokio::task::block_in_place(|| {
        let cluster = Cluster::start(1);
        let user = cluster.user("ada");
        user.ok(["bucket", "create", BUCKET]);
        (cluster, user)
    });
    let content = noise(2, SIZE);
    let bucket = bucket(&user, &cluster).await;
    let transfer = Transfer::new(bucket.client(), None, largest());
    assert_eq!(put(&transfer, &bucket, &content).await, [Scheme::SINGLE; 3]);
    check(&transfer, &bucket, &content).await;
}
