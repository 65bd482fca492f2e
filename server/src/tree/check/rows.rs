//! Reading a table of one bucket a page at a time.

use cyx_core::ids::BucketId;
use sqlx::any::AnyRow;

use super::PAGE;
use crate::db::{Conn, DbError};
use crate::tree::sql;

/// A column of a key.
#[derive(Clone, Copy)]
pub(super) enum Key {
    Bytes(&'static str),
    Number(&'static str),
}

impl Key {
    const fn name(self) -> &'static str {
        match self {
            Self::Bytes(name) | Self::Number(name) => name,
        }
    }
}

/// The value of a key's column.
enum Place {
    Bytes(Vec<u8>),
    Number(i64),
}

/// Goes over the rows of one bucket in a table, in the order of the table's key.
pub(super) struct Rows {
    bucket: BucketId,
    key: &'static [Key],
    first: String,
    next: String,
    /// The key of the last row that was read.
    last: Vec<Place>,
    over: bool,
}

impl Rows {
    /// Rows have the columns of the key and then these. `from` may end with further conditions.
    pub(super) fn new(bucket: BucketId, columns: &str, from: &str, key: &'static [Key]) -> Self {
        let names: Vec<&str> = key.iter().map(|key| key.name()).collect();
        let names = names.join(", ");
        let places: Vec<String> = (0..key.len()).map(|number| format!("${}", number + 2)).collect();
        let head = format!("SELECT {names}, {columns} FROM {from}");
        let tail = format!("ORDER BY {names} LIMIT {PAGE}");
        let next = format!("{head} AND ({names}) > ({}) {tail}", places.join(", "));
        Self { bucket, key, first: format!("{head} {tail}"), next, last: Vec::new(), over: false }
    }

    /// The next page. Empty: it is over.
    pub(super) async fn page(&mut self, conn: &mut Conn) -> Result<Vec<AnyRow>, DbError> {
        if self.over {
            return Ok(Vec::new());
        }
        let text = if self.last.is_empty() { &self.first } else { &self.next };
        let mut query = sqlx::query(sqlx::AssertSqlSafe(text.clone())).bind(self.bucket.to_vec());
        for place in &self.last {
            query = match place {
                Place::Bytes(bytes) => query.bind(bytes.clone()),
                Place::Number(number) => query.bind(*number),
            };
        }
        let rows = query.fetch_all(conn).await?;
        self.over = rows.len() < PAGE;
        if let Some(last) = rows.last() {
            let place = |(column, key): (usize, &Key)| match key {
                Key::Bytes(_) => sql::bytes(last, column).map(Place::Bytes),
                Key::Number(_) => sql::int(last, column).map(Place::Number),
            };
            self.last = self.key.iter().enumerate().map(place).collect::<Result<_, DbError>>()?;
        }
        Ok(rows)
    }
}
