//! Roads: proxies that make the way to a program longer and narrower, and count what passes, where no [`crate::link`] can be made.
//!
//! A road ends TCP at its entrance and begins it anew at its far end, so what it delays is bytes and not packets: windows of TCP play no
//! part, windows of HTTP/2 do. Nothing is lost on it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::Result;
use crate::ways::QUEUE;

/// Bytes that are read at once.
const PIECE: usize = 16 << 10;
/// Pieces of one connection and direction that are under way.
const UNDER_WAY: usize = 4096;

/// Builds roads and keeps them open until it is dropped.
pub(crate) struct Roads {
    runtime: Runtime,
}

/// The way to one program. Clones are the same road.
#[derive(Clone)]
pub(crate) struct Road {
    entrance: SocketAddr,
    way: Arc<Way>,
}

#[derive(Default)]
struct Way {
    /// Of one direction, microseconds.
    delay: AtomicU64,
    /// What all bytes pass through, there and back.
    narrows: Mutex<Vec<[Narrows; 2]>>,
    /// Bytes there and back.
    counts: [AtomicU64; 2],
}

/// A narrow place that several roads can share. Clones are the same place.
#[derive(Clone)]
pub(crate) struct Narrows {
    bytes_per_second: f64,
    free_at: Arc<Mutex<Option<Instant>>>,
}

impl Narrows {
    pub(crate) fn new(bytes_per_second: f64) -> Self {
        Self { bytes_per_second, free_at: Arc::default() }
    }

    /// When so many bytes that arrive now are through.
    fn pass(&self, now: Instant, bytes: usize) -> Instant {
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = free_at.map_or(now, |free| free.max(now));
        let through = begin + Duration::from_secs_f64(bytes as f64 / self.bytes_per_second);
        *free_at = Some(through);
        through
    }
}

impl Roads {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { runtime: tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()? })
    }

    /// A road to `end`, as short and wide as the machine makes it.
    pub(crate) fn build(&self, end: SocketAddr) -> Result<Road> {
        let listener = self.runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let road = Road { entrance: listener.local_addr()?, way: Arc::default() };
        let way = Arc::clone(&road.way);
        self.runtime.spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, end, Arc::clone(&way)));
            }
        });
        Ok(road)
    }
}

impl Road {
    /// Where it begins.
    pub(crate) fn entrance(&self) -> SocketAddr {
        self.entrance
    }

    /// Bytes take so long there and back together.
    pub(crate) fn set_round_trip(&self, time: Duration) {
        self.way.delay.store(u64::try_from(time.as_micros() / 2).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// What all bytes pass through from now on, there and back.
    pub(crate) fn set_narrows(&self, narrows: Vec<[Narrows; 2]>) {
        *self.way.narrows.lock().unwrap_or_else(PoisonError::into_inner) = narrows;
    }

    /// Bytes that passed so far, there and back.
    pub(crate) fn counts(&self) -> [u64; 2] {
        [0, 1].map(|direction| self.way.counts[direction].load(Ordering::Relaxed))
    }
}

async fn carry(near: TcpStream, end: SocketAddr, way: Arc<Way>) {
    let Ok(far) = TcpStream::connect(end).await else { return };
    if near.set_nodelay(true).is_err() || far.set_nodelay(true).is_err() {
        return;
    }
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    tokio::join!(pass(near_in, far_out, &way, 0), pass(far_in, near_out, &way, 1));
}

/// Carries one direction until its sender is done.
async fn pass(mut from: OwnedReadHalf, to: OwnedWriteHalf, way: &Way, direction: usize) {
    let (sender, queue) = mpsc::channel(UNDER_WAY);
    let reading = async {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(PIECE);
            let Ok(read @ 1..) = from.read_buf(&mut buffer).await else { break };
            way.counts[direction].fetch_add(read as u64, Ordering::Relaxed);
            let now = Instant::now();
            let narrows = way.narrows.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let through = narrows.iter().map(|narrows| narrows[direction].pass(now, read)).max().unwrap_or(now);
            let due = through + Duration::from_micros(way.delay.load(Ordering::Relaxed));
            if sender.send((due, buffer.split().freeze())).await.is_err() {
                break;
            }
            if through > now + QUEUE {
                sleep_until(through - QUEUE).await;
            }
        }
        drop(sender);
    };
    tokio::join!(reading, deliver(queue, to));
}

async fn deliver(mut queue: mpsc::Receiver<(Instant, Bytes)>, mut to: OwnedWriteHalf) {
    while let Some((due, bytes)) = queue.recv().await {
        if due > Instant::now() {
            sleep_until(due).await;
        }
        if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    /// Sends back what it gets.
    fn echo() -> SocketAddr {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut back = stream.try_clone().unwrap();
            std::io::copy(&mut stream, &mut back).unwrap();
        });
        address
    }

    fn ask(road: &Road, bytes: &[u8]) -> Vec<u8> {
        let mut stream = std::net::TcpStream::connect(road.entrance()).unwrap();
        stream.write_all(bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut back = Vec::new();
        stream.read_to_end(&mut back).unwrap();
        back
    }

    #[test]
    fn bytes_arrive_whole_late_and_counted() {
        let roads = Roads::new().unwrap();
        let road = roads.build(echo()).unwrap();
        road.set_round_trip(Duration::from_millis(60));
        let sent = cyx_tests::noise(1, 100_000);
        let began = std::time::Instant::now();
        assert_eq!(ask(&road, &sent), sent);
        assert!(began.elapsed() >= Duration::from_millis(60), "earlier than the road is long");
        assert_eq!(road.counts(), [100_000, 100_000]);
    }

    #[test]
    fn a_narrow_place_lets_no_more_through_than_it_is_wide() {
        let roads = Roads::new().unwrap();
        let road = roads.build(echo()).unwrap();
        road.set_narrows(vec![[Narrows::new(1e6), Narrows::new(1e9)]]);
        let sent = cyx_tests::noise(2, 200_000);
        let began = std::time::Instant::now();
        assert_eq!(ask(&road, &sent), sent);
        assert!(began.elapsed() >= Duration::from_millis(200), "faster than a megabyte a second");
    }
}
