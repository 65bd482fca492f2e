//! Reading the log.

use cyx_core::ids::AccountId;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _};
use zeroize::Zeroizing;

use super::{SubjectKey, find_subject};
use crate::auth::{column_array, column_id};
use crate::db::{Conn, DbError};

/// Most entries of a page.
pub const PAGE_MAX: i64 = 1000;

/// A row as people read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub seq: i64,
    /// When, Unix nanoseconds.
    pub time_ns: i64,
    /// Pseudonym of the account.
    pub subject: [u8; 16],
    /// The account, as long as it exists.
    pub account: Option<AccountId>,
    /// Who.
    pub actor: String,
    /// What.
    pub action: String,
    /// `ok` or `refused`.
    pub outcome: String,
    /// From where; empty if unknown or erased.
    pub address: String,
    /// What else; empty if nothing or erased.
    pub detail: String,
    /// Its hash.
    pub hash: Vec<u8>,
}

/// Which entries.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// Not older than this, Unix nanoseconds.
    pub since_ns: i64,
    /// Only later ones than this number.
    pub after: i64,
    /// Most entries; at most [`PAGE_MAX`] are given.
    pub limit: i64,
}

impl Page {
    fn limit(self) -> i64 {
        self.limit.clamp(1, PAGE_MAX)
    }
}

const COLUMNS: &str = "a.seq, a.time_ns, a.subject, a.actor, a.action, a.outcome, a.sealed, a.hash";

fn entry(row: &AnyRow, account: Option<AccountId>, key: Option<&SubjectKey>) -> Result<Entry, DbError> {
    let seq = row.try_get(0)?;
    let sealed: Vec<u8> = row.try_get(6)?;
    let private = key.map(|key| key.open(seq, &sealed)).unwrap_or_default();
    Ok(Entry {
        seq,
        time_ns: row.try_get(1)?,
        subject: column_array(row, 2)?,
        account,
        actor: row.try_get(3)?,
        action: row.try_get(4)?,
        outcome: row.try_get(5)?,
        address: private.address,
        detail: private.detail,
        hash: row.try_get(7)?,
    })
}

/// Entries about an account, oldest first.
///
/// # Errors
/// [`DbError`].
pub async fn of_account(c: &mut Conn, account: AccountId, page: Page) -> Result<Vec<Entry>, DbError> {
    let Some(key) = find_subject(c, account).await? else { return Ok(Vec::new()) };
    let text = format!(
        "SELECT {COLUMNS} FROM audit a WHERE a.subject = $1 AND a.seq > $2 AND a.time_ns >= $3 ORDER BY a.seq LIMIT $4"
    );
    let rows = sqlx::query(AssertSqlSafe(text))
        .bind(key.subject().to_vec())
        .bind(page.after)
        .bind(page.since_ns)
        .bind(page.limit())
        .fetch_all(c)
        .await?;
    rows.iter().map(|row| entry(row, Some(account), Some(&key))).collect()
}

/// All entries, oldest first.
///
/// # Errors
/// [`DbError`].
pub async fn all(c: &mut Conn, page: Page) -> Result<Vec<Entry>, DbError> {
    let text = format!(
        "SELECT {COLUMNS}, s.account, s.key FROM audit a LEFT JOIN audit_subject s ON s.subject = a.subject \
         WHERE a.seq > $1 AND a.time_ns >= $2 ORDER BY a.seq LIMIT $3"
    );
    let rows =
        sqlx::query(AssertSqlSafe(text)).bind(page.after).bind(page.since_ns).bind(page.limit()).fetch_all(c).await?;
    let of = |row: &AnyRow| {
        if row.try_get::<Option<Vec<u8>>, _>(8)?.is_none() {
            return entry(row, None, None);
        }
        let key = SubjectKey(Zeroizing::new(column_array(row, 9)?));
        entry(row, Some(column_id(row, 8)?), Some(&key))
    };
    rows.iter().map(of).collect()
}
