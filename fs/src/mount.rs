//! The life of a mount: checks before it, readiness, requests on the control socket, the end.
//!
//! | module | what it does |
//! |---|---|
//! | [`options`] | what flags and `-o` say |
//! | [`point`] | mountpoints, and what a crash left there |
//! | [`control`] | how `cyx umount` and `cyx mounts` find and ask it |
//! | [`ending`] | sending what is dirty, taking the mount off |
//! | [`ready`] | what systemd is told |
//! | [`metrics`] | what Prometheus is told |
//!
//! A mount never touches its own mountpoint: the answer would have to come from itself.

pub mod control;
mod ending;
mod metrics;
pub mod options;
pub mod point;
mod ready;

use std::fs;
use std::io;
use std::num::NonZero;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use cyx_client::Client;
use cyx_core::error::ErrorCode;
use fuser::{Config, MountOption, Session, SessionACL};
use thiserror::Error;
use tokio::sync::oneshot;

use crate::fuse::{Adapter, Remote};
use crate::vfs::{self, Filesystem};
use control::{Record, Registry};
use ending::Ending;
use options::{Durability, Options};
use point::Found;
use ready::Manager;

/// The kernel's door to filesystems of user space.
const DEVICE: &str = "/dev/fuse";
/// Threads that take requests from the kernel, and do what can be done without waiting for anything but the local disk: one for each
/// processor, within these bounds. The kernel has them take turns, and what more of them read into is in no processor's cache any more.
const READERS: RangeInclusive<usize> = 2..=4;
/// Bounds of the journal, which gets a quarter of the space on disk, in bytes.
const LEAST_JOURNAL: u64 = 32 << 20;
const MOST_JOURNAL: u64 = 4 << 30;

/// Short for results of this module.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why nothing was mounted, or why a mount ended.
#[derive(Debug, Error)]
pub enum Error {
    /// An option.
    #[error(transparent)]
    Option(#[from] options::OptionError),
    /// The client or the server.
    #[error(transparent)]
    Client(#[from] cyx_client::Error),
    /// The mountpoint cannot be used.
    #[error("{} cannot be a mountpoint: {source}", path.display())]
    Mountpoint {
        /// The mountpoint.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The name of the mountpoint cannot be written down.
    #[error("the path {} is not UTF-8, so nothing can be mounted there", .0.display())]
    NotUtf8(PathBuf),
    /// Something is mounted there.
    #[error("{} is a mountpoint already ({fstype})", path.display())]
    Mounted {
        /// The mountpoint.
        path: PathBuf,
        /// What is mounted.
        fstype: String,
    },
    /// The mountpoint has content, which would be hidden.
    #[error("{} is not empty", .0.display())]
    NotEmpty(PathBuf),
    /// What the mount needs would lie below itself.
    #[error("{} lies below the mountpoint {}", inside.display(), mountpoint.display())]
    Inside {
        /// The folder that is needed.
        inside: PathBuf,
        /// The mountpoint.
        mountpoint: PathBuf,
    },
    /// The program that mounts for those who may not is missing.
    #[error("only root can mount without the program fusermount3, which is not installed")]
    NoHelper,
    /// This machine cannot mount filesystems of user space.
    #[error("cannot open {DEVICE}: {0}")]
    NoFuse(io::Error),
    /// A file or socket of this machine.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The address for Prometheus cannot be used.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// Whoever waited for the mount is gone.
    #[error("nobody could be told that the mount is ready: {0}")]
    NotAwaited(io::Error),
}

impl Error {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), source }
    }

    /// The exit code of a program that ends with it.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Option(_) => ErrorCode::InvalidArgument.exit_code(),
            Self::Client(error) => error.exit_code(),
            Self::Mountpoint { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                ErrorCode::NotFound.exit_code()
            }
            Self::Mounted { .. } => ErrorCode::AlreadyExists.exit_code(),
            Self::Inside { .. } | Self::NotUtf8(_) => ErrorCode::InvalidArgument.exit_code(),
            _ => 1,
        }
    }

    /// What a person can do about it.
    #[must_use]
    pub fn advice(&self) -> Option<&str> {
        match self {
            Self::Client(error) => error.advice(),
            Self::Mountpoint { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => Some("Create the directory first."),
                io::ErrorKind::PermissionDenied => Some(
                    "Without root, the program fusermount3 (package fuse3) and a directory of your own are needed.",
                ),
                _ => None,
            },
            Self::Mounted { .. } => Some("Take it off with `cyx umount` first."),
            Self::NotEmpty(_) => Some("Use an empty directory, or -o nonempty to hide what is there."),
            Self::Inside { .. } => Some("Choose another place with --cache-dir or CYXCLOUD_HOME."),
            Self::NoHelper => Some("Install the package fuse3."),
            Self::NoFuse(source) if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("Usually everybody may read and write it; a container has to be started with it.")
            }
            Self::NoFuse(_) => {
                Some("Load the kernel module with `modprobe fuse`, or pass the device to the container.")
            }
            _ => None,
        }
    }
}

