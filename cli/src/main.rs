//! The program `cyx`.

use std::process::ExitCode;

/// Keeps the pages of freed buffers for the next ones.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cyx_cli::run()
}
