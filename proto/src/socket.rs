//! How connections are set up that much content passes over.

use std::io;
use std::os::fd::AsFd;

use socket2::SockRef;

/// Takes the loss of a packet for a full queue, so that on a long way where one of a hundred is lost by chance a twentieth of the way is used.
const LOSS_BASED: [&[u8]; 2] = [b"cubic", b"reno"];
/// Looks at the rate at which packets arrive instead.
const RATE_BASED: &[u8] = b"bbr";

/// Sets up a connection to a node, on either side of it: small packets are not held back, and if it leads to another machine and the system
/// has a congestion control that copes with chance losses, that is used instead of the usual ones, which do not. Others stay, and so do
/// these if the system offers nothing better.
///
/// # Errors
/// If the connection is broken.
pub fn prepare(stream: &impl AsFd) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    let peer = socket.peer_addr()?.as_socket();
    if peer.is_some_and(|peer| !peer.ip().to_canonical().is_loopback()) {
        prefer_rate(&socket);
    }
    Ok(())
}

fn prefer_rate(socket: &SockRef<'_>) {
    let Ok(name) = socket.tcp_congestion() else { return };
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    if LOSS_BASED.contains(&name) {
        // Not every kernel has it.
        let _ = socket.set_tcp_congestion(RATE_BASED);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    use super::*;

    fn congestion(stream: &TcpStream) -> Vec<u8> {
        let name = SockRef::from(stream).tcp_congestion().unwrap();
        name.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
    }

    /// Both ends: a connection whose other end is gone cannot be asked who that was.
    fn connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        // Every kernel has this one.
        SockRef::from(&stream).set_tcp_congestion(b"reno").unwrap();
        (stream, listener.accept().unwrap().0)
    }

    #[test]
    fn on_this_machine_only_delays_are_switched_off() {
        let (stream, _other) = connection();
        prepare(&stream).unwrap();
        assert!(stream.nodelay().unwrap());
        assert_eq!(congestion(&stream), b"reno");
    }

    #[test]
    fn what_copes_with_loss_is_used_where_there_is_such_a_thing() {
        let offered = SockRef::from(&connection().0).set_tcp_congestion(RATE_BASED).is_ok();
        let (stream, _other) = connection();
        prefer_rate(&SockRef::from(&stream));
        assert_eq!(congestion(&stream), if offered { RATE_BASED } else { b"reno" });
    }
}
