//! Finds files that have lost their end or all their settings, or that are gone, as in the middle of a save that takes
//! several steps.
//!
//! The beginning of a configuration may be valid and mean the opposite: without its chains everything goes direct. So may the
//! rest of a directory while one file is missing for a moment: `git checkout` removes a file before the filter runs that
//! writes it. So the watch remembers which files there were when they were last taken, and how each of them began. It keeps
//! a hash for each line end, and nothing of the text, which may hold secrets.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    hash::{BuildHasher as _, Hasher as _, RandomState},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use arc_swap::ArcSwap;
use mooltiroute_hops::thread_pool;
use tokio::time::{Instant, timeout_at};

use super::{
    Watch,
    survey::{Files, lock},
    trail::Trail,
};
use crate::{
    config::source::{is_blank, is_read},
    control::api::{FilesOnDisk, LostSettings},
};

/// The beginnings of all files of a configuration.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownFiles {
    hasher: RandomState,
    files: BTreeMap<PathBuf, Beginnings>,
    /// The names of the files with settings, as the directory of the configuration has them. A link below such a name may lead
    /// to another file at any time.
    names: Vec<PathBuf>,
}

/// The files as they were when they were last taken. It follows the watch, and can be asked on any thread.
#[derive(Clone, Debug)]
pub(crate) struct FilesTaken {
    known: Arc<ArcSwap<KnownFiles>>,
    files: Arc<Mutex<Files>>,
}

/// The files that seem to lack something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LackingFiles {
    /// Files that have only a beginning of what they had, or no settings any more.
    pub(crate) cut: Vec<PathBuf>,
    /// Files with settings that are gone.
    pub(crate) gone: Vec<PathBuf>,
}

/// The beginnings of one text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Beginnings {
    length: usize,
    has_settings: bool,
    /// Whether the last line is a key without a value.
    is_open: bool,
    lines: Vec<Beginning>,
}

/// The text up to a line end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Beginning {
    length: usize,
    hash: u32,
    /// Whether the next line is indented, so that a text that ends here has lost a part of a block.
    is_inside: bool,
}

impl KnownFiles {
    /// Reads the YAML files of `files`. Those that can't be read are left out.
    pub(super) fn of(files: &Files) -> Self {
        let hasher = RandomState::new();
        let trail = Trail::to(&files.root, &files.named);
        let paths = trail.files().filter(|path| !files.is_named(path));
        let known = paths
            .filter_map(|path| Some((path.to_owned(), Beginnings::of(&read(path)?, &hasher))))
            .collect();
        let names = entries(&files.root).unwrap_or_default().into_iter();
        let names = names.filter(|path| read(path).is_some_and(|text| has_settings(&text)));
        Self { hasher, files: known, names: names.collect() }
    }

    /// Returns the files that lack something, compared with what they were.
    fn lacking(&self, root: &Path) -> LackingFiles {
        let is_cut = |(path, known): &(&PathBuf, &Beginnings)| {
            read(path).is_some_and(|text| known.is_cut(&text, &self.hasher))
        };
        let cut = self.files.iter().filter(is_cut).map(|(path, _)| path.clone()).collect();
        // If the directory can't be read, the load fails, so nothing takes effect.
        let gone = entries(root).map_or_else(
            |_| Vec::new(),
            |found| self.names.iter().filter(|name| !found.contains(name)).cloned().collect(),
        );
        LackingFiles { cut, gone }
    }
}

impl FilesTaken {
    /// Returns the files that lack something of what they had when they were last taken. Reads them.
    pub(crate) fn lacking(&self) -> LackingFiles {
        let root = lock(&self.files).root.clone();
        self.known.load().lacking(&root)
    }
}

impl FilesOnDisk for FilesTaken {
    fn changes(&self) -> LostSettings {
        let LackingFiles { cut, gone } = self.lacking();
        let (emptied, cut): (Vec<_>, _) = cut.into_iter().partition(|path| is_blank(path));
        let listed =
            |files: Vec<PathBuf>| files.iter().map(|file| file.display().to_string()).collect();
        LostSettings { gone: listed(gone), emptied: listed(emptied), cut: listed(cut) }
    }
}

