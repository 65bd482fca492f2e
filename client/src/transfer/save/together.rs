//! Small files down: each is written whole under another name, made durable, and named.
//!
//! Where there are thousands of them, making each durable by itself costs more than everything else. Those that come together are all written
//! first; then their filesystem is told once to make everything durable that it has; and only then they get their names. The promise is
//! the same: nothing has its name before its content is on the disk.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::SaveOptions;
use crate::error::{Error, Result};
use crate::local::folder::{Filesystem, Folder, set_file};

/// For fewer files on one filesystem each is made durable by itself.
const TOGETHER: usize = 8;
/// What others write to the filesystem is waited for as well. If that takes longer than this, they write a lot,
const PATIENCE: Duration = Duration::from_secs(1);
/// and for so long each file is made durable by itself again.
const ALONE: Duration = Duration::from_secs(20);

/// A small file that was read, and where it goes.
pub(crate) struct Whole {
    pub(crate) folder: Folder,
    pub(crate) name: Vec<u8>,
    pub(crate) content: Vec<u8>,
    pub(crate) options: SaveOptions,
}

/// A whole file that does not have its name yet; it is removed if it never gets it.
struct Unnamed<'a> {
    whole: &'a Whole,
    partial: Vec<u8>,
    named: bool,
}

/// What batches of files that are saved at the same time have in common.
#[derive(Default)]
pub(crate) struct Pace {
    /// It does not pay to make files durable together before this.
    alone: Mutex<Option<Instant>>,
    /// Held by whoever makes names: the kernel lets in one at a time to each folder, and whoever else comes spins until then.
    naming: Mutex<()>,
}

impl Pace {
    /// Whether it pays to make so many files durable together.
    pub(crate) fn allows(&self, files: usize) -> bool {
        let until = *self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        files >= TOGETHER && until.is_none_or(|until| Instant::now() >= until)
    }

    /// Takes notice of how long it took.
    fn took(&self, time: Duration) {
        if time > PATIENCE {
            *self.alone.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + ALONE);
        }
    }

    fn naming(&self) -> MutexGuard<'_, ()> {
        self.naming.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Whole {
    /// Writes it, makes it durable, and names it.
    pub(super) fn save(&self) -> Result<()> {
        let (unnamed, file) = self.write()?;
        unnamed.sync(&file)?;
        unnamed.name()
    }

    fn write(&self) -> Result<(Unnamed<'_>, File)> {
        let (file, partial) = self.folder.begin(&self.name, self.options.mode.is_some())?;
        let unnamed = Unnamed { whole: self, partial, named: false };
        let written = file
            .write_all_at(&self.content, 0)
            .and_then(|()| set_file(&file, self.options.mode, self.options.mtime_ns));
        written.map_err(unnamed.error())?;
        Ok((unnamed, file))
    }
}

impl Unnamed<'_> {
    fn error(&self) -> impl FnOnce(std::io::Error) -> Error + use<> {
        Error::local(self.whole.folder.path_of(&self.partial))
    }

    fn sync(&self, file: &File) -> Result<()> {
        file.sync_all().map_err(self.error())
    }

    fn name(mut self) -> Result<()> {
        self.whole.folder.finish(&self.partial, &self.whole.name, self.whole.options.no_clobber)?;
        self.named = true;
        Ok(())
    }
}

impl Drop for Unnamed<'_> {
    fn drop(&mut self) {
        if !self.named {
            self.whole.folder.discard(&self.partial);
        }
    }
}

/// Saves all of them, and says of each whether it is.
pub(crate) fn save_together(files: &[Whole], pace: &Pace) -> Vec<Result<()>> {
    let numbers = filesystems(files);
    let mut found: BTreeMap<u64, (&Folder, usize)> = BTreeMap::new();
    for (file, number) in files.iter().zip(&numbers) {
        if let Some(number) = number {
            found.entry(*number).or_insert((&file.folder, 0)).1 += 1;
        }
    }
    // Opened before anything is written: what goes wrong from now on is told to whoever asks it, however many ask at a time.
    let open = |(number, (folder, count)): (u64, (&Folder, usize))| {
        if count < TOGETHER { None } else { Some((number, folder.filesystem()?)) }
    };
    let mut together: BTreeMap<u64, Filesystem> = found.into_iter().filter_map(open).collect();
    // Files are closed at once: a process may have only so many open.
    let mut written = Vec::with_capacity(files.len());
    // Those that wait for the disk one by one stand in nobody's way.
    let naming = (!together.is_empty()).then(|| pace.naming());
    for (file, number) in files.iter().zip(&numbers) {
        written.push(match number.filter(|number| together.contains_key(number)) {
            Some(number) => file.write().map(|(unnamed, _)| Some((unnamed, number))),
            None => file.save().map(|()| None),
        });
    }
    drop(naming);
    let began = Instant::now();
    together.retain(|_, filesystem| filesystem.sync());
    pace.took(began.elapsed());
    let _naming = (!together.is_empty()).then(|| pace.naming());
    let end = |(unnamed, number): (Unnamed<'_>, u64)| {
        if together.contains_key(&number) {
            return unnamed.name();
        }
        // Which of them are not durable is not known. Written once more, each says it for itself.
        unnamed.whole.save()
    };
    written.into_iter().map(|written| written?.map_or(Ok(()), end)).collect()
}

