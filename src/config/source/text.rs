//! The texts of the files.

use std::{fmt, sync::Arc};

use zeroize::Zeroize as _;

/// A file that was read.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    pub(crate) name: Arc<str>,
    pub(crate) text: String,
}

/// Texts that are kept, and wiped when they are dropped: they may hold secrets.
pub(crate) struct KeptTexts(Vec<Text>);

impl KeptTexts {
    /// Returns a copy of them.
    pub(crate) fn copy(&self) -> Vec<Text> {
        self.0.clone()
    }
}

impl Drop for KeptTexts {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(|text| text.text.zeroize());
    }
}

impl fmt::Debug for KeptTexts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|text| &text.name)).finish()
    }
}

impl From<Vec<Text>> for KeptTexts {
    fn from(texts: Vec<Text>) -> Self {
        Self(texts)
    }
}
