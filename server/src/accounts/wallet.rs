//! Wallets: an Ed25519 key that logs in to an account instead of password and code.
//!
//! The owner signs a text with a nonce, our domain and an end ([`cyx_core::wallet`]); each text counts once, whatever becomes of it. To
//! link a wallet takes the password, a code and such a signature; from then on the wallet alone logs in, without the account's second
//! factor. What it never gets is the decryption secret: no key of the account is wrapped under it, so whoever logs in with it can run
//! nodes and look at the account, and opens no file.

use std::net::IpAddr;
use std::time::Duration;

use cyx_core::error::ErrorCode;
use cyx_core::ids::{AccountId, Random as _, SessionId};
use cyx_core::sign::SIGNATURE_LEN;
use cyx_core::wallet::{Intent, SignIn, WalletAddress, parse_signature};
use sqlx::{AssertSqlSafe, Row as _};

use super::challenge::{self, Challenge, Kind};
use super::confirm::{Asker, Confirmation, Outcome, confirmed, confirmed_and_forget, granted, run};
use super::guard::Attempt;
use super::limits::{self, WALLET_TEXTS};
use super::login::{WrappedKeys, under_password};
use super::register::is_signing_key;
use super::rules;
use crate::app::{App, AppState};
use crate::audit_log::{self, Action, Event};
use crate::auth::{self, Caller, column_id};
use crate::db::{Backend, Conn, DbError};
use crate::error::ApiError;
use crate::mail::{self, Letter, Notice};
use crate::time::{nanos, now_ns, now_seconds};
use crate::tokens::{Issued, stored_hash};

/// How long a text can be signed.
const LIFE: Duration = Duration::from_secs(5 * 60);
/// Wallets of an account.
const WALLETS_MAX: i64 = 10;

/// A text that a wallet is to sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Names it, and stands in it as its nonce.
    pub id: SessionId,
    /// The text.
    pub message: String,
    /// The parts that its signer cannot know otherwise: our domain,
    pub domain: String,
    /// the account's user name, for a link,
    pub username: Option<String>,
    /// when it was made, Unix seconds,
    pub issued_at: u64,
    /// and when it ends, Unix seconds.
    pub expires_at: u64,
}

/// An answer to it.
#[derive(Debug, Clone)]
pub struct Signed {
    /// Which text.
    pub id: SessionId,
    /// The wallet's signature of it.
    pub signature: [u8; SIGNATURE_LEN],
}

impl Signed {
    /// Reads a signature in base58. A malformed id is as wrong as an unknown one.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidArgument`], [`ErrorCode::OtpExpired`].
    pub fn parse(id: &str, signature: &str) -> Result<Self, ApiError> {
        let signature = parse_signature(signature);
        let signature = signature.map_err(|_| ApiError::invalid("the field signature is not valid"))?;
        Ok(Self { id: id.parse().map_err(|_| over())?, signature })
    }
}

fn over() -> ApiError {
    ApiError::new(ErrorCode::OtpExpired, "the text to sign is too old or was used; ask for another one")
}

/// The address of a wallet.
///
/// # Errors
/// [`ErrorCode::InvalidArgument`].
pub fn address(text: &str) -> Result<WalletAddress, ApiError> {
    text.parse().map_err(|_| ApiError::invalid("the field wallet is not the address of a wallet"))
}

/// What is kept of a text until it is signed.
struct Kept {
    wallet: WalletAddress,
    issued_at: u64,
}

impl Kept {
    fn new(wallet: WalletAddress) -> Self {
        Self { wallet, issued_at: now_seconds() }
    }

    fn to_detail(&self) -> String {
        format!("{} {}", self.wallet, self.issued_at)
    }

    fn of(detail: &str) -> Result<Self, DbError> {
        let parts = detail
            .split_once(' ')
            .and_then(|(wallet, issued)| Some(Self { wallet: wallet.parse().ok()?, issued_at: issued.parse().ok()? }));
        parts.ok_or(DbError::Corrupt("a text for a wallet"))
    }

    const fn expires_at(&self) -> u64 {
        self.issued_at.saturating_add(LIFE.as_secs())
    }

    const fn text<'a>(&self, domain: &'a str, intent: Intent<'a>, nonce: SessionId) -> SignIn<'a> {
        let Self { wallet, issued_at } = *self;
        SignIn { domain, address: wallet, intent, nonce, issued_at, expires_at: self.expires_at() }
    }
}

/// A text that logs in, whether the wallet is linked to an account or not.
///
/// # Errors
/// [`ErrorCode::InvalidArgument`], [`ErrorCode::RateLimited`].
pub async fn challenge(app: &App, wallet: &str, ip: IpAddr) -> Result<Offer, ApiError> {
    offer(app, address(wallet)?, None, limits::address(ip)).await
}

