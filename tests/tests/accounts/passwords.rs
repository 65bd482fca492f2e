//! Changing a password, recovering without it, ending logins of other machines.

use cyx_tests::user::PASSWORD;
use cyx_tests::{Cluster, noise};

use crate::support::{
    NEW_PASSWORD, assert_old_password_is_refused, login_with_password, register, text, with, with_mailed_code,
};

#[test]
fn a_password_changes_without_touching_files_and_ends_other_logins() {
    let cluster = Cluster::start(3);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    let content = noise(1, 300_000);
    user.write("docs", "file", &content);
    let elsewhere = user.elsewhere(&cluster);
    let before = user.ok(["stat", "docs", "file", "--json"]).json();

    let wrong = [("CYXCLOUD_PASSWORD", "Wrong-Lattice7-umbral"), ("CYXCLOUD_NEW_PASSWORD", NEW_PASSWORD)];
    let refused = with(&user, &["passwd", "--begin"], &wrong);
    assert_eq!(refused.code, 4, "{refused:?}");
    let weak = with(&user, &["passwd"], &[("CYXCLOUD_NEW_PASSWORD", "Password123!")]);
    assert_eq!(weak.code, 2, "{weak:?}");
    assert!(weak.stderr.contains("easy to guess"), "{weak:?}");
    let unconfirmed = with(&user, &["passwd"], &[("CYXCLOUD_NEW_PASSWORD", NEW_PASSWORD)]);
    assert_eq!(unconfirmed.code, 2, "{unconfirmed:?}");
    assert!(unconfirmed.stderr.contains("one-time code"), "{unconfirmed:?}");
    let made_up = ["passwd", "--session", "00000000000000000000000000000000", "--otp", "000000"];
    let refused = with(&user, &made_up, &[("CYXCLOUD_NEW_PASSWORD", NEW_PASSWORD)]);
    assert_eq!(refused.code, 4, "{refused:?}");
    assert_eq!(elsewhere.read("docs", "file"), content, "a refusal changes nothing");

    let begin = || user.cyx_with_input(["passwd", "--password-stdin", "--begin", "--json"], PASSWORD.as_bytes());
    let changed = with_mailed_code(&cluster, &user, begin, |id, code| {
        let args = ["passwd", "--session", id, "--otp", code, "--new-password-stdin", "--json"];
        user.cyx_with_input(args, NEW_PASSWORD.as_bytes())
    });
    assert_eq!((changed.code, &changed.json()["revoked_sessions"]), (0, &1.into()), "{changed:?}");

    elsewhere.fails(4, ["list", "docs"]);
    assert_eq!(user.read("docs", "file"), content, "this machine stays logged in");
    assert_eq!(user.ok(["stat", "docs", "file", "--json"]).json(), before, "the file is as it was");
    assert_old_password_is_refused(&elsewhere);
    let run = login_with_password(&cluster, &elsewhere, NEW_PASSWORD);
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(elsewhere.read("docs", "file"), content);
}

#[test]
fn recovery_words_set_a_new_password_and_mail_alone_does_not() {
    let cluster = Cluster::start(3);
    let (user, words) = register(&cluster, "ada");
    let (_, foreign) = register(&cluster, "eve");
    user.ok(["bucket", "create", "docs"]);
    user.write("docs", "file", b"content");

    let recover = |words: &str| {
        let begin = || user.cyx(["recover", "--begin", "--json"]);
        with_mailed_code(&cluster, &user, begin, |id, code| {
            let variables = [("CYXCLOUD_RECOVERY_WORDS", words), ("CYXCLOUD_PASSWORD", NEW_PASSWORD)];
            with(&user, &["recover", "--session", id, "--otp", code, "--json"], &variables)
        })
    };
    // Who reads the mail has the code, but only words that are not those of the account.
    let refused = recover(&foreign);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("not the recovery words of this account"), "{refused:?}");
    assert_eq!(user.read("docs", "file"), b"content", "and nothing was changed");

    let recovered = recover(&words.to_uppercase());
    assert_eq!((recovered.code, &recovered.json()["recovered"]), (0, &true.into()), "{recovered:?}");
    user.fails(4, ["list", "docs"]);
    assert_old_password_is_refused(&user);
    let run = login_with_password(&cluster, &user, NEW_PASSWORD);
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(user.read("docs", "file"), b"content");
}

#[test]
fn new_words_replace_the_old_ones() {
    let cluster = Cluster::start(1);
    let (user, old) = register(&cluster, "ada");
    user.fails(2, ["account", "words"]);
    let new = text(&user.confirmed(&cluster, &["account", "words", "--json"]).json(), "recovery_words");
    assert_eq!(new.split(' ').count(), 24);
    assert_ne!(new, old);
    let recover = |words: &str, extra: &[&str]| {
        let begin = || user.cyx(["recover", "--begin", "--json"]);
        with_mailed_code(&cluster, &user, begin, |id, code| {
            let args = [&["recover", "--session", id, "--otp", code, "--json"], extra].concat();
            with(&user, &args, &[("CYXCLOUD_RECOVERY_WORDS", words), ("CYXCLOUD_PASSWORD", NEW_PASSWORD)])
        })
    };
    assert_eq!(recover(&old, &[]).code, 2);
    let recovered = recover(&new, &["--new-words"]);
    assert_eq!(recovered.code, 0, "{recovered:?}");
    let third = text(&recovered.json(), "recovery_words");
    assert!(third != new && third.split(' ').count() == 24);
}

