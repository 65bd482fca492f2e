//! Which addresses a node may have.
//!
//! The server connects to what a node names, and tells clients to do the same. An address that means something else to each of them
//! (loopback, link-local, unspecified) is therefore refused, and so is one that could make the server talk to its own neighbourhood's
//! machinery. Private networks are allowed: clusters at home and in one data centre live there.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use thiserror::Error;

/// Longest address: a DNS name and a port.
pub const ADDRESS_MAX: usize = 253 + 6;
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a node cannot have an address.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AddressError {
    /// It is not `host:port`.
    #[error("the address must be host:port")]
    Malformed,
    /// Its name leads nowhere.
    #[error("the address {0} cannot be resolved")]
    Unresolvable(String),
    /// Clients could not reach a node there.
    #[error("nodes cannot be reached at {0} from elsewhere")]
    Unreachable(IpAddr),
    /// Loopback is for clusters on one machine.
    #[error("a loopback address is accepted only by a server that allows colocated nodes")]
    Loopback,
    /// Plain text off loopback.
    #[error("a node that is not on loopback must use TLS")]
    PlainText,
}

/// Checks an address without the network: `host:port` with a DNS name, an IPv4 address or an IPv6 address in brackets.
///
/// # Errors
/// [`AddressError::Malformed`].
pub fn split(address: &str) -> Result<(&str, u16), AddressError> {
    let (host, port) = address.rsplit_once(':').ok_or(AddressError::Malformed)?;
    let port: u16 = port.parse().map_err(|_| AddressError::Malformed)?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let valid = match bare {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.'),
    };
    if port == 0 || !valid || address.len() > ADDRESS_MAX {
        return Err(AddressError::Malformed);
    }
    Ok((host, port))
}

/// Resolves an address and checks that it is one a node may have. All addresses of a name must be.
///
/// # Errors
/// [`AddressError`].
pub async fn resolve(address: &str, tls: bool, allow_loopback: bool) -> Result<SocketAddr, AddressError> {
    split(address)?;
    let unresolvable = || AddressError::Unresolvable(address.to_owned());
    let lookup = tokio::time::timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host(address.to_owned()));
    let found: Vec<SocketAddr> = lookup.await.map_err(|_| unresolvable())?.map_err(|_| unresolvable())?.collect();
    for candidate in &found {
        check(candidate.ip(), tls, allow_loopback)?;
    }
    found.into_iter().next().ok_or_else(unresolvable)
}

fn check(ip: IpAddr, tls: bool, allow_loopback: bool) -> Result<(), AddressError> {
    let ip = ip.to_canonical();
    if ip.is_loopback() {
        return if allow_loopback { Ok(()) } else { Err(AddressError::Loopback) };
    }
    let unreachable = match ip {
        IpAddr::V4(v4) => {
            v4.is_unspecified()
                || v4.is_multicast()
                || v4.is_link_local()
                || v4 == Ipv4Addr::BROADCAST
                || v4.octets()[0] == 0
        }
        IpAddr::V6(v6) => v6.is_unspecified() || v6.is_multicast() || v6.is_unicast_link_local(),
    };
    match (unreachable, tls) {
        (true, _) => Err(AddressError::Unreachable(ip)),
        (false, false) => Err(AddressError::PlainText),
        (false, true) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_host_and_port_are_an_address() {
        for good in ["192.0.2.1:50051", "node-1.example.org:1", "[2001:db8::1]:443"] {
            assert!(split(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ":1",
            "host",
            "host:",
            "host:0",
            "host:65536",
            "a b:1",
            "host/x:1",
            "user@host:1",
            "2001:db8::1:443",
            "[::1:5",
            "[fe80::1%eth0]:1",
        ] {
            assert_eq!(split(bad), Err(AddressError::Malformed), "{bad}");
        }
        assert_eq!(split(&format!("{}:1", "a".repeat(260))), Err(AddressError::Malformed));
    }

    #[tokio::test]
    async fn what_clients_cannot_reach_is_refused() {
        for bad in [
            "0.0.0.0:1",
            "169.254.169.254:80",
            "224.0.0.1:1",
            "255.255.255.255:1",
            "[::]:1",
            "[fe80::1]:1",
            "[ff02::1]:1",
        ] {
            assert!(matches!(resolve(bad, true, true).await, Err(AddressError::Unreachable(_))), "{bad}");
        }
        assert!(resolve("192.0.2.1:5", true, false).await.is_ok());
        assert!(resolve("10.0.0.1:5", true, false).await.is_ok());
    }

    #[tokio::test]
    async fn plain_text_and_loopback_are_for_clusters_on_one_machine() {
        assert_eq!(resolve("192.0.2.1:5", false, true).await, Err(AddressError::PlainText));
        assert_eq!(resolve("127.0.0.1:5", false, false).await, Err(AddressError::Loopback));
        assert_eq!(resolve("[::ffff:127.0.0.1]:5", false, false).await, Err(AddressError::Loopback));
        assert!(resolve("127.0.0.1:5", false, true).await.is_ok());
        assert!(resolve("[::1]:5", false, true).await.is_ok());
    }
}
