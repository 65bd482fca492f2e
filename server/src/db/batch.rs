//! Many rows in few round trips.

use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe};

use super::{Backend, Conn, DbError};

/// A statement that values are bound to.
pub type Statement<'q> = Query<'q, Any, AnyArguments>;

/// Rows per statement, largest first. Few sizes, so that the prepared statements of all of them stay cached.
const SIZES: [usize; 4] = [64, 16, 4, 1];
/// SQLite takes 32,766 parameters, PostgreSQL 65,535.
const PARAMETERS_MAX: usize = 30_000;

/// Inserts rows: `head` is `INSERT INTO table (a, b)`, `columns` the number of its columns, `tail` is empty or `ON CONFLICT …` without
/// parameters.
/// `bind` binds the values of one row in the order of the columns. Returns the number of rows that were written.
///
/// # Errors
/// [`DbError`] of the first statement that fails; earlier ones stay, as far as the surrounding job stays.
pub async fn insert_many<'q, R, F>(
    connection: &mut Conn,
    head: &'static str,
    columns: usize,
    tail: &'static str,
    rows: &'q [R],
    bind: F,
) -> Result<u64, DbError>
where
    F: Fn(Statement<'q>, &'q R) -> Statement<'q>,
{
    // SQLite looks a numbered parameter's name up among all others whenever it is bound, so hundreds of them cost more than the rows.
    let numbered = Backend::of(connection) != Backend::Sqlite;
    let mut written = 0;
    let mut rest = rows;
    while !rest.is_empty() {
        let fits = |size: &&usize| **size <= rest.len() && **size * columns <= PARAMETERS_MAX;
        let size = SIZES.iter().find(fits).copied().unwrap_or(1);
        let (now, later) = rest.split_at(size);
        rest = later;
        let text = statement_text(head, columns, tail, size, numbered);
        let statement = now.iter().fold(sqlx::query(AssertSqlSafe(text)), &bind);
        written += statement.execute(&mut *connection).await?.rows_affected();
    }
    Ok(written)
}

fn statement_text(head: &str, columns: usize, tail: &str, rows: usize, numbered: bool) -> String {
    let mut text = String::with_capacity(head.len() + tail.len() + rows * columns * 6 + 16);
    text.push_str(head);
    text.push_str(" VALUES ");
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ",(" });
        for column in 0..columns {
            if column > 0 {
                text.push(',');
            }
            if numbered {
                text.push('$');
                text.push_str(&(row * columns + column + 1).to_string());
            } else {
                text.push('?');
            }
        }
        text.push(')');
    }
    text.push(' ');
    text.push_str(tail);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_count_through_all_rows() {
        let text = statement_text("INSERT INTO t (a, b)", 2, "ON CONFLICT DO NOTHING", 2, true);
        assert_eq!(text, "INSERT INTO t (a, b) VALUES ($1,$2),($3,$4) ON CONFLICT DO NOTHING");
        let text = statement_text("INSERT INTO t (a, b)", 2, "ON CONFLICT DO NOTHING", 2, false);
        assert_eq!(text, "INSERT INTO t (a, b) VALUES (?,?),(?,?) ON CONFLICT DO NOTHING");
    }
}
