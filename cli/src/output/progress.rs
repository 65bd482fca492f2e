//! A progress bar, shown on terminals only.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Output, names};

/// At most 80 columns, so that it never wraps.
const TEMPLATE: &str = "{spinner} {msg:20!} {bytes:>11}/{total_bytes:11} {bar:12} {binary_bytes_per_sec:>13} {eta:>4}";
const TEMPLATE_COUNT: &str = "{spinner} {msg:20!} {human_pos:>11} done";
const TEMPLATE_OPEN: &str = "{spinner} {msg:20!} {bytes:>11} {binary_bytes_per_sec:>14}";

/// Shows how far a transfer is. Does nothing where no bar belongs.
#[derive(Debug, Clone)]
pub struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    /// A bar for a number of bytes; `None` if it is not known how many there will be.
    #[must_use]
    pub fn new(output: &Output, total: Option<u64>) -> Self {
        if !output.progress() {
            return Self { bar: None };
        }
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
        let template = if total.is_some() { TEMPLATE } else { TEMPLATE_OPEN };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar: Some(bar) }
    }

    /// More bytes are to be moved than was known.
    pub fn add_total(&self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.inc_length(bytes);
        }
    }

    /// Bytes were moved.
    pub fn add(&self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(bytes);
        }
    }

    /// What is being moved now; of a path the last name is shown.
    pub fn name(&self, path: &[u8]) {
        if let Some(bar) = &self.bar {
            let name = path.rsplit(|byte| *byte == b'/').find(|name| !name.is_empty()).unwrap_or(path);
            bar.set_message(names::escape(name));
        }
    }

    /// Runs something that prints, without tearing the bar.
    pub fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Shows how much of something whose size is not known is done. Does nothing where no bar belongs.
pub struct Count {
    bar: Option<ProgressBar>,
}

impl Count {
    /// Something with this name.
    #[must_use]
    pub fn new(output: &Output, name: &[u8]) -> Self {
        if !output.progress() {
            return Self { bar: None };
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE_COUNT) {
            bar.set_style(style);
        }
        bar.set_message(names::escape(name));
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar: Some(bar) }
    }

    /// So much is done.
    pub fn set(&self, done: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_valid() {
        for template in [TEMPLATE, TEMPLATE_OPEN, TEMPLATE_COUNT] {
            ProgressStyle::with_template(template).unwrap();
        }
    }
}
