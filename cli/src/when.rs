//! Times as they are typed: `90d`, `12h`, `2026-11-01`, or RFC 3339.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::error::{Error, Result};

/// Seconds of `90d`, `12h`, `30m`, `2w`, `1y`; `None` for anything else.
#[must_use]
pub fn seconds(text: &str) -> Option<i64> {
    let (count, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        "y" => 365 * 86_400,
        _ => return None,
    };
    let digits = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| count.parse::<i64>().ok()?.checked_mul(unit)).flatten()
}

/// Unix seconds of a time in the past: so long before `now`, the beginning of a day here, or an instant.
///
/// # Errors
/// A usage error for anything else.
pub fn past(text: &str, now: Timestamp) -> Result<u64> {
    resolve(text, now, -1)
}

/// Unix seconds of a time in the future: so long after `now`, the beginning of a day here, or an instant.
///
/// # Errors
/// A usage error for anything else, and for what is past.
pub fn future(text: &str, now: Timestamp) -> Result<u64> {
    let time = resolve(text, now, 1)?;
    if i128::from(time) <= i128::from(now.as_second()) {
        return Err(Error::usage(format!("{text} is not in the future")));
    }
    Ok(time)
}

fn resolve(text: &str, now: Timestamp, sign: i64) -> Result<u64> {
    let unknown = || {
        Error::usage_with(
            format!("{text} is not a time"),
            "Use for example 90d, 12h, 1y, 2026-11-01 or 2026-11-01T08:00:00Z.",
        )
    };
    let time = if let Some(seconds) = seconds(text) {
        seconds.checked_mul(sign).and_then(|seconds| now.as_second().checked_add(seconds))
    } else if let Ok(time) = text.parse::<Timestamp>() {
        Some(time.as_second())
    } else {
        let day: Date = text.parse().map_err(|_| unknown())?;
        day.to_zoned_datetime(TimeZone::system()).ok().map(|day| day.timestamp().as_second())
    };
    // Before 1970 nothing has happened.
    time.map(|time| u64::try_from(time).unwrap_or(0)).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-26T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn spans_count_from_now() {
        let second = u64::try_from(now().as_second()).unwrap();
        for (text, span) in [("90d", 90 * 86_400), ("12h", 43_200), ("1y", 31_536_000), ("2w", 1_209_600), ("5m", 300)]
        {
            assert_eq!(future(text, now()).unwrap(), second + span, "{text}");
            assert_eq!(past(text, now()).unwrap(), second - span, "{text}");
        }
        assert_eq!(past("9000y", now()).unwrap(), 0);
    }

    #[test]
    fn days_and_instants_are_taken() {
        assert_eq!(past("2026-11-01T08:00:00Z", now()).unwrap(), 1_793_520_000);
        assert!(past("2026-11-01", now()).unwrap().abs_diff(1_793_491_200) <= 14 * 3600);
    }

    #[test]
    fn anything_else_is_a_usage_error() {
        for wrong in ["", "d", "-5d", "5", "5 d", "soon", "2026-13-01", "99999999999999999999y", "1é"] {
            assert_eq!(future(wrong, now()).unwrap_err().exit_code(), 2, "{wrong}");
        }
        assert_eq!(future("0d", now()).unwrap_err().exit_code(), 2);
        assert_eq!(future("2020-01-01", now()).unwrap_err().exit_code(), 2);
    }
}
