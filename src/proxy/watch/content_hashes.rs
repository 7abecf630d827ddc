//! Marks of the content of files, which tell whether an edit has changed any of them.

use std::{
    collections::BTreeMap,
    fs::File,
    hash::{DefaultHasher, Hasher as _},
    io::Read as _,
    path::{Path, PathBuf},
};

/// The content of each file that a configuration is read from, as a hash. A file that can't be read has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ContentHashes(BTreeMap<PathBuf, Option<u64>>);

impl ContentHashes {
    /// Reads `files`. Blocks.
    pub(crate) fn of<'a>(files: impl Iterator<Item = &'a Path>) -> Self {
        Self(files.map(|file| (file.to_owned(), mark(file))).collect())
    }

    /// Returns the files that have another content than in `old`, and those that only one of the two has.
    pub(crate) fn changed_since(&self, old: &Self) -> Vec<PathBuf> {
        let changed = self.0.iter().filter(|(file, mark)| old.0.get(*file) != Some(mark));
        let removed = old.0.iter().filter(|(file, _)| !self.0.contains_key(*file));
        changed.chain(removed).map(|(file, _)| file.clone()).collect()
    }
}

fn mark(path: &Path) -> Option<u64> {
    // A pipe in place of the file would wait for its other end.
    if !path.is_file() {
        return None;
    }
    let file = File::open(path).ok()?;
    let mut hasher = DefaultHasher::new();
    // The length tells edits apart that come behind the part that is read.
    hasher.write_u64(file.metadata().ok()?.len());
    let (mut file, mut piece) = (file.take(BYTES_MAX), vec![0; PIECE_BYTES]);
    loop {
        match file.read(&mut piece).ok()? {
            0 => return Some(hasher.finish()),
            count => hasher.write(&piece[..count]),
        }
    }
}

/// How much of a file is read. No setting takes a larger file, so the rest makes no difference.
const BYTES_MAX: u64 = (4 << 20) + 1;
/// A file is read in pieces, since the one that is too large may be a gigabyte.
const PIECE_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::tempdir;

    use super::*;

    #[test]
    fn only_another_content_is_a_change() {
        let home = tempdir().unwrap();
        let files = ["a", "b", "c", "d"].map(|name| home.path().join(name));
        let content_hashes =
            || ContentHashes::of(files.iter().filter(|file| file.exists()).map(|file| &**file));
        files[..3].iter().for_each(|file| fs::write(file, "12MB").unwrap());
        let old = content_hashes();
        fs::write(&files[0], "12MB").unwrap();
        assert_eq!(content_hashes().changed_since(&old), Vec::<PathBuf>::new());
        fs::write(&files[1], "13MB").unwrap();
        fs::remove_file(&files[2]).unwrap();
        fs::write(&files[3], "").unwrap();
        let mut changed = content_hashes().changed_since(&old);
        changed.sort();
        assert_eq!(changed, files[1..]);
    }

    #[test]
    fn only_the_beginning_of_a_huge_file_is_read() {
        let home = tempdir().unwrap();
        let path = home.path().join("huge");
        // It would take minutes to read, and more memory than there is.
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        let old = ContentHashes::of([&*path].into_iter());
        assert!(mark(&path).is_some());
        File::options().write(true).open(&path).unwrap().set_len((1 << 40) + 1).unwrap();
        let new = ContentHashes::of([&*path].into_iter());
        assert_eq!(new.changed_since(&old), [path]);
    }
}
