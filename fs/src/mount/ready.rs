//! Telling whoever started the mount that it works: systemd (sd_notify(3)) here, the command that put itself into the background
//! in the program.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The way to the service manager that started this process, if one did.
#[derive(Debug, Default)]
pub(super) struct Manager {
    socket: Option<UnixDatagram>,
}

impl Manager {
    /// Takes the address from the variable `NOTIFY_SOCKET`.
    #[must_use]
    pub(super) fn from_environment() -> Self {
        let Some(address) = env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty()) else {
            return Self::default();
        };
        Self::at(&address).unwrap_or_else(|error| {
            tracing::warn!(%error, "the service manager cannot be told anything");
            Self::default()
        })
    }

    fn at(address: &OsStr) -> io::Result<Self> {
        let address = match address.as_bytes().split_first() {
            Some((b'@', name)) => abstract_address(name)?,
            _ => SocketAddr::from_pathname(address)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket: Some(socket) })
    }

    /// The mount works.
    pub(super) fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={status}"));
    }

    /// The mount is finishing and needs this long for its next step.
    pub(super) fn stopping(&self, status: &str, needed: Duration) {
        self.send(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={}\nSTATUS={status}", needed.as_micros()));
    }

    fn send(&self, message: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(message.as_bytes())
        {
            tracing::debug!(%error, "the service manager was not told");
        }
    }
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &[u8]) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt as _;
    SocketAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(_name: &[u8]) -> io::Result<SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_manager_hears_what_sd_notify_would_say() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let receiver = UnixDatagram::bind(&path).unwrap();
        let manager = Manager::at(path.as_os_str()).unwrap();
        let received = || {
            let mut buffer = [0; 256];
            let length = receiver.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..length].to_vec()).unwrap()
        };
        manager.ready("mounted");
        assert_eq!(received(), "READY=1\nSTATUS=mounted");
        manager.stopping("finishing", Duration::from_secs(2));
        assert_eq!(received(), "STOPPING=1\nEXTEND_TIMEOUT_USEC=2000000\nSTATUS=finishing");
    }

    #[test]
    fn a_manager_that_is_not_there_is_an_error() {
        assert!(Manager::at(OsStr::new("/nowhere/at/all")).is_err());
    }
}
