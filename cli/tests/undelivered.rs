//! Answers that do not arrive, and output that nobody takes: what was done is not said to have failed, and what is shown only once is not
//! lost.

#![allow(clippy::unwrap_used)]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use cyx_tests::user::PASSWORD;
use cyx_tests::{Cluster, Run, User};
use serde_json::Value;

/// A way to a server that passes everything on, except the answers to calls of one kind: the server carries them out, and nobody hears of it.
struct Way {
    address: SocketAddr,
    state: Arc<State>,
    carried_out: Receiver<()>,
}

#[derive(Default)]
struct State {
    /// How such a call begins, and whether its connection is kept open.
    lost: Mutex<Option<(&'static str, bool)>>,
    /// Nothing else gets through any more either.
    cut: AtomicBool,
}

impl Way {
    fn to(gateway: &str) -> Self {
        let server = gateway.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, state) = (listener.local_addr().unwrap(), Arc::<State>::default());
        let (sender, carried_out) = channel();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&server) else { continue };
                let (state, sender) = (Arc::clone(&shared), sender.clone());
                thread::spawn(move || pass(client, server, &state, &sender));
            }
        });
        Self { address, state, carried_out }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Loses the answer of the next call that begins so, and cuts everything off from there on, or keeps the connection of that call.
    fn lose(&self, call: &'static str, keep: bool) {
        *self.state.lost.lock().unwrap() = Some((call, keep));
    }

    fn mend(&self) {
        *self.state.lost.lock().unwrap() = None;
        self.state.cut.store(false, Ordering::Release);
    }
}

