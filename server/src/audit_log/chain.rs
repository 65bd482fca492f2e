//! The chain of hashes: `hash = BLAKE3(hash of the row before ‖ this row)`.

use sqlx::Row as _;

use crate::auth::column_array;
use crate::db::{Conn, DbError};

/// Rows that are looked at together.
const BATCH: i64 = 1000;

/// What is hashed of a row.
pub(super) struct Link<'a> {
    pub(super) seq: i64,
    pub(super) time_ns: i64,
    pub(super) subject: [u8; 16],
    pub(super) actor: &'a str,
    pub(super) action: &'a str,
    pub(super) outcome: &'a str,
    pub(super) sealed: &'a [u8],
}

impl Link<'_> {
    /// Parts of variable length follow their length, so that no two rows look the same to the hash.
    pub(super) fn hash(&self, previous: &[u8]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("cyx v1 server audit chain");
        let texts = [self.actor.as_bytes(), self.action.as_bytes(), self.outcome.as_bytes(), self.sealed];
        let parts = std::iter::once(previous).chain(std::iter::once(&self.subject[..])).chain(texts);
        hasher.update(&self.seq.to_be_bytes()).update(&self.time_ns.to_be_bytes());
        for part in parts {
            let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
            hasher.update(&length.to_be_bytes()).update(part);
        }
        *hasher.finalize().as_bytes()
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Rows that are kept.
    pub entries: i64,
    /// Number of the oldest.
    pub first: i64,
    /// Number of the newest.
    pub last: i64,
    /// Hash of the newest: who notes it down elsewhere can later tell whether the log was rewritten.
    pub head: Vec<u8>,
    /// Number of the first row that is missing or was changed.
    pub broken_at: Option<i64>,
}

/// Goes along the whole chain.
///
/// # Errors
/// [`DbError`].
pub async fn check(c: &mut Conn) -> Result<Verdict, DbError> {
    let row =
        sqlx::query("SELECT seq, hash, first_seq, first_hash FROM audit_head WHERE id = 1").fetch_one(&mut *c).await?;
    let (last, head, first): (i64, Vec<u8>, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let mut verdict = Verdict { entries: last - first + 1, first, last, head, broken_at: None };
    let (mut next, mut previous): (i64, Vec<u8>) = (first, row.try_get(3)?);
    loop {
        let rows = sqlx::query(
            "SELECT seq, time_ns, subject, actor, action, outcome, sealed, hash FROM audit WHERE seq >= $1 ORDER BY seq LIMIT $2",
        )
        .bind(next)
        .bind(BATCH)
        .fetch_all(&mut *c)
        .await?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            let (actor, action, outcome): (String, String, String) =
                (row.try_get(3)?, row.try_get(4)?, row.try_get(5)?);
            let sealed: Vec<u8> = row.try_get(6)?;
            let link = Link {
                seq: row.try_get(0)?,
                time_ns: row.try_get(1)?,
                subject: column_array(&row, 2)?,
                actor: &actor,
                action: &action,
                outcome: &outcome,
                sealed: &sealed,
            };
            let stored: Vec<u8> = row.try_get(7)?;
            if link.seq != next || link.hash(&previous)[..] != stored[..] {
                verdict.broken_at = Some(next);
                return Ok(verdict);
            }
            (previous, next) = (stored, next + 1);
        }
    }
    // Rows may be missing at the end too.
    if next != last + 1 || previous != verdict.head {
        verdict.broken_at = Some(next);
    }
    Ok(verdict)
}

/// Removes rows older than a time from the front. The rest stays provable.
///
/// # Errors
/// [`DbError`].
pub async fn prune(c: &mut Conn, older_than_ns: i64) -> Result<(), DbError> {
    let row = sqlx::query(
        "SELECT seq, hash FROM audit WHERE time_ns < $1 AND seq < (SELECT COALESCE(MIN(seq), 9223372036854775807) FROM audit \
         WHERE time_ns >= $1) ORDER BY seq DESC LIMIT 1",
    )
    .bind(older_than_ns)
    .fetch_optional(&mut *c)
    .await?;
    let Some(row) = row else { return Ok(()) };
    let (seq, hash): (i64, Vec<u8>) = (row.try_get(0)?, row.try_get(1)?);
    sqlx::query("UPDATE audit_head SET first_seq = $1, first_hash = $2 WHERE id = 1")
        .bind(seq + 1)
        .bind(hash)
        .execute(&mut *c)
        .await?;
    sqlx::query("DELETE FROM audit WHERE seq <= $1").bind(seq).execute(c).await?;
    Ok(())
}
