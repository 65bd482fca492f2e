//! Keeping this machine and all others in step: changes of others as events, changes of this machine's content as commits.

pub(crate) mod commits;
pub(crate) mod conflicts;
mod events;
pub(crate) mod progress;
#[cfg(test)]
mod tests;
