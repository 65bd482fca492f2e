//! Questions about names and inodes, each answered from one snapshot.

use std::collections::HashMap;

use cyx_core::ids::{BucketId, InodeId};
use cyx_proto::meta::v1 as pb;

use super::error::TreeError;
use super::model::{EntryRow, InodeRow, Token};
use super::namespace::{entries, inode, inodes};
use super::rekey::require_newest;
use super::sql::{self, Packed};
use super::{ENTRY_COLUMNS, INODE_COLUMNS};
use crate::db::{Conn, DbError};
use cyx_core::error::ErrorCode;

/// Most names of one lookup.
pub const LOOKUP_MAX: usize = 1000;
/// Most inodes of one question.
pub const INODES_MAX: usize = 1000;
/// Most entries of one message of a listing.
pub const PAGE: u32 = 1000;
/// An inode with more bytes of attributes and older keys than this is large.
const LARGE: usize = 8 * 1024;
/// Most entries of a page with large inodes.
const LARGE_PAGE: u32 = 100;

/// Columns of an entry and its inode that are bytes.
const BLOBS: [&str; 9] = [
    "e.directory",
    "e.name",
    "e.child",
    "e.wrapped_key",
    "i.id",
    "i.root_page",
    "i.sealed_target",
    "i.sealed_meta",
    "i.key_history",
];

/// Refuses unless the inode is a directory.
///
/// # Errors
/// `NOT_FOUND` or `NOT_DIRECTORY`.
pub async fn directory(conn: &mut Conn, bucket: BucketId, id: InodeId) -> Result<InodeRow, TreeError> {
    match inode(conn, bucket, id).await? {
        Some(inode) if inode.is_directory() => Ok(inode),
        Some(_) => Err(TreeError::refused(ErrorCode::NotDirectory, "this is not a directory")),
        None => Err(TreeError::not_found("there is no such directory")),
    }
}

/// What names of a directory lead to, in the order asked.
///
/// # Errors
/// [`TreeError`].
pub async fn lookup(
    conn: &mut Conn,
    bucket: BucketId,
    directory_id: InodeId,
    questions: &[Vec<Token>],
) -> Result<Vec<pb::LookupAnswer>, TreeError> {
    let row = directory(conn, bucket, directory_id).await?;
    for question in questions {
        require_newest(&row, question.last().map_or(0, |token| token.epoch))?;
    }
    let tokens: Vec<Token> = questions.iter().flatten().cloned().collect();
    let found = entries(conn, bucket, directory_id, &tokens).await?;
    let children: Vec<InodeId> = found.values().map(|entry| entry.child).collect();
    let children = inodes(conn, bucket, &children).await?;
    let answer = |question: &Vec<Token>| {
        let entry = question.iter().rev().find_map(|token| found.get(token));
        pb::LookupAnswer {
            inode: entry.and_then(|entry| children.get(&entry.child)).map(InodeRow::to_pb),
            entry: entry.map(EntryRow::to_pb),
        }
    };
    Ok(questions.iter().map(answer).collect())
}

/// A part of a directory, in the order of encrypted names.
pub struct Page {
    /// Entries, with what they lead to.
    pub rows: Vec<(EntryRow, InodeRow)>,
    /// Whether there is nothing behind them.
    pub is_last: bool,
}

/// Up to `limit` entries of a directory behind a name, at most [`PAGE`]. A page takes at most some 16 MiB: it ends before the first large inode, or is one of
/// few entries if that is near.
///
/// # Errors
/// [`DbError`].
pub async fn page(
    conn: &mut Conn,
    bucket: BucketId,
    directory: InodeId,
    after: Option<&Token>,
    limit: u32,
) -> Result<Page, DbError> {
    let small = limit.min(PAGE);
    let lines = lines(conn, bucket, directory, after, small, Some(LARGE)).await?;
    let page = rows(&lines, small)?;
    if page.is_last || page.rows.len() >= usize::try_from(small.min(LARGE_PAGE)).unwrap_or(usize::MAX) {
        return Ok(page);
    }
    let few = limit.min(LARGE_PAGE);
    rows(&self::lines(conn, bucket, directory, after, few, None).await?, few)
}

/// Entries as text. Those with inodes of more than `most` bytes come without these.
async fn lines(
    conn: &mut Conn,
    bucket: BucketId,
    directory: InodeId,
    after: Option<&Token>,
    limit: u32,
    most: Option<usize>,
) -> Result<String, DbError> {
    let backend = conn.backend_name().to_owned();
    let mut line = sql::packed_columns(&backend, &format!("{ENTRY_COLUMNS}, {INODE_COLUMNS}"), &BLOBS);
    if let Some(most) = most {
        let entry = sql::packed_columns(&backend, ENTRY_COLUMNS, &BLOBS);
        line = format!("CASE WHEN length(i.sealed_meta) + length(i.key_history) > {most} THEN {entry} ELSE {line} END");
    }
    // One comparison of rows: the primary key is walked from there on. CROSS JOIN makes SQLite begin with the entries.
    let text = format!(
        "SELECT COALESCE(string_agg(p.line, ';'), '') FROM (SELECT {line} AS line FROM entry e CROSS JOIN inode i \
         WHERE i.bucket = $1 AND i.id = e.child AND e.bucket = $1 AND e.directory = $2 AND (e.name, e.epoch) > ($3, $4) \
         ORDER BY e.name, e.epoch LIMIT $5) p"
    );
    let (name, epoch) = after.map_or((Vec::new(), -1), |token| (token.name.to_vec(), i64::from(token.epoch)));
    let lines = sqlx::query_scalar(sqlx::AssertSqlSafe(text))
        .bind(bucket.to_vec())
        .bind(directory.to_vec())
        .bind(name)
        .bind(epoch)
        .bind(i64::from(limit))
        .fetch_one(conn)
        .await?;
    Ok(lines)
}

/// The entries in front of the first that came without its inode.
fn rows(lines: &str, limit: u32) -> Result<Page, DbError> {
    let mut entries: Vec<(EntryRow, Option<InodeRow>)> = Vec::new();
    for line in lines.split_terminator(';') {
        let row = Packed::new(line);
        let inode = (row.cells() > EntryRow::COLUMNS).then(|| InodeRow::read(&row, EntryRow::COLUMNS));
        entries.push((EntryRow::read(&row, 0)?, inode.transpose()?));
    }
    // The lines of an aggregate come in any order.
    entries.sort_unstable_by(|(a, _), (b, _)| a.token.cmp(&b.token));
    let found = entries.len();
    let rows: Vec<_> = entries.into_iter().map_while(|(entry, inode)| Some((entry, inode?))).collect();
    let is_last = rows.len() == found && u32::try_from(found).is_ok_and(|found| found < limit);
    Ok(Page { rows, is_last })
}

/// Those of the inodes that exist, in the order asked.
///
/// # Errors
/// [`DbError`].
pub async fn inodes_of(conn: &mut Conn, bucket: BucketId, ids: &[InodeId]) -> Result<Vec<InodeRow>, DbError> {
    let mut found: HashMap<InodeId, InodeRow> = inodes(conn, bucket, ids).await?;
    Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
}
