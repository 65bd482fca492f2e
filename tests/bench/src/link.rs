//! A link: two network namespaces, a network device in each, and a relay between them that moves whole IP packets. It takes its time with them,
//! lets no more through than it is wide, drops what does not fit into its queue, and loses some by chance. So everything that real
//! ways do to TCP happens here too: handshakes, slow starts, retransmissions.
//!
//! Both namespaces believe that the other side is at a loopback address, so programs need no other settings than at home: the server and
//! the nodes listen at 127.0.0.1 in theirs, and the client's has no 127.0.0.1 of its own but a route to theirs.
//!
//! Threads and processes stay in the namespace of the thread that starts them. The namespaces have names only until they are open: they are gone
//! with the last process in them, however this program ends.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_tun::Tun;

use crate::Result;
use crate::ways::{Conditions, QUEUE};

const DEVICE: &str = "way";
const SERVER: Ipv4Addr = Ipv4Addr::LOCALHOST;
const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Packets as Ethernet has them.
const PACKET_MAX: usize = 1500;
/// A queue holds at least this many bytes, however narrow the place is.
const QUEUE_MIN: f64 = 64.0 * 1024.0;
/// Timers are no finer.
const SOON: Duration = Duration::from_micros(500);
/// The packets that are lost by chance are the same ones in every run.
const SEED: u64 = 0x5eed_cafe_f00d_d00d;
/// How long bare TCP is measured, after as long as it may take to find its rate.
const BARE: Duration = Duration::from_secs(3);
const TRIED: usize = 10;

/// Where a program is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

/// The link. The thread that enters one of its sides is back home when this is dropped.
pub(crate) struct Link {
    home: OwnedFd,
    client: OwnedFd,
    server: OwnedFd,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    relay: Option<std::thread::JoinHandle<()>>,
}

impl Link {
    /// A link without delay, as wide as the machine makes it.
    ///
    /// # Errors
    /// If this is not root, or the machine has no `ip` or no /dev/net/tun.
    pub(crate) fn new() -> Result<Self> {
        let home = OwnedFd::from(File::open("/proc/thread-self/ns/net")?);
        let (client, server) = (name_space("client")?, name_space("server")?);
        let shared = Arc::<Shared>::default();
        let (stop, stopped) = oneshot::channel();
        let (ready, began) = std::sync::mpsc::channel();
        let inside = (client.try_clone()?, server.try_clone()?, Arc::clone(&shared));
        let relay = std::thread::Builder::new().name("relay".to_owned()).spawn(move || {
            let (client, server, shared) = inside;
            match begin(&client, &server) {
                Ok((runtime, client, server)) => {
                    let _ = ready.send(Ok(()));
                    runtime.block_on(async {
                        tokio::select! {
                            () = carry(&client, &server, &shared, 0) => {}
                            () = carry(&server, &client, &shared, 1) => {}
                            _ = stopped => {}
                        }
                    });
                }
                Err(error) => drop(ready.send(Err(error))),
            }
        })?;
        began.recv().map_err(|_| "the relay did not start")??;
        Ok(Self { home, client, server, shared, stop: Some(stop), relay: Some(relay) })
    }

    /// Takes this thread, and what it starts from now on, to one side.
    pub(crate) fn enter(&self, side: Side) -> Result<()> {
        enter(match side {
            Side::Client => &self.client,
            Side::Server => &self.server,
        })
    }

    /// What the link is like from now on; `slow` are ports of the server's side that are reached through a narrow place of their own.
    pub(crate) fn set(&self, conditions: Conditions, slow: Option<(u16, f64)>) {
        for state in &self.shared.directions {
            let mut state = lock(state);
            state.delay = conditions.round_trip / 2;
            state.loss = conditions.loss;
            state.chance = Chance(SEED);
            state.narrow = conditions.width.map(Narrow::new);
            state.slow = slow.map(|(port, width)| (port, Narrow::new(width)));
        }
    }

