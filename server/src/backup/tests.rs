//! Backups of real databases, always embedded ones.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use sqlx::{Executor as _, Row as _};

use super::generation::{Generation, SECRETS};
use super::online::{MANIFEST, backup};
use super::restore::{RestoreError, Restored, Secrets, restore};
use super::ship::{ShipError, ShipOptions, Shipper};
use super::{DATABASE, piece};
use crate::db::{Db, DbConfig, DbError, Location};
use crate::keys::ServerKeys;
use crate::keys::file::FOLDER as KEYS;

struct Server {
    dir: tempfile::TempDir,
    db: Db,
    keys: ServerKeys,
}

impl Server {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("data")).unwrap();
        let db = open(&dir.path().join("data")).await;
        let keys = ServerKeys::load(&db, &dir.path().join("data")).await.unwrap();
        execute(&db, "CREATE TABLE word (number BIGINT PRIMARY KEY, filler BLOB)").await;
        Self { dir, db, keys }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn shipper(&self) -> Shipper {
        shipper(&self.db, self.dir.path()).await
    }

    async fn restore(&self, from: &str, at: Option<u64>) -> Result<(Restored, BTreeSet<i64>), RestoreError> {
        let target = self.path(&format!("restored-{}", hex::encode(cyx_core::ids::random_bytes::<4>())));
        let restored = restore(&self.path(from), at, &target, Secrets::SigningKeys).await?;
        let db = open(&target).await;
        let numbers = numbers(&db).await;
        let keys = ServerKeys::load(&db, &target).await.unwrap();
        assert_eq!(keys.id(), self.keys.id(), "the signing key came along");
        assert_eq!(keys.incarnation(), restored.incarnation);
        assert!(restored.incarnation.time > self.keys.incarnation().time);
        db.close().await;
        Ok((restored, numbers))
    }
}

async fn open(data_dir: &Path) -> Db {
    let location = Location::Sqlite(data_dir.join(DATABASE));
    Db::open(&DbConfig { location, connections: 2 }).await.unwrap()
}

async fn shipper(db: &Db, dir: &Path) -> Shipper {
    let options = ShipOptions { folder: dir.join("shipped"), data_dir: dir.join("data"), keep: Duration::ZERO };
    Shipper::start(db, options).await.unwrap()
}

async fn execute(db: &Db, text: &'static str) {
    let write = db.write(move |conn| {
        Box::pin(async move {
            conn.execute(sqlx::raw_sql(text)).await?;
            Ok::<_, DbError>(())
        })
    });
    write.await.unwrap();
}

/// Writes a row with this many random bytes.
async fn add(db: &Db, number: i64, filler: i64) {
    let write = db.write(move |conn| {
        Box::pin(async move {
            let text = "INSERT INTO word (number, filler) VALUES ($1, randomblob($2))";
            sqlx::query(text).bind(number).bind(filler).execute(conn).await?;
            Ok::<_, DbError>(())
        })
    });
    write.await.unwrap();
}

async fn numbers(db: &Db) -> BTreeSet<i64> {
    let mut read = db.read().await.unwrap();
    let rows = sqlx::query("SELECT number FROM word").fetch_all(&mut *read).await.unwrap();
    rows.iter().map(|row| row.get::<i64, _>(0)).collect()
}

fn generations(server: &Server) -> Vec<Generation> {
    Generation::list(&server.path("shipped")).unwrap()
}

