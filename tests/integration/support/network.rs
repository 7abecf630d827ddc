//! A company's proxy and a provider's gateway, as in the program's main job.

use super::{PASSWORD, Squid, SquidRules, USERNAME};

/// Two squids: the proxy of a company, and a provider that wants credentials.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) corporate: Squid,
    pub(crate) provider: Squid,
}

/// The hops of three chains, as a configuration lists them.
pub(crate) const WAYS: [&str; 3] = ["[]", "[corporate]", "[corporate, webshare]"];

impl Network {
    /// Starts both if squid is installed.
    pub(crate) async fn start() -> Option<Self> {
        let (corporate, provider) =
            tokio::join!(Squid::start(SquidRules::Open), Squid::start(SquidRules::Basic));
        Some(Self { corporate: corporate?, provider: provider? })
    }

    /// Returns a configuration of both hops, with `chain` as the chain `default`.
    pub(crate) fn yaml(&self, chain: &str) -> String {
        format!("{}chains: {{ default: {chain} }}\n", self.hops(true))
    }

    /// Returns the settings of both hops, with `corporate` switched on or off.
    pub(crate) fn hops(&self, is_corporate_enabled: bool) -> String {
        let (corporate, provider) = (self.corporate.address(), self.provider.address());
        format!(
            "hops:\n  corporate: {{ kind: http-connect, enabled: {is_corporate_enabled}, address: \"{corporate}\" }}\n  \
             webshare: {{ kind: webshare, address: \"{provider}\", username: {USERNAME}, password: {PASSWORD} }}\n"
        )
    }
}
