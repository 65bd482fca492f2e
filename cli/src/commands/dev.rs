//! `cyx dev`: a cluster of the production programs on this machine, up and down.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use crate::args::dev::{Dev, Place, Up};
use crate::dev;
use crate::dev::Status;
use crate::dev::cluster::Manager;
use crate::dev::state::Folder;
use crate::error::Result;
use crate::output::Output;

/// Does one of the commands.
///
/// # Errors
/// As the commands say.
pub fn run(command: Dev, output: &Output) -> Result<()> {
    match command {
        Dev::Up(args) => up(&args, output),
        Dev::Status(args) => {
            let folder = folder(&args.place)?;
            let cluster = folder.load()?;
            show(&Status::of(&folder, &cluster), output)
        }
        Dev::StopNode(args) => {
            let mut manager = Manager::open(folder(&args.place)?)?;
            manager.stop_node(args.index, args.kill)?;
            changed(&manager, args.index, output)
        }
        Dev::StartNode(args) => {
            let mut manager = Manager::open(folder(&args.place)?)?;
            manager.start_node(args.index, Duration::from_secs(args.timeout))?;
            changed(&manager, args.index, output)
        }
        Dev::Down(args) => {
            let mut manager = Manager::open(folder(&args.place)?)?;
            manager.down()?;
            let status = Status::of(manager.folder(), manager.cluster());
            if args.wipe {
                manager.folder().wipe()?;
            }
            if output.json() {
                return output.document(&status);
            }
            output.note(if args.wipe {
                "The cluster is stopped and deleted."
            } else {
                "The cluster is stopped; its data is kept."
            });
            Ok(())
        }
    }
}

fn up(args: &Up, output: &Output) -> Result<()> {
    let mut manager = Manager::create(folder(&args.place)?, args)?;
    // A running server is not ended under those who use it.
    if let Some(unheeded) = manager.unheeded(args) {
        output.warn(format!("{unheeded} at the next start only: `cyx dev down`, then `cyx dev up`"));
    }
    manager.up(Duration::from_secs(args.timeout), &|text| output.detail(text))?;
    let status = Status::of(manager.folder(), manager.cluster());
    if output.json() {
        return output.document(&status);
    }
    output.note(format!("A server and {} nodes are running. To use them:", status.nodes.len()));
    output.line(format!("export CYXCLOUD_GATEWAY={}", status.gateway))?;
    output.note(format!("Mail, such as login codes, lies in {}; stop all with `cyx dev down`.", status.outbox));
    Ok(())
}

fn changed(manager: &Manager, index: u32, output: &Output) -> Result<()> {
    let status = Status::of(manager.folder(), manager.cluster());
    let Some(node) = status.nodes.into_iter().find(|node| node.index == index as usize) else { return Ok(()) };
    if output.json() {
        return output.document(&node);
    }
    output.note(format!("Node {index} is {}.", node.state));
    Ok(())
}

fn show(status: &Status, output: &Output) -> Result<()> {
    if output.json() {
        return output.document(status);
    }
    output.line(format!("gateway  {}", status.gateway))?;
    output.line(format!("grpc     {}", status.grpc))?;
    output.line(format!("outbox   {}", status.outbox))?;
    output.line(format!("server   {}  {}", status.server.state, shown_pid(status.server.pid)))?;
    for node in &status.nodes {
        output.line(format!("node {:<3} {}  {}  {}", node.index, node.state, shown_pid(node.pid), node.address))?;
    }
    Ok(())
}

fn shown_pid(pid: Option<u32>) -> String {
    pid.map_or_else(|| "-".to_owned(), |pid| format!("pid {pid}"))
}

fn folder(place: &Place) -> dev::Result<Folder> {
    if let Some(dir) = &place.dir {
        return Folder::new(dir);
    }
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = set("CYXCLOUD_HOME").or_else(|| set("HOME").map(|home| home.join(".cyxcloud")));
    match home {
        Some(home) => Folder::new(&home.join("dev")),
        None => Err(dev::Error::Usage("there is no home folder: use --dir or set CYXCLOUD_HOME".to_owned())),
    }
}
