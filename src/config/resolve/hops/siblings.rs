//! The hops that another hop may name as members, and those that it describes itself.

use std::{cell::RefCell, collections::BTreeMap, sync::Arc};

use mooltiroute_hops::{BuildContext, Hop, InvalidSetting, Registry, Settings, Siblings};

use super::kind::{SOCKS4, is_socks4};
use crate::config::report::{
    problem::is_word,
    suggest::{nearest, same_name},
};

/// The hops that other hops may name as members: those built so far, and those that are disabled.
#[derive(Debug)]
pub(super) struct KnownHops<'a> {
    pub(super) registry: &'a Registry,
    pub(super) hops: &'a BTreeMap<Arc<str>, Option<Arc<dyn Hop>>>,
    /// The names that were asked for.
    pub(super) asked: RefCell<Vec<Arc<str>>>,
}

impl Siblings for KnownHops<'_> {
    fn hop(&self, name: &str) -> Result<Option<Arc<dyn Hop>>, InvalidSetting> {
        let (name, hop) = self.hops.get_key_value(name).ok_or_else(InvalidSetting::unknown_hop)?;
        self.asked.borrow_mut().push(Arc::clone(name));
        Ok(hop.clone())
    }

    fn build(
        &self,
        settings: &Settings,
        context: &BuildContext<'_>,
    ) -> Result<Arc<dyn Hop>, Vec<InvalidSetting>> {
        let mut settings = settings.clone();
        let known = || self.registry.names().collect::<Vec<_>>().join(", ");
        let invalid = |key: &str, message: &str| {
            vec![InvalidSetting::new(key, format!("{message}; known kinds: {}", known()))]
        };
        let kind = settings.take("kind").ok_or_else(|| invalid("", "has no `kind`"))?;
        let kind = kind.read::<String>().map_err(|_| invalid("kind", "is not a text"))?;
        let kind = self.registry.kind(&kind).ok_or_else(|| {
            if is_socks4(&kind) {
                return vec![InvalidSetting::new("kind", "is unknown").with_help(SOCKS4)];
            }
            let near = nearest(&kind, self.registry.names()).filter(|_| is_word(&kind));
            let near =
                near.or_else(|| same_name(&kind, &self.registry.names().collect::<Vec<_>>()));
            match near {
                Some(near) => invalid("kind", &format!("is unknown: write `{near}`")),
                None => invalid("kind", "is unknown"),
            }
        })?;
        kind.build(&settings, context)
    }
}
