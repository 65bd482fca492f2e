//! Bringing the tables up to date.
//!
//! One file per change in `server/migrations/`, in the order in which they came. Each runs once, in a transaction, and is recorded by its number and the BLAKE3 of its
//! text; a database whose record differs, or has one more, belongs to another version and is refused. Once released a file never
//! changes: what is needed later comes as a new file. In the files `BYTES` stands for `BLOB` (SQLite) or `BYTEA` (PostgreSQL).

use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use super::{Backend, Conn, DbError};

/// Number and text of every migration, in order. No file has the numbers 16 and 17, and none may take them now: later ones have run without it.
const MIGRATIONS: &[(i64, &str)] = &[
    (1, include_str!("../../migrations/0001_accounts.sql")),
    (2, include_str!("../../migrations/0002_tree.sql")),
    (3, include_str!("../../migrations/0003_network.sql")),
    (4, include_str!("../../migrations/0004_write_lease.sql")),
    (5, include_str!("../../migrations/0005_account_security.sql")),
    (6, include_str!("../../migrations/0006_traffic.sql")),
    (7, include_str!("../../migrations/0007_lease_use.sql")),
    (8, include_str!("../../migrations/0008_version_sequence.sql")),
    (9, include_str!("../../migrations/0009_repair.sql")),
    (10, include_str!("../../migrations/0010_audits.sql")),
    (11, include_str!("../../migrations/0011_machines.sql")),
    (12, include_str!("../../migrations/0012_ledger.sql")),
    (13, include_str!("../../migrations/0013_key_epochs.sql")),
    (14, include_str!("../../migrations/0014_wallets.sql")),
    (15, include_str!("../../migrations/0015_account_keys.sql")),
    (18, include_str!("../../migrations/0018_joining.sql")),
    (19, include_str!("../../migrations/0019_network_care.sql")),
    (20, include_str!("../../migrations/0020_clustered.sql")),
    (21, include_str!("../../migrations/0021_trash_directory.sql")),
    (22, include_str!("../../migrations/0022_repair_unreadable.sql")),
];

/// Those that only SQLite needs.
const ONLY_SQLITE: &[i64] = &[20];

/// Whether any was ever run.
pub(super) async fn exist(connection: &mut Conn, backend: Backend) -> Result<bool, DbError> {
    let query = match backend {
        Backend::Sqlite => "SELECT CAST(COUNT(*) AS BIGINT) FROM sqlite_master WHERE name = 'schema_migration'",
        // Found where an unqualified name is.
        Backend::Postgres => "SELECT CAST(COUNT(to_regclass('schema_migration')) AS BIGINT)",
    };
    let found: i64 = sqlx::query_scalar(query).fetch_one(connection).await?;
    Ok(found > 0)
}

/// Makes sure that nothing was run which this program does not know.
pub(super) async fn are_known(connection: &mut Conn, backend: Backend) -> Result<(), DbError> {
    if !exist(connection, backend).await? {
        return Ok(());
    }
    let done: Vec<(i64, Vec<u8>)> =
        sqlx::query_as("SELECT number, hash FROM schema_migration ORDER BY number").fetch_all(connection).await?;
    let is_known = |number: i64, hash: &[u8]| {
        MIGRATIONS.iter().any(|(known, text)| *known == number && blake3::hash(text.as_bytes()).as_bytes() == hash)
    };
    match done.into_iter().find(|(number, hash)| !is_known(*number, hash)) {
        Some((number, _)) if MIGRATIONS.iter().all(|(known, _)| *known < number) => Err(DbError::Newer { number }),
        Some((number, _)) => Err(DbError::ForeignMigration { number }),
        None => Ok(()),
    }
}

/// Makes sure that everything was run which this program has, and nothing else. For tables that [`exist`].
pub(super) async fn are_current(connection: &mut Conn, backend: Backend) -> Result<(), DbError> {
    are_known(connection, backend).await?;
    let done: Vec<i64> = sqlx::query_scalar("SELECT number FROM schema_migration").fetch_all(connection).await?;
    match needed(backend).find(|(number, _)| !done.contains(number)) {
        Some((number, _)) => Err(DbError::Older { number: *number }),
        None => Ok(()),
    }
}

/// What a database of this kind has.
fn needed(backend: Backend) -> impl Iterator<Item = &'static (i64, &'static str)> {
    MIGRATIONS.iter().filter(move |(number, _)| backend == Backend::Sqlite || !ONLY_SQLITE.contains(number))
}

/// Runs what has not been run.
pub(super) async fn run(connection: &mut Conn, backend: Backend) -> Result<(), DbError> {
    let begin = match backend {
        Backend::Sqlite => "BEGIN IMMEDIATE",
        Backend::Postgres => "BEGIN",
    };
    let mut transaction = connection.begin_with(begin).await?;
    if backend == Backend::Postgres {
        // Two servers that start together take turns. The lock ends with the transaction.
        transaction.execute(sqlx::raw_sql("DO $$ BEGIN PERFORM pg_advisory_xact_lock(7233174); END $$")).await?;
    }
    let record = "CREATE TABLE IF NOT EXISTS schema_migration (number BIGINT PRIMARY KEY, hash BYTES NOT NULL)";
    transaction.execute(sqlx::raw_sql(AssertSqlSafe(translate(record, backend)))).await?;
    transaction.commit().await?;
    are_known(connection, backend).await?;
    keep_aside_in(connection, backend, "FILE").await?;
    for (number, text) in needed(backend) {
        run_one(connection, backend, begin, *number, text).await?;
    }
    keep_aside_in(connection, backend, "MEMORY").await
}

