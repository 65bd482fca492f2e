//! Mail through a mail server.

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::config::{MailRoute, SmtpConfig, SmtpSecurity};

/// Speaks as much SMTP (RFC 5321) as it takes to receive letters; returns the first that has `word` in it.
async fn receive(listener: &TcpListener, word: &str) -> String {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        if let Some(letter) = converse(stream, word).await {
            return letter;
        }
    }
}

async fn converse(mut stream: TcpStream, word: &str) -> Option<String> {
    let (input, mut output) = stream.split();
    let mut lines = BufReader::new(input).lines();
    output.write_all(b"220 test\r\n").await.ok()?;
    let mut letter: Option<String> = None;
    while let Some(line) = lines.next_line().await.ok()? {
        if let Some(text) = &mut letter {
            if line != "." {
                text.push_str(&line);
                text.push('\n');
                continue;
            }
            output.write_all(b"250 accepted\r\n").await.ok()?;
            match letter.take() {
                Some(text) if text.contains(word) => return Some(text),
                _ => continue,
            }
        }
        let answer = match line.split_whitespace().next().unwrap_or_default() {
            "DATA" => {
                letter = Some(String::new());
                "354 go on\r\n"
            }
            "QUIT" => return None,
            _ => "250 ok\r\n",
        };
        output.write_all(answer.as_bytes()).await.ok()?;
    }
    None
}

#[tokio::test]
async fn a_login_does_not_wait_for_the_mail_server_and_its_code_comes_when_that_answers() {
    // It accepts connections from the beginning, as the operating system does it, but says nothing yet.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = TestServer::with(|config| {
        let smtp = SmtpConfig { host: "127.0.0.1".into(), port, security: SmtpSecurity::Plain, credentials: None };
        config.mail = MailRoute::Smtp(smtp);
    })
    .await;
    let ada = Person::new(&server, "ada");
    assert_eq!(ada.register("ada").await.status, StatusCode::ACCEPTED);
    let begun = ada.begin().await;
    assert_eq!(begun.status, StatusCode::OK);

    let login = begun.text("session_id");
    let code = server.running.app.tokens.otp(login.parse().unwrap());
    let letter = tokio::time::timeout(PATIENCE, receive(&listener, &code)).await.expect("the code comes");
    assert!(letter.contains("To: ada@example.org") && letter.contains("From: cyx <no-reply@cyx.test>"), "{letter}");
    assert!(letter.lines().any(|line| line == code), "{letter}");
    assert_eq!(ada.verify(&login, &code).await.status, StatusCode::OK);
}

/// What a mail server heard of one letter.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Heard {
    /// Everything but the letter itself, in order.
    commands: Vec<String>,
    letter: String,
}

/// A mail server that asks for a password and takes nothing at its first visitor's: it is busy, as real ones are.
async fn hear(listener: &TcpListener) -> Vec<Heard> {
    let mut visits = Vec::new();
    while visits.len() < 2 {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (input, mut output) = stream.split();
        let mut lines = BufReader::new(input).lines();
        let mut heard = Heard::default();
        output.write_all(b"220 mail.test ESMTP\r\n").await.unwrap();
        while let Ok(Some(line)) = lines.next_line().await {
            heard.commands.push(line.clone());
            let answer = match line.split([' ', ':']).next().unwrap_or_default().to_uppercase().as_str() {
                "EHLO" => "250-mail.test\r\n250-AUTH PLAIN LOGIN\r\n250 8BITMIME\r\n",
                "AUTH" => "235 2.7.0 welcome\r\n",
                "MAIL" if visits.is_empty() => "451 4.3.0 try again later\r\n",
                "DATA" => {
                    output.write_all(b"354 go on\r\n").await.unwrap();
                    while let Ok(Some(line)) = lines.next_line().await {
                        if line == "." {
                            break;
                        }
                        heard.letter.push_str(&line);
                        heard.letter.push('\n');
                    }
                    "250 2.0.0 queued\r\n"
                }
                "QUIT" => break,
                _ => "250 2.1.0 ok\r\n",
            };
            output.write_all(answer.as_bytes()).await.unwrap();
        }
        visits.push(heard);
    }
    visits
}

#[tokio::test]
async fn a_mail_server_that_wants_a_password_and_is_busy_gets_the_letter_in_the_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = TestServer::with(|config| {
        let credentials = Some(("cyx".to_owned(), crate::config::Secret::new(b"mail password".to_vec())));
        let smtp = SmtpConfig { host: "127.0.0.1".into(), port, security: SmtpSecurity::Plain, credentials };
        config.mail = MailRoute::Smtp(smtp);
    })
    .await;
    let ada = Person::new(&server, "ada");
    assert_eq!(ada.register("ada").await.status, StatusCode::ACCEPTED);
    let visits = tokio::time::timeout(PATIENCE, hear(&listener)).await.expect("the letter comes");
    let (first, second) = (&visits[0], &visits[1]);
    let login = format!("AUTH PLAIN {}", base64(b"\0cyx\0mail password"));
    for visit in &visits {
        assert!(visit.commands[0].starts_with("EHLO "), "{visit:?}");
        assert_eq!(visit.commands[1], login);
        assert!(visit.commands[2].starts_with("MAIL FROM:<no-reply@cyx.test>"), "{visit:?}");
    }
    assert_eq!(first.letter, "", "nothing is sent to who is busy");
    assert!(second.commands[3].starts_with("RCPT TO:<ada@example.org>"), "{second:?}");
    let subject = second.letter.lines().find(|line| line.starts_with("Subject: ")).unwrap();
    assert_eq!(subject, "Subject: Welcome to cyx");
    for part in ["multipart/alternative", "text/plain", "text/html"] {
        assert!(second.letter.contains(part), "{}", second.letter);
    }
}
