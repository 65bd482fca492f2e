//! The engine of a cyx client: session, keyring, metadata calls, transfer, events.
//!
//! [`Client::open`] takes the credentials of a home folder; [`Client::bucket`] opens a bucket; [`tree`] does everything about
//! names and directories; `transfer` moves content.

mod backoff;
pub mod buckets;
pub mod client;
mod clock;
pub mod config;
pub mod credentials;
pub mod error;
pub mod events;
mod files;
pub mod identity;
mod keys;
pub mod local;
pub mod memory;
pub mod meta;
pub mod nodes;
mod request_id;
pub mod secret;
pub mod session;
#[cfg(test)]
mod test_nodes;
mod times;
mod tls;
pub mod transfer;
pub mod tree;

pub use client::Client;
pub use config::{Config, Gateway, Overrides};
pub use error::{Error, IntegrityError, Result};
pub use session::Session;
pub use tree::path::TreePath;
pub use tree::types::{Bucket, Directory, Item, Located, NewInode, OpenBucket, VerifiedVersion};
