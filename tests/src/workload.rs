//! A random workload in one directory that knows what must be there: for mounts, nodes and servers that are killed under it.
//!
//! An operation that returned is done. One that failed, or was cut off, may have been done, in part or not at all: what it touched is
//! *doubtful* until somebody looks, and then it is what is found, if that lies between before and after. A rename or a removal is done
//! or not: nothing lies between.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, copy_file_range, fallocate};

use crate::noise;

/// Largest file, in bytes.
const MOST: usize = 400_000;
/// Files in the directory, about.
const FILES: usize = 12;

/// What a name leads to, where that is in doubt: each of these, or `None` for nothing.
type Possible = Vec<Option<Vec<u8>>>;

/// Names, and what each leads to; `None` is nothing.
type Names = Vec<(String, Option<Vec<u8>>)>;

/// A change of names that was cut off: all of it was done, or nothing.
struct Undecided {
    before: Names,
    after: Names,
}

/// The directory and what must be in it.
pub struct Workload {
    folder: PathBuf,
    state: u64,
    files: BTreeMap<String, Vec<u8>>,
    doubtful: BTreeMap<String, Possible>,
    undecided: Vec<Undecided>,
    /// Operations that returned.
    pub done: u64,
    /// Operations that failed.
    pub failed: u64,
}

