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
