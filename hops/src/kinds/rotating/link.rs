//! The way through the provider, with the credentials of one session.

use std::{collections::BTreeMap, sync::Arc};

use super::{RotatingConfig, template::Template, unset};
use crate::{
    Authority, Eventual, Field, HopError, InvalidSetting, Key, Link, LinkSettings, Meaning,
    PassHeaders, PlainRequest, Preferences, Refusal, Reuse, Secret, Tunnel, async_trait, field,
    kinds::{added::Added, gateway::GatewayLogin},
    refusal::CREDENTIALS_REJECTED,
    tls::TlsClient,
};

/// The gateway with the credentials of one session.
#[derive(Debug)]
pub(super) struct ProviderSession {
    provider: Arc<Provider>,
    login: GatewayLogin,
    reuse: Reuse,
    lacks_session: bool,
    added: Added,
}

/// The parts that all sessions share.
#[derive(Debug)]
pub(super) struct Provider {
    pub(super) config: RotatingConfig,
    pub(super) alternatives: Vec<Authority>,
    pub(super) tls: Option<TlsClient>,
    pub(super) pass_headers: PassHeaders,
    pub(super) head_bytes_max: usize,
    /// The remedy if the provider rejects the credentials.
    pub(super) on_rejection: String,
}

impl ProviderSession {
    pub(super) fn new(
        provider: Arc<Provider>,
        preferences: &Preferences,
    ) -> Result<Self, InvalidSetting> {
        let config = &provider.config;
        let chosen = config.chosen_session(preferences);
        let values = config.values(preferences, chosen.as_deref());
        let fill = |key: &str, template: &Option<Template>, default: &Secret| match template {
            None => Ok(default.clone()),
            Some(template) => template.fill(&values).map_err(|missing| unset(key, missing)),
        };
        let username = fill("username", &config.username, &config.user)?;
        let password = fill("password", &config.password, &config.pass)?;
        let mut headers = BTreeMap::new();
        for (name, template) in &config.headers {
            let value = template.fill(&values).map_err(|missing| {
                unset(name.as_str(), missing).below(Key::Name("headers".into()))
            })?;
            // A field that became empty is not sent.
            if !value.is_empty() {
                headers.insert(name.clone(), value);
            }
        }
        // Checked after filling, because a value of the settings can break a field even if its template does not.
        let headers = field::checked("headers", headers)?;
        let login = GatewayLogin::new(config.protocol, username, password, headers)
            .map_err(|invalid| config.at_origin(invalid))?;
        // A provider may choose the exit once for a connection. Without a session each request is to get a new exit,
        // so no connection is used again.
        let reuse = if values.session.is_some() { Reuse::SameClient } else { Reuse::Never };
        let lacks_session = config.sessions.are_by_client() && chosen.is_none();
        let added = config.added(preferences, &values);
        Ok(Self { login, reuse, lacks_session, added, provider })
    }
}

#[async_trait]
impl Link for ProviderSession {
    fn address(&self) -> &Authority {
        &self.provider.config.address
    }

    fn alternatives(&self) -> &[Authority] {
        &self.provider.alternatives
    }

    fn tls(&self) -> Option<&TlsClient> {
        self.provider.tls.as_ref()
    }

    fn settings(&self) -> LinkSettings {
        self.login.settings()
    }

    fn pass_headers(&self) -> Option<&PassHeaders> {
        Some(&self.provider.pass_headers)
    }

    async fn extend(&self, tunnel: Tunnel, next: &Authority) -> Result<Tunnel, HopError> {
        self.login.connect(tunnel, next, self.provider.head_bytes_max).await
    }

    fn forwards(&self) -> bool {
        self.login.forwards() && self.provider.config.headers.is_empty()
    }

    fn authorize<'a>(
        &'a self,
        _: &'a mut Tunnel,
        _: PlainRequest<'a>,
    ) -> Eventual<'a, Result<Arc<[Field]>, HopError>> {
        Eventual::Ready(Ok(self.login.plain()))
    }

    fn reuse(&self) -> Reuse {
        self.reuse
    }

    fn lacks_session(&self) -> bool {
        self.lacks_session
    }

    fn refuses(&self, refusal: &Refusal) -> bool {
        refusal.is_by_proxy() || self.provider.reason(refusal).is_some()
    }

    fn explain(&self, refusal: &mut Refusal) {
        if refusal.meaning == Meaning::Credentials {
            refusal.advice = Some(self.provider.on_rejection.clone());
        }
        if let Some(reason) = self.provider.reason(refusal).map(str::to_owned) {
            refusal.detail = Some(reason);
        } else if refusal.meaning == Meaning::Credentials {
            refusal.summary = Some(CREDENTIALS_REJECTED.into());
        }
        // Providers send 402 for a used-up quota. To other hops it means nothing in particular.
        if refusal.http.as_ref().is_some_and(|http| http.status == 402) {
            refusal.means(Meaning::Quota);
        }
        self.added.explain(refusal);
    }
}

impl Provider {
    fn reason<'a>(&self, refusal: &'a Refusal) -> Option<&'a str> {
        self.config.error_fields.iter().find_map(|name| refusal.field(name.as_str()))
    }
}
