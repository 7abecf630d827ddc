//! The texts of the files.

use std::{fmt, sync::Arc};

use mooltiroute_hops::FileContents;
use zeroize::Zeroize as _;

/// A file that was read.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    pub(crate) name: Arc<str>,
    pub(crate) text: String,
}

/// Texts that are kept, with the contents of the files that they name. They are wiped when they are dropped, since they may
/// hold secrets.
#[derive(Clone)]
pub(crate) struct KeptTexts {
    texts: Arc<WipedTexts>,
    files: FileContents,
}

struct WipedTexts(Vec<Text>);

impl KeptTexts {
    /// Returns a copy of the texts.
    pub(crate) fn copy(&self) -> Vec<Text> {
        self.texts.0.clone()
    }

    /// Returns the contents of the files that the texts name, as far as they are kept.
    pub(crate) fn files(&self) -> FileContents {
        self.files.clone()
    }

    /// Returns these texts with `files`.
    pub(crate) fn with_files(&self, files: FileContents) -> Self {
        Self { texts: Arc::clone(&self.texts), files }
    }
}

impl Drop for WipedTexts {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(|text| text.text.zeroize());
    }
}

impl fmt::Debug for KeptTexts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.texts.0.iter().map(|text| &text.name)).finish()
    }
}

impl From<Vec<Text>> for KeptTexts {
    fn from(texts: Vec<Text>) -> Self {
        Self { texts: Arc::new(WipedTexts(texts)), files: FileContents::default() }
    }
}
