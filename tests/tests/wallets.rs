//! Wallets that log in to an account, from the command line.

#![allow(clippy::unwrap_used, missing_docs)]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use cyx_core::wallet::show_signature;
use cyx_tests::user::PASSWORD;
use cyx_tests::{Cluster, Run, User};
use ed25519_dalek::{Signer as _, SigningKey};

/// The first key pair of RFC 8032, as solana-keygen would write it.
const SECRET: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
const PUBLIC: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
const ADDRESS: &str = "FVen3X669xLzsi6N2V91DoiyzHzg1uAgqiT8jZ9nS96Z";

/// Does something that needs a code, with the mailed one.
fn confirmed(cluster: &Cluster, user: &User, args: &[&str]) -> Run {
    user.confirmed(cluster, &[args, &["--json"]].concat())
}

/// The key pair in a file that nobody else may read.
fn key_file(user: &User) -> String {
    let pair = format!("{SECRET}{PUBLIC}");
    let bytes: Vec<u8> = (0..64).map(|at| u8::from_str_radix(&pair[2 * at..2 * at + 2], 16).unwrap()).collect();
    let file = user.file("id.json", serde_json::to_string(&bytes).unwrap().as_bytes());
    std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    file.to_str().unwrap().to_owned()
}

/// The wallet's signature of a text.
fn sign(message: &str) -> String {
    let secret: Vec<u8> = (0..32).map(|at| u8::from_str_radix(&SECRET[2 * at..2 * at + 2], 16).unwrap()).collect();
    let key = SigningKey::from_bytes(&secret.try_into().unwrap());
    show_signature(&key.sign(message.as_bytes()).to_bytes())
}

#[test]
fn a_wallet_logs_in_and_the_password_opens_the_files() {
    let cluster = Cluster::start(3);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    user.write("docs", "file", b"content");
    let file = key_file(&user);
    let stranger = user.fails(4, ["login", "--wallet", &file]);
    assert!(stranger.stderr.contains("not linked"), "{stranger:?}");
    assert_eq!(user.read("docs", "file"), b"content", "and the login of before is still there");
    assert_eq!(confirmed(&cluster, &user, &["wallet", "link", "--keypair", &file]).code, 0);

    // On another machine the password is needed for the keys, and nothing else.
    let elsewhere = User::new(&cluster, "ada");
    let copy = key_file(&elsewhere);
    let wrong = elsewhere.cyx_with_input(["login", "--wallet", &copy, "--password-stdin"], b"Wrong-Lattice7-umbral");
    assert_eq!(wrong.code, 4, "{wrong:?}");
    elsewhere.fails(4, ["whoami"]);
    let login =
        elsewhere.cyx_with_input(["login", "--wallet", &copy, "--password-stdin", "--json"], PASSWORD.as_bytes());
    assert_eq!((login.code, &login.json()["username"]), (0, &"ada".into()), "{login:?}");
    assert_eq!(elsewhere.read("docs", "file"), b"content");
    elsewhere.write("docs", "more", b"from there");
    assert_eq!(user.read("docs", "more"), b"from there");

    // A machine that is logged in has the keys: nobody needs to be asked.
    let mut command = elsewhere.command(["login", "--wallet", &copy]);
    command.env_remove("CYXCLOUD_PASSWORD");
    let again = Run::of(command);
    assert_eq!(again.code, 0, "{again:?}");
    assert_eq!(elsewhere.read("docs", "file"), b"content");
    assert_eq!(user.ok(["sessions", "list", "--json"]).json_lines().len(), 2, "the login of before has ended");
}

