//! A server that ships its log is killed while it writes; what it had acknowledged comes back.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking, as tests do")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cyx_server::backup::generation::Generation;
use cyx_server::backup::restore::{Secrets, restore};
use cyx_server::db::{Db, DbConfig, Location};
use sqlx::Row as _;

const TOKEN: &str = "a token for enrolling";
/// How long anything may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running server, killed when dropped.
struct Server {
    child: Child,
    http: String,
}

impl Server {
    fn start(dir: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_cyx-server"))
            .args(["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--print-ready", "--allow-colocated"])
            .arg("--data-dir")
            .arg(dir.join("data"))
            .arg("--ship-wal")
            .arg(dir.join("shipped"))
            .env("CYX_ENROLL_TOKEN", TOKEN)
            .env("RUST_LOG", "warn")
            .env_remove("DATABASE_URL")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
        let http = format!("http://{}", ready["http"].as_str().unwrap());
        Self { child, http }
    }

    /// SIGKILL: nothing is flushed, nothing is closed.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn unix_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// Machines by id, and when their registration was acknowledged.
type Acknowledged = Arc<Mutex<BTreeMap<String, u64>>>;

/// Registers machines one after the other until told to stop, or until the server is gone.
async fn register(http: String, name: String, acknowledged: Acknowledged, stop: Arc<AtomicBool>) {
    let client = reqwest::Client::new();
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let hardware = serde_json::json!({"cpus": 1, "gpus": 0, "ram_mb": 1});
        let body = serde_json::json!({"hostname": format!("{name}-{number}"), "os": "linux", "hardware": hardware});
        let sent = client.post(format!("{http}/api/machines/register")).bearer_auth(TOKEN).json(&body).send().await;
        let Ok(answer) = sent else { return };
        if answer.status() == reqwest::StatusCode::TOO_MANY_REQUESTS {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        }
        assert!(answer.status().is_success(), "{}", answer.status());
        let Ok(answer) = answer.json::<serde_json::Value>().await else { return };
        let id = answer["machine_id"].as_str().unwrap().to_owned();
        acknowledged.lock().unwrap().insert(id, unix_ms());
        number += 1;
    }
}

/// When the newest piece of the newest generation was shipped; 0 if there is none.
fn shipped_until(dir: &Path) -> u64 {
    let newest = Generation::list(&dir.join("shipped")).unwrap().pop();
    newest.map_or(0, |generation| generation.newest().unwrap())
}

async fn machines(data_dir: &Path) -> Vec<String> {
    let location = Location::Sqlite(data_dir.join("cyx.db"));
    let db = Db::open(&DbConfig { location, connections: 1 }).await.unwrap();
    let mut read = db.read().await.unwrap();
    let rows = sqlx::query("SELECT id FROM machine").fetch_all(&mut *read).await.unwrap();
    let found = rows.iter().map(|row| hex::encode(row.get::<Vec<u8>, _>(0))).collect();
    drop(read);
    db.close().await;
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_before_the_last_ship_survives_the_loss_of_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let acknowledged = Acknowledged::default();
    let mut checked = 0;
    for round in 0..4_u32 {
        let server = Server::start(dir.path());
        let began = unix_ms();
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..3)
            .map(|writer| {
                let (http, name) = (server.http.clone(), format!("m-{round}-{writer}"));
                tokio::spawn(register(http, name, Arc::clone(&acknowledged), Arc::clone(&stop)))
            })
            .collect();
        // Until enough of this round was shipped; then at whatever point the server happens to be.
        let wanted = 5 + 7 * round as usize;
        let waited = tokio::time::Instant::now();
        loop {
            let until = shipped_until(dir.path());
            let covered = acknowledged.lock().unwrap().values().filter(|at| (began..until).contains(*at)).count();
            if covered >= wanted {
                break;
            }
            assert!(waited.elapsed() < PATIENCE, "only {covered} of {wanted} were shipped");
            tokio::time::sleep(Duration::from_millis(u64::from(10 + 13 * round))).await;
        }
        server.kill();
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.await.unwrap();
        }

        // The disk of the server is gone; only what was shipped is left.
        let restored_dir = dir.path().join(format!("restored-{round}"));
        let restored = restore(&dir.path().join("shipped"), None, &restored_dir, Secrets::All).await.unwrap();
        let found = machines(&restored_dir).await;
        for (id, at) in acknowledged.lock().unwrap().iter().filter(|(_, at)| **at < restored.until) {
            assert!(found.contains(id), "machine {id}, acknowledged at {at}, is missing at {}", restored.until);
            checked += 1;
        }
        // The disk is not gone after all, and the next round goes on with it.
    }
    assert!(checked >= 4 * 5);
    let all = machines(&dir.path().join("data")).await;
    assert!(acknowledged.lock().unwrap().keys().all(|id| all.contains(id)), "the database itself loses nothing");
}
