use futures_util::future::BoxFuture;

use super::*;
use crate::test_support::TestDb;

async fn with_table() -> TestDb {
    table_in(TestDb::new().await).await
}

async fn table_in(test: TestDb) -> TestDb {
    let made: Result<(), DbError> = test
        .db
        .write(|c| {
            Box::pin(async move {
                sqlx::query("CREATE TABLE number (n BIGINT PRIMARY KEY, note TEXT)").execute(c).await?;
                Ok(())
            })
        })
        .await;
    made.unwrap();
    test
}

fn insert(n: i64) -> impl for<'c> Fn(&'c mut Conn) -> BoxFuture<'c, Result<(), DbError>> + Send + Sync + 'static {
    move |c| {
        Box::pin(async move {
            sqlx::query("INSERT INTO number (n) VALUES ($1)").bind(n).execute(c).await?;
            Ok(())
        })
    }
}

async fn numbers(db: &Db) -> Vec<i64> {
    let mut tx = db.read().await.unwrap();
    sqlx::query_scalar("SELECT n FROM number ORDER BY n").fetch_all(&mut *tx).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_that_fail_roll_back_alone() {
    let test = with_table().await;
    let jobs = (0..200_i64).map(|n| {
        let db = test.db.clone();
        tokio::spawn(async move {
            db.write::<(), DbError, _>(move |c| {
                Box::pin(async move {
                    sqlx::query("INSERT INTO number (n) VALUES ($1)").bind(n).execute(&mut *c).await?;
                    if n % 3 == 0 { Err(DbError::Corrupt("on purpose")) } else { Ok(()) }
                })
            })
            .await
        })
    });
    let jobs: Vec<_> = jobs.collect();
    for (n, job) in jobs.into_iter().enumerate() {
        assert_eq!(job.await.unwrap().is_ok(), n % 3 != 0);
    }
    let expected: Vec<i64> = (0..200).filter(|n| n % 3 != 0).collect();
    assert_eq!(numbers(&test.db).await, expected);
}

#[tokio::test]
async fn a_violated_key_is_told_apart_and_harms_nobody_else() {
    let test = with_table().await;
    test.db.write(insert(1)).await.unwrap();
    let (again, other) = tokio::join!(test.db.write(insert(1)), test.db.write(insert(2)));
    assert!(again.unwrap_err().is_unique_violation());
    other.unwrap();
    assert_eq!(numbers(&test.db).await, [1, 2]);
}

#[tokio::test]
async fn a_panicking_job_undoes_its_changes_and_spares_the_writer() {
    let test = with_table().await;
    let panicked = test
        .db
        .write::<(), DbError, _>(|c| {
            Box::pin(async move {
                sqlx::query("INSERT INTO number (n) VALUES (7)").execute(c).await?;
                panic!("on purpose");
            })
        })
        .await;
    assert!(matches!(panicked, Err(DbError::Panicked)), "{panicked:?}");
    test.db.write(insert(8)).await.unwrap();
    assert_eq!(numbers(&test.db).await, [8]);
}

#[tokio::test]
async fn a_job_can_undo_a_part_of_its_work() {
    let test = with_table().await;
    let done: Result<(), DbError> = test
        .db
        .write(|c| {
            Box::pin(async move {
                sqlx::query("INSERT INTO number (n) VALUES (1)").execute(&mut *c).await?;
                let mut part = c.begin().await?;
                sqlx::query("INSERT INTO number (n) VALUES (2)").execute(&mut *part).await?;
                part.rollback().await?;
                let mut part = c.begin().await?;
                sqlx::query("INSERT INTO number (n) VALUES (3)").execute(&mut *part).await?;
                part.commit().await?;
                Ok(())
            })
        })
        .await;
    done.unwrap();
    assert_eq!(numbers(&test.db).await, [1, 3]);
}

#[tokio::test]
async fn a_snapshot_does_not_see_later_commits_and_cannot_write() {
    let test = with_table().await;
    test.db.write(insert(1)).await.unwrap();
    let mut tx = test.db.read().await.unwrap();
    let count = "SELECT CAST(COUNT(*) AS BIGINT) FROM number";
    assert_eq!(sqlx::query_scalar::<_, i64>(count).fetch_one(&mut *tx).await.unwrap(), 1);
    test.db.write(insert(2)).await.unwrap();
    assert_eq!(sqlx::query_scalar::<_, i64>(count).fetch_one(&mut *tx).await.unwrap(), 1);
    assert!(sqlx::query("INSERT INTO number (n) VALUES (3)").execute(&mut *tx).await.is_err());
    drop(tx);
    assert_eq!(numbers(&test.db).await, [1, 2]);
}

#[tokio::test]
async fn what_was_answered_is_there_after_opening_again() {
    let test = with_table().await;
    for n in 0..20 {
        test.db.write(insert(n)).await.unwrap();
    }
    // The first handle stays open, as after a crash; nothing of it was flushed on purpose.
    let again = Db::open(&test.config).await.unwrap();
    assert_eq!(numbers(&again).await, (0..20).collect::<Vec<_>>());
    again.close().await;
}

#[tokio::test]
async fn a_caller_that_stops_waiting_does_not_stop_its_job() {
    let test = with_table().await;
    let (started, wait) = tokio::sync::oneshot::channel();
    let started = std::sync::Mutex::new(Some(started));
    let db = test.db.clone();
    let caller = tokio::spawn(async move {
        db.write::<(), DbError, _>(move |c| {
            if let Some(started) = started.lock().unwrap().take() {
                started.send(()).unwrap();
            }
            Box::pin(async move {
                sqlx::query("INSERT INTO number (n) VALUES (1)").execute(&mut *c).await?;
                sqlx::query("INSERT INTO number (n) VALUES (2)").execute(&mut *c).await?;
                Ok(())
            })
        })
        .await
    });
    wait.await.unwrap();
    caller.abort();
    let _ = caller.await;
    // On SQLite jobs are done in order; on PostgreSQL the dropped one may still be on its way.
    test.db.write(insert(3)).await.unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while numbers(&test.db).await.len() < 3 {
        assert!(std::time::Instant::now() < deadline, "the job never happened");
        tokio::task::yield_now().await;
    }
    assert_eq!(numbers(&test.db).await, [1, 2, 3]);
}

#[tokio::test]
async fn a_closed_database_refuses_jobs_and_finishes_those_it_took() {
    let test = with_table().await;
    let db = test.db.clone();
    let first = tokio::spawn(async move { db.write(insert(1)).await });
    first.await.unwrap().unwrap();
    test.db.close().await;
    assert!(test.db.write(insert(2)).await.is_err());
    assert!(test.db.read().await.is_err());
    assert_eq!(numbers(&Db::open(&test.config).await.unwrap()).await, [1]);
}

#[tokio::test]
async fn many_rows_go_in_few_statements() {
    let test = with_table().await;
    let done: Result<u64, DbError> = test
        .db
        .write(|c| {
            Box::pin(async move {
                let rows: Vec<i64> = (0..333).collect();
                insert_many(c, "INSERT INTO number (n, note)", 2, "ON CONFLICT DO NOTHING", &rows, |query, n| {
                    query.bind(*n).bind(format!("note {n}"))
                })
                .await
            })
        })
        .await;
    assert_eq!(done.unwrap(), 333);
    assert_eq!(numbers(&test.db).await.len(), 333);
}

#[tokio::test]
async fn a_database_of_another_version_is_refused() {
    let test = TestDb::new().await;
    Db::must_be_known(&test.config).await.unwrap();
    let changed: Result<(), DbError> = test
        .db
        .write(|c| {
            Box::pin(async move {
                sqlx::query("UPDATE schema_migration SET hash = $1").bind(&[0_u8; 32][..]).execute(c).await?;
                Ok(())
            })
        })
        .await;
    changed.unwrap();
    assert!(matches!(Db::open(&test.config).await.err(), Some(DbError::ForeignMigration { number: 1 })));
}

#[tokio::test]
async fn a_database_that_a_newer_version_has_changed_is_refused() {
    let test = TestDb::new().await;
    let changed: Result<(), DbError> = test
        .db
        .write(|c| {
            Box::pin(async move {
                let text = "INSERT INTO schema_migration (number, hash) VALUES (1000000, $1)";
                sqlx::query(text).bind(&[0_u8; 32][..]).execute(c).await?;
                Ok(())
            })
        })
        .await;
    changed.unwrap();
    for refused in [Db::must_be_known(&test.config).await.err(), Db::open(&test.config).await.err()] {
        assert!(matches!(refused, Some(DbError::Newer { number: 1_000_000 })), "{refused:?}");
    }
    for refused in [Db::open_existing(&test.config).await.err(), Db::open_to_copy(&test.config).await.err()] {
        assert!(matches!(refused, Some(DbError::Newer { number: 1_000_000 })), "{refused:?}");
    }
}

#[tokio::test]
async fn a_database_of_an_older_version_is_worked_on_by_nobody_who_does_not_bring_it_up_to_date() {
    let test = TestDb::new().await;
    Db::open_existing(&test.config).await.unwrap().close().await;
    let changed: Result<(), DbError> = test
        .db
        .write(|c| {
            Box::pin(async move {
                sqlx::raw_sql("ALTER TABLE repair DROP COLUMN unreadable").execute(&mut *c).await?;
                sqlx::query("DELETE FROM schema_migration WHERE number = 22").execute(c).await?;
                Ok(())
            })
        })
        .await;
    changed.unwrap();
    let refused = Db::open_existing(&test.config).await.err();
    assert!(matches!(refused, Some(DbError::Older { number: 22 })), "{refused:?}");
    Db::open_to_copy(&test.config).await.unwrap().close().await;
    let refused = Db::open_existing(&test.config).await.err();
    assert!(matches!(refused, Some(DbError::Older { number: 22 })), "copying it changed it: {refused:?}");
    Db::open(&test.config).await.unwrap().close().await;
    Db::open_existing(&test.config).await.unwrap().close().await;
}

#[tokio::test]
async fn null_and_bytes_come_back_as_they_went() {
    let test = TestDb::new().await;
    let mut tx = test.db.read().await.unwrap();
    let row: (Option<Vec<u8>>, Option<String>, i64) = match test.db.backend() {
        Backend::Sqlite => sqlx::query_as("SELECT $1, $2, $3"),
        Backend::Postgres => sqlx::query_as("SELECT $1::BYTEA, $2::TEXT, $3::BIGINT"),
    }
    .bind(vec![0_u8, 255])
    .bind(None::<String>)
    .bind(i64::MIN)
    .fetch_one(&mut *tx)
    .await
    .unwrap();
    assert_eq!(row, (Some(vec![0, 255]), None, i64::MIN));
}

/// Where [`a_crash_loses_nothing_that_was_answered`] lets its other half write.
const CRASH_VARIABLE: &str = "CYX_TEST_CRASH_DATABASE";

/// Runs in a process of its own, which is killed: writes numbers for ever and prints each one that was answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_half_that_is_killed() {
    use std::io::Write as _;
    let Ok(path) = std::env::var(CRASH_VARIABLE) else { return };
    let config = DbConfig { location: Location::Sqlite(path.into()), connections: 1 };
    let db = Db::open(&config).await.unwrap();
    let made: Result<(), DbError> = db
        .write(|c| {
            Box::pin(async move {
                sqlx::query("CREATE TABLE number (n BIGINT PRIMARY KEY, note TEXT)").execute(c).await?;
                Ok(())
            })
        })
        .await;
    made.unwrap();
    let writers = (0..8_i64).map(|writer| {
        let db = db.clone();
        tokio::spawn(async move {
            for n in 0_i64.. {
                let n = n * 8 + writer;
                db.write(insert(n)).await.unwrap();
                // Straight out: what was printed must have left this process when it is killed.
                let mut out = std::io::stdout().lock();
                writeln!(out, "answered {n}").and_then(|()| out.flush()).unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
}

#[tokio::test]
async fn a_crash_loses_nothing_that_was_answered() {
    use std::io::BufRead as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("crash.db");
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "db::tests::the_half_that_is_killed", "--nocapture", "--test-threads=1"])
        .env(CRASH_VARIABLE, &path)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
    let number = |line: String| line.rsplit_once("answered ").and_then(|(_, n)| n.parse::<i64>().ok());
    let mut answered: Vec<i64> = lines.by_ref().map_while(Result::ok).filter_map(number).take(500).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    answered.extend(lines.map_while(Result::ok).filter_map(number));
    assert!(answered.len() >= 500);

    let config = DbConfig { location: Location::Sqlite(path), connections: 1 };
    let there: std::collections::HashSet<i64> = numbers(&Db::open(&config).await.unwrap()).await.into_iter().collect();
    assert!(answered.iter().all(|n| there.contains(n)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_that_wait_share_one_commit() {
    let test = table_in(TestDb::sqlite().await).await;
    // The first job holds the writer until all others wait behind it.
    let (open, gate) = tokio::sync::watch::channel(false);
    let (started, mut has_started) = tokio::sync::watch::channel(false);
    let db = test.db.clone();
    let first = tokio::spawn(async move {
        db.write::<(), DbError, _>(move |_| {
            let mut gate = gate.clone();
            started.send_replace(true);
            Box::pin(async move {
                gate.wait_for(|open| *open).await.map_err(|_| DbError::Closed)?;
                Ok(())
            })
        })
        .await
    });
    has_started.wait_for(|started| *started).await.unwrap();
    let before = test.db.commits();
    let others: Vec<_> = (0..100)
        .map(|n| {
            let db = test.db.clone();
            tokio::spawn(async move { db.write(insert(n)).await })
        })
        .collect();
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while test.db.waiting() < 100 {
        assert!(std::time::Instant::now() < deadline, "the jobs never came");
        tokio::task::yield_now().await;
    }
    open.send(true).unwrap();
    first.await.unwrap().unwrap();
    for other in others {
        other.await.unwrap().unwrap();
    }
    assert_eq!(test.db.commits() - before, 2, "the first job, then all others together");
    assert_eq!(numbers(&test.db).await.len(), 100);
}

/// Lets the database of the writer grow by so many pages at most, or freely.
async fn allow_pages(db: &Db, more: Option<i64>) {
    let done: Result<(), DbError> = db
        .write(move |c| {
            Box::pin(async move {
                let now: i64 =
                    sqlx::query_scalar("SELECT page_count FROM pragma_page_count()").fetch_one(&mut *c).await?;
                let most = more.map_or(1_000_000_000, |more| now + more);
                sqlx::query(sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {most}"))).fetch_all(c).await?;
                Ok(())
            })
        })
        .await;
    done.unwrap();
}

fn insert_large(n: i64) -> impl for<'c> Fn(&'c mut Conn) -> BoxFuture<'c, Result<(), DbError>> + Send + Sync + 'static {
    move |c| {
        Box::pin(async move {
            let note = "x".repeat(1024 * 1024);
            sqlx::query("INSERT INTO number (n, note) VALUES ($1, $2)").bind(n).bind(note).execute(c).await?;
            Ok(())
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_what_does_not_fit_and_nothing_else() {
    let test = table_in(TestDb::sqlite().await).await;
    allow_pages(&test.db, Some(20)).await;
    let jobs = (0..40_i64).map(|n| {
        let db = test.db.clone();
        tokio::spawn(
            async move { if n % 10 == 0 { db.write(insert_large(n)).await } else { db.write(insert(n)).await } },
        )
    });
    for (n, job) in jobs.collect::<Vec<_>>().into_iter().enumerate() {
        let done = job.await.unwrap();
        assert_eq!(done.is_ok(), n % 10 != 0, "{n}: {done:?}");
    }
    assert_eq!(numbers(&test.db).await.len(), 36);
    allow_pages(&test.db, None).await;
    test.db.write(insert_large(100)).await.unwrap();
    assert_eq!(numbers(&test.db).await.len(), 37);
}

#[tokio::test]
async fn settings_outlast_a_database_that_cannot_be_opened_for_a_while() {
    let dir = tempfile::tempdir().unwrap();
    let [there, away] = ["there", "away"].map(|name| dir.path().join(name));
    let location = Location::Sqlite(there.join("cyx.db"));
    let db = Db::open(&DbConfig { location, connections: 1 }).await.unwrap();
    let asked = |text: &'static str| {
        db.write::<i64, DbError, _>(move |c| Box::pin(async move { Ok(sqlx::query_scalar(text).fetch_one(c).await?) }))
    };
    let set = db.write::<(), DbError, _>(|c| {
        Box::pin(async move {
            c.execute(sqlx::raw_sql("PRAGMA max_page_count = 5000")).await?;
            Ok(())
        })
    });
    set.await.unwrap();
    assert_eq!(asked("PRAGMA wal_autocheckpoint").await.unwrap(), 0, "a server alone changes it");
    db.checkpoint_by_itself().await.unwrap();
    let broken = db.write::<(), DbError, _>({
        let (there, away) = (there.clone(), away.clone());
        move |c| {
            let (there, away) = (there.clone(), away.clone());
            Box::pin(async move {
                c.execute(sqlx::raw_sql("ROLLBACK")).await?;
                std::fs::rename(there, away)?;
                Err(DbError::Corrupt("on purpose"))
            })
        }
    });
    broken.await.unwrap_err();
    db.write(|_| Box::pin(std::future::ready(Ok::<_, DbError>(())))).await.unwrap_err();
    std::fs::rename(away, there).unwrap();
    assert_eq!(asked("PRAGMA wal_autocheckpoint").await.unwrap(), 1000);
    assert_eq!(asked("PRAGMA max_page_count").await.unwrap(), 5000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_breaks_the_transaction_takes_no_other_down() {
    let test = table_in(TestDb::sqlite().await).await;
    let jobs = (0..60_i64).map(|n| {
        let db = test.db.clone();
        tokio::spawn(async move {
            if n % 20 == 7 {
                let broken = db.write::<(), DbError, _>(|c| {
                    Box::pin(async move {
                        // What SQLite itself does after some failures of the disk.
                        c.execute(sqlx::raw_sql("ROLLBACK")).await?;
                        Err(DbError::Corrupt("on purpose"))
                    })
                });
                broken.await
            } else {
                db.write(insert(n)).await
            }
        })
    });
    for (n, job) in jobs.collect::<Vec<_>>().into_iter().enumerate() {
        let done = job.await.unwrap();
        assert_eq!(done.is_ok(), n % 20 != 7, "{n}: {done:?}");
    }
    assert_eq!(numbers(&test.db).await.len(), 57);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_that_lock_each_other_out_are_repeated() {
    let test = with_table().await;
    test.db.write(insert(1)).await.unwrap();
    test.db.write(insert(2)).await.unwrap();
    // In their first attempt both jobs hold one row before either asks for the other. SQLite has one writer, so there it cannot come to that.
    let meeting = std::sync::Arc::new(tokio::sync::Barrier::new(2));
    let meet = test.db.backend() == Backend::Postgres;
    let crossing = |first: i64, second: i64| {
        let (db, meeting) = (test.db.clone(), meeting.clone());
        let attempts = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
        tokio::spawn(async move {
            db.write::<(), DbError, _>(move |c| {
                let (meeting, attempts) = (meeting.clone(), attempts.clone());
                Box::pin(async move {
                    let update = "UPDATE number SET note = COALESCE(note, '') || 'x' WHERE n = $1";
                    sqlx::query(update).bind(first).execute(&mut *c).await?;
                    if meet && attempts.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 {
                        meeting.wait().await;
                    }
                    sqlx::query(update).bind(second).execute(c).await?;
                    Ok(())
                })
            })
            .await
        })
    };
    let (one, other) = (crossing(1, 2), crossing(2, 1));
    one.await.unwrap().unwrap();
    other.await.unwrap().unwrap();
    let mut tx = test.db.read().await.unwrap();
    let notes: Vec<String> = sqlx::query_scalar("SELECT note FROM number").fetch_all(&mut *tx).await.unwrap();
    assert_eq!(notes, ["xx", "xx"]);
}

#[tokio::test]
async fn a_reader_that_stops_waiting_leaves_no_transaction_to_others() {
    let test = with_table().await;
    for n in 0..40 {
        // Given up at different moments, so also while the database is asked to begin.
        let mut read = Box::pin(test.db.read());
        for _ in 0..n {
            if futures_util::poll!(&mut read).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(read);
        test.db.write(insert(n)).await.unwrap();
    }
    assert_eq!(numbers(&test.db).await.len(), 40);
}

#[tokio::test]
async fn a_database_that_must_exist_is_not_made() {
    let test = TestDb::new().await;
    Db::open_existing(&test.config).await.unwrap().close().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none").join("cyx.db");
    let config = DbConfig { location: Location::Sqlite(path.clone()), connections: 1 };
    let refused = Db::open_existing(&config).await.err().unwrap();
    assert!(matches!(&refused, DbError::Missing(place) if *place == path.display().to_string()), "{refused}");
    assert!(!folder.path().join("none").exists());
}

#[tokio::test]
async fn a_database_with_tables_of_others_alone_is_missing() {
    let test = with_table().await;
    let dropped: Result<(), DbError> = test
        .db
        .write(|c| {
            Box::pin(async move {
                sqlx::query("DROP TABLE schema_migration").execute(c).await?;
                Ok(())
            })
        })
        .await;
    dropped.unwrap();
    assert!(matches!(Db::open_existing(&test.config).await, Err(DbError::Missing(_))));
}
