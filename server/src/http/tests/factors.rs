//! Second factors, and the confirmation that changes of the account need.

use cyx_core::ids::AccountId;

use super::*;
use crate::time::now_seconds;

impl Person<'_> {
    /// Asks for a confirmation; gives its id.
    pub(super) async fn confirmation(&self, token: &str) -> String {
        let body = json!({"auth_key": base64(&self.auth_key)});
        let answer = self.call(Method::POST, "/api/auth/confirm", Some(token), Some(body)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        answer.text("confirmation_id")
    }

    /// A confirmation with its mailed code.
    pub(super) async fn mailed_confirmation(&self, token: &str) -> Value {
        let id = self.confirmation(token).await;
        let code = self.server.running.app.tokens.codes.mailed(id.parse().unwrap());
        self.await_code(&code).await;
        json!({"confirmation_id": id, "otp": code})
    }

    /// A body of a sensitive change with a fresh password and mailed code in it.
    pub(super) async fn confirmed(&self, token: &str, mut body: Value) -> Value {
        for (name, value) in self.mailed_confirmation(token).await.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    }

    /// Does a sensitive change with a fresh password and mailed code.
    pub(super) async fn send_confirmed(&self, path: &str, token: &str, body: Value) -> Answer {
        self.send(path, token, self.confirmed(token, body).await).await
    }

    pub(super) async fn send(&self, path: &str, token: &str, body: Value) -> Answer {
        self.call(Method::POST, path, Some(token), Some(body)).await
    }

    /// Enrols an authenticator app with mailed codes; gives it and the backup codes.
    pub(super) async fn enrol(&self, session: &Session) -> (AppOf, Vec<String>) {
        let confirmed = self.mailed_confirmation(&session.access).await;
        let enrolled = self.send("/api/auth/factors/totp", &session.access, confirmed).await;
        assert_eq!(enrolled.status, StatusCode::OK, "{}", enrolled.body);
        let app = AppOf::new(self, session, enrolled.text("secret")).await;
        let shown = self.send("/api/auth/factors/totp/confirm", &session.access, json!({"otp": app.code(0)})).await;
        assert_eq!(shown.status, StatusCode::OK, "{}", shown.body);
        (app, serde_json::from_value(shown.body["backup_codes"].clone()).unwrap())
    }
}

/// An authenticator app.
pub(super) struct AppOf {
    keys: crate::tokens::CodeKeys,
    account: AccountId,
    enrolment: [u8; 16],
}

impl AppOf {
    /// The app that has this secret, which is compared with what the server would compute.
    async fn new(person: &Person<'_>, session: &Session, secret: String) -> Self {
        let account: AccountId = session.verified["account"]["id"].as_str().unwrap().parse().unwrap();
        let app = &person.server.running.app;
        let mut tx = app.db.read().await.unwrap();
        let pending: Vec<u8> = sqlx::query_scalar("SELECT totp_pending FROM account WHERE id = $1")
            .bind(account.to_vec())
            .fetch_one(&mut *tx)
            .await
            .unwrap();
        let enrolment = pending.try_into().unwrap();
        assert_eq!(app.tokens.codes.app_secret(account, &enrolment), secret);
        Self { keys: app.tokens.codes.clone(), account, enrolment }
    }

    /// What it shows now, or some steps later.
    pub(super) fn code(&self, steps: i64) -> String {
        let time = now_seconds().checked_add_signed(steps * 30).unwrap();
        self.keys.app_code(self.account, &self.enrolment, time)
    }

    /// A code that is not among those that are taken.
    fn wrong(&self) -> String {
        let near: Vec<String> = (-3..=3).map(|steps| self.code(steps)).collect();
        (0..).map(|n| format!("{n:06}")).find(|code| !near.contains(code)).unwrap()
    }
}

