//! The engine of a cyx client: session, keyring, metadata calls, transfer, events.
//!
//! [`Client::open`] takes the credentials of a home folder; [`Client::bucket`] opens a bucket.
//!
//! | module | what it does |
//! |---|---|
//! | [`client`] | one session with its keys and the server's metadata service: where everything begins |
//! | [`identity`] | accounts over REST: registering, logging in, devices, API keys, administration |
//! | [`session`], [`credentials`], `keys` | tokens that stay fresh, the file they are kept in, what they may decrypt |
//! | [`config`] | where the server is and where files are kept |
//! | [`buckets`], [`tree`] | buckets, and the encrypted tree as its owner sees it |
//! | [`transfer`] | content: seal, code and place; fetch, verify, decode and open |
//! | [`nodes`] | connections to storage nodes, and which of them are worth asking |
//! | [`local`] | whole trees between the local filesystem and a bucket |
//! | [`events`] | changes of buckets as they are committed |
//! | [`meta`], `request_id`, `backoff`, `tls` | calls to the server: deadlines, repetition, connections |
//! | [`memory`] | what was seen of a server, so that it cannot quietly go back |
//! | [`error`] | what can go wrong, with the code that decides a program's exit code |
//! | [`secret`], `files`, `times`, `clock` | secrets in files and bodies, private files, what is late, the time of day |

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
