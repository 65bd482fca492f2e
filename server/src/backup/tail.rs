//! Following the write-ahead log of a running database and shipping what is committed.
//!
//! The log file is read while SQLite writes to it. That is safe because frames are only believed with their checksums, only up to the last
//! commit, and because a committed frame changes only when the log begins a new life, which needs a finished checkpoint: and the
//! shipper is the only one that checkpoints. Anything that does not look like that breaks the tail, and a new generation begins.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::end::{End, Stamp};
use super::piece::{self, Head, PIECE_MAX};
use super::wal::{Cursor, FRAME_HEADER_LEN, HEADER_LEN, Header};

/// A life of the log that was copied into the database file as a whole, up to this offset, while nobody could write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    salt: [u8; 8],
    offset: u64,
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Everything committed is shipped.
    UpToDate,
    /// So many bytes were shipped; there may be more.
    Shipped(u64),
    /// What was shipped does not lead to what is there now.
    Broken(&'static str),
}

/// Follows a log into a folder of pieces.
pub struct Tail {
    log_file: PathBuf,
    folder: PathBuf,
    /// Which life of the log is or comes next.
    log: u64,
    place: Option<Place>,
    /// How the life before ended, if that was told by a clean stop.
    before: Option<End>,
    /// The database file that the first piece belongs to, as it has to be still when that is read. A log that began again before it was
    /// looked at for the first time would not be noticed by itself.
    upon: Option<(PathBuf, Stamp)>,
}

/// Behind what was shipped last.
struct Place {
    cursor: Cursor,
    /// The header of the last frame that was shipped, or of the file, to notice when it changes.
    last: Vec<u8>,
    last_at: u64,
}

impl Tail {
    /// Follows from the beginning of whatever life the log is in.
    #[must_use]
    pub fn new(log_file: PathBuf, folder: PathBuf) -> Self {
        Self { log_file, folder, log: 0, place: None, before: None, upon: None }
    }

    /// Breaks if the database file is not as it was then, until the first piece is shipped.
    #[must_use]
    pub fn upon(self, database: PathBuf, stamp: Stamp) -> Self {
        Self { upon: Some((database, stamp)), ..self }
    }

    /// The folder of pieces has another name.
    pub fn move_to(&mut self, folder: PathBuf) {
        self.folder = folder;
    }

