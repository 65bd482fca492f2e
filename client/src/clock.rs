//! The time of day.

use std::time::{SystemTime, UNIX_EPOCH};

/// Unix seconds now; 0 for a clock before 1970.
#[must_use]
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Unix nanoseconds now.
#[must_use]
pub(crate) fn unix_nanoseconds() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
