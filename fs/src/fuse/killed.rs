//! Whether a program that waits for an answer was killed.
//!
//! The kernel tells a filesystem of a signal by a request of its own (`FUSE_INTERRUPT`), which `fuser` 0.18 answers for us with
//! `ENOSYS`. From then on it does not tell, and who waits for an answer waits for it even if killed. The state of its signals says so
//! as well: a signal that ends a process becomes a pending SIGKILL of each of its threads (`complete_signal` of Linux), unless it leaves a core, such as
//! SIGQUIT: then it is pending as it is. Signals that a program handles, ignores or blocks do not count: programs do not expect that operations on files
//! are interrupted.

use std::fs;

/// SIGKILL in a mask of signals.
const SIGKILL: u64 = bit(9);
/// Those that leave a core: SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGXCPU, SIGXFSZ, SIGSYS.
const CORE: u64 = bit(3) | bit(4) | bit(5) | bit(6) | bit(7) | bit(8) | bit(11) | bit(24) | bit(25) | bit(31);

const fn bit(signal: u32) -> u64 {
    1 << (signal - 1)
}

/// Whether a thread was killed and waits in the kernel. False as well if that cannot be known.
pub(super) fn is_killed(thread: u32) -> bool {
    // Nobody waits for a request of the kernel's own, and a thread of another namespace cannot be seen.
    thread != 0 && fs::read_to_string(format!("/proc/{thread}/status")).is_ok_and(|status| kill_is_pending(&status))
}

/// Reads the masks of signals of proc_pid_status(5).
fn kill_is_pending(status: &str) -> bool {
    let mask = |name: &str| {
        let text = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        text.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
    };
    let pending = mask("SigPnd") | mask("ShdPnd");
    let spared = mask("SigBlk") | mask("SigIgn") | mask("SigCgt");
    pending & (SIGKILL | CORE & !spared) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pending_kill_is_told_from_other_signals() {
        let masks = |own: &str, shared: &str, blocked: &str, ignored: &str, caught: &str| {
            let masks = format!(
                "SigPnd:\t{own}\nShdPnd:\t{shared}\nSigBlk:\t{blocked}\nSigIgn:\t{ignored}\nSigCgt:\t{caught}\n"
            );
            format!("Name:\tcat\nSigQ:\t1/95\n{masks}")
        };
        let status =
            |own: &str, shared: &str| masks(own, shared, "0000000000000100", "00000000000000ff", "0000000000000400");
        let none = "0000000000000000";
        assert!(
            kill_is_pending(&status("0000000000000100", none)) && kill_is_pending(&status(none, "0000000000000102"))
        );
        assert!(!kill_is_pending(&status(none, none)) && !kill_is_pending(&status("00000000000feeff", none)));
        // SIGQUIT, which is handled, ignored or blocked, or ends the program.
        let (quit, term) = ("0000000000000004", "0000000000004000");
        for shared in [none, quit] {
            let own = if shared == none { quit } else { none };
            assert!(kill_is_pending(&masks(own, shared, none, none, term)));
            assert!(!kill_is_pending(&masks(own, shared, quit, none, none)));
            assert!(!kill_is_pending(&masks(own, shared, none, quit, none)));
            assert!(!kill_is_pending(&masks(own, shared, none, none, quit)));
        }
        assert!(!kill_is_pending("") && !kill_is_pending("SigPnd:\tnonsense\n"));
    }

    #[test]
    fn who_lives_or_is_unknown_was_not_killed() {
        assert!(!is_killed(std::process::id()) && !is_killed(0) && !is_killed(u32::MAX));
    }
}
