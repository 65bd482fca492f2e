//! Tests of cyx-core from outside: frozen layouts, models, and what foreign bytes can do.
//!
//! Frozen layouts lie in `tests/vectors`, one file each, in hexadecimal. After a change that is meant, and that no stored data
//! depends on yet, `CYX_BLESS=1 cargo test -p cyx-core` writes them anew.

#![expect(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod erasure;
mod extents;
mod golden;
mod mutations;
mod proofs;
mod support;
