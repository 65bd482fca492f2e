//! Numbers and times as people read them.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Characters of a bar.
const BAR: usize = 20;
const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/// A number of bytes with three significant digits: `999 B`, `1.46 KiB`, `20.0 GiB`.
#[must_use]
pub fn bytes(count: u64) -> String {
    if count < 1024 {
        return format!("{count} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = count as f64;
    let mut unit = 0;
    // 1023.5 would be shown as 1024.
    while value >= 1023.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = if value >= 99.95 { 0 } else { usize::from(value < 9.995) + 1 };
    format!("{value:.digits$} {}", UNITS[unit])
}

/// A part of a whole as a bar: `[#####---------------] 25 %`.
#[must_use]
pub fn bar(part: u64, whole: u64) -> String {
    let share = |of: u128| if whole == 0 { 0 } else { u128::from(part) * of / u128::from(whole) };
    let filled = usize::try_from(share(BAR as u128)).map_or(BAR, |filled| filled.min(BAR));
    format!("[{}{}] {} %", "#".repeat(filled), "-".repeat(BAR - filled), share(100))
}

/// What a month comes to that goes on as it began: `used` until `now`, in calendar months of UTC. `None` on its first day, when nothing can
/// be said.
#[must_use]
pub fn month_forecast(used: u64, now: Timestamp) -> Option<u64> {
    let now = now.to_zoned_datetime(TimeZone::UTC);
    let hours = u128::try_from(i32::from(now.day() - 1) * 24 + i32::from(now.hour())).ok()?;
    let month = u128::try_from(i32::from(now.days_in_month()) * 24).ok()?;
    if hours < 24 {
        return None;
    }
    Some(u64::try_from(u128::from(used) * month / hours).unwrap_or(u64::MAX))
}

/// `1 file`, `2 files`.
#[must_use]
pub fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// A time in nanoseconds since 1970 as RFC 3339, for JSON. Times that cannot be shown are clamped.
#[must_use]
pub fn rfc3339(nanoseconds: i64) -> String {
    timestamp(nanoseconds).to_string()
}

/// A time in nanoseconds since 1970 in the local time zone, for people.
#[must_use]
pub fn local_time(nanoseconds: i64) -> String {
    local(timestamp(nanoseconds))
}

/// A time in seconds since 1970 as RFC 3339, for JSON.
#[must_use]
pub fn rfc3339_seconds(seconds: u64) -> String {
    from_seconds(seconds).to_string()
}

/// A time in seconds since 1970 in the local time zone, for people.
#[must_use]
pub fn local_time_seconds(seconds: u64) -> String {
    local(from_seconds(seconds))
}

/// A time as a server wrote it (RFC 3339) in the local time zone, for people; as it is if it is none.
#[must_use]
pub fn shown_time(text: &str) -> String {
    text.parse::<Timestamp>().map_or_else(|_| super::names::escape(text.as_bytes()), local)
}

fn from_seconds(seconds: u64) -> Timestamp {
    i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok()).unwrap_or(Timestamp::MAX)
}

fn local(time: Timestamp) -> String {
    time.to_zoned_datetime(TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string()
}

fn timestamp(nanoseconds: i64) -> Timestamp {
    // Every i64 of nanoseconds lies between the years 1677 and 2262, which a Timestamp can hold.
    Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Permission bits as `ls -l` shows them: `rwxr-xr-x`.
#[must_use]
pub fn permissions(mode: u32) -> String {
    let special = [(0o4000, 2, 's', 'S'), (0o2000, 5, 's', 'S'), (0o1000, 8, 't', 'T')];
    let mut shown: Vec<char> =
        (0..9).map(|index| if mode & (0o400 >> index) == 0 { '-' } else { ['r', 'w', 'x'][index % 3] }).collect();
    for (bit, at, with, without) in special {
        if mode & bit != 0 {
            shown[at] = if shown[at] == 'x' { with } else { without };
        }
    }
    shown.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        for (count, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (1500, "1.46 KiB"),
            (10_240, "10.0 KiB"),
            (104_857_600, "100 MiB"),
            (1_048_575, "1.00 MiB"),
            (21_474_836_480, "20.0 GiB"),
            (u64::MAX, "16384 PiB"),
        ] {
            assert_eq!(bytes(count), shown);
        }
    }

    #[test]
    fn permissions_look_as_in_ls() {
        assert_eq!(permissions(0o755), "rwxr-xr-x");
        assert_eq!(permissions(0o4755), "rwsr-xr-x");
        assert_eq!(permissions(0o1640), "rw-r----T");
    }

    #[test]
    fn a_bar_is_never_longer_than_it_is() {
        assert_eq!(bar(0, 100), "[--------------------] 0 %");
        assert_eq!(bar(25, 100), "[#####---------------] 25 %");
        assert_eq!(bar(300, 100), "[####################] 300 %");
        assert_eq!(bar(u64::MAX, u64::MAX), "[####################] 100 %");
        assert_eq!(bar(1, 0), "[--------------------] 0 %");
    }

    #[test]
    fn a_month_goes_on_as_it_began() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(month_forecast(100, at("2026-11-16T00:00:00Z")), Some(200));
        assert_eq!(month_forecast(100, at("2026-11-01T23:59:00Z")), None);
        assert_eq!(month_forecast(u64::MAX, at("2026-11-02T00:00:00Z")), Some(u64::MAX));
    }

    #[test]
    fn any_time_can_be_shown() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_700_000_000_123_000_000), "2023-11-14T22:13:20.123Z");
        assert!(rfc3339(i64::MIN).starts_with("1677"));
        assert!(rfc3339(i64::MAX).starts_with("2262"));
    }
}
