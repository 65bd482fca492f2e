//! Accounts: what is made at registration, and how it is opened again.
//!
//! The server stores everything in [`Registration`] and understands none of it but [`Registration::auth_key`], which it
//! compares, and the public halves of the identity. Stretching a password takes a noticeable part of a second and 64 MiB: not
//! for an async thread.

use thiserror::Error;
use zeroize::Zeroizing;

use cyx_core::auth::{SALT_LEN, StretchError, StretchParams, derive_auth_key, stretch};
use cyx_core::ids::random_bytes;

use crate::Undecryptable;
use crate::identity::{IdentityKeys, PublicIdentity};
use crate::keys::{AccountKey, PasswordKek, RecoveryKey};
use crate::recovery;
use crate::wrap::{AccountKek, open_account_key, seal_account_key};

/// Why an account does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AccountError {
    /// The password cannot be stretched as the server asks.
    #[error(transparent)]
    Stretch(#[from] StretchError),
    /// The password or the words are wrong, or the server changed what it keeps.
    #[error(
        "the account cannot be opened: the password or the recovery words are wrong, or the server's copy was changed"
    )]
    Undecryptable,
}

impl From<Undecryptable> for AccountError {
    fn from(Undecryptable: Undecryptable) -> Self {
        Self::Undecryptable
    }
}

/// How a password is stretched, and what came of it that the server may have.
#[derive(Clone)]
pub struct PasswordSecrets {
    /// Random.
    pub salt: [u8; SALT_LEN],
    /// How hard it is stretched.
    pub params: StretchParams,
    /// What is sent to log in.
    pub auth_key: Zeroizing<[u8; 32]>,
    /// The account key under the password.
    pub wrapped_account_key: Vec<u8>,
}

/// What is sent to register.
#[derive(Clone)]
pub struct Registration {
    /// For logging in with the password.
    pub password: PasswordSecrets,
    /// The account key under the recovery words.
    pub recovery_wrapped_account_key: Vec<u8>,
    /// The public halves of the identity.
    pub identity: PublicIdentity,
    /// The private halves under the account key.
    pub wrapped_identity: Vec<u8>,
}

/// What an account's owner has once it is open.
#[derive(Clone)]
pub struct AccountSecrets {
    /// The account key.
    pub key: AccountKey,
    /// The identity keys.
    pub identity: IdentityKeys,
}

/// A new account.
pub struct NewAccount {
    /// To be sent.
    pub registration: Registration,
    /// To be kept in memory.
    pub secrets: AccountSecrets,
    /// To be shown once.
    pub recovery_words: Zeroizing<String>,
}

/// Makes an account.
///
/// # Errors
/// [`StretchError::Failed`] if there is no memory.
///
/// # Panics
/// If the operating system cannot give random bytes.
pub fn make_account(password: &[u8]) -> Result<NewAccount, StretchError> {
    let (key, identity) = (AccountKey::make(), IdentityKeys::make());
    let recovery = make_recovery(&key);
    let registration = Registration {
        password: make_password(password, &key)?,
        recovery_wrapped_account_key: recovery.wrapped_account_key,
        identity: identity.public(),
        wrapped_identity: identity.seal(&key),
    };
    Ok(NewAccount { registration, secrets: AccountSecrets { key, identity }, recovery_words: recovery.words })
}

/// Wraps an account key under a new password, with a new salt.
///
/// # Errors
/// [`StretchError::Failed`] if there is no memory.
///
/// # Panics
/// If the operating system cannot give random bytes.
pub fn make_password(password: &[u8], account: &AccountKey) -> Result<PasswordSecrets, StretchError> {
    let (salt, params) = (random_bytes(), StretchParams::DEFAULT);
    let login = derive_login(password, &salt, params)?;
    let wrapped_account_key = seal_account_key(AccountKek::Password(&login.kek), account);
    Ok(PasswordSecrets { salt, params, auth_key: login.auth_key, wrapped_account_key })
}

/// New recovery words, which replace those that were known.
pub struct NewRecovery {
    /// To be shown once.
    pub words: Zeroizing<String>,
    /// The account key under them.
    pub wrapped_account_key: Vec<u8>,
}

/// Wraps an account key under new recovery words.
///
/// # Panics
/// If the operating system cannot give random bytes.
#[must_use]
pub fn make_recovery(account: &AccountKey) -> NewRecovery {
    let recovery = RecoveryKey::make();
    NewRecovery {
        words: recovery::words(&recovery),
        wrapped_account_key: seal_account_key(AccountKek::Recovery(&recovery), account),
    }
}

/// What a password gives once it is stretched.
pub struct Login {
    /// What is sent.
    pub auth_key: Zeroizing<[u8; 32]>,
    /// What opens the account.
    pub kek: PasswordKek,
}

/// Stretches a password with what the server's prelogin says.
///
/// # Errors
/// [`StretchError`], if the server asks for less or more than this program allows.
pub fn derive_login(password: &[u8], salt: &[u8; SALT_LEN], params: StretchParams) -> Result<Login, StretchError> {
    let stretched = stretch(password, salt, params)?;
    Ok(Login { auth_key: Zeroizing::new(derive_auth_key(&stretched)), kek: PasswordKek::derive(&stretched) })
}

/// Opens an account with what [`derive_login`] gave (or a recovery key, or a device's) and what the server sent.
///
/// # Errors
/// [`Undecryptable`].
pub fn open_account(
    kek: AccountKek<'_>,
    wrapped_account_key: &[u8],
    identity: &PublicIdentity,
    wrapped_identity: &[u8],
) -> Result<AccountSecrets, Undecryptable> {
    let key = open_account_key(kek, wrapped_account_key)?;
    let identity = IdentityKeys::open(&key, identity, wrapped_identity)?;
    Ok(AccountSecrets { key, identity })
}