/// Where SQLite keeps what it would need to undo a statement, which for a table that is dropped is all of the table.
async fn keep_aside_in(connection: &mut Conn, backend: Backend, place: &'static str) -> Result<(), DbError> {
    if backend == Backend::Sqlite {
        connection.execute(sqlx::raw_sql(AssertSqlSafe(format!("PRAGMA temp_store = {place}")))).await?;
    }
    Ok(())
}

async fn run_one(
    connection: &mut Conn,
    backend: Backend,
    begin: &'static str,
    number: i64,
    text: &str,
) -> Result<(), DbError> {
    let hash = blake3::hash(text.as_bytes());
    let mut transaction = connection.begin_with(begin).await?;
    if backend == Backend::Postgres {
        transaction.execute(sqlx::raw_sql("LOCK TABLE schema_migration IN EXCLUSIVE MODE")).await?;
    }
    let done: Option<Vec<u8>> = sqlx::query_scalar("SELECT hash FROM schema_migration WHERE number = $1")
        .bind(number)
        .fetch_optional(&mut *transaction)
        .await?;
    match done {
        Some(done) if done == hash.as_bytes() => return Ok(transaction.rollback().await?),
        Some(_) => return Err(DbError::ForeignMigration { number }),
        None => {}
    }
    transaction.execute(sqlx::raw_sql(AssertSqlSafe(translate(text, backend)))).await?;
    sqlx::query("INSERT INTO schema_migration (number, hash) VALUES ($1, $2)")
        .bind(number)
        .bind(&hash.as_bytes()[..])
        .execute(&mut *transaction)
        .await?;
    Ok(transaction.commit().await?)
}

/// Replaces the word `BYTES`.
fn translate(text: &str, backend: Backend) -> String {
    let name = match backend {
        Backend::Sqlite => "BLOB",
        Backend::Postgres => "BYTEA",
    };
    let mut parts = text.split("BYTES");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let inside_a_word = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
        let stays = inside_a_word(out.chars().next_back()) || inside_a_word(part.chars().next());
        out.push_str(if stays { "BYTES" } else { name });
        out.push_str(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::{Location, connect};
    use super::*;

    #[test]
    fn only_the_word_bytes_is_replaced() {
        assert_eq!(translate("a BYTES, b BYTES_USED, MYBYTES", Backend::Sqlite), "a BLOB, b BYTES_USED, MYBYTES");
        assert_eq!(translate("BYTES)", Backend::Postgres), "BYTEA)");
    }

    #[tokio::test]
    async fn what_is_moved_to_other_tables_stays_what_it_was() {
        sqlx::any::install_default_drivers();
        let folder = tempfile::tempdir().unwrap();
        let location = Location::Sqlite(folder.path().join("cyx.db"));
        let mut conn = connect(&location).await.unwrap();
        let record = "CREATE TABLE schema_migration (number BIGINT PRIMARY KEY, hash BLOB NOT NULL)";
        conn.execute(sqlx::raw_sql(record)).await.unwrap();
        for (number, text) in MIGRATIONS.iter().filter(|(number, _)| *number < 20) {
            run_one(&mut conn, Backend::Sqlite, "BEGIN IMMEDIATE", *number, text).await.unwrap();
        }
        let rows = "INSERT INTO entry VALUES (x'01', x'02', x'04', 5, x'06', 7, x'08', 9), (x'01', x'02', x'03', 5, x'06', 7, x'08', 9);
            INSERT INTO inode VALUES (x'01', x'02', 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, x'0f', x'10', x'11', 18, x'13', 20, 21, 22);
            INSERT INTO version VALUES (x'01', x'02', 3, 4, 5, x'06', x'07', x'08', 9, 10, 11);";
        conn.execute(sqlx::raw_sql(rows)).await.unwrap();
        let before = everything(&mut conn).await;
        run(&mut conn, Backend::Sqlite).await.unwrap();
        assert_eq!(everything(&mut conn).await, before);
        assert_eq!(before.len(), 4);
        run(&mut conn, Backend::Sqlite).await.unwrap();
    }

    /// The rows of the tables that were moved, each as one text.
    async fn everything(conn: &mut Conn) -> Vec<String> {
        let mut all = Vec::new();
        for (table, order) in [("entry", "name"), ("inode", "id"), ("version", "version")] {
            let columns: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!(
                "SELECT name FROM pragma_table_info('{table}') ORDER BY cid"
            )))
            .fetch_all(&mut *conn)
            .await
            .unwrap();
            let cells: Vec<String> = columns.iter().map(|column| format!("'{column} ' || quote({column})")).collect();
            let text = format!("SELECT concat_ws(', ', {}) FROM {table} ORDER BY {order}", cells.join(", "));
            all.extend(sqlx::query_scalar::<_, String>(AssertSqlSafe(text)).fetch_all(&mut *conn).await.unwrap());
        }
        all
    }

    #[test]
    fn migrations_stand_in_the_order_of_their_numbers() {
        assert!(MIGRATIONS.is_sorted_by_key(|(number, _)| *number));
        assert!(MIGRATIONS.windows(2).all(|pair| pair[0].0 != pair[1].0));
    }
}
