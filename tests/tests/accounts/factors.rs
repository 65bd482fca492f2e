//! Second factors.

use cyx_tests::user::PASSWORD;
use cyx_tests::{Cluster, User, wait_until};
use serde_json::Value;

use crate::support::{app_code, text, with, with_mailed_code, wrong_code};

/// Enrols an app and gives its secret and the backup codes.
fn enroll(cluster: &Cluster, user: &User) -> (String, Vec<String>) {
    let begin = || user.cyx(["otp", "enroll", "--begin", "--json"]);
    let enrolled = with_mailed_code(cluster, user, begin, |id, code| {
        user.cyx(["otp", "enroll", "--session", id, "--otp", code, "--json"])
    });
    assert_eq!(enrolled.code, 0, "{enrolled:?}");
    let secret = text(&enrolled.json(), "secret");
    assert!(text(&enrolled.json(), "uri").starts_with("otpauth://totp/"));
    assert_eq!(user.ok(["otp", "list", "--json"]).json()["login_method"], "email", "nothing counts yet");
    let wrong = user.fails(4, ["otp", "enroll", "--confirm", &wrong_code(&secret)]);
    assert!(wrong.stderr.contains("code"), "{wrong:?}");

    let confirmed = user.ok(["otp", "enroll", "--confirm", &app_code(&secret, 0), "--json"]).json();
    let codes: Vec<String> =
        confirmed["backup_codes"].as_array().unwrap().iter().map(|code| code.as_str().unwrap().to_owned()).collect();
    assert_eq!(codes.len(), 10);
    (secret, codes)
}

fn begin_login(user: &User) -> Value {
    user.ok(["login", "--begin", "--json"]).json()
}

fn finish_login(user: &User, begun: &Value, code: &str) -> i32 {
    user.cyx(["login", "--session", &text(begun, "session_id"), "--otp", code]).code
}

#[test]
fn an_app_takes_the_place_of_mail_and_no_code_works_twice() {
    let cluster = Cluster::start(1);
    let user = cluster.user("ada");
    assert_eq!(user.ok(["otp", "list"]).stdout, b"email\n");
    let (secret, backup) = enroll(&cluster, &user);
    let listed = user.ok(["otp", "list", "--json"]).json();
    assert_eq!((&listed["login_method"], &listed["backup_codes_left"]), (&"totp".into(), &10.into()));

    let known = cluster.mails_with_codes(&user.email);
    let login = begin_login(&user);
    assert_eq!(login["otp_method"], "totp");
    assert_eq!(finish_login(&user, &login, &wrong_code(&secret)), 4);
    // The next code of the app, a little early; the one that confirmed the app is used up.
    let code = app_code(&secret, 1);
    assert_eq!(finish_login(&user, &login, &code), 0);
    let again = begin_login(&user);
    assert_eq!(finish_login(&user, &again, &code), 4, "a code works once");
    assert_eq!(finish_login(&user, &again, &backup[0]), 0, "a backup code stands in for one");
    let again = begin_login(&user);
    assert_eq!(finish_login(&user, &again, &backup[0]), 4, "a backup code works once");
    assert_eq!(finish_login(&user, &again, &backup[1].to_uppercase().replace('-', "")), 0);
    assert_eq!(user.ok(["otp", "list", "--json"]).json()["backup_codes_left"], 8);
    // When the letter of what came last is there, so are those before.
    user.ok(["otp", "backup-codes", "--otp", &backup[2]]);
    wait_until("the letter about new backup codes", || {
        let letters = std::fs::read_dir(cluster.dir().join("outbox")).unwrap().map(|entry| entry.unwrap().path());
        letters.filter_map(|path| std::fs::read_to_string(path).ok()).any(|letter| letter.contains("new backup codes"))
    });
    assert_eq!(cluster.mails_with_codes(&user.email), known, "logins with an app send no codes");
}

#[test]
fn factors_are_changed_with_password_and_code_only() {
    let cluster = Cluster::start(1);
    let user = cluster.user("ada");
    let (secret, backup) = enroll(&cluster, &user);
    let wrong = with(&user, &["otp", "remove", "--otp", &backup[0]], &[("CYXCLOUD_PASSWORD", "Wrong-Lattice7-umbral")]);
    assert_eq!(wrong.code, 4, "{wrong:?}");
    assert_eq!(user.cyx(["otp", "remove", "--otp", &wrong_code(&secret)]).code, 4);
    let run = user.cyx(["otp", "remove"]);
    assert_eq!(run.code, 2, "nobody can be asked: {run:?}");

    let renewed = user.ok(["otp", "backup-codes", "--otp", &backup[0], "--json"]).json();
    let new = renewed["backup_codes"][3].as_str().unwrap().to_owned();
    assert_eq!(user.cyx(["otp", "remove", "--otp", &backup[1]]).code, 4, "the old ones are over");
    let input = format!("{PASSWORD}\n");
    let removed = user.cyx_with_input(["otp", "remove", "--password-stdin", "--otp", &new, "--json"], input.as_bytes());
    assert_eq!((removed.code, &removed.json()["removed"]), (0, &true.into()), "{removed:?}");
    assert_eq!(user.ok(["otp", "list", "--json"]).json()["login_method"], "email");
    user.login(&cluster);
}
