//! The whole account: its log, its export, its end; and what administrators do.

use std::os::unix::fs::PermissionsExt as _;

use cyx_tests::{Cluster, User};
use serde_json::Value;

use crate::support::{text, with, with_mailed_code};

fn entries(user: &User, args: &[&str]) -> Vec<Value> {
    user.ok([&["audit", "--json"], args].concat()).json_lines()
}

#[test]
fn the_log_says_what_happened_and_to_its_owner_alone() {
    let cluster = Cluster::start(1);
    let user = cluster.user("ada");
    let wrong = with(&user, &["login", "--begin"], &[("CYXCLOUD_PASSWORD", "Wrong-Lattice7-umbral")]);
    assert_eq!(wrong.code, 4);
    assert_eq!(user.confirmed(&cluster, &["apikey", "create", "--name", "ci"]).code, 0);
    let log = entries(&user, &["--since", "1d"]);
    assert!(log.iter().any(|entry| entry["outcome"] == "refused"), "{log:?}");
    assert!(log.iter().any(|entry| entry["outcome"] == "ok"), "{log:?}");
    assert!(log.windows(2).all(|pair| pair[0]["seq"].as_u64() < pair[1]["seq"].as_u64()), "oldest first");
    assert!(entries(&user, &["--since", "2999-01-01"]).is_empty());
    user.fails(2, ["audit", "--since", "soon"]);

    let eve = cluster.user("eve");
    let seen: Vec<_> = entries(&eve, &[]).iter().map(|entry| entry["seq"].as_u64().unwrap()).collect();
    assert!(log.iter().all(|entry| !seen.contains(&entry["seq"].as_u64().unwrap())));
}

#[test]
fn an_export_is_ones_own_and_private() {
    let cluster = Cluster::start(1);
    let user = cluster.user("ada");
    let eve = cluster.user("eve");
    user.ok(["bucket", "create", "docs"]);
    user.write("docs", "a-name-nobody-else-sees", b"content");
    let target = user.path("export.ndjson");
    let path = target.to_str().unwrap();
    let exported = user.ok(["account", "export", "-o", path, "--json"]).json();
    let content = std::fs::read_to_string(&target).unwrap();
    assert_eq!(exported["bytes"], content.len());
    assert!(content.contains(&user.email) && !content.contains(&eve.email));
    assert!(!content.contains("a-name-nobody-else-sees"), "names are encrypted on the server");
    assert!(content.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
    assert_eq!(std::fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
    let again = user.cyx(["account", "export", "-o", path]);
    assert_eq!(again.code, 7, "it overwrites nothing: {again:?}");
    let printed = user.ok(["account", "export", "-o", "-"]).stdout;
    assert!(String::from_utf8(printed).unwrap().contains(&user.email));
}

#[test]
fn an_account_is_deleted_with_password_and_code_and_can_be_kept() {
    let cluster = Cluster::start(1);
    let user = cluster.user("ada");
    let elsewhere = user.elsewhere(&cluster);
    user.fails(3, ["account", "keep"]);
    let unsure = user.fails(2, ["account", "delete", "--session", "x", "--otp", "1"]);
    assert!(unsure.stderr.contains("--yes"), "{unsure:?}");
    let begin = || user.cyx(["account", "delete", "--begin", "--json"]);
    let deleted = with_mailed_code(&cluster, &user, begin, |id, code| {
        user.cyx(["account", "delete", "--session", id, "--otp", code, "--yes", "--json"])
    });
    assert_eq!(deleted.code, 0, "{deleted:?}");
    assert!(text(&deleted.json(), "delete_at").starts_with("20"));
    elsewhere.fails(4, ["list"]);
    assert!(user.ok(["whoami", "--json"]).json()["delete_at"].is_u64());
    assert_eq!(user.ok(["account", "keep", "--json"]).json()["kept"], true);
    assert!(user.ok(["whoami", "--json"]).json().get("delete_at").is_none());
}

#[test]
fn administrators_look_after_accounts_and_nobody_else_does() {
    let cluster = Cluster::start_with(1, &["--admin=root@example.org"], &[]);
    let root = cluster.user("root");
    let user = cluster.user("ada");
    for args in [
        &["users"][..],
        &["plan", "ada", "pro"],
        &["role", "ada", "admin"],
        &["disable", "root"],
        &["audit"],
        &["audit", "--check"],
        &["nodes"],
    ] {
        let run = user.cyx([&["admin"], args].concat());
        assert_eq!(run.code, 4, "{args:?}: {run:?}");
    }
    let users = root.ok(["admin", "users", "--json"]).json_lines();
    assert_eq!(users.len(), 2, "{users:?}");
    let found = root.ok(["admin", "users", "--search", "ada@", "--json"]).json_lines();
    assert_eq!((found.len(), &found[0]["username"]), (1, &"ada".into()));

    let planned = root.ok(["admin", "plan", "ada", "pro", "--limit-gb", "7", "--json"]).json();
    assert_eq!((&planned["plan"], &planned["limit_bytes"]), (&"pro".into(), &7_000_000_000_u64.into()));
    assert_eq!(user.ok(["quota", "--json"]).json()["limit_bytes"], 7_000_000_000_u64);
    assert_eq!(root.ok(["admin", "role", "ada", "premium", "--json"]).json()["role"], "premium");
    root.fails(3, ["admin", "plan", "nobody", "pro"]);
    root.fails(2, ["admin", "plan", "ada", "gold"]);

    root.ok(["admin", "disable", "ada"]);
    user.fails(4, ["list"]);
    root.ok(["admin", "disable", "ada", "--undo"]);
    user.login(&cluster);
    root.fails(7, ["admin", "disable", "root"]);

    assert_eq!(root.ok(["admin", "audit", "--check", "--json"]).json()["intact"], true);
    assert!(!root.ok(["admin", "audit", "--json"]).json_lines().is_empty());
    assert_eq!(root.ok(["admin", "nodes", "--json"]).json_lines().len(), 1);
}
