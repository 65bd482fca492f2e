//! How connections are set up that much content passes over.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;

use cyx_core::units::MIB;
use nix::sys::socket::sockopt::{GetStruct, SetUsize};
use nix::sys::socket::{GetSockOpt as _, SetSockOpt as _};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Takes the loss of a packet for a full queue, so that on a long way where one of a hundred is lost by chance a twentieth of the way is used.
const LOSS_BASED: [&[u8]; 2] = [b"cubic", b"reno"];
/// Looks at the rate at which packets arrive instead, and lets a timer space what is sent.
const RATE_BASED: &[u8] = b"bbr";

/// Bytes a second that a connection sends at most.
#[derive(Clone, Copy)]
struct MaxPacingRate;

// Neither socket2 nor rustix has this option.
nix::setsockopt_impl!(MaxPacingRate, libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE, usize, SetUsize);

/// The beginning of the structure of this name in `linux/tcp.h`, which every kernel fills since 4.6, and so every one that has `bbr`.
#[derive(Clone, Copy)]
#[repr(C)]
struct TcpInfo {
    _before: [u8; 16],
    /// Bytes of a packet.
    snd_mss: u32,
    _rcv_mss: u32,
    /// Packets of which nobody knows yet whether they arrived.
    unacked: u32,
    _between: [u32; 19],
    /// Bytes a second.
    pacing_rate: u64,
    _max_pacing_rate: u64,
    /// Bytes that arrived at the other end.
    bytes_acked: u64,
    _received: u64,
    _segs: [u32; 2],
    /// Bytes that no packet was made of yet.
    notsent_bytes: u32,
    _min_rtt: u32,
}

#[derive(Clone, Copy)]
struct GetTcpInfo;

nix::getsockopt_impl!(GetTcpInfo, libc::IPPROTO_TCP, libc::TCP_INFO, TcpInfo, GetStruct<TcpInfo>);

/// With as many bytes a second a small message leaves in a moment.
const LOW_RATE: u64 = MIB;

/// How far a connection has come with what it was given to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sending {
    /// Bytes that arrived at the other end.
    pub arrived: u64,
    /// Bytes that have not.
    pub left: u64,
}

