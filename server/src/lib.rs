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
//! | [`admin`] | what administrators see and change |
//! | [`audit_log`] | who did what: rows that are only added, chained by hashes |
//! | [`audits`] | nodes prove what they hold |
//! | [`network`], [`keys`], [`nodes`], [`placement`] | the storage network: identity, nodes, where shards go |
//! | [`repair`] | shards are made anew where they were lost, and moved where they should be elsewhere |
//! | [`jobs`] | work that the server does on its own |
//! | [`collect`] | what is not needed any more, and how nodes learn of it |
//! | [`orders`], [`ledger`] | traffic; what nodes are paid for and what it comes to |
//! | [`meta`], [`tree`], [`changes`], [`quota`] | the encrypted tree and its gRPC service, what changed, what it counts |
//! | [`mail`] | letters to people |
//! | [`backup`] | copies of the database, and coming back from them |
//! | [`cli`], [`run`] | from the command line to a running server, and down again |
//! | [`simulate`] | how likely a segment is lost |
//! | [`metrics`], [`time`] | numbers for Prometheus; the time |

pub mod accounts;
pub mod admin;
pub mod app;
pub mod audit_log;
pub mod audits;
pub mod auth;
pub mod backup;
pub mod changes;
pub mod cli;
pub mod collect;
pub mod config;
pub mod db;
pub mod error;
pub mod http;
pub mod jobs;
pub mod keys;
pub mod ledger;
pub mod mail;
pub mod meta;
pub mod metrics;
pub mod network;
pub mod nodes;
pub mod orders;
pub mod placement;
pub mod quota;
pub mod repair;
pub mod run;
pub mod simulate;
pub mod time;
pub mod tokens;
pub mod tree;

#[cfg(test)]
pub mod test_support;
