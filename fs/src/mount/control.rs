//! How other programs find the mounts of a user and talk to them.
//!
//! Each mount keeps two files in `mounts/` of the home folder: a record, which it holds locked while it lives, and a socket. Whether
//! a mount lives is told by the lock alone: process ids are used again, and files survive crashes.
//!
//! The socket takes one request, a line of JSON, and answers with lines of JSON. Only the owner of the folder can reach it.

use std::fs::{self, File, OpenOptions};
use std::future::Future;
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

use crate::vfs::{MountState, Problem};

/// Longest line in either direction.
const LONGEST_LINE: u64 = 256 << 10;
/// A client that sends no request within this time is not waited for any longer; the same for an answer about the state.
const PATIENCE: Duration = Duration::from_secs(10);
/// A mount that is being taken off says something at least this often.
const SILENCE: Duration = Duration::from_secs(60);
/// Longest path that fits into an address of a socket on every system, with its final zero.
const LONGEST_ADDRESS: usize = 100;

/// What is known of a mount without asking it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Where it is mounted.
    pub mountpoint: PathBuf,
    /// Its process.
    pub pid: u32,
    /// The bucket at its root; absent: all are top-level directories.
    pub bucket: Option<String>,
    /// The server it talks to.
    pub gateway: String,
    /// Nothing can be changed in it.
    pub read_only: bool,
    /// Where its journal and its cache lie.
    pub cache_dir: PathBuf,
    /// When it was mounted, in Unix seconds.
    pub since: u64,
}

/// What a mount says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Status {
    /// Written bytes that are not committed yet.
    pub dirty_bytes: u64,
    /// Files with such bytes, or whose names or attributes are not sent yet.
    pub dirty_files: u64,
    /// Bytes that went to storage nodes since it was mounted.
    #[serde(default)]
    pub sent_bytes: u64,
    /// Bytes in the read cache.
    pub cache_bytes: u64,
    /// Bytes of the journal on disk.
    pub journal_bytes: u64,
    /// Changes of others arrive as they are made.
    pub connected: bool,
    /// The server was restored from a backup, which was not accepted yet: it can neither be asked nor sent anything.
    #[serde(default)]
    pub restored: bool,
    /// Open files and directories.
    pub open: u64,
    /// Inodes that the kernel knows.
    pub inodes: u64,
    /// Conflict copies made since it was mounted.
    pub conflicts: u64,
    /// Buckets whose only writer it is.
    #[serde(default)]
    pub leases: u64,
    /// Bytes that were written to buckets which are not there any more, or not open to this account. They are kept, and cannot be sent.
    #[serde(default)]
    pub deleted_bytes: u64,
    /// Files with such bytes, or whose names or attributes are such.
    #[serde(default)]
    pub deleted_files: u64,
    /// It is being taken off.
    pub ending: bool,
    /// The last thing that went wrong in the background.
    pub last_error: Option<String>,
    /// The latest such things, that one last.
    #[serde(default)]
    pub problems: Vec<Problem>,
}

impl Status {
    pub(super) fn new(state: MountState, ending: bool) -> Self {
        Self {
            dirty_bytes: state.dirty_bytes,
            dirty_files: state.dirty_files,
            sent_bytes: state.sent_bytes,
            cache_bytes: state.cache_bytes,
            journal_bytes: state.journal_bytes,
            connected: state.connected,
            restored: state.restored,
            open: state.handles,
            inodes: state.inodes,
            conflicts: state.conflicts,
            leases: state.leases,
            deleted_bytes: state.deleted_bytes,
            deleted_files: state.deleted_files,
            ending,
            last_error: state.last_error,
            problems: state.problems,
        }
    }
}

/// What can be asked of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Request {
    /// How it is.
    Status,
    /// To finish and go.
    Unmount {
        /// Even if files are open or changes cannot be sent now. They stay in the journal.
        force: bool,
    },
}

/// What a mount answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Reply {
    /// How it is.
    Status(Box<Status>),
    /// It is finishing; more follows.
    Ending(Box<Status>),
    /// It is off. So many files stay in the journal, for the next mount to send.
    Gone {
        /// Files that are not committed.
        pending_files: u64,
        /// How it was in the end: it may be off before it said anything else.
        #[serde(default)]
        end: Box<Status>,
    },
    /// It stays.
    Refused {
        /// Why.
        reason: Refusal,
        /// Files that are not committed.
        pending_files: u64,
    },
}

/// Why a mount stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Files or directories in it are in use.
    Busy,
    /// Changes could not be sent.
    Pending,
    /// Somebody else takes it off by force.
    Overtaken,
    /// The operating system does not let it go.
    System,
}

/// The records of a user's mounts.
#[derive(Debug, Clone)]
pub struct Registry {
    dir: PathBuf,
}

/// A record that is there while this lives.
#[derive(Debug)]
pub struct Registration {
    record: PathBuf,
    socket: PathBuf,
    _lock: File,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.socket);
        let _ = fs::remove_file(&self.record);
    }
}

/// A mount that lives.
#[derive(Debug, Clone)]
pub struct Live {
    /// What it wrote down.
    pub record: Record,
    socket: PathBuf,
}

