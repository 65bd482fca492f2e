//! Where the contents of a mount lie, what they may take, and when they are committed.

use std::path::PathBuf;
use std::time::Duration;

use cyx_core::units::{FILE_MAX, GIB, KIB, MIB};

use crate::journal::Limits;

/// Where a store lies and what it may take.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Its folder, for one mount at a time.
    pub folder: PathBuf,
    /// Bounds of the journal.
    pub journal: Limits,
    /// Bytes of the read cache.
    pub cache: u64,
    /// Bytes that may be on their way ahead of readers.
    pub prefetch: u64,
    /// Bytes that may be in memory ahead of readers, when they have arrived.
    pub prefetched: u64,
    /// How long a read may take.
    pub deadline: Duration,
    /// Changes are committed when nothing was written for so long,
    pub idle: Duration,
    /// after this time at the latest,
    pub age: Duration,
    /// and when a file has grown by so many bytes: a long one is sent while it is written.
    pub grown: u64,
    /// What is appended to a file in one go is sent ahead of its commit when it is this much,
    pub ahead_from: u64,
    /// in pieces of at least so many bytes,
    pub ahead_least: u64,
    /// which grow with what was sent, up to so many.
    pub ahead_piece: u64,
    /// Largest file.
    pub file_max: u64,
    /// Ranges of at least so many bytes are copied by reference; shorter ones only if they are whole files.
    pub share_from: u64,
}

impl StoreOptions {
    /// The usual bounds.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            journal: Limits::default(),
            cache: 4 * GIB,
            prefetch: 64 * MIB,
            prefetched: 64 * MIB,
            deadline: Duration::from_secs(60),
            idle: Duration::from_millis(500),
            age: Duration::from_secs(5),
            // Less costs more commits than it saves time: with 40 MiB a file of 128 MiB took longer.
            grown: 256 * MIB,
            ahead_from: 24 * MIB,
            ahead_least: 20 * MIB,
            // A segment of a large file.
            ahead_piece: 20 * MIB,
            file_max: FILE_MAX,
            share_from: 64 * KIB,
        }
    }

    /// For programs that wait until what they wrote is stored on nodes: sending begins sooner, though what is removed a moment later is
    /// sent in vain more often.
    pub const fn hurry(&mut self) {
        self.ahead_from = 8 * MIB;
        // An ordinary segment, as it would be sent in anyway.
        self.ahead_least = 5 * MIB;
    }
}
