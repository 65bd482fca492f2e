//! `node_credentials.json` (0600): which machine this is, and the key with which it gets its tokens. `node_id`: which node it was last.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use cyx_core::ids::{MachineId, NodeId};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::api::Machine;
use super::config::Secret;
use super::error::Error;

/// Name of the file in the home folder.
pub(crate) const FILE: &str = "node_credentials.json";
/// Name of the note of the node's id in the home folder.
const NODE_FILE: &str = "node_id";
const LEN_MAX: u64 = 64 * 1024;

#[derive(Deserialize)]
struct Stored {
    gateway: String,
    machine_id: MachineId,
    api_key: Secret,
}

#[derive(Serialize)]
struct ToStore<'a> {
    gateway: &'a str,
    machine_id: MachineId,
    api_key: &'a str,
}

fn file(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.display().to_string();
    move |source| Error::File { doing, path, source }
}

fn path(home: &Path) -> PathBuf {
    home.join(FILE)
}

/// What was saved for this gateway. Credentials of another one are not used and not sent anywhere.
///
/// # Errors
/// [`Error::File`] if the file is there and cannot be used, or can be read by others.
pub(crate) fn load(home: &Path, gateway: &str) -> Result<Option<Machine>, Error> {
    let Some(stored) = read(home)? else { return Ok(None) };
    if stored.gateway != gateway {
        tracing::warn!(saved = stored.gateway, gateway, "the saved credentials are for another gateway");
        return Ok(None);
    }
    Ok(Some(Machine { id: stored.machine_id, api_key: stored.api_key }))
}

/// As [`load`], for a machine that has to be enrolled at this gateway.
///
/// # Errors
/// As [`load`]; [`Error::NotEnrolled`], [`Error::OtherGateway`].
pub(crate) fn of_enrolled(home: &Path, gateway: &str) -> Result<Machine, Error> {
    let stored = read(home)?.ok_or(Error::NotEnrolled)?;
    if stored.gateway != gateway {
        return Err(Error::OtherGateway { saved: stored.gateway, asked: gateway.to_owned() });
    }
    Ok(Machine { id: stored.machine_id, api_key: stored.api_key })
}

fn read(home: &Path) -> Result<Option<Stored>, Error> {
    let path = path(home);
    let metadata = match std::fs::metadata(&path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(file("read", &path)(source)),
    };
    if metadata.mode() & 0o077 != 0 || metadata.len() > LEN_MAX {
        let message = "it has to be readable by its owner alone (chmod 600)";
        return Err(file("use", &path)(std::io::Error::other(message)));
    }
    let text = Zeroizing::new(std::fs::read_to_string(&path).map_err(file("read", &path))?);
    serde_json::from_str(&text).map(Some).map_err(|error| file("use", &path)(std::io::Error::other(error)))
}

/// Saves credentials, in place of any others.
///
/// # Errors
/// [`Error::File`].
pub(crate) fn save(home: &Path, gateway: &str, machine: &Machine) -> Result<(), Error> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(home).map_err(file("make", home))?;
    let path = path(home);
    let stored = ToStore { gateway, machine_id: machine.id, api_key: machine.api_key.expose() };
    let text =
        serde_json::to_string_pretty(&stored).map_err(|error| file("write", &path)(std::io::Error::other(error)))?;
    let text = Zeroizing::new(text);
    // Written beside and renamed, so that a crash never leaves half a file.
    let fresh = home.join(format!(".{FILE}.{}", std::process::id()));
    let write = || {
        let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        out.write_all(text.as_bytes())?;
        out.sync_all()?;
        std::fs::rename(&fresh, &path)
    };
    write().map_err(file("write", &path))
}

/// Where the note of the node's id is.
pub(crate) fn node_note(home: &Path) -> PathBuf {
    home.join(NODE_FILE)
}

/// The node that this machine was last, if it was one.
///
/// # Errors
/// [`Error::File`].
pub(crate) fn noted_node(home: &Path) -> Result<Option<NodeId>, Error> {
    let path = node_note(home);
    match std::fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map(Some).map_err(|error| file("use", &path)(std::io::Error::other(error))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(file("read", &path)(source)),
    }
}

/// Notes the node that this machine is.
///
/// # Errors
/// [`Error::File`].
pub(crate) fn note_node(home: &Path, node: NodeId) -> Result<(), Error> {
    let path = node_note(home);
    let fresh = home.join(format!(".{NODE_FILE}.{}", std::process::id()));
    let write = || {
        std::fs::write(&fresh, format!("{node}\n"))?;
        std::fs::rename(&fresh, &path)
    };
    write().map_err(file("write", &path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyx_core::ids::Random as _;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn credentials_are_private_and_for_one_gateway() {
        let home = tempfile::tempdir().unwrap();
        assert!(load(home.path(), "http://a").unwrap().is_none());
        let machine = Machine { id: MachineId::random(), api_key: "key".to_owned().into() };
        save(home.path(), "http://a", &machine).unwrap();
        let file = path(home.path());
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let loaded = load(home.path(), "http://a").unwrap().unwrap();
        assert_eq!((loaded.id, loaded.api_key.expose()), (machine.id, "key"));
        assert!(load(home.path(), "http://b").unwrap().is_none());
        assert!(of_enrolled(home.path(), "http://a").is_ok());
        let elsewhere = of_enrolled(home.path(), "http://b").err().unwrap().to_string();
        assert!(elsewhere.contains("enrolled at http://a and not at http://b"), "{elsewhere}");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(load(home.path(), "http://a").is_err());
    }
}