/// Passes on what comes in either direction.
fn pass(client: TcpStream, server: TcpStream, state: &Arc<State>, sender: &Sender<()>) {
    let lost = Arc::new(Mutex::new(None));
    let (mut up, mut down) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let (shared, losing) = (Arc::clone(state), Arc::clone(&lost));
    thread::spawn(move || {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = up.read(&mut bytes) {
            if shared.cut.load(Ordering::Acquire) {
                break;
            }
            let call = *shared.lost.lock().unwrap();
            if let Some((call, keep)) = call
                && bytes[..count].starts_with(call.as_bytes())
            {
                *losing.lock().unwrap() = Some(keep);
            }
            if down.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        let _ = (up.shutdown(Shutdown::Both), down.shutdown(Shutdown::Both));
    });
    let (mut client, mut server) = (client, server);
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = server.read(&mut bytes) {
        match *lost.lock().unwrap() {
            None if client.write_all(&bytes[..count]).is_ok() => continue,
            None => break,
            Some(keep) => {
                state.cut.store(!keep, Ordering::Release);
                let _ = sender.send(());
                if !keep {
                    break;
                }
            }
        }
    }
    let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
}

/// A cluster, and somebody who reaches it by such a way and has the bucket `docs`.
fn world() -> (Cluster, Way, User) {
    let cluster = Cluster::start(1);
    let way = Way::to(&cluster.gateway());
    let user = User::register_via(&cluster, "ada", way.url());
    user.ok(["bucket", "create", "docs"]);
    (cluster, way, user)
}

/// The arguments that go on with a command once its code has come.
fn begun(cluster: &Cluster, user: &User, args: &[&str]) -> Vec<String> {
    let known = cluster.mails_with_codes(&user.email);
    let id = user.ok(args.iter().chain(&["--begin", "--json"])).json()["session_id"].as_str().unwrap().to_owned();
    let code = cluster.new_code(&user.email, &known);
    let more = ["--json", "--session", &id, "--otp", &code];
    args.iter().chain(&more).map(|arg| (*arg).to_owned()).collect()
}

/// The words that were printed, of which nobody knows whether they count.
fn unconfirmed(run: &Run) -> String {
    assert_eq!(run.code, 6, "{run:?}");
    assert!(run.stderr.contains("not known whether the new recovery words count"), "{run:?}");
    words_of(&run.json())
}

fn words_of(document: &Value) -> String {
    assert!(document["confirmed"].is_null() && document.get("confirmed").is_some(), "{document}");
    let words = document["recovery_words"].as_str().unwrap().to_owned();
    assert_eq!(words.split(' ').count(), 24);
    words
}

/// Sets a new password with recovery words.
fn recover(cluster: &Cluster, user: &User, words: &str, more: &[&str], before: impl FnOnce()) -> Run {
    let args = begun(cluster, user, &["recover"]);
    before();
    let mut command = user.command(args);
    command.args(more).env("CYXCLOUD_RECOVERY_WORDS", words).env("CYXCLOUD_PASSWORD", format!("{PASSWORD}-2"));
    Run::of(command)
}

/// Where this machine remembers what it saw of the account.
fn memory(user: &User) -> PathBuf {
    let mut folders = std::fs::read_dir(user.home().join("state")).unwrap().flatten().map(|entry| entry.path());
    folders.find(|path| path.is_dir()).unwrap()
}

/// Runs a command whose standard output nobody reads.
fn unread(user: &User, args: &[&str]) -> Run {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = user.command(args);
    let output = command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    Run { code: output.status.code().unwrap_or(-1), stdout: output.stdout, stderr }
}

#[test]
fn new_recovery_words_are_not_lost_with_the_answer() {
    let (cluster, way, user) = world();
    let args = begun(&cluster, &user, &["account", "words"]);
    way.lose("PUT /api/auth/recovery ", false);
    let words = unconfirmed(&user.cyx(args));
    way.mend();

    let lose = || way.lose("POST /api/auth/recover/finish ", false);
    let renewed = unconfirmed(&recover(&cluster, &user, &words, &["--new-words"], lose));
    way.mend();
    let run = recover(&cluster, &user, &renewed, &[], || {});
    assert_eq!(run.code, 0, "the server had carried it out: {run:?}");
}

#[test]
fn new_recovery_words_are_shown_before_they_count() {
    let (cluster, way, user) = world();
    let args: Vec<String> =
        begun(&cluster, &user, &["account", "words"]).into_iter().filter(|arg| arg != "--json").collect();
    way.lose("PUT /api/auth/recovery ", false);
    let run = user.cyx(args);
    assert_eq!((run.code, String::from_utf8_lossy(&run.stdout).split_whitespace().count()), (6, 24), "{run:?}");
    way.mend();
    let wrong = user.cyx(["account", "words", "--json", "--session", "none", "--otp", "000000"]);
    assert!(wrong.code != 0 && wrong.stdout.is_empty(), "{wrong:?}");
    assert!(wrong.stderr.contains("The recovery words of before still count."), "{wrong:?}");
}

#[test]
fn no_signal_loses_recovery_words() {
    use rustix::process::{Pid, Signal, kill_process};
    let (cluster, way, user) = world();
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let args = begun(&cluster, &user, &["account", "words"]);
        way.lose("PUT /api/auth/recovery ", true);
        let mut command: Command = user.command(args);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        way.carried_out.recv().unwrap();
        kill_process(Pid::from_child(&child), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        words_of(&serde_json::from_slice(&output.stdout).unwrap());
        way.mend();
    }
}

#[test]
fn whose_answer_is_lost_is_told_how_to_find_out() {
    let (cluster, way, user) = world();
    let args = begun(&cluster, &user, &["apikey", "create", "--name", "ci"]);
    way.lose("POST /api/auth/api-keys ", false);
    let run = user.cyx(args);
    assert_eq!(run.code, 6, "{run:?}");
    assert!(run.stderr.contains("It is not known whether there is a key of this name now"), "{run:?}");
    way.mend();
    assert_eq!(user.ok(["apikey", "list", "--json"]).json_lines().len(), 1);

    let args = begun(&cluster, &user, &["passwd"]);
    way.lose("POST /api/auth/password ", false);
    let mut command = user.command(args);
    command.env("CYXCLOUD_NEW_PASSWORD", format!("{PASSWORD}-2"));
    let run = Run::of(command);
    assert_eq!(run.code, 6, "{run:?}");
    assert!(run.stderr.contains("It is not known which password counts"), "{run:?}");
}

#[test]
fn an_account_key_whose_answer_is_lost_may_have_been_replaced() {
    let (cluster, way, user) = world();
    let args = begun(&cluster, &user, &["rotate", "--account", "--all-buckets", "--yes"]);
    way.lose("POST /api/auth/account-key ", false);
    let run = user.cyx(args);
    assert!(!run.stderr.contains("not replaced"), "{run:?}");
    unconfirmed(&run);
    assert!(memory(&user).join("rotations/planned.json").exists());
    way.mend();
    // What was planned is gone on with.
    assert_eq!(user.ok(["rotate", "--resume", "--json"]).json()["bucket"], "docs");
}

#[test]
fn an_account_key_that_this_machine_cannot_take_note_of_is_replaced_all_the_same() {
    let (cluster, _way, user) = world();
    let lock = memory(&user).join("lock");
    let _ = std::fs::remove_file(&lock);
    std::fs::create_dir(&lock).unwrap();
    let run = user.confirmed(&cluster, &["rotate", "--account", "--all-buckets", "--yes", "--json"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(!run.stderr.contains("not replaced") && run.stderr.contains("the account key is replaced"), "{run:?}");
    assert_eq!(run.json()["account_key_epoch"], 1);
    assert_eq!(run.json()["recovery_words"].as_str().unwrap().split(' ').count(), 24);
    assert!(memory(&user).join("rotations/planned.json").exists());

    std::fs::remove_dir(&lock).unwrap();
    assert_eq!(user.ok(["rotate", "--resume", "--json"]).json()["bucket"], "docs");
}

#[test]
fn a_refusal_to_replace_the_account_key_leaves_the_plan_of_an_earlier_run() {
    let (_cluster, _way, user) = world();
    user.ok(["bucket", "create", "music"]);
    let id = user.ok(["bucket", "list", "--json"]).json_lines()[0]["id"].clone();
    let planned = memory(&user).join("rotations/planned.json");
    std::fs::create_dir_all(planned.parent().unwrap()).unwrap();
    std::fs::write(&planned, Value::Array(vec![id.clone()]).to_string()).unwrap();
    let args = ["rotate", "--account", "--all-buckets", "--yes", "--session", "none", "--otp", "000000"];
    let run = user.cyx(args);
    assert!(run.code != 0 && run.stderr.contains("The key was not replaced"), "{run:?}");
    let left: Value = serde_json::from_slice(&std::fs::read(&planned).unwrap()).unwrap();
    assert_eq!(left, Value::Array(vec![id]));
}

#[test]
fn what_was_asked_for_is_done_also_if_nobody_hears_of_it() {
    let (cluster, _way, user) = world();
    let run = unread(&user, &["mkdir", "docs", "x", "y", "z", "--json"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.contains("cannot write to standard output"), "{run:?}");
    assert_eq!(user.ok(["list", "docs", "--json"]).json_lines().len(), 3);

    let good = user.file("good", b"good");
    let missing = user.path("missing");
    let paths = [good.to_str().unwrap(), missing.to_str().unwrap()];
    let run = unread(&user, &["upload", paths[0], paths[1], "-b", "docs", "--json"]);
    assert_eq!(run.code, 8, "{run:?}");
    assert_eq!(user.read("docs", "good"), b"good");

    let run = unread(&user, &["delete", "docs", "x", "nothing", "y", "z", "-r", "--json"]);
    assert_eq!(run.code, 8, "{run:?}");
    assert_eq!(user.ok(["list", "docs", "--json"]).json_lines().len(), 1);
    let run = unread(&user, &["trash", "restore", "docs", "x", "y", "--json"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert_eq!(user.ok(["list", "docs", "--json"]).json_lines().len(), 3);

    let made = |name: &str| begun(&cluster, &user, &["apikey", "create", "--name", name]);
    let args = made("unheard");
    let run = unread(&user, &args.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.contains("could not be printed. Revoke it with `cyx apikey revoke "), "{run:?}");
    user.ok(made("heard"));
    let keys = || user.ok(["apikey", "list", "--json"]).json_lines();
    let ids: Vec<String> = keys().iter().map(|key| key["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(unread(&user, &["apikey", "revoke", &ids[0], &ids[1], "--json"]).code, 1);
    assert!(keys().is_empty());

    // Whoever closes what only shows something has seen what it wanted.
    for shows in [
        &["list", "docs"][..],
        &["cat", "docs", "good"],
        &["whoami"],
        &["trash", "list", "docs"],
        &["upload", paths[0], "-b", "docs", "-n", "-q"],
        &["download", "docs", "-k", "x", "-r", "-n", "-q"],
    ] {
        let run = unread(&user, shows);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{shows:?}");
    }
}

#[test]
fn files_are_verified_also_if_nobody_hears_of_it() {
    let cluster = Cluster::start(1);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    user.write("docs", "good", b"x");
    user.write("docs", "large", &cyx_tests::noise(3, 100_000));
    cluster.kill_node(0);
    let run = unread(&user, &["verify", "docs", "--json"]);
    assert_eq!(run.code, 8, "{run:?}");
    assert!(run.stderr.contains("large cannot be read now"), "{run:?}");
}

#[test]
fn what_has_nothing_to_verify_is_not_said_to_be_well() {
    let cluster = Cluster::start(1);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    let folder = user.path("tree");
    std::fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink("nowhere", folder.join("link")).unwrap();
    user.ok(["upload", folder.to_str().unwrap(), "-r", "-b", "docs"]);
    let run = user.fails(2, ["verify", "docs", "tree/link"]);
    assert!(run.stderr.contains("tree/link is neither a file nor a directory"), "{run:?}");
    user.ok(["verify", "docs", "tree"]);
}

#[test]
fn what_cannot_be_opened_counts_also_beside_a_single_file_that_is_well() {
    if cyx_tests::mount::missing("sqlite3") {
        return;
    }
    let cluster = Cluster::start(1);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    user.write("docs", "tree/bad", b"x");
    // No program makes such an entry: the server's database is told.
    let data = cluster.status()["server"]["data_dir"].as_str().unwrap().to_owned();
    let mut command = Command::new("sqlite3");
    command.args(["-cmd", ".timeout 60000"]).arg(PathBuf::from(data).join("cyx.db"));
    command.arg("UPDATE entry SET wrapped_key = zeroblob(length(wrapped_key)) WHERE kind = 1");
    assert!(command.status().unwrap().success());
    user.write("docs", "tree/good", b"y");
    for key in [&["tree"][..], &[]] {
        let run = user.fails(8, [&["verify", "docs", "--json"], key].concat());
        assert_eq!(run.json()["key"], "tree/good", "{key:?}");
        assert!(run.stderr.contains("bad"), "{run:?}");
    }
    user.ok(["verify", "docs", "tree/good"]);
    assert!(user.cyx(["verify", "docs", "tree/bad"]).code != 0);
}
