//! Standard input and output as files, for contents: moved in large pieces, without a buffer in between.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

/// Bytes that a pipe is to hold.
const PIPE: usize = 1 << 20;

/// Standard input. Nothing of it may have been read before.
pub(crate) fn input() -> io::Result<File> {
    file(io::stdin())
}

/// Standard output.
pub(crate) fn output() -> io::Result<File> {
    file(io::stdout())
}

fn file(stream: impl AsFd) -> io::Result<File> {
    let file = File::from(stream.as_fd().try_clone_to_owned()?);
    // Fewer switches between this program and the one at the other end. What is no pipe, or may not be that long, is as it is.
    if rustix::pipe::fcntl_getpipe_size(&file).is_ok_and(|size| size < PIPE) {
        let _ = rustix::pipe::fcntl_setpipe_size(&file, PIPE);
    }
    Ok(file)
}