    /// Bytes of packets that arrived for a port of the server's side and from it.
    pub(crate) fn counts(&self, port: u16) -> [u64; 2] {
        [0, 1].map(|direction| lock(&self.shared.directions[direction]).arrived.get(&port).copied().unwrap_or_default())
    }

    /// Which congestion control connections get from now on that ask for none. The thread is on the client's side afterwards.
    pub(crate) fn set_congestion(&self, name: &str) -> Result<()> {
        for side in [Side::Server, Side::Client] {
            self.enter(side)?;
            std::fs::write("/proc/sys/net/ipv4/tcp_congestion_control", name)?;
        }
        Ok(())
    }

    /// Bytes a second that bare connections bring to the server's side. This thread is on the client's.
    pub(crate) fn bare(&self, connections: usize) -> Result<f64> {
        let server = self.server.try_clone()?;
        let (ready, listening) = std::sync::mpsc::channel();
        let (stop, arrived) = (Arc::new(AtomicBool::new(false)), Arc::<Mutex<u64>>::default());
        std::thread::scope(|scope| {
            let (counted, ended) = (Arc::clone(&arrived), Arc::clone(&stop));
            let receiving = scope.spawn(move || -> Result<()> {
                enter(&server)?;
                let listener = TcpListener::bind((SERVER, 0))?;
                ready.send(listener.local_addr()?.port())?;
                std::thread::scope(|scope| {
                    for stream in listener.incoming().take(connections) {
                        let (mut stream, counted, ended) = (stream?, Arc::clone(&counted), Arc::clone(&ended));
                        scope.spawn(move || {
                            let mut buffer = vec![0; 256 << 10];
                            while let (false, Ok(read @ 1..)) = (ended.load(Relaxed), stream.read(&mut buffer)) {
                                *lock(&counted) += read as u64;
                            }
                        });
                    }
                    Ok(())
                })
            });
            let port = listening.recv().map_err(|_| "nobody listens on the other side")?;
            for _ in 0..connections {
                let mut stream = TcpStream::connect(SocketAddrV4::new(SERVER, port))?;
                stream.set_write_timeout(Some(Duration::from_secs(5)))?;
                let ended = Arc::clone(&stop);
                scope.spawn(move || {
                    let piece = vec![1; 64 << 10];
                    while !ended.load(Relaxed) && stream.write_all(&piece).is_ok() {}
                });
            }
            std::thread::sleep(BARE);
            let (before, began) = (*lock(&arrived), std::time::Instant::now());
            std::thread::sleep(BARE);
            let rate = (*lock(&arrived) - before) as f64 / began.elapsed().as_secs_f64();
            stop.store(true, Relaxed);
            receiving.join().map_err(|_| "the receiver panicked")??;
            Ok(rate)
        })
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = enter(&self.home);
        self.stop.take();
        if let Some(relay) = self.relay.take() {
            let _ = relay.join();
        }
    }
}

fn enter(space: &OwnedFd) -> Result<()> {
    Ok(move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network))?)
}

/// A network namespace of nobody's.
fn name_space(what: &str) -> Result<OwnedFd> {
    // A namespace is found by its name once, and some names may be in use.
    for number in 0..TRIED {
        let name = format!("cyx-bench-{}-{number}-{what}", std::process::id());
        if ip(&["netns", "add", &name]).is_err() && number + 1 < TRIED {
            continue;
        }
        let space = File::open(format!("/run/netns/{name}"));
        ip(&["netns", "delete", &name])?;
        return Ok(space?.into());
    }
    Err("no network namespace can be made".into())
}

/// What the relay works with.
fn begin(client: &OwnedFd, server: &OwnedFd) -> Result<(Runtime, Tun, Tun)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let devices = async {
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>((
            device(client, CLIENT, SERVER)?,
            device(server, SERVER, CLIENT)?,
        ))
    };
    let (client, server) = runtime.block_on(devices)?;
    Ok((runtime, client, server))
}

