//! The node as a member of the network: configuration, enrolment, registration, heartbeats, upkeep.
//!
//! | module | what it does |
//! |---|---|
//! | [`config`] | flags, environment, `node.toml` |
//! | [`storage`] | on the disk or in a bucket |
//! | [`login`], [`session`], [`credentials`], [`api`] | who this machine is at the identity API |
//! | [`trust`] | the authorities that vouch for the server |
//! | [`link`], [`channel`] | the server's `NodeService`: register, report, damage |
//! | [`keep`] | following keep-lists |
//! | [`orders`] | writing clients' orders down and handing them in |
//! | [`exit`] | leaving for good |
//! | [`scrub`] | the slow check of everything that is kept |
//! | [`upkeep`] | trash and the operator's word |
//! | [`system`] | what the node says about its machine |
//! | [`standing`] | what the server last said about the node |
//! | [`error`] | why a node does not run, as exit codes |
//! | [`run`] | all of it together, from the start to an orderly end |

mod api;
mod channel;
pub mod config;
mod credentials;
pub mod error;
pub mod exit;
mod keep;
pub(crate) mod link;
mod login;
mod orders;
pub mod run;
mod scrub;
mod session;
pub mod standing;
pub mod storage;
mod system;
mod trust;
pub mod upkeep;