/// A text that links a wallet to the caller's account.
///
/// # Errors
/// As [`challenge`].
pub async fn link_challenge(app: &App, caller: &Caller, wallet: &str) -> Result<Offer, ApiError> {
    let who = (caller.account, caller.session);
    offer(app, address(wallet)?, Some(who), format!("wallets {}", caller.account)).await
}

async fn offer(
    app: &App,
    wallet: WalletAddress,
    linker: Option<(AccountId, SessionId)>,
    counted_as: String,
) -> Result<Offer, ApiError> {
    let (id, domain) = (SessionId::random(), app.config.domain.clone());
    run(app, move |c| {
        let (counted_as, domain) = (counted_as.clone(), domain.clone());
        Box::pin(async move {
            granted!(WALLET_TEXTS.take(c, &counted_as, "too many texts were asked for; try again later").await?);
            let username = match linker {
                Some((account, _)) => Some(username(c, account).await?),
                None => None,
            };
            let kept = Kept::new(wallet);
            let begun = Challenge {
                id,
                kind: if linker.is_some() { Kind::WalletLink } else { Kind::WalletLogin },
                account: linker.map(|(account, _)| account),
                session: linker.map(|(_, session)| session),
                detail: kept.to_detail(),
                passed: false,
            };
            challenge::begin(c, &begun, LIFE).await?;
            let message = kept.text(&domain, intent(username.as_deref()), id).text();
            let (issued_at, expires_at) = (kept.issued_at, kept.expires_at());
            Ok(Ok(Offer { id, message, domain, username, issued_at, expires_at }))
        })
    })
    .await
}

fn intent(username: Option<&str>) -> Intent<'_> {
    username.map_or(Intent::LogIn, Intent::Link)
}

async fn username(c: &mut Conn, account: AccountId) -> Result<String, DbError> {
    let name = sqlx::query_scalar("SELECT username FROM account WHERE id = $1");
    Ok(name.bind(account.to_vec()).fetch_one(c).await?)
}

/// A login.
#[derive(Debug, Clone)]
pub struct Login {
    /// The signed text.
    pub signed: Signed,
    /// The device's Ed25519 key, which grants are bound to.
    pub public_key: Vec<u8>,
    /// The device, as it calls itself.
    pub device: String,
}

/// A new session. It has no keys: a wallet opens nothing.
#[derive(Clone)]
pub struct LoggedIn {
    /// The session.
    pub session: SessionId,
    /// Access token, with the wallet in it.
    pub access: Issued,
    /// Refresh token.
    pub refresh_token: String,
}

/// Logs in with a signed text.
///
/// # Errors
/// [`ErrorCode::OtpExpired`] for a text that is too old or was used, [`ErrorCode::InvalidCredentials`] for a wrong signature or a wallet
/// that is linked to no account, [`ErrorCode::RateLimited`], [`ErrorCode::PermissionDenied`] for a disabled account,
/// [`ErrorCode::InvalidArgument`] for a bad key.
pub async fn log_in(app: &App, login: Login, ip: IpAddr) -> Result<LoggedIn, ApiError> {
    if !is_signing_key(&login.public_key) {
        return Err(ApiError::invalid("the field session_public_key is not valid"));
    }
    let session = SessionId::random();
    let refresh_token = app.tokens.first_refresh_token(session);
    let new = NewSession {
        session,
        device: rules::device_name(&login.device),
        login,
        domain: app.config.domain.clone(),
        refresh_hash: stored_hash(refresh_token.as_bytes()),
        expires_ns: now_ns().saturating_add(nanos(app.config.refresh_token)),
        backend: app.db.backend(),
        ip,
    };
    let (account, wallet) = run(app, move |c| {
        let new = new.clone();
        Box::pin(async move { take(c, &new).await })
    })
    .await?;
    let access = app.tokens.access(account, session, Some(wallet.to_string()))?;
    Ok(LoggedIn { session, access, refresh_token })
}

#[derive(Clone)]
struct NewSession {
    session: SessionId,
    login: Login,
    device: String,
    domain: String,
    refresh_hash: [u8; 32],
    expires_ns: i64,
    backend: Backend,
    ip: IpAddr,
}

/// Takes a text off and checks what was signed. It is used up even if the signature is wrong.
async fn redeem(
    c: &mut Conn,
    kind: Kind,
    signed: &Signed,
    (domain, username): (&str, Option<&str>),
) -> Outcome<(Challenge, WalletAddress)> {
    let Some(found) = challenge::attempt(c, signed.id, kind).await? else { return Ok(Err(over())) };
    challenge::end(c, signed.id).await?;
    let kept = Kept::of(&found.detail)?;
    if kept.text(domain, intent(username), signed.id).verify(&signed.signature).is_err() {
        return Ok(Err(ApiError::new(
            ErrorCode::InvalidCredentials,
            "the signature does not fit the text and the wallet",
        )));
    }
    Ok(Ok((found, kept.wallet)))
}

