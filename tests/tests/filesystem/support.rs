//! Filesystems of one user on one cluster, and short ways to use them.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cyx_client::{Client, Config};
use cyx_fs::vfs::{OpenFlags, Options};
use cyx_fs::{Attr, Caller, Errno, Filesystem, Handle, Ino, Kind, ROOT_INO};
use cyx_tests::{Cluster, User};
use tempfile::TempDir;

pub(crate) const ME: Caller = Caller { uid: 1000, gid: 100, pid: 1, umask: 0 };
pub(crate) const READ: OpenFlags =
    OpenFlags { read: true, write: false, truncate: false, exclusive: false, sync: false };
pub(crate) const WRITE: OpenFlags = OpenFlags { write: true, ..READ };
pub(crate) const NEW: OpenFlags = OpenFlags { exclusive: true, ..WRITE };

/// A cluster with a user who has a bucket.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) user: User,
}

/// A filesystem and the folder of its journal.
pub(crate) struct Machine {
    pub(crate) fs: Filesystem,
    pub(crate) folder: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(&[])
    }

    /// With further arguments of the server.
    pub(crate) fn with(server_args: &[&str]) -> Self {
        let cluster = Cluster::start_with(1, server_args, &[]);
        let user = cluster.user("alice");
        user.ok(["bucket", "create", "work"]);
        Self { cluster, user }
    }

    pub(crate) async fn client(&self) -> Client {
        client_of(&self.user).await
    }

    /// A machine on which `change` was done to the usual options.
    pub(crate) async fn machine(&self, change: impl FnOnce(&mut Options)) -> Machine {
        let folder = tempfile::tempdir().unwrap();
        let fs = self.open(folder.path(), change).await;
        Machine { fs, folder }
    }

    pub(crate) async fn open(&self, folder: &Path, change: impl FnOnce(&mut Options)) -> Filesystem {
        open_of(&self.user, folder, change).await
    }
}

/// A client of somebody who has logged in.
pub(crate) async fn client_of(user: &User) -> Client {
    let gateway = Some(user.gateway().parse().unwrap());
    let config = Config { home: user.home(), gateway, email: None, ca_file: None, token: None };
    Client::open(&config).await.unwrap()
}

/// A filesystem of somebody who has logged in.
pub(crate) async fn open_of(user: &User, folder: &Path, change: impl FnOnce(&mut Options)) -> Filesystem {
    let mut options = Options::new(folder.to_owned());
    options.host = "desk".to_owned();
    change(&mut options);
    let fs = Filesystem::open(client_of(user).await, options).await.unwrap();
    until("the stream of events stands", async || fs.state().connected).await;
    fs
}

/// Waits until something holds. The limit only ends a test that would hang.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(300);
    while !holds().await {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The directory of a bucket.
pub(crate) async fn bucket(fs: &Filesystem, name: &str) -> Ino {
    fs.lookup(ROOT_INO, name.as_bytes()).await.unwrap().ino
}

/// The inode of a path below a directory.
pub(crate) async fn walk(fs: &Filesystem, from: Ino, path: &str) -> Result<Attr, Errno> {
    let mut at = fs.getattr(from, None).await?;
    for name in path.split('/').filter(|name| !name.is_empty()) {
        at = fs.lookup(at.ino, name.as_bytes()).await?;
    }
    Ok(at)
}

pub(crate) async fn write_at(fs: &Filesystem, handle: Handle, offset: u64, data: &[u8]) {
    let written = fs.write(handle, offset, Bytes::copy_from_slice(data)).await.unwrap();
    assert_eq!(written as usize, data.len());
}

/// Makes a file with content.
pub(crate) async fn put(fs: &Filesystem, parent: Ino, name: &str, data: &[u8]) -> Ino {
    let (attr, handle) = fs.create(parent, name.as_bytes(), 0o644, WRITE, ME).await.unwrap();
    if !data.is_empty() {
        write_at(fs, handle, 0, data).await;
    }
    fs.flush(handle).await.unwrap();
    fs.release(handle).await;
    attr.ino
}

/// All bytes of a file.
pub(crate) async fn content(fs: &Filesystem, ino: Ino) -> Vec<u8> {
    let handle = fs.open_file(ino, READ).await.unwrap();
    let mut all = Vec::new();
    loop {
        let part = fs.read(handle, all.len() as u64, 100_000).await.unwrap();
        if part.is_empty() {
            break;
        }
        all.extend_from_slice(&part);
    }
    fs.release(handle).await;
    all
}

/// Names, kinds and attributes of a directory, without `.` and `..`.
pub(crate) async fn list(fs: &Filesystem, ino: Ino) -> Vec<(String, Kind, Attr)> {
    let (handle, _) = fs.opendir(ino).await.unwrap();
    let (mut all, mut cookie) = (Vec::new(), 0);
    loop {
        // A small number, so that cookies matter.
        let part = fs.readdir(handle, cookie, true, 3).await.unwrap();
        let Some(last) = part.last() else { break };
        cookie = last.cookie;
        for entry in part {
            let Some(attr) = entry.attr else { continue };
            assert_eq!((entry.ino, entry.kind), (attr.ino, attr.kind));
            fs.forget(attr.ino, 1);
            all.push((String::from_utf8(entry.name).unwrap(), entry.kind, attr));
        }
    }
    fs.releasedir(handle);
    all
}
