//! Programs that run to their end, none of them for ever.

use std::io::{Read, Write as _};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

/// No program of a test runs longer.
const PROGRAM: Duration = Duration::from_secs(600);

/// Long runs take longer: the limits are multiplied by `CYX_TEST_PATIENCE`.
pub(crate) fn patience() -> u32 {
    std::env::var("CYX_TEST_PATIENCE").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// What a command left behind.
#[derive(Debug, Clone)]
pub struct Run {
    /// Exit code; -1 if a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: String,
}

impl Run {
    /// Runs a prepared command to its end.
    ///
    /// # Panics
    /// As [`bounded`].
    #[must_use]
    pub fn of(mut command: Command) -> Self {
        bounded(&mut command)
    }

    /// The one JSON document on standard output.
    ///
    /// # Panics
    /// If it is not one.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The JSON documents on standard output, one per line.
    ///
    /// # Panics
    /// If a line is not one.
    #[must_use]
    pub fn json_lines(&self) -> Vec<Value> {
        let text = String::from_utf8_lossy(&self.stdout);
        text.lines().map(|line| serde_json::from_str(line).expect("a JSON document per line")).collect()
    }
}

/// Runs a program that must end within the limit and succeed.
///
/// # Panics
/// If it does not.
pub fn run(command: &mut Command) -> Run {
    let run = bounded(command);
    assert_eq!(run.code, 0, "{command:?}: {run:?}");
    run
}

/// Runs a program that must end within the limit.
///
/// # Panics
/// If it cannot be started or does not end; it is killed then.
pub fn bounded(command: &mut Command) -> Run {
    try_bounded(command, None).unwrap_or_else(|why| panic!("{why}"))
}

/// The same, with this on its standard input.
///
/// # Panics
/// As [`bounded`].
pub fn bounded_with_input(command: &mut Command, input: &[u8]) -> Run {
    try_bounded(command, Some(input)).unwrap_or_else(|why| panic!("{why}"))
}

/// The same for who must not panic, as where something is dropped: why there is nothing to tell.
pub(crate) fn try_bounded(command: &mut Command, input: Option<&[u8]>) -> Result<Run, String> {
    end_within(PROGRAM * patience(), command, input)
}

fn end_within(limit: Duration, command: &mut Command, input: Option<&[u8]>) -> Result<Run, String> {
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
    let (stdout, stderr) = (collect(child.stdout.take()), collect(child.stderr.take()));
    let stdin = child.stdin.take();
    let code = thread::scope(|scope| {
        scope.spawn(move || {
            if let (Some(mut stdin), Some(input)) = (stdin, input) {
                // A command that fails early stops reading; its exit code says why.
                let _ = stdin.write_all(input);
            }
        });
        wait(&mut child, limit)
    });
    let code = code.ok_or_else(|| format!("{command:?} did not end"))?;
    let text = String::from_utf8_lossy(&stderr.join().unwrap_or_default()).into_owned();
    Ok(Run { code, stdout: stdout.join().unwrap_or_default(), stderr: text })
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
        bytes
    })
}

/// Its exit code; none if it did not end and was killed.
fn wait(child: &mut Child, limit: Duration) -> Option<i32> {
    let since = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("it is our child") {
            return Some(status.code().unwrap_or(-1));
        }
        if since.elapsed() > limit {
            let _ = (child.kill(), child.wait());
            return None;
        }
        // Most programs are short, and there are many of them.
        thread::sleep((since.elapsed() / 10).clamp(Duration::from_millis(1), Duration::from_millis(10)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_does_not_end_is_killed_though_it_takes_nothing() {
        let input = vec![0; 1 << 20];
        let ended = end_within(Duration::ZERO, Command::new("sleep").arg("100000"), Some(&input));
        assert!(ended.unwrap_err().ends_with("did not end"));
    }

    #[test]
    fn what_goes_in_and_comes_out_is_more_than_a_pipe_holds() {
        let input = crate::noise(1, 1 << 20);
        let run = bounded_with_input(&mut Command::new("cat"), &input);
        assert!(run.code == 0 && run.stdout == input);
    }
}