/// The device of one side, and how it leads to the other. The thread stays there.
fn device(space: &OwnedFd, here: Ipv4Addr, there: Ipv4Addr) -> Result<Tun> {
    enter(space)?;
    for (name, value) in [("ipv6/conf/all/disable_ipv6", "1"), ("ipv4/conf/all/route_localnet", "1")] {
        // Without the next version of the protocol there is nothing to disable.
        let written = std::fs::write(format!("/proc/sys/net/{name}"), value);
        if name.starts_with("ipv4") {
            written?;
        }
    }
    let mut tuns = Tun::builder().name(DEVICE).up().build().map_err(|error| format!("no network device: {error}"))?;
    let tun = tuns.pop().ok_or("there is no network device")?;
    let (source, target) = (here.to_string(), format!("{there}/32"));
    if here == SERVER {
        ip(&["link", "set", "lo", "up"])?;
        ip(&["route", "delete", "local", "127.0.0.0/8", "dev", "lo", "table", "local"])?;
        ip(&["route", "replace", "local", "127.0.0.1/32", "dev", "lo", "table", "local"])?;
    } else {
        ip(&["address", "add", &format!("{here}/32"), "dev", DEVICE])?;
    }
    ip(&["route", "add", &target, "dev", DEVICE, "src", &source])?;
    Ok(tun)
}

