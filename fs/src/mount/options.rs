//! How a filesystem is mounted: what flags and `-o` say, and the defaults.
//!
//! `-o` takes what `/etc/fstab` and `mount(8)` hand over: our own options, the generic ones of mount(8), and words that only
//! other programs care about (`noauto`, `_netdev`, `x-…`), which are passed over. A word that nobody knows is an error, because a
//! misspelt `raed_only` must not mount a writable filesystem.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

pub use crate::vfs::Durability;

/// Default bound of the cache on disk, in bytes.
pub const DEFAULT_CACHE_SIZE: u64 = 10 << 30;
/// Default bound of the memory for content, in bytes.
pub const DEFAULT_MEMORY: u64 = 256 << 20;
/// Least cache in bytes: a journal of one large write must fit.
const LEAST_CACHE_SIZE: u64 = 64 << 20;
/// Least memory in bytes: half of it has to hold a large segment and its parity, twice.
const LEAST_MEMORY: u64 = 128 << 20;

impl FromStr for Durability {
    type Err = OptionError;

    fn from_str(text: &str) -> Result<Self, OptionError> {
        match text {
            "local" => Ok(Self::Local),
            "remote" => Ok(Self::Remote),
            _ => Err(OptionError::Value { name: "fsync or close", value: text.to_owned(), want: "local or remote" }),
        }
    }
}

/// Why an option cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OptionError {
    /// Nobody knows it.
    #[error("there is no mount option {0}")]
    Unknown(String),
    /// It says what it is to be, and did not.
    #[error("the mount option {0} needs a value")]
    NoValue(String),
    /// It says all it says by being there.
    #[error("the mount option {0} takes no value")]
    NeedlessValue(String),
    /// What is mounted stays as it is.
    #[error("a mount cannot be changed while it is mounted: take it off and mount it again")]
    Remount,
    /// It needs a value, or has one that it cannot have.
    #[error("the mount option {name} cannot be {value:?}: it is {want}")]
    Value {
        /// The option.
        name: &'static str,
        /// What was given.
        value: String,
        /// What can be given.
        want: &'static str,
    },
}

/// How a filesystem is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a mount option of its own")]
pub struct Options {
    /// The bucket whose root is the root of the mount; absent: all buckets are top-level directories.
    pub bucket: Option<String>,
    /// Nothing can be changed.
    pub read_only: bool,
    /// What is kept of buckets that are not there any more, or not open to this account, is let go of.
    pub discard_deleted: bool,
    /// Other users of the machine may use the mount, as far as the permissions of files let them.
    pub allow_other: bool,
    /// The mountpoint may have content, which is hidden while mounted.
    pub nonempty: bool,
    /// Set-user-id bits are honoured.
    pub suid: bool,
    /// Device nodes can be opened.
    pub dev: bool,
    /// Programs can be run.
    pub exec: bool,
    /// Every file is shown as owned by this user.
    pub uid: Option<u32>,
    /// Every file is shown as owned by this group.
    pub gid: Option<u32>,
    /// Permission bits that are taken away from what is shown.
    pub umask: u32,
    /// Where journal and cache lie; absent: `cache/` in the home folder.
    pub cache_dir: Option<PathBuf>,
    /// Bound of journal and cache together, in bytes.
    pub cache_size: u64,
    /// Bound of the memory for content, in bytes.
    pub memory: u64,
    /// What `fsync` waits for.
    pub fsync: Durability,
    /// What `close` waits for; `Local` waits for nothing that is not already done.
    pub close: Durability,
    /// Where Prometheus may ask.
    pub metrics: Option<SocketAddr>,
    /// What the table of mounts shows as the source; absent: the bucket, or `cyx`.
    pub source: Option<String>,
    /// The folder of settings and credentials, for mounts without an environment (`/etc/fstab`).
    pub home: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bucket: None,
            read_only: false,
            discard_deleted: false,
            allow_other: false,
            nonempty: false,
            suid: false,
            dev: false,
            exec: true,
            uid: None,
            gid: None,
            umask: 0,
            cache_dir: None,
            cache_size: DEFAULT_CACHE_SIZE,
            memory: DEFAULT_MEMORY,
            fsync: Durability::Local,
            close: Durability::Local,
            metrics: None,
            source: None,
            home: None,
        }
    }
}

impl Options {
    /// Takes the options of one `-o`, in order: a later one wins.
    ///
    /// # Errors
    /// [`OptionError`] for the first that cannot be taken.
    pub fn apply(&mut self, list: &str) -> Result<(), OptionError> {
        list.split(',').map(str::trim).filter(|option| !option.is_empty()).try_for_each(|option| self.apply_one(option))
    }