impl Registry {
    /// The registry in a home folder.
    #[must_use]
    pub fn new(home: &Path) -> Self {
        Self { dir: home.join("mounts") }
    }

    /// Writes a record down and listens on its socket.
    ///
    /// # Errors
    /// If the folder cannot be written to.
    pub fn register(&self, record: &Record) -> io::Result<(Registration, UnixListener)> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        fs::set_permissions(&self.dir, fs::Permissions::from_mode(0o700))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let name = format!("{}-{now}", record.pid);
        // Written under another name, so that nobody reads half a record or finds it unlocked.
        let (unfinished, path) = (self.dir.join(format!("{name}.new")), self.dir.join(format!("{name}.json")));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        file.write_all(&serde_json::to_vec(record)?)?;
        let socket = self.dir.join(format!("{name}.sock"));
        let listener = bind(&socket)?;
        fs::rename(&unfinished, &path)?;
        Ok((Registration { record: path, socket, _lock: file }, listener))
    }

    /// The mounts that live, oldest first. Records of those that do not are tidied away.
    ///
    /// # Errors
    /// If the folder cannot be read; not if there is none.
    pub fn live(&self) -> io::Result<Vec<Live>> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                found.extend(read_live(&path)?);
            }
        }
        found.sort_by_key(|live: &Live| (live.record.since, live.record.pid));
        Ok(found)
    }

    /// The mount at a resolved path.
    ///
    /// # Errors
    /// As [`Self::live`].
    pub fn find(&self, mountpoint: &Path) -> io::Result<Option<Live>> {
        Ok(self.live()?.into_iter().rev().find(|live| live.record.mountpoint == mountpoint))
    }
}

/// A record whose owner lives; otherwise it is removed.
fn read_live(path: &Path) -> io::Result<Option<Live>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let socket = path.with_extension("sock");
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => {
            let _ = fs::remove_file(&socket);
            let _ = fs::remove_file(path);
            Ok(None)
        }
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let text = fs::read(path)?;
            // Of another version of this program, or gone in this moment: nothing that could be talked to.
            Ok(serde_json::from_slice(&text).ok().map(|record| Live { record, socket }))
        }
        Err(error) => Err(error.into()),
    }
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    let (_folder, address) = address(path)?;
    let listener = UnixListener::bind(&address)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// An address of a socket that is short enough. Long paths are named by their folder, which has to stay open meanwhile.