impl LackingFiles {
    /// Returns whether nothing is missing.
    pub(crate) fn is_empty(&self) -> bool {
        self.cut.is_empty() && self.gone.is_empty()
    }
}

impl Beginnings {
    fn of(text: &[u8], hasher: &RandomState) -> Self {
        let (mut hash, mut length) = (hasher.build_hasher(), 0);
        let mut lines = Vec::new();
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            hash.write(line);
            length += line.len();
            let next = text.get(length);
            lines.push(Beginning {
                length,
                // Half of the bits are enough: a hash is compared with one other.
                hash: hash.finish() as u32,
                is_inside: next.is_some_and(|byte| b" \t".contains(byte)),
            });
        }
        Self { length: text.len(), has_settings: has_settings(text), is_open: is_open(text), lines }
    }

    /// Returns whether `text` is a beginning of this one that ends within a line or within an indented block, or has no settings
    /// or ends with an empty block, unlike this one. A text that ends behind a block is as likely to be meant.
    fn is_cut(&self, text: &[u8], hasher: &RandomState) -> bool {
        // Many programs write a header with the time first, so it need not be the header of before.
        if self.has_settings && (!has_settings(text) || (is_open(text) && !self.is_open)) {
            return true;
        }
        let Some(end) = text.iter().rposition(|byte| *byte == b'\n') else { return false };
        let (whole, rest) = text.split_at(end + 1);
        let Some(at) = self.lines.iter().position(|line| line.length == whole.len()) else {
            return false;
        };
        let found = Self::of(whole, hasher);
        let (Some(known), Some(found)) = (self.lines.get(at), found.lines.last()) else {
            return false;
        };
        let next = self.lines.get(at + 1).map_or(self.length, |next| next.length);
        let is_shorter = whole.len() + rest.len() < next;
        is_shorter && known.hash == found.hash && (!rest.is_empty() || known.is_inside)
    }
}

impl Watch {
    /// Remembers the files, which have just been taken. Does nothing if they have changed since they were complete.
    pub(crate) async fn remember(&mut self) {
        let files = lock(&self.files).clone();
        if let Ok(known) = thread_pool::run(move || KnownFiles::of(&files)).await
            && self.is_undisturbed().await
        {
            self.known.store(Arc::new(known));
        }
    }

    /// Returns the files that lack something of what they had when they were last taken.
    pub(crate) async fn lacking(&self) -> LackingFiles {
        let taken = self.files_taken();
        thread_pool::run(move || taken.lacking()).await.unwrap_or_default()
    }

    /// Returns what tells at any time which files lack something.
    pub(crate) fn files_taken(&self) -> FilesTaken {
        FilesTaken { known: Arc::clone(&self.known), files: Arc::clone(&self.files) }
    }

    /// Waits until the files look other than when they were complete, and returns whether that came before `deadline`. The
    /// future may be dropped at any time.
    pub(crate) async fn differs_before(&mut self, deadline: Instant) -> bool {
        loop {
            if !self.is_undisturbed().await {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            // Some file systems send no events, so the files are looked at from time to time as well.
            let next = deadline.min(Instant::now() + POLL);
            if let Ok(Some(tick)) = timeout_at(next, self.ticks.recv()).await {
                self.note(tick);
            }
        }
    }
}

/// Returns the paths of the files in the directory `root` that are read; none if it is a file.
fn entries(root: &Path) -> io::Result<Vec<PathBuf>> {
    if root.is_file() {
        return Ok(Vec::new());
    }
    let paths = fs::read_dir(root)?.map(|entry| entry.map(|entry| entry.path()));
    paths.filter(|path| path.as_ref().map_or(true, |path| is_read(path))).collect()
}

/// Returns whether `text` has anything beside comments and the marks of a YAML document.
fn has_settings(text: &[u8]) -> bool {
    settings(text).next().is_some()
}

/// Returns whether `text` ends with a key whose block is still to come, as in `routes:`.
fn is_open(text: &[u8]) -> bool {
    settings(text).last().is_some_and(|line| line.ends_with(b":"))
}

/// Returns the lines of `text` that are more than a comment or the mark of a YAML document.
fn settings(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| {
        let rest = line.strip_prefix(b"---").or_else(|| line.strip_prefix(b"..."));
        // A mark may have a comment behind it.
        let rest = rest.unwrap_or(line).trim_ascii_start();
        !rest.is_empty() && !rest.starts_with(b"#") && !rest.starts_with(b"%")
    })
}

