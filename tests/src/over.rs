//! Work in other threads that goes on until a test says that it is over.

use std::sync::atomic::{AtomicBool, Ordering};

/// Sets its flag when it is dropped: also when the test fails, for a scope waits for its threads before it passes a panic on.
pub struct Over<'a>(pub &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_ends_also_when_the_test_fails() {
        let over = AtomicBool::new(false);
        let failed = std::panic::catch_unwind(|| {
            std::thread::scope(|scope| {
                let _ending = Over(&over);
                scope.spawn(|| {
                    while !over.load(Ordering::Acquire) {
                        std::thread::yield_now();
                    }
                });
                panic!("on purpose");
            });
        });
        assert!(failed.is_err());
    }
}
