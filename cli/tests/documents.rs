//! What the documents refer to exists.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn documents() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].iter().map(|name| root().join(name)).collect();
    for folder in ["docs", "docs/formats"] {
        let entries = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
        found.extend(entries.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    }
    assert!(found.len() > 10, "the documents were not found");
    found
}

/// Targets of links, without anchors and without those to other places.
fn links(text: &str) -> Vec<String> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|target| !target.contains("://") && !target.starts_with('#'))
        .map(|target| target.split('#').next().unwrap_or_default().to_owned())
        .collect()
}

/// Paths of source files, written in backticks.
fn sources(text: &str) -> Vec<String> {
    let quoted = text.split('`').skip(1).step_by(2);
    let is_source = |word: &&str| {
        let ends = [".rs", ".proto", ".sql", ".toml"].iter().any(|end| word.ends_with(end));
        ends && word.contains('/') && !word.contains(|c: char| c.is_whitespace() || "*<>~$…{".contains(c))
    };
    quoted.filter(is_source).map(str::to_owned).collect()
}

#[test]
fn links_lead_somewhere() {
    let mut dead = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        let folder = document.parent().unwrap();
        dead.extend(
            links(&text)
                .iter()
                .filter(|link| !folder.join(link).exists())
                .map(|link| format!("{}: {link}", document.display())),
        );
    }
    assert!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
}

#[test]
fn the_source_files_of_the_walks_exist() {
    let text = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let named = sources(&text);
    assert!(named.len() > 50, "only {} files are named", named.len());
    let missing: Vec<_> = named.iter().filter(|path| !root().join(path).exists()).collect();
    assert!(missing.is_empty(), "docs/architecture.md names files that do not exist: {missing:?}");
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
