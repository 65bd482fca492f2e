//! The engine of a cyx client: session, keyring, metadata calls, transfer, events.
//!
//! [`Client::open`] takes the credentials of a home folder; [`Client::bucket`] opens a bucket; [`tree`] does everything about
//! names and directories; `transfer` moves content.

pub mod config;
pub mod error;
pub mod nodes;
pub mod tree;

pub use config::{Config, Gateway, Overrides};
pub use error::{Error, IntegrityError, Result};
