//! What the documents say of the program is so.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn exit_codes_are_those_of_the_program() {
    let text = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let table = text.split("### Exit codes").nth(1).unwrap();
    for code in cyx_core::error::ErrorCode::ALL {
        let row = format!("\n| {} |", code.exit_code());
        assert!(table.contains(&row), "{code} ends with {}, which is not documented", code.exit_code());
    }
}
