//! Looking at the tree and changing it.

use std::ffi::OsString;

use clap::Args;

/// Lists buckets, or what is in one.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cyx list                              the buckets
  cyx list photos                       the top of a bucket
  cyx list photos --prefix pets/ -l     a directory, with sizes and times
  cyx list photos -r --json             everything, one JSON document per line

A prefix without a slash at its end also matches names that go on: `pets` finds pets/ and pets.txt.")]
pub struct List {
    /// The bucket; without it the buckets are listed.
    pub bucket: Option<OsString>,
    /// Only keys that begin like this.
    #[arg(long, value_name = "PREFIX", requires = "bucket")]
    pub prefix: Option<OsString>,
    /// Shows permissions, size, time and version.
    #[arg(long, short)]
    pub long: bool,
    /// Lists directories with all they contain.
    #[arg(long, short)]
    pub recursive: bool,
}

/// Moves files and directories to the trash, or deletes them for good.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cyx delete photos pets/tom.jpg
  cyx delete photos pets -r
  cyx delete photos pets/tom.jpg --permanent
  cyx delete photos -- -odd-name

What is in the trash counts against the quota until it expires; `cyx trash` lists, restores and empties it.")]
pub struct Delete {
    /// The bucket.
    pub bucket: OsString,
    /// Keys to delete.
    #[arg(required = true, value_name = "KEY")]
    pub keys: Vec<OsString>,
    /// Deletes directories with all they contain.
    #[arg(long, short)]
    pub recursive: bool,
    /// Deletes for good instead of moving to the trash.
    #[arg(long)]
    pub permanent: bool,
}

/// Shows all about a file or directory, and how many more lost nodes it survives: its nodes are asked.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cyx stat photos pets/tom.jpg
  cyx stat photos pets/tom.jpg --json | jq .survives
  cyx stat photos pets/tom.jpg --scrub")]
pub struct Stat {
    /// The bucket.
    pub bucket: OsString,
    /// The key.
    pub key: OsString,
    /// Has the nodes read what they keep of the file; without it they say what they know. Takes a while for large files.
    #[arg(long)]
    pub scrub: bool,
}

/// Has storage nodes prove that files are still there, and shows what they would survive.
///
/// Every node reads its shards, compares them with their hashes and proves a random slice of each; what it says is checked, not believed.
/// No content is decrypted for it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cyx verify                            all buckets
  cyx verify photos                     one of them
  cyx verify photos pets/tom.jpg        a file, or all in a directory
  cyx verify photos --full              every byte is proven: as much traffic as downloading all shards
  cyx verify photos --json | jq 'select(.survives < 2)'

Exit codes: 0 if everything can be read (with --strict: if every shard is healthy), 8 if some of many files cannot, 1 if none.")]
pub struct Verify {
    /// The bucket; without it all buckets.
    pub bucket: Option<OsString>,
    /// A file, or a directory with all it contains.
    pub key: Option<OsString>,
    /// Has every byte proven instead of a random slice of each shard.
    #[arg(long)]
    pub full: bool,
    /// Fails for files with a shard that is missing, also if they can be read.
    #[arg(long)]
    pub strict: bool,
}

/// Writes files to standard output.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cyx cat notes todo.txt
  cyx cat logs january february | sort
  cyx cat disk image.iso --offset 32768 --length 2048 | xxd")]
pub struct Cat {
    /// The bucket.
    pub bucket: OsString,
    /// Keys, written one after the other.
    #[arg(required = true, value_name = "KEY")]
    pub keys: Vec<OsString>,
    /// Begins at this byte.
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub offset: u64,
    /// Stops after this many bytes.
    #[arg(long, value_name = "BYTES")]
    pub length: Option<u64>,
}

/// Copies a file or directory within its bucket or to another.
///
/// Within a bucket no content is sent again: the copy has its own key and shares what is stored. An existing file gets a new version.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cyx cp photos pets/tom.jpg pets/tom-backup.jpg
  cyx cp photos pets pets-2026 -r
  cyx cp photos pets/tom.jpg archive/      into a directory
  cyx cp photos pets pets -r --to-bucket archive

Within a bucket no content moves. To another bucket it is read and encrypted anew.")]
pub struct Cp {
    /// The bucket.
    pub bucket: OsString,
    /// The key to copy.
    pub from: OsString,
    /// The key to make; an existing directory is copied into, and so is what has a slash at its end.
    pub to: OsString,
    /// Copies a directory with all it contains.
    #[arg(long, short)]
    pub recursive: bool,
    /// Refuses (exit code 7) if the new key exists.
    #[arg(long)]
    pub no_clobber: bool,
    /// The bucket to copy to, if it is another one.
    #[arg(long, value_name = "BUCKET")]
    pub to_bucket: Option<OsString>,
}

/// Renames or moves a file or directory within its bucket.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cyx mv photos tom.jpg pets/tom.jpg
  cyx mv photos pets animals
  cyx mv photos tom.jpg pets/             into a directory

A file that the new key already leads to goes to the trash. Moving a directory takes one step, however much is in it. Between buckets use `cyx cp --to-bucket` and `cyx delete`.")]
pub struct Mv {
    /// The bucket.
    pub bucket: OsString,
    /// The key to move.
    pub from: OsString,
    /// The new key; an existing directory is moved into, and so is what has a slash at its end.
    pub to: OsString,
    /// Refuses (exit code 7) if the new key exists.
    #[arg(long)]
    pub no_clobber: bool,
}

/// Makes directories.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cyx mkdir photos pets\n  cyx mkdir photos -p trips/2026/june")]
pub struct Mkdir {
    /// The bucket.
    pub bucket: OsString,
    /// Keys of the directories.
    #[arg(required = true, value_name = "KEY")]
    pub keys: Vec<OsString>,
    /// Makes missing parents too, and does not mind if the directory exists.
    #[arg(long, short)]
    pub parents: bool,
}