    fn apply_one(&mut self, option: &str) -> Result<(), OptionError> {
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        // fstab(5) writes spaces of values as \040.
        match (name, value) {
            ("ro", None) => self.read_only = true,
            ("rw", None) => self.read_only = false,
            ("allow_other", None) => self.allow_other = true,
            ("nonempty", None) => self.nonempty = true,
            ("suid", None) => self.suid = true,
            ("nosuid", None) => self.suid = false,
            ("dev", None) => self.dev = true,
            ("nodev", None) => self.dev = false,
            ("exec", None) => self.exec = true,
            ("noexec", None) => self.exec = false,
            ("bucket", Some(value)) if !value.is_empty() => self.bucket = Some(value.replace("\\040", " ")),
            ("fsname", Some(value)) if !value.is_empty() => self.source = Some(value.replace("\\040", " ")),
            ("uid", Some(value)) => self.uid = Some(number("uid", value)?),
            ("gid", Some(value)) => self.gid = Some(number("gid", value)?),
            ("umask", Some(value)) => self.umask = umask(value)?,
            ("cache-dir" | "cache_dir", Some(value)) if !value.is_empty() => self.cache_dir = Some(path(value)),
            ("home", Some(value)) if !value.is_empty() => self.home = Some(path(value)),
            ("cache-size" | "cache_size", Some(value)) => self.cache_size = cache_size(value)?,
            ("memory", Some(value)) => self.memory = memory(value)?,
            ("fsync", Some(value)) => self.fsync = value.parse()?,
            ("close", Some(value)) => self.close = value.parse()?,
            ("metrics", Some(value)) => self.metrics = Some(address(value)?),
            _ if is_generic(name) => {}
            ("remount", None) => return Err(OptionError::Remount),
            _ if WITH_VALUE.contains(&name) => return Err(OptionError::NoValue(name.to_owned())),
            _ if WITHOUT_VALUE.contains(&name) => return Err(OptionError::NeedlessValue(name.to_owned())),
            _ => return Err(OptionError::Unknown(option.to_owned())),
        }
        Ok(())
    }
}

/// Options of ours that need a value, and those that have none.
const WITH_VALUE: &[&str] = &[
    "bucket",
    "fsname",
    "uid",
    "gid",
    "umask",
    "cache-dir",
    "cache_dir",
    "home",
    "cache-size",
    "cache_size",
    "memory",
    "fsync",
    "close",
    "metrics",
];
const WITHOUT_VALUE: &[&str] =
    &["ro", "rw", "allow_other", "nonempty", "suid", "nosuid", "dev", "nodev", "exec", "noexec"];

/// Words of mount(8), systemd.mount(5) and fstab(5) that say nothing about how this filesystem behaves. The kernel decides about
/// times of access by itself, and everything is asynchronous unless a program asks otherwise; `sync` and `dirsync`, which ask for more
/// than is done, are none of them.
fn is_generic(name: &str) -> bool {
    const WORDS: &[&str] = &[
        "defaults",
        "auto",
        "noauto",
        "user",
        "nouser",
        "users",
        "nousers",
        "owner",
        "noowner",
        "group",
        "nogroup",
        "nofail",
        "_netdev",
        "async",
        "atime",
        "noatime",
        "relatime",
        "norelatime",
        "strictatime",
        "nostrictatime",
        "diratime",
        "nodiratime",
        "lazytime",
        "nolazytime",
        "iversion",
        "noiversion",
        "mand",
        "nomand",
        "silent",
        "loud",
        "default_permissions",
        "subtype",
        "comment",
    ];
    WORDS.contains(&name) || name.starts_with("x-") || name.starts_with("X-")
}

fn path(value: &str) -> PathBuf {
    PathBuf::from(value.replace("\\040", " "))
}

fn number(name: &'static str, value: &str) -> Result<u32, OptionError> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let number = value.parse().ok().filter(|_| digits);
    number.map_or_else(|| Err(no_owner(name, value.to_owned())), |number| owner(name, number))
}

/// The number of a user or group, as `uid` and `gid` take it.
///
/// # Errors
/// For the largest number, which means "unchanged" to chown(2) and can own nothing.
pub fn owner(name: &'static str, number: u32) -> Result<u32, OptionError> {
    if number == u32::MAX { Err(no_owner(name, number.to_string())) } else { Ok(number) }
}

const fn no_owner(name: &'static str, value: String) -> OptionError {
    OptionError::Value { name, value, want: "a number below 4294967295" }
}

/// Permission bits as umask(1) takes them.
///
/// # Errors
/// Unless it is an octal number of at most nine bits.
pub fn umask(value: &str) -> Result<u32, OptionError> {
    let wrong = || OptionError::Value { name: "umask", value: value.to_owned(), want: "an octal number from 0 to 777" };
    // A sign would be taken otherwise.
    let value = Some(value).filter(|value| value.bytes().all(|byte| byte.is_ascii_digit())).ok_or_else(wrong)?;
    u32::from_str_radix(value, 8).ok().filter(|bits| *bits <= 0o777).ok_or_else(wrong)
}