fn address(path: &Path) -> io::Result<(Option<File>, PathBuf)> {
    if path.as_os_str().len() < LONGEST_ADDRESS {
        return Ok((None, path.to_owned()));
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let folder = File::open(parent)?;
    let short = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
    Ok((Some(folder), short))
}

impl Live {
    /// How it is.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn status(&self) -> io::Result<Status> {
        let answer = async {
            let mut lines = self.ask(Request::Status).await?;
            match next_reply(&mut lines).await? {
                Some(Reply::Status(status)) => Ok(*status),
                _ => Err(io::ErrorKind::InvalidData.into()),
            }
        };
        tokio::time::timeout(PATIENCE, answer).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Asks it to finish and go. Returns its last word: [`Reply::Gone`] or [`Reply::Refused`].
    ///
    /// # Errors
    /// If it falls silent or its process ends without a word.
    pub async fn unmount(&self, force: bool, progress: impl Fn(&Status)) -> io::Result<Reply> {
        let mut lines = self.ask(Request::Unmount { force }).await?;
        let silence = if force { PATIENCE } else { SILENCE };
        loop {
            let next = tokio::time::timeout(silence, next_reply(&mut lines)).await;
            match next.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?? {
                Some(Reply::Ending(status)) => progress(&status),
                Some(Reply::Status(_)) => return Err(io::ErrorKind::InvalidData.into()),
                Some(last) => return Ok(last),
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }

    async fn ask(&self, request: Request) -> io::Result<BufReader<UnixStream>> {
        let (_folder, address) = address(&self.socket)?;
        let mut stream = UnixStream::connect(&address).await?;
        stream.write_all(&line(&request)?).await?;
        Ok(BufReader::new(stream))
    }
}

async fn next_reply(lines: &mut BufReader<UnixStream>) -> io::Result<Option<Reply>> {
    match read_line(lines).await? {
        Some(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        None => Ok(None),
    }
}

async fn read_line(from: &mut BufReader<UnixStream>) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    from.take(LONGEST_LINE).read_until(b'\n', &mut bytes).await?;
    match bytes.pop() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(bytes)),
        Some(_) => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn line(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(value)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// What a mount does when it is asked.
pub trait Service: Send + Sync + 'static {
    /// How it is.
    fn status(&self) -> Status;
    /// Finishes, telling how far it is, and ends with [`Reply::Gone`] or [`Reply::Refused`]. If nobody listens any more, the mount stays.
    fn unmount(self: Arc<Self>, force: bool, replies: mpsc::Sender<Reply>) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// Answers requests until it is dropped.
pub async fn serve(listener: UnixListener, service: Arc<impl Service>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let service = Arc::clone(&service);
                tokio::spawn(async move {
                    if let Err(error) = answer(stream, service).await {
                        tracing::debug!(%error, "a request on the control socket");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the control socket");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn answer(stream: UnixStream, service: Arc<impl Service>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let asked = tokio::time::timeout(PATIENCE, read_line(&mut stream)).await;
    let Some(bytes) = asked.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?? else { return Ok(()) };
    match serde_json::from_slice(&bytes)? {
        Request::Status => {
            let reply = Reply::Status(Box::new(service.status()));
            stream.get_mut().write_all(&line(&reply)?).await
        }
        Request::Unmount { force } => {
            let (sender, mut replies) = mpsc::channel(16);
            tokio::spawn(service.unmount(force, sender));
            while let Some(reply) = replies.recv().await {
                stream.get_mut().write_all(&line(&reply)?).await?;
                // The last word; that it is out is told by dropping the receiver.
                if matches!(reply, Reply::Gone { .. } | Reply::Refused { .. }) {
                    break;
                }
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(mountpoint: &str) -> Record {
        Record {
            mountpoint: mountpoint.into(),
            pid: std::process::id(),
            bucket: None,
            gateway: "http://localhost:1".to_owned(),
            read_only: false,
            cache_dir: "/cache".into(),
            since: 7,
        }
    }

    struct Fake;

    impl Service for Fake {
        fn status(&self) -> Status {
            Status { dirty_bytes: 5, connected: true, ..Status::default() }
        }

        fn unmount(
            self: Arc<Self>,
            force: bool,
            replies: mpsc::Sender<Reply>,
        ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
            Box::pin(async move {
                let _ = replies.send(Reply::Ending(Box::default())).await;
                let last = if force {
                    Reply::Gone { pending_files: 3, end: Box::new(self.status()) }
                } else {
                    Reply::Refused { reason: Refusal::Busy, pending_files: 0 }
                };
                let _ = replies.send(last).await;
            })
        }
    }

    #[tokio::test]
    async fn a_mount_is_found_and_answers_while_it_lives() {
        let home = tempfile::tempdir().unwrap();
        let registry = Registry::new(home.path());
        assert!(registry.live().unwrap().is_empty());
        let (registration, listener) = registry.register(&record("/a")).unwrap();
        let server = tokio::spawn(serve(listener, Arc::new(Fake)));
        let live = registry.find(Path::new("/a")).unwrap().unwrap();
        assert_eq!(live.record, record("/a"));
        assert_eq!(live.status().await.unwrap().dirty_bytes, 5);
        let told = std::sync::atomic::AtomicU32::new(0);
        let count = |_: &Status| {
            told.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        };
        let gone = live.unmount(true, count).await.unwrap();
        assert_eq!(gone, Reply::Gone { pending_files: 3, end: Box::new(Fake.status()) });
        let refused = live.unmount(false, count).await.unwrap();
        assert_eq!(refused, Reply::Refused { reason: Refusal::Busy, pending_files: 0 });
        assert_eq!(told.into_inner(), 2);
        assert!(registry.find(Path::new("/b")).unwrap().is_none());
        server.abort();
        drop(registration);
        assert!(registry.live().unwrap().is_empty());
        assert_eq!(fs::read_dir(home.path().join("mounts")).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn what_a_killed_mount_left_behind_is_tidied_away() {
        let home = tempfile::tempdir().unwrap();
        let registry = Registry::new(home.path());
        let (registration, _listener) = registry.register(&record("/a")).unwrap();
        // A crash drops the lock and removes nothing.
        let copy = home.path().join("mounts/1-1.json");
        fs::copy(&registration.record, &copy).unwrap();
        assert_eq!(registry.live().unwrap().len(), 1);
        assert!(!copy.exists());
    }

    #[tokio::test]
    async fn only_the_owner_reaches_the_socket() {
        let home = tempfile::tempdir().unwrap();
        let (registration, _listener) = Registry::new(home.path()).register(&record("/a")).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&home.path().join("mounts")), 0o700);
        assert_eq!(mode(&registration.socket), 0o600);
        assert_eq!(mode(&registration.record), 0o600);
    }

    #[tokio::test]
    async fn a_home_folder_with_a_long_path_has_a_socket_too() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("x".repeat(120));
        let registry = Registry::new(&home);
        let (_registration, listener) = registry.register(&record("/a")).unwrap();
        tokio::spawn(serve(listener, Arc::new(Fake)));
        assert!(registry.find(Path::new("/a")).unwrap().unwrap().status().await.unwrap().connected);
    }

    #[tokio::test]
    async fn nonsense_is_not_answered() {
        let home = tempfile::tempdir().unwrap();
        let registry = Registry::new(home.path());
        let (registration, listener) = registry.register(&record("/a")).unwrap();
        tokio::spawn(serve(listener, Arc::new(Fake)));
        for nonsense in [b"{\"do\":\"format\"}\n".to_vec(), vec![b'x'; 70 << 10]] {
            let mut stream = UnixStream::connect(&registration.socket).await.unwrap();
            // The other side may hang up before it has read everything.
            let _ = stream.write_all(&nonsense).await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            assert!(answer.is_empty());
        }
    }
}