async fn take(c: &mut Conn, new: &NewSession) -> Outcome<(AccountId, WalletAddress)> {
    let attempt = Attempt::from_address(new.ip);
    granted!(attempt.check(c).await?);
    let redeemed = redeem(c, Kind::WalletLogin, &new.login.signed, (&new.domain, None)).await?;
    if redeemed.as_ref().is_err_and(|error| error.code == ErrorCode::InvalidCredentials) {
        attempt.failed(c, new.backend, None).await?;
    }
    let (_, wallet) = granted!(redeemed);
    // Locked, so that whoever unlinks the wallet sees the session of this login, or this login sees no link.
    let text = format!("SELECT account FROM wallet WHERE address = $1{}", new.backend.for_update());
    let row = sqlx::query(AssertSqlSafe(text)).bind(wallet.to_string()).fetch_optional(&mut *c).await?;
    // Only who has the wallet's key comes here, so this tells nobody about other people.
    let Some(row) = row else {
        return Ok(Err(ApiError::new(ErrorCode::InvalidCredentials, "this wallet is not linked to an account")));
    };
    let account: AccountId = column_id(&row, 0)?;
    let disabled: i64 = sqlx::query_scalar("SELECT disabled FROM account WHERE id = $1")
        .bind(account.to_vec())
        .fetch_one(&mut *c)
        .await?;
    let event = Event::anyone(Some(account), Action::WalletLogin, new.ip).with(format!("{wallet} {}", new.device));
    if disabled != 0 {
        audit_log::record(c, event.refused()).await?;
        return Ok(Err(ApiError::denied("this account is disabled")));
    }
    let (now, place) = (now_ns(), new.ip.to_canonical().to_string());
    sqlx::query(
        "INSERT INTO session (id, account, device_name, public_key, generation, created_ns, last_used_ns, expires_ns, last_address, \
         wallet) VALUES ($1, $2, $3, $4, 1, $5, $5, $6, $7, $8)",
    )
    .bind(new.session.to_vec())
    .bind(account.to_vec())
    .bind(&new.device)
    .bind(&new.login.public_key[..])
    .bind(now)
    .bind(new.expires_ns)
    .bind(&place)
    .bind(wallet.to_string())
    .execute(&mut *c)
    .await?;
    super::sessions::store_refresh(c, new.session, &new.refresh_hash, 1).await?;
    sqlx::query("UPDATE wallet SET last_used_ns = $2, last_address = $3 WHERE address = $1")
        .bind(wallet.to_string())
        .bind(now)
        .bind(place)
        .execute(&mut *c)
        .await?;
    audit_log::record(c, event).await?;
    Ok(Ok((account, wallet)))
}

/// The account's keys as its password opens them, for a session that a wallet logged in: it has none, and the wallet opens nothing.
/// Other sessions got them when they logged in, with a code; they get none here, where there is none.
///
/// # Errors
/// [`ErrorCode::InvalidCredentials`] for a wrong password, [`ErrorCode::AccountLocked`], [`ErrorCode::RateLimited`];
/// [`ErrorCode::PermissionDenied`] for another session.
pub async fn keys(app: &App, caller: &Caller, auth_key: &[u8], ip: IpAddr) -> Result<WrappedKeys, ApiError> {
    let (asker, auth_hash) = (Asker::new(app, caller, ip), stored_hash(auth_key));
    run(app, move |c| {
        let asker = asker.clone();
        Box::pin(async move {
            let wallet: Option<String> = sqlx::query_scalar("SELECT wallet FROM session WHERE id = $1")
                .bind(asker.session.to_vec())
                .fetch_one(&mut *c)
                .await?;
            if wallet.is_none() {
                return Ok(Err(ApiError::denied("only a login with a wallet gets its keys this way")));
            }
            granted!(asker.password(c, &auth_hash).await?);
            audit_log::record(c, Event::owner(asker.account, Action::Password, asker.ip)).await?;
            Ok(Ok(under_password(c, asker.account).await?))
        })
    })
    .await
}

/// A wallet that logs in to an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wallet {
    /// Its address, base58.
    pub address: String,
    /// Unix nanoseconds.
    pub created_ns: i64,
    /// Unix nanoseconds.
    pub last_used_ns: Option<i64>,
    /// From where it last logged in; empty if never.
    pub last_address: String,
}

