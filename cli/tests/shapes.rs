//! The JSON that scripts rely on: which fields each command prints, on a real cluster.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use cyx_tests::mount::{Mount, unavailable};
use cyx_tests::{Cluster, User};
use serde_json::Value;

/// The names of an object's fields, sorted and joined.
fn fields(value: &Value) -> String {
    let names: BTreeSet<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    names.into_iter().collect::<Vec<_>>().join(" ")
}

fn json(user: &User, typed: &str) -> Value {
    user.ok(typed.split_whitespace().chain(["--json"])).json()
}

/// Begins what a mailed code confirms, and waits for the mail: the next command that waits for one must not find this one.
fn begin(cluster: &Cluster, user: &User, typed: &str) -> Value {
    let known = cluster.mails_with_codes(&user.email);
    let begun = json(user, typed);
    let _code = cluster.new_code(&user.email, &known);
    begun
}

fn lines(user: &User, typed: &str) -> Vec<Value> {
    user.ok(typed.split_whitespace().chain(["--json"])).json_lines()
}

#[test]
fn accounts() {
    let cluster = Cluster::start(3);
    let user = User::new(&cluster, "ada");
    let registered = json(&user, "register --username ada");
    assert_eq!(fields(&registered), "email gateway recovery_words username");
    assert_eq!(registered["recovery_words"].as_str().unwrap().split(' ').count(), 24);

    let begun = json(&user, "login --begin");
    assert_eq!(fields(&begun), "otp_expires_at otp_method session_id");
    assert_eq!(begun["otp_method"], "email");
    assert!(begun["otp_expires_at"].as_u64().unwrap() > 1_700_000_000);
    let wrong = user.cyx(["login", "--session", begun["session_id"].as_str().unwrap(), "--otp", "000000"]);
    let code = cluster.mailed_code(&user.email);
    assert!(wrong.code == 4 || code == "000000", "{wrong:?}");
    user.login(&cluster);

    let whoami = json(&user, "whoami");
    assert_eq!(fields(&whoami), "created_at email id permissions plan quota role username");
    assert_eq!(fields(&whoami["quota"]), "limit_bytes used_bytes");
    let quota = json(&user, "quota");
    assert_eq!(
        fields(&quota),
        "full_at limit_bytes measured_at measured_bytes pending_bytes plan superseded_bytes traffic_forecast_bytes \
         traffic_limit_bytes traffic_pending_bytes traffic_used_bytes used_bytes"
    );
    let status = json(&user, "status");
    assert_eq!(fields(&status), "gateway nodes scheme survives version");
    assert_eq!((&status["scheme"], &status["survives"]), (&"2+1".into(), &1.into()));
    assert_eq!(
        fields(&status["nodes"][0]),
        "address allocatable_bytes last_heartbeat node region state used_bytes version"
    );
    assert_eq!(json(&user, "logout"), serde_json::json!({"logged_out": true}));
    assert_eq!(user.cyx(["whoami"]).code, 4);
}

#[test]
fn access() {
    let cluster = Cluster::start(1);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    assert_eq!(fields(&json(&user, "otp list")), "backup_codes_left login_method totp");
    let begun = begin(&cluster, &user, "otp enroll --begin");
    assert_eq!(fields(&begun), "otp_expires_at otp_method session_id");
    let sessions = lines(&user, "sessions list");
    assert_eq!(fields(&sessions[0]), "address created_at current device_name id last_used_at");

    let args = "apikey create --name ci --bucket docs --permissions storage:read --json";
    let created = user.confirmed(&cluster, &args.split(' ').collect::<Vec<_>>()).json();
    let listed = "bucket bucket_id created_at expires_at id last_address last_used_at name permissions";
    assert_eq!(fields(&created), format!("{listed} token"));
    assert_eq!(created["permissions"], serde_json::json!(["storage:read"]));
    let keys = lines(&user, "apikey list");
    assert_eq!((fields(&keys[0]), &keys[0]["bucket"]), (listed.to_owned(), &"docs".into()));
    let id = created["id"].as_str().unwrap();
    assert_eq!(json(&user, &format!("apikey revoke {id}")), serde_json::json!({"id": id, "revoked": true}));

    let rotated = lines(&user, "rotate");
    assert_eq!(fields(&rotated[0]), "api_keys broken bucket epoch inodes resumed");
    let begun = begin(&cluster, &user, "account email new@example.org --begin");
    assert_eq!(fields(&begun), "otp_expires_at otp_method session_id");
    let log = lines(&user, "audit --since 1h");
    assert_eq!(fields(&log[0]), "action actor address detail outcome seq time");
    assert_eq!(fields(&user.confirmed(&cluster, &["account", "words", "--json"]).json()), "recovery_words");
    let recovery = json(&user, "recover --begin");
    assert_eq!(fields(&recovery), "otp_expires_at otp_method session_id");
}

