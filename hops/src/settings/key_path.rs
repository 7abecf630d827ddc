//! The place of a setting.

use std::fmt;

/// The place of a setting: the keys and indices that lead to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyPath(pub(super) Vec<Key>);

/// One step of a [`KeyPath`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A key of a mapping.
    Name(String),
    /// A place in a list, counted from zero.
    Index(usize),
}

impl Key {
    /// Returns the name, or `None` for a place in a list.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Name(name) => Some(name),
            Self::Index(_) => None,
        }
    }
}

impl KeyPath {
    /// Adds one step to the path.
    #[must_use]
    pub fn then(mut self, key: Key) -> Self {
        self.0.push(key);
        self
    }

    /// Creates a path of these names.
    pub fn of<const N: usize>(names: [&str; N]) -> Self {
        Self(names.into_iter().map(|name| Key::Name(name.to_owned())).collect())
    }

    /// Returns the steps from the top.
    pub fn keys(&self) -> &[Key] {
        &self.0
    }

    /// Returns the last key that is a name. For an item of a list, that is the key of the list.
    pub fn last_name(&self) -> Option<&str> {
        self.0.iter().rev().find_map(Key::name)
    }

    /// Adds the steps of `below` to the path.
    #[must_use]
    pub fn join(mut self, below: &Self) -> Self {
        self.0.extend_from_slice(&below.0);
        self
    }

    /// Returns the part of this path after `above`, or `None` if it does not begin with `above`.
    pub fn below(&self, above: &Self) -> Option<Self> {
        self.0.strip_prefix(above.0.as_slice()).map(|keys| Self(keys.to_vec()))
    }
}

impl From<Vec<Key>> for KeyPath {
    fn from(keys: Vec<Key>) -> Self {
        Self(keys)
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, key) in self.0.iter().enumerate() {
            match key {
                Key::Name(name) if position == 0 => f.write_str(name)?,
                Key::Name(name) => write!(f, ".{name}")?,
                Key::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}