/// Connects to a node by its address, and sets the connection up as [`prepare`] does.
///
/// # Errors
/// The error of the last address that its name has.
pub async fn connect(address: &str) -> io::Result<TcpStream> {
    let mut last = None;
    for address in tokio::net::lookup_host(address).await? {
        match connect_to(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address")))
}

async fn connect_to(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if is_own(address) {
        without_timers(&socket);
    }
    let stream = socket.connect(address).await?;
    prepare(&stream)?;
    Ok(stream)
}

/// Whoever takes connections calls this before it takes the first one, and [`prepare`] with each.
///
/// # Errors
/// If the listener is broken.
pub fn prepare_listener(listener: &TcpListener) -> io::Result<()> {
    // Where others may come from too, connections begin as the system has it.
    if listener.local_addr()?.ip().to_canonical().is_loopback() {
        without_timers(listener);
    }
    Ok(())
}

fn without_timers(socket: &impl AsFd) {
    // Inside one machine nothing gets lost, and the timers are half of what sending costs. A connection that had them once keeps them, so
    // they are left out from the beginning.
    replace(&SockRef::from(socket), &[RATE_BASED], &LOSS_BASED);
}

/// Sets up a connection to a node, on either side of it: small packets are not held back, and if it leads to another machine and the system
/// has a congestion control that copes with chance losses, that is used instead of the usual ones, which do not. Others stay, and so do
/// these if the system offers nothing better.
///
/// # Errors
/// If the connection is broken.
pub fn prepare(stream: &impl AsFd) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    let (here, there) = (socket.local_addr()?.as_socket(), socket.peer_addr()?.as_socket());
    if here.map(|here| here.ip()) != there.map(|there| there.ip()) {
        replace(&socket, &LOSS_BASED, &[RATE_BASED]);
    }
    Ok(())
}

/// Lets a connection that lags find its rate anew. `bbr` takes losses that go on for a while for a limit that somebody set, and keeps to the rate
/// of that moment for 48 round trips, also if the way is empty by then (`lt_bw` in `net/ipv4/tcp_bbr.c` of Linux). Nothing but beginning anew
/// makes it try more before.
pub fn probe_bandwidth(stream: &impl AsFd) {
    let socket = SockRef::from(stream);
    // Setting what is set already changes nothing.
    if replace(&socket, &[RATE_BASED], &LOSS_BASED) {
        let _ = socket.set_tcp_congestion(RATE_BASED);
    }
}

/// Has a connection to another machine send no more than so many bytes a second. What its congestion control finds counts if it is less.
pub fn limit_rate(stream: &impl AsFd, bytes_per_second: u64) {
    // Inside one machine it would bring back the timers.
    if is_rate_based(&SockRef::from(stream)) {
        let limit = usize::try_from(bytes_per_second).unwrap_or(usize::MAX).min(i32::MAX as usize);
        let _ = MaxPacingRate.set(stream, &limit);
    }
}

/// How far a connection has come; `None` if the system does not say.
pub fn sending(stream: &impl AsFd) -> Option<Sending> {
    let info = GetTcpInfo.get(stream).ok()?;
    let on_their_way = u64::from(info.unacked) * u64::from(info.snd_mss);
    Some(Sending { arrived: info.bytes_acked, left: u64::from(info.notsent_bytes) + on_their_way })
}

/// Has a connection find its rate anew if it has nothing on the way and believes in a low one, which it may have from small messages alone.
pub(crate) fn forget_low_rate(stream: &impl AsFd) {
    // One that makes up for losses would believe in next to nothing.
    let is_low = |info: TcpInfo| info.unacked == 0 && info.pacing_rate < LOW_RATE;
    if is_rate_based(&SockRef::from(stream)) && GetTcpInfo.get(stream).is_ok_and(is_low) {
        probe_bandwidth(stream);
    }
}

/// Whether this is an address of this machine: what is sent there comes from there. One of the loopback may lead elsewhere all the same, if
/// the machine is one end of a tunnel.
fn is_own(address: SocketAddr) -> bool {
    let any = if address.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    // Connecting sends no datagram, it only looks the way up.
    let begins = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect(address)?;
        socket.local_addr()
    });
    begins.is_ok_and(|begins| begins.ip() == address.ip())
}

fn is_rate_based(socket: &SockRef<'_>) -> bool {
    socket.tcp_congestion().is_ok_and(|name| name.split(|byte| *byte == 0).next() == Some(RATE_BASED))
}