/// A mount that passed all checks that need no server.
#[derive(Debug)]
pub struct Prepared {
    mountpoint: PathBuf,
    cache_dir: PathBuf,
    registry: Registry,
    options: Options,
}

/// What is left when a mount has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Files that are not committed. They are in the journal, and the next mount with the same cache directory sends them.
    pub pending_files: u64,
}

/// Checks that the mountpoint can be used, and frees it from what a crash left there.
///
/// # Errors
/// Those that say what stands in the way.
pub fn prepare(mountpoint: &Path, home: &Path, options: Options) -> Result<Prepared> {
    fs::OpenOptions::new().read(true).write(true).open(DEVICE).map_err(Error::NoFuse)?;
    let mountpoint = point::resolve(mountpoint)?;
    let cache_dir = options.cache_dir.clone().unwrap_or_else(|| home.join("cache"));
    // Before anything is created there, and with links followed as far as they exist.
    for folder in [cache_dir.as_path(), home] {
        let real = existing(folder).map_err(Error::io(folder))?;
        if real.starts_with(&mountpoint) {
            return Err(Error::Inside { inside: folder.to_owned(), mountpoint });
        }
    }
    let mut found = point::look(&mountpoint)?;
    if found == Found::Stale {
        point::unmount(&mountpoint, true).map_err(|source| Error::Mountpoint { path: mountpoint.clone(), source })?;
        tracing::warn!(mountpoint = %mountpoint.display(), "took off what a mount that ended without notice left behind");
        found = point::look(&mountpoint)?;
    }
    match found {
        Found::Mounted(fstype) => return Err(Error::Mounted { path: mountpoint, fstype }),
        // Below what was stale another stale one may lie; once a moment later is enough to say so.
        Found::Stale => return Err(Error::Mounted { path: mountpoint, fstype: point::FSTYPE.to_owned() }),
        Found::Free => {}
    }
    if !options.nonempty && !point::is_empty(&mountpoint)? {
        return Err(Error::NotEmpty(mountpoint));
    }
    Ok(Prepared { mountpoint, cache_dir, registry: Registry::new(home), options })
}

