//! Finds files that have lost their end, as in the middle of a save that takes two steps.
//!
//! The beginning of a configuration may be valid and mean the opposite: without its chains everything goes direct. So the
//! watch remembers how each file began when it was last taken. It keeps a hash for each line end, and nothing of the text,
//! which may hold secrets.

use std::{
    collections::BTreeMap,
    fs,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    task,
    time::{Instant, timeout_at},
};

use super::{Watch, survey::lock, trail::Trail};

/// The beginnings of all files of a configuration.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownFiles {
    hasher: RandomState,
    files: BTreeMap<PathBuf, Beginnings>,
}

/// The beginnings of one text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Beginnings {
    length: usize,
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
    /// Reads `paths`. Files that can't be read are left out.
    pub(super) fn of<'a>(paths: impl Iterator<Item = &'a Path>) -> Self {
        let hasher = RandomState::new();
        let files = paths
            .filter_map(|path| Some((path.to_owned(), Beginnings::of(&read(path)?, &hasher))))
            .collect();
        Self { hasher, files }
    }

    /// Returns the files whose text is now only the beginning of what it was.
    fn cut(&self) -> Vec<PathBuf> {
        let is_cut = |(path, known): &(&PathBuf, &Beginnings)| {
            read(path).is_some_and(|text| known.is_cut(&text, &self.hasher))
        };
        self.files.iter().filter(is_cut).map(|(path, _)| path.clone()).collect()
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
        Self { length: text.len(), lines }
    }

    /// Returns whether `text` is a beginning of this one that ends within a line or within an indented block. A text that
    /// ends behind a block is as likely to be meant.
    fn is_cut(&self, text: &[u8], hasher: &RandomState) -> bool {
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
    /// Remembers how the files begin, which have just been taken. Does nothing if they have changed since they were complete.
    pub(crate) async fn remember(&mut self) {
        let files = lock(&self.files).clone();
        let read = task::spawn_blocking(move || {
            let trail = Trail::to(&files.root, &files.named);
            KnownFiles::of(trail.files().filter(|path| !files.is_named(path)))
        });
        if let Ok(known) = read.await
            && self.is_undisturbed().await
        {
            self.known = Arc::new(known);
        }
    }

    /// Returns the files that have lost the end of what they had when they were last taken.
    pub(crate) async fn cut(&self) -> Vec<PathBuf> {
        let known = Arc::clone(&self.known);
        task::spawn_blocking(move || known.cut()).await.unwrap_or_default()
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

/// Reads a file of a size that is worth remembering.
fn read(path: &Path) -> Option<Vec<u8>> {
    let is_small = fs::metadata(path).is_ok_and(|found| found.len() <= FILE_BYTES_MAX);
    is_small.then(|| fs::read(path).ok())?
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
        let cut: Vec<_> = (0..=whole.len())
            .filter(|end| known.is_cut(&whole.as_bytes()[..*end], &hasher))
            .collect();
        // All but those within the first line, at the end of the block `hops`, and of the text itself.
        let expected: Vec<_> = (0..whole.len())
            .filter(|end| whole[..*end].contains('\n') && !whole[..*end].ends_with("y }\n"))
            .collect();
        assert_eq!(cut, expected);
        for other in [
            "hops:\n  a: { kind: z }\n",
            "hops:\n  a: { kind: x }\n  c: { kind: y, more: 12345 }",
            "# a comment\nhops:\n",
            "",
            "\n",
        ] {
            assert!(!known.is_cut(other.as_bytes(), &hasher), "{other}");
        }
        let longer = format!("{whole}routes:\n");
        assert!(!known.is_cut(longer.as_bytes(), &hasher));
    }
}
