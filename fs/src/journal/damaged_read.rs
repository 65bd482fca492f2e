//! Reading files of which the disk has lost a part: the rest is read all the same.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Bytes that are lost together.
const PAGE: usize = 4096;
/// What stands in the place of a lost byte. Zeros would look like an end that was never written.
const LOST: u8 = 0xff;

/// Reads a file, `most` bytes of it.
///
/// # Errors
/// Of the filesystem, but for bytes that the disk has lost.
pub(super) fn read_whole(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path)?;
    match (&file).take(most).read_to_end(&mut bytes) {
        Err(error) if is_lost(&error) => {
            tracing::warn!(path = %path.display(), "the disk has lost a part of the journal");
            read_around(file.metadata()?.len().min(most), |page, at| file.read_exact_at(page, at))
        }
        read => read.map(|_| bytes),
    }
}

fn read_around(len: u64, read: impl Fn(&mut [u8], u64) -> io::Result<()>) -> io::Result<Vec<u8>> {
    let mut bytes = vec![LOST; usize::try_from(len).map_err(io::Error::other)?];
    for (at, page) in (0..).step_by(PAGE).zip(bytes.chunks_mut(PAGE)) {
        match read(page, at) {
            Err(error) if is_lost(&error) => page.fill(LOST),
            read => read?,
        }
    }
    Ok(bytes)
}

fn is_lost(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_lost_is_read() {
        let content: Vec<u8> = (0..3 * PAGE + 5).map(|at| u8::try_from(at / PAGE).unwrap()).collect();
        let read = |lost: usize, error: i32| {
            let content = content.clone();
            read_around(content.len() as u64, move |page, at| {
                let at = usize::try_from(at).unwrap();
                page.copy_from_slice(&content[at..at + page.len()]);
                if at / PAGE == lost { Err(io::Error::from_raw_os_error(error)) } else { Ok(()) }
            })
        };
        for lost in 0..4 {
            let found = read(lost, rustix::io::Errno::IO.raw_os_error()).unwrap();
            assert_eq!(found.len(), content.len());
            for (page, (found, wanted)) in found.chunks(PAGE).zip(content.chunks(PAGE)).enumerate() {
                assert!(if page == lost { found.iter().all(|byte| *byte == LOST) } else { found == wanted }, "{page}");
            }
        }
        assert!(read(1, rustix::io::Errno::ACCESS.raw_os_error()).is_err());
    }

    #[test]
    fn a_whole_file_is_read_up_to_the_limit() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"journal").unwrap();
        assert_eq!(read_whole(file.path(), 100).unwrap(), b"journal");
        assert_eq!(read_whole(file.path(), 4).unwrap(), b"jour");
        assert!(read_whole(&file.path().join("none"), 4).is_err());
    }
}