/// Uses the first of `others` that the kernel has, if one of `these` is used now. Whether it does.
fn replace(socket: &SockRef<'_>, these: &[&[u8]], others: &[&[u8]]) -> bool {
    let Ok(name) = socket.tcp_congestion() else { return false };
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    these.contains(&name) && others.iter().any(|other| socket.set_tcp_congestion(other).is_ok())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use tokio::io::AsyncWriteExt as _;

    use super::*;
    use crate::idle_restart::{PAUSE, RestartAfterIdle};

    fn congestion(stream: &impl AsFd) -> Vec<u8> {
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

    fn has_rate_based() -> bool {
        SockRef::from(&connection().0).set_tcp_congestion(RATE_BASED).is_ok()
    }

    #[test]
    fn on_this_machine_only_delays_are_switched_off() {
        let (stream, _other) = connection();
        prepare(&stream).unwrap();
        assert!(stream.nodelay().unwrap());
        assert_eq!(congestion(&stream), b"reno");
        probe_bandwidth(&stream);
        assert_eq!(congestion(&stream), b"reno");
    }

    #[tokio::test]
    async fn inside_a_machine_nothing_waits_for_a_timer() {
        let listener = super::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        if has_rate_based() {
            SockRef::from(&listener).set_tcp_congestion(RATE_BASED).unwrap();
        }
        prepare_listener(&listener).unwrap();
        let here = connect(&listener.local_addr().unwrap().to_string()).await.unwrap();
        let (there, _) = listener.accept().await.unwrap();
        prepare(&there).unwrap();
        assert!(here.nodelay().unwrap() && there.nodelay().unwrap());
        assert_ne!(congestion(&here), RATE_BASED);
        assert_ne!(congestion(&there), RATE_BASED);
        drop(listener);
        assert!(connect("127.0.0.1:1").await.is_err());
    }

    /// Sends by its rate, and believes in a low one. Not every system has such a thing.
    fn slow() -> Option<(TcpStream, TcpStream)> {
        let (here, there) = connection();
        SockRef::from(&here).set_tcp_congestion(RATE_BASED).ok()?;
        limit_rate(&here, 12_345);
        assert_eq!(GetTcpInfo.get(&here).unwrap().pacing_rate, 12_345);
        // Lifting the limit is not yet to know better.
        limit_rate(&here, u64::MAX);
        Some((here, there))
    }

    #[test]
    fn what_did_not_arrive_is_told_from_what_did() {
        use std::io::{Read as _, Write as _};
        let (mut here, mut there) = connection();
        SockRef::from(&there).set_recv_buffer_size(8 << 10).unwrap();
        here.set_nonblocking(true).unwrap();
        let before = sending(&here).unwrap();
        assert_eq!(before.left, 0);
        let mut written = 0;
        while let Ok(len) = here.write(&[7; 64 << 10]) {
            written += len;
        }
        let full = sending(&here).unwrap();
        assert!(full.left > 0 && full.arrived > before.arrived, "{full:?}");
        let mut rest = vec![0; written];
        there.read_exact(&mut rest).unwrap();
        let all = before.arrived + written as u64;
        // The last acknowledgement may be on its way.
        while sending(&here).unwrap() != (Sending { arrived: all, left: 0 }) {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    #[test]
    fn low_rates_are_forgotten_and_others_are_not() {
        let Some((here, _there)) = slow() else { return };
        let rate = || GetTcpInfo.get(&here).unwrap().pacing_rate;
        assert_eq!(rate(), 12_345);
        forget_low_rate(&here);
        assert_eq!(congestion(&here), RATE_BASED);
        assert!(rate() > LOW_RATE, "{}", rate());
        limit_rate(&here, LOW_RATE);
        limit_rate(&here, u64::MAX);
        forget_low_rate(&here);
        assert_eq!(rate(), LOW_RATE);
        let (other, _there) = connection();
        forget_low_rate(&other);
        assert_eq!(congestion(&other), b"reno");
    }

    #[tokio::test]
    async fn a_message_behind_a_pause_is_sent_at_once() {
        let Some((here, _there)) = slow() else { return };
        here.set_nonblocking(true).unwrap();
        let mut here = RestartAfterIdle::new(tokio::net::TcpStream::from_std(here).unwrap());
        let rate = |here: &RestartAfterIdle| GetTcpInfo.get(here).unwrap().pacing_rate;
        // Without bytes, because whatever was acknowledged would tell of a rate too.
        assert_eq!(here.write(b"").await.unwrap(), 0);
        assert_eq!(rate(&here), 12_345, "nothing was sent before");
        tokio::time::sleep(PAUSE).await;
        assert_eq!(here.write(b"").await.unwrap(), 0);
        assert!(rate(&here) > LOW_RATE, "{}", rate(&here));
    }

    #[test]
    fn what_copes_with_loss_is_used_where_there_is_such_a_thing() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        // The other end of a way has another address, also where both are of the loopback.
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
        socket.set_tcp_congestion(b"reno").unwrap();
        socket.connect(&address.into()).unwrap();
        prepare(&socket).unwrap();
        let wanted: &[u8] = if has_rate_based() { RATE_BASED } else { b"reno" };
        assert_eq!(congestion(&socket), wanted);
        probe_bandwidth(&socket);
        assert_eq!(congestion(&socket), wanted);
        assert!(is_own(address));
        // Nobody has this one (RFC 5737).
        assert!(!is_own(SocketAddr::from(([192, 0, 2, 1], 80))));
    }
}
