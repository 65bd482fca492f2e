//! `cyx dev`: a whole cluster of the production programs on this machine. `cluster` has the steps, [`launch`] and [`process`] start and end
//! programs, [`state`] is what is remembered, `status` what is shown.
//!
//! The folder of a cluster:
//! ```text
//! cluster.json   ports, process ids and their start times; written before and after every step
//! enroll-token   with which the nodes join
//! lock           held while a command works
//! outbox/        mail
//! logs/          a log and a ready file per program
//! server/  nodes/00/  nodes/01/  …   data
//! ```

pub(crate) mod cluster;
mod error;
pub mod launch;
pub mod process;
pub mod state;
mod status;

pub use error::{Error, Result};
pub use status::Status;
