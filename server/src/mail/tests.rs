use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cyx_core::ids::{Random as _, SessionId};

use super::deliver::deliver_batch;
use super::*;
use crate::app::App;
use crate::test_support::TestApp;

async fn put(app: &App, letter: Letter) {
    let done: Result<(), DbError> = app
        .db
        .write(move |c| {
            let letter = letter.clone();
            Box::pin(async move { enqueue(c, "ada@example.org", &letter).await })
        })
        .await;
    done.unwrap();
}

/// Whether a code stands in a text by itself; among the digits of ids it is found by chance.
fn shows(text: &str, code: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == code)
}

async fn waiting(app: &App) -> i64 {
    let mut tx = app.db.read().await.unwrap();
    sqlx::query_scalar("SELECT CAST(COUNT(*) AS BIGINT) FROM mail").fetch_one(&mut *tx).await.unwrap()
}

fn letters(test: &TestApp) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(test.folder().join("outbox")).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    names.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

#[tokio::test]
async fn a_code_stands_alone_on_a_line_and_not_in_the_subject_or_the_database() {
    let test = TestApp::new().await;
    let login = SessionId::random();
    let code = test.app.tokens.otp(login);
    put(&test.app, Letter::LoginCode { login, device: "laptop".into() }).await;

    let mut tx = test.app.db.read().await.unwrap();
    let detail: String = sqlx::query_scalar("SELECT detail FROM mail").fetch_one(&mut *tx).await.unwrap();
    drop(tx);
    assert!(!shows(&detail, &code));

    assert_eq!(deliver_batch(&test.app).await.unwrap(), 1);
    let letters = letters(&test);
    let [letter] = &letters[..] else { panic!("{} letters", letters.len()) };
    assert_eq!(letter.lines().filter(|line| line.trim() == code).count(), 1);
    let subject = letter.lines().find(|line| line.starts_with("Subject:")).unwrap();
    assert!(!subject.contains(&code));
    assert!(letter.contains("To: ada@example.org"));
    assert_eq!(waiting(&test.app).await, 0);
}

/// A mail server that is down until told otherwise.
struct Moody(Arc<AtomicBool>);

impl MailTransport for Moody {
    fn send<'a>(&'a self, _: &'a Message) -> BoxFuture<'a, Result<(), MailError>> {
        let up = self.0.load(Ordering::SeqCst);
        Box::pin(async move { if up { Ok(()) } else { Err(MailError("no answer".into())) } })
    }
}

#[tokio::test]
async fn a_letter_waits_while_the_mail_server_is_down() {
    let up = Arc::new(AtomicBool::new(false));
    let test = TestApp::with_mail_transport(Box::new(Moody(Arc::clone(&up)))).await;
    put(&test.app, Letter::AlreadyRegistered).await;
    assert_eq!(deliver_batch(&test.app).await.unwrap(), 1);
    assert_eq!(waiting(&test.app).await, 1);
    assert_eq!(deliver_batch(&test.app).await.unwrap(), 0, "it is not tried again at once");

    up.store(true, Ordering::SeqCst);
    let done: Result<(), DbError> = test
        .app
        .db
        .write(|c| {
            Box::pin(async move {
                sqlx::query("UPDATE mail SET next_ns = 0").execute(c).await?;
                Ok(())
            })
        })
        .await;
    done.unwrap();
    assert_eq!(deliver_batch(&test.app).await.unwrap(), 1);
    assert_eq!(waiting(&test.app).await, 0);
}

#[tokio::test]
async fn a_letter_that_is_of_no_use_any_more_is_dropped() {
    let test = TestApp::new().await;
    put(&test.app, Letter::LoginCode { login: SessionId::random(), device: "laptop".into() }).await;
    let done: Result<(), DbError> = test
        .app
        .db
        .write(|c| {
            Box::pin(async move {
                sqlx::query("UPDATE mail SET expires_ns = 1").execute(c).await?;
                Ok(())
            })
        })
        .await;
    done.unwrap();
    assert_eq!(deliver_batch(&test.app).await.unwrap(), 0);
    assert_eq!(waiting(&test.app).await, 0);
    assert!(letters(&test).is_empty());
}

#[tokio::test]
async fn letters_are_sent_as_they_are_written() {
    let test = TestApp::new().await;
    put(&test.app, Letter::Welcome { username: "x".repeat(32) }).await;
    put(&test.app, Letter::AlreadyRegistered).await;
    put(&test.app, Letter::LoginCode { login: SessionId::random(), device: "x".repeat(64) }).await;
    // The longest device name makes a line that is too long to go unencoded; the code's line stays whole all the same.
    assert_eq!(deliver_batch(&test.app).await.unwrap(), 3);
    let letters = letters(&test);
    assert_eq!(letters.iter().filter(|letter| letter.contains("Content-Transfer-Encoding: 7bit")).count(), 2);
    let digits = |line: &str| line.trim().len() == 6 && line.trim().bytes().all(|b| b.is_ascii_digit());
    assert_eq!(letters.iter().filter(|letter| letter.lines().any(digits)).count(), 1);
}

#[test]
fn letters_survive_the_database() {
    let all = [
        Letter::Welcome { username: "ada".into() },
        Letter::AlreadyRegistered,
        Letter::LoginCode { login: SessionId::random(), device: "my old laptop".into() },
        Letter::ConfirmCode { challenge: SessionId::random() },
        Letter::RecoveryCode { challenge: SessionId::random() },
        Letter::OldAddressCode { challenge: SessionId::random() },
        Letter::NewAddressCode { challenge: SessionId::random() },
        Letter::AddressTaken,
    ];
    let notices = Notice::ALL.iter().map(|notice| Letter::Notice { notice: *notice, detail: "one more word".into() });
    for letter in all.into_iter().chain(notices) {
        let (kind, detail) = letter.to_columns();
        assert_eq!(Letter::from_columns(kind, &detail), Some(letter));
    }
}

#[tokio::test]
async fn every_letter_has_plain_text_and_html_and_a_code_in_its_text_only() {
    let test = TestApp::new().await;
    let challenge = SessionId::random();
    let codes = [test.app.tokens.codes.mailed(challenge), test.app.tokens.codes.mailed_elsewhere(challenge)];
    assert_ne!(codes[0], codes[1]);
    let letters = [
        Letter::ConfirmCode { challenge },
        Letter::RecoveryCode { challenge },
        Letter::OldAddressCode { challenge },
        Letter::NewAddressCode { challenge },
    ];
    for (index, letter) in letters.into_iter().enumerate() {
        let message = letter.write(&test.app.mailer.sender, "ada@example.org", &test.app.tokens).unwrap().formatted();
        let text = String::from_utf8(message).unwrap();
        let code = &codes[index / 3];
        assert_eq!(text.lines().filter(|line| line.trim() == code).count(), 1, "{text}");
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("multipart/alternative") && !shows(head, code), "{head}");
        assert!(body.contains("Content-Type: text/plain") && body.contains("Content-Type: text/html"));
    }
}
