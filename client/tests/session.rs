//! Logging in and staying logged in, against a gateway that can be told how to behave.

#![allow(clippy::unwrap_used, reason = "tests")]

mod gateway;

use std::os::unix::fs::PermissionsExt as _;

use cyx_client::session::Session;
use cyx_client::{Client, Error, IntegrityError, TreePath, identity};
use cyx_core::error::ErrorCode;
use gateway::{CODE, EMAIL, Gateway, PASSWORD};
use serde_json::json;

fn path(text: &str) -> TreePath {
    TreePath::parse(text).unwrap()
}

#[tokio::test]
async fn a_registered_person_logs_in_with_a_code_and_opens_the_account() {
    let (gateway, home) = (Gateway::start().await, tempfile::tempdir().unwrap());
    let config = gateway.config(home.path());
    let registered = identity::register(&config, "ada", EMAIL, PASSWORD).await.unwrap();
    assert_eq!(registered.recovery_words.split(' ').count(), 24);

    let pending = identity::begin_login(&config, EMAIL, PASSWORD, false).await.unwrap();
    let waiting = home.path().join("pending").join(format!("{}.json", pending.session_id));
    assert_eq!(std::fs::metadata(&waiting).unwrap().permissions().mode() & 0o777, 0o600);
    let wrong = identity::finish_login(&config, &pending.session_id, "000000", false).await.unwrap_err();
    assert_eq!(wrong.code(), ErrorCode::OtpInvalid);
    let who = identity::finish_login(&config, &pending.session_id, &format!(" {CODE}\n"), false).await.unwrap();
    assert_eq!(who.username, "ada");
    assert!(!waiting.exists());

    let credentials = home.path().join("credentials.json");
    assert_eq!(std::fs::metadata(&credentials).unwrap().permissions().mode() & 0o777, 0o600);
    let client = Client::open(&config).await.unwrap();
    assert_eq!(client.account(), gateway.state().account);
    assert_eq!(identity::whoami(&config).await.unwrap(), who);
}

#[tokio::test]
async fn keys_of_logins_that_were_not_finished_do_not_outlive_the_others() {
    let (gateway, home) = (Gateway::start().await, tempfile::tempdir().unwrap());
    let config = gateway.config(home.path());
    gateway.register(home.path()).await;
    let waiting = || std::fs::read_dir(home.path().join("pending")).unwrap().count();
    let begin = || identity::begin_login(&config, EMAIL, PASSWORD, false);
    begin().await.unwrap();
    begin().await.unwrap();
    assert_eq!(waiting(), 2);
    gateway.log_in(home.path(), false).await.unwrap();
    assert_eq!(waiting(), 0, "another login of the account is finished");

    begin().await.unwrap();
    assert_eq!(waiting(), 1);
    identity::logout(&config).await.unwrap();
    assert_eq!(waiting(), 0);

    gateway.log_in(home.path(), false).await.unwrap();
    let begun = begin().await.unwrap();
    let file = home.path().join("pending").join(format!("{}.json", begun.session_id));
    let mut kept: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    kept["otp_expires_at"] = json!(gateway::now() - 1);
    std::fs::write(&file, kept.to_string()).unwrap();
    Session::open(&config).unwrap();
    assert_eq!(waiting(), 0, "its code has ended");
}

#[tokio::test]
async fn the_password_and_the_account_key_never_reach_the_server() {
    let (gateway, home) = (Gateway::start().await, tempfile::tempdir().unwrap());
    let client = gateway.client(home.path()).await;
    let sent = {
        let state = gateway.state();
        format!("{} {:?}", state.registration, state.device_key)
    };
    assert!(!sent.contains(PASSWORD));
    let key = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, client.secrets().key.expose());
    assert!(!sent.contains(&key));
    let kept = std::fs::read_to_string(home.path().join("credentials.json")).unwrap();
    assert!(!kept.contains(PASSWORD) && !kept.contains(&key));
}

#[tokio::test]
async fn bad_input_is_refused_before_anything_is_sent() {
    let (gateway, home) = (Gateway::start().await, tempfile::tempdir().unwrap());
    let config = gateway.config(home.path());
    for (name, email, password, code) in [
        ("a-b", EMAIL, PASSWORD, ErrorCode::InvalidUsername),
        ("ada", "nowhere", PASSWORD, ErrorCode::InvalidEmail),
        ("ada", EMAIL, "Password123!", ErrorCode::WeakPassword),
    ] {
        let error = identity::register(&config, name, email, password).await.err().unwrap();
        assert_eq!((error.code(), error.exit_code()), (code, 2));
    }
    assert!(gateway.state().registration.is_null());
}

