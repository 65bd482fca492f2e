//! Wallets that log in to an account, from the command line.

#![allow(clippy::unwrap_used, missing_docs)]

use cyx_tests::{Cluster, Run, User};

/// The first key pair of RFC 8032, as solana-keygen would write it.
const SECRET: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
const PUBLIC: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
const ADDRESS: &str = "FVen3X669xLzsi6N2V91DoiyzHzg1uAgqiT8jZ9nS96Z";

/// Begins a command that needs a code, and ends it with the mailed one.
fn confirmed(cluster: &Cluster, user: &User, args: &[&str]) -> Run {
    let known = cluster.mails_with_codes(&user.email);
    let begun = user.ok([args, &["--begin", "--json"]].concat()).json();
    let code = cluster.new_code(&user.email, &known);
    user.cyx([args, &["--session", begun["session_id"].as_str().unwrap(), "--otp", &code, "--json"]].concat())
}

#[test]
fn a_wallet_is_linked_listed_and_removed() {
    let cluster = Cluster::start(1);
    let user = cluster.user("ada");
    let pair = format!("{SECRET}{PUBLIC}");
    let bytes: Vec<u8> = (0..64).map(|at| u8::from_str_radix(&pair[2 * at..2 * at + 2], 16).unwrap()).collect();
    let file = user.file("id.json", serde_json::to_string(&bytes).unwrap().as_bytes());
    let file = file.to_str().unwrap();
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
