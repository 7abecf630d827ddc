//! Opens files that the program has written itself, whatever is there by now.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

/// Opens the file at `path` to read it.
///
/// # Errors
/// The system's error, or that something else than a file is there, such as a pipe. To open a pipe would wait until
/// another program opens its other end.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    File::open(path)
}