/// A bound of the cache.
///
/// # Errors
/// Unless it is a size that is large enough.
pub fn cache_size(value: &str) -> Result<u64, OptionError> {
    let want = "a size such as 20G, at least 64M";
    size(value).filter(|size| *size >= LEAST_CACHE_SIZE).ok_or_else(|| OptionError::Value {
        name: "cache-size",
        value: value.to_owned(),
        want,
    })
}

/// A bound of the memory.
///
/// # Errors
/// Unless it is a size that is large enough.
pub fn memory(value: &str) -> Result<u64, OptionError> {
    let want = "a size such as 512M, at least 128M";
    size(value).filter(|size| *size >= LEAST_MEMORY).ok_or_else(|| OptionError::Value {
        name: "memory",
        value: value.to_owned(),
        want,
    })
}

fn address(value: &str) -> Result<SocketAddr, OptionError> {
    value.parse().map_err(|_| OptionError::Value {
        name: "metrics",
        value: value.to_owned(),
        want: "an address such as 127.0.0.1:9273",
    })
}

/// A number of bytes, or of units of 1024: `4096`, `512M`, `20G`, `20GiB`.
fn size(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim_end_matches("iB").trim_end_matches('B') {
        "" => 0,
        "K" | "k" => 10,
        "M" | "m" => 20,
        "G" | "g" => 30,
        "T" | "t" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(list: &str) -> Options {
        let mut options = Options::default();
        options.apply(list).unwrap();
        options
    }

    #[test]
    fn a_line_of_fstab_is_understood() {
        let options =
            parsed("rw,noauto,user,_netdev,x-systemd.automount,bucket=my\\040photos,cache-size=20G,umask=077,uid=5");
        assert_eq!(options.bucket.as_deref(), Some("my photos"));
        assert_eq!((options.cache_size, options.umask, options.uid), (20 << 30, 0o077, Some(5)));
        assert!(!options.read_only);
    }

    #[test]
    fn words_for_others_change_nothing() {
        let words = "defaults,noatime,strictatime,nofail,_netdev,x-systemd.device-timeout=5,user=me,silent,noiversion,comment=a b";
        assert_eq!(parsed(words), Options::default());
    }

    #[test]
    fn a_later_option_wins() {
        assert!(parsed("rw,ro").read_only);
        assert!(!parsed("ro,rw").read_only);
        assert_eq!(parsed("fsync=remote,fsync=local").fsync, Durability::Local);
    }

    #[test]
    fn set_user_id_and_devices_are_off_unless_asked_for() {
        let options = parsed("");
        assert!(!options.suid && !options.dev && options.exec);
        assert!(parsed("suid,dev").suid && parsed("suid,dev").dev);
    }

    #[test]
    fn a_misspelt_option_is_an_error() {
        for wrong in ["raed_only", "fsync=soon", "umask=9", "umask=1777", "umask=+22", "umask=", "uid=-1", "uid=+1"] {
            assert!(Options::default().apply(wrong).is_err(), "{wrong}");
        }
        // What is not done must not seem to be.
        for wrong in ["sync", "dirsync", "nosymfollow", "context=a"] {
            assert_eq!(Options::default().apply(wrong), Err(OptionError::Unknown(wrong.to_owned())));
        }
        for valued in WITH_VALUE {
            assert_eq!(Options::default().apply(valued), Err(OptionError::NoValue((*valued).to_owned())));
        }
        for flag in WITHOUT_VALUE {
            Options::default().apply(flag).unwrap();
            let given = Options::default().apply(&format!("{flag}=1"));
            assert_eq!(given, Err(OptionError::NeedlessValue((*flag).to_owned())));
        }
        assert_eq!(Options::default().apply("bucket="), Err(OptionError::NoValue("bucket".to_owned())));
        assert_eq!(Options::default().apply("remount,ro"), Err(OptionError::Remount));
        assert!(Options::default().apply("uid=4294967295").is_err());
        assert!(Options::default().apply("metrics=nowhere").is_err());
    }

    #[test]
    fn sizes_have_units_of_1024_and_a_floor() {
        for (text, bytes) in [("0", 0), ("4096", 4096), ("64k", 64 << 10), ("3MiB", 3 << 20), ("2T", 2 << 40)] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for wrong in ["", "M", "1.5G", "-1", "1X", "99999999999T"] {
            assert_eq!(size(wrong), None, "{wrong}");
        }
        assert!(cache_size("1M").is_err() && cache_size("64M").is_ok());
        assert!(memory("1M").is_err() && memory("128M").is_ok());
    }
}