#[tokio::test]
async fn an_app_replaces_mailed_codes_once_it_has_shown_one() {
    let server = TestServer::new().await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let none = ada.get("/api/auth/factors", &session.access).await.body;
    assert_eq!(none, json!({"login_method": "email", "totp": null, "backup_codes_left": 0}));

    let confirmed = ada.mailed_confirmation(&session.access).await;
    let enrolled = ada.send("/api/auth/factors/totp", &session.access, confirmed.clone()).await;
    let secret = enrolled.text("secret");
    assert_eq!(
        enrolled.text("uri"),
        format!("otpauth://totp/cyx:ada@example.org?secret={secret}&issuer=cyx&algorithm=SHA1&digits=6&period=30")
    );
    assert_eq!(ada.begin().await.text("otp_method"), "email", "it is not in force yet");
    let again = ada.send("/api/auth/factors/totp", &session.access, confirmed).await;
    assert_eq!(again.code(), "OTP_EXPIRED", "a confirmation is used up");

    let app = AppOf::new(&ada, &session, secret).await;
    let wrong = ada.send("/api/auth/factors/totp/confirm", &session.access, json!({"otp": app.wrong()})).await;
    assert_eq!((wrong.status, wrong.code()), (StatusCode::UNAUTHORIZED, "OTP_INVALID"));
    let log = ada.get("/api/v1/audit", &session.access).await.body;
    let last = log["entries"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["action"], &last["outcome"]), (&json!("totp_enrolled"), &json!("refused")));
    let shown = ada.send("/api/auth/factors/totp/confirm", &session.access, json!({"otp": app.code(0)})).await;
    assert_eq!(shown.body["backup_codes"].as_array().unwrap().len(), 10);
    let again = ada.send("/api/auth/factors/totp/confirm", &session.access, json!({"otp": app.code(1)})).await;
    assert_eq!(again.code(), "OTP_EXPIRED", "an enrolment is confirmed once");
    let factors = ada.get("/api/auth/factors", &session.access).await.body;
    assert_eq!((&factors["login_method"], &factors["backup_codes_left"]), (&json!("totp"), &json!(10)));
    ada.await_letter("An authenticator app protects").await;

    let mails = ada.letters().len();
    let begun = ada.begin().await;
    assert_eq!(begun.text("otp_method"), "totp");
    let login = begun.text("session_id");
    let mailed = server.running.app.tokens.otp(login.parse().unwrap());
    if mailed != app.code(0) && mailed != app.code(1) {
        assert_eq!(
            ada.verify(&login, &mailed).await.code(),
            "OTP_INVALID",
            "the code of a mail does not count any more"
        );
    }
    let code = app.code(1);
    assert_eq!(ada.verify(&login, &code).await.status, StatusCode::OK);
    let second = ada.begin().await.text("session_id");
    assert_eq!(ada.verify(&second, &code).await.code(), "OTP_INVALID", "a code counts once, also while it is shown");
    assert_eq!(ada.letters().len(), mails, "no code was mailed");
}

#[tokio::test]
async fn each_backup_code_logs_in_once() {
    let server = TestServer::with(|config| config.behind_proxy = true).await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let (_, codes) = ada.enrol(&session).await;
    assert_eq!(codes.iter().collect::<std::collections::HashSet<_>>().len(), 10);

    let login = ada.begin().await.text("session_id");
    assert_eq!(ada.verify(&login, &codes[3].to_uppercase()).await.status, StatusCode::OK);
    let login = ada.begin().await.text("session_id");
    assert_eq!(ada.verify(&login, &codes[3]).await.code(), "OTP_INVALID");
    assert_eq!(ada.verify(&login, &codes[4].replace('-', "")).await.status, StatusCode::OK);
    let factors = ada.get("/api/auth/factors", &session.access).await.body;
    assert_eq!(factors["backup_codes_left"], 8);

    let confirmed = json!({"confirmation_id": ada.confirmation(&session.access).await, "otp": codes[5]});
    let renewed = ada.send("/api/auth/factors/backup-codes", &session.access, confirmed).await;
    assert_eq!(renewed.body["backup_codes"].as_array().unwrap().len(), 10, "{}", renewed.body);
    let login = ada.begin().await.text("session_id");
    assert_eq!(ada.verify(&login, &codes[6]).await.code(), "OTP_INVALID", "the old ones ended");
    let new = renewed.body["backup_codes"][0].as_str().unwrap();
    assert_eq!(ada.verify(&login, new).await.status, StatusCode::OK);

    let mut tx = server.running.app.db.read().await.unwrap();
    let rows: Vec<Vec<u8>> = sqlx::query_scalar("SELECT hash FROM backup_code").fetch_all(&mut *tx).await.unwrap();
    assert_eq!(rows.len(), 9);
    assert!(rows.iter().all(|row| row.len() == 32), "only hashes are kept");
}