#[test]
fn recovery_does_not_tell_who_has_an_account() {
    let cluster = Cluster::start(1);
    let (user, words) = register(&cluster, "ada");
    let known = user.ok(["recover", "--begin", "--json"]).json();
    let unknown = user.ok(["recover", "--email", "nobody@example.org", "--begin", "--json"]).json();
    assert_eq!(known["otp_method"], unknown["otp_method"]);
    let difference = known["otp_expires_at"].as_u64().unwrap().abs_diff(unknown["otp_expires_at"].as_u64().unwrap());
    assert!(difference < 240, "{known} {unknown}");
    let finish = |begun: &serde_json::Value, email: &str| {
        let id = text(begun, "session_id");
        let args = ["recover", "--email", email, "--session", &id, "--otp", "000000"];
        with(&user, &args, &[("CYXCLOUD_RECOVERY_WORDS", &words)])
    };
    let (a, b) = (finish(&known, &user.email), finish(&unknown, "nobody@example.org"));
    assert_eq!((a.code, a.stderr), (b.code, b.stderr));
}

#[test]
fn a_revoked_machine_is_shut_out_and_the_list_says_who_is_in() {
    let cluster = Cluster::start(1);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    user.write("docs", "file", b"content");
    let elsewhere = user.elsewhere(&cluster);
    let third = user.elsewhere(&cluster);

    let listed = user.ok(["sessions", "list", "--json"]).json_lines();
    assert_eq!(listed.len(), 3, "{listed:?}");
    let here = |user: &cyx_tests::User| {
        let sessions = user.ok(["sessions", "list", "--json"]).json_lines();
        text(sessions.iter().find(|session| session["current"] == true).unwrap(), "id")
    };
    let revoked = user.ok(["sessions", "revoke", &here(&elsewhere), "--json"]).json();
    assert_eq!(revoked["revoked"], true);
    elsewhere.fails(4, ["cat", "docs", "file"]);
    assert_eq!(third.read("docs", "file"), b"content");

    // Sessions of others are not even there.
    let eve = cluster.user("eve");
    eve.fails(3, ["sessions", "revoke", &here(&third)]);
    eve.fails(2, ["sessions", "revoke", "no-id"]);
    assert_eq!(third.read("docs", "file"), b"content");

    assert_eq!(user.ok(["sessions", "revoke", "--others", "--json"]).json()["revoked"], 1);
    third.fails(4, ["cat", "docs", "file"]);
    assert_eq!(user.read("docs", "file"), b"content");
    user.ok(["sessions", "revoke", &here(&user)]);
    let after = user.fails(4, ["list", "docs"]);
    assert!(after.stderr.contains("not logged in"), "{after:?}");
    assert!(!user.home().join("credentials.json").exists(), "this machine has forgotten its part");
}

#[test]
fn an_address_changes_once_both_mailboxes_agree() {
    let cluster = Cluster::start(1);
    let user = cluster.user("ada");
    let elsewhere = user.elsewhere(&cluster);
    user.ok(["bucket", "create", "docs"]);
    user.write("docs", "file", b"content");
    let new = "ada.new@example.org";
    let wrong = with(&user, &["account", "email", new, "--begin"], &[("CYXCLOUD_PASSWORD", NEW_PASSWORD)]);
    assert_eq!(wrong.code, 4, "{wrong:?}");
    user.fails(2, ["account", "email", "no-address", "--begin"]);
    user.fails(2, ["account", "email", new]);

    let known = cluster.mails_with_codes(&user.email);
    let begun = user.ok(["account", "email", new, "--begin", "--json"]).json();
    let (id, otp) = (text(&begun, "session_id"), cluster.new_code(&user.email, &known));
    assert!(cluster.mails_with_codes(new).is_empty(), "nobody else is written to before the owner has confirmed it");
    let (old_mails, new_mails) = (cluster.mails_with_codes(&user.email), cluster.mails_with_codes(new));
    let begun = user.ok(["account", "email", new, "--session", &id, "--otp", &otp, "--json"]).json();
    let id = text(&begun, "change_id");
    let (old, code) = (cluster.new_code(&user.email, &old_mails), cluster.new_code(new, &new_mails));
    let swapped = user.cyx(["account", "email", "--change", &id, "--otp-old", &code, "--otp-new", &old]);
    assert_eq!(swapped.code, 4, "{swapped:?}");
    assert_eq!(user.ok(["whoami", "--json"]).json()["email"], user.email.as_str(), "nothing changed yet");
    let changed = user.ok(["account", "email", "--change", &id, "--otp-old", &old, "--otp-new", &code, "--json"]);
    assert_eq!(changed.json()["email"], new);
    assert_eq!(user.ok(["whoami", "--json"]).json()["email"], new);
    assert_eq!(user.read("docs", "file"), b"content");

    // Whoever was logged in elsewhere still is, and proves the password of the account as it is called now.
    let variables = [("CYXCLOUD_NEW_PASSWORD", NEW_PASSWORD)];
    let known = cluster.mails_with_codes(new);
    let id = text(&elsewhere.ok(["passwd", "--begin", "--json"]).json(), "session_id");
    let otp = cluster.new_code(new, &known);
    let passwd = with(&elsewhere, &["passwd", "--session", &id, "--otp", &otp, "--json"], &variables);
    assert_eq!(passwd.code, 0, "{passwd:?}");
    let old_address = with(&user, &["login", "--begin", "--json"], &[("CYXCLOUD_PASSWORD", NEW_PASSWORD)]);
    assert_eq!(old_address.code, 4, "the old address logs in no more: {old_address:?}");
    let known = cluster.mails_with_codes(new);
    let args = ["login", "--email", new, "--begin", "--json"];
    let begun = with(&user, &args, &[("CYXCLOUD_PASSWORD", NEW_PASSWORD)]);
    assert_eq!(begun.code, 0, "{begun:?}");
    let id = text(&begun.json(), "session_id");
    user.ok(["login", "--session", &id, "--otp", &cluster.new_code(new, &known)]);
    assert_eq!(user.read("docs", "file"), b"content");
}
