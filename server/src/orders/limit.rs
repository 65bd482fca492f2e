//! What an account may still be promised.
//!
//! This is the one place where the plan's traffic is enforced: whoever issues grants looks at [`check`] and calls [`promise`] before it
//! hands them out.
//!
//! A grant cannot be called back, so whatever a living one still allows may be moved yet. It falls into three parts:
//!
//! | part | what it is | how it counts |
//! |---|---|---|
//! | leased | grants of leases that are in force | whole |
//! | reads | each session's newest grants to read | only beyond [`Traffic::read_slack`] |
//! | given back | grants of leases that were given back, and older grants to read | only beyond [`Traffic::given_back_slack`] and unused read slack |
//!
//! Settled traffic and all three parts together therefore never exceed the limit by more than the two slacks, whatever a client does. The
//! slacks are what lets honest ones go on: most of what they may read, or gave back, they never move. What goes from reads to given back
//! changes nothing of the sum, and reserves nothing more.

use cyx_core::error::ErrorCode;
use cyx_core::ids::AccountId;
use cyx_core::units::{CHUNK_MAX, GIB, KIB, MIB};

use super::rows::{self, NewGrant};
use crate::db::{Backend, Conn};
use crate::error::ApiError;

/// Most bytes of one grant to read.
const READ_MAX: u64 = GIB;
/// Near the limit still so many, or a whole chunk.
pub const READ_MIN: u64 = 8 * MIB;
/// Least bytes of a session's first grant for a node and bucket.
pub const FIRST_MIN: u64 = 128 * KIB;
/// Most bytes of it, unless the client says that it will read more: whoever opens a large file may want little of it, and who reads on
/// gets larger ones soon.
pub const FIRST_MAX: u64 = 2 * MIB;
/// Grants below this many bytes are followed by ones four times as large, others by ones twice as large: so that what is reserved stays
/// in proportion to what was read, and a long read asks seldom.
const GROWS_FAST: u64 = READ_MIN;

/// An account's traffic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes that the plan allows in a month.
    pub limit: u64,
    /// Bytes that clients signed for this month.
    pub settled: u64,
    /// Bytes that living grants of leases in force still allow.
    pub leased: u64,
    /// Bytes that the newest grants to read of each session still allow.
    pub reads: u64,
    /// Bytes that living grants still allow which were given back: their leases ended, or newer grants to read follow them.
    pub given_back: u64,
}

impl Traffic {
    /// Bytes that may be promised to be read without counting: a quarter of the plan.
    #[must_use]
    pub const fn read_slack(&self) -> u64 {
        self.limit / 4
    }

    /// Bytes that grants which were given back may allow without counting: as much as the plan. Each upload and each download that a
    /// program makes leaves some, and thousands in an hour must not end in a refusal.
    #[must_use]
    pub const fn given_back_slack(&self) -> u64 {
        self.limit
    }

    /// Bytes that are reserved: they are taken off what is left. What was given back may use up what reads leave of their slack, so that it
    /// makes no difference for leases when newer grants to read follow older ones.
    #[must_use]
    pub const fn reserved(&self) -> u64 {
        let (reads, unused) =
            (self.reads.saturating_sub(self.read_slack()), self.read_slack().saturating_sub(self.reads));
        self.leased.saturating_add(reads).saturating_add(self.given_back_beyond().saturating_sub(unused))
    }

    /// Bytes of what was given back beyond its slack.
    const fn given_back_beyond(&self) -> u64 {
        self.given_back.saturating_sub(self.given_back_slack())
    }

    /// Bytes that leases may still be given for.
    #[must_use]
    pub const fn left(&self) -> u64 {
        self.limit.saturating_sub(self.settled).saturating_sub(self.reserved())
    }

