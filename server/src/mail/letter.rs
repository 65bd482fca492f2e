//! The letters. Plain text in short ASCII lines, so that they are sent as they are; nothing secret in a subject.

use std::time::Duration;

use cyx_core::ids::SessionId;
use lettre::Message;
use lettre::message::Mailbox;

use super::MailError;
use crate::tokens::Tokens;

/// How long a one-time code is valid.
pub const CODE_LIFETIME: Duration = Duration::from_secs(5 * 60);

/// A letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Letter {
    /// Somebody registered with this address.
    Welcome {
        /// Their user name.
        username: String,
    },
    /// Somebody tried to register with an address that has an account.
    AlreadyRegistered,
    /// The one-time code of a login.
    LoginCode {
        /// Which login.
        login: SessionId,
        /// The device, as it calls itself.
        device: String,
    },
}

impl Letter {
    pub(super) fn to_columns(&self) -> (&'static str, String) {
        match self {
            Self::Welcome { username } => ("welcome", username.clone()),
            Self::AlreadyRegistered => ("already-registered", String::new()),
            Self::LoginCode { login, device } => ("login-code", format!("{login} {device}")),
        }
    }

    pub(super) fn from_columns(kind: &str, detail: &str) -> Option<Self> {
        match kind {
            "welcome" => Some(Self::Welcome { username: detail.to_owned() }),
            "already-registered" => Some(Self::AlreadyRegistered),
            "login-code" => {
                let (login, device) = detail.split_once(' ')?;
                Some(Self::LoginCode { login: login.parse().ok()?, device: device.to_owned() })
            }
            _ => None,
        }
    }

    /// How long it is worth trying to send it.
    pub(super) const fn useful_for(&self) -> Duration {
        match self {
            Self::LoginCode { .. } => CODE_LIFETIME,
            Self::Welcome { .. } | Self::AlreadyRegistered => Duration::from_secs(24 * 3600),
        }
    }

    const fn subject(&self) -> &'static str {
        match self {
            Self::Welcome { .. } => "Welcome to cyx",
            Self::AlreadyRegistered => "You already have a cyx account",
            Self::LoginCode { .. } => "Your cyx login code",
        }
    }

    fn body(&self, tokens: &Tokens) -> String {
        match self {
            Self::Welcome { username } => format!(
                "Hello {username},\n\n\
                 an account was registered with this address. Log in to confirm it:\n\n\
                     cyx login\n\n\
                 Each login asks for a code that is sent here.\n\
                 If it was not you, do nothing: without a code nobody can use the account.\n"
            ),
            Self::AlreadyRegistered => "Hello,\n\n\
                 somebody tried to register an account with this address,\n\
                 which already has one.\n\
                 If it was you, log in:\n\n\
                     cyx login\n\n\
                 If it was not you, do nothing. Your account was not changed.\n"
                .to_owned(),
            Self::LoginCode { login, device } => format!(
                "Hello,\n\n\
                 the code for your login is\n\n\
                 {}\n\n\
                 The device calls itself: {device}\n\
                 It is valid for {} minutes and can be used once.\n\
                 If it was not you, somebody knows your password: change it.\n",
                tokens.otp(*login),
                CODE_LIFETIME.as_secs() / 60,
            ),
        }
    }

    /// The letter as it is sent.
    ///
    /// # Errors
    /// [`MailError`] for a recipient that is no address.
    pub(super) fn write(&self, from: &Mailbox, recipient: &str, tokens: &Tokens) -> Result<Message, MailError> {
        let to = recipient.parse().map_err(|error| MailError(format!("not an address: {error}")))?;
        let message = Message::builder()
            .from(from.clone())
            .to(Mailbox::new(None, to))
            .subject(self.subject())
            .message_id(None)
            .date_now()
            .header(lettre::message::header::ContentType::TEXT_PLAIN)
            .body(self.body(tokens));
        message.map_err(|error| MailError(error.to_string()))
    }
}
