//! What is uploaded: files and folders full of noise on this machine's disk.

use std::path::{Path, PathBuf};

use cyx_tests::noise;

use crate::Result;

/// A path as an argument.
pub(crate) fn text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| "the temporary folder has an odd name".into())
}

/// Writes a file of noise. It is on the disk when this returns, and not written there while something is measured.
pub(crate) fn write_noise(path: &Path, size: u64) -> Result<()> {
    use std::io::Write as _;
    const PIECE: u64 = 16 << 20;
    let mut file = std::fs::File::create(path)?;
    for at in 0..size.div_ceil(PIECE) {
        file.write_all(&noise(at, usize::try_from(PIECE.min(size - at * PIECE))?))?;
    }
    file.sync_all()?;
    Ok(())
}

/// Makes a folder of `count` files of `size` bytes each, all different.
pub(crate) fn make_files(folder: &Path, count: usize, size: usize) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    for index in 0..count {
        std::fs::write(file_path(folder, index), noise(index as u64, size))?;
    }
    rustix::fs::sync();
    Ok(())
}

/// Path of one of those files.
pub(crate) fn file_path(folder: &Path, index: usize) -> PathBuf {
    folder.join(format!("file-{index:06}"))
}

/// Memory that begins at a page, as that of `cp` does. Where the allocator puts large buffers, 16 bytes behind one, the kernel copies whole
/// pages at a quarter of the speed on AMD's Zen 3 (<https://lunnova.dev/articles/ryzen-slow-short-rep-mov>).
pub(crate) fn at_page(room: &mut Vec<u8>, len: usize) -> &mut [u8] {
    const PAGE: usize = 4096;
    room.resize(len + PAGE, 1);
    let skip = room.as_ptr().align_offset(PAGE);
    &mut room[skip..skip + len]
}

/// Whether two files have the same bytes.
pub(crate) fn same(left: &Path, right: &Path) -> Result<bool> {
    use std::io::Read as _;
    let (mut left, mut right) = (std::fs::File::open(left)?, std::fs::File::open(right)?);
    if left.metadata()?.len() != right.metadata()?.len() {
        return Ok(false);
    }
    let mut buffers = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let count = left.read(&mut buffers.0)?;
        if count == 0 {
            return Ok(true);
        }
        right.read_exact(&mut buffers.1[..count])?;
        if buffers.0[..count] != buffers.1[..count] {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_differ_by_length_and_by_a_byte_behind_the_first_piece() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        write_noise(&path("one"), (1 << 20) + 5).unwrap();
        let mut bytes = std::fs::read(path("one")).unwrap();
        std::fs::write(path("two"), &bytes).unwrap();
        assert!(same(&path("one"), &path("two")).unwrap());
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(path("two"), &bytes).unwrap();
        assert!(!same(&path("one"), &path("two")).unwrap());
        bytes.pop();
        std::fs::write(path("two"), &bytes).unwrap();
        assert!(!same(&path("one"), &path("two")).unwrap());
    }
}
