//! Requests per address and per account: a bucket of tokens each, that fills again with time.
//!
//! This is about load, in memory and per process. What must hold between processes and restarts, above all guesses at secrets, is
//! counted in the database ([`crate::accounts::guard`], [`crate::accounts::limits`]).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use cyx_core::error::ErrorCode;
use cyx_core::ids::AccountId;

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

/// Without a token: logins, registrations and the like, per address. Many people may share one.
const ADDRESS: Rate = Rate { burst: 600.0, per_second: 10.0 };
/// With a token, per account.
const ACCOUNT: Rate = Rate { burst: 1200.0, per_second: 40.0 };

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Who {
    /// A hash of the address, as counters name it.
    Address([u8; 16]),
    Account(AccountId),
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

/// All buckets.
#[derive(Default)]
pub struct Throttle(Mutex<HashMap<Who, Bucket>>);

impl Throttle {
    /// Takes a token of an address.
    ///
    /// # Errors
    /// [`ErrorCode::RateLimited`] with the time to wait.
    pub fn address(&self, ip: IpAddr) -> Result<(), ApiError> {
        let name = limits::address(ip);
        let mut key = [0; 16];
        key.copy_from_slice(&blake3::hash(name.as_bytes()).as_bytes()[..16]);
        self.take(Who::Address(key), ADDRESS, Instant::now())
    }

    /// Takes a token of an account.
    ///
    /// # Errors
    /// [`ErrorCode::RateLimited`] with the time to wait.
    pub fn account(&self, account: AccountId) -> Result<(), ApiError> {
        self.take(Who::Account(account), ACCOUNT, Instant::now())
    }

    fn take(&self, who: Who, rate: Rate, now: Instant) -> Result<(), ApiError> {
        // Every change of the map is one call, so it is consistent after any panic.
        let mut buckets = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
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

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: Rate = Rate { burst: 3.0, per_second: 0.5 };
    const WHO: Who = Who::Account(AccountId([1; 16]));

    #[test]
    fn a_burst_is_served_and_then_what_time_gives_back() {
        let (throttle, begin) = (Throttle::default(), Instant::now());
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
        let throttle = Throttle::default();
        for last in 0..600_u16 {
            throttle.address(IpAddr::from([0x2001, 0xdb8, 1, 2, 0, 0, 0, last])).unwrap();
        }
        assert_eq!(throttle.0.lock().unwrap().len(), 1);
    }
}