impl Workload {
    /// In a directory that is made; the seed decides everything.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn new(folder: &Path, seed: u64) -> Self {
        fs::create_dir(folder).expect("a directory");
        Self {
            folder: folder.to_owned(),
            state: seed << 32,
            files: BTreeMap::new(),
            doubtful: BTreeMap::new(),
            undecided: Vec::new(),
            done: 0,
            failed: 0,
        }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.state += 1;
        u64::from_le_bytes(noise(self.state, 8).try_into().expect("eight bytes")) % below.max(1)
    }

    fn range(&mut self) -> (usize, usize) {
        let most = [50, 3_000, 90_000][usize::try_from(self.random(3)).expect("small")];
        let len = 1 + self.random(most);
        let at = self.random(MOST as u64 - len);
        (usize::try_from(at).expect("small"), usize::try_from(len).expect("small"))
    }

    /// Files that are there and about which there is no doubt.
    fn known(&self) -> Vec<String> {
        let named = |change: &Undecided, name: &String| change.before.iter().any(|(of, _)| of == name);
        let doubtful =
            |name: &String| self.doubtful.contains_key(name) || self.undecided.iter().any(|change| named(change, name));
        self.files.keys().filter(|name| !doubtful(name)).cloned().collect()
    }

    /// One of them.
    fn pick(&mut self) -> Option<String> {
        let names = self.known();
        let count = names.len() as u64;
        (count > 0).then(|| names[usize::try_from(self.random(count)).expect("small")].clone())
    }

    /// One operation.
    ///
    /// # Errors
    /// What it failed with, in which case what it touched is doubtful.
    ///
    /// # Panics
    /// If something else is read than what was written.
    pub fn step(&mut self) -> io::Result<()> {
        let what = self.random(100);
        let result = match what {
            0..12 => self.create(),
            12..50 => self.change(),
            50..62 => self.check_one(),
            62..72 => self.sync(),
            72..80 => self.rename(),
            80..86 => self.remove(),
            86..92 => self.copy(),
            _ => self.replace(),
        };
        *(if result.is_ok() { &mut self.done } else { &mut self.failed }) += 1;
        result
    }

    fn open(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(self.folder.join(name))
    }

    /// Runs what makes `name` have the content `after`; if it fails that is doubtful.
    fn make(&mut self, name: &str, after: Vec<u8>, run: impl FnOnce(&Self) -> io::Result<()>) -> io::Result<()> {
        let result = run(self);
        if result.is_ok() {
            self.files.insert(name.to_owned(), after);
        } else {
            let before = self.files.get(name).cloned();
            self.doubtful.insert(name.to_owned(), vec![before, Some(after)]);
        }
        result
    }

    /// Runs what makes names lead to what is in `after`; if it fails it was done or not.
    fn decide(&mut self, after: Names, run: impl FnOnce(&Self) -> io::Result<()>) -> io::Result<()> {
        let result = run(self);
        if result.is_ok() {
            for (name, content) in after {
                match content {
                    Some(content) => drop(self.files.insert(name, content)),
                    None => drop(self.files.remove(&name)),
                }
            }
        } else {
            let before = after.iter().map(|(name, _)| (name.clone(), self.files.get(name).cloned())).collect();
            self.undecided.push(Undecided { before, after });
        }
        result
    }

    fn create(&mut self) -> io::Result<()> {
        if self.known().len() >= FILES {
            return self.remove();
        }
        let name = format!("f{}", self.state);
        self.make(&name, Vec::new(), |this| {
            let path = this.folder.join(&name);
            OpenOptions::new().write(true).create_new(true).mode(0o640).open(path).map(drop)
        })?;
        let len = usize::try_from(self.random(5_000)).expect("small");
        let data = noise(self.state, len);
        self.make(&name.clone(), data.clone(), |this| this.open(&name)?.write_all_at(&data, 0))
    }

    fn change(&mut self) -> io::Result<()> {
        let Some(name) = self.pick() else { return self.create() };
        let before = self.files[&name].clone();
        let (at, len) = self.range();
        let mut after = before.clone();
        match self.random(10) {
            0..5 => {
                let data = noise(self.state, len);
                after.resize(after.len().max(at + len), 0);
                after[at..at + len].copy_from_slice(&data);
                self.make(&name.clone(), after, |this| this.open(&name)?.write_all_at(&data, at as u64))
            }
            5..8 if before.len() < MOST => {
                let data = noise(self.state, len % 500 + 1);
                after.extend_from_slice(&data);
                self.make(&name.clone(), after, |this| this.open(&name)?.write_all_at(&data, before.len() as u64))
            }
            8 => {
                let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                let end = (at + len).min(after.len());
                if at < end {
                    after[at..end].fill(0);
                }
                self.make(&name.clone(), after, |this| Ok(fallocate(this.open(&name)?, flags, at as u64, len as u64)?))
            }
            _ => {
                after.resize(at, 0);
                self.make(&name.clone(), after, |this| this.open(&name)?.set_len(at as u64))
            }
        }
    }

    fn check_one(&mut self) -> io::Result<()> {
        let Some(name) = self.pick() else { return self.create() };
        let found = fs::read(self.folder.join(&name))?;
        let expected = &self.files[&name];
        let differs = found.iter().zip(expected).position(|(have, want)| have != want);
        assert_eq!((found.len(), differs), (expected.len(), None), "{name}");
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let Some(name) = self.pick() else { return self.create() };
        self.open(&name)?.sync_all()
    }

    fn rename(&mut self) -> io::Result<()> {
        let (Some(from), Some(to)) = (self.pick(), self.pick()) else { return self.create() };
        let to = if self.random(2) == 0 || to == from { format!("r{}", self.state) } else { to };
        self.move_over(&from, &to)
    }

    fn move_over(&mut self, from: &str, to: &str) -> io::Result<()> {
        let after = vec![(from.to_owned(), None), (to.to_owned(), Some(self.files[from].clone()))];
        self.decide(after, |this| fs::rename(this.folder.join(from), this.folder.join(to)))
    }

    fn remove(&mut self) -> io::Result<()> {
        let Some(name) = self.pick() else { return self.create() };
        self.decide(vec![(name.clone(), None)], |this| fs::remove_file(this.folder.join(&name)))
    }

    /// From one file into another, by reference where that goes.
    fn copy(&mut self) -> io::Result<()> {
        let (Some(from), Some(to)) = (self.pick(), self.pick()) else { return self.create() };
        if from == to || self.files[&from].is_empty() {
            return Ok(());
        }
        let (source, mut after) = (self.files[&from].clone(), self.files[&to].clone());
        let (at, _) = self.range();
        if source.len() > MOST {
            return Ok(());
        }
        if after.len() < at + source.len() {
            after.resize(at + source.len(), 0);
        }
        after[at..at + source.len()].copy_from_slice(&source);
        self.make(&to.clone(), after, |this| {
            let (source, target) = (this.open(&from)?, this.open(&to)?);
            let (mut there, mut here) = (0, at as u64);
            let len = source.metadata()?.len();
            while there < len {
                let left = usize::try_from(len - there).unwrap_or(usize::MAX);
                if copy_file_range(&source, Some(&mut there), &target, Some(&mut here), left)? == 0 {
                    break;
                }
            }
            Ok(())
        })
    }

    /// As editors save: beside, durable, and over.
    fn replace(&mut self) -> io::Result<()> {
        let Some(name) = self.pick() else { return self.create() };
        let beside = format!("n{}", self.state);
        let len = usize::try_from(1 + self.random(60_000)).expect("small");
        let data = noise(self.state, len);
        self.make(&beside.clone(), data.clone(), |this| {
            let file = File::create_new(this.folder.join(&beside))?;
            file.write_all_at(&data, 0)?;
            file.sync_all()
        })?;
        self.move_over(&beside, &name)
    }

    /// Works until an operation fails.
    pub fn work(&mut self) -> io::Error {
        loop {
            if let Err(error) = self.step() {
                return error;
            }
        }
    }

    /// Looks at everything. What is doubtful is settled by what is found.
    ///
    /// # Panics
    /// If something else is there than what may be.
    pub fn check(&mut self, when: &str) {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(&self.folder).unwrap_or_else(|error| panic!("{when}: {error}")) {
            let entry = entry.unwrap_or_else(|error| panic!("{when}: {error}"));
            let name = entry.file_name().into_string().expect("a name of this workload");
            let content = fs::read(entry.path()).unwrap_or_else(|error| panic!("{when}, {name}: {error}"));
            found.insert(name, content);
        }
        let agrees = |names: &Names| names.iter().all(|(name, content)| found.get(name) == content.as_ref());
        let lengths = |names: &Names| -> Vec<(String, Option<usize>)> {
            names.iter().map(|(name, content)| (name.clone(), content.as_ref().map(Vec::len))).collect()
        };
        let mut decided = BTreeSet::new();
        for Undecided { before, after } in &self.undecided {
            let is: Names = before.iter().map(|(name, _)| (name.clone(), found.get(name).cloned())).collect();
            let (is, was, will) = (lengths(&is), lengths(before), lengths(after));
            assert!(agrees(before) || agrees(after), "{when}: done in part: {is:?}, not {was:?} or {will:?}");
            decided.extend(before.iter().map(|(name, _)| name));
        }
        for (name, content) in found.iter().filter(|(name, _)| !decided.contains(name)) {
            if let Some(possible) = self.doubtful.get(name) {
                let lengths: Vec<_> = possible.iter().map(|state| state.as_ref().map(Vec::len)).collect();
                assert!(lies_between(content, possible), "{when}: {name} has {} bytes, not {lengths:?}", content.len());
            } else {
                let expected = self.files.get(name).unwrap_or_else(|| panic!("{when}: {name} came from nowhere"));
                let differs = content.iter().zip(expected).position(|(have, want)| have != want);
                assert_eq!((content.len(), differs), (expected.len(), None), "{when}: {name}");
            }
        }
        for name in self.files.keys().filter(|name| !found.contains_key(*name) && !decided.contains(name)) {
            let may_be_gone = self.doubtful.get(name).is_some_and(|possible| possible.contains(&None));
            assert!(may_be_gone, "{when}: {name} is gone");
        }
        self.doubtful.clear();
        self.undecided.clear();
        self.files = found;
    }
}