    /// Goes on behind the pieces in `folder`, if the log still begins with the last of them. `None` if it does not.
    ///
    /// # Errors
    /// Those of the file system, also for damaged pieces.
    pub fn resume(log_file: PathBuf, folder: PathBuf) -> io::Result<Option<Self>> {
        let pieces = piece::list(&folder)?;
        let Some((newest, _)) = pieces.last() else { return Ok(None) };
        let log = newest.log;
        let mut shipped = Vec::new();
        for (head, path) in pieces.iter().filter(|(head, _)| head.log == log) {
            if head.offset != shipped.len() as u64 {
                return Ok(None);
            }
            shipped.extend_from_slice(&piece::read(path)?.1);
        }
        let Some((bytes, frames)) = shipped.split_first_chunk::<HEADER_LEN>() else { return Ok(None) };
        let Ok(header) = Header::parse(bytes) else { return Ok(None) };
        let (committed, cursor) = Cursor::start(header).committed(frames);
        let mut present = vec![0; shipped.len()];
        match fs::File::open(&log_file).and_then(|file| file.read_exact_at(&mut present, 0)) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => {
                return Ok(None);
            }
            other => other?,
        }
        if committed != frames.len() || present != shipped {
            return Ok(None);
        }
        let place = Place::behind(cursor, &shipped);
        Ok(Some(Self { log_file, folder, log, place: Some(place), before: None, upon: None }))
    }

    /// Goes on after a clean stop with the life of the log that comes next, or that began since. `None` if the log is still in the one before.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn follow(log_file: PathBuf, folder: PathBuf, end: &End) -> io::Result<Option<Self>> {
        let mut bytes = [0; HEADER_LEN];
        match fs::File::open(&log_file).and_then(|file| file.read_exact_at(&mut bytes, 0)) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => {}
            Err(error) => return Err(error),
            Ok(()) if Header::parse(&bytes).is_ok_and(|header| header.salt == end.salt) => return Ok(None),
            Ok(()) => {}
        }
        Ok(Some(Self { log_file, folder, log: end.next, place: None, before: Some(*end), upon: None }))
    }

    /// What to write down at a clean stop, if everything was shipped and a checkpoint that copied `frames` frames just now copied all of it.
    #[must_use]
    pub fn end(&self, frames: u64, stamp: Stamp) -> Option<End> {
        match &self.place {
            Some(_) => {
                let Checkpoint { salt, offset } = self.checkpointed(frames)?;
                Some(End { next: self.log + 1, pieces: offset, salt, stamp })
            }
            // Nothing was written since the life before ended, or since the copy was made.
            None if frames > 0 => None,
            None => match self.before {
                Some(before) => Some(End { stamp, ..before }),
                None => (self.log == 0).then_some(End { next: 0, pieces: 0, salt: [0; 8], stamp }),
            },
        }
    }

    /// Bytes of the present life of the log that were shipped.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.place.as_ref().map_or(0, |place| place.cursor.offset())
    }

    /// What [`Step::UpToDate`] was reached at, if a checkpoint that copied `frames` frames (all of them) just now reached as far.
    #[must_use]
    pub fn checkpointed(&self, frames: u64) -> Option<Checkpoint> {
        let place = self.place.as_ref()?;
        let header = place.cursor.header();
        let offset = HEADER_LEN as u64 + frames * header.frame_len() as u64;
        (offset == place.cursor.offset()).then_some(Checkpoint { salt: header.salt, offset })
    }

    /// Ships what is committed, up to about [`PIECE_MAX`]. `checkpoint` is the newest one, `now` in Unix milliseconds.
    ///
    /// # Errors
    /// Those of the file system. Nothing is lost by them: the step can be repeated.
    pub fn step(&mut self, checkpoint: Option<Checkpoint>, now: u64) -> io::Result<Step> {
        let found = self.look(checkpoint)?;
        // After the look: what was found then belongs to this file.
        if let (None, Some((database, stamp))) = (&self.place, &self.upon)
            && Stamp::of(database)? != *stamp
        {
            return Ok(Step::Broken("the database file has changed before anything was shipped"));
        }
        match found {
            Found::Nothing(step) => Ok(step),
            Found::Committed(found) => self.ship(found, now),
        }
    }

    fn look(&mut self, checkpoint: Option<Checkpoint>) -> io::Result<Found> {
        let nothing = |step| Ok(Found::Nothing(step));
        let file = match fs::File::open(&self.log_file) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return nothing(self.missing()),
            Err(error) => return Err(error),
        };
        let mut bytes = [0; HEADER_LEN];
        match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return nothing(self.missing()),
            Err(error) => return Err(error),
        }
        // One that is just being written is looked at again.
        let Ok(header) = Header::parse(&bytes) else { return nothing(Step::UpToDate) };
        match &self.place {
            Some(place) if place.cursor.header().salt == header.salt => {
                let mut last = vec![0; place.last.len()];
                file.read_exact_at(&mut last, place.last_at)?;
                if last != place.last {
                    return nothing(Step::Broken("a shipped frame has changed"));
                }
            }
            Some(place) => {
                let old = place.cursor;
                let was_whole = checkpoint == Some(Checkpoint { salt: old.header().salt, offset: old.offset() });
                if !was_whole || !header.follows(old.header()) || header.page_size != old.header().page_size {
                    return nothing(Step::Broken("the log began again before everything was shipped"));
                }
                self.log += 1;
                self.place = None;
            }
            None => {}
        }
        let from = self.place.as_ref().map_or(Cursor::start(header), |place| place.cursor);
        let Some((frames, end)) = read_committed(&file, from)? else { return nothing(Step::UpToDate) };
        let (offset, bytes) = match &self.place {
            None => (0, [&bytes[..], &frames].concat()),
            Some(_) => (from.offset(), frames),
        };
        Ok(Found::Committed(Committed { offset, bytes, end }))
    }

    const fn missing(&self) -> Step {
        if self.place.is_some() { Step::Broken("the log is gone") } else { Step::UpToDate }
    }

    fn ship(&mut self, Committed { offset, bytes, end }: Committed, now: u64) -> io::Result<Step> {
        piece::write(&self.folder, Head { log: self.log, offset, time: now }, &bytes)?;
        self.place = Some(Place::behind(end, &bytes));
        self.upon = None;
        Ok(Step::Shipped(bytes.len() as u64))
    }
}

