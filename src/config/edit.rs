//! Edits of configuration files that keep everything but one value, byte for byte.

mod outline;
mod switch;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub(crate) use self::switch::{
    Origin, SwitchPart, Uneditable, has_condition, hop_names, restore, switch, switch_part,
};
use crate::config::{Loader, Problems, source::Text, yaml::tree::Tree};

/// A file of a configuration with a new text that is not written yet.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EditedFile {
    /// The absolute path of the file itself, without links.
    pub path: PathBuf,
    /// The text that it would have.
    pub text: String,
}

impl std::fmt::Debug for EditedFile {
    /// Leaves out the text, which may hold passwords.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EditedFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Returns the problems for which `texts` can't be read as YAML.
pub(crate) fn unreadable(texts: &[Text]) -> Problems {
    let copy = |text: &Text| Text { name: text.name.clone(), text: text.text.clone() };
    Tree::new(texts.iter().map(copy).collect()).1.into_problems()
}

impl Loader {
    /// Loads the configuration as it would be after `edit`. Returns the settings that the edit changes, or `None` if the
    /// files are invalid without it.
    ///
    /// # Errors
    /// Everything that would be wrong.
    pub(crate) fn check_edit(&self, edit: &EditedFile) -> Result<Option<Vec<String>>, Problems> {
        let edited = self.load_edited(edit)?;
        let now = self.load().ok();
        Ok(now.map(|now| now.outline.changes(&edited.outline)))
    }
}
