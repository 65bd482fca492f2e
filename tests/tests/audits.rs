//! Nodes prove what they hold: to whoever asks with `cyx verify`, and to the server without being asked by anybody.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use cyx_tests::admin::scrape as metrics;
use cyx_tests::{Cluster, User, noise, wait_until};
use serde_json::Value;

const MIB: usize = 1 << 20;
/// Bytes of a volume before its first record, and the distance of records.
const BLOCK: u64 = 4096;

/// Flips a bit in every block behind the header of a node's volumes, while the node is down.
fn damage(cluster: &Cluster, index: usize) {
    cluster.stop_node(index);
    for volume in cluster.volumes(index) {
        let file = OpenOptions::new().read(true).write(true).open(volume).unwrap();
        let mut at = BLOCK + 2000;
        while at < file.metadata().unwrap().len() {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 4], at).unwrap();
            at += BLOCK;
        }
    }
    cluster.start_node(index);
}

fn verify(user: &User, key: &str) -> Value {
    user.ok(["verify", "docs", key, "--json"]).json()
}

fn fields(value: &Value) -> String {
    let names: BTreeSet<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    names.into_iter().collect::<Vec<_>>().join(" ")
}

#[test]
fn verify_shows_which_shards_nodes_can_prove() {
    // Nothing may be repaired or noticed by the server meanwhile.
    let quiet = ["--repair-tasks=0", "--node-lost-seconds=86400", "--node-audit-slices=0"];
    let cluster = Cluster::start_with(14, &quiet, &["--scrub-mib-per-second=0"]);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    user.write_whole("docs", "large", &noise(1, 11 * MIB));
    user.write_whole("docs", "dir/small", &noise(2, 20_000));
    user.write("docs", "tiny", b"in the database");

    let all = user.ok(["verify", "docs", "--json"]).json_lines();
    let keys: Vec<&str> = all.iter().map(|file| file["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["dir/small", "large", "tiny"]);
    assert_eq!(
        fields(&all[0]),
        "bucket key last_audit nodes_faulty nodes_unreachable readable scheme segments segments_at_risk segments_degraded \
         shards_healthy shards_needed shards_total size survives"
    );
    for file in &all[..2] {
        assert_eq!(
            (&file["shards_healthy"], &file["shards_total"], &file["survives"]),
            (&14.into(), &14.into(), &4.into())
        );
        assert_eq!((&file["shards_needed"], &file["last_audit"]), (&10.into(), &Value::Null));
    }
    assert!(all[1]["segments"].as_u64().unwrap() >= 2, "{}", all[1]);
    assert_eq!(
        (&all[2]["segments"], &all[2]["survives"], &all[2]["readable"]),
        (&0.into(), &Value::Null, &true.into())
    );
    assert_eq!(user.ok(["verify", "--json"]).json_lines(), all, "without a bucket all are verified");
    assert_eq!(user.ok(["verify", "docs", "dir", "--json"]).json_lines(), all[..1]);
    let said = String::from_utf8(user.ok(["verify", "docs"]).stdout).unwrap();
    assert!(said.contains("14 of 14 shards, 10 needed, survives  4") && said.lines().count() == 3, "{said}");
    user.fails(3, ["verify", "docs", "nothing"]);
    user.fails(3, ["verify", "nothing"]);

    cluster.stop_node(3);
    let found = verify(&user, "large");
    assert_eq!((&found["shards_healthy"], &found["survives"]), (&13.into(), &3.into()), "{found}");
    assert_eq!(
        (found["nodes_unreachable"].as_array().unwrap().len(), &found["nodes_faulty"]),
        (1, &Value::Array(vec![]))
    );
    assert_eq!(found["segments_degraded"], found["segments"]);
    let run = user.fails(1, ["verify", "docs", "large", "--strict"]);
    assert!(run.stderr.contains("13 of 14"), "{run:?}");

    damage(&cluster, 5);
    for extra in [&[][..], &["--full"]] {
        let args = ["verify", "docs", "large", "--json"].iter().chain(extra);
        let found = user.ok(args).json();
        assert_eq!((&found["shards_healthy"], &found["survives"]), (&12.into(), &2.into()), "{extra:?}: {found}");
        assert_eq!(found["nodes_faulty"].as_array().unwrap().len(), 1, "{extra:?}: {found}");
        assert_eq!(found["segments_at_risk"], 0, "twelve are what an upload is acknowledged with");
    }

    for index in [7, 8, 9] {
        cluster.stop_node(index);
    }
    let run = user.fails(1, ["verify", "docs", "large", "--json"]);
    let found = run.json();
    assert_eq!(
        (&found["readable"], &found["survives"], &found["shards_healthy"]),
        (&false.into(), &Value::Null, &9.into())
    );
    assert!(run.stderr.contains("9 of 14 shards are healthy, 10 are needed"), "{run:?}");
    // What needs no node can be read all the same.
    user.fails(8, ["verify", "docs", "--json"]);
}

#[test]
fn the_server_finds_damage_by_itself_and_what_it_counts_is_what_the_dashboard_shows() {
    let eager = ["--node-audit-seconds=2", "--node-audit-recheck-seconds=1", "--node-audit-slices=32"];
    // Nodes do not look themselves.
    let cluster = Cluster::start_with(16, &eager, &["--scrub-mib-per-second=0"]);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    // One segment, which is worth a repair when two of its shards are gone.
    let content = noise(1, 4 * MIB);
    user.write_whole("docs", "file", &content);
    wait_until("every segment was audited", || verify(&user, "file")["last_audit"].is_string());
    let holders: Vec<usize> = (0..16).filter(|index| cluster.metric(*index, "cyx_node_chunks") > 0).collect();
    assert_eq!(holders.len(), 14);
    holders[..2].iter().for_each(|victim| damage(&cluster, *victim));

    let gateway = cluster.gateway();
    // The nodes notice when they are asked, and own up before the server asks again.
    let failed = "cyx_audits_total{outcome=\"corrupt\"} ";
    wait_until("the damage was found", || {
        metrics(&gateway).lines().filter_map(|line| line.strip_prefix(failed)).any(|count| count != "0")
    });
    wait_until("what was damaged is made anew", || {
        let found = verify(&user, "file");
        found["shards_healthy"] == 14 && found["survives"] == 4
    });
    assert_eq!(user.read("docs", "file"), content);

    // One that has stored and served since it began, and one that was damaged.
    let nodes = cluster.status()["nodes"].clone();
    let of = |index: usize| nodes[index]["metrics"].as_str().unwrap();
    let said: String = [gateway.as_str(), of(holders[5]), of(holders[0])].map(metrics).concat();
    let known: BTreeSet<&str> =
        said.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy");
    let mut used = 0;
    for file in ["grafana-dashboard.json", "prometheus-alerts.yml"] {
        let text = fs::read_to_string(deploy.join(file)).unwrap();
        // That one is there only where the log is shipped.
        for name in names(&text).into_iter().filter(|name| *name != "cyx_wal_shipped_at_seconds") {
            let bare = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            assert!(known.contains(name) || known.contains(bare), "{file} shows {name}, which nothing counts");
            used += 1;
        }
    }
    assert!(used > 30, "only {used} names were found");
}

/// The names of metrics in a text.
fn names(text: &str) -> Vec<&str> {
    let starts = text.match_indices("cyx_").map(|(at, _)| &text[at..]);
    starts
        .map(|rest| &rest[..rest.find(|c: char| !(c.is_ascii_lowercase() || c == '_')).unwrap_or(rest.len())])
        .collect()
}
