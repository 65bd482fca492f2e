//! Accounts: who people are, how they log in, what they may store.
//!
//! | module | what it does |
//! |---|---|
//! | [`plan`] | plans and their limits |

pub mod plan;
