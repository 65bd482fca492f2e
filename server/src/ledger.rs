//! The ledger: what nodes are paid for, what it comes to, and who owes whom.
//!
//! Two facts are paid: bytes kept, times the seconds for which they were ([`meter`]), and traffic that clients signed for
//! ([`orders`](self::traffic)). Time goes by in epochs ([`epoch`]). When one is over it is closed in one transaction ([`close`]): a statement
//! for each node, computed by `cyx_core::earnings` from the facts and nothing else, and postings. Each posting takes from one account what
//! it gives to another. A statement names its epoch's rates, and its facts are kept for [`LINES_KEPT`], so that an operator can compute
//! it again ([`view`]). What is due is then paid out by a [`Settlement`](settle::Settlement).
//!
//! What a node keeps is measured from the segments' own times and from what is written down when a shard is lost, made anew or moved, to the
//! second. A node that the server did not hear of in a period (half an hour or less) is not paid for it; one that was lost, left or failed is
//! paid until then.
//!
//! | file | what it does |
//! |---|---|
//! | [`epoch`] | time that is paid for |
//! | [`meter`] | what nodes keep |
//! | [`changes`] | who had the shards that were lost or moved |
//! | [`traffic`] | orders by which traffic is paid |
//! | [`close`] | statements and postings |
//! | [`settle`] | paying out |
//! | [`books`] | whether everything adds up |
//! | [`view`] | what an operator sees |

pub mod books;
pub mod changes;
pub mod close;
pub mod epoch;
pub mod meter;
pub mod settle;
pub mod traffic;
pub mod view;

#[cfg(test)]
mod tests;

use std::time::Duration;

use cyx_core::earnings::Rates;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::app::App;
use crate::config::Config;
use crate::db::{Db, DbError};
use crate::error::ApiError;
use crate::time::{nanos, now_ns, to_seconds};

/// For so long after its end the facts of an epoch are kept. Statements and postings stay.
pub const LINES_KEPT: Duration = Duration::from_secs(90 * 24 * 3600);
/// What is younger may still be on its way into the database, so the meter stays behind by so much.
const LAG_SECONDS: u64 = 60;
/// A period is not shorter, unless its epoch ends.
const PERIOD_LEAST: u64 = 1500;

/// What an administrator decided about pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayOptions {
    /// Length of an epoch in seconds.
    pub epoch_seconds: u64,
    /// Rates of the epochs to come.
    pub rates: Rates,
    /// Of an operator's pay, so many hundredths are held until the node has left in order.
    pub hold_percent: u64,
}

impl From<&Config> for PayOptions {
    fn from(config: &Config) -> Self {
        Self {
            epoch_seconds: config.epoch.as_secs(),
            rates: Rates { storage: config.storage_rate, traffic: config.traffic_rate },
            hold_percent: config.hold_percent,
        }
    }
}

/// Makes sure that there is an open epoch, when the server starts.
///
/// # Errors
/// [`DbError`].
pub async fn begin(db: &Db, options: PayOptions) -> Result<(), DbError> {
    let now = to_seconds(now_ns());
    db.write(move |conn| Box::pin(epoch::ensure(conn, options, now))).await
}

/// Writes down what nodes keep, as far as it is certain, and closes the epochs that are over. Returns until when, in Unix seconds: what was
/// freed before is accounted for.
///
/// # Errors
/// [`DbError`].
pub async fn run(app: &App) -> Result<u64, DbError> {
    // Where collections follow each other within seconds, as in tests, nothing is on its way for long, and nobody waits for it.
    let options = app.network.options;
    let lag = LAG_SECONDS.min(options.keep_list_margin_seconds).min(options.job_seconds);
    let least = PERIOD_LEAST.min(options.job_seconds.saturating_mul(2));
    let until = to_seconds(now_ns()).saturating_sub(lag);
    let nodes = meter::heard(&mut *app.db.read().await?, &app.network.registry).await?;
    let done = meter::catch_up(&app.db, (&app.config).into(), &nodes, until, least).await?;
    let before = now_ns().saturating_sub(nanos(LINES_KEPT));
    app.db.write(move |conn| Box::pin(epoch::forget_lines(conn, before))).await?;
    Ok(done)
}

/// Pays out what is due.
///
/// # Errors
/// [`ApiError`] if it cannot be paid out; it is tried again.
pub async fn pay_out(app: &App) -> Result<u64, ApiError> {
    let folder = app.config.payouts.clone().unwrap_or_else(|| app.config.data_dir.join("payouts"));
    settle::settle_due(&app.db, &settle::Exporter::new(folder)).await.map_err(ApiError::internal)
}

/// A number that is never negative.
pub(crate) fn unsigned(row: &AnyRow, column: usize) -> Result<u64, DbError> {
    Ok(u64::try_from(row.try_get::<i64, _>(column)?).unwrap_or(0))
}

/// As the database has it; what does not fit is the largest that does.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
