//! Marks of the content of files, which tell whether an edit has changed any of them.

use std::{
    collections::BTreeMap,
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
};

/// The content of each file that a configuration is read from, as a hash. A file that can't be read has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FileMarks(BTreeMap<PathBuf, Option<u64>>);

impl FileMarks {
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

fn mark(file: &Path) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    fs::read(file).ok()?.hash(&mut hasher);
    Some(hasher.finish())
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;

    #[test]
    fn only_another_content_is_a_change() {
        let home = tempdir().unwrap();
        let files = ["a", "b", "c", "d"].map(|name| home.path().join(name));
        let marks = || FileMarks::of(files.iter().filter(|file| file.exists()).map(|file| &**file));
        files[..3].iter().for_each(|file| fs::write(file, "12MB").unwrap());
        let old = marks();
        fs::write(&files[0], "12MB").unwrap();
        assert_eq!(marks().changed_since(&old), Vec::<PathBuf>::new());
        fs::write(&files[1], "13MB").unwrap();
        fs::remove_file(&files[2]).unwrap();
        fs::write(&files[3], "").unwrap();
        let mut changed = marks().changed_since(&old);
        changed.sort();
        assert_eq!(changed, files[1..]);
    }
}
