//! The client library against a real server: sessions, buckets, the tree, changes. Content and nodes have suites of their own.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use cyx_client::events::Notice;
use cyx_client::tree::change::{NewKind, RemoveOptions, RenameOptions, attributes_now, mutation};
use cyx_client::tree::list::Walked;
use cyx_client::{Bucket, Client, Config, Error, TreePath, identity};
use cyx_tests::{free_port, program, wait_until};
use serde_json::Value;
use tempfile::TempDir;

const PASSWORD: &str = "Violet-Tramway-29-Okra";

/// A server process on a folder of its own.
struct Server {
    folder: TempDir,
    child: Child,
    gateway: String,
    args: Vec<String>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(folder: &Path, http: &str, args: &[String]) -> (Child, String) {
    let mut child = Command::new(program("cyx-server"))
        .env_clear()
        .env("RUST_LOG", "warn")
        .arg("--data-dir")
        .arg(folder.join("data"))
        .arg("--outbox")
        .arg(folder.join("outbox"))
        .args(["--http", http, "--grpc", "127.0.0.1:0", "--allow-colocated", "--print-ready"])
        .args(args)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
    (child, ready["http"].as_str().unwrap().to_owned())
}

impl Server {
    fn start(args: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), args.iter().map(|arg| (*arg).to_owned()).collect())
    }

    fn start_in(folder: TempDir, args: Vec<String>) -> Self {
        let (child, http) = start(folder.path(), &free_port().to_string(), &args);
        Self { folder, child, gateway: format!("http://{http}"), args }
    }

    /// Kills the server, does something to its data, and starts it at the same address.
    fn again(&mut self, between: impl FnOnce(&Path)) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        between(&self.folder.path().join("data"));
        let address = self.gateway.trim_start_matches("http://").to_owned();
        (self.child, _) = start(self.folder.path(), &address, &self.args);
    }

    fn config(&self, home: &Path) -> Config {
        let gateway = Some(self.gateway.parse().unwrap());
        let ca_file = Some(self.folder.path().join("cert.pem")).filter(|path| path.exists());
        Config { home: home.to_owned(), gateway, email: None, ca_file, token: None }
    }

    fn mails(&self) -> BTreeSet<PathBuf> {
        let listed = std::fs::read_dir(self.folder.path().join("outbox"));
        let mails = listed.into_iter().flatten().map(|entry| entry.unwrap().path());
        mails.filter(|path| path.extension().is_some_and(|extension| extension == "eml")).collect()
    }

    /// The code in a mail that was not there before.
    async fn code(&self, before: &BTreeSet<PathBuf>) -> String {
        let mut code = None;
        tokio::task::block_in_place(|| {
            wait_until("a code is mailed", || {
                code = self.mails().difference(before).find_map(|path| {
                    let text = std::fs::read_to_string(path).unwrap_or_default();
                    let is_code = |line: &&str| line.len() == 6 && line.bytes().all(|byte| byte.is_ascii_digit());
                    text.lines().map(str::trim).find(is_code).map(str::to_owned)
                });
                code.is_some()
            });
        });
        code.unwrap()
    }

    async fn log_in(&self, home: &Path, name: &str, accept_changes: bool) -> Result<Client, Error> {
        let (config, before) = (self.config(home), self.mails());
        let pending = identity::begin_login(&config, &format!("{name}@example.org"), PASSWORD, accept_changes).await?;
        let code = self.code(&before).await;
        // In another process, as far as the library can tell: nothing but the home folder is shared.
        identity::finish_login(&self.config(home), &pending.session_id, &code, false).await?;
        Client::open(&config).await
    }

    async fn user(&self, home: &Path, name: &str) -> Client {
        let config = self.config(home);
        identity::register(&config, name, &format!("{name}@example.org"), PASSWORD).await.unwrap();
        self.log_in(home, name, false).await.unwrap()
    }
}

fn path(text: &str) -> TreePath {
    TreePath::parse(text).unwrap()
}

