//! What is remembered about a cluster: `cluster.json` in its folder.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use super::process::Process;
use super::{Error, Result};

const FORMAT: u32 = 1;
const STATE_FILE: &str = "cluster.json";
const LOCK_FILE: &str = "lock";
const TOKEN_FILE: &str = "enroll-token";

/// A cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cluster {
    format: u32,
    /// Port of the server for users.
    pub http_port: u16,
    /// That port was asked for, so no other will do.
    pub http_port_fixed: bool,
    /// Port of the server for nodes.
    pub grpc_port: u16,
    /// The server's process, if it was started and not stopped.
    pub server: Option<Process>,
    /// The server was ready once with these ports.
    pub server_settled: bool,
    /// Further arguments of the server.
    pub server_args: Vec<String>,
    /// Further arguments of every node.
    pub node_args: Vec<String>,
    /// The nodes, by index.
    pub nodes: Vec<Node>,
}

/// A storage node of a cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Node {
    /// Port of its chunk service.
    pub grpc_port: u16,
    /// Port of its metrics.
    pub metrics_port: u16,
    /// Its process, if it was started and not stopped.
    pub process: Option<Process>,
    /// It was ready once with these ports.
    pub settled: bool,
}

impl Cluster {
    /// A cluster that was never started.
    #[must_use]
    pub fn new(http_port: u16, grpc_port: u16) -> Self {
        Self {
            format: FORMAT,
            http_port,
            http_port_fixed: false,
            grpc_port,
            server: None,
            server_settled: false,
            server_args: Vec::new(),
            node_args: Vec::new(),
            nodes: Vec::new(),
        }
    }

    /// Every port in use by it.
    #[must_use]
    pub fn ports(&self) -> Vec<u16> {
        let nodes = self.nodes.iter().flat_map(|node| [node.grpc_port, node.metrics_port]);
        [self.http_port, self.grpc_port].into_iter().chain(nodes).collect()
    }
}

/// The folder of a cluster.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// A folder; nothing is touched.
    ///
    /// # Errors
    /// If the present folder, which a relative path needs, cannot be found.
    pub fn new(path: &Path) -> Result<Self> {
        let path = std::path::absolute(path).map_err(Error::io(path))?;
        Ok(Self { path })
    }

    /// The folder itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where mail goes.
    #[must_use]
    pub fn outbox(&self) -> PathBuf {
        self.path.join("outbox")
    }

    /// The server's data.
    #[must_use]
    pub fn server(&self) -> PathBuf {
        self.path.join("server")
    }

    /// A node's data.
    #[must_use]
    pub fn node(&self, index: usize) -> PathBuf {
        self.path.join("nodes").join(format!("{index:02}"))
    }

    /// A log or ready file.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.path.join("logs").join(name)
    }

    /// Makes the folder, readable by its owner alone, and what is in it.
    ///
    /// # Errors
    /// If that fails, or if a folder that already has other things in it was named.
    pub fn create(&self) -> Result<()> {
        use std::os::unix::fs::DirBuilderExt as _;
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(&self.path).map_err(Error::io(&self.path))?;
        for path in [self.outbox(), self.server(), self.path.join("nodes"), self.path.join("logs")] {
            builder.create(&path).map_err(Error::io(&path))?;
        }
        Ok(())
    }

    /// Waits until no other command works on this cluster, and keeps others out until the lock is dropped.
    ///
    /// # Errors
    /// [`Error::NoCluster`] if there is no folder.
    pub fn lock(&self) -> Result<Lock> {
        let path = self.path.join(LOCK_FILE);
        loop {
            let opened = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
            let file = match opened {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(Error::NoCluster { dir: self.path.clone() });
                }
                other => other.map_err(Error::io(&path))?,
            };
            rustix::fs::flock(&file, FlockOperation::LockExclusive).map_err(|e| Error::io(&path)(e.into()))?;
            // `down --wipe` may have removed the file while we waited for it.
            let ours = file.metadata().map_err(Error::io(&path))?.ino();
            if fs::metadata(&path).is_ok_and(|there| there.ino() == ours) {
                return Ok(Lock { _file: file });
            }
        }
    }

    /// The cluster that was saved last.
    ///
    /// # Errors
    /// [`Error::NoCluster`] if there is none, [`Error::State`] if the file cannot be understood.
    pub fn load(&self) -> Result<Cluster> {
        let path = self.path.join(STATE_FILE);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::NoCluster { dir: self.path.clone() });
            }
            other => other.map_err(Error::io(&path))?,
        };
        let broken = |reason: String| Error::State { path: path.clone(), reason };
        let cluster: Cluster = serde_json::from_slice(&text).map_err(|error| broken(error.to_string()))?;
        if cluster.format != FORMAT {
            return Err(broken(format!("format {} is not known to this program", cluster.format)));
        }
        Ok(cluster)
    }

    /// Saves a cluster: afterwards the file is the old one or the new one, whatever happens.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, cluster: &Cluster) -> Result<()> {
        let text = serde_json::to_vec_pretty(cluster)
            .map_err(|error| Error::State { path: self.path.join(STATE_FILE), reason: error.to_string() })?;
        self.write_private(STATE_FILE, &text)
    }

    /// The token with which nodes join this cluster; made when first asked for.
    ///
    /// # Errors
    /// If it can be neither read nor written.
    pub fn enroll_token(&self) -> Result<String> {
        let path = self.path.join(TOKEN_FILE);
        match fs::read_to_string(&path) {
            Ok(token) => return Ok(token.trim().to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io(&path)(error)),
        }
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| Error::io(&path)(error.into()))?;
        let token = hex::encode(secret);
        self.write_private(TOKEN_FILE, token.as_bytes())?;
        Ok(token)
    }

    /// Removes all that belongs to a cluster, and the folder if nothing else is in it.
    ///
    /// # Errors
    /// If something cannot be removed.
    pub fn wipe(&self) -> Result<()> {
        for name in ["nodes", "server", "outbox", "logs"] {
            let path = self.path.join(name);
            ignore_missing(fs::remove_dir_all(&path)).map_err(Error::io(&path))?;
        }
        for name in [TOKEN_FILE, STATE_FILE, LOCK_FILE] {
            let path = self.path.join(name);
            ignore_missing(fs::remove_file(&path)).map_err(Error::io(&path))?;
        }
        // Stays if the user keeps other things there.
        let _ = fs::remove_dir(&self.path);
        Ok(())
    }

    fn write_private(&self, name: &str, content: &[u8]) -> Result<()> {
        let (path, fresh) = (self.path.join(name), self.path.join(format!("{name}.new")));
        let write = || {
            let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&fresh)?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&fresh, &path)?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(Error::io(&path))
    }
}

