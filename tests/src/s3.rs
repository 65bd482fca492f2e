//! A server that speaks S3, for tests of nodes that keep their chunks in a bucket: `moto_server` (PyPI: `moto[server]`), if it is there.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::skip::skip;

/// A running server with one bucket, `chunks`. It keeps everything in memory and ends when this is dropped.
pub struct S3 {
    process: Child,
    /// Host and port.
    address: String,
    folder: tempfile::TempDir,
}

impl Drop for S3 {
    fn drop(&mut self) {
        // One that ended by itself is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl S3 {
    /// Starts one; `None`, with the reason on standard error, where there is none to start.
    ///
    /// # Panics
    /// As [`skip`].
    #[must_use]
    pub fn start() -> Option<Self> {
        let mut command = Command::new("moto_server");
        command.args(["-H", "127.0.0.1", "-p", "0"]).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = match command.spawn() {
            Ok(process) => process,
            Err(error) => {
                skip("moto_server", &format!("there is no server that speaks S3: moto_server: {error}"));
                return None;
            }
        };
        let mut lines = BufReader::new(process.stderr.take()?);
        let mut server = Self { process, address: String::new(), folder: tempfile::tempdir().ok()? };
        let mut line = String::new();
        while server.address.is_empty() {
            line.clear();
            if lines.read_line(&mut line).ok()? == 0 {
                skip("moto_server", &format!("moto_server ended: {:?}", server.process.wait()));
                return None;
            }
            server.address = line.split_once("http://").map_or(String::new(), |(_, at)| at.trim().to_owned());
        }
        // What it says of every request is of no use, but has to go somewhere.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        let mut key =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(server.credentials()).ok()?;
        key.write_all(b"access_key_id = \"test\"\nsecret_access_key = \"test\"\n").ok()?;
        let answer = server.ask("PUT /chunks HTTP/1.1").expect("the server makes a bucket");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        Some(server)
    }

    /// One plain request; all of its answer.
    fn ask(&self, line: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(&self.address)?;
        let address = &self.address;
        write!(stream, "{line}\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Its address.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A file with a key that it accepts.
    #[must_use]
    pub fn credentials(&self) -> PathBuf {
        Path::join(self.folder.path(), "key.toml")
    }

    /// What a node is told to keep its chunks here.
    #[must_use]
    pub fn node_args(&self) -> Vec<String> {
        let (endpoint, key) = (self.endpoint(), self.credentials());
        vec![
            "--storage=s3://chunks/nodes".to_owned(),
            format!("--s3-endpoint={endpoint}"),
            format!("--s3-credentials={}", key.display()),
        ]
    }
}