fn ip(args: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(args).stdin(Stdio::null()).output().map_err(|error| format!("ip: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ip {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim()).into())
}

// ---- The relay ----

#[derive(Default)]
struct Shared {
    /// To the server's side, to the client's.
    directions: [Mutex<Direction>; 2],
}

#[derive(Default)]
struct Direction {
    delay: Duration,
    loss: f64,
    chance: Chance,
    narrow: Option<Narrow>,
    slow: Option<(u16, Narrow)>,
    /// Bytes by port of the server's side.
    arrived: HashMap<u16, u64>,
}

impl Direction {
    /// Whether what goes to this port, or comes from it, passes through the narrow place of its own.
    fn is_slow(&self, port: Option<u16>) -> bool {
        self.slow.as_ref().is_some_and(|(slow, _)| Some(*slow) == port)
    }

    /// When a packet that is here now is on the other side; never, if it is lost.
    fn pass(&mut self, now: Instant, port: Option<u16>, bytes: usize) -> Option<Instant> {
        let mut through = now;
        if let Some((_, narrow)) = self.slow.as_mut().filter(|(slow, _)| Some(*slow) == port) {
            through = narrow.pass(through, bytes)?;
        }
        if let Some(narrow) = &mut self.narrow {
            through = through.max(narrow.pass(now, bytes)?);
        }
        if self.loss > 0.0 && self.chance.next() < self.loss {
            return None;
        }
        if let Some(port) = port {
            *self.arrived.entry(port).or_default() += bytes as u64;
        }
        Some(through + self.delay)
    }
}

/// A narrow place with a queue before it, which overflows.
struct Narrow {
    bytes_per_second: f64,
    free_at: Option<Instant>,
}

impl Narrow {
    const fn new(bytes_per_second: f64) -> Self {
        Self { bytes_per_second, free_at: None }
    }

    fn pass(&mut self, now: Instant, bytes: usize) -> Option<Instant> {
        let begin = self.free_at.map_or(now, |free| free.max(now));
        let longest = QUEUE.max(Duration::from_secs_f64(QUEUE_MIN / self.bytes_per_second));
        if begin - now > longest {
            return None;
        }
        let through = begin + Duration::from_secs_f64(bytes as f64 / self.bytes_per_second);
        self.free_at = Some(through);
        Some(through)
    }
}

/// Chance that repeats itself (xorshift).
#[derive(Clone, Copy)]
struct Chance(u64);

impl Default for Chance {
    fn default() -> Self {
        Self(SEED)
    }
}

impl Chance {
    /// From 0 to 1.
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Carries packets one way until a device fails.
async fn carry(from: &Tun, to: &Tun, shared: &Shared, direction: usize) {
    let (sender, queue) = mpsc::unbounded_channel();
    // Each narrow place keeps its packets in order, and what waits before one holds up nothing at the other.
    let (slow_sender, slow_queue) = mpsc::unbounded_channel();
    let taking = async {
        let mut buffer = vec![0; 2 * PACKET_MAX];
        while let Ok(read) = from.recv(&mut buffer).await {
            let packet = &buffer[..read];
            let port = port_of(packet, direction);
            let (due, is_slow) = {
                let way = &mut lock(&shared.directions[direction]);
                (way.pass(Instant::now(), port, read), way.is_slow(port))
            };
            let sender = if is_slow { &slow_sender } else { &sender };
            // What waits is bounded by the queue and by how much fits on the way.
            if let Some(due) = due
                && sender.send((due, packet.to_vec())).is_err()
            {
                break;
            }
        }
    };
    tokio::select! {
        () = taking => {}
        () = deliver(queue, to) => {}
        () = deliver(slow_queue, to) => {}
    }
}

async fn deliver(mut queue: mpsc::UnboundedReceiver<(Instant, Vec<u8>)>, to: &Tun) {
    while let Some((due, packet)) = queue.recv().await {
        if due > Instant::now() + SOON {
            sleep_until(due).await;
        }
        if to.send_all(&packet).await.is_err() {
            return;
        }
    }
}

/// The port of the server's side, if this is a TCP packet.
fn port_of(packet: &[u8], direction: usize) -> Option<u16> {
    const TCP: u8 = 6;
    let first = *packet.first()?;
    if first >> 4 != 4 || *packet.get(9)? != TCP {
        return None;
    }
    let at = usize::from(first & 15) * 4 + if direction == 0 { 2 } else { 0 };
    Some(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BIG: f64 = 1e6;

    #[test]
    fn a_queue_overflows_and_empties() {
        let mut narrow = Narrow::new(BIG);
        let now = Instant::now();
        let passed = (0..1000).filter(|_| narrow.pass(now, 1000).is_some()).count();
        // What fits: 64 KiB, because that is more than 40 ms of it, and the packet that overfills it.
        assert_eq!(passed, 66);
        assert!(narrow.pass(now + Duration::from_secs(1), 1000).is_some());
    }

    #[test]
    fn some_packets_are_lost_and_always_the_same() {
        let lost = || {
            let mut way = Direction { loss: 0.01, ..Direction::default() };
            let now = Instant::now();
            (0..10_000).filter(|_| way.pass(now, Some(1), 100).is_none()).count()
        };
        assert!((50..200).contains(&lost()), "{}", lost());
        assert_eq!(lost(), lost());
    }

    #[test]
    fn only_what_arrives_is_counted_for_its_port() {
        let mut way = Direction { slow: Some((7, Narrow::new(BIG))), ..Direction::default() };
        let now = Instant::now();
        for _ in 0..1000 {
            way.pass(now, Some(7), 1000);
            way.pass(now, Some(8), 1000);
        }
        assert_eq!((way.arrived[&7], way.arrived[&8]), (66_000, 1_000_000));
    }

    #[test]
    fn ports_are_read_from_packets_of_tcp_alone() {
        let mut packet = vec![0; 40];
        packet[0] = 0x45;
        packet[9] = 6;
        packet[20..24].copy_from_slice(&[0x12, 0x34, 0x56, 0x78]);
        assert_eq!(port_of(&packet, 0), Some(0x5678));
        assert_eq!(port_of(&packet, 1), Some(0x1234));
        packet[9] = 17;
        assert_eq!(port_of(&packet, 0), None);
        assert_eq!(port_of(&packet[..8], 0), None);
    }
}
