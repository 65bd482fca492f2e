//! API keys: of the whole account and of one bucket.

use std::process::Command;

use cyx_tests::{Cluster, Run, User, program};
use serde_json::Value;

use crate::support::text;

/// A machine that has nothing but a token.
struct Machine {
    home: tempfile::TempDir,
    gateway: String,
    token: String,
}

impl Machine {
    fn new(cluster: &Cluster, token: &str) -> Self {
        Self { home: tempfile::tempdir().unwrap(), gateway: cluster.gateway(), token: token.to_owned() }
    }

    fn cyx(&self, args: &[&str]) -> Run {
        let mut command = Command::new(program("cyx"));
        command.env_clear().env("HOME", self.home.path()).env("CYXCLOUD_GATEWAY", &self.gateway);
        command.env("CYXCLOUD_TOKEN", &self.token).args(args).stdin(std::process::Stdio::null());
        Run::of(command)
    }

    fn ok(&self, args: &[&str]) -> Run {
        let run = self.cyx(args);
        assert_eq!(run.code, 0, "{args:?}: {run:?}");
        run
    }

    fn upload(&self, name: &str, content: &[u8], bucket: &str) -> Run {
        let path = self.home.path().join(name);
        std::fs::write(&path, content).unwrap();
        self.cyx(&["upload", path.to_str().unwrap(), "--bucket", bucket])
    }
}

fn create(cluster: &Cluster, user: &User, args: &[&str]) -> Value {
    let run = user.confirmed(cluster, &[&["apikey", "create", "--json", "--name", "ci"], args].concat());
    assert_eq!(run.code, 0, "{run:?}");
    run.json()
}

#[test]
fn a_key_of_the_account_works_alone_until_it_is_revoked() {
    let cluster = Cluster::start(3);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    user.write("docs", "file", b"content");
    let created = create(&cluster, &user, &["--expires", "90d"]);
    let machine = Machine::new(&cluster, &text(&created, "token"));

    assert_eq!(machine.ok(&["cat", "docs", "file"]).stdout, b"content");
    machine.ok(&["bucket", "create", "more"]);
    let large = cyx_tests::noise(3, 400_000);
    assert_eq!(machine.upload("large", &large, "more").code, 0);
    assert_eq!(machine.ok(&["download", "more", "--key", "large", "-o", "-"]).stdout, large);
    assert_eq!(user.read("more", "large"), large, "its owner sees what it stored");
    for args in
        [&["list"][..], &["whoami"], &["quota"], &["status"], &["trash", "list", "more"], &["delete", "more", "large"]]
    {
        machine.ok(args);
    }
    // What belongs to a person is none of a script's business.
    for args in [
        &["sessions", "list"][..],
        &["apikey", "list"],
        &["apikey", "create", "--name", "x"],
        &["otp", "list"],
        &["account", "export"],
    ] {
        let run = machine.cyx(args);
        assert_eq!(run.code, 4, "{args:?}: {run:?}");
    }

    let id = text(&created, "id");
    let listed = user.ok(["apikey", "list", "--json"]).json_lines();
    assert_eq!((listed.len(), &listed[0]["id"], &listed[0]["name"]), (1, &id.as_str().into(), &"ci".into()));
    assert!(listed[0]["last_used_at"].is_string(), "{listed:?}");
    assert!(listed[0].get("token").is_none());
    user.ok(["apikey", "revoke", &id]);
    let refused = machine.cyx(&["cat", "docs", "file"]);
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(refused.stderr.contains("the API key was refused"), "{refused:?}");
    assert!(user.ok(["apikey", "list"]).stdout.is_empty());
    user.fails(3, ["apikey", "revoke", &id]);
}

