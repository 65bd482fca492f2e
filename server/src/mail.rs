//! Mail: letters to people, kept in the database until they are sent.
//!
//! Whoever wants a letter sent calls [`enqueue`] inside its transaction and [`Mailer::wake`] after it; a task of its own ([`deliver`])
//! then sends it, again and again until it is accepted or of no use any more. So no request waits for a mail server, and no letter
//! is lost or sent for something that was rolled back. The text is written when it is sent: no one-time code lies in the database.

mod deliver;
mod html;
mod letter;
mod outbox;
mod smtp;

use cyx_core::ids::{AccountId, random_bytes};
use futures_util::future::BoxFuture;
use lettre::Message;
use lettre::message::Mailbox;
use thiserror::Error;
use tokio::sync::Notify;

use crate::config::{Config, ConfigError, MailRoute, SmtpConfig};
use crate::db::{Conn, DbError};
use crate::time::now_ns;

pub use self::deliver::deliver;
pub use self::letter::{CODE_LIFETIME, EMAIL_CODE_LIFETIME, Letter, Notice};

/// A letter could not be sent now.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct MailError(String);

/// A way to send letters.
pub trait MailTransport: Send + Sync {
    /// Sends one; returning means that it was accepted.
    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<(), MailError>>;
}

/// Sends the letters of the queue.
pub struct Mailer {
    transport: Box<dyn MailTransport>,
    sender: Mailbox,
    waiting: Notify,
}

impl Mailer {
    /// As configured.
    ///
    /// # Errors
    /// [`ConfigError`] for a sender that is no address, an outbox that cannot be made, or a mail server without a valid name.
    pub fn open(config: &Config) -> Result<Self, ConfigError> {
        let transport: Box<dyn MailTransport> = match &config.mail {
            MailRoute::Outbox(folder) => Box::new(outbox::Outbox::open(folder)?),
            MailRoute::Smtp(smtp) => Box::new(smtp::Smtp::new(smtp)?),
        };
        Self::with(transport, &config.mail_from)
    }

    /// With a transport of the caller's choice.
    ///
    /// # Errors
    /// [`ConfigError`] for a sender that is no address.
    pub fn with(transport: Box<dyn MailTransport>, sender: &str) -> Result<Self, ConfigError> {
        Ok(Self { transport, sender: self::sender(sender)?, waiting: Notify::new() })
    }

    /// Says that letters were put in.
    pub fn wake(&self) {
        self.waiting.notify_one();
    }
}

/// Whom mail comes from, as written in the configuration.
///
/// # Errors
/// [`ConfigError`] if that is no address.
pub fn sender(text: &str) -> Result<Mailbox, ConfigError> {
    text.parse().map_err(|_| ConfigError::Value("--mail-from: not an address".into()))
}

/// Looks whether a mail server can be used as configured, without connecting to it.
///
/// # Errors
/// [`ConfigError`] if its name is no name.
pub fn check_server(config: &SmtpConfig) -> Result<(), ConfigError> {
    smtp::Smtp::new(config).map(drop)
}

/// Puts a letter into the queue, as part of the caller's transaction.
///
/// # Errors
/// [`DbError`].
pub async fn enqueue(connection: &mut Conn, recipient: &str, letter: &Letter) -> Result<(), DbError> {
    let now = now_ns();
    let (kind, detail) = letter.to_columns();
    sqlx::query(
        "INSERT INTO mail (id, recipient, letter, detail, next_ns, expires_ns) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(random_bytes::<16>().to_vec())
    .bind(recipient)
    .bind(kind)
    .bind(detail)
    .bind(now)
    .bind(now.saturating_add(crate::time::nanos(letter.useful_for())))
    .execute(connection)
    .await?;
    Ok(())
}

/// Does the work of [`enqueue`] without sending anything, so that an answer takes as long for an address without an account.
///
/// # Errors
/// [`DbError`].
pub async fn enqueue_nothing(connection: &mut Conn, letter: &Letter) -> Result<(), DbError> {
    let (kind, detail) = letter.to_columns();
    // It is of no use from the beginning: the next look into the queue drops it.
    sqlx::query("INSERT INTO mail (id, recipient, letter, detail, next_ns, expires_ns) VALUES ($1, '', $2, $3, $4, 0)")
        .bind(random_bytes::<16>().to_vec())
        .bind(kind)
        .bind(detail)
        .bind(now_ns())
        .execute(connection)
        .await?;
    Ok(())
}

/// Puts a letter to an account's owner into the queue.
///
/// # Errors
/// [`DbError`].
pub async fn enqueue_to(connection: &mut Conn, owner: AccountId, letter: &Letter) -> Result<(), DbError> {
    let recipient: String = sqlx::query_scalar("SELECT email FROM account WHERE id = $1")
        .bind(owner.to_vec())
        .fetch_one(&mut *connection)
        .await?;
    enqueue(connection, &recipient, letter).await
}

#[cfg(test)]
mod tests;