/// What a look at the log found.
enum Found {
    Nothing(Step),
    Committed(Committed),
}

/// Bytes of the log up to a commit.
struct Committed {
    /// Where they stand in the file; 0 with its header.
    offset: u64,
    bytes: Vec<u8>,
    end: Cursor,
}

impl Place {
    /// The place at `cursor`, behind bytes of the file that end there.
    fn behind(cursor: Cursor, bytes: &[u8]) -> Self {
        let frame_len = cursor.header().frame_len();
        let at = bytes.len().saturating_sub(frame_len);
        let last = bytes.get(at..at + FRAME_HEADER_LEN).unwrap_or_default().to_vec();
        Self { cursor, last, last_at: cursor.offset().saturating_sub(frame_len as u64) }
    }
}

/// Reads committed frames behind a cursor: up to the last commit within [`PIECE_MAX`], or, if the first one is longer, up to that one.
fn read_committed(file: &fs::File, from: Cursor) -> io::Result<Option<(Vec<u8>, Cursor)>> {
    let frame_len = from.header().frame_len();
    let step = (PIECE_MAX / frame_len).max(1) * frame_len;
    let mut bytes = Vec::new();
    loop {
        let had = bytes.len();
        let wanted = if had == 0 { look_ahead(file, from, step)? } else { step };
        bytes.resize(had + wanted, 0);
        let got = read_up_to(file, &mut bytes[had..], from.offset() + had as u64)?;
        bytes.truncate(had + got - got % frame_len);
        let (committed, end) = from.committed(&bytes);
        if committed > 0 {
            bytes.truncate(committed);
            return Ok(Some((bytes, end)));
        }
        if got < step || !is_whole(from, &bytes) {
            return Ok(None);
        }
    }
}

/// How much to read first: nothing if no frame of this life follows, which is what a quiet server finds several times a second.
fn look_ahead(file: &fs::File, from: Cursor, step: usize) -> io::Result<usize> {
    let mut head = [0; FRAME_HEADER_LEN];
    let got = read_up_to(file, &mut head, from.offset())?;
    Ok(if got == head.len() && head[8..16] == from.header().salt { step } else { 0 })
}

/// Whether all bytes are valid frames, so that the commit may come later.
fn is_whole(from: Cursor, bytes: &[u8]) -> bool {
    let frame_len = from.header().frame_len();
    let mut cursor = from;
    !bytes.is_empty() && bytes.chunks(frame_len).all(|frame| cursor.take(frame).is_some())
}

