//! Real mounts, as programs use them. Without `/dev/fuse` every test says that it is skipped.

#![allow(clippy::unwrap_used, reason = "tests")]

mod alone;
mod crashes;
mod daily;
mod deleted;
mod ending;
mod large;
mod life;
mod listing;
mod loops;
mod offline;
mod programs;
mod refused;
mod requests;
mod restored;
mod rules;
mod silent;
mod two;
