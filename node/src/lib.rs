//! The cyx storage node: keeps chunks durable, serves them to whoever holds a grant, and signs receipts for them.
//!
//! | module | what it does |
//! |---|---|
//! | [`store`] | keeps the bytes |
//! | [`service`] | speaks gRPC with clients, other nodes and auditors |
//! | [`agent`] | makes the node a member of the network |
//! | [`repair`] | makes chunks anew from those of other nodes |
//! | [`http`] | status and metrics |
//! | [`program`] | what `cyx-node` runs |
//!
//! To run a node inside another process, use [`start`] with a [`Config`].

pub mod agent;
pub mod http;
pub mod program;
pub mod repair;
pub mod service;
pub mod store;

pub use agent::config::{Config, Options};
pub use agent::error::Error;
pub use agent::run::{Running, run, start};
