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
/// Entries of one message of a listing.
pub const PAGE: u32 = 1000;

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

/// Up to `limit` entries of a directory behind a name, with what they lead to, in the order of encrypted names.
///
/// # Errors
/// [`DbError`].
pub async fn page(
    conn: &mut Conn,
    bucket: BucketId,
    directory: InodeId,
    after: Option<&Token>,
    limit: u32,
) -> Result<Vec<(EntryRow, InodeRow)>, DbError> {
    let columns = sql::packed_columns(conn.backend_name(), &format!("{ENTRY_COLUMNS}, {INODE_COLUMNS}"), &BLOBS);
    // One comparison of rows: the primary key is walked from there on. CROSS JOIN makes SQLite begin with the entries.
    let text = format!(
        "SELECT COALESCE(string_agg(p.line, ';'), '') FROM (SELECT {columns} AS line FROM entry e CROSS JOIN inode i \
         WHERE i.bucket = $1 AND i.id = e.child AND e.bucket = $1 AND e.directory = $2 AND (e.name, e.epoch) > ($3, $4) \
         ORDER BY e.name, e.epoch LIMIT $5) p"
    );
    let (name, epoch) = after.map_or((Vec::new(), -1), |token| (token.name.to_vec(), i64::from(token.epoch)));
    let lines: String = sqlx::query_scalar(sqlx::AssertSqlSafe(text))
        .bind(bucket.to_vec())
        .bind(directory.to_vec())
        .bind(name)
        .bind(epoch)
        .bind(i64::from(limit))
        .fetch_one(conn)
        .await?;
    let rows = lines.split_terminator(';').map(Packed::new);
    let rows = rows.map(|row| Ok((EntryRow::read(&row, 0)?, InodeRow::read(&row, EntryRow::COLUMNS)?)));
    let mut page: Vec<(EntryRow, InodeRow)> = rows.collect::<Result<_, DbError>>()?;
    // The lines of an aggregate come in any order.
    page.sort_unstable_by(|(a, _), (b, _)| a.token.cmp(&b.token));
    Ok(page)
}

/// Those of the inodes that exist, in the order asked.
///
/// # Errors
/// [`DbError`].
pub async fn inodes_of(conn: &mut Conn, bucket: BucketId, ids: &[InodeId]) -> Result<Vec<InodeRow>, DbError> {
    let mut found: HashMap<InodeId, InodeRow> = inodes(conn, bucket, ids).await?;
    Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
}
