//! What a transfer tells while it runs.

/// Hears about the progress of transfers. Called from many tasks at once, so it must be quick.
pub trait Progress: Send + Sync {
    /// So many more plain bytes are done: durable on nodes, or written to the local file.
    fn bytes(&self, _bytes: u64) {}
    /// Work on one file begins; `size` is `None` if it is not known. `path` is relative to what was asked for.
    fn begins(&self, _path: &[u8], _size: Option<u64>) {}
    /// Work on one file ended.
    fn ends(&self, _path: &[u8], _outcome: &FileOutcome) {}
    /// So many files and bytes more were found to be done.
    fn found(&self, _files: u64, _bytes: u64) {}
    /// Something that a person should know although it is no failure.
    fn notice(&self, _message: &str) {}
}

/// How work on one file ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileOutcome {
    /// It was transferred.
    Done,
    /// It was there already, unchanged.
    Unchanged,
    /// It was left out, for the reason given.
    Skipped(String),
    /// It failed, for the reason given.
    Failed(String),
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {}