#[test]
fn a_key_of_one_bucket_opens_that_bucket_alone() {
    let cluster = Cluster::start(3);
    let user = cluster.user("ada");
    for bucket in ["docs", "private"] {
        user.ok(["bucket", "create", bucket]);
        user.write(bucket, "file", bucket.as_bytes());
    }
    let created = create(&cluster, &user, &["--bucket", "docs"]);
    assert_eq!(created["bucket"], "docs");
    let machine = Machine::new(&cluster, &text(&created, "token"));
    let listed = machine.ok(&["list", "--json"]).json_lines();
    assert_eq!((listed.len(), &listed[0]["name"]), (1, &"docs".into()));
    assert_eq!(machine.ok(&["cat", "docs", "file"]).stdout, b"docs");
    assert_eq!(machine.cyx(&["cat", "private", "file"]).code, 3);
    assert_eq!(machine.cyx(&["bucket", "create", "more"]).code, 4);
    assert_eq!(machine.cyx(&["bucket", "delete", "docs", "--force"]).code, 4);

    // What it writes is signed by itself, and its owner believes that.
    let large = cyx_tests::noise(4, 400_000);
    assert_eq!(machine.upload("large", &large, "docs").code, 0);
    assert_eq!(machine.upload("file", b"changed", "docs").code, 0);
    assert_eq!(user.read("docs", "large"), large);
    assert_eq!(user.read("docs", "file"), b"changed");
    user.write("docs", "later", b"by the owner");
    assert_eq!(machine.ok(&["cat", "docs", "later"]).stdout, b"by the owner");

    user.ok(["apikey", "revoke", &text(&created, "id")]);
    assert_eq!(machine.cyx(&["cat", "docs", "file"]).code, 4);
    assert_eq!(user.read("docs", "file"), b"changed", "what it signed before still counts");
    user.write("docs", "file", b"again");
    let next = Machine::new(&cluster, &text(&create(&cluster, &user, &["--bucket", "docs"]), "token"));
    assert_eq!(next.ok(&["cat", "docs", "file"]).stdout, b"again");
}

#[test]
fn a_key_that_may_only_read_changes_nothing() {
    let cluster = Cluster::start(3);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    for name in ["file", "old"] {
        user.write("docs", name, b"content");
    }
    user.ok(["delete", "docs", "old"]);
    for extra in [&[][..], &["--bucket", "docs"]] {
        let args = [&["--permissions", "storage:read"], extra].concat();
        let machine = Machine::new(&cluster, &text(&create(&cluster, &user, &args), "token"));
        assert_eq!(machine.ok(&["cat", "docs", "file"]).stdout, b"content");
        for args in [
            &["delete", "docs", "file"][..],
            &["mkdir", "docs", "new"],
            &["mv", "docs", "file", "other"],
            &["trash", "empty", "docs"],
        ] {
            let run = machine.cyx(args);
            assert_eq!(run.code, 4, "{args:?}: {run:?}");
        }
        assert_eq!(machine.upload("small", b"x", "docs").code, 4);
        assert_eq!(machine.upload("large", &cyx_tests::noise(5, 400_000), "docs").code, 4);
    }
    assert_eq!(user.read("docs", "file"), b"content");
    assert_eq!(user.ok(["list", "docs"]).stdout, b"file\n");
    user.ok(["trash", "restore", "docs", "old"]);
}

#[test]
fn keys_are_asked_for_in_words_that_make_sense() {
    let cluster = Cluster::start(1);
    let user = cluster.user("ada");
    let unconfirmed = user.fails(2, ["apikey", "create", "--name", "x"]);
    assert!(unconfirmed.stderr.contains("one-time code"), "{unconfirmed:?}");
    let wrong = user.cyx(["apikey", "create", "--name", "x", "--session", &"0".repeat(32), "--otp", "000000"]);
    assert_eq!(wrong.code, 4, "{wrong:?}");
    user.fails(2, ["apikey", "create", "--name", "x", "--permissions", "storage:everything"]);
    user.fails(2, ["apikey", "create", "--name", "x", "--expires", "yesterday"]);
    user.fails(3, ["apikey", "create", "--name", "x", "--bucket", "missing"]);
    user.fails(2, ["apikey", "revoke", "no-id"]);
    let eve = cluster.user("eve");
    let id = text(&create(&cluster, &user, &[]), "id");
    eve.fails(3, ["apikey", "revoke", &id]);
    assert!(eve.ok(["apikey", "list"]).stdout.is_empty());
    let created = user.confirmed(&cluster, &["apikey", "create", "--name", "plain"]);
    let token = String::from_utf8(created.stdout).unwrap();
    assert_eq!(token.trim_end().split('.').count(), 3, "the token stands alone on standard output");
    let machine = Machine::new(&cluster, &token);
    machine.ok(&["whoami"]);
    let mistyped = Machine::new(&cluster, &token[..60]);
    assert_eq!(mistyped.cyx(&["whoami"]).code, 2);
    let forged = Machine::new(&cluster, &format!("{}.{}", &token[..32], "A".repeat(43) + "." + &"A".repeat(43)));
    assert_eq!(forged.cyx(&["whoami"]).code, 4);
}
