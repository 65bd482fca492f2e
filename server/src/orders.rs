//! Traffic: what may be moved, and what was.
//!
//! Every grant is written down when it is issued ([`promise`]), with what may be moved under it. Clients sign orders for what they
//! move (`cyx_core::order`), nodes hand them in ([`hand_in`]), and the highest order of a grant is its *settled* traffic. It is added to the
//! account's month and the node's month in the same transaction, so the two sums come from the same facts; the order
//! itself is kept beside ([`crate::ledger`]), as what the node is paid by. What living grants still
//! allow is *promised*: [`limit`] says what of it counts, and that new grants are refused when the plan's limit is reached.
//!
//! | file | what it does |
//! |---|---|
//! | [`rows`] | grants and sums in the database |
//! | [`limit`] | what an account may still be promised |
//! | [`hand_in`] | orders, checked and counted |

pub mod hand_in;
pub mod limit;
pub mod rows;

#[cfg(test)]
mod tests;

pub use self::hand_in::hand_in;
pub use self::limit::{Promise, ReadWish, Traffic, check, exceeded, promise, read_allowances};
pub use self::rows::{
    Grown, allowances_of, forget_grants, lock, of_account, release_ended, release_reads, release_reads_of,
};

/// A month as the sums have it: year × 100 + month, UTC.
#[must_use]
pub fn month(seconds: u64) -> i64 {
    let second = i64::try_from(seconds).unwrap_or(i64::MAX);
    let date = jiff::tz::Offset::UTC.to_datetime(jiff::Timestamp::from_second(second).unwrap_or_default()).date();
    i64::from(date.year()) * 100 + i64::from(date.month())
}