async fn make_file(bucket: &Bucket, name: &str) {
    let (above, last) = path(name).split().map(|(above, last)| (above, last.to_vec())).unwrap();
    let directory = bucket.open_directory(&above).await.unwrap();
    let new = bucket.prepare(&directory, &last, NewKind::File, attributes_now(0o644)).unwrap();
    bucket.apply_one(vec![new.operation]).await.unwrap();
}

async fn paths(bucket: &Bucket) -> Vec<String> {
    let items = bucket.walk(&TreePath::root(), true).await.unwrap().collect().await.unwrap();
    let mut paths: Vec<String> = items.into_iter().map(|item| String::from_utf8(item.path).unwrap()).collect();
    paths.sort();
    paths
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_registers_logs_in_and_keeps_a_tree() {
    let (server, home) = (Server::start(&[]), tempfile::tempdir().unwrap());
    let client = server.user(home.path(), "ada").await;
    assert_eq!(client.identity().await.unwrap().username, "ada");
    assert!(client.quota().await.unwrap().limit_bytes > 0);

    let bucket = client.create_bucket("photos", false).await.unwrap();
    assert!(matches!(client.create_bucket("photos", false).await, Err(Error::AlreadyExists(_))));
    assert!(matches!(client.bucket("music").await, Err(Error::NotFound(_))));
    let listed = client.buckets().await.unwrap();
    assert_eq!(listed.iter().map(|row| row.as_ref().unwrap().name.as_str()).collect::<Vec<_>>(), ["photos"]);

    bucket.make_directories(&path("one/two/three")).await.unwrap();
    make_file(&bucket, "one/two/three/file").await;
    bucket.make_link(&path("one/link"), b"two/three/file").await.unwrap();
    assert_eq!(bucket.resolve(&path("one/link")).await.unwrap().link_target().unwrap(), b"two/three/file");
    assert!(matches!(bucket.make_directory(&path("one"), 0o755).await, Err(Error::AlreadyExists(_))));
    assert!(matches!(bucket.open_directory(&path("one/link")).await, Err(Error::NotDirectory(_))));

    assert_eq!(bucket.move_to(&path("one/two"), &path("two"), false).await.unwrap(), path("two"));
    let all = ["one", "one/link", "two", "two/three", "two/three/file"];
    assert_eq!(paths(&bucket).await, all);
    let exchange = RenameOptions { no_replace: false, exchange: true };
    bucket.rename(&path("one/link"), &path("two/three"), exchange).await.unwrap();
    assert_eq!(paths(&bucket).await, ["one", "one/link", "one/link/file", "two", "two/three"]);
    bucket.rename(&path("one/link"), &path("two/three"), exchange).await.unwrap();

    // Nothing is deleted with content in it unless it is said.
    assert_eq!(client.delete_bucket("photos", false).await.unwrap_err().exit_code(), 7);
    let removed = bucket.remove(&path("two"), RemoveOptions { recursive: true, permanent: false }).await.unwrap();
    assert!(removed.is_some());
    assert_eq!(paths(&bucket).await, ["one", "one/link"]);
    make_file(&bucket, "one/gone").await;
    bucket.remove(&path("one/gone"), RemoveOptions::default()).await.unwrap();

    let trash: Vec<_> = bucket.trash().await.unwrap().into_iter().map(Result::unwrap).collect();
    let names: Vec<String> = trash.iter().map(|entry| String::from_utf8(entry.path.clone()).unwrap()).collect();
    assert_eq!(names, ["one/gone", "two"]);
    assert_eq!(bucket.restore(&trash[1], None).await.unwrap(), path("two"));
    assert_eq!(bucket.restore(&trash[0], Some(b"back")).await.unwrap(), path("one/back"));
    assert_eq!(paths(&bucket).await, ["one", "one/back", "one/link", "two", "two/three", "two/three/file"]);

    bucket.remove(&path("one/back"), RemoveOptions::default()).await.unwrap();
    assert_eq!(bucket.empty_trash().await.unwrap().deleted, 1);
    assert!(bucket.trash().await.unwrap().is_empty());
    client.delete_bucket("photos", true).await.unwrap();
    assert!(client.buckets().await.unwrap().is_empty());
    assert!(identity::logout(&server.config(home.path())).await.unwrap());
    assert_eq!(client.identity().await.unwrap_err().exit_code(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_are_any_bytes_and_come_back_as_they_were() {
    let (server, home) = (Server::start(&[]), tempfile::tempdir().unwrap());
    let bucket = server.user(home.path(), "ada").await.create_bucket("names", false).await.unwrap();
    let root = bucket.root_directory();
    let mut names: Vec<Vec<u8>> = (1..=255).filter(|byte| !b"/.".contains(byte)).map(|byte| vec![byte]).collect();
    names.extend([vec![b'x'; 255], b"...".to_vec(), b"-rf".to_vec(), b"line\nline".to_vec()]);
    // One name in two Unicode forms is two names.
    names.extend(["\u{e9}".as_bytes().to_vec(), "e\u{301}".as_bytes().to_vec()]);
    let mutations = names
        .iter()
        .map(|name| {
            let new = bucket.prepare(&root, name, NewKind::File, attributes_now(0o600)).unwrap();
            mutation(vec![new.operation])
        })
        .collect();
    for (name, result) in names.iter().zip(bucket.apply(mutations).await.unwrap()) {
        assert!(result.is_ok(), "{name:?}: {result:?}");
    }
    names.sort();
    let listed: Vec<Vec<u8>> = bucket.read_all(&root).await.unwrap().into_iter().map(|located| located.name).collect();
    assert_eq!(listed, names);
    let asked: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
    for (name, found) in names.iter().zip(bucket.lookup(&root, &asked).await.unwrap()) {
        assert_eq!(&found.unwrap().unwrap().name, name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_goes_on_over_the_end_of_tokens() {
    let (server, home) = (Server::start(&["--access-token-seconds", "1"]), tempfile::tempdir().unwrap());
    let client = server.user(home.path(), "ada").await;
    let bucket = client.create_bucket("photos", false).await.unwrap();
    let other = Client::open(&server.config(home.path())).await.unwrap();
    let began = std::time::Instant::now();
    let mut made = 0;
    // Several lives of a token, however fast the machine is; two clients share the credentials.
    while made < 20 || began.elapsed() < std::time::Duration::from_secs(4) {
        bucket.make_directory(&path(&format!("d{made}")), 0o755).await.unwrap();
        other.quota().await.unwrap();
        made += 1;
    }
    assert_eq!(bucket.read_all(&bucket.root_directory()).await.unwrap().len(), made);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_machines_see_each_other_and_do_not_collide() {
    let (server, first, second) = (Server::start(&[]), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let here = server.user(first.path(), "ada").await;
    let bucket = here.create_bucket("photos", false).await.unwrap();
    let there = server.log_in(second.path(), "ada", false).await.unwrap();
    let same = there.bucket("photos").await.unwrap();

    let mut subscription = there.subscribe([(same.id, same.sequence)]);
    assert_eq!(subscription.next().await.unwrap(), Notice::Connected);
    assert_eq!(subscription.next().await.unwrap(), Notice::Beat);
    bucket.make_directory(&path("d"), 0o755).await.unwrap();
    let Notice::Change(change) = subscription.next().await.unwrap() else { panic!("no change") };
    let found = same.resolve(&path("d")).await.unwrap();
    assert_eq!(change.inode, found.entry.child);
    assert_eq!(change.session[..], here.session.id().0);

    let (one, two) = (path("deep/er/one"), path("deep/er/two"));
    let (a, b) = tokio::join!(bucket.make_directories(&one), same.make_directories(&two));
    a.unwrap();
    b.unwrap();
    assert_eq!(paths(&bucket).await, ["d", "deep", "deep/er", "deep/er/one", "deep/er/two"]);

    // Both remove the same: one of them did it, and nobody gets an internal error.
    let options = RemoveOptions { recursive: true, permanent: true };
    let (x, y) = (path("deep"), path("deep"));
    let (a, b) = tokio::join!(bucket.remove(&x, options), same.remove(&y, options));
    assert!(a.is_ok() || b.is_ok());
    for refused in [a, b].into_iter().filter_map(Result::err) {
        assert!(matches!(refused, Error::NotFound(_)), "{refused}");
    }
    assert!(matches!(same.resolve(&path("deep")).await, Err(Error::NotFound(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_is_found_again_and_a_restored_one_is_not_believed() {
    let (mut server, home) = (Server::start(&[]), tempfile::tempdir().unwrap());
    let client = server.user(home.path(), "ada").await;
    let bucket = client.create_bucket("photos", false).await.unwrap();
    bucket.make_directory(&path("kept"), 0o755).await.unwrap();
    server.again(|_| {});
    assert_eq!(paths(&bucket).await, ["kept"]);
    bucket.make_directory(&path("more"), 0o755).await.unwrap();

    server.again(|data| {
        let done = Command::new(program("cyx-server")).arg("--data-dir").arg(data).arg("new-incarnation").output();
        let done = done.unwrap();
        assert!(done.status.success(), "{done:?}");
    });
    assert!(matches!(client.quota().await, Err(Error::IncarnationChanged { .. })));
    assert!(matches!(server.log_in(home.path(), "ada", false).await, Err(Error::IncarnationChanged { .. })));
    let client = server.log_in(home.path(), "ada", true).await.unwrap();
    assert_eq!(paths(&client.bucket("photos").await.unwrap()).await, ["kept", "more"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_directory_is_walked_whole() {
    let (server, home) = (Server::start(&[]), tempfile::tempdir().unwrap());
    let bucket = server.user(home.path(), "ada").await.create_bucket("many", false).await.unwrap();
    let mut mutations = Vec::new();
    let mut expected = BTreeSet::new();
    for directory in 0..3 {
        let name = format!("d{directory}");
        let new = bucket
            .prepare(&bucket.root_directory(), name.as_bytes(), NewKind::Directory, attributes_now(0o755))
            .unwrap();
        let inside = new.directory();
        mutations.push(mutation(vec![new.operation]));
        expected.insert(name.clone());
        for file in 0..1200 {
            let file = format!("file-{file}");
            let new = bucket.prepare(&inside, file.as_bytes(), NewKind::File, attributes_now(0o644)).unwrap();
            mutations.push(mutation(vec![new.operation]));
            expected.insert(format!("{name}/{file}"));
        }
    }
    assert!(bucket.apply(mutations).await.unwrap().iter().all(Result::is_ok));
    let mut walk = bucket.walk(&TreePath::root(), true).await.unwrap();
    let mut found = BTreeSet::new();
    while let Some(walked) = walk.next().await {
        match walked {
            Walked::Item(item) => assert!(found.insert(String::from_utf8(item.path).unwrap()), "found twice"),
            Walked::Failed { error, .. } => panic!("{error}"),
        }
    }
    assert_eq!(found, expected);
    let removed = bucket.remove(&path("d1"), RemoveOptions { recursive: true, permanent: true }).await;
    removed.unwrap();
    assert_eq!(paths(&bucket).await.len(), 2 * 1201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_goes_over_tls_and_only_to_a_server_that_is_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let args = ["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let mut server = Server::start_in(folder, args.iter().map(|arg| (*arg).to_owned()).collect());
    server.gateway = server.gateway.replace("http://127.0.0.1", "https://localhost");

    let home = tempfile::tempdir().unwrap();
    let client = server.user(home.path(), "ada").await;
    let bucket = client.create_bucket("photos", false).await.unwrap();
    bucket.make_directory(&path("d"), 0o755).await.unwrap();
    assert_eq!(paths(&bucket).await, ["d"]);

    // Another authority: nothing is sent.
    let other = tempfile::tempdir().unwrap();
    let stranger = other.path().join("stranger.pem");
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(&stranger, made.cert.pem()).unwrap();
    let config = Config { ca_file: Some(stranger), ..server.config(home.path()) };
    let error = identity::begin_login(&config, "ada@example.org", PASSWORD, false).await.unwrap_err();
    assert_eq!(error.exit_code(), 6, "{error}");
    assert!(error.to_string().contains("certificate"), "{error}");
}