/// The wallets of an account, the oldest first.
///
/// # Errors
/// [`ErrorCode::Internal`].
pub async fn list(app: &App, account: AccountId) -> Result<Vec<Wallet>, ApiError> {
    let mut tx = app.db.read().await?;
    let rows = sqlx::query(
        "SELECT address, created_ns, last_used_ns, last_address FROM wallet WHERE account = $1 ORDER BY created_ns, address",
    )
    .bind(account.to_vec())
    .fetch_all(&mut *tx)
    .await?;
    let wallet = |row: &sqlx::any::AnyRow| -> Result<Wallet, ApiError> {
        Ok(Wallet {
            address: row.try_get(0)?,
            created_ns: row.try_get(1)?,
            last_used_ns: row.try_get(2)?,
            last_address: row.try_get(3)?,
        })
    };
    rows.iter().map(wallet).collect()
}

/// Links the wallet that signed to the caller's account. Returns its address.
///
/// # Errors
/// As [`confirmed`] and [`log_in`]; [`ErrorCode::AlreadyExists`] if it is linked, [`ErrorCode::Conflict`] for too many.
pub async fn link(
    app: &App,
    caller: &Caller,
    signed: Signed,
    confirmation: Confirmation,
    ip: IpAddr,
) -> Result<WalletAddress, ApiError> {
    let domain = app.config.domain.clone();
    // The code is taken first, so that a mistyped one costs no signature.
    confirmed(app, caller, confirmation, ip, move |c, asker| {
        let (domain, signed) = (domain.clone(), signed.clone());
        Box::pin(async move {
            let name = username(c, asker.account).await?;
            let (asked, wallet) = granted!(redeem(c, Kind::WalletLink, &signed, (&domain, Some(&name))).await?);
            if (asked.account, asked.session) != (Some(asker.account), Some(asker.session)) {
                return Ok(Err(over()));
            }
            insert(c, &asker, wallet).await
        })
    })
    .await
}

async fn insert(c: &mut Conn, asker: &Asker, wallet: WalletAddress) -> Outcome<WalletAddress> {
    let count: i64 = sqlx::query_scalar("SELECT CAST(COUNT(*) AS BIGINT) FROM wallet WHERE account = $1")
        .bind(asker.account.to_vec())
        .fetch_one(&mut *c)
        .await?;
    if count >= WALLETS_MAX {
        return Ok(Err(ApiError::new(ErrorCode::Conflict, format!("an account has at most {WALLETS_MAX} wallets"))));
    }
    let linked = sqlx::query(
        "INSERT INTO wallet (address, account, created_ns) VALUES ($1, $2, $3) ON CONFLICT (address) DO NOTHING",
    )
    .bind(wallet.to_string())
    .bind(asker.account.to_vec())
    .bind(now_ns())
    .execute(&mut *c)
    .await?;
    if linked.rows_affected() == 0 {
        return Ok(Err(ApiError::new(ErrorCode::AlreadyExists, "this wallet is linked to an account already")));
    }
    told(c, asker, Action::WalletLinked, Notice::WalletLinked, wallet).await?;
    Ok(Ok(wallet))
}

/// Ends the link of a wallet to the caller's account, and the sessions that it logged in.
///
/// # Errors
/// As [`confirmed`]; [`ErrorCode::NotFound`] if it is not linked to this account.
pub async fn unlink(
    app: &AppState,
    caller: &Caller,
    wallet: WalletAddress,
    confirmation: Confirmation,
    ip: IpAddr,
) -> Result<(), ApiError> {
    confirmed_and_forget(app, caller, confirmation, ip, move |c, asker| {
        Box::pin(async move { remove(c, &asker, wallet).await })
    })
    .await
}

async fn remove(c: &mut Conn, asker: &Asker, wallet: WalletAddress) -> Outcome<()> {
    let removed = sqlx::query("DELETE FROM wallet WHERE address = $1 AND account = $2")
        .bind(wallet.to_string())
        .bind(asker.account.to_vec())
        .execute(&mut *c)
        .await?;
    if removed.rows_affected() == 0 {
        return Ok(Err(ApiError::not_found("this wallet is not linked to the account")));
    }
    let rows = sqlx::query("SELECT id FROM session WHERE account = $1 AND wallet = $2 AND revoked_ns IS NULL")
        .bind(asker.account.to_vec())
        .bind(wallet.to_string())
        .fetch_all(&mut *c)
        .await?;
    for row in rows {
        auth::revoke(c, column_id(&row, 0)?).await?;
    }
    told(c, asker, Action::WalletRemoved, Notice::WalletRemoved, wallet).await?;
    Ok(Ok(()))
}

/// Writes a change down and tells the owner.
async fn told(
    c: &mut Conn,
    asker: &Asker,
    action: Action,
    notice: Notice,
    wallet: WalletAddress,
) -> Result<(), DbError> {
    audit_log::record(c, Event::owner(asker.account, action, asker.ip).with(wallet.to_string())).await?;
    mail::enqueue_to(c, asker.account, &Letter::Notice { notice, detail: wallet.to_string() }).await
}
