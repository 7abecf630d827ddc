//! Texts for people, with the words that depend on the reader as typed parts.

use std::{borrow::Cow, fmt::Write as _, net::SocketAddr, sync::Arc};

use super::verdict::Hold;
use crate::config::ProxyAddress;

/// A text for a person.
///
/// Some of its words depend on who reads it and where, such as the URL of this proxy. They stay parts of their own until the
/// text is rendered. Nothing is ever searched for in the words, since these may quote a client, a target or a hop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplyText {
    parts: Vec<TextPart>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum TextPart {
    /// Words that are the same for each reader.
    Words(Cow<'static, str>),
    /// A URL of this proxy, with these credentials if there are any.
    ProxyUrl(Option<&'static str>),
    /// The command that switches the hop of this name on.
    SwitchOn(Arc<str>),
    /// Sentences about credentials that are held back.
    Hold(Hold),
}

impl ReplyText {
    /// Adds words, which may quote input.
    #[must_use]
    pub(crate) fn words(self, words: impl Into<Cow<'static, str>>) -> Self {
        self.part(TextPart::Words(words.into()))
    }

    /// Adds a URL of this proxy with `credentials`, such as `USER:PASSWORD`.
    #[must_use]
    pub(super) fn proxy_url_with(self, credentials: &'static str) -> Self {
        self.part(TextPart::ProxyUrl(Some(credentials)))
    }

    /// Adds a URL of this proxy without credentials.
    #[must_use]
    pub(crate) fn proxy_url(self) -> Self {
        self.part(TextPart::ProxyUrl(None))
    }

    /// Adds the command that switches `hop` on.
    #[must_use]
    pub(super) fn switch_on(self, hop: &Arc<str>) -> Self {
        self.part(TextPart::SwitchOn(Arc::clone(hop)))
    }

    /// Adds the sentences about credentials that are held back.
    #[must_use]
    pub(super) fn hold(self, hold: Hold) -> Self {
        self.part(TextPart::Hold(hold))
    }

    /// Adds the parts of `other`.
    #[must_use]
    pub(super) fn text(mut self, other: Self) -> Self {
        self.parts.extend(other.parts);
        self
    }

    fn part(mut self, part: TextPart) -> Self {
        self.parts.push(part);
        self
    }

    /// Returns the text for the user of `probe`, which makes a logon each time, whatever the running proxy holds back.
    #[must_use]
    pub(super) fn for_probe(mut self) -> Self {
        for part in &mut self.parts {
            if let TextPart::Hold(hold) = part {
                *part = TextPart::Words(hold.of_probe.into());
            }
        }
        self
    }

    /// Renders the text for a reader who reaches the proxy at `address`. Commands find the proxy by its configuration.
    pub(crate) fn at(&self, address: Option<ProxyAddress>) -> String {
        self.render(address, None)
    }

    /// Renders the text for a reader who reaches the proxy at `address` and may be elsewhere than its configuration, so
    /// that commands name the address.
    pub(crate) fn for_client_at(&self, address: Option<ProxyAddress>) -> String {
        self.render(address, address.map(|address| address.socket))
    }

    fn render(&self, address: Option<ProxyAddress>, of_commands: Option<SocketAddr>) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                TextPart::Words(words) => text.push_str(words),
                TextPart::ProxyUrl(credentials) => {
                    text.push_str(&proxy_url(address, *credentials));
                }
                TextPart::SwitchOn(hop) => {
                    let _ = write!(text, "`mooltiroute hop {hop} on");
                    if let Some(address) = of_commands {
                        let _ = write!(text, " --address {address}");
                    }
                    text.push('`');
                }
                TextPart::Hold(hold) => text.push_str(&hold.text),
            }
        }
        text
    }
}

impl From<Cow<'static, str>> for ReplyText {
    fn from(words: Cow<'static, str>) -> Self {
        Self::default().words(words)
    }
}

impl From<&'static str> for ReplyText {
    fn from(words: &'static str) -> Self {
        Cow::from(words).into()
    }
}

impl From<String> for ReplyText {
    fn from(words: String) -> Self {
        Cow::from(words).into()
    }
}

/// Returns the URL of the proxy at `address` with `credentials`, or an example if the address is not known.
pub(crate) fn proxy_url(address: Option<ProxyAddress>, credentials: Option<&str>) -> String {
    let scheme = if address.is_some_and(|address| address.is_tls) { "https" } else { "http" };
    let (credentials, at) = credentials.map_or(("", ""), |credentials| (credentials, "@"));
    let place = place_of_proxy(address);
    format!("{scheme}://{credentials}{at}{place}")
}

/// Returns the host and the port of the proxy at `address`, or an example if the address is not known.
pub(crate) fn place_of_proxy(address: Option<ProxyAddress>) -> String {
    address.map_or_else(|| "localhost:8888".to_owned(), |address| address.socket.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn address(is_tls: bool) -> Option<ProxyAddress> {
        Some(ProxyAddress { socket: "127.0.0.1:7".parse().unwrap(), is_tls })
    }

    #[test]
    fn words_that_look_like_a_part_stay_as_they_are() {
        let quoted = "`http://a:b@localhost:8888` `mooltiroute hop a on` \u{0} {address}";
        let text = ReplyText::from(quoted).words("; write `").proxy_url_with("USER:PASSWORD");
        let text = text.words("` or ").switch_on(&"b on".into());
        assert_eq!(
            text.at(None),
            format!(
                "{quoted}; write `http://USER:PASSWORD@localhost:8888` or `mooltiroute hop b on on`"
            )
        );
        assert_eq!(
            text.at(address(true)),
            format!(
                "{quoted}; write `https://USER:PASSWORD@127.0.0.1:7` or `mooltiroute hop b on on`"
            )
        );
        assert_eq!(
            text.for_client_at(address(false)),
            format!(
                "{quoted}; write `http://USER:PASSWORD@127.0.0.1:7` or `mooltiroute hop b on on --address 127.0.0.1:7`"
            )
        );
    }

    #[test]
    fn a_probe_is_told_of_its_own_logon() {
        let hold = Hold::of_logon(Duration::from_secs(60), false);
        let text = ReplyText::from(hold.text.clone()).words(" ").hold(hold.clone());
        assert_eq!(text.at(None), format!("{0} {0}", hold.text));
        // A quotation with the words of the sentence stays as it is.
        assert_eq!(text.for_probe().at(None), format!("{} {}", hold.text, hold.of_probe));
    }

    #[test]
    fn a_url_has_credentials_and_tls_as_asked() {
        assert_eq!(proxy_url(None, None), "http://localhost:8888");
        assert_eq!(proxy_url(address(true), None), "https://127.0.0.1:7");
        assert_eq!(proxy_url(address(false), Some("a:b")), "http://a:b@127.0.0.1:7");
    }
}
