//! Every name a Unix filesystem allows and every size around a border.

#![allow(clippy::unwrap_used, missing_docs)]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use cyx_tests::{Cluster, noise, tree};

const FRAME: usize = 16 * 1024;
const SEGMENT: usize = 5 << 20;
const PACK: usize = 256 * 1024;

#[test]
fn names_of_any_bytes_come_back_as_they_were() {
    let cluster = Cluster::start(3);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    let mut names: Vec<Vec<u8>> = vec![
        b"-leading-dash".to_vec(),
        b"--help".to_vec(),
        b" space ".to_vec(),
        b"new\nline".to_vec(),
        b"tab\tquote\"'`$(x)*?[".to_vec(),
        b"...".to_vec(),
        b".hidden".to_vec(),
        "e\u{301} combining".as_bytes().to_vec(),
        "\u{e9} composed".as_bytes().to_vec(),
        b"not utf-8 \xff\xfe".to_vec(),
        vec![b'x'; 255],
        vec![b'y'; 16],
        vec![b'z'; 15],
    ];
    // Every byte a name may hold, in names of 100.
    let allowed: Vec<u8> = (1..=255).filter(|byte| *byte != b'/').collect();
    names.extend(allowed.chunks(100).map(<[u8]>::to_vec));
    for (index, name) in names.iter().enumerate() {
        let path = user.path("tree").join(OsStr::from_bytes(name));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("content {index}")).unwrap();
    }
    let source = user.path("tree");
    user.ok(["upload".as_ref(), source.as_os_str(), "--bucket".as_ref(), "docs".as_ref(), "-r".as_ref()]);
    let target = user.path("back");
    user.ok([
        "download".as_ref(),
        "docs".as_ref(),
        "--key".as_ref(),
        "tree".as_ref(),
        "-r".as_ref(),
        "-o".as_ref(),
        target.as_os_str(),
    ]);
    let found = if target.join("tree").is_dir() { target.join("tree") } else { target };
    tree::assert_same(&source, &found);
    let listed = user.ok(["list", "docs", "-r", "--json"]).json_lines();
    assert!(listed.iter().any(|item| item["key_base64"].is_string()), "names that are not UTF-8 come in base64 too");
}

#[test]
fn sizes_around_every_border_come_back_as_they_were() {
    let cluster = Cluster::start(14);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    let borders = [4096, FRAME, PACK, SEGMENT, 2 * SEGMENT];
    let sizes = [0, 1, 2].into_iter().chain(borders.into_iter().flat_map(|border| [border - 1, border, border + 1]));
    for size in sizes {
        user.file(&format!("tree/{size}"), &noise(size as u64, size));
    }
    let source = user.path("tree");
    user.ok(["upload".as_ref(), source.as_os_str(), "--bucket".as_ref(), "docs".as_ref(), "-r".as_ref()]);
    let target = user.path("back");
    user.ok([
        "download".as_ref(),
        "docs".as_ref(),
        "--key".as_ref(),
        "tree".as_ref(),
        "-r".as_ref(),
        "-o".as_ref(),
        target.as_os_str(),
    ]);
    let found = if target.join("tree").is_dir() { target.join("tree") } else { target };
    tree::assert_same(&source, &found);
}

#[test]
fn standard_input_of_any_length_is_stored() {
    let cluster = Cluster::start(3);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    for size in [0, 1, SEGMENT, SEGMENT + 1] {
        let content = noise(9, size);
        user.write("docs", "stream", &content);
        assert_eq!(user.read("docs", "stream"), content, "{size} bytes");
    }
}

#[test]
fn a_name_that_no_filesystem_allows_is_refused_and_changes_nothing() {
    let cluster = Cluster::start(1);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    let source = user.file("f", b"x");
    for key in [&"n".repeat(256), "a/../b"] {
        let run = user.cyx([
            "upload".as_ref(),
            source.as_os_str(),
            "--bucket".as_ref(),
            "docs".as_ref(),
            "--key".as_ref(),
            OsStr::new(key),
        ]);
        assert_eq!(run.code, 2, "{key}: {run:?}");
    }
    assert!(user.ok(["list", "docs", "-r", "--json"]).stdout.is_empty());
}