/// Reads a file of a size that is worth remembering.
fn read(path: &Path) -> Option<Vec<u8>> {
    // A pipe in place of the file would wait for its other end.
    if !path.is_file() {
        return None;
    }
    let mut text = Vec::new();
    File::open(path).ok()?.take(FILE_BYTES_MAX + 1).read_to_end(&mut text).ok()?;
    (text.len() as u64 <= FILE_BYTES_MAX).then_some(text)
}

/// The size of the largest file that is remembered.
const FILE_BYTES_MAX: u64 = 1 << 22;
/// How often files are looked at if no event comes.
const POLL: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_ends_within_a_block_is_cut() {
        let whole = "hops:\n  a: { kind: x }\n  b: { kind: y }\nchains:\n  default: [a]\n";
        let hasher = RandomState::new();
        let known = Beginnings::of(whole.as_bytes(), &hasher);
        let cut: Vec<_> = (1..=whole.len())
            .filter(|end| known.is_cut(&whole.as_bytes()[..*end], &hasher))
            .collect();
        // All but those within the first key, at the end of the block `hops`, and of the text itself.
        let expected: Vec<_> = (1..whole.len())
            .filter(|end| *end >= "hops:".len() && !whole[..*end].ends_with("y }\n"))
            .collect();
        assert_eq!(cut, expected);
        for other in [
            "hops:\n  a: { kind: z }\n",
            "hops:\n  a: { kind: x }\n  c: { kind: y, more: 12345 }",
            "# a comment\nhops: {}\n",
        ] {
            assert!(!known.is_cut(other.as_bytes(), &hasher), "{other}");
        }
        let longer = format!("{whole}routes: []\n");
        assert!(!known.is_cut(longer.as_bytes(), &hasher));
    }

    #[test]
    fn a_text_that_has_no_settings_any_more_is_cut() {
        let hasher = RandomState::new();
        let known = Beginnings::of(b"# made at 10:00\nroutes:\n  - { chain: a }\n", &hasher);
        for text in
            ["", "\n", "# made at 10:00\n", "# made at 11:00", "---\n", "%YAML 1.2\n--- # a\n"]
        {
            assert!(known.is_cut(text.as_bytes(), &hasher), "{text}");
        }
        assert!(known.is_cut(b"# made at 11:00\nroutes:\n", &hasher), "its block is still to come");
        for text in ["routes: []\n", "--- {}\n", "# made at 10:00\n# more\nlog: {}\n"] {
            assert!(!known.is_cut(text.as_bytes(), &hasher), "{text}");
        }
        let known = Beginnings::of(b"# nothing\n", &hasher);
        assert!(!known.is_cut(b"# none\n", &hasher), "it had no settings");
    }

    #[test]
    fn a_file_with_settings_that_is_not_there_is_gone() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("config.d");
        fs::create_dir(&root).unwrap();
        for (name, text) in
            [("10.yaml", "a: 1\n"), ("20.yaml", "# nothing\n"), ("30.yaml", "b: 2\n"), ("log", "c")]
        {
            fs::write(root.join(name), text).unwrap();
        }
        let known = KnownFiles::of(&Files { root: root.clone(), named: Vec::new() });
        assert_eq!(known.lacking(&root), LackingFiles::default());
        for name in ["20.yaml", "30.yaml", "log"] {
            fs::remove_file(root.join(name)).unwrap();
        }
        let gone = vec![root.join("30.yaml")];
        assert_eq!(known.lacking(&root), LackingFiles { cut: Vec::new(), gone });
        fs::remove_dir_all(&root).unwrap();
        assert!(known.lacking(&root).is_empty(), "the load fails");
    }
}
