//! What these tests share: commands with further variables, codes of an authenticator app.

use std::time::{SystemTime, UNIX_EPOCH};

use cyx_tests::user::PASSWORD;
use cyx_tests::{Cluster, Run, User};
use serde_json::Value;

/// Another password that passes the rules.
pub(crate) const NEW_PASSWORD: &str = "Brass-Heron9-tilted";

/// Runs a command with further variables.
pub(crate) fn with(user: &User, args: &[&str], variables: &[(&str, &str)]) -> Run {
    let mut command = user.command(args);
    command.envs(variables.iter().copied());
    Run::of(command)
}

/// Registers without a login, and gives the recovery words too.
pub(crate) fn register(cluster: &Cluster, name: &str) -> (User, String) {
    let user = User::new(cluster, name);
    let registered = user.ok(["register", "--username", name, "--json"]).json();
    user.login(cluster);
    (user, registered["recovery_words"].as_str().unwrap().to_owned())
}

/// Begins something that has a code mailed, and finishes it with that code.
pub(crate) fn with_mailed_code(
    cluster: &Cluster,
    user: &User,
    begin: impl FnOnce() -> Run,
    finish: impl FnOnce(&str, &str) -> Run,
) -> Run {
    let known = cluster.mails_with_codes(&user.email);
    let begun = begin();
    if begun.code != 0 {
        return begun;
    }
    finish(&text(&begun.json(), "session_id"), &cluster.new_code(&user.email, &known))
}

pub(crate) fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_else(|| panic!("no {field} in {value}")).to_owned()
}

/// Logs in with another password than the usual one.
pub(crate) fn login_with_password(cluster: &Cluster, user: &User, password: &str) -> Run {
    let begin = || with(user, &["login", "--begin", "--json"], &[("CYXCLOUD_PASSWORD", password)]);
    with_mailed_code(cluster, user, begin, |id, code| user.cyx(["login", "--session", id, "--otp", code, "--json"]))
}

/// The usual password does not log in any more.
pub(crate) fn assert_old_password_is_refused(user: &User) {
    let run = with(user, &["login", "--begin", "--json"], &[("CYXCLOUD_PASSWORD", PASSWORD)]);
    assert_eq!(run.code, 4, "{run:?}");
}

/// A code that an app with this secret does not show about now.
pub(crate) fn wrong_code(secret: &str) -> String {
    let near: Vec<String> = (-3..=3).map(|steps| app_code(secret, steps)).collect();
    (0..).map(|n| format!("{n:06}")).find(|code| !near.contains(code)).unwrap()
}

/// A code of an authenticator app (RFC 6238, SHA-1, six digits, 30 seconds), `steps` ahead of now.
pub(crate) fn app_code(secret: &str, steps: i64) -> String {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &base32(secret));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 30;
    let counter = now.checked_add_signed(steps).unwrap();
    let tag = aws_lc_rs::hmac::sign(&key, &counter.to_be_bytes());
    let tag = tag.as_ref();
    let at = usize::from(tag[19] & 0xf);
    let number = u32::from_be_bytes([tag[at] & 0x7f, tag[at + 1], tag[at + 2], tag[at + 3]]);
    format!("{:06}", number % 1_000_000)
}

fn base32(text: &str) -> Vec<u8> {
    let mut bits = 0_u64;
    let (mut count, mut bytes) = (0, Vec::new());
    for character in text.bytes() {
        let value = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".iter().position(|known| *known == character).unwrap();
        bits = bits << 5 | value as u64;
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count).to_le_bytes()[0]);
            bits &= (1 << count) - 1;
        }
    }
    bytes
}

#[test]
fn the_code_of_this_test_is_that_of_apps() {
    assert_eq!(base32("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"), b"12345678901234567890");
}
