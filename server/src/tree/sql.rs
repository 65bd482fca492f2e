//! Statements over lists of keys, with few distinct texts so that prepared statements are found again.

use std::collections::HashSet;
use std::hash::Hash;

use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _};

use crate::db::{Conn, DbError, Statement};

/// Keys per statement; a list in between is filled up by repeating its last key, which changes no `IN`.
const SIZES: [usize; 5] = [1, 4, 16, 64, 256];
const SIZE_MAX: usize = 256;

/// A value bound before the keys.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    /// `BIGINT`
    Int(i64),
    /// `BYTES`
    Bytes(&'a [u8]),
}

fn bind<'q>(statement: Statement<'q>, value: Value<'_>) -> Statement<'q> {
    match value {
        Value::Int(value) => statement.bind(value),
        Value::Bytes(value) => statement.bind(value.to_vec()),
    }
}

fn size_for(keys: usize) -> usize {
    SIZES.into_iter().find(|size| *size >= keys).unwrap_or(SIZE_MAX)
}

/// `head` ends before the placeholders (`… IN (`), `tail` begins after them (`)`).
fn text_for(head: &str, tail: &str, values: usize, size: usize) -> String {
    let mut text = String::with_capacity(head.len() + tail.len() + size * 5);
    text.push_str(head);
    for number in 0..size {
        if number > 0 {
            text.push(',');
        }
        text.push('$');
        text.push_str(&(values + number + 1).to_string());
    }
    text.push_str(tail);
    text
}

fn statement<'q, K: AsRef<[u8]>>(head: &str, tail: &str, values: &[Value<'_>], keys: &[K]) -> Statement<'q> {
    let size = size_for(keys.len());
    let text = text_for(head, tail, values.len(), size);
    let mut query = sqlx::query(AssertSqlSafe(text));
    for value in values {
        query = bind(query, *value);
    }
    let last = keys.last();
    for key in keys.iter().chain(std::iter::repeat_n(last, size - keys.len()).flatten()) {
        query = query.bind(key.as_ref().to_vec());
    }
    query
}

/// Rows of `head $… tail` for all keys, in no particular order.
pub(crate) async fn fetch_in<K: AsRef<[u8]>>(
    conn: &mut Conn,
    head: &str,
    tail: &str,
    values: &[Value<'_>],
    keys: &[K],
) -> Result<Vec<AnyRow>, DbError> {
    let mut rows = Vec::new();
    for part in keys.chunks(SIZE_MAX) {
        rows.append(&mut statement(head, tail, values, part).fetch_all(&mut *conn).await?);
    }
    Ok(rows)
}

/// Runs `head $… tail` for all keys and counts the rows it changed.
pub(crate) async fn execute_in<K: AsRef<[u8]>>(
    conn: &mut Conn,
    head: &str,
    tail: &str,
    values: &[Value<'_>],
    keys: &[K],
) -> Result<u64, DbError> {
    let mut changed = 0;
    for part in keys.chunks(SIZE_MAX) {
        changed += statement(head, tail, values, part).execute(&mut *conn).await?.rows_affected();
    }
    Ok(changed)
}

/// The same values without repetitions, in the order of their first.
pub(crate) fn distinct<T: Hash + Eq + Copy>(values: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut seen = HashSet::new();
    values.into_iter().filter(|value| seen.insert(*value)).collect()
}

/// An id in a column.
pub(crate) fn id<T: From<[u8; 16]>>(row: &AnyRow, column: usize) -> Result<T, DbError> {
    array::<16>(row, column).map(T::from)
}

/// An id or nothing.
pub(crate) fn optional_id<T: From<[u8; 16]>>(row: &AnyRow, column: usize) -> Result<Option<T>, DbError> {
    match optional_bytes(row, column)? {
        Some(_) => id(row, column).map(Some),
        None => Ok(None),
    }
}

/// Bytes of a fixed length in a column.
pub(crate) fn array<const N: usize>(row: &AnyRow, column: usize) -> Result<[u8; N], DbError> {
    let bytes: &[u8] = row.try_get(column)?;
    bytes.try_into().map_err(|_| DbError::Corrupt("bytes of another length"))
}

/// Any bytes in a column.
pub(crate) fn bytes(row: &AnyRow, column: usize) -> Result<Vec<u8>, DbError> {
    Ok(row.try_get(column)?)
}

/// Bytes or nothing.
pub(crate) fn optional_bytes(row: &AnyRow, column: usize) -> Result<Option<Vec<u8>>, DbError> {
    Ok(row.try_get(column)?)
}

/// A signed number.
pub(crate) fn int(row: &AnyRow, column: usize) -> Result<i64, DbError> {
    Ok(row.try_get(column)?)
}

/// A number that cannot be negative.
pub(crate) fn uint<T: TryFrom<i64>>(row: &AnyRow, column: usize) -> Result<T, DbError> {
    T::try_from(int(row, column)?).map_err(|_| DbError::Corrupt("number out of range"))
}

/// A number as the database has it. Everything that gets here was checked against limits far below.
pub(crate) fn as_int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_filled_up_to_few_sizes() {
        assert_eq!([1, 2, 4, 5, 17, 65, 256].map(size_for), [1, 4, 4, 16, 64, 256, 256]);
        assert_eq!(text_for("a IN (", ")", 1, 4), "a IN ($2,$3,$4,$5)");
    }
}