#[tokio::test]
async fn weak_password_parameters_are_refused_before_the_password_is_used() {
    let (gateway, home) = (Gateway::start().await, tempfile::tempdir().unwrap());
    gateway.register(home.path()).await;
    for weak in
        [json!({ "memory_kib": 8, "passes": 3, "lanes": 1 }), json!({ "memory_kib": 65536, "passes": 1, "lanes": 1 })]
    {
        gateway.state().params = Some(weak);
        let error = gateway.log_in(home.path(), false).await.unwrap_err();
        assert!(matches!(error, Error::Integrity(IntegrityError::WeakParameters)), "{error}");
    }
    gateway.state().params = Some(json!({ "memory_kib": u32::MAX, "passes": 3, "lanes": 1 }));
    let error = gateway.log_in(home.path(), false).await.unwrap_err();
    assert!(matches!(error, Error::Integrity(IntegrityError::CostlyParameters)), "{error}");
}

#[tokio::test]
async fn a_wrong_password_is_invalid_credentials() {
    let (gateway, home) = (Gateway::start().await, tempfile::tempdir().unwrap());
    gateway.register(home.path()).await;
    let error = identity::begin_login(&gateway.config(home.path()), EMAIL, "Wrong-Tramway-29-Okra", false).await;
    assert_eq!(error.unwrap_err().exit_code(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_processes_share_one_refresh() {
    let (gateway, home) = (Gateway::start().await, tempfile::tempdir().unwrap());
    gateway.register(home.path()).await;
    gateway.log_in(home.path(), false).await.unwrap();
    let before = gateway.state().refreshes;
    gateway.state().access.clear();
    let config = gateway.config(home.path());
    let asked = (0..12).map(|_| {
        // Each has its own copy of the credentials, as processes have.
        let session = Session::open(&config).unwrap();
        tokio::spawn(async move { session.identity().await.map(|_| ()) })
    });
    for done in asked.collect::<Vec<_>>() {
        done.await.unwrap().unwrap();
    }
    assert_eq!(gateway.state().refreshes, before + 1);
    assert!(!gateway.state().ended);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_refresh_token_is_ever_used_twice() {
    let (gateway, home) = (Gateway::start().await, tempfile::tempdir().unwrap());
    gateway.register(home.path()).await;
    // Tokens that are too old as soon as they are received: every process refreshes every time.
    gateway.state().access_seconds = 0;
    gateway.log_in(home.path(), false).await.unwrap();
    let config = gateway.config(home.path());
    let asked = (0..8).map(|_| {
        let session = Session::open(&config).unwrap();
        tokio::spawn(async move { session.access_token().await.map(|_| ()) })
    });
    for done in asked.collect::<Vec<_>>() {
        done.await.unwrap().unwrap();
    }
    assert!(!gateway.state().ended, "a used token came again");
    assert_eq!(gateway.state().used.len(), 8);
}

#[tokio::test]
async fn a_token_that_ends_in_the_middle_of_work_is_renewed_once() {
    let (gateway, home) = (Gateway::start().await, tempfile::tempdir().unwrap());
    let client = gateway.client(home.path()).await;
    client.create_bucket("photos", false).await.unwrap();
    let before = gateway.state().refreshes;
    gateway.state().expire = true;
    client.quota().await.unwrap();
    assert_eq!(gateway.state().refreshes, before + 1);
    // The next process finds the new token.
    let again = Client::open(&gateway.config(home.path())).await.unwrap();
    again.bucket("photos").await.unwrap();
    assert_eq!(gateway.state().refreshes, before + 1);
}

#[tokio::test]
async fn who_the_caller_is_is_remembered_until_it_is_dropped() {
    let (gateway, home) = (Gateway::start().await, tempfile::tempdir().unwrap());
    gateway.register(home.path()).await;
    gateway.log_in(home.path(), false).await.unwrap();
    let session = Session::open(&gateway.config(home.path())).unwrap();
    let first = session.known_identity().await.unwrap();
    assert_eq!(first.username, "ada");
    gateway.state().ended = true;
    assert_eq!(session.known_identity().await.unwrap(), first, "nobody is asked");
    session.forget_identity();
    assert!(matches!(session.known_identity().await.unwrap_err(), Error::NotLoggedIn { ended: true }));
}

#[tokio::test]
async fn an_ended_session_is_not_logged_in() {
    let (gateway, home) = (Gateway::start().await, tempfile::tempdir().unwrap());
    let client = gateway.client(home.path()).await;
    gateway.state().ended = true;
    for error in [
        client.quota().await.unwrap_err(),
        client.identity().await.unwrap_err(),
        Client::open(&gateway.config(home.path())).await.err().unwrap(),
    ] {
        assert!(matches!(error, Error::NotLoggedIn { ended: true }), "{error}");
        assert_eq!((error.exit_code(), error.advice()), (4, Some("Run `cyx login`.")));
    }
}

#[tokio::test]
async fn logout_ends_the_session_on_both_sides() {
    let (gateway, home) = (Gateway::start().await, tempfile::tempdir().unwrap());
    gateway.client(home.path()).await;
    let config = gateway.config(home.path());
    assert!(identity::logout(&config).await.unwrap());
    assert!(gateway.state().ended);
    assert!(gateway.state().device_key.is_none());
    assert!(!home.path().join("credentials.json").exists());
    assert!(!identity::logout(&config).await.unwrap());
    assert!(matches!(Session::open(&config), Err(Error::NotLoggedIn { ended: false })));
}

#[tokio::test]
async fn credentials_go_to_no_other_gateway() {
    let (gateway, other, home) = (Gateway::start().await, Gateway::start().await, tempfile::tempdir().unwrap());
    gateway.client(home.path()).await;
    let error = Client::open(&other.config(home.path())).await.err().unwrap();
    assert!(matches!(error, Error::OtherGateway { .. }), "{error}");
    assert_eq!(error.exit_code(), 4);

    let pending = identity::begin_login(&gateway.config(home.path()), EMAIL, PASSWORD, false).await.unwrap();
    let error = identity::finish_login(&other.config(home.path()), &pending.session_id, CODE, false).await.unwrap_err();
    assert!(matches!(error, Error::OtherGateway { .. }), "{error}");

    // Without a name it is the one logged in to.
    let config = cyx_client::Config { gateway: None, ..gateway.config(home.path()) };
    assert_eq!(Session::open(&config).unwrap().gateway().as_str(), gateway.url());
}

#[tokio::test]
async fn a_restored_server_is_refused_until_its_changes_are_accepted() {
    let (gateway, home) = (Gateway::start().await, tempfile::tempdir().unwrap());
    let client = gateway.client(home.path()).await;
    client.quota().await.unwrap();
    gateway.state().incarnation = "bb02".into();
    let error = client.quota().await.unwrap_err();
    assert!(matches!(error, Error::IncarnationChanged { .. }), "{error}");
    assert!(error.advice().unwrap().contains("cyx login --accept-changes"));
    assert!(matches!(gateway.log_in(home.path(), false).await, Err(Error::IncarnationChanged { .. })));
    gateway.log_in(home.path(), true).await.unwrap();
    Client::open(&gateway.config(home.path())).await.unwrap().quota().await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_away_for_a_moment_is_called_again() {
    let (gateway, home) = (Gateway::start().await, tempfile::tempdir().unwrap());
    let client = gateway.client(home.path()).await;
    gateway.state().unavailable = 3;
    client.quota().await.unwrap();
    assert_eq!(gateway.state().calls["get_quota"], 4);
}

#[tokio::test]
async fn a_change_whose_answer_is_lost_is_made_once() {
    let (gateway, home) = (Gateway::start().await, tempfile::tempdir().unwrap());
    let client = gateway.client(home.path()).await;
    gateway.state().lost_answers = 1;
    let bucket = client.create_bucket("photos", false).await.unwrap();
    gateway.state().lost_answers = 1;
    bucket.make_directory(&path("a"), 0o755).await.unwrap();
    assert_eq!(gateway.state().buckets.len(), 1);
    assert_eq!(gateway.state().entries.len(), 1);
    assert_eq!(gateway.state().calls["apply"], 2);
}

#[tokio::test]
async fn a_gateway_that_is_not_there_is_a_network_error() {
    let home = tempfile::tempdir().unwrap();
    // A port that is taken, and on which nobody listens.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let gateway = Some(format!("http://{}", socket.local_addr().unwrap()).parse().unwrap());
    let config = cyx_client::Config { home: home.path().to_owned(), gateway, email: None, ca_file: None, token: None };
    let error = identity::begin_login(&config, EMAIL, PASSWORD, false).await.unwrap_err();
    assert_eq!(error.exit_code(), 6);
    assert!(error.to_string().starts_with("cannot reach http://127.0.0.1:"), "{error}");
}

#[tokio::test]
async fn a_changed_account_key_is_an_integrity_error() {
    let (gateway, home) = (Gateway::start().await, tempfile::tempdir().unwrap());
    gateway.client(home.path()).await;
    let other = gateway.state().registration["wrapped_account_key"].as_str().unwrap().to_owned();
    gateway.state().device_key = Some(other);
    let error = Client::open(&gateway.config(home.path())).await.err().unwrap();
    assert!(matches!(error, Error::Integrity(IntegrityError::Sealed("account key"))), "{error}");
}