#[tokio::test]
async fn removing_the_app_needs_password_and_code_and_brings_mailed_codes_back() {
    let server = TestServer::with(|config| config.behind_proxy = true).await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let confirmed = ada.mailed_confirmation(&session.access).await;
    let nothing = ada.send("/api/auth/factors/totp/remove", &session.access, confirmed).await;
    assert_eq!((nothing.status, nothing.code()), (StatusCode::NOT_FOUND, "NOT_FOUND"));
    let (app, codes) = ada.enrol(&session).await;

    let wrong = json!({"auth_key": base64(&[1; 32])});
    assert_eq!(ada.send("/api/auth/confirm", &session.access, wrong).await.code(), "INVALID_CREDENTIALS");
    let id = ada.confirmation(&session.access).await;
    let body = |id: &str, otp: &str| json!({"confirmation_id": id, "otp": otp});
    let path = "/api/auth/factors/totp/remove";
    assert_eq!(ada.send(path, &session.access, body(&id, &app.wrong())).await.code(), "OTP_INVALID");
    assert_eq!(ada.send(path, &session.access, body(&"0".repeat(32), &codes[0])).await.code(), "OTP_EXPIRED");
    assert_eq!(ada.send(path, &session.access, body("no id", &codes[0])).await.code(), "OTP_EXPIRED");

    let other = ada.begin().await.text("session_id");
    let other = ada.verify(&other, &codes[1]).await.text("access_token");
    assert_eq!(ada.send(path, &other, body(&id, &codes[0])).await.code(), "OTP_EXPIRED", "it belongs to one session");
    assert_eq!(ada.send(path, &session.access, body(&id, &codes[0])).await.body, json!({}));
    assert_eq!(ada.begin().await.text("otp_method"), "email");
    assert_eq!(ada.get("/api/auth/factors", &session.access).await.body["backup_codes_left"], 0);
    ada.log_in().await;
}

#[tokio::test]
async fn a_locked_account_takes_no_code_for_a_login_that_waits() {
    let server = TestServer::with(|config| config.behind_proxy = true).await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let (app, _) = ada.enrol(&session).await;
    let [first, second] = [ada.begin().await.text("session_id"), ada.begin().await.text("session_id")];
    for from in ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"] {
        let guess = Person { from, ..Person::new(&server, "ada") };
        assert_eq!(guess.verify(&first, &app.wrong()).await.code(), "OTP_INVALID");
    }
    let elsewhere = Person { from: "192.0.2.6", ..Person::new(&server, "ada") };
    let locked = elsewhere.verify(&second, &app.code(1)).await;
    assert_eq!((locked.status.as_u16(), locked.code()), (423, "ACCOUNT_LOCKED"));
}

#[tokio::test]
async fn logins_that_wait_for_a_code_of_an_app_are_limited() {
    let server = TestServer::new().await;
    let (ada, session) = Person::verified(&server, "ada").await;
    ada.enrol(&session).await;
    let mut begun = 0;
    while ada.begin().await.status == StatusCode::OK {
        begun += 1;
        assert!(begun <= 30, "there is no limit");
    }
    assert_eq!(ada.begin().await.code(), "RATE_LIMITED");
}

#[tokio::test]
async fn the_code_of_a_confirmation_can_be_tried_five_times() {
    let server = TestServer::with(|config| config.behind_proxy = true).await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let id = ada.confirmation(&session.access).await;
    let right = server.running.app.tokens.codes.mailed(id.parse().unwrap());
    let wrong = if right == "000000" { "000001" } else { "000000" };
    let path = "/api/auth/factors/totp";
    // A success in between, or the account would be locked before the code is.
    for from in ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"] {
        let guess = Person { from, ..Person::new(&server, "ada") };
        let body = json!({"confirmation_id": id, "otp": wrong});
        assert_eq!(guess.send(path, &session.access, body).await.code(), "OTP_INVALID");
    }
    ada.log_in().await;
    let guess = Person { from: "192.0.2.5", ..Person::new(&server, "ada") };
    let body = |otp: &str| json!({"confirmation_id": id, "otp": otp});
    assert_eq!(guess.send(path, &session.access, body(wrong)).await.code(), "OTP_INVALID");
    assert_eq!(ada.send(path, &session.access, body(&right)).await.code(), "OTP_EXPIRED");
}

#[tokio::test]
async fn a_locked_account_takes_no_confirmations_and_its_owner_is_told() {
    let server = TestServer::with(|config| config.behind_proxy = true).await;
    let (ada, session) = Person::verified(&server, "ada").await;
    for from in ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"] {
        let thief = Person { from, ..Person::new(&server, "ada") };
        let body = json!({"auth_key": base64(&[1; 32])});
        assert_eq!(thief.send("/api/auth/confirm", &session.access, body).await.code(), "INVALID_CREDENTIALS");
    }
    let body = json!({"auth_key": base64(&ada.auth_key)});
    assert_eq!(ada.send("/api/auth/confirm", &session.access, body).await.code(), "ACCOUNT_LOCKED");
    ada.await_letter("Your cyx account is locked").await;
    assert!(ada.letters().last().unwrap().contains("192.0.2.5"));
    assert_eq!(ada.get("/api/identity", &session.access).await.status, StatusCode::OK, "sessions go on");
}
