//! Mounting: the cloud as a directory.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Mounts the buckets as a directory.
///
/// Every bucket is a directory at the top, or with `--bucket` one bucket is the top itself. Returns when the mount works and leaves it
/// running in the background. What is written is first kept in an encrypted journal on this machine and sent behind it: `fsync`
/// returns when the journal has it, and after a crash the next mount sends what is left. docs/semantics.md says what programs can
/// rely on.
///
/// What is removed or replaced in a mount does not go to the trash: `cyx trash restore` does not bring it back.
///
/// What was changed in a bucket that is deleted, or taken from this account, before it is sent can never be sent. It is kept, encrypted, and
/// `cyx mounts` shows it, until a mount with `--discard-deleted` lets go of it; if the bucket is there again before, the next mount sends it.
///
/// Without root, fusermount3 (package fuse3) is needed. Cached content and the journal lie encrypted in the cache directory, which
/// serves one mount at a time, and no other account or API key before everything in it is sent.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cyx mount ~/cloud
  cyx mount ~/photos --bucket photos --read-only
  cyx mount ~/cloud -o allow_other,umask=022,cache-size=50G
  cyx mount /srv/cloud --foreground            as a service does it
  cyx umount ~/cloud

In /etc/fstab, with the helper mount.cyx in /sbin:
  photos  /home/me/photos  cyx  noauto,user,_netdev,home=/home/me/.cyxcloud  0  0")]
pub struct Mount {
    /// An empty directory.
    pub dir: PathBuf,
    /// Mount options, separated by commas; may be repeated.
    ///
    /// ro, rw, allow_other, nonempty, suid, dev, noexec, bucket=NAME, uid=N, gid=N, umask=OCTAL, cache-dir=DIR, cache-size=SIZE,
    /// memory=SIZE, fsync=local|remote, close=local|remote, metrics=ADDRESS, home=DIR, fsname=SOURCE (what the table of mounts shows),
    /// and the words of fstab(5). The options below say the same and win.
    #[arg(short = 'o', value_name = "OPTIONS")]
    pub options: Vec<String>,
    /// Stays in the foreground, logs to standard error and ends with the mount.
    #[arg(long, short)]
    pub foreground: bool,
    /// Mounts one bucket instead of all.
    #[arg(long, short, value_name = "BUCKET")]
    pub bucket: Option<String>,
    /// Lets nothing be changed. What an earlier mount left in the cache directory is still sent.
    #[arg(long)]
    pub read_only: bool,
    /// Lets other users of this machine in, as far as the permissions of files go.
    ///
    /// Without root, /etc/fuse.conf must contain user_allow_other.
    #[arg(long)]
    pub allow_other: bool,
    /// Shows every file as owned by this user.
    #[arg(long, value_name = "UID")]
    pub uid: Option<u32>,
    /// Shows every file as owned by this group.
    #[arg(long, value_name = "GID")]
    pub gid: Option<u32>,
    /// Takes permission bits away from what is shown, as umask(1) does.
    #[arg(long, value_name = "OCTAL")]
    pub umask: Option<String>,
    /// Where the journal and the cache lie; default: cache/ in ~/.cyxcloud (or CYXCLOUD_HOME).
    #[arg(long, value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
    /// Bound of the journal and the cache on disk, for example 50G; default 10G.
    ///
    /// A quarter of it, 32 MiB to 4 GiB, is the journal's. Some MiB that are kept for full disks come on top.
    #[arg(long, value_name = "SIZE")]
    pub cache_size: Option<String>,
    /// Bound of the memory for content that is read ahead or sent, for example 512M; default 256M.
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<String>,
    /// What `fsync` waits for; default local.
    #[arg(long, value_enum, value_name = "WHERE")]
    pub fsync: Option<Durability>,
    /// What `close` waits for; default local, which waits for nothing more than the write itself.
    #[arg(long, value_enum, value_name = "WHERE")]
    pub close: Option<Durability>,
    /// Lets go of what could not be sent to buckets that were deleted, or are not open to this account any more. Without it that is kept.
    #[arg(long)]
    pub discard_deleted: bool,
    /// Answers Prometheus at /metrics of this address, for example 127.0.0.1:9273.
    #[arg(long, value_name = "ADDRESS")]
    pub metrics: Option<SocketAddr>,
}

/// Where something has to be before a program goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Durability {
    /// In the journal of this machine.
    Local,
    /// On the storage nodes, and committed.
    Remote,
}

/// Takes a mount off, after sending what was written.
///
/// While files in it are open, or changes cannot be sent, the mount stays. With `--force` it goes: files that are open in it cannot be
/// used any more, and what was not sent stays in the journal, from where the next mount with the same cache directory sends it. That
/// also holds while somebody else is taking it off and waits for changes to be sent: that one is told. Without `--force`, whoever takes
/// off what is being taken off already waits for the same end.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cyx umount ~/cloud\n  cyx umount ~/cloud --force")]
pub struct Umount {
    /// The mountpoint.
    pub dir: PathBuf,
    /// Takes it off although it is in use or changes are pending.
    #[arg(long, short)]
    pub force: bool,
}

/// Lists the mounts and what they are doing.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cyx mounts\n  cyx mounts --json | jq .dirty_bytes")]
pub struct Mounts {}
