//! Tests of cyx-crypto from outside.
//!
//! [`reference`] builds every layout a second time, from the words of `docs/formats` and bare algorithms. What it builds is
//! frozen in `tests/vectors`, and the crate must read it, or make the same bytes where nothing is random. After a change that
//! is meant, and that no stored data depends on yet, `CYX_BLESS=1 cargo test -p cyx-crypto` writes the vectors anew.

#![expect(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod account;
mod boxes;
mod frames;
mod mutations;
mod names;
mod reference;
#[path = "../../../core/tests/it/support.rs"]
mod support;
