//! Request ids: a random number that is in the logs of every process that a call touches.

/// A new id, 32 hexadecimal digits.
pub(crate) fn new() -> String {
    hex::encode(cyx_core::ids::random_bytes::<16>())
}
