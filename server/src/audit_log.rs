//! The audit log: who did what, when, from where, and whether it was allowed.
//!
//! Rows are only added. Each is chained to the one before by its hash, so that a changed or missing one shows ([`check`]). A person
//! appears under a pseudonym, and where they were and the details are sealed: both hang on a key of the account, which goes
//! with the account. What remains then is a chain that still holds, about nobody. Old rows go from the front ([`prune`]).
//!
//! Events are recorded inside the transaction of what they are about: there is no change without its row.

mod chain;
mod read;

use std::net::IpAddr;

use aes_gcm::aead::AeadInOut as _;
use aes_gcm::{Aes256Gcm, KeyInit as _};
use cyx_core::ids::{AccountId, random_bytes};
use serde::{Deserialize, Serialize};
use sqlx::Row as _;
use zeroize::Zeroizing;

use crate::auth::column_array;
use crate::db::{Conn, DbError};
use crate::time::now_ns;

pub use self::chain::{Verdict, check, prune};
pub use self::read::{Entry, PAGE_MAX, Page, all, of_account};

/// Subject of events about addresses that have no account. Nobody reads their details: they are sealed with a key that is not kept.
const NOBODY: [u8; 16] = [0; 16];
const NONCE_LEN: usize = 12;
const TAG_LEN: usize = 16;

/// Who did something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// The account's owner, on a logged-in device.
    Owner,
    /// An administrator.
    Admin,
    /// A program with a key.
    ApiKey,
    /// Somebody who was not logged in.
    Anyone,
    /// The server itself.
    Server,
}

