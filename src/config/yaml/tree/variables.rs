//! Variables, put into the tree.

use mooltiroute_hops::{Encryption, Key, KeyPath};
use serde_yaml::Value;
use zeroize::Zeroizing;

use crate::config::yaml::tree::Tree;
use crate::config::{
    Environment,
    yaml::interpolate::{self, Invalid},
};

impl Tree {
    /// Returns the names of the variables in the value at `path`, as it was written.
    pub(in crate::config) fn variables(&self, path: &KeyPath) -> &[String] {
        self.variables.get(path).map_or(&[], Vec::as_slice)
    }

    /// Returns the names of the variables in all values at `path` and below.
    pub(in crate::config) fn variables_at_and_below(
        &self,
        path: &KeyPath,
    ) -> impl Iterator<Item = String> {
        let below =
            self.variables.iter().filter(|(place, _)| place.keys().starts_with(path.keys()));
        below.flat_map(|(_, names)| names.iter().cloned())
    }

    /// Returns whether any value was completed by variables so far.
    pub(in crate::config) fn has_variables(&self) -> bool {
        !self.variables.is_empty()
    }

    /// Puts variables into everything at `path`.
    ///
    /// # Errors
    /// The paths of the values that could not be completed, and why. Those values are left as they are.
    pub(in crate::config) fn interpolate(
        &mut self,
        path: &KeyPath,
        environment: &Environment,
    ) -> Vec<(KeyPath, Invalid)> {
        let mut invalid = Vec::new();
        // The value is taken out, so that the tree can note what changes.
        let Some(mut value) = self.value_mut(path).map(std::mem::take) else { return invalid };
        self.interpolate_value(&mut value, path, environment, &mut invalid);
        if let Some(place) = self.value_mut(path) {
            *place = value;
        }
        invalid
    }

    /// Returns `text` with its variables replaced, or `None` if it has none.
    fn interpolate_text(
        &mut self,
        text: &str,
        environment: &Environment,
    ) -> Result<Option<String>, Invalid> {
        // A few long variables in many settings would multiply to more memory than all files together have.
        if self.expanded > interpolate::TOTAL_BYTES_MAX && text.contains("${") {
            return Err(Invalid::TooMuch);
        }
        let Some(done) = interpolate::interpolate(text, |name| environment.variable(name))? else {
            return Ok(None);
        };
        let mut done = Zeroizing::new(done);
        if let Some(encryption) = Encryption::of(done.as_bytes()) {
            return Err(Invalid::Encrypted(encryption));
        }
        self.expanded += done.len();
        if self.expanded > interpolate::TOTAL_BYTES_MAX {
            return Err(Invalid::TooMuch);
        }
        Ok(Some(std::mem::take(&mut *done)))
    }

    fn interpolate_value(
        &mut self,
        value: &mut Value,
        path: &KeyPath,
        environment: &Environment,
        invalid: &mut Vec<(KeyPath, Invalid)>,
    ) {
        match value {
            Value::String(text) => {
                let names = interpolate::names(text);
                match self.interpolate_text(text, environment) {
                    Ok(None) => return,
                    Ok(Some(done)) => *text = done,
                    Err(error) => invalid.push((path.clone(), error)),
                }
                // Also if the text could not be completed: neither it nor any part of it may be shown.
                self.variables.insert(path.clone(), names);
            }
            Value::Sequence(list) => {
                for (index, value) in list.iter_mut().enumerate() {
                    let path = path.clone().then(Key::Index(index));
                    self.interpolate_value(value, &path, environment, invalid);
                }
            }
            Value::Mapping(mapping) => {
                for (key, value) in mapping.iter_mut() {
                    let name = key.as_str().unwrap_or_default();
                    let path = path.clone().then(Key::Name(name.to_owned()));
                    self.interpolate_value(value, &path, environment, invalid);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Tagged(_) => {}
        }
    }
}
