//! Tokens that expire meanwhile, and sessions that end.

#![allow(clippy::unwrap_used, missing_docs)]

use std::io::Write as _;
use std::process::Stdio;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use cyx_client::nodes::read::ChunkRef;
use cyx_client::nodes::{NodeAccess, Problem};
use cyx_client::transfer::{Transfer, Tuning};
use cyx_client::{Client, Config, TreePath};
use cyx_core::chunk::chunk_id;
use cyx_core::ids::SegmentId;
use cyx_core::segment::shard_len;
use cyx_proto::convert::{id, roots, scheme};
use cyx_tests::{Cluster, noise};

const MIB: usize = 1 << 20;

#[test]
fn an_upload_outlives_its_access_token() {
    let cluster = Cluster::start_with(3, &["--access-token-seconds=2"], &[]);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    let content = noise(1, 18 * MIB);
    let mut command = user.command(["upload", "-", "--bucket", "docs", "--key", "slow"]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for part in content.chunks(6 * MIB) {
        stdin.write_all(part).unwrap();
        // Longer than a token lives; being later still changes nothing.
        std::thread::sleep(Duration::from_secs(3));
    }
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(user.read("docs", "slow"), content);
}

#[test]
fn who_logged_out_is_refused_and_other_sessions_go_on() {
    let cluster = Cluster::start(3);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    user.write("docs", "file", b"content");
    let elsewhere = user.elsewhere(&cluster);
    user.ok(["logout"]);
    user.fails(4, ["list", "docs"]);
    user.fails(4, ["cat", "docs", "file"]);
    assert_eq!(elsewhere.read("docs", "file"), b"content");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_session_reads_nothing_more_after_its_grants_end() {
    let (cluster, user) = tokio::task::spawn_blocking(|| {
        let cluster = Cluster::start_with(3, &["--grant-seconds=10"], &[]);
        let user = cluster.user("ada");
        user.ok(["bucket", "create", "docs"]);
        user.write("docs", "file", &noise(1, MIB));
        (cluster, user)
    })
    .await
    .unwrap();
    let config = Config {
        home: user.home(),
        gateway: Some(cluster.gateway().parse().unwrap()),
        email: None,
        ca_file: None,
        token: None,
    };
    let client = Client::open(&config).await.unwrap();
    let bucket = client.bucket("docs").await.unwrap();
    let located = bucket.resolve(&TreePath::parse("file").unwrap()).await.unwrap();
    let transfer = Transfer::new(&client, None, Tuning::default());

    // One shard and the right to read it, as a client holds it in its hands.
    let (_, _, answer) = bucket.fetch_file(located.id, 0..u64::MAX, "file").await.unwrap();
    let segment = &answer.segments[0];
    let scheme = scheme(segment.scheme, "scheme").unwrap();
    let segment_id: SegmentId = id(&segment.id, "id").unwrap();
    let chunk = ChunkRef {
        id: chunk_id(segment_id, 0),
        length: shard_len(scheme, segment.length),
        root: roots(&segment.roots, scheme, "roots").unwrap()[0],
    };
    let holder = &answer.placements[0].nodes[0];
    let access: NodeAccess = answer.nodes.iter().find(|node| node.node == holder).unwrap().clone().try_into().unwrap();
    let read = || async {
        let mut out = vec![0; 1000];
        transfer
            .pool()
            .read_into(&access, chunk, 0..1000, &mut out, &AtomicU64::default())
            .await
            .map_err(|error| error.problem)
    };
    assert_eq!(read().await, Ok(()));

    tokio::task::block_in_place(|| user.ok(["logout"]));
    let refused = client.bucket("docs").await.map(drop).unwrap_err();
    assert_eq!(refused.code(), cyx_core::error::ErrorCode::InvalidCredentials, "{refused}");
    let mut last = Ok(());
    tokio::task::block_in_place(|| {
        cyx_tests::wait_until("the grant has ended", || {
            last = tokio::runtime::Handle::current().block_on(read());
            last.is_err()
        });
    });
    assert!(last.as_ref().is_err_and(Problem::is_stale_grant), "{last:?}");
    let reader = transfer.open(&bucket, &located).await;
    assert!(reader.is_err(), "and there are no new ones");
}
