//! What is not needed any more, and how nodes learn of it.
//!
//! | file | what it does |
//! |---|---|
//! | [`holdings`] | what a node is supposed to hold |
//! | [`ranges`] | cutting that into ranges of ids |
//! | [`keep_lists`] | rounds of signed keep-lists |

pub mod holdings;
pub mod keep_lists;
pub mod ranges;
