//! The kinds of hop that a program knows.

use std::{collections::BTreeMap, fmt, sync::Arc};

use schemars::{Schema, SchemaGenerator};

use crate::{BuildContext, Hop, HopConfig, InvalidSetting, Settings, UrlKeys};

/// The kinds of hop that a program knows, by name. It is passed as a value, and is not a global.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    kinds: BTreeMap<&'static str, Kind>,
}

/// One kind of hop, which builds hops from settings.
#[derive(Clone, Copy)]
pub struct Kind {
    build: Build,
    schema: fn(&mut SchemaGenerator) -> Schema,
    url_keys: UrlKeys,
    shown: &'static [&'static str],
}

type Build = fn(&Settings, &BuildContext<'_>) -> Result<Arc<dyn Hop>, Vec<InvalidSetting>>;

impl Registry {
    /// Adds the kind whose settings are `C`. A later one of the same name takes the place of an earlier one.
    #[must_use]
    pub fn with<C: HopConfig>(mut self) -> Self {
        self.kinds.insert(C::KIND, Kind::of::<C>());
        self
    }

    /// Returns the kind of this name.
    pub fn kind(&self, name: &str) -> Option<Kind> {
        self.kinds.get(name).copied()
    }

    /// Returns the names of all kinds, sorted.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.kinds.keys().copied()
    }
}

impl Kind {
    /// Returns the kind whose settings are `C`.
    pub(crate) fn of<C: HopConfig>() -> Self {
        // Functions and not a trait object: a kind exists as a type only, and has no value before there are settings.
        Self { build: build::<C>, schema: C::json_schema, url_keys: C::URL, shown: C::SHOWN }
    }

    /// Builds a hop of this kind.
    ///
    /// # Errors
    /// Every invalid setting, with its path below `settings`. The list is empty if nothing is wrong except that
    /// settings were [forgotten](Settings::forget).
    pub fn build(
        &self,
        settings: &Settings,
        context: &BuildContext<'_>,
    ) -> Result<Arc<dyn Hop>, Vec<InvalidSetting>> {
        (self.build)(settings, context)
    }

    /// Returns the schema of its settings.
    pub fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        (self.schema)(generator)
    }

    /// Returns the settings that the parts of a hop's URL stand for.
    pub fn url_keys(&self) -> UrlKeys {
        self.url_keys
    }

    /// Returns the settings whose values may be shown.
    pub fn shown(&self) -> &'static [&'static str] {
        self.shown
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kind").finish_non_exhaustive()
    }
}

fn build<C: HopConfig>(
    settings: &Settings,
    context: &BuildContext<'_>,
) -> Result<Arc<dyn Hop>, Vec<InvalidSetting>> {
    settings.read::<C>()?.build(context).map_err(Vec::from)
}
