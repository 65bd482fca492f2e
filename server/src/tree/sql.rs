//! Statements over lists of keys, with few distinct texts so that prepared statements are found again.

use std::borrow::Cow;
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

/// Where values are read from: a row as the database gives it, or one that it was made to pack into text.
pub(crate) trait Cells {
    /// The number in a column.
    fn number(&self, column: usize) -> Result<i64, DbError>;
    /// The bytes in a column.
    fn blob(&self, column: usize) -> Result<Cow<'_, [u8]>, DbError>;
}

impl Cells for AnyRow {
    fn number(&self, column: usize) -> Result<i64, DbError> {
        Ok(self.try_get(column)?)
    }

    fn blob(&self, column: usize) -> Result<Cow<'_, [u8]>, DbError> {
        Ok(Cow::Borrowed(self.try_get::<&[u8], usize>(column)?))
    }
}

/// A row in text, as [`packed_columns`] makes it.
pub(crate) struct Packed<'a>(Vec<&'a [u8]>);

impl<'a> Packed<'a> {
    /// Takes the text of a row apart.
    pub(crate) fn new(text: &'a str) -> Self {
        let mut cells = Vec::with_capacity(32);
        cells.extend(text.as_bytes().split(|byte| *byte == b','));
        Self(cells)
    }

    /// How many columns it has.
    pub(crate) fn cells(&self) -> usize {
        self.0.len()
    }
}

impl Cells for Packed<'_> {
    fn number(&self, column: usize) -> Result<i64, DbError> {
        let cell = self.0.get(column).and_then(|cell| std::str::from_utf8(cell).ok());
        cell.and_then(|cell| cell.parse().ok()).ok_or(DbError::Corrupt("a packed number"))
    }

    fn blob(&self, column: usize) -> Result<Cow<'_, [u8]>, DbError> {
        let cell = self.0.get(column).and_then(|cell| from_hex(cell));
        cell.map(Cow::Owned).ok_or(DbError::Corrupt("packed bytes"))
    }
}

/// What each byte stands for as a hexadecimal digit; 255 if it is none.
const DIGITS: [u8; 256] = {
    let mut digits = [255; 256];
    let mut value = 0;
    while value < 16 {
        digits[b"0123456789abcdef"[value as usize] as usize] = value;
        digits[b"0123456789ABCDEF"[value as usize] as usize] = value;
        value += 1;
    }
    digits
};

/// Bytes from hexadecimal digits. A listing reads half a kilobyte of them for each entry, which a check per digit would make its largest
/// cost.
fn from_hex(digits: &[u8]) -> Option<Vec<u8>> {
    let (pairs, odd) = digits.as_chunks::<2>();
    let mut all = 0;
    let value = |[high, low]: &[u8; 2]| {
        let (high, low) = (DIGITS[usize::from(*high)], DIGITS[usize::from(*low)]);
        all |= high | low;
        high << 4 | low
    };
    let bytes = pairs.iter().map(value).collect();
    (all < 16 && odd.is_empty()).then_some(bytes)
}

/// An expression for one text that has all of these columns, none of which may be null: numbers in decimal, those named in `blobs` in hexadecimal.
/// A column costs the driver more than all that is done with it afterwards, so what has thousands of rows is packed. One call joins them,
/// because a chain of `||` copies the row once per column.
pub(crate) fn packed_columns(backend: &str, columns: &str, blobs: &[&str]) -> String {
    let cells = columns.split(", ").map(|column| match (blobs.contains(&column), backend) {
        (false, _) => format!("CAST({column} AS TEXT)"),
        (true, "SQLite") => format!("hex({column})"),
        (true, _) => format!("encode({column}, 'hex')"),
    });
    format!("concat_ws(',', {})", cells.collect::<Vec<_>>().join(", "))
}

/// An id in a column.
pub(crate) fn id<T: From<[u8; 16]>>(row: &impl Cells, column: usize) -> Result<T, DbError> {
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
pub(crate) fn array<const N: usize>(row: &impl Cells, column: usize) -> Result<[u8; N], DbError> {
    (*row.blob(column)?).try_into().map_err(|_| DbError::Corrupt("bytes of another length"))
}

/// Any bytes in a column.
pub(crate) fn bytes(row: &impl Cells, column: usize) -> Result<Vec<u8>, DbError> {
    row.blob(column).map(Cow::into_owned)
}

/// Bytes or nothing.
pub(crate) fn optional_bytes(row: &AnyRow, column: usize) -> Result<Option<Vec<u8>>, DbError> {
    Ok(row.try_get(column)?)
}

/// A signed number.
pub(crate) fn int(row: &impl Cells, column: usize) -> Result<i64, DbError> {
    row.number(column)
}

/// A number that cannot be negative.
pub(crate) fn uint<T: TryFrom<i64>>(row: &impl Cells, column: usize) -> Result<T, DbError> {
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

    #[test]
    fn packed_rows_are_read_like_others_and_broken_ones_refused() {
        let packed = packed_columns("SQLite", "a.id, a.size", &["a.id"]);
        assert_eq!(packed, "concat_ws(',', hex(a.id), CAST(a.size AS TEXT))");
        assert_eq!(packed_columns("PostgreSQL", "a.id", &["a.id"]), "concat_ws(',', encode(a.id, 'hex'))");
        let row = Packed::new("00Ff,-7,,x");
        assert_eq!(array::<2>(&row, 0).unwrap(), [0, 255]);
        assert_eq!(int(&row, 1).unwrap(), -7);
        assert_eq!(bytes(&row, 2).unwrap(), b"");
        assert!(
            uint::<u64>(&row, 1).is_err() && int(&row, 3).is_err() && bytes(&row, 3).is_err() && int(&row, 4).is_err()
        );
    }
}
