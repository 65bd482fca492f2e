//! `cyx mount`.
//!
//! Without `--foreground` the program starts itself once more as a process of its own session, and waits until that says, on its
//! standard output, that the mount works or why it does not. Starting afresh instead of forking keeps threads, locks and
//! connections of one process out of the other.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use cyx_client::{Client, Config};
use cyx_fs::mount::options::{self, Options};
use cyx_fs::mount::{self, Prepared};
use cyx_fs::vfs::answered;
use serde::{Deserialize, Serialize};

use super::run_async;
use crate::args::Global;
use crate::args::mount::{Durability, Mount};
use crate::error::{Error, Report, Result};
use crate::output::{Output, names};
use crate::prompt;

/// Set for the process in the background.
const BACKGROUND: &str = "CYXCLOUD_MOUNT_BACKGROUND";
/// A log that is larger is put aside, in bytes.
const LARGEST_LOG: u64 = 8 << 20;
/// Longest answer of the process in the background, in bytes.
const LONGEST_ANSWER: u64 = 64 << 10;

/// What the process in the background says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Answer {
    Mounted { mountpoint: PathBuf, pid: u32 },
    Failed { error: String, exit_code: u8 },
}

/// Mounts, in the foreground or in the background.
///
/// # Errors
/// What keeps it from being mounted.
pub fn run(global: &Global, output: &Output, args: &Mount) -> Result<()> {
    let options = options(args)?;
    let config = config(global, &options)?;
    if env::var_os(BACKGROUND).is_some() {
        return in_background(&config, output, &args.dir, options);
    }
    if args.foreground {
        let prepared = mount::prepare(&args.dir, &config.home, options)?;
        let document = mounted(&prepared);
        return run_async(
            Box::pin(serve(config, prepared, output, || {
                // Whoever waits for the line has to get it; to others nothing is said on standard output.
                if output.json() { output.document(&document).map_err(io::Error::other) } else { Ok(()) }
            })),
            Duration::ZERO,
        );
    }
    start(&config, output, &args.dir)
}

fn mounted(prepared: &Prepared) -> Answer {
    Answer::Mounted { mountpoint: prepared.mountpoint().to_owned(), pid: std::process::id() }
}

async fn serve(
    config: Config,
    prepared: Prepared,
    output: &Output,
    ready: impl FnOnce() -> io::Result<()>,
) -> Result<()> {
    let client = answered(Client::open(&config)).await?;
    let ended = prepared.run(client, ready).await?;
    if ended.pending_files > 0 {
        output.warn(super::umount::pending(ended.pending_files));
    }
    Ok(())
}

/// The process in the background: tells the one that waits how it went, exactly once.
fn in_background(config: &Config, output: &Output, dir: &Path, options: Options) -> Result<()> {
    // Fails only for a process that leads a group: then it is on its own already.
    let _ = rustix::process::setsid();
    let dir = std::path::absolute(dir).map_err(Error::stream("find the mountpoint"))?;
    let told = std::sync::atomic::AtomicBool::new(false);
    let tell = |answer: &Answer| {
        told.store(true, std::sync::atomic::Ordering::SeqCst);
        output.document(answer).map_err(io::Error::other)
    };
    let result = mount::prepare(&dir, &config.home, options).map_err(Error::from).and_then(|prepared| {
        // No directory is kept from being unmounted because this process stands in it.
        env::set_current_dir("/").map_err(Error::stream("leave the directory"))?;
        let answer = mounted(&prepared);
        run_async(Box::pin(serve(config.clone(), prepared, output, || tell(&answer))), Duration::ZERO)
    });
    if let Err(error) = &result
        && !told.load(std::sync::atomic::Ordering::SeqCst)
    {
        let report = Report(error).to_string();
        let error_text = report.strip_prefix("cyx: ").unwrap_or(&report).to_owned();
        // If nobody listens any more, the log has it.
        let _ = tell(&Answer::Failed { error: error_text, exit_code: error.exit_code() });
    }
    result
}

/// Starts the process in the background and waits for what it says.
fn start(config: &Config, output: &Output, dir: &Path) -> Result<()> {
    let program = env::current_exe().map_err(Error::stream("find this program"))?;
    let log = log_path(&config.home, dir);
    let log_file = open_log(&log).map_err(Error::stream("open the log of the mount"))?;
    let mut command = Command::new(program);
    command.args(env::args_os().skip(1));
    // The token of an API key stays: the mount works by it.
    prompt::forget_secrets(&mut command);
    command.env(BACKGROUND, "1");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log_file);
    let mut child = command.spawn().map_err(Error::stream("start the mount"))?;
    let mut line = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        let mut stdout = BufReader::new(stdout.take(LONGEST_ANSWER));
        stdout.read_until(b'\n', &mut line).map_err(Error::stream("wait for the mount"))?;
    }
    match serde_json::from_slice::<Answer>(&line) {
        Ok(answer @ Answer::Mounted { .. }) => show(output, &answer),
        Ok(Answer::Failed { error, exit_code }) => {
            let _ = child.wait();
            Err(Error::Elsewhere { message: error, exit_code })
        }
        Err(_) => {
            let status = child.wait().map_err(Error::stream("wait for the mount"))?;
            let message = format!("the mount ended without a word ({status}); its log is {}", log.display());
            Err(Error::Elsewhere { message, exit_code: 1 })
        }
    }
}

fn show(output: &Output, answer: &Answer) -> Result<()> {
    if output.json() {
        return output.document(answer);
    }
    if let Answer::Mounted { mountpoint, .. } = answer {
        output.note(format!("Mounted on {}.", names::escape(mountpoint.as_os_str().as_encoded_bytes())));
    }
    Ok(())
}

