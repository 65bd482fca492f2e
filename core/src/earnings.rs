//! What operators are paid for, and how much: arithmetic in whole numbers, the same for the server that pays and the node that checks.
//!
//! ```text
//! gross    = ⌊(user byte·seconds + reserved byte·seconds) × storage rate / (10⁹ × month)⌋ + ⌊traffic bytes × traffic rate / 10⁹⌋
//! operator = ⌊gross × 90 / 100⌋        platform = gross − operator
//! ```
//! Money is counted in millionths of the currency's unit ("micros"). A month has 30 days here.

use crate::units::GB;

/// Seconds of the month that the storage rate is for.
pub const MONTH_SECONDS: u64 = 30 * 24 * 3600;
/// Of 100 micros, so many are the operator's.
pub const OPERATOR_PERCENT: u64 = 90;

/// What is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Micros for 10⁹ bytes kept for a month.
    pub storage: u64,
    /// Micros for 10⁹ bytes moved.
    pub traffic: u64,
}

/// What a node did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Work {
    /// Bytes of users' chunks times the seconds for which they were kept.
    pub user_byte_seconds: u128,
    /// The same of the network's reserve.
    pub reserved_byte_seconds: u128,
    /// Bytes that were moved.
    pub traffic_bytes: u64,
}

/// What that is worth, in micros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pay {
    /// For users' chunks and the reserve together.
    pub storage: u64,
    /// For traffic.
    pub traffic: u64,
    /// The operator's share of both.
    pub operator: u64,
    /// The platform's share.
    pub platform: u64,
}

impl Pay {
    /// All of it.
    #[must_use]
    pub const fn gross(&self) -> u64 {
        self.operator.saturating_add(self.platform)
    }
}

impl Work {
    /// What it is worth. Amounts beyond all reason are the largest that fits.
    #[must_use]
    pub fn pay(&self, rates: Rates) -> Pay {
        let kept = self.user_byte_seconds.saturating_add(self.reserved_byte_seconds);
        let storage = scaled(kept, rates.storage, u128::from(GB) * u128::from(MONTH_SECONDS));
        let traffic = scaled(u128::from(self.traffic_bytes), rates.traffic, u128::from(GB));
        let gross = storage.saturating_add(traffic);
        let operator = scaled(u128::from(gross), OPERATOR_PERCENT, 100);
        Pay { storage, traffic, operator, platform: gross - operator }
    }

    /// This and other work together.
    #[must_use]
    pub const fn and(&self, other: Self) -> Self {
        Self {
            user_byte_seconds: self.user_byte_seconds.saturating_add(other.user_byte_seconds),
            reserved_byte_seconds: self.reserved_byte_seconds.saturating_add(other.reserved_byte_seconds),
            traffic_bytes: self.traffic_bytes.saturating_add(other.traffic_bytes),
        }
    }
}

/// Of what an operator earned, so many micros are held back until the node has left in order.
#[must_use]
pub fn held(operator: u64, percent: u64) -> u64 {
    scaled(u128::from(operator), percent.min(100), 100)
}

/// Seconds of `[begins, ends)` in which something was there that came at `since` and went at `until`.
#[must_use]
pub fn overlap(begins: u64, ends: u64, since: u64, until: Option<u64>) -> u64 {
    until.map_or(ends, |until| until.min(ends)).saturating_sub(since.max(begins))
}

/// `⌊amount × rate / per⌋`. Only what is beyond 2¹²⁸ is divided first, where nothing that exists gets to.
fn scaled(amount: u128, rate: u64, per: u128) -> u64 {
    let rate = u128::from(rate);
    let value = amount.checked_mul(rate).map_or_else(|| (amount / per).saturating_mul(rate), |product| product / per);
    u64::try_from(value).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{GIB, NODE_RESERVED};
    use proptest::prelude::*;

    const RATES: Rates = Rates { storage: 1500, traffic: 2000 };

    #[test]
    fn a_terabyte_for_a_month_is_paid_by_its_rate() {
        let month = u128::from(MONTH_SECONDS);
        let work = Work { user_byte_seconds: 1000 * u128::from(GB) * month, ..Work::default() };
        let pay = work.pay(RATES);
        assert_eq!((pay.storage, pay.operator, pay.platform), (1_500_000, 1_350_000, 150_000));
        let reserve = Work { reserved_byte_seconds: u128::from(NODE_RESERVED) * month, ..Work::default() };
        assert_eq!(reserve.pay(RATES).gross(), 1500 * (2 * GIB) / GB);
        let moved = Work { traffic_bytes: 3 * GB / 2, ..Work::default() };
        assert_eq!((moved.pay(RATES).traffic, moved.pay(RATES).operator), (3000, 2700));
        assert_eq!(Work::default().pay(RATES), Pay::default());
    }

    #[test]
    fn time_counts_only_where_it_overlaps() {
        assert_eq!(overlap(10, 20, 0, None), 10);
        assert_eq!(overlap(10, 20, 12, Some(15)), 3);
        assert_eq!(overlap(10, 20, 25, None), 0);
        assert_eq!(overlap(10, 20, 0, Some(5)), 0);
        assert_eq!(overlap(10, 20, 15, Some(12)), 0);
    }

    #[test]
    fn held_pay_is_a_part_of_it() {
        assert_eq!([held(999, 10), held(999, 0), held(999, 100), held(999, 200)], [99, 0, 999, 999]);
    }

    proptest! {
        #[test]
        fn shares_add_up_and_nothing_overflows(
            user: u128, reserved: u128, traffic: u64, storage in 0..u64::MAX, moved in 0..u64::MAX
        ) {
            let work = Work { user_byte_seconds: user, reserved_byte_seconds: reserved, traffic_bytes: traffic };
            let pay = work.pay(Rates { storage, traffic: moved });
            prop_assert_eq!(pay.gross(), pay.storage.saturating_add(pay.traffic));
            prop_assert!(pay.operator <= pay.gross() && u128::from(pay.platform) <= u128::from(pay.gross()) / 10 + 1);
        }

        /// Cutting time into pieces costs at most a micro for each cut.
        #[test]
        fn pieces_are_worth_the_whole(parts in prop::collection::vec(0..1_u128 << 70, 1..20)) {
            let work = |kept| Work { user_byte_seconds: kept, ..Work::default() };
            let whole = work(parts.iter().sum()).pay(RATES).storage;
            let pieces: u64 = parts.iter().map(|part| work(*part).pay(RATES).storage).sum();
            prop_assert!(pieces <= whole && whole - pieces < parts.len() as u64);
        }

        #[test]
        fn seconds_of_neighbouring_periods_add_up(mut cuts in prop::collection::vec(0..1000_u64, 3), since in 0..1000_u64, until in prop::option::of(0..1000_u64)) {
            cuts.sort_unstable();
            let [a, b, c] = cuts[..] else { unreachable!() };
            prop_assert_eq!(overlap(a, c, since, until), overlap(a, b, since, until) + overlap(b, c, since, until));
        }
    }
}