impl Actor {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::ApiKey => "api_key",
            Self::Anyone => "anyone",
            Self::Server => "server",
        }
    }
}

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// What was done.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Action { $($(#[$doc])* $name,)* }

        impl Action {
            const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

actions! {
    /// An account was registered.
    Registered = "registered";
    /// The first step of a login: the password.
    Password = "password";
    /// The second step of a login: the code.
    Login = "login";
    /// The account or address was locked after failures.
    Locked = "locked";
    /// A session was ended by its device.
    Logout = "logout";
    /// Sessions were ended from elsewhere.
    SessionsRevoked = "sessions_revoked";
    /// An old refresh token was used again.
    RefreshReused = "refresh_reused";
    /// Password and code were asked for again before a change.
    Confirmed = "confirmed";
    /// An authenticator app came into force.
    TotpEnrolled = "totp_enrolled";
    /// The authenticator app was removed.
    TotpRemoved = "totp_removed";
    /// New backup codes were made.
    BackupCodes = "backup_codes";
    /// A backup code was used.
    BackupCodeUsed = "backup_code_used";
    /// The account got a new account key, and new identity keys.
    AccountKeyReplaced = "account_key_replaced";
    /// A bucket got a new root key.
    KeysRotated = "keys_rotated";
    /// The password was changed.
    PasswordChanged = "password_changed";
    /// Somebody asked to recover the account.
    RecoveryAsked = "recovery_asked";
    /// The code of a recovery.
    RecoveryCode = "recovery_code";
    /// The recovery words set a new password.
    Recovered = "recovered";
    /// There are new recovery words.
    WordsChanged = "words_changed";
    /// A change of the email address was asked for.
    EmailAsked = "email_asked";
    /// The email address was changed.
    EmailChanged = "email_changed";
    /// A wallet was linked, which logs in from then on.
    WalletLinked = "wallet_linked";
    /// A wallet was unlinked.
    WalletRemoved = "wallet_removed";
    /// A login with a wallet.
    WalletLogin = "wallet_login";
    /// An API key was made.
    ApiKeyCreated = "api_key_created";
    /// An API key was revoked.
    ApiKeyRevoked = "api_key_revoked";
    /// An API key was exchanged for a token.
    ApiKeyUsed = "api_key_used";
    /// An enrolment token for a machine was made.
    EnrolmentCreated = "enrolment_created";
    /// A machine of a storage node was registered.
    MachineRegistered = "machine_registered";
    /// A disqualified storage node proved itself to an administrator.
    NodeReinstated = "node_reinstated";
    /// A storage node is to be emptied, or not any more.
    NodeLeaving = "node_leaving";
    /// The plan was changed.
    PlanChanged = "plan_changed";
    /// The role was changed.
    RoleChanged = "role_changed";
    /// The account was disabled or enabled.
    DisabledChanged = "disabled_changed";
    /// An administrator looked at accounts or at the audit log.
    AdminRead = "admin_read";
    /// The account's data was exported.
    Exported = "exported";
    /// The account's owner wants it deleted.
    DeletionAsked = "deletion_asked";
    /// The owner changed their mind.
    DeletionCancelled = "deletion_cancelled";
    /// The account was erased.
    Erased = "erased";
}

/// Something that happened.
#[derive(Debug, Clone)]
pub struct Event {
    /// Whose account it is about; none if an address has none.
    pub account: Option<AccountId>,
    /// Who did it.
    pub actor: Actor,
    /// What.
    pub action: Action,
    /// Whether it was refused.
    pub refused: bool,
    /// From where.
    pub address: Option<IpAddr>,
    /// What else there is to say, for people.
    pub detail: String,
}

impl Event {
    /// Something that its account's owner did.
    #[must_use]
    pub const fn owner(account: AccountId, action: Action, address: IpAddr) -> Self {
        Self::new(Some(account), Actor::Owner, action, Some(address))
    }

    /// Something that was done without being logged in.
    #[must_use]
    pub const fn anyone(account: Option<AccountId>, action: Action, address: IpAddr) -> Self {
        Self::new(account, Actor::Anyone, action, Some(address))
    }

    /// Something.
    #[must_use]
    pub const fn new(account: Option<AccountId>, actor: Actor, action: Action, address: Option<IpAddr>) -> Self {
        Self { account, actor, action, refused: false, address, detail: String::new() }
    }

    /// It was refused.
    #[must_use]
    pub const fn refused(mut self) -> Self {
        self.refused = true;
        self
    }

    /// Says more. No secrets, and names only as the server knows them.
    #[must_use]
    pub fn with(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }
}

/// What is sealed of an event.
#[derive(Serialize, Deserialize, Default)]
struct Private {
    #[serde(default)]
    address: String,
    #[serde(default)]
    detail: String,
}

/// The key of an account in the log.
struct SubjectKey(Zeroizing<[u8; 32]>);

impl SubjectKey {
    fn random() -> Self {
        Self(Zeroizing::new(random_bytes()))
    }

    fn subject(&self) -> [u8; 16] {
        let hash = blake3::keyed_hash(&self.0, b"cyx audit subject");
        let mut subject = [0; 16];
        subject.copy_from_slice(&hash.as_bytes()[..16]);
        subject
    }

    fn cipher(&self) -> Aes256Gcm {
        let key = Zeroizing::new(blake3::derive_key("cyx v1 server audit details", &*self.0));
        Aes256Gcm::new((&*key).into())
    }

    /// `nonce ‖ ciphertext ‖ tag`.
    fn seal(&self, seq: i64, private: &Private) -> Result<Vec<u8>, DbError> {
        let nonce = random_bytes::<NONCE_LEN>();
        let mut bytes = nonce.to_vec();
        let plain = serde_json::to_vec(private).map_err(|_| DbError::Corrupt("details of an audit row"))?;
        bytes.extend_from_slice(&plain);
        let sealed = (&mut bytes[NONCE_LEN..]).into();
        let tag = self.cipher().encrypt_inout_detached((&nonce).into(), &seq.to_be_bytes(), sealed);
        bytes.extend_from_slice(&tag.map_err(|_| DbError::Corrupt("details of an audit row"))?);
        Ok(bytes)
    }

    /// Empty if it cannot be opened: a reader is shown the rest all the same, and [`check`] says what was changed.
    fn open(&self, seq: i64, sealed: &[u8]) -> Private {
        let parts = sealed.split_first_chunk::<NONCE_LEN>().and_then(|(nonce, rest)| {
            let (ciphertext, tag) = rest.split_last_chunk::<TAG_LEN>()?;
            Some((nonce, ciphertext, tag))
        });
        let Some((nonce, ciphertext, tag)) = parts else { return Private::default() };
        let mut plain = ciphertext.to_vec();
        let opened = self.cipher().decrypt_inout_detached(
            nonce.into(),
            &seq.to_be_bytes(),
            plain.as_mut_slice().into(),
            tag.into(),
        );
        opened.ok().and_then(|()| serde_json::from_slice(&plain).ok()).unwrap_or_default()
    }
}

/// An account's key, made if there is none.
async fn subject_of(c: &mut Conn, account: AccountId) -> Result<SubjectKey, DbError> {
    // Looked for first, since it is nearly always there.
    if let Some(key) = find_subject(c, account).await? {
        return Ok(key);
    }
    let key = SubjectKey::random();
    sqlx::query(
        "INSERT INTO audit_subject (account, key, subject) VALUES ($1, $2, $3) ON CONFLICT (account) DO NOTHING",
    )
    .bind(account.to_vec())
    .bind(key.0.to_vec())
    .bind(key.subject().to_vec())
    .execute(&mut *c)
    .await?;
    find_subject(c, account).await?.ok_or(DbError::Corrupt("an account without a key in the audit log"))
}

async fn find_subject(c: &mut Conn, account: AccountId) -> Result<Option<SubjectKey>, DbError> {
    let row = sqlx::query("SELECT key FROM audit_subject WHERE account = $1")
        .bind(account.to_vec())
        .fetch_optional(c)
        .await?;
    row.map(|row| Ok(SubjectKey(Zeroizing::new(column_array(&row, 0)?)))).transpose()
}

/// Adds an event, as part of the caller's transaction.
///
/// # Errors
/// [`DbError`].
pub async fn record(c: &mut Conn, event: Event) -> Result<(), DbError> {
    let key = match event.account {
        Some(account) => subject_of(c, account).await?,
        None => SubjectKey::random(),
    };
    let subject = if event.account.is_some() { key.subject() } else { NOBODY };
    // Also locks the end of the chain until the transaction ends.
    let row =
        sqlx::query("UPDATE audit_head SET seq = seq + 1 WHERE id = 1 RETURNING seq, hash").fetch_one(&mut *c).await?;
    let (seq, previous): (i64, Vec<u8>) = (row.try_get(0)?, row.try_get(1)?);
    let address = event.address.map(|address| address.to_canonical().to_string()).unwrap_or_default();
    let link = chain::Link {
        seq,
        time_ns: now_ns(),
        subject,
        actor: event.actor.as_str(),
        action: event.action.as_str(),
        outcome: if event.refused { "refused" } else { "ok" },
        sealed: &key.seal(seq, &Private { address, detail: event.detail })?,
    };
    let hash = link.hash(&previous);
    sqlx::query(
        "INSERT INTO audit (seq, time_ns, subject, actor, action, outcome, sealed, hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(link.seq)
    .bind(link.time_ns)
    .bind(&link.subject[..])
    .bind(link.actor)
    .bind(link.action)
    .bind(link.outcome)
    .bind(link.sealed)
    .bind(&hash[..])
    .execute(&mut *c)
    .await?;
    sqlx::query("UPDATE audit_head SET hash = $1 WHERE id = 1").bind(&hash[..]).execute(c).await?;
    Ok(())
}

#[cfg(test)]
mod tests;
