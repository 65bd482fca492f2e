//! The letters: each as plain text and as HTML. Short ASCII lines, so that they are sent as they are; nothing secret in a subject.
//!
//! A code stands alone on its line of the plain text, for people and programs that look for it. The HTML is made from the plain
//! text ([`super::html`]): it says nothing else, loads nothing and links nowhere.

use std::time::Duration;

use cyx_core::ids::SessionId;
use lettre::Message;
use lettre::message::{Mailbox, MultiPart};

use super::{MailError, html};
use crate::tokens::Tokens;

/// How long a one-time code is valid.
pub const CODE_LIFETIME: Duration = Duration::from_secs(5 * 60);
/// How long the codes of a new email address are valid: there are two mailboxes to look into.
pub const EMAIL_CODE_LIFETIME: Duration = Duration::from_secs(15 * 60);
/// How long it is worth trying to send a letter that is only to be read.
const READ_LIFETIME: Duration = Duration::from_secs(24 * 3600);

macro_rules! notices {
    ($($(#[$doc:meta])* $name:ident = $kind:literal, $subject:literal, $text:literal;)*) => {
        /// Something that an account's owner is told of.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Notice { $($(#[$doc])* $name,)* }

        impl Notice {
            #[cfg(test)]
            pub(super) const ALL: &'static [Self] = &[$(Self::$name,)*];

            const fn kind(self) -> &'static str {
                match self { $(Self::$name => $kind,)* }
            }

            fn parse(kind: &str) -> Option<Self> {
                match kind { $($kind => Some(Self::$name),)* _ => None }
            }

            const fn subject(self) -> &'static str {
                match self { $(Self::$name => $subject,)* }
            }

            const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

notices! {
    /// Too many failures; the detail is the address of the last one.
    Locked = "locked", "Your cyx account is locked for a while",
        "somebody failed to log in to your account several times.\nIt takes no logins for a while. Devices that are\nlogged in go on working.\n\nLast failure from:";
    /// An app came into force; the detail is the address it was done from.
    AppEnrolled = "app-enrolled", "An authenticator app protects your cyx account",
        "from now on logging in to your account takes a code of\nyour authenticator app.\n\nDone from:";
    /// The app was removed.
    AppRemoved = "app-removed", "Your cyx account has no authenticator app any more",
        "the authenticator app of your account was removed.\nCodes come by mail again.\n\nDone from:";
    /// New backup codes.
    BackupCodes = "backup-codes", "Your cyx account has new backup codes",
        "new backup codes were made for your account.\nThe old ones are not valid any more.\n\nDone from:";
    /// A new password.
    PasswordChanged = "password-changed", "The password of your cyx account was changed",
        "the password of your account was changed.\nAll other devices were logged out.\n\nDone from:";
    /// A new password by recovery words.
    Recovered = "recovered", "Your cyx account was recovered",
        "your recovery words were used to set a new password.\nAll devices were logged out.\n\nDone from:";
    /// New recovery words.
    WordsChanged = "words-changed", "Your cyx account has new recovery words",
        "new recovery words were made for your account.\nThe old ones open nothing any more.\n\nDone from:";
    /// A new account key.
    AccountKeyReplaced = "account-key-replaced", "Your cyx account has a new account key",
        "the key of your account was replaced, and its recovery\nwords with it unless they were typed in again.\nAll other devices were logged out, and API keys for all\nbuckets ended.\n\nDone from:";
    /// A new email address; goes to the old one too.
    EmailChanged = "email-changed", "The email address of your cyx account was changed",
        "the email address of your account was changed.\nLetters go to the new one from now on.\n\nDone from:";
    /// A wallet was linked; the detail is its address.
    WalletLinked = "wallet-linked", "A wallet can log in to your cyx account",
        "a wallet was linked to your account. It logs in without\npassword and code from now on. It opens no files.\n\nThe wallet:";
    /// A wallet was unlinked; the detail is its address.
    WalletRemoved = "wallet-removed", "A wallet cannot log in to your cyx account any more",
        "the link of a wallet to your account was removed.\nIt does not log in any more.\n\nThe wallet:";
    /// A new API key; the detail is its name.
    ApiKeyCreated = "api-key-created", "Your cyx account has a new API key",
        "an API key was made for your account. Programs that\nhave it can use your account without you.\n\nIts name:";
    /// An API key was revoked; the detail is its name.
    ApiKeyRevoked = "api-key-revoked", "An API key of your cyx account was revoked",
        "an API key of your account was revoked. Programs that\nhave it cannot use your account any more.\n\nIts name:";
    /// All sessions, or all others, were ended.
    SessionsEnded = "sessions-ended", "Devices were logged out of your cyx account",
        "all devices were logged out of your account, or all but\nthe one that asked for it.\n\nDone from:";
    /// The account will be deleted; the detail is when.
    DeletionPlanned = "deletion-planned", "Your cyx account will be deleted",
        "your account and everything in it will be deleted.\nUntil then you can log in and change your mind:\n\n    cyx account keep\n\nIt will be deleted at:";
    /// It will not.
    DeletionCancelled = "deletion-cancelled", "Your cyx account stays",
        "your account will not be deleted.\n\nDone from:";
    /// It is gone.
    Deleted = "deleted", "Your cyx account is deleted",
        "your account and everything in it was deleted, as you wished.\n\nAt:";
}

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
    /// The code that confirms a change of the account.
    ConfirmCode {
        /// Of what.
        challenge: SessionId,
    },
    /// The code that recovers an account.
    RecoveryCode {
        /// Of what.
        challenge: SessionId,
    },
    /// The code that gives up an address.
    OldAddressCode {
        /// Of what.
        challenge: SessionId,
    },
    /// The code that takes a new address.
    NewAddressCode {
        /// Of what.
        challenge: SessionId,
    },
    /// Somebody wants to use this address, which has an account already.
    AddressTaken,
    /// Something happened.
    Notice {
        /// What.
        notice: Notice,
        /// One word or line more.
        detail: String,
    },
}

impl Letter {
    pub(super) fn to_columns(&self) -> (&'static str, String) {
        match self {
            Self::Welcome { username } => ("welcome", username.clone()),
            Self::AlreadyRegistered => ("already-registered", String::new()),
            Self::LoginCode { login, device } => ("login-code", format!("{login} {device}")),
            Self::ConfirmCode { challenge } => ("confirm-code", challenge.to_string()),
            Self::RecoveryCode { challenge } => ("recovery-code", challenge.to_string()),
            Self::OldAddressCode { challenge } => ("old-address-code", challenge.to_string()),
            Self::NewAddressCode { challenge } => ("new-address-code", challenge.to_string()),
            Self::AddressTaken => ("address-taken", String::new()),
            Self::Notice { notice, detail } => ("notice", format!("{} {detail}", notice.kind())),
        }
    }

    pub(super) fn from_columns(kind: &str, detail: &str) -> Option<Self> {
        let challenge = || detail.parse().ok();
        match kind {
            "welcome" => Some(Self::Welcome { username: detail.to_owned() }),
            "already-registered" => Some(Self::AlreadyRegistered),
            "login-code" => {
                let (login, device) = detail.split_once(' ')?;
                Some(Self::LoginCode { login: login.parse().ok()?, device: device.to_owned() })
            }
            "confirm-code" => Some(Self::ConfirmCode { challenge: challenge()? }),
            "recovery-code" => Some(Self::RecoveryCode { challenge: challenge()? }),
            "old-address-code" => Some(Self::OldAddressCode { challenge: challenge()? }),
            "new-address-code" => Some(Self::NewAddressCode { challenge: challenge()? }),
            "address-taken" => Some(Self::AddressTaken),
            "notice" => {
                let (notice, detail) = detail.split_once(' ')?;
                Some(Self::Notice { notice: Notice::parse(notice)?, detail: detail.to_owned() })
            }
            _ => None,
        }
    }

    /// How long it is worth trying to send it.
    pub(super) const fn useful_for(&self) -> Duration {
        match self {
            Self::LoginCode { .. } | Self::ConfirmCode { .. } | Self::RecoveryCode { .. } => CODE_LIFETIME,
            Self::OldAddressCode { .. } | Self::NewAddressCode { .. } => EMAIL_CODE_LIFETIME,
            Self::Welcome { .. } | Self::AlreadyRegistered | Self::AddressTaken | Self::Notice { .. } => READ_LIFETIME,
        }
    }

    const fn subject(&self) -> &'static str {
        match self {
            Self::Welcome { .. } => "Welcome to cyx",
            Self::AlreadyRegistered => "You already have a cyx account",
            Self::LoginCode { .. } => "Your cyx login code",
            Self::ConfirmCode { .. } => "Confirm a change of your cyx account",
            Self::RecoveryCode { .. } => "Recover your cyx account",
            Self::OldAddressCode { .. } => "A new email address for your cyx account",
            Self::NewAddressCode { .. } => "Confirm your new email address at cyx",
            Self::AddressTaken => "Your email address already has a cyx account",
            Self::Notice { notice, .. } => notice.subject(),
        }
    }

    fn body(&self, tokens: &Tokens) -> String {
        let minutes = self.useful_for().as_secs() / 60;
        let code = |first: &str, code: String, last: &str| {
            format!(
                "Hello,\n\n{first}\n\n{code}\n\n\
                 It is valid for {minutes} minutes and can be used once.\n{last}\n"
            )
        };
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
                 It is valid for {minutes} minutes and can be used once.\n\
                 If it was not you, somebody knows your password: change it.\n",
                tokens.otp(*login),
            ),
            Self::ConfirmCode { challenge } => code(
                "the code that confirms a change of your account is",
                tokens.codes.mailed(*challenge),
                "If it was not you, somebody knows your password: change it.",
            ),
            Self::RecoveryCode { challenge } => code(
                "somebody wants to set a new password with your recovery words.\nThe code for it is",
                tokens.codes.mailed(*challenge),
                "If it was not you, do nothing: without your words nobody gets in.",
            ),
            Self::OldAddressCode { challenge } => code(
                "your account is to get another email address.\nThe code that confirms it is",
                tokens.codes.mailed(*challenge),
                "If it was not you, somebody knows your password: change it.",
            ),
            Self::NewAddressCode { challenge } => code(
                "an account is to get this email address.\nThe code that confirms it is",
                tokens.codes.mailed_elsewhere(*challenge),
                "If it was not you, do nothing.",
            ),
            Self::AddressTaken => "Hello,\n\n\
                 somebody wants to use this address for their account,\n\
                 but it already has one.\n\
                 If it was you, log in to that one, or delete it first.\n\
                 If it was not you, do nothing. Your account was not changed.\n"
                .to_owned(),
            Self::Notice { notice, detail } => format!(
                "Hello,\n\n{} {detail}\n\n\
                 If it was not you, set a new password and look at your\n\
                 sessions and keys:\n\n\
                     cyx passwd\n    cyx sessions list\n    cyx apikey list\n",
                notice.text(),
            ),
        }
    }

    /// The letter as it is sent.
    ///
    /// # Errors
    /// [`MailError`] for a recipient that is no address.
    pub(super) fn write(&self, from: &Mailbox, recipient: &str, tokens: &Tokens) -> Result<Message, MailError> {
        let to = recipient.parse().map_err(|error| MailError(format!("not an address: {error}")))?;
        let plain = self.body(tokens);
        let rich = html::of(self.subject(), &plain);
        let message = Message::builder()
            .from(from.clone())
            .to(Mailbox::new(None, to))
            .subject(self.subject())
            .message_id(None)
            .date_now()
            .multipart(MultiPart::alternative_plain_html(plain, rich));
        message.map_err(|error| MailError(error.to_string()))
    }
}
