//! The signals that ask a command to end: Ctrl-C, SIGTERM, and SIGHUP unless it was ignored from the start, as by `nohup`.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::{Error, Result, signalled};

/// Hears of them. From the first of these on they do not end the process by themselves.
pub(crate) struct Signals(Vec<(SignalKind, Signal)>);

impl Signals {
    pub(crate) fn new() -> Result<Self> {
        let mut kinds = vec![SignalKind::interrupt(), SignalKind::terminate()];
        let status = std::fs::read_to_string("/proc/self/status");
        if status.is_ok_and(|status| !ignores(&status, SignalKind::hangup())) {
            kinds.insert(0, SignalKind::hangup());
        }
        let heard = kinds.into_iter().map(|kind| Ok((kind, signal(kind)?)));
        heard.collect::<io::Result<_>>().map(Self).map_err(Error::stream("listen for signals"))
    }

    /// The signal that came, if one did.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<SignalKind> {
        let came = self.0.iter_mut().find_map(|(kind, signal)| match signal.poll_recv(context) {
            Poll::Ready(Some(())) => Some(*kind),
            _ => None,
        });
        came.map_or(Poll::Pending, Poll::Ready)
    }

    /// The next signal.
    pub(crate) async fn next(&mut self) -> SignalKind {
        poll_fn(|context| self.poll(context)).await
    }
}

/// While this is there a signal ends the process at once, as it would if nobody heard of it: a read of standard input cannot be cut off,
/// and nothing is under way during one.
pub(crate) struct EndsAtOnce(tokio::task::JoinHandle<()>);

impl EndsAtOnce {
    pub(crate) fn new() -> Result<Self> {
        let mut signals = Signals::new()?;
        Ok(Self(tokio::spawn(async move { std::process::exit(signalled(signals.next().await).into()) })))
    }
}

impl Drop for EndsAtOnce {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Whether a process ignores a signal, by its proc_pid_status(5).
fn ignores(status: &str, kind: SignalKind) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (kind.as_raw_value() - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_read_from_its_mask() {
        let ignored = |mask: &str| {
            let status = format!("Name:\tcyx\nSigBlk:\tffffffffffffffff\nSigIgn:\t{mask}\nSigCgt:\t0000000000000001\n");
            ignores(&status, SignalKind::hangup())
        };
        assert!(ignored("0000000000000001") && ignored("0000000000001001"));
        assert!(!ignored("0000000000001000") && !ignored("nonsense"));
        assert!(!ignores("", SignalKind::hangup()));
    }
}
