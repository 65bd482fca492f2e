//! Machines of storage nodes: registered with a person's token or an enrolment token, then known by a key of their own.
//!
//! Two kinds of enrolment tokens: the one of the configuration enrols any number of machines, which then belong to whoever runs the
//! server; those that operators make ([`super::enrolment`]) enrol one machine each.

use std::net::IpAddr;

use cyx_core::enrol;
use cyx_core::error::ErrorCode;
use cyx_core::ids::{AccountId, MachineId, Random as _, random_bytes};
use subtle::ConstantTimeEq as _;

use super::confirm::{Outcome, granted, run};
use super::enrolment::{Redeemed, redeem};
use super::limits::{self, FAILED_MACHINES};
use crate::app::App;
use crate::audit_log::{self, Action, Event};
use crate::auth::{self, Machine, Permission, column_array};
use crate::db::{Conn, DbError};
use crate::error::ApiError;
use crate::time::now_ns;
use crate::tokens::{Issued, stored_hash};

const TOO_MANY: &str = "too many failed attempts from this address; try again later";
/// Most bytes of the texts that a machine says of itself.
const TEXT_MAX: usize = 256;
/// Most bytes of the description of its hardware.
const HARDWARE_MAX: usize = 4096;
/// Fewest characters of an attempt: it must not be guessed.
const ATTEMPT_MIN: usize = 32;

/// A machine that was registered.
#[derive(Clone)]
pub struct Registered {
    /// Its id.
    pub machine: MachineId,
    /// Its key, shown once.
    pub api_key: String,
    /// Its first access token.
    pub access: Issued,
}

/// What a machine says of itself.
#[derive(Debug, Clone, Copy)]
pub struct Description<'a> {
    /// What it calls itself.
    pub hostname: &'a str,
    /// Its operating system.
    pub os: &'a str,
    /// Its hardware, in JSON.
    pub hardware: &'a str,
    /// A secret that only this machine can tell again, should the answer to its registration be lost.
    pub attempt: Option<&'a str>,
}

/// Registers a machine. With an enrolment token that the same attempt used before, the machine that it made gets another key.
///
/// # Errors
/// [`ErrorCode::InvalidCredentials`], [`ErrorCode::RateLimited`] after many wrong tokens, [`ErrorCode::InvalidArgument`].
pub async fn register(
    app: &App,
    bearer: &str,
    Description { hostname, os, hardware, attempt }: Description<'_>,
    ip: IpAddr,
) -> Result<Registered, ApiError> {
    let attempt_text = attempt.unwrap_or_default();
    for (field, text, max) in [
        ("hostname", hostname, TEXT_MAX),
        ("os", os, TEXT_MAX),
        ("hardware", hardware, HARDWARE_MAX),
        ("attempt", attempt_text, TEXT_MAX),
    ] {
        if text.len() > max {
            return Err(ApiError::invalid(format!("the field {field} is too long")));
        }
    }
    if attempt.is_some() && attempt_text.len() < ATTEMPT_MIN {
        return Err(ApiError::invalid(format!("the field attempt has at least {ATTEMPT_MIN} characters")));
    }
    let enroller = enroller(app, bearer, ip).await?;
    let attempt = attempt.map(|attempt| stored_hash(attempt.as_bytes()));
    let machine = MachineId::random();
    let api_key = format!("cyxm_{}", hex::encode(random_bytes::<32>()));
    let hash = stored_hash(api_key.as_bytes());
    let (hostname, os, hardware) = (hostname.to_owned(), os.to_owned(), hardware.to_owned());
    let (backend, now) = (app.db.backend(), now_ns());
    let outcome = run(app, move |c| {
        let texts = [hostname.clone(), os.clone(), hardware.clone()];
        Box::pin(async move {
            let owner = match enroller {
                Enroller::House => None,
                Enroller::Owner(owner) => Some(owner),
                Enroller::Token(token) => {
                    let redeemed = granted!(redeem(c, backend, &token, (machine, attempt), now).await?);
                    if let Redeemed { again: Some(machine), .. } = redeemed {
                        return Ok(rekey(c, machine, &hash).await?.map(|()| machine));
                    }
                    Some(redeemed.owner)
                }
            };
            insert(c, machine, owner, &hash, texts).await?;
            if let Some(owner) = owner {
                let event = Event::owner(owner, Action::MachineRegistered, ip);
                audit_log::record(c, event.with(machine.to_string())).await?;
            }
            Ok(Ok(machine))
        })
    })
    .await;
    if outcome.as_ref().is_err_and(|error| error.code == ErrorCode::InvalidCredentials) {
        count_failure(app, limits::address(ip)).await?;
    }
    let machine = outcome?;
    Ok(Registered { machine, api_key, access: app.tokens.machine(machine)? })
}