/// The path with links followed, as far as it exists.
fn existing(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    let mut rest = Vec::new();
    for ancestor in path.ancestors() {
        match fs::canonicalize(ancestor) {
            Ok(real) => return Ok(rest.iter().rev().fold(real, |path, name| path.join(name))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => rest.extend(ancestor.file_name()),
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

impl Prepared {
    /// Where it will be mounted, as the kernel lists it.
    #[must_use]
    pub fn mountpoint(&self) -> &Path {
        &self.mountpoint
    }

    /// Where journal and cache will lie.
    #[must_use]
    pub fn cache_dir(&self) -> &Path {
        &self.cache_dir
    }

    /// Mounts, calls `ready` when the mount works, and serves it until it is taken off, by whatever means.
    ///
    /// # Errors
    /// What kept it from being mounted. When it was mounted, nothing does.
    pub async fn run(self, client: Client, ready: impl FnOnce() -> io::Result<()>) -> Result<Ended> {
        let manager = Manager::from_environment();
        let fs = self.open(client.clone()).await?;
        let metrics = match self.options.metrics {
            None => None,
            Some(address) => {
                let listening = metrics::listen(address).await;
                Some(listening.map_err(|source| Error::Listen { address, source })?)
            }
        };
        let (remote, ended) = self.mount(&fs).await?;
        let ending = Arc::new(Ending::new(fs.clone(), self.mountpoint.clone(), ended));
        let registered = self.registry.register(&self.record(&client)).map_err(Error::io(&self.cache_dir));
        let (registration, listener) = match registered {
            Ok(registered) => registered,
            Err(error) => {
                ending.abandon().await;
                return Err(error);
            }
        };
        let mut helpers = vec![tokio::spawn(control::serve(listener, Arc::clone(&ending)))];
        helpers.extend(
            metrics.map(|listener| tokio::spawn(metrics::serve(listener, Arc::clone(&ending), remote.counters()))),
        );
        let asking = fs.clone();
        // So that it is known when the server is away.
        helpers.push(tokio::spawn(async move {
            let _ = asking.statfs().await;
        }));
        tracing::info!(mountpoint = %self.mountpoint.display(), "mounted");
        if let Err(error) = ready() {
            ending.abandon().await;
            return Err(Error::NotAwaited(error));
        }
        manager.ready(&format!("mounted on {}", self.mountpoint.display()));
        let pending_files = ending.wait(&manager).await;
        for helper in helpers {
            helper.abort();
        }
        drop(registration);
        tracing::info!(mountpoint = %self.mountpoint.display(), pending_files, "ended");
        Ok(Ended { pending_files })
    }

    async fn open(&self, client: Client) -> Result<Filesystem> {
        let mut options = vfs::Options::new(self.cache_dir.clone());
        options.top = self.options.bucket.clone().map_or(vfs::Top::Buckets, vfs::Top::Bucket);
        options.read_only = self.options.read_only;
        options.discard_deleted = self.options.discard_deleted;
        // Who is not root could not do anything with what belongs to somebody else, and numbers of other machines mean nothing here.
        let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
        let mine = !user.is_root();
        options.uid = self.options.uid.or(mine.then_some(user.as_raw()));
        options.gid = self.options.gid.or(mine.then_some(group.as_raw()));
        options.umask = self.options.umask;
        options.fsync = self.options.fsync;
        options.close = self.options.close;
        options.host = host();
        // The journal has to take what is written while the network is slow, the cache what is read again.
        let size = self.options.cache_size;
        options.store.journal.total = (size / 4).clamp(LEAST_JOURNAL, MOST_JOURNAL);
        options.store.cache = size.saturating_sub(options.store.journal.total);
        // Transfers need the most: segments of several files are coded at a time.
        options.tuning.memory = self.options.memory / 2;
        options.tuning.reserve = self.options.memory / 8;
        options.store.prefetch = self.options.memory / 4;
        options.store.prefetched = self.options.memory / 4;
        options.store.journal.recent = usize::try_from(self.options.memory / 8).unwrap_or(0);
        if [options.fsync, options.close].contains(&Durability::Remote) {
            options.store.hurry();
        }
        Ok(Filesystem::open(client, options).await?)
    }

    /// Mounts and starts to serve. The receiver hears when the kernel has let go.
    async fn mount(&self, fs: &Filesystem) -> Result<(Remote, oneshot::Receiver<()>)> {
        let (adapter, remote, ended) = Adapter::new(fs.clone(), tokio::runtime::Handle::current());
        let (mountpoint, config) = (self.mountpoint.clone(), self.config());
        let wrong = |source| refused(&self.mountpoint, source);
        // Waits for the kernel, or for fusermount3.
        let started = tokio::task::spawn_blocking(move || -> io::Result<_> {
            let session = Session::new(adapter, &mountpoint, &config)?;
            point::read_further_ahead(&mountpoint);
            Ok(session)
        });
        let started = started.await;
        let session = started.map_err(|error| wrong(io::Error::other(error)))?.map_err(wrong)?;
        fs.set_invalidator(remote.invalidator(session.notifier()).map_err(wrong)?);
        let background = session.spawn().map_err(wrong)?;
        // Its owner would unmount the path once more when it ends, and hit whatever somebody mounted there meanwhile.
        // What it holds is released when this process ends.
        std::mem::forget(background);
        Ok((remote, ended))
    }

    /// What the table of mounts says: what `mount -a` looks for, unless it has characters that mean something to fusermount3.
    fn source(&self) -> String {
        let is_plain =
            |name: &&String| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./ ".contains(&byte));
        let source = self.options.source.as_ref().or(self.options.bucket.as_ref()).filter(is_plain);
        source.map_or_else(|| point::SOURCE.to_owned(), Clone::clone)
    }

    fn config(&self) -> Config {
        let options = &self.options;
        let either = |on: bool, yes: MountOption, no: MountOption| if on { yes } else { no };
        let mut config = Config::default();
        config.mount_options = vec![
            MountOption::FSName(self.source()),
            // Not `Subtype`, which is lost without fusermount3.
            MountOption::CUSTOM("subtype=cyx".to_owned()),
            MountOption::DefaultPermissions,
            either(options.suid, MountOption::Suid, MountOption::NoSuid),
            either(options.dev, MountOption::Dev, MountOption::NoDev),
            either(options.exec, MountOption::Exec, MountOption::NoExec),
            either(options.read_only, MountOption::RO, MountOption::RW),
        ];
        config.acl = if options.allow_other { SessionACL::All } else { SessionACL::Owner };
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        config.n_threads = Some(processors.clamp(*READERS.start(), *READERS.end()));
        config
    }

    fn record(&self, client: &Client) -> Record {
        Record {
            mountpoint: self.mountpoint.clone(),
            pid: std::process::id(),
            bucket: self.options.bucket.clone(),
            gateway: client.gateway().to_string(),
            read_only: self.options.read_only,
            cache_dir: self.cache_dir.clone(),
            since: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        }
    }
}

/// Why the kernel or fusermount3 did not mount.
fn refused(mountpoint: &Path, source: io::Error) -> Error {
    // Nothing is mounted there yet, so looking asks nobody.
    if source.kind() == io::ErrorKind::NotFound && mountpoint.is_dir() {
        return Error::NoHelper;
    }
    let path = mountpoint.to_owned();
    if source.raw_os_error().is_some() {
        return Error::Mountpoint { path, source };
    }
    // What a program writes on standard error is a line, or several, and says what to do by itself.
    let said = source.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    Error::Mountpoint { path, source: io::Error::other(said) }
}

/// Name of this machine, for the names of conflict copies.
fn host() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn prepared(mountpoint: &Path, home: &Path, cache: Option<PathBuf>) -> Result<Prepared> {
        prepare(mountpoint, home, Options { cache_dir: cache, ..Options::default() })
    }

    #[test]
    fn what_the_helper_says_is_one_sentence() {
        let folder = tempfile::tempdir().unwrap();
        let said = io::Error::new(io::ErrorKind::PermissionDenied, "fusermount3: option a only\nallowed if b\n");
        let error = refused(folder.path(), said);
        assert!(error.to_string().ends_with(": fusermount3: option a only allowed if b"), "{error}");
        assert_eq!(error.advice(), None, "it said so itself");
        // There is a directory: what is missing is the program.
        let missing = || io::Error::from(rustix::io::Errno::NOENT);
        assert!(matches!(refused(folder.path(), missing()), Error::NoHelper));
        let gone = refused(&folder.path().join("gone"), missing());
        assert_eq!(gone.exit_code(), ErrorCode::NotFound.exit_code(), "{gone}");
    }

    #[test]
    fn a_folder_that_does_not_exist_yet_is_found_where_it_will_be() {
        let folder = tempfile::tempdir().unwrap();
        let real = fs::canonicalize(folder.path()).unwrap();
        symlink(&real, real.join("link")).unwrap();
        assert_eq!(existing(&real.join("link/a/b")).unwrap(), real.join("a/b"));
        assert_eq!(existing(&real).unwrap(), real);
    }

    #[test]
    fn what_the_mount_needs_cannot_lie_below_it() {
        if let Err(error) = fs::OpenOptions::new().read(true).write(true).open(DEVICE) {
            // Without the device nothing can be prepared, and that is said first.
            assert!(matches!(prepared(Path::new("/"), Path::new("/"), None), Err(Error::NoFuse(_))), "{error}");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let (point, home) = (folder.path().join("cloud"), folder.path().join("home"));
        fs::create_dir(&point).unwrap();
        fs::create_dir(&home).unwrap();
        assert!(prepared(&point, &home, None).is_ok());
        for inside in [point.join("cache"), point.clone()] {
            let refused = prepared(&point, &home, Some(inside.clone()));
            assert!(matches!(refused, Err(Error::Inside { .. })), "{}", inside.display());
            assert!(matches!(prepared(&point, &inside, None), Err(Error::Inside { .. })));
        }
        symlink(&point, folder.path().join("link")).unwrap();
        let refused = prepared(&point, &home, Some(folder.path().join("link/cache")));
        assert!(matches!(refused, Err(Error::Inside { .. })));
        // A neighbour whose name begins alike is no danger.
        assert!(prepared(&point, &home, Some(folder.path().join("cloud2/cache"))).is_ok());
        fs::write(point.join("file"), "x").unwrap();
        assert!(matches!(prepared(&point, &home, None), Err(Error::NotEmpty(_))));
    }
}
