//! Requests per address, account and machine: a bucket of tokens each, that fills again with time.
//!
//! This is about load, in memory and per process. What must hold between processes and restarts, above all guesses at secrets, is
//! counted in the database ([`crate::accounts::guard`], [`crate::accounts::limits`]).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use cyx_core::error::ErrorCode;
use cyx_core::ids::{AccountId, MachineId};

use crate::accounts::limits;
use crate::error::ApiError;

/// Most callers that are remembered. When it is full, those whose buckets are full again are forgotten.
const CALLERS_MAX: usize = 100_000;

/// How fast somebody may ask.
#[derive(Debug, Clone, Copy)]
struct Rate {
    /// Requests at once.
    burst: f64,
    /// Requests per second in the long run.
    per_second: f64,
}

/// Without a token: logins, registrations and the like, per address, and as many with one that is not good. Many people may share one.
const ADDRESS: Rate = Rate { burst: 600.0, per_second: 10.0 };
/// About the server alone, per address: several who watch it may share one.
const PUBLIC: Rate = Rate { burst: 600.0, per_second: 50.0 };
/// With a token, per account.
const ACCOUNT: Rate = Rate { burst: 1200.0, per_second: 40.0 };
/// A storage node's machine, over REST and gRPC, which reports every half minute.
const MACHINE: Rate = Rate { burst: 1000.0, per_second: 20.0 };
/// What is saved up of gRPC calls: so many seconds' worth.
const CALLS_SAVED: f64 = 10.0;
/// Calls of an address for each that one account may make: several people and nodes may share it.
const CALLS_SHARED: f64 = 2.0;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Who {
    /// A hash of the address, as counters name it.
    Address([u8; 16]),
    /// The same, with a token that is not good.
    Refused([u8; 16]),
    /// The same, about the server alone.
    Public([u8; 16]),
    Account(AccountId),
    /// The same, for gRPC.
    CallsFrom([u8; 16]),
    CallsOf(AccountId),
    Machine(MachineId),
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

/// All buckets.
pub struct Throttle {
    buckets: Mutex<HashMap<Who, Bucket>>,
    calls: f64,
}

impl Throttle {
    /// With so many gRPC calls per second and account in the long run.
    #[must_use]
    pub fn new(calls: u32) -> Self {
        Self { buckets: Mutex::default(), calls: f64::from(calls) }
    }

    /// Takes a token of an address.
    ///
    /// # Errors
    /// [`ErrorCode::RateLimited`] with the time to wait.
    pub fn address(&self, ip: IpAddr) -> Result<(), ApiError> {
        self.take(Who::Address(key(ip)), ADDRESS, Instant::now())
    }

    /// Takes a token of an address whose tokens are not good. Those who log in from there do not notice.
    ///
    /// # Errors
    /// [`ErrorCode::RateLimited`] with the time to wait.
    pub fn refused(&self, ip: IpAddr) -> Result<(), ApiError> {
        self.take(Who::Refused(key(ip)), ADDRESS, Instant::now())
    }

    /// Takes a token of an address that asks about the server alone.
    ///
    /// # Errors
    /// [`ErrorCode::RateLimited`] with the time to wait.
    pub fn public(&self, ip: IpAddr) -> Result<(), ApiError> {
        self.take(Who::Public(key(ip)), PUBLIC, Instant::now())
    }

    /// Takes a token of an account.
    ///
    /// # Errors
    /// [`ErrorCode::RateLimited`] with the time to wait.
    pub fn account(&self, account: AccountId) -> Result<(), ApiError> {
        self.take(Who::Account(account), ACCOUNT, Instant::now())
    }

    /// Takes a token of an address for a gRPC call, whoever it turns out to be.
    ///
    /// # Errors
    /// [`ErrorCode::RateLimited`] with the time to wait.
    pub fn calls_from(&self, ip: IpAddr) -> Result<(), ApiError> {
        self.take(Who::CallsFrom(key(ip)), self.calls(CALLS_SHARED), Instant::now())
    }

    /// Takes a token of an account for a gRPC call. A mount asks far more often than anybody does over REST.
    ///
    /// # Errors
    /// [`ErrorCode::RateLimited`] with the time to wait.
    pub fn calls_of(&self, account: AccountId) -> Result<(), ApiError> {
        self.take(Who::CallsOf(account), self.calls(1.0), Instant::now())
    }

    /// Takes a token of a node's machine.
    ///
    /// # Errors
    /// [`ErrorCode::RateLimited`] with the time to wait.
    pub fn machine(&self, machine: MachineId) -> Result<(), ApiError> {
        self.take(Who::Machine(machine), MACHINE, Instant::now())
    }

    fn calls(&self, shared: f64) -> Rate {
        let per_second = self.calls * shared;
        Rate { burst: per_second * CALLS_SAVED, per_second }
    }

    fn take(&self, who: Who, rate: Rate, now: Instant) -> Result<(), ApiError> {
        // Every change of the map is one call, so it is consistent after any panic.
        let mut buckets = self.buckets.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if buckets.len() >= CALLERS_MAX && !buckets.contains_key(&who) {
            let slowest = ADDRESS.burst / ADDRESS.per_second;
            buckets.retain(|_, bucket| now.duration_since(bucket.at).as_secs_f64() < slowest);
            if buckets.len() >= CALLERS_MAX {
                buckets.clear();
            }
        }
        let bucket = buckets.entry(who).or_insert(Bucket { tokens: rate.burst, at: now });
        let gained = now.duration_since(bucket.at).as_secs_f64() * rate.per_second;
        *bucket = Bucket { tokens: (bucket.tokens + gained).min(rate.burst), at: now };
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        let pause = Duration::from_secs_f64((1.0 - bucket.tokens) / rate.per_second);
        Err(ApiError::new(ErrorCode::RateLimited, "too many requests; try again later").after(pause))
    }
}

/// An address as counters name it, hashed to a fixed length.
fn key(ip: IpAddr) -> [u8; 16] {
    let mut key = [0; 16];
    key.copy_from_slice(&blake3::hash(limits::address(ip).as_bytes()).as_bytes()[..16]);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: Rate = Rate { burst: 3.0, per_second: 0.5 };
    const WHO: Who = Who::Account(AccountId([1; 16]));

    #[test]
    fn a_burst_is_served_and_then_what_time_gives_back() {
        let (throttle, begin) = (Throttle::new(1), Instant::now());
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        for _ in 0..3 {
            assert_eq!(throttle.take(WHO, SLOW, at(0)), Ok(()));
        }
        let refused = throttle.take(WHO, SLOW, at(0)).unwrap_err();
        assert_eq!((refused.code, refused.retry_after), (ErrorCode::RateLimited, Some(Duration::from_secs(2))));
        assert_eq!(throttle.take(Who::Account(AccountId([2; 16])), SLOW, at(0)), Ok(()), "others are not concerned");
        assert!(throttle.take(WHO, SLOW, at(1)).is_err());
        assert_eq!(throttle.take(WHO, SLOW, at(2)), Ok(()));
        assert!(throttle.take(WHO, SLOW, at(2)).is_err());
        for _ in 0..3 {
            assert_eq!(throttle.take(WHO, SLOW, at(1000)), Ok(()), "no more than a burst is saved up");
        }
        assert!(throttle.take(WHO, SLOW, at(1000)).is_err());
    }

    #[test]
    fn households_share_a_bucket() {
        let throttle = Throttle::new(1);
        for last in 0..600_u16 {
            throttle.address(IpAddr::from([0x2001, 0xdb8, 1, 2, 0, 0, 0, last])).unwrap();
        }
        assert_eq!(throttle.buckets.lock().unwrap().len(), 1);
    }
}