/// Every byte is one of those that may be there: what was cut off may be done in part.
fn lies_between(found: &[u8], possible: &Possible) -> bool {
    let states = || possible.iter().map(|state| state.as_deref().unwrap_or_default());
    let (shortest, longest) = (states().map(<[u8]>::len).min(), states().map(<[u8]>::len).max());
    (shortest.unwrap_or(0)..=longest.unwrap_or(0)).contains(&found.len())
        && found.iter().enumerate().all(|(at, byte)| {
            // Beyond the end of a state lie zeros, if the file was made longer first.
            states().any(|state| state.get(at).copied().unwrap_or(0) == *byte)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &[u8] = b"the old one";
    const NEW: &[u8] = b"the file that is renamed";

    /// What is checked after `from` was renamed to `to` by a call that failed, and after `found` was done to the directory.
    fn after_a_failed_rename(found: impl FnOnce(&Path)) {
        let folder = tempfile::tempdir().unwrap();
        let mut workload = Workload::new(&folder.path().join("dir"), 1);
        let dir = workload.folder.clone();
        for (name, content) in [("from", NEW), ("to", OLD)] {
            let create = |this: &Workload| fs::write(this.folder.join(name), content);
            workload.make(name, content.to_vec(), create).unwrap();
        }
        // Whatever was done: no answer came.
        fs::remove_file(dir.join("from")).unwrap();
        workload.move_over("from", "to").unwrap_err();
        assert!(workload.known().is_empty(), "both names are in doubt");
        found(&dir);
        workload.check("then");
        assert_eq!(workload.known(), workload.files.keys().cloned().collect::<Vec<_>>());
    }

    #[test]
    fn a_rename_that_was_cut_off_was_done_or_not() {
        after_a_failed_rename(|dir| fs::write(dir.join("from"), NEW).unwrap());
        after_a_failed_rename(|dir| fs::write(dir.join("to"), NEW).unwrap());
    }

    #[test]
    #[should_panic(expected = "done in part")]
    fn a_rename_that_was_cut_off_loses_no_file() {
        after_a_failed_rename(|_| {});
    }

    #[test]
    #[should_panic(expected = "done in part")]
    fn a_rename_that_was_cut_off_leaves_no_second_file() {
        after_a_failed_rename(|dir| ["from", "to"].iter().for_each(|name| fs::write(dir.join(name), NEW).unwrap()));
    }

    #[test]
    #[should_panic(expected = "done in part")]
    fn a_rename_that_was_cut_off_mixes_no_bytes() {
        let mixed = [&OLD[..5], &NEW[5..]].concat();
        after_a_failed_rename(|dir| fs::write(dir.join("to"), mixed).unwrap());
    }

    #[test]
    #[should_panic(expected = "done in part")]
    fn a_removal_that_was_cut_off_shortens_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut workload = Workload::new(&folder.path().join("dir"), 1);
        let path = workload.folder.join("file");
        workload.make("file", OLD.to_vec(), |_| fs::write(&path, OLD)).unwrap();
        fs::remove_file(&path).unwrap();
        workload.remove().unwrap_err();
        fs::write(&path, b"").unwrap();
        workload.check("then");
    }
}
