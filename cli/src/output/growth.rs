//! How fast an account fills its space, and when it will be full if it goes on like that.

use jiff::Timestamp;

use super::human;

const DAY_NS: i128 = 24 * 3600 * 1_000_000_000;
/// Nothing is said of what would be full later than in so many days.
const FORESEEN_DAYS: i128 = 3650;

/// Growth between an earlier time and now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Growth {
    bytes: u64,
    elapsed_ns: i128,
}

impl Growth {
    /// From what was used at a time (Unix nanoseconds; 0: not known) to what is used now. `None` before a day has passed, when little can be
    /// said.
    #[must_use]
    pub fn of(measured: u64, measured_ns: i64, used: u64, now: Timestamp) -> Option<Self> {
        let elapsed_ns = now.as_nanosecond() - i128::from(measured_ns);
        let known = measured_ns != 0 && elapsed_ns >= DAY_NS;
        known.then(|| Self { bytes: used.saturating_sub(measured), elapsed_ns })
    }

    /// Bytes in a day.
    #[must_use]
    pub fn per_day(self) -> u64 {
        let bytes = i128::from(self.bytes) * DAY_NS / self.elapsed_ns;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// When the space will be full, Unix nanoseconds; `None` if it does not grow, or if that is years away.
    #[must_use]
    pub fn full_ns(self, used: u64, limit: u64, now: Timestamp) -> Option<i64> {
        if self.bytes == 0 {
            return None;
        }
        let left = i128::from(limit.saturating_sub(used));
        let in_ns = left.checked_mul(self.elapsed_ns)? / i128::from(self.bytes);
        (in_ns <= FORESEEN_DAYS * DAY_NS).then(|| i64::try_from(now.as_nanosecond() + in_ns).ok()).flatten()
    }

    /// For people, behind [`Self::per_day`]: `a day over 12 days; full in about 40 days`.
    #[must_use]
    pub fn text(self, full_ns: Option<i64>, now: Timestamp) -> String {
        let days = |ns: i128| human::count(u64::try_from(ns / DAY_NS).unwrap_or(0), "day", "days");
        let past = format!("a day over {}", days(self.elapsed_ns));
        match full_ns.map(|full| i128::from(full) - now.as_nanosecond()) {
            None => past,
            Some(left) if left < DAY_NS => format!("{past}; full within a day"),
            Some(left) => format!("{past}; full in about {}", days(left)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> (Timestamp, i64) {
        let time: Timestamp = text.parse().unwrap();
        (time, i64::try_from(time.as_nanosecond()).unwrap())
    }

    #[test]
    fn what_grew_goes_on_growing() {
        let ((now, now_ns), (_, then)) = (at("2026-11-11T00:00:00Z"), at("2026-11-01T00:00:00Z"));
        let growth = Growth::of(100, then, 200, now).unwrap();
        assert_eq!(growth.per_day(), 10);
        let full = growth.full_ns(200, 500, now);
        assert_eq!(full, Some(now_ns + 30 * 24 * 3600 * 1_000_000_000));
        assert_eq!(growth.text(full, now), "a day over 10 days; full in about 30 days");
        assert_eq!(growth.text(growth.full_ns(200, 205, now), now), "a day over 10 days; full within a day");
        assert_eq!(growth.full_ns(600, 500, now), Some(now_ns), "full already");
    }

    #[test]
    fn nothing_is_foreseen_from_too_little() {
        let ((now, _), (_, then)) = (at("2026-11-11T00:00:00Z"), at("2026-11-10T00:00:01Z"));
        assert_eq!(Growth::of(0, then, 100, now), None, "less than a day");
        assert_eq!(Growth::of(0, 0, 100, now), None, "not measured");
        let (_, earlier) = at("2026-11-01T00:00:00Z");
        let shrunk = Growth::of(200, earlier, 100, now).unwrap();
        assert_eq!((shrunk.per_day(), shrunk.full_ns(100, 500, now)), (0, None));
        let slow = Growth::of(0, earlier, 1, now).unwrap();
        assert_eq!(slow.full_ns(1, u64::MAX, now), None, "an age away");
    }
}
