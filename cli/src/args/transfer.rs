//! Uploads and downloads.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Uploads files and directories.
///
/// Replaces what has the same key; who has the old content open or is downloading it can read it to its end, for a day. Skips files whose
/// size and time are unchanged. Keeps times, permissions and symbolic links. An interrupted upload that is run again sends only what is missing. A file that is written to while it is read is read up to three times, then it fails (exit code 7).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cyx upload cat.jpg --bucket photos                   stored as cat.jpg
  cyx upload cat.jpg --bucket photos --key pets/tom.jpg
  cyx upload ~/Pictures --bucket photos -r             stored below Pictures/
  cyx upload ~/Pictures --bucket photos --key '' -r    stored without a folder of its own
  cyx upload src --bucket code -r --exclude 'target/**' --exclude '*.o'
  tar c /etc | cyx upload - --bucket backup --key etc.tar

Directories that a key names are made as needed, buckets never.")]
pub struct Upload {
    /// Files and directories; `-` reads standard input and needs --key.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// The bucket.
    #[arg(long, short, value_name = "BUCKET")]
    pub bucket: OsString,
    /// Key to store under; with several paths or a trailing slash, the folder to store them in.
    #[arg(long, short, value_name = "KEY")]
    pub key: Option<OsString>,
    /// Uploads directories with all they contain.
    #[arg(long, short)]
    pub recursive: bool,
    /// Which files of a directory.
    #[command(flatten)]
    pub filter: Filter,
    /// Refuses (exit code 7) if the key exists.
    #[arg(long, conflicts_with = "if_match")]
    pub if_absent: bool,
    /// Refuses (exit code 7) unless this is the version that would be replaced.
    #[arg(long, value_name = "VERSION")]
    pub if_match: Option<u64>,
    /// Compares contents, not sizes and times, to find what is unchanged.
    #[arg(long)]
    pub checksum: bool,
    /// Says what would be uploaded and uploads nothing.
    #[arg(long, short = 'n')]
    pub dry_run: bool,
    /// When an upload counts as done.
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = Durability::Quorum)]
    pub durability: Durability,
    /// Drops what an interrupted upload of these paths left behind instead of uploading.
    #[arg(long, conflicts_with_all = ["if_absent", "if_match", "checksum", "dry_run"])]
    pub abort: bool,
}

/// When an upload counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Durability {
    /// When enough shards are stored to survive losses; the rest is repaired in the background.
    Quorum,
    /// When every shard is stored.
    All,
}

/// Downloads files and directories.
///
/// Writes to a temporary name and renames when complete and verified: nothing partial appears under the final name. An interrupted download that is run
/// again fetches only what is missing. Symbolic links are made but never followed.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cyx download photos --key pets/tom.jpg               to ./tom.jpg
  cyx download photos --key pets/tom.jpg -o cat.jpg
  cyx download photos --key pets -r                    to ./pets/
  cyx download photos -r -o backup                     the whole bucket to backup/
  cyx download backup --key etc.tar -o - | tar t")]
pub struct Download {
    /// The bucket.
    pub bucket: OsString,
    /// Key of a file, or of a directory with -r; without it, the whole bucket (needs -r).
    #[arg(long, short, value_name = "KEY", required_unless_present = "recursive")]
    pub key: Option<OsString>,
    /// Where to: a file, a directory, or `-` for standard output.
    #[arg(long, short, value_name = "PATH")]
    pub output: Option<PathBuf>,
    /// Downloads a directory with all it contains.
    #[arg(long, short)]
    pub recursive: bool,
    /// Which files of a directory.
    #[command(flatten)]
    pub filter: Filter,
    /// Leaves files that exist as they are.
    #[arg(long)]
    pub no_clobber: bool,
    /// Says what would be downloaded and downloads nothing.
    #[arg(long, short = 'n')]
    pub dry_run: bool,
}

/// Which files of a directory tree. Patterns are matched against the path below the directory that was named.
#[derive(Debug, Clone, Args)]
pub struct Filter {
    /// Only files that match; may be repeated. `*` and `?` stop at slashes, `**` does not; a pattern without a slash matches at any depth.
    #[arg(long, value_name = "GLOB")]
    pub include: Vec<String>,
    /// Not what matches; may be repeated and wins over --include. A directory that matches is left out with all it contains.
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<String>,
}
