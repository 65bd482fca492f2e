//! The program `cyx`.

use std::process::ExitCode;

fn main() -> ExitCode {
    cyx_cli::run()
}
