//! A full account: what does not fit is refused, leaves nothing behind, and fits once there is room.

#![allow(clippy::unwrap_used, missing_docs)]

use cyx_tests::{Cluster, User, noise, wait_until};

const MB: usize = 1_000_000;

fn quota(user: &User, field: &str) -> u64 {
    let quota = user.ok(["quota", "--json"]).json();
    quota[field].as_u64().unwrap_or_else(|| panic!("no {field}: {quota}"))
}

#[test]
fn what_exceeds_the_quota_is_refused_and_leaves_nothing() {
    let cluster = Cluster::start_with(3, &["--plan-free-bytes=20000000"], &[]);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    let content = noise(1, 8 * MB);
    user.write("docs", "first", &content);
    let used = quota(&user, "used_bytes");
    assert!(used >= 8 * MB as u64);

    // Its length is known before anything is sent.
    let source = user.file("second", &noise(2, 16 * MB));
    let upload = ["upload".as_ref(), source.as_os_str(), "--bucket".as_ref(), "docs".as_ref()];
    let run = user.fails(5, upload);
    assert!(run.stderr.contains(&format!("do not fit: of 20000000 bytes of the plan {used} are used")), "{run:?}");
    // Of several, all that did not get through are named, with the reason.
    let third = user.file("other", &noise(5, 16 * MB));
    let several = [&upload[..1], &[third.as_os_str()], &upload[1..], &["--json".as_ref()]].concat();
    let summary = user.fails(5, several).json();
    let failed = summary["failed"].as_array().unwrap();
    let paths: Vec<&str> = failed.iter().filter_map(|failure| failure["path"].as_str()).collect();
    assert_eq!(summary["files"], 0, "{summary}");
    assert_eq!(paths.len(), 2, "{summary}");
    for path in [&source, &third] {
        assert!(paths.contains(&path.to_str().unwrap()), "{summary}");
    }
    assert!(failed.iter().all(|failure| failure["code"] == "QUOTA_EXCEEDED"), "{summary}");
    // Its length is found out while it is sent.
    let run = user.cyx_with_input(["upload", "-", "--bucket", "docs", "--key", "stream"], &noise(3, 40 * MB));
    assert_eq!(run.code, 5, "{run:?}");
    for key in ["second", "stream"] {
        user.fails(3, ["stat", "docs", key]);
    }
    assert_eq!(user.read("docs", "first"), content);
    assert_eq!(quota(&user, "used_bytes"), used);
    wait_until("nothing is held back for what was refused", || quota(&user, "pending_bytes") == 0);

    // What still fits is taken.
    user.write("docs", "third", &noise(4, 9 * MB));
    // Room that is made is room.
    user.fails(5, upload);
    user.ok(["delete", "docs", "first", "third", "--permanent"]);
    assert_eq!(quota(&user, "used_bytes"), 0);
    user.ok(upload);
    assert_eq!(user.read("docs", "second"), noise(2, 16 * MB));
    cluster.assert_consistent();
}

#[test]
fn a_full_account_can_replace_and_delete() {
    let cluster = Cluster::start_with(3, &["--plan-free-bytes=1000000"], &[]);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    user.write("docs", "big", &noise(1, 900_000));
    let run = user.cyx_with_input(["upload", "-", "--bucket", "docs", "--key", "more"], &noise(2, 200_000));
    assert_eq!(run.code, 5, "{run:?}");
    // Small files lie in the server's database and count as well.
    let mut refused = false;
    for number in 0..40 {
        let key = format!("small-{number}");
        let run = user.cyx_with_input(["upload", "-", "--bucket", "docs", "--key", &key], &noise(number, 4096));
        refused = run.code != 0;
        if refused {
            assert_eq!(run.code, 5, "{run:?}");
            break;
        }
    }
    assert!(refused, "40 files of 4 KiB were taken");
    user.ok(["mv", "docs", "big", "moved"]);
    user.ok(["delete", "docs", "moved", "--permanent"]);
    user.write("docs", "more", &noise(2, 200_000));
    assert_eq!(user.read("docs", "more"), noise(2, 200_000));
    cluster.assert_consistent();
}
