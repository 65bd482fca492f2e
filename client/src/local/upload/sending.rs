//! Local files are read and sent, and read once more if they changed meanwhile: no mixture of two contents is stored.

use std::io::Read as _;
use std::sync::Arc;

use cyx_core::units::PACK_FILE_MAX;
use zeroize::Zeroizing;

use super::super::walk::{Local, changing};
use super::Candidate;
use crate::error::{Error, Result};
use crate::transfer::coded::blocking;
use crate::transfer::source::Stamp;
use crate::transfer::{Place, Progress, Put, PutOptions, SmallFile, Source, Uploads};

/// How often a file is read that changes while it is read.
const READINGS: u32 = 3;

/// What became of files, by the path that is shown, with their sizes.
pub(super) type Outcomes = Vec<(Vec<u8>, u64, Outcome)>;

pub(super) enum Outcome {
    Put(Result<Put>),
    Unchanged,
}

/// A large file, or one that is compared first.
pub(super) async fn large(
    uploads: Uploads,
    candidate: Candidate,
    options: PutOptions,
    compare: bool,
    progress: Arc<dyn Progress>,
) -> Result<Outcomes> {
    let Candidate { path, local, size, place } = candidate;
    progress.begins(&path, Some(size));
    if let Some(located) = place.found.as_ref().filter(|_| compare)
        && let Ok(true) = uploads.has_same_content(located, local.clone()).await
    {
        return Ok(vec![(path, size, Outcome::Unchanged)]);
    }
    let mut put = put_file(&uploads, place.clone(), &local, &options, &*progress).await;
    for _ in 1..READINGS {
        if !matches!(put, Err(Error::Changing(_))) {
            break;
        }
        tracing::debug!(path = %local.path.display(), "changed while it was read; it is read once more");
        put = put_file(&uploads, place.clone(), &local, &options, &*progress).await;
    }
    Ok(vec![(path, size, Outcome::Put(put))])
}

async fn put_file(
    uploads: &Uploads,
    place: Place,
    local: &Local,
    options: &PutOptions,
    progress: &dyn Progress,
) -> Result<Put> {
    let opened = local.clone();
    let opening = blocking(move || {
        let file = opened.open()?;
        let stamp = Stamp::of(&file).map_err(Error::local(&opened.path))?;
        Ok((file, stamp))
    });
    let (file, stamp) = opening.await?;
    let options =
        PutOptions { mode: Some(local.mode), mtime_ns: Some(stamp.mtime_ns), steady: true, ..options.clone() };
    Box::pin(uploads.put(place, Source::File(file), Some(stamp.size), &options, progress)).await
}

/// The content of a small file and when it was written.
struct Content {
    plain: Zeroizing<Vec<u8>>,
    mtime_ns: i64,
}

/// Reads a small file whole; `between` is called when it was read, before it is looked at again.
fn read_steady(local: &Local, mut between: impl FnMut()) -> Result<Content> {
    let failed = |error| Error::local(&local.path)(error);
    for _ in 0..READINGS {
        let file = local.open()?;
        let before = Stamp::of(&file).map_err(failed)?;
        let mut plain = Zeroizing::new(Vec::new());
        // One byte more than fits is enough to see that it grew.
        (&file).take(PACK_FILE_MAX + 1).read_to_end(&mut plain).map_err(failed)?;
        between();
        if Stamp::of(&file).map_err(failed)? == before {
            return Ok(Content { plain, mtime_ns: before.mtime_ns });
        }
    }
    Err(changing(&local.path))
}

/// A batch of small files.
pub(super) async fn small(
    uploads: Uploads,
    batch: Vec<Candidate>,
    options: PutOptions,
    progress: Arc<dyn Progress>,
) -> Result<Outcomes> {
    let reading = blocking(move || {
        let read = |candidate: Candidate| {
            let content = read_steady(&candidate.local, || {});
            (candidate, content)
        };
        Ok(batch.into_iter().map(read).collect::<Vec<_>>())
    });
    let (mut outcomes, mut files, mut paths, mut grown) = (Outcomes::new(), Vec::new(), Vec::new(), Vec::new());
    for (candidate, content) in reading.await? {
        match content {
            // It grew since it was looked at.
            Ok(content) if content.plain.len() as u64 > PACK_FILE_MAX => grown.push(candidate),
            Ok(Content { plain, mtime_ns }) => {
                let options =
                    PutOptions { mode: Some(candidate.local.mode), mtime_ns: Some(mtime_ns), ..options.clone() };
                progress.begins(&candidate.path, Some(plain.len() as u64));
                paths.push((candidate.path, plain.len() as u64));
                files.push(SmallFile { place: candidate.place, plain, options });
            }
            Err(error) => outcomes.push((candidate.path, candidate.size, Outcome::Put(Err(error)))),
        }
    }
    for ((path, size), put) in paths.into_iter().zip(Box::pin(uploads.put_small(files)).await) {
        if put.is_ok() {
            progress.bytes(size);
        }
        outcomes.push((path, size, Outcome::Put(put)));
    }
    for candidate in grown {
        outcomes.extend(large(uploads.clone(), candidate, options.clone(), false, Arc::clone(&progress)).await?);
    }
    Ok(outcomes)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_small_file_that_changes_is_read_again_and_not_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, b"1").unwrap();
        let local = Local::at(&path).unwrap();
        let append = || File::options().append(true).open(&path).unwrap().write_all(b"2").unwrap();

        let mut changes = 1;
        let content = read_steady(&local, || {
            if changes > 0 {
                changes -= 1;
                append();
            }
        });
        assert_eq!(*content.unwrap().plain, b"12");
        let refused = read_steady(&local, append);
        assert!(matches!(refused, Err(Error::Changing(name)) if name == path.display().to_string()));
    }
}