#[tokio::test]
async fn a_backup_of_a_running_server_comes_back_as_another_incarnation() {
    let server = Server::new().await;
    std::fs::write(server.path("data/jwt.secret"), b"the secret of tokens").unwrap();
    add(&server.db, 1, 10_000).await;
    backup(&server.db, &server.path("data"), &server.path("copy")).await.unwrap();
    add(&server.db, 2, 10).await;
    let (restored, found) = server.restore("copy", None).await.unwrap();
    assert_eq!(found, BTreeSet::from([1]));
    assert_eq!(restored.replayed, None);
    assert!(matches!(server.restore("copy", Some(1)).await, Err(RestoreError::NoTimes)));
    let again = backup(&server.db, &server.path("data"), &server.path("copy")).await;
    assert!(again.is_err(), "a backup never overwrites another");
    let target = server.path("with-secret");
    restore(&server.path("copy"), None, &target, Secrets::All).await.unwrap();
    assert_eq!(std::fs::read(target.join("jwt.secret")).unwrap(), b"the secret of tokens");
    let twice = restore(&server.path("copy"), None, &target, Secrets::All).await;
    assert!(matches!(twice, Err(RestoreError::Exists(_))));
}

#[tokio::test]
async fn a_damaged_or_incomplete_backup_is_refused_and_leaves_nothing_behind() {
    let server = Server::new().await;
    backup(&server.db, &server.path("data"), &server.path("copy")).await.unwrap();
    let file = server.path("copy").join(DATABASE);
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[5000] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    assert!(matches!(server.restore("copy", None).await, Err(RestoreError::Damaged(_))));
    std::fs::remove_file(server.path("copy").join(MANIFEST)).unwrap();
    assert!(matches!(server.restore("copy", None).await, Err(RestoreError::NoBackup(_))));
    let left: Vec<String> = std::fs::read_dir(server.dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("restored"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_copy_without_its_secrets_is_restored_only_if_that_is_meant() {
    let server = Server::new().await;
    backup(&server.db, &server.path("data"), &server.path("copy")).await.unwrap();
    let restored = async |secrets| restore(&server.path("copy"), None, &server.path("again"), secrets).await;
    assert!(matches!(restored(Secrets::All).await, Err(RestoreError::NoTokenSecret(_))));
    std::fs::remove_dir_all(server.path("copy/secrets")).unwrap();
    assert!(matches!(restored(Secrets::SigningKeys).await, Err(RestoreError::NoSigningKeys(_))));
    assert!(!server.path("again").exists());
    restored(Secrets::Any).await.unwrap();
}

#[tokio::test]
async fn everything_committed_before_the_last_ship_is_restored() {
    let server = Server::new().await;
    let mut shipper = server.shipper().await;
    add(&server.db, 0, 10).await;
    shipper.flush().await.unwrap();
    let mut shipped = 0;
    for number in 1..=18 {
        add(&server.db, number, 1_000_000).await;
        if number % 3 == 0 {
            shipper.step().await.unwrap();
            shipped = number;
        }
    }
    let wal = std::fs::metadata(server.path("data").join("cyx.db-wal")).unwrap().len();
    assert!(wal < 18 * 1_000_000, "the log was checkpointed meanwhile: {wal} bytes");
    add(&server.db, 1000, 10).await;
    let logs: BTreeSet<u64> =
        piece::list(&generations(&server)[0].wal()).unwrap().iter().map(|(head, _)| head.log).collect();
    assert!(logs.len() >= 2, "{logs:?}");
    let (restored, found) = server.restore("shipped", None).await.unwrap();
    assert_eq!(found, (0..=shipped).collect());
    assert!(restored.replayed.is_some_and(|replayed| replayed.commits >= 18));
    assert_eq!(generations(&server).len(), 1);
}

#[tokio::test]
async fn no_two_servers_ship_into_one_folder_and_whoever_comes_after_one_may() {
    let server = Server::new().await;
    let first = server.shipper().await;
    let options =
        ShipOptions { folder: server.path("shipped"), data_dir: server.path("elsewhere"), keep: Duration::ZERO };
    let refused = Shipper::start(&server.db, options).await.map(drop).unwrap_err();
    assert!(matches!(&refused, ShipError::Taken(folder) if *folder == server.path("shipped")), "{refused}");
    drop(first);
    server.shipper().await;
}

#[tokio::test]
async fn any_shipped_time_can_be_restored() {
    let server = Server::new().await;
    let mut shipper = server.shipper().await;
    let mut times = Vec::new();
    for number in 1..=5 {
        add(&server.db, number, 10).await;
        shipper.flush().await.unwrap();
        let generation = generations(&server).pop().unwrap();
        times.push((generation.newest().unwrap(), number));
        // The next piece gets a later time.
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    for (time, number) in &times {
        let (restored, found) = server.restore("shipped", Some(*time)).await.unwrap();
        assert_eq!((restored.until, found), (*time, (1..=*number).collect()));
    }
    assert!(matches!(server.restore("shipped", Some(5)).await, Err(RestoreError::NoBackup(_))));
}

#[tokio::test]
async fn a_missing_or_damaged_piece_is_named_and_what_came_before_it_can_be_had() {
    let server = Server::new().await;
    let mut shipper = server.shipper().await;
    for number in 1..=4 {
        add(&server.db, number, 10).await;
        shipper.flush().await.unwrap();
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let pieces = piece::list(&generations(&server)[0].wal()).unwrap();
    assert_eq!(pieces.len(), 4);
    let (last, third) = (&pieces[3].1, &pieces[2]);
    let whole = std::fs::read(last).unwrap();
    let mut changed = whole.clone();
    let end = changed.len() - 1;
    changed[end] ^= 1;
    std::fs::write(last, changed).unwrap();
    let refused = server.restore("shipped", None).await.unwrap_err().to_string();
    assert!(refused.contains("damaged") && refused.contains("--at"), "{refused}");
    assert_eq!(server.restore("shipped", Some(third.0.time)).await.unwrap().1, (1..=3).collect());
    std::fs::write(last, whole).unwrap();
    std::fs::remove_file(&third.1).unwrap();
    let refused = server.restore("shipped", None).await.unwrap_err().to_string();
    assert!(refused.contains("missing"), "{refused}");
}

#[tokio::test]
async fn a_checkpoint_by_somebody_else_begins_a_new_generation() {
    let server = Server::new().await;
    let mut shipper = server.shipper().await;
    add(&server.db, 1, 10).await;
    shipper.flush().await.unwrap();
    add(&server.db, 2, 10).await;
    let mut other = server.db.connect().await.unwrap();
    other.execute(sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)")).await.unwrap();
    add(&server.db, 3, 10).await;
    shipper.flush().await.unwrap();
    assert_eq!(generations(&server).len(), 2);
    assert_eq!(server.restore("shipped", None).await.unwrap().1, (1..=3).collect());
}

#[tokio::test]
async fn a_reader_that_stays_long_delays_the_checkpoint_and_loses_nothing() {
    let server = Server::new().await;
    let mut shipper = server.shipper().await;
    add(&server.db, 0, 10).await;
    shipper.flush().await.unwrap();
    let mut reader = server.db.read().await.unwrap();
    sqlx::query("SELECT number FROM word").fetch_all(&mut *reader).await.unwrap();
    for number in 1..=12 {
        add(&server.db, number, 1_000_000).await;
        shipper.step().await.unwrap();
    }
    drop(reader);
    for number in 13..=16 {
        add(&server.db, number, 1_000_000).await;
        shipper.step().await.unwrap();
    }
    assert_eq!(server.restore("shipped", None).await.unwrap().1, (0..=16).collect());
    assert_eq!(generations(&server).len(), 1);
}

#[tokio::test]
async fn a_server_that_stopped_and_started_goes_on_in_its_generation() {
    let server = Server::new().await;
    add(&server.db, 1, 10).await;
    stop(&server.db, server.shipper().await).await;
    assert_eq!(server.restore("shipped", None).await.unwrap().1, BTreeSet::from([1]));
    // With much to write, with little, and with nothing at all.
    for (number, filler) in [(2, 3_000_000), (3, 10), (0, 0)] {
        let db = open(&server.path("data")).await;
        let shipper = shipper(&db, server.dir.path()).await;
        if number > 0 {
            add(&db, number, filler).await;
        }
        stop(&db, shipper).await;
    }
    assert!(!server.path("data").join(format!("{DATABASE}-wal")).exists());
    let db = open(&server.path("data")).await;
    let mut last = shipper(&db, server.dir.path()).await;
    add(&db, 4, 10).await;
    last.flush().await.unwrap();
    assert_eq!(server.restore("shipped", None).await.unwrap().1, (1..=4).collect());
    assert_eq!(generations(&server).len(), 1);
    // A crash right after such a start loses nothing either.
    drop(last);
    let mut after_crash = shipper(&db, server.dir.path()).await;
    add(&db, 5, 10).await;
    after_crash.flush().await.unwrap();
    assert_eq!(server.restore("shipped", None).await.unwrap().1, (1..=5).collect());
}

#[tokio::test]
async fn a_database_that_changed_while_the_server_was_away_begins_a_new_generation() {
    let server = Server::new().await;
    add(&server.db, 1, 10).await;
    stop(&server.db, server.shipper().await).await;
    let db = open(&server.path("data")).await;
    add(&db, 2, 10).await;
    db.close().await;
    let db = open(&server.path("data")).await;
    let mut second = shipper(&db, server.dir.path()).await;
    add(&db, 3, 10).await;
    second.flush().await.unwrap();
    assert_eq!(generations(&server).len(), 2);
    assert_eq!(server.restore("shipped", None).await.unwrap().1, (1..=3).collect());
}

/// Stops as a server does: the shipper last.
async fn stop(db: &Db, shipper: Shipper) {
    let stop = tokio_util::sync::CancellationToken::new();
    let task = tokio::spawn(shipper.run(stop.clone()));
    db.close().await;
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn a_crashed_shipper_goes_on_in_its_generation() {
    let server = Server::new().await;
    let mut first = server.shipper().await;
    add(&server.db, 1, 10).await;
    first.flush().await.unwrap();
    drop(first);
    add(&server.db, 2, 10).await;
    let mut second = server.shipper().await;
    second.step().await.unwrap();
    assert_eq!(second.generation(), Some(generations(&server)[0].folder.as_path()));
    assert_eq!(generations(&server).len(), 1);
    assert_eq!(server.restore("shipped", None).await.unwrap().1, BTreeSet::from([1, 2]));
}

#[tokio::test]
async fn a_folder_that_goes_away_holds_up_nothing_and_is_caught_up_with() {
    let server = Server::new().await;
    let mut shipper = server.shipper().await;
    add(&server.db, 1, 10).await;
    shipper.flush().await.unwrap();
    std::fs::rename(server.path("shipped"), server.path("away")).unwrap();
    std::fs::write(server.path("shipped"), b"not a folder").unwrap();
    for number in 2..=12 {
        add(&server.db, number, 1_000_000).await;
        assert!(shipper.step().await.is_err());
    }
    std::fs::remove_file(server.path("shipped")).unwrap();
    std::fs::rename(server.path("away"), server.path("shipped")).unwrap();
    shipper.step().await.unwrap();
    assert_eq!(server.restore("shipped", None).await.unwrap().1, (1..=12).collect());
    assert_eq!(generations(&server).len(), 1, "nothing had to begin anew");
}

#[tokio::test]
async fn changes_go_on_while_a_generation_is_copied() {
    let server = Server::new().await;
    let mut shipper = server.shipper().await;
    for number in 0..30 {
        add(&server.db, number, 50_000).await;
        // The first steps begin a copy and adopt it whenever it is finished.
        shipper.step().await.unwrap();
    }
    shipper.flush().await.unwrap();
    assert_eq!(server.restore("shipped", None).await.unwrap().1, (0..30).collect());
}

/// Waits for a copy to be made; the shipper has not heard of it.
async fn copied(server: &Server) -> PathBuf {
    loop {
        for entry in std::fs::read_dir(server.path("shipped/generations")).unwrap() {
            let copy = entry.unwrap().path().join("base.copy");
            if copy.exists() {
                return copy;
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A shipper that went on in a generation which is a day old by now, and has begun to copy another one. Row 1 is shipped.
async fn after_a_day(server: &Server) -> Shipper {
    let mut first = server.shipper().await;
    add(&server.db, 1, 10).await;
    first.flush().await.unwrap();
    drop(first);
    let generation = generations(server).pop().unwrap();
    let name = format!("{:016}-old", generation.began - 25 * 3_600_000);
    std::fs::rename(&generation.folder, generation.folder.with_file_name(name)).unwrap();
    let mut second = server.shipper().await;
    second.step().await.unwrap();
    assert_eq!(second.generation(), Some(generations(server)[0].folder.as_path()));
    second
}

/// Steps until a second generation is finished.
async fn turned(server: &Server, shipper: &mut Shipper) {
    while generations(server).len() < 2 {
        shipper.step().await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_generation_ends_after_a_day_even_if_the_server_restarts() {
    let server = Server::new().await;
    let mut shipper = after_a_day(&server).await;
    turned(&server, &mut shipper).await;
    assert_eq!(server.restore("shipped", None).await.unwrap().1, BTreeSet::from([1]));
}

#[tokio::test]
async fn a_stop_ships_the_last_changes_and_waits_for_no_copy() {
    let server = Server::new().await;
    drop(after_a_day(&server).await);
    // A key that nobody writes: copying it never ends.
    let data_dir = server.path("hangs");
    std::fs::create_dir_all(data_dir.join(KEYS)).unwrap();
    let pipe = data_dir.join(KEYS).join("never.key");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let options = ShipOptions { folder: server.path("shipped"), data_dir, keep: Duration::ZERO };
    let mut shipper = Shipper::start(&server.db, options).await.unwrap();
    shipper.step().await.unwrap();
    let entries = std::fs::read_dir(server.path("shipped/generations")).unwrap();
    let copying = entries.map(|entry| entry.unwrap().path()).max().unwrap();
    while !copying.join(SECRETS).join(KEYS).exists() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    add(&server.db, 2, 10).await;
    stop(&server.db, shipper).await;
    // Lets the copy go, for which the test would wait.
    std::fs::File::options().write(true).open(&pipe).unwrap();
    assert!(!copying.exists(), "half a copy takes no space");
    assert_eq!(generations(&server).len(), 1);
    assert_eq!(server.restore("shipped", None).await.unwrap().1, BTreeSet::from([1, 2]));
}

#[tokio::test]
async fn the_newest_generation_is_the_last_even_if_the_clock_was_put_back() {
    let server = Server::new().await;
    let mut first = server.shipper().await;
    add(&server.db, 1, 10).await;
    first.flush().await.unwrap();
    drop(first);
    let old = generations(&server).pop().unwrap();
    let ahead = old.folder.with_file_name(format!("{:016}-old", old.began + 365 * 86_400_000));
    std::fs::rename(&old.folder, &ahead).unwrap();
    let mut second = server.shipper().await;
    second.flush().await.unwrap();
    assert_eq!(second.generation(), Some(ahead.as_path()));
    let mut other = server.db.connect().await.unwrap();
    other.execute(sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)")).await.unwrap();
    add(&server.db, 2, 10).await;
    second.flush().await.unwrap();
    assert_ne!(second.generation(), Some(ahead.as_path()));
    assert_eq!(second.generation(), generations(&server).last().map(|last| last.folder.as_path()));
    assert_eq!(server.restore("shipped", None).await.unwrap().1, BTreeSet::from([1, 2]));
}

#[tokio::test]
async fn a_copy_is_restored_only_when_the_log_behind_it_is_shipped() {
    let server = Server::new().await;
    let mut shipper = after_a_day(&server).await;
    add(&server.db, 2, 10).await;
    copied(&server).await;
    let old = generations(&server);
    assert_eq!(old.len(), 1);
    // What came up to now is shipped where it can be restored from, by a second one that is kept from seeing the first.
    std::fs::remove_file(server.path("shipped/shipping.lock")).unwrap();
    let mut other = server.shipper().await;
    other.step().await.unwrap();
    drop(other);
    let now = u64::try_from(crate::time::now_ns() / 1_000_000).unwrap();
    for at in [None, Some(now)] {
        assert_eq!(server.restore("shipped", at).await.unwrap().1, BTreeSet::from([1, 2]), "{at:?}");
    }
    tokio::time::sleep(Duration::from_millis(3)).await;
    add(&server.db, 3, 10).await;
    turned(&server, &mut shipper).await;
    let all = generations(&server);
    assert!(!all[1].folder.join("base.copy").exists());
    // Before the new one has everything, the old one is what there is.
    let from = all[1].began;
    assert!(from > now, "{from} {now}");
    assert_eq!(server.restore("shipped", Some(from)).await.unwrap().1, (1..=3).collect());
    assert!(server.restore("shipped", Some(from - 1)).await.unwrap().1.is_superset(&BTreeSet::from([1, 2])));
    add(&server.db, 4, 10).await;
    shipper.step().await.unwrap();
    assert_eq!(server.restore("shipped", None).await.unwrap().1, (1..=4).collect());
}

#[tokio::test]
async fn a_copy_that_somebody_checkpointed_under_is_given_up() {
    let server = Server::new().await;
    let mut shipper = after_a_day(&server).await;
    let copy = copied(&server).await;
    add(&server.db, 2, 10).await;
    let mut other = server.db.connect().await.unwrap();
    other.execute(sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)")).await.unwrap();
    add(&server.db, 3, 10).await;
    shipper.flush().await.unwrap();
    assert!(!copy.exists());
    assert_eq!(generations(&server).len(), 2);
    assert_eq!(server.restore("shipped", None).await.unwrap().1, (1..=3).collect());
}

/// The database that the other half of [`another_process_leaves_the_log_of_a_running_server_alone`] opens and closes.
const OTHER_VARIABLE: &str = "CYX_TEST_OTHER_DATABASE";

/// Runs in a process of its own: locks are between processes.
#[tokio::test]
async fn the_half_that_opens_and_closes() {
    let Ok(data_dir) = std::env::var(OTHER_VARIABLE) else { return };
    let db = open(Path::new(&data_dir)).await;
    assert_eq!(numbers(&db).await, BTreeSet::from([1, 2]));
    db.close().await;
}

#[tokio::test]
async fn another_process_leaves_the_log_of_a_running_server_alone() {
    let server = Server::new().await;
    let mut shipper = server.shipper().await;
    add(&server.db, 1, 10).await;
    shipper.flush().await.unwrap();
    add(&server.db, 2, 10).await;
    let other = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "backup::tests::the_half_that_opens_and_closes", "--test-threads=1"])
        .env(OTHER_VARIABLE, server.path("data"))
        .output()
        .unwrap();
    assert!(other.status.success(), "{other:?}");
    assert!(server.path("data").join(format!("{DATABASE}-wal")).exists());
    add(&server.db, 3, 10).await;
    shipper.flush().await.unwrap();
    assert_eq!(generations(&server).len(), 1);
    assert_eq!(server.restore("shipped", None).await.unwrap().1, (1..=3).collect());
}

#[tokio::test]
async fn a_log_that_was_never_shipped_shows_as_old() {
    let server = Server::new().await;
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let page = recorder.handle();
    // Of this thread, on which all of the test runs: other tests ship at the same time.
    let _collecting = metrics::set_default_local_recorder(&recorder);
    let _shipper = server.shipper().await;
    let said = page.render();
    assert!(said.lines().any(|line| line == "cyx_wal_shipped_at_seconds 0"), "{said}");
}
