//! The time, in the units that the database and the wire use.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Unix nanoseconds. Good until the year 2262.
#[must_use]
pub fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Unix seconds.
#[must_use]
pub fn now_seconds() -> u64 {
    to_seconds(now_ns())
}

/// A duration in nanoseconds, as far as they fit.
#[must_use]
pub fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// Whole seconds of Unix nanoseconds; 0 for times before 1970.
#[must_use]
pub fn to_seconds(ns: i64) -> u64 {
    u64::try_from(ns / 1_000_000_000).unwrap_or(0)
}

/// RFC 3339 in UTC, whole seconds.
#[must_use]
pub fn rfc3339(ns: i64) -> String {
    jiff::Timestamp::from_second(ns.div_euclid(1_000_000_000)).map_or_else(|_| String::new(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_utc() {
        assert_eq!(rfc3339(1_700_000_000_999_999_999), "2023-11-14T22:13:20Z");
        assert_eq!(to_seconds(-5), 0);
    }
}
