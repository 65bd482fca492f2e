//! The cyx server: accounts, encrypted tree, placement, nodes, jobs, events.
//!
//! It never links `cyx-crypto` or `cyx-client`: that it cannot decrypt anything is a property of its `Cargo.toml`.
//!
//! | module | what it does |
//! |---|---|
//! | [`config`] | flags, environment, `server.toml` |
//! | [`app`] | what all handlers share |
//! | [`db`] | the database: snapshots to read, durable jobs to write |
//! | [`error`] | the one error that leaves the server |
//! | [`auth`] | who is calling |
//! | [`accounts`], [`tokens`], [`http`] | registration, login, REST |
//! | [`network`], [`keys`], [`nodes`], [`placement`] | the storage network: identity, nodes, where shards go |
//! | [`collect`] | what is not needed any more, and how nodes learn of it |
//! | [`time`] | the time |

pub mod accounts;
pub mod app;
pub mod auth;
pub mod collect;
pub mod config;
pub mod db;
pub mod error;
pub mod http;
pub mod jobs;
pub mod keys;
pub mod network;
pub mod nodes;
pub mod placement;
pub mod quota;
pub mod time;
pub mod tokens;

#[cfg(test)]
pub mod test_support;
