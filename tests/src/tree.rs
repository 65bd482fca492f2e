//! Comparing directory trees.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What a path is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A directory.
    Directory,
    /// A file with its bytes.
    File(Vec<u8>),
    /// A symbolic link with its target.
    Link(PathBuf),
}

/// Reads a whole tree into memory, by path below `root`.
///
/// # Panics
/// If it cannot be read.
#[must_use]
pub fn read(root: &Path) -> BTreeMap<PathBuf, Node> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).expect("a readable directory") {
            let path = entry.expect("an entry").path();
            let kind = fs::symlink_metadata(&path).expect("it exists").file_type();
            let node = if kind.is_dir() {
                open.push(path.clone());
                Node::Directory
            } else if kind.is_symlink() {
                Node::Link(fs::read_link(&path).expect("a link"))
            } else {
                Node::File(fs::read(&path).expect("a file"))
            };
            found.insert(path.strip_prefix(root).expect("below the root").to_path_buf(), node);
        }
    }
    found
}

/// Asserts that two trees hold the same, naming the first difference and not printing their bytes.
///
/// # Panics
/// If they differ.
pub fn assert_same(left: &Path, right: &Path) {
    let (left, right) = (read(left), read(right));
    for (path, node) in &left {
        match right.get(path) {
            None => panic!("{} is missing", path.display()),
            Some(other) if other != node => panic!("{} differs", path.display()),
            Some(_) => {}
        }
    }
    for path in right.keys() {
        assert!(left.contains_key(path), "{} should not be there", path.display());
    }
}
