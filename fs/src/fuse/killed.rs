//! Whether a program that waits for an answer was killed.
//!
//! The kernel tells a filesystem of a signal by a request of its own (`FUSE_INTERRUPT`), which `fuser` 0.18 answers for us with
//! `ENOSYS`. From then on it does not tell, and who waits for an answer waits for it even if killed. The state of its signals says so
//! as well: a signal that ends a process becomes a pending SIGKILL of each of its threads (`complete_signal` of Linux). Other signals
//! do not count: programs do not expect that operations on files are interrupted.

use std::fs;

/// Number of the signal in a mask, counted from 0.
const SIGKILL: u32 = 9 - 1;

/// Whether a thread was killed and waits in the kernel. False as well if that cannot be known.
pub(super) fn is_killed(thread: u32) -> bool {
    // Nobody waits for a request of the kernel's own, and a thread of another namespace cannot be seen.
    thread != 0 && fs::read_to_string(format!("/proc/{thread}/status")).is_ok_and(|status| kill_is_pending(&status))
}

/// Reads the masks of pending signals of proc_pid_status(5).
fn kill_is_pending(status: &str) -> bool {
    let masks = status.lines().filter_map(|line| line.strip_prefix("SigPnd:").or_else(|| line.strip_prefix("ShdPnd:")));
    masks.filter_map(|mask| u64::from_str_radix(mask.trim(), 16).ok()).any(|mask| mask >> SIGKILL & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pending_kill_is_told_from_other_signals() {
        let status = |own: &str, shared: &str| {
            format!("Name:\tcat\nSigQ:\t1/95\nSigPnd:\t{own}\nShdPnd:\t{shared}\nSigBlk:\t0000000000000100\n")
        };
        let none = "0000000000000000";
        assert!(
            kill_is_pending(&status("0000000000000100", none)) && kill_is_pending(&status(none, "0000000000000102"))
        );
        assert!(!kill_is_pending(&status(none, none)) && !kill_is_pending(&status("00000000000feeff", none)));
        assert!(!kill_is_pending("") && !kill_is_pending("SigPnd:\tnonsense\n"));
    }

    #[test]
    fn who_lives_or_is_unknown_was_not_killed() {
        assert!(!is_killed(std::process::id()) && !is_killed(0) && !is_killed(u32::MAX));
    }
}
