//! Whether a thread may wait for the disk itself. Handing a short wait to another thread, and hearing of its end from a third, takes as long
//! as the disk does. Threads that take requests may, as long as others are left to take them; threads that run tasks may not.

use std::cell::Cell;

thread_local! {
    static HERE: Cell<bool> = const { Cell::new(false) };
}

/// What is done meanwhile may wait for the disk on this thread.
pub(crate) fn may_wait<T>(work: impl FnOnce() -> T) -> T {
    struct Ends;
    impl Drop for Ends {
        fn drop(&mut self) {
            HERE.set(false);
        }
    }
    HERE.set(true);
    let _ends = Ends;
    work()
}

/// Whether this thread may.
pub(super) fn is_allowed() -> bool {
    HERE.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_may_wait_only_meanwhile_and_not_after_a_panic_either() {
        assert!(!is_allowed());
        assert!(may_wait(is_allowed));
        assert!(!is_allowed());
        assert!(std::panic::catch_unwind(|| may_wait(|| panic!("on purpose"))).is_err());
        assert!(!is_allowed());
    }
}
