//! A kind of hop for tests of what the configuration does with kinds from outside.

use std::sync::Arc;

use mooltiroute_hops::{BuildContext, Hop, HopConfig, InvalidSettings};

/// A kind that fails to build and gives no reason. It is called like a protocol that no built-in kind speaks.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
pub(super) struct Mute {}

impl HopConfig for Mute {
    const KIND: &'static str = "socks4a";

    fn build(self, _: &BuildContext<'_>) -> Result<Arc<dyn Hop>, InvalidSettings> {
        Err(Vec::new().into())
    }
}