#[test]
fn a_wallet_alone_opens_nothing() {
    let cluster = Cluster::start(1);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    let file = key_file(&user);
    assert_eq!(confirmed(&cluster, &user, &["wallet", "link", "--keypair", &file]).code, 0);
    let miner = User::new(&cluster, "ada");
    let copy = key_file(&miner);
    let mut command = miner.command(["login", "--wallet", &copy]);
    command.env_remove("CYXCLOUD_PASSWORD");
    let asked = Run::of(command);
    assert_eq!(asked.code, 2, "nobody can be asked for the password: {asked:?}");

    // The key may be anywhere: the text is signed by hand.
    let begun = miner.ok(["login", "--wallet-address", ADDRESS, "--begin", "--json"]).json();
    let (id, message) = (begun["session_id"].as_str().unwrap(), begun["message"].as_str().unwrap());
    assert!(message.contains("Log in to cyx.") && message.contains(ADDRESS), "{message}");
    let wrong = miner.cyx(["login", "--session", id, "--signature", &"1".repeat(64), "--without-keys"]);
    assert_eq!(wrong.code, 4, "{wrong:?}");
    let late = miner.cyx(["login", "--session", id, "--signature", &sign(message), "--without-keys"]);
    assert_eq!(late.code, 4, "a text counts once: {late:?}");
    let begun = miner.ok(["login", "--wallet-address", ADDRESS, "--begin", "--json"]).json();
    let (id, message) = (begun["session_id"].as_str().unwrap(), begun["message"].as_str().unwrap());
    let done = miner.cyx(["login", "--session", id, "--signature", &sign(message), "--without-keys"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.stderr.contains("no keys"), "{done:?}");
    assert_eq!(miner.ok(["whoami", "--json"]).json()["username"], "ada");
    // What the server knows by itself takes no keys.
    let (used, seen) = (miner.ok(["quota", "--json"]).json(), miner.ok(["status", "--json"]).json());
    assert!(used["limit_bytes"].as_u64() > Some(0), "{used}");
    assert_eq!(seen["nodes"].as_array().map(Vec::len), Some(1), "{seen}");
    miner.ok(["node", "enroll"]);
    let refused = miner.fails(4, ["list", "docs"]);
    assert!(refused.stderr.contains("this login has no keys"), "{refused:?}");
    miner.fails(4, ["bucket", "create", "more"]);
    // What a stolen wallet must not do either: the password is still needed, and a code.
    let begin = |args: &[&str]| {
        let mut command = miner.command([args, &["--begin"]].concat());
        command.env("CYXCLOUD_PASSWORD", "Wrong-Lattice7-umbral");
        Run::of(command).code
    };
    assert_eq!(begin(&["account", "delete", "--yes"]), 4);
    assert_eq!(begin(&["apikey", "create", "--name", "x"]), 4);

    std::fs::set_permissions(&copy, Permissions::from_mode(0o640)).unwrap();
    let open = miner.fails(2, ["login", "--wallet", &copy]);
    assert!(open.stderr.contains("can be read by others"), "{open:?}");
    miner.fails(2, ["login", "--wallet-address", "0OIl", "--begin"]);
    miner.fails(2, ["login", "--without-keys"]);
}

#[test]
fn a_wallet_is_linked_listed_and_removed() {
    let cluster = Cluster::start(1);
    let user = cluster.user("ada");
    let file = key_file(&user);
    let file = file.as_str();
    assert!(user.ok(["wallet", "list"]).stderr.contains("No wallet is linked."));

    let linked = confirmed(&cluster, &user, &["wallet", "link", "--keypair", file]);
    assert_eq!((linked.code, &linked.json()["wallet"]), (0, &ADDRESS.into()), "{linked:?}");
    let listed = user.ok(["wallet", "list", "--json"]).json();
    assert_eq!((&listed["wallet"], &listed["last_used_at"]), (&ADDRESS.into(), &serde_json::Value::Null));
    let again = confirmed(&cluster, &user, &["wallet", "link", "--keypair", file]);
    assert_eq!(again.code, 7, "{again:?}");

    let text = user.ok(["wallet", "text", ADDRESS, "--json"]).json();
    let message = text["message"].as_str().unwrap();
    assert!(message.contains("Link this wallet to the cyx account ada") && message.contains(ADDRESS), "{message}");
    let signature = "1".repeat(64);
    let unsigned = ["wallet", "link", "--text", text["text"].as_str().unwrap(), "--signature", &signature];
    let refused = confirmed(&cluster, &user, &unsigned);
    assert_eq!(refused.code, 4, "{refused:?}");
    assert_eq!(user.fails(2, ["wallet", "text", "0OIl"]).code, 2);
    assert_eq!(user.fails(2, ["wallet", "link"]).code, 2);

    let removed = confirmed(&cluster, &user, &["wallet", "remove", ADDRESS]);
    assert_eq!((removed.code, &removed.json()["removed"]), (0, &true.into()), "{removed:?}");
    assert!(user.ok(["wallet", "list", "--json"]).stdout.is_empty());
    assert_eq!(confirmed(&cluster, &user, &["wallet", "remove", ADDRESS]).code, 3);
}
