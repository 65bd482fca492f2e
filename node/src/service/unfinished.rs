//! Connections whose TLS handshake is not done: how many there may be at the same time, in all and of one address.
//!
//! Anybody can hold one for as long as a handshake may take, by saying nothing or half of something. So they are many, and one address has
//! a share of them only.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

#[derive(Clone)]
pub(super) struct Unfinished {
    all: Arc<Semaphore>,
    /// Most of one address.
    share: usize,
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One of them. It is counted until it is dropped.
pub(super) struct Handshake {
    unfinished: Unfinished,
    address: IpAddr,
    _room: OwnedSemaphorePermit,
}

impl Unfinished {
    pub(super) fn new(all: usize, share: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), share, counts: Arc::default() }
    }

    /// Waits until there is room for one more, whoever that is.
    pub(super) async fn room(&self) -> Result<OwnedSemaphorePermit, AcquireError> {
        Arc::clone(&self.all).acquire_owned().await
    }

    /// Counts one of an address; `None` if that has its share already.
    pub(super) fn begin(&self, peer: IpAddr, room: OwnedSemaphorePermit) -> Option<Handshake> {
        let address = network(peer);
        let mut counts = self.counts();
        let count = counts.entry(address).or_default();
        if *count >= self.share {
            return None;
        }
        *count += 1;
        Some(Handshake { unfinished: self.clone(), address, _room: room })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let mut counts = self.unfinished.counts();
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// What counts as one address: of IPv6 the upper half, which is what a subscriber gets.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_has_its_share_and_another_one_has_room() {
        let unfinished = Unfinished::new(5, 2);
        let begin = async |peer: &str| unfinished.begin(peer.parse().unwrap(), unfinished.room().await.unwrap());
        for (one, same, other) in
            [("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::ffff:0:0:2", "2001:db8:0:1::1")]
        {
            let (first, _second) = (begin(one).await.unwrap(), begin(same).await.unwrap());
            assert!(begin(one).await.is_none() && begin(same).await.is_none(), "{one}");
            assert!(begin(other).await.is_some());
            assert_eq!(unfinished.all.available_permits(), 3, "who is refused takes no room");
            drop(first);
            assert!(begin(one).await.is_some());
        }
        assert!(unfinished.counts().is_empty(), "nobody is remembered");
        assert_eq!(unfinished.all.available_permits(), 5);
    }
}