/// The log of mounts on this directory.
fn log_path(home: &Path, dir: &Path) -> PathBuf {
    let whole = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let name = whole.to_string_lossy().trim_matches('/').replace('/', "-");
    let short: String = name.chars().rev().take(60).collect::<Vec<_>>().into_iter().rev().collect();
    home.join("mounts").join(format!("{short}.log"))
}

fn open_log(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    if fs::metadata(path).is_ok_and(|found| found.len() > LARGEST_LOG) {
        fs::rename(path, path.with_extension("log.old"))?;
    }
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// Settings, with the home folder that `-o home=` names, and without relative paths.
fn config(global: &Global, options: &Options) -> Result<Config> {
    let home = options.home.clone();
    if let Some(home) = home.as_deref() {
        check_home(home)?;
    }
    let variable = |name: &str| match (&home, name) {
        (Some(home), "CYXCLOUD_HOME") => Some(home.clone().into_os_string()),
        _ => env::var_os(name).filter(|value| !value.is_empty()),
    };
    let mut config = Config::load_from(super::overrides(global), &variable)?;
    config.home = std::path::absolute(&config.home).map_err(Error::stream("find the home folder"))?;
    if let Some(file) = &config.ca_file {
        config.ca_file = Some(std::path::absolute(file).map_err(Error::stream("find the certificate authorities"))?);
    }
    Ok(config)
}

/// The folder that `-o home=` names is there, and the user's own.
fn check_home(home: &Path) -> Result<()> {
    let shown = || names::escape(home.as_os_str().as_encoded_bytes());
    let Some(found) = fs::metadata(home).ok().filter(fs::Metadata::is_dir) else {
        // It would be made, for a log that says that nobody is logged in there.
        return Err(Error::usage(format!("the mount option home is {}, which is no directory", shown())));
    };
    let (owner, user) = (found.uid(), rustix::process::geteuid().as_raw());
    if owner != user {
        // What root writes there its owner could not read any more, and not mount with.
        return Err(Error::usage(format!(
            "the mount option home is {}, which belongs to the user {owner}, not to {user}: let its owner mount (in \
             /etc/fstab with the option user)",
            shown()
        )));
    }
    Ok(())
}

fn options(args: &Mount) -> Result<Options> {
    let wrong = |error: options::OptionError| Error::usage(error.to_string());
    let mut options = Options::default();
    for list in &args.options {
        options.apply(list).map_err(wrong)?;
    }
    options.read_only |= args.read_only;
    options.allow_other |= args.allow_other;
    options.discard_deleted = args.discard_deleted;
    options.bucket = args.bucket.clone().or(options.bucket);
    options.uid = args.uid.map(|uid| options::owner("uid", uid)).transpose().map_err(wrong)?.or(options.uid);
    options.gid = args.gid.map(|gid| options::owner("gid", gid)).transpose().map_err(wrong)?.or(options.gid);
    options.cache_dir = args.cache_dir.clone().or(options.cache_dir);
    options.metrics = args.metrics.or(options.metrics);
    if let Some(umask) = &args.umask {
        options.umask = options::umask(umask).map_err(wrong)?;
    }
    if let Some(size) = &args.cache_size {
        options.cache_size = options::cache_size(size).map_err(wrong)?;
    }
    if let Some(size) = &args.memory {
        options.memory = options::memory(size).map_err(wrong)?;
    }
    options.fsync = args.fsync.map_or(options.fsync, durability);
    options.close = args.close.map_or(options.close, durability);
    for path in [&mut options.cache_dir, &mut options.home].into_iter().flatten() {
        *path = std::path::absolute(&*path).map_err(Error::stream("find the cache directory"))?;
    }
    Ok(options)
}

const fn durability(durability: Durability) -> options::Durability {
    match durability {
        Durability::Local => options::Durability::Local,
        Durability::Remote => options::Durability::Remote,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser as _;

    fn parsed(args: &[&str]) -> Result<Options> {
        let cli = Cli::try_parse_from([&["cyx", "mount", "/mnt"], args].concat()).unwrap();
        let Command::Mount(args) = cli.command else { panic!("another command") };
        options(&args)
    }

    #[test]
    fn flags_win_over_the_list_of_options() {
        let options =
            parsed(&["-o", "ro,umask=022,uid=1", "-o", "cache-size=20G", "--umask", "077", "--uid", "2"]).unwrap();
        assert!(options.read_only);
        assert_eq!((options.umask, options.uid, options.cache_size), (0o077, Some(2), 20 << 30));
        let options = parsed(&["--fsync", "remote", "-o", "fsync=local,close=remote"]).unwrap();
        assert_eq!((options.fsync, options.close), (options::Durability::Remote, options::Durability::Remote));
    }

    #[test]
    fn a_wrong_option_is_a_usage_error() {
        for wrong in [
            ["-o", "frobnicate"],
            ["--umask", "888"],
            ["--cache-size", "huge"],
            ["--memory", "1"],
            ["--uid", "4294967295"],
            ["--gid", "4294967295"],
        ] {
            assert_eq!(parsed(&wrong).unwrap_err().exit_code(), crate::error::EXIT_USAGE, "{wrong:?}");
        }
    }

    #[test]
    fn each_mountpoint_has_a_log() {
        let log = log_path(Path::new("/home/me/.cyxcloud"), Path::new("/home/me/cloud"));
        assert_eq!(log, Path::new("/home/me/.cyxcloud/mounts/home-me-cloud.log"));
    }
}