/// Gives a machine whose registration was not answered for all it knows another key.
async fn rekey(c: &mut Conn, machine: MachineId, hash: &[u8; 32]) -> Outcome<()> {
    let done = sqlx::query("UPDATE machine SET api_key_hash = $2 WHERE id = $1 AND revoked_ns IS NULL")
        .bind(machine.to_vec())
        .bind(&hash[..])
        .execute(c)
        .await?;
    let gone = || ApiError::new(ErrorCode::InvalidCredentials, "the machine of this enrolment token was revoked");
    Ok(if done.rows_affected() == 1 { Ok(()) } else { Err(gone()) })
}

/// By whose word a machine is registered.
#[derive(Clone, Copy)]
enum Enroller {
    /// Whoever runs the server.
    House,
    /// A person who is logged in.
    Owner(AccountId),
    /// The maker of the enrolment token with this hash.
    Token([u8; 32]),
}

async fn enroller(app: &App, bearer: &str, ip: IpAddr) -> Result<Enroller, ApiError> {
    let by_address = limits::address(ip);
    FAILED_MACHINES.check(&mut *app.db.read().await?, &by_address, TOO_MANY).await??;
    let hash = stored_hash(bearer.as_bytes());
    if let Some(expected) = &app.config.enroll_token {
        // Hashes, so that the comparison takes the same time for every length.
        let equal = stored_hash(expected.expose()).ct_eq(&hash);
        if bool::from(equal) {
            return Ok(Enroller::House);
        }
    }
    if bearer.starts_with(enrol::PREFIX) {
        return Ok(Enroller::Token(hash));
    }
    let caller = match auth::authenticate(app, bearer).await {
        Ok(caller) => caller,
        Err(error) => {
            count_failure(app, by_address).await?;
            return Err(error);
        }
    };
    caller.require_person()?;
    caller.require(Permission::StorageWrite)?;
    Ok(Enroller::Owner(caller.account))
}

async fn count_failure(app: &App, who: String) -> Result<(), ApiError> {
    app.db
        .write::<(), ApiError, _>(move |c| {
            let who = who.clone();
            Box::pin(async move { Ok(FAILED_MACHINES.count(c, &who).await?) })
        })
        .await
}

async fn insert(
    c: &mut Conn,
    machine: MachineId,
    owner: Option<AccountId>,
    hash: &[u8; 32],
    [hostname, os, hardware]: [String; 3],
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO machine (id, owner, hostname, os, hardware, api_key_hash, created_ns, last_seen_ns) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $7)",
    )
    .bind(machine.to_vec())
    .bind(owner.map(AccountId::to_vec))
    .bind(hostname)
    .bind(os)
    .bind(hardware)
    .bind(&hash[..])
    .bind(now_ns())
    .execute(c)
    .await?;
    Ok(())
}

/// A new access token for a machine's key.
///
/// # Errors
/// [`ErrorCode::InvalidCredentials`], [`ErrorCode::RateLimited`].
pub async fn token(app: &App, machine: MachineId, api_key: &str, ip: IpAddr) -> Result<Issued, ApiError> {
    let by_address = limits::address(ip);
    let mut tx = app.db.read().await?;
    FAILED_MACHINES.check(&mut tx, &by_address, TOO_MANY).await??;
    let row = sqlx::query("SELECT api_key_hash FROM machine WHERE id = $1 AND revoked_ns IS NULL")
        .bind(machine.to_vec())
        .fetch_optional(&mut *tx)
        .await?;
    drop(tx);
    let stored = row.as_ref().map(|row| column_array::<32>(row, 0)).transpose()?;
    let equal = stored.unwrap_or_default().ct_eq(&stored_hash(api_key.as_bytes()));
    if stored.is_none() || !bool::from(equal) {
        count_failure(app, by_address).await?;
        return Err(ApiError::new(ErrorCode::InvalidCredentials, "machine id or key is wrong"));
    }
    app.tokens.machine(machine)
}

/// What a machine reports of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Where its node listens.
    pub address: String,
    /// Version of its program.
    pub version: String,
    /// One-minute load average.
    pub load: f64,
}

/// Records a machine's sign of life.
///
/// # Errors
/// [`ErrorCode::InvalidArgument`] for texts that are too long.
pub async fn heartbeat(app: &App, machine: &Machine, report: Report) -> Result<(), ApiError> {
    if report.address.len() > TEXT_MAX || report.version.len() > TEXT_MAX {
        return Err(ApiError::invalid("the fields address and version have at most 256 bytes"));
    }
    let id = machine.id;
    #[expect(clippy::cast_possible_truncation, reason = "clamped to a range that fits")]
    let load = (report.load.clamp(0.0, 1e9) * 1000.0) as i64;
    app.db
        .write::<(), ApiError, _>(move |c| {
            let report = report.clone();
            Box::pin(async move {
                sqlx::query("UPDATE machine SET address = $2, version = $3, load_thousandths = $4, last_seen_ns = $5 WHERE id = $1")
                    .bind(id.to_vec())
                    .bind(report.address)
                    .bind(report.version)
                    .bind(load)
                    .bind(now_ns())
                    .execute(c)
                    .await?;
                Ok(())
            })
        })
        .await
}
