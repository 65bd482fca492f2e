//! What the documents name exists.

#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::path::Path;

/// The texts between backticks of a line.
fn quoted(line: &str) -> Vec<&str> {
    line.split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_test_that_the_security_page_names_exists() {
    let named = named_tests("docs/security.md", &["## Threats", "## Where it is tested"]);
    assert!(named > 40, "only {named} tests are named");
}

#[test]
fn every_test_that_the_page_on_mounts_names_exists() {
    let named = named_tests("docs/semantics.md", &["## Where it is tested"]);
    assert!(named > 15, "only {named} tests are named");
}

/// Looks up the tests in the last column of a page's tables below these titles; how many there are.
fn named_tests(page: &str, titles: &[&str]) -> usize {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = fs::read_to_string(root.join(page)).unwrap();
    let section = |title: &str| page.split(title).nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = |title: &&str| section(title).lines().filter(|line| line.starts_with("| ")).skip(1);
    let mut named = 0;
    for row in titles.iter().flat_map(rows) {
        // The last cell: a file, then a test in it, and so on; a script stands alone.
        let mut text = String::new();
        for name in quoted(row.trim_end_matches('|').rsplit(" | ").next().unwrap()) {
            if name.contains('/') {
                text = fs::read_to_string(root.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
                continue;
            }
            let at = text.find(&format!("fn {name}(")).unwrap_or_else(|| panic!("there is no test {name}"));
            let before = text[..at].trim_end().trim_end_matches("async").trim_end();
            assert!(before.ends_with(']'), "{name} is no test");
            named += 1;
        }
    }
    named
}

#[test]
fn links_between_the_documents_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut pages: Vec<_> = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| root.join(name)).into();
    for folder in ["docs", "docs/formats"] {
        pages.extend(fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path()));
    }
    let mut links = 0;
    for page in pages.iter().filter(|page| page.extension().is_some_and(|extension| extension == "md")) {
        let text = fs::read_to_string(page).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            assert!(page.parent().unwrap().join(path).exists(), "{}: {target} leads nowhere", page.display());
            links += 1;
        }
    }
    assert!(links > 20, "only {links} links were found");
}

#[test]
fn every_source_file_that_the_architecture_page_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = fs::read_to_string(root.join("docs/architecture.md")).unwrap();
    let is_source = |word: &&str| {
        let ends = [".rs", ".proto", ".sql", ".toml"].iter().any(|end| word.ends_with(end));
        ends && word.contains('/') && !word.contains(|c: char| c.is_whitespace() || "*<>~$…{".contains(c))
    };
    let named: Vec<_> = quoted(&page).into_iter().filter(is_source).collect();
    assert!(named.len() > 50, "only {} files are named", named.len());
    let missing: Vec<_> = named.iter().filter(|path| !root.join(path).exists()).collect();
    assert!(missing.is_empty(), "there is no {missing:?}");
}
