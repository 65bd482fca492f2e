//! Executes one of the pure parts of the project under a counter of instructions (`scripts/instructions`), which counts within [`measured`]
//! and nowhere else: `cyx-instructions CASE`. Without a name it lists the cases, and what each is counted per.
//!
//! Nothing here depends on chance but the keys, whose bits decide about single instructions at most. Nothing of the counted work makes system calls.

mod cases;

use std::io::Write as _;
use std::process::ExitCode;

use cases::{CASES, Case};

/// Everything that is counted happens in this function.
#[inline(never)]
fn measured(work: &mut dyn FnMut()) {
    work();
}

fn main() -> ExitCode {
    match std::env::args().nth(1) {
        None => {
            let mut out = std::io::stdout().lock();
            let listed =
                CASES.iter().try_for_each(|Case { name, units, unit, .. }| writeln!(out, "{name}\t{units}\t{unit}"));
            if listed.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Some(name) => match CASES.iter().find(|case| case.name == name).map(|case| (case.run)(measured)) {
            Some(Ok(())) => ExitCode::SUCCESS,
            failed => {
                let why = if failed.is_some() { "does not do its work" } else { "is no case" };
                let _ = writeln!(std::io::stderr(), "instructions: {name} {why}");
                ExitCode::FAILURE
            }
        },
    }
}
