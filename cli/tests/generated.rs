//! What is generated from the definitions and kept in the repository is up to date.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use cyx_cli::generate;

fn man() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../man")
}

#[test]
fn man_pages_and_completions_are_those_of_this_source() {
    for file in generate::all().unwrap() {
        let kept = fs::read(man().join(&file.path)).unwrap_or_default();
        assert!(kept == file.content, "man/{} is out of date: run scripts/generate", file.path);
    }
}

#[test]
fn nothing_is_kept_that_is_no_longer_generated() {
    let generated: BTreeSet<PathBuf> = generate::all().unwrap().into_iter().map(|file| man().join(file.path)).collect();
    for folder in [man(), man().join("completions")] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let ours = path.parent().unwrap().ends_with("completions") || path.extension().is_some_and(|e| e == "1");
            let cyx = path.file_name().unwrap().to_str().unwrap().trim_start_matches('_').starts_with("cyx");
            let other_program =
                path.to_str().unwrap().contains("cyx-server") || path.to_str().unwrap().contains("cyx-node");
            if path.is_file() && ours && cyx && !other_program {
                assert!(generated.contains(&path), "{} is left over: run scripts/generate", path.display());
            }
        }
    }
}
