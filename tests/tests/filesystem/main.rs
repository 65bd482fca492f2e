//! The filesystem without a kernel, on a real cluster: against a naive model, and against itself as on two machines.

#![allow(clippy::unwrap_used, reason = "tests")]

mod alone;
mod away;
mod coherence;
mod full;
mod large;
mod model;
mod owners;
mod remote;
mod removed;
mod rules;
mod silent;
mod support;