#[test]
fn files() {
    let cluster = Cluster::start(3);
    let user = cluster.user("ada");
    let created = json(&user, "bucket create docs");
    assert_eq!((fields(&created), &created["name"]), ("durable id name".to_owned(), &"docs".into()));

    user.file("tree/small", b"small");
    user.file("tree/sub/large", &cyx_tests::noise(1, 300_000));
    let tree = user.path("tree").to_str().unwrap().to_owned();
    let planned = json(&user, &format!("upload {tree} --bucket docs -r --dry-run"));
    assert_eq!((&planned["dry_run"], &planned["files"]), (&true.into(), &2.into()));
    assert_eq!(planned["planned"].as_array().unwrap().len(), 2);
    assert!(user.ok(["list", "docs"]).stdout.is_empty(), "a dry run changes nothing");

    let uploaded = json(&user, &format!("upload {tree} --bucket docs -r"));
    assert_eq!(
        fields(&uploaded),
        "bytes directories failed files missing_shards skipped survives unchanged uploaded warning"
    );
    assert_eq!((&uploaded["files"], &uploaded["bytes"]), (&2.into(), &300_005.into()));
    let keys: BTreeSet<&str> =
        uploaded["uploaded"].as_array().unwrap().iter().map(|file| file["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["tree/small", "tree/sub/large"].into());
    assert_eq!(fields(&uploaded["uploaded"][0]), "inode key missing_shards size survives version");
    let again = json(&user, &format!("upload {tree} --bucket docs -r"));
    assert_eq!((&again["files"], &again["unchanged"]), (&0.into(), &2.into()));

    let buckets = lines(&user, "bucket list");
    assert_eq!(fields(&buckets[0]), "created_at durable files id name owner used_bytes");
    let listed = lines(&user, "list docs -r");
    let shown: Vec<_> =
        listed.iter().map(|item| (item["key"].as_str().unwrap(), item["kind"].as_str().unwrap())).collect();
    let expected =
        [("tree", "directory"), ("tree/small", "file"), ("tree/sub", "directory"), ("tree/sub/large", "file")];
    assert_eq!(shown, expected);
    assert_eq!(fields(&listed[1]), "inode key kind mode mtime size version");

    let stat = json(&user, "stat docs tree/sub/large");
    assert_eq!(
        fields(&stat),
        "bucket created_at inode key kind links mode mtime nodes_faulty nodes_unreachable readable scheme segments \
         shards_healthy shards_total size survives version"
    );
    assert_eq!((&stat["scheme"], &stat["survives"], &stat["size"]), (&"2+1".into(), &1.into(), &300_000.into()));

    let target = user.path("back").to_str().unwrap().to_owned();
    let downloaded = json(&user, &format!("download docs --key tree -r -o {target}"));
    assert_eq!(fields(&downloaded), "bytes directories failed files skipped unchanged");

    assert_eq!(json(&user, "mv docs tree/small other"), serde_json::json!({"from": "tree/small", "to": "other"}));
    assert_eq!(json(&user, "cp docs other copy"), serde_json::json!({"from": "other", "to": "copy"}));
    assert_eq!(fields(&json(&user, "mkdir docs new")), "inode key");

    let deleted = json(&user, "delete docs copy");
    assert_eq!((fields(&deleted), &deleted["key"]), ("key trash".to_owned(), &"copy".into()));
    let trash = lines(&user, "trash list docs");
    assert_eq!(fields(&trash[0]), "deleted_at expires_at id key kind size");
    assert_eq!(trash[0]["id"], deleted["trash"]);
    let restored = json(&user, "trash restore docs copy");
    assert_eq!((fields(&restored), &restored["key"]), ("id key".to_owned(), &"copy".into()));
    assert_eq!(json(&user, "trash empty docs"), serde_json::json!({"deleted": 0}));
    assert_eq!(json(&user, "bucket delete docs --force"), serde_json::json!({"name": "docs", "deleted": true}));
}

#[test]
fn of_a_mount_that_was_killed_it_is_not_known_what_is_pending() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(1);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    let mut mount = Mount::start(&user, "m", &["--bucket", "docs"]);
    mount.kill();
    let off = user.ok(["umount", mount.path().to_str().unwrap(), "--json"]);
    assert_eq!(fields(&off.json()), "mountpoint pending_files");
    assert!(off.json()["pending_files"].is_null(), "{off:?}");
    assert!(off.stderr.contains("may hold changes that were not sent"), "{off:?}");
}

#[test]
fn some_of_many_failing_is_exit_code_8_and_each_failure_is_named() {
    let cluster = Cluster::start(1);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    user.write("docs", "there", b"x");
    let run = user.fails(8, ["delete", "docs", "there", "missing"]);
    assert!(run.stderr.contains("cyx: missing does not exist."), "{run:?}");
    let run = user.fails(3, ["delete", "docs", "missing", "also-missing"]);
    assert_eq!(run.stderr.lines().count(), 3, "{run:?}");
    let run = user.fails(3, ["delete", "docs", "missing"]);
    assert_eq!(run.stderr.lines().count(), 1, "a single failure is said once: {run:?}");
}

#[test]
fn a_range_of_a_file_is_written_exactly() {
    let cluster = Cluster::start(3);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    let content = cyx_tests::noise(2, 400_000);
    user.write("docs", "f", &content);
    let cat = |offset: usize, length: usize| {
        let (offset, length) = (offset.to_string(), length.to_string());
        user.ok(["cat", "docs", "f", "--offset", &offset, "--length", &length]).stdout
    };
    for (offset, length) in [(0, 1), (16_383, 3), (200_000, 100_000), (399_999, 5), (400_000, 5), (0, 0)] {
        let end = (offset + length).min(content.len());
        assert_eq!(cat(offset, length), content[offset.min(end)..end], "{length} bytes from {offset}");
    }
}