    /// Bytes that grants to read may still be given for: what is left of their slack, and beyond it half of what leases do not have, so
    /// that what sessions read now never keeps an account from storing.
    #[must_use]
    pub const fn left_for_reads(&self) -> u64 {
        if self.settled >= self.limit {
            return 0;
        }
        let taken = self.settled.saturating_add(self.leased).saturating_add(self.given_back_beyond());
        let (open, over) = (self.limit.saturating_sub(taken), taken.saturating_sub(self.limit));
        self.read_slack().saturating_add(open / 2).saturating_sub(over).saturating_sub(self.reads)
    }
}

/// Grants for one session, to be written down.
#[derive(Debug, Clone)]
pub struct Promise {
    /// Whose traffic it is.
    pub account: AccountId,
    /// The key that the grants are bound to, and that signs the orders.
    pub session_key: [u8; 32],
    /// The grants.
    pub grants: Vec<NewGrant>,
}

/// What is to be read from a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadWish {
    /// Bytes that will probably be read; 0 for who asks about chunks only.
    pub bytes: u64,
    /// Allowance of the grant that the session has spent there, if it did.
    pub spent: Option<u64>,
}

impl ReadWish {
    /// The allowance that it deserves. Twice what is to be read, because readers ask late nodes again or begin anew; and more with each
    /// grant that was spent.
    fn allowance(self) -> u64 {
        let twice = self.bytes.saturating_mul(2);
        match self.spent {
            _ if self.bytes == 0 => 0,
            None => twice.clamp(FIRST_MIN, FIRST_MAX.max(self.bytes.min(CHUNK_MAX))),
            Some(spent) => {
                let grown = spent.saturating_mul(if spent < GROWS_FAST { 4 } else { 2 });
                grown.max(twice).clamp(FIRST_MIN, READ_MAX)
            }
        }
    }
}

/// Bytes of new grants to read, in the order of the wishes; `None` if they do not fit. All of a call get a quarter of what is left at
/// most, but each enough for a chunk.
#[must_use]
pub fn read_allowances(traffic: &Traffic, wishes: &[ReadWish]) -> Option<Vec<u64>> {
    let share = traffic.left() / 4 / (wishes.len().max(1) as u64);
    let allowance = |wish: &ReadWish| {
        let least = READ_MIN.max(wish.bytes.min(CHUNK_MAX));
        wish.allowance().min(share.max(least))
    };
    let allowances: Vec<u64> = wishes.iter().map(allowance).collect();
    let fits = allowances.iter().sum::<u64>() <= traffic.left_for_reads();
    fits.then_some(allowances)
}

/// An account's traffic, which nobody else can promise until the transaction ends.
///
/// # Errors
/// [`ApiError`] of the database.
pub async fn check(conn: &mut Conn, backend: Backend, account: AccountId, now: u64) -> Result<Traffic, ApiError> {
    rows::lock(conn, backend, account).await?;
    Ok(rows::of_account(conn, account, now).await?)
}

/// Writes grants down, in the transaction in which [`check`] found that they fit.
///
/// # Errors
/// [`ApiError`] of the database.
pub async fn promise(conn: &mut Conn, promise: &Promise) -> Result<(), ApiError> {
    Ok(rows::insert(conn, promise.account, promise.session_key, &promise.grants).await?)
}

/// Says that the plan's traffic is used up.
#[must_use]
pub fn exceeded(traffic: &Traffic) -> ApiError {
    let Traffic { limit, settled, leased, reads, .. } = traffic;
    // All that living grants may still move, also what does not count for leases.
    let reserved = traffic.reserved().max(leased.saturating_add(*reads));
    let message = if reserved == 0 || settled >= limit {
        format!("this month's traffic of the plan is used up: {settled} of {limit} bytes")
    } else {
        format!(
            "this month's traffic of the plan does not suffice: {settled} of {limit} bytes are used and {reserved} are reserved by transfers \
             under way, for at most an hour"
        )
    };
    ApiError::new(ErrorCode::QuotaExceeded, message)
}