fn read_up_to(file: &fs::File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut got = 0;
    while got < bytes.len() {
        match file.read_at(&mut bytes[got..], offset + got as u64) {
            Ok(0) => break,
            Ok(more) => got += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}

/// Path of the log of a database file.
#[must_use]
pub fn log_of(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-wal");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::super::wal::tests::log;
    use super::*;

    struct Files {
        dir: tempfile::TempDir,
    }

    impl Files {
        fn new() -> Self {
            Self { dir: tempfile::tempdir().unwrap() }
        }

        fn file(&self) -> PathBuf {
            self.dir.path().join("log")
        }

        fn write(&self, bytes: &[u8]) {
            fs::write(self.file(), bytes).unwrap();
        }

        fn tail(&self) -> Tail {
            Tail::new(self.file(), self.dir.path().to_owned())
        }

        fn pieces(&self) -> Vec<(u64, u64, usize)> {
            let listed = piece::list(self.dir.path()).unwrap();
            listed.iter().map(|(head, path)| (head.log, head.offset, piece::read(path).unwrap().1.len())).collect()
        }
    }

    const FRAME: usize = 24 + 512;

    #[test]
    fn only_what_is_committed_is_shipped_and_only_once() {
        let place = Files::new();
        let mut tail = place.tail();
        assert_eq!(tail.step(None, 1).unwrap(), Step::UpToDate, "no file yet");
        place.write(&log(5, false, &[(1, 0, 1)]));
        assert_eq!(tail.step(None, 1).unwrap(), Step::UpToDate, "no commit yet");
        place.write(&log(5, false, &[(1, 0, 1), (2, 2, 2), (3, 0, 3)]));
        assert_eq!(tail.step(None, 1).unwrap(), Step::Shipped((HEADER_LEN + 2 * FRAME) as u64));
        assert_eq!(tail.step(None, 1).unwrap(), Step::UpToDate);
        // What was not committed is overwritten by what is.
        place.write(&log(5, false, &[(1, 0, 1), (2, 2, 2), (7, 7, 7)]));
        assert_eq!(tail.step(None, 1).unwrap(), Step::Shipped(FRAME as u64));
        let expected = [(0, 0, HEADER_LEN + 2 * FRAME), (0, (HEADER_LEN + 2 * FRAME) as u64, FRAME)];
        assert_eq!(place.pieces(), expected);
    }

    #[test]
    fn a_new_life_is_followed_only_after_a_whole_checkpoint() {
        let place = Files::new();
        let mut tail = place.tail();
        place.write(&log(5, false, &[(1, 1, 1), (2, 2, 2)]));
        assert!(matches!(tail.step(None, 1).unwrap(), Step::Shipped(_)));
        assert_eq!(tail.checkpointed(1), None, "not everything was copied");
        let checkpoint = tail.checkpointed(2);
        assert!(checkpoint.is_some());
        // Without the checkpoint, or with frames after it, the new life does not follow.
        let new = log(6, false, &[(9, 9, 9)]);
        place.write(&new);
        assert!(matches!(tail.step(None, 1).unwrap(), Step::Broken(_)));
        assert!(matches!(tail.step(checkpoint, 1).unwrap(), Step::Shipped(_)));
        assert_eq!(place.pieces().last(), Some(&(1, 0, HEADER_LEN + FRAME)));
        place.write(&log(8, false, &[(9, 9, 9)]));
        let skipped = tail.checkpointed(1);
        assert!(matches!(tail.step(skipped, 1).unwrap(), Step::Broken(_)), "one life was missed");
    }

    #[test]
    fn a_commit_after_the_checkpoint_has_to_be_shipped_first() {
        let place = Files::new();
        let mut tail = place.tail();
        place.write(&log(5, false, &[(1, 1, 1)]));
        tail.step(None, 1).unwrap();
        let checkpoint = tail.checkpointed(1);
        place.write(&log(5, false, &[(1, 1, 1), (2, 2, 2)]));
        assert!(matches!(tail.step(checkpoint, 1).unwrap(), Step::Shipped(_)));
        place.write(&log(6, false, &[(9, 9, 9)]));
        assert!(matches!(tail.step(checkpoint, 1).unwrap(), Step::Broken(_)));
    }

    #[test]
    fn changed_and_vanished_logs_are_noticed() {
        let place = Files::new();
        let mut tail = place.tail();
        place.write(&log(5, false, &[(1, 1, 1), (2, 2, 2)]));
        tail.step(None, 1).unwrap();
        place.write(&log(5, false, &[(1, 1, 1), (2, 2, 3), (4, 4, 4)]));
        assert_eq!(tail.step(None, 1).unwrap(), Step::Broken("a shipped frame has changed"));
        fs::remove_file(place.file()).unwrap();
        assert_eq!(tail.step(None, 1).unwrap(), Step::Broken("the log is gone"));
    }

    #[test]
    fn a_tail_goes_on_after_a_crash_where_the_log_is_the_same() {
        let place = Files::new();
        place.write(&log(5, false, &[(1, 1, 1), (2, 2, 2)]));
        place.tail().step(None, 1).unwrap();
        let resume = || Tail::resume(place.file(), place.dir.path().to_owned()).unwrap();
        place.write(&log(5, false, &[(1, 1, 1), (2, 2, 2), (3, 3, 3)]));
        let mut tail = resume().unwrap();
        assert_eq!(tail.step(None, 1).unwrap(), Step::Shipped(FRAME as u64));
        assert_eq!(resume().unwrap().step(None, 1).unwrap(), Step::UpToDate);
        place.write(&log(5, false, &[(1, 1, 1), (2, 2, 2)]));
        assert!(resume().is_none(), "a shipped frame was lost by a power failure");
        place.write(&log(6, false, &[(1, 1, 1), (2, 2, 2), (3, 3, 3)]));
        assert!(resume().is_none());
        fs::remove_file(place.file()).unwrap();
        assert!(resume().is_none());
    }
}
