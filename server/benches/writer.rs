//! How many small jobs a second the database makes durable: `cargo bench -p cyx-server --bench writer`.
//!
//! Each job inserts a row and reads one, as a login or a commit of a small file does several times. With more callers more jobs share a
//! durable commit. The folder for the database can be given as an argument; a temporary one may be on a disk that does not sync.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use cyx_server::db::{Db, DbConfig, DbError, Location};
use sqlx::AssertSqlSafe;

const RUN: Duration = Duration::from_secs(3);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let named = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let path = named.map_or_else(|| folder.path().to_owned(), PathBuf::from).join("writer-bench.db");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(path))
}

async fn measure(path: PathBuf) -> Result<(), Box<dyn std::error::Error>> {
    let db = Db::open(&DbConfig { location: Location::Sqlite(path), connections: 4 }).await?;
    db.write::<(), DbError, _>(|c| {
        Box::pin(async move {
            sqlx::query("CREATE TABLE IF NOT EXISTS measured (n BIGINT PRIMARY KEY, note TEXT)").execute(c).await?;
            Ok(())
        })
    })
    .await?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "callers  jobs/s  jobs per commit")?;
    let mut first = 0;
    for callers in [1, 4, 16, 64, 256] {
        let (jobs, commits) = run(&db, callers, &mut first).await?;
        let per_second = jobs / RUN.as_secs();
        writeln!(out, "{callers:7}  {per_second:6}  {:.1}", ratio(jobs, commits))?;
    }
    let statements = time_statements(&db).await?;
    writeln!(
        out,
        "one statement inside a job: {} µs cached, {} µs when it is prepared each time",
        statements[0], statements[1]
    )?;
    db.close().await;
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn ratio(jobs: u64, commits: u64) -> f64 {
    jobs as f64 / commits.max(1) as f64
}

/// Jobs done and commits made by so many callers at once.
async fn run(db: &Db, callers: i64, first: &mut i64) -> Result<(u64, u64), DbError> {
    let (end, commits) = (Instant::now() + RUN, db.commits());
    let base = *first;
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let db = db.clone();
            tokio::spawn(async move {
                let mut done = 0_i64;
                while Instant::now() < end {
                    let n = base + done * callers + caller;
                    db.write::<(), DbError, _>(move |c| {
                        Box::pin(async move {
                            let insert = sqlx::query("INSERT INTO measured (n, note) VALUES ($1, $2)");
                            insert.bind(n).bind("a note").execute(&mut *c).await?;
                            sqlx::query("SELECT note FROM measured WHERE n = $1").bind(n).fetch_one(c).await?;
                            Ok(())
                        })
                    })
                    .await?;
                    done += 1;
                }
                Ok::<i64, DbError>(done)
            })
        })
        .collect();
    let mut jobs = 0;
    let mut most = 0;
    for task in tasks {
        let done = task.await.map_err(|_| DbError::Panicked)??;
        jobs += u64::try_from(done).unwrap_or(0);
        most = most.max(done);
    }
    *first = base + (most + 1) * callers;
    Ok((jobs, db.commits() - commits))
}

/// Microseconds of a statement: with the same text again and again, and with a new text each time.
async fn time_statements(db: &Db) -> Result<[u128; 2], DbError> {
    const COUNT: u32 = 2000;
    let mut tx = db.read().await?;
    let mut micros = [0; 2];
    for (index, fresh) in [(0, false), (1, true)] {
        let begun = Instant::now();
        for n in 0..COUNT {
            let text = format!("SELECT note, n FROM measured WHERE n = $1 AND n > -{}", if fresh { n + 1 } else { 1 });
            sqlx::query(AssertSqlSafe(text)).bind(i64::from(n)).fetch_optional(&mut *tx).await?;
        }
        micros[index] = begun.elapsed().as_micros() / u128::from(COUNT);
    }
    Ok(micros)
}