/// The filesystem of each file, if it can make all that it has durable at once.
fn filesystems(files: &[Whole]) -> Vec<Option<u64>> {
    let mut last: Option<(&Folder, Option<u64>)> = None;
    let mut numbers = Vec::with_capacity(files.len());
    for file in files {
        let number = match last {
            Some((folder, number)) if folder.is_same(&file.folder) => number,
            _ => file.folder.syncs_together(),
        };
        last = Some((&file.folder, number));
        numbers.push(number);
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::folder::Found;

    fn time_of(number: usize) -> i64 {
        i64::try_from(number).unwrap()
    }

    fn whole(folder: &Folder, number: usize) -> Whole {
        let content = vec![u8::try_from(number).unwrap(); number];
        let options = SaveOptions { mode: Some(0o640), mtime_ns: Some(time_of(number)), ..SaveOptions::default() };
        Whole { folder: folder.clone(), name: format!("file {number}").into_bytes(), content, options }
    }

    #[test]
    fn each_file_gets_its_name_or_says_why_not_and_nothing_else_is_left() {
        let temp = tempfile::tempdir().unwrap();
        let root = Folder::open(temp.path()).unwrap();
        let below = root.enter(b"below").unwrap();
        let mut files: Vec<Whole> = (0..20).map(|number| whole(&root, number)).collect();
        files.extend((20..40).map(|number| whole(&below, number)));
        // A name that is taken by a folder, one that is no name, and one that keeps what it has.
        root.enter(b"file 3").unwrap();
        files[4].name = b"a/b".to_vec();
        files[5].options.no_clobber = true;
        std::fs::write(temp.path().join("file 5"), "kept").unwrap();
        std::fs::write(temp.path().join("file 6"), "replaced").unwrap();
        let saved = save_together(&files, &Pace::default());
        let failed: Vec<usize> = (0..40).filter(|number| saved[*number].is_err()).collect();
        assert_eq!(failed, [3, 4, 5]);
        for (number, file) in files.iter().enumerate().filter(|(number, _)| !failed.contains(number)) {
            let found = file.folder.find(&file.name).unwrap();
            assert_eq!(found, Some(Found::File { size: number as u64, mtime_ns: time_of(number) }));
            assert_eq!(std::fs::read(file.folder.path_of(&file.name)).unwrap(), file.content);
        }
        assert_eq!(std::fs::read(temp.path().join("file 5")).unwrap(), b"kept");
        // `below`, the folder that took a name, and 18 files.
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 20);
        assert_eq!(std::fs::read_dir(temp.path().join("below")).unwrap().count(), 20);
    }

    #[test]
    fn what_never_gets_its_name_is_removed() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::open(temp.path()).unwrap();
        let file = whole(&folder, 7);
        let (unnamed, _) = file.write().unwrap();
        assert_eq!(std::fs::read(folder.path_of(&unnamed.partial)).unwrap(), file.content);
        assert_eq!(folder.find(&file.name).unwrap(), None);
        drop(unnamed);
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
        file.save().unwrap();
        assert_eq!(std::fs::read(folder.path_of(&file.name)).unwrap(), file.content);
    }

    #[test]
    fn a_filesystem_that_is_busy_with_others_is_not_waited_for_again() {
        let pace = Pace::default();
        assert!(pace.allows(TOGETHER) && !pace.allows(TOGETHER - 1));
        pace.took(PATIENCE);
        assert!(pace.allows(TOGETHER));
        pace.took(PATIENCE + Duration::from_millis(1));
        assert!(!pace.allows(TOGETHER));
        *pace.alone.lock().unwrap() = Some(Instant::now());
        assert!(pace.allows(TOGETHER));
    }
}
