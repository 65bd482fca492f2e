//! What somebody who runs the cluster does and sees: folders of nodes, metrics, commands of `cyx-server`.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

use crate::{Cluster, Run, program};

impl Cluster {
    /// Stops a node in peace.
    pub fn stop_node(&self, index: usize) {
        self.dev(&["stop-node", &index.to_string()]);
    }

    /// The data folder of a node.
    ///
    /// # Panics
    /// If there is no such node.
    #[must_use]
    pub fn node_dir(&self, index: usize) -> PathBuf {
        self.status()["nodes"][index]["data_dir"].as_str().expect("the node has a folder").into()
    }

    /// The volumes of a node, oldest first.
    ///
    /// # Panics
    /// If they cannot be listed.
    #[must_use]
    pub fn volumes(&self, index: usize) -> Vec<PathBuf> {
        let folder = self.node_dir(index).join("volumes");
        let listed = std::fs::read_dir(folder).expect("a node has a folder of volumes");
        let mut volumes: Vec<PathBuf> = listed.map(|entry| entry.expect("an entry").path()).collect();
        volumes.sort();
        volumes
    }

    /// A number of a node's metrics.
    ///
    /// # Panics
    /// If the node does not answer or does not have it.
    #[must_use]
    pub fn metric(&self, index: usize, name: &str) -> u64 {
        let status = self.status();
        let url = status["nodes"][index]["metrics"].as_str().expect("the node has metrics").to_owned();
        let (host, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("an address");
        let mut stream = TcpStream::connect(host).expect("the node answers");
        write!(stream, "GET /{path} HTTP/1.0\r\nHost: {host}\r\n\r\n").expect("the request is sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("the answer is text");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = line.unwrap_or_else(|| panic!("no {name} in\n{text}"));
        value.parse().unwrap_or_else(|_| panic!("{name} is {value}, not a whole number"))
    }

    /// The sum of a number over all nodes, which must all be running.
    #[must_use]
    pub fn metric_sum(&self, name: &str) -> u64 {
        let nodes = self.status()["nodes"].as_array().map_or(0, Vec::len);
        (0..nodes).map(|index| self.metric(index, name)).sum()
    }

    /// The data folder of the server.
    #[must_use]
    pub fn server_dir(&self) -> PathBuf {
        self.dir().join("server")
    }

    /// Runs a command of `cyx-server` on the server's data folder.
    ///
    /// # Panics
    /// If the program cannot be started or does not end.
    #[must_use]
    pub fn server_command(&self, args: &[&str]) -> Run {
        let mut command = Command::new(program("cyx-server"));
        command.args(args).arg("--data-dir").arg(self.server_dir());
        Run::of(command)
    }

    /// Asserts that the server's database agrees with itself.
    ///
    /// # Panics
    /// If it does not.
    pub fn assert_consistent(&self) {
        let run = self.server_command(&["check"]);
        assert_eq!(run.code, 0, "{}\n{}", String::from_utf8_lossy(&run.stdout), run.stderr);
    }
}

/// What an address, with or without a scheme, answers to `GET /metrics`.
///
/// # Panics
/// If it does not answer.
#[must_use]
pub fn scrape(address: &str) -> String {
    let host = address.trim_start_matches("http://").split('/').next().unwrap_or_default();
    let mut stream = TcpStream::connect(host).expect("it answers");
    write!(stream, "GET /metrics HTTP/1.0\r\nHost: {host}\r\n\r\n").expect("the request is sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("the answer is text");
    text
}