/// Held while a command works on a cluster.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn folder() -> (tempfile::TempDir, Folder) {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::new(&parent.path().join("cluster")).unwrap();
        (parent, folder)
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let (_parent, folder) = folder();
        assert!(matches!(folder.load(), Err(Error::NoCluster { .. })));
        assert!(matches!(folder.lock(), Err(Error::NoCluster { .. })));
        folder.create().unwrap();
        let mut cluster = Cluster::new(1, 2);
        cluster.nodes.push(Node {
            grpc_port: 3,
            metrics_port: 4,
            process: Process::find(std::process::id()),
            settled: true,
        });
        folder.save(&cluster).unwrap();
        let loaded = folder.load().unwrap();
        assert_eq!(loaded.ports(), [1, 2, 3, 4]);
        assert!(loaded.nodes[0].process.as_ref().unwrap().is_running());
    }

    #[test]
    fn files_of_another_format_are_refused() {
        let (_parent, folder) = folder();
        folder.create().unwrap();
        folder.save(&Cluster { format: 99, ..Cluster::new(1, 2) }).unwrap();
        assert!(matches!(folder.load(), Err(Error::State { .. })));
        fs::write(folder.path().join(STATE_FILE), "{").unwrap();
        assert!(matches!(folder.load(), Err(Error::State { .. })));
    }

    #[test]
    fn the_token_stays_and_is_private() {
        let (_parent, folder) = folder();
        folder.create().unwrap();
        let token = folder.enroll_token().unwrap();
        assert_eq!(folder.enroll_token().unwrap(), token);
        let mode = fs::metadata(folder.path().join(TOKEN_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn wiping_leaves_what_belongs_to_others() {
        let (_parent, folder) = folder();
        folder.create().unwrap();
        folder.save(&Cluster::new(1, 2)).unwrap();
        let other = folder.path().join("notes.txt");
        fs::write(&other, "mine").unwrap();
        folder.wipe().unwrap();
        assert_eq!(fs::read_to_string(&other).unwrap(), "mine");
        assert!(matches!(folder.load(), Err(Error::NoCluster { .. })));
        fs::remove_file(&other).unwrap();
        folder.wipe().unwrap();
        assert!(!folder.path().exists());
    }
}
