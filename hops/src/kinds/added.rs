//! The parts of a login that choose the exit, for the advice about a provider that rejects it.

use crate::{Country, Meaning, Refusal};

/// The parts that were added to the account of a login.
#[derive(Clone, Debug, Default)]
pub(super) struct Added {
    parts: Vec<AddedPart>,
    /// A remark on a country that is not a code of ISO 3166.
    doubt: Option<String>,
}

/// A part of a login, such as a country.
#[derive(Clone, Debug)]
struct AddedPart {
    noun: &'static str,
    /// The text that was sent, if it may be shown.
    text: Option<String>,
    origin: Origin,
}

/// The origin of a part.
#[derive(Clone, Copy, Debug)]
pub(super) enum Origin {
    /// The client, by its username for this proxy.
    Client,
    /// The setting of the hop with this key.
    Setting(&'static str),
}

impl Added {
    /// Adds a part, called `noun` with its article. `text` is shown to clients, so it holds nothing secret.
    pub(super) fn push(&mut self, noun: &'static str, text: Option<String>, origin: Origin) {
        self.parts.push(AddedPart { noun, text, origin });
    }

    /// Notes the countries that are among the parts.
    pub(super) fn doubt(&mut self, countries: &[Country]) {
        self.doubt = countries.iter().find_map(|country| {
            let (doubt, _) = country.doubt()?;
            Some(format!("`{country}` {doubt}"))
        });
    }

    /// Adds to `refusal` that the provider may not accept the parts, if it rejects the login and gives no reason.
    pub(super) fn explain(&self, refusal: &mut Refusal) {
        let status = refusal.http.as_ref().map(|http| http.status);
        // 403 is for the target too, so only the words below doubt the login.
        let is_of_login = match status {
            Some(407) | None => refusal.meaning == Meaning::Credentials,
            Some(403) => refusal.detail.is_none(),
            Some(_) => false,
        };
        if is_of_login {
            refusal.note = self.note();
        }
    }

    fn note(&self) -> Option<String> {
        let parts: Vec<_> = self.parts.iter().map(AddedPart::in_words).collect();
        let (last, before) = parts.split_last()?;
        let list = match before {
            [] => last.clone(),
            _ => format!("{} and {last}", before.join(", ")),
        };
        let them = if before.is_empty() { "it" } else { "them" };
        let doubt = self.doubt.as_ref().map(|doubt| format!(" {doubt}.")).unwrap_or_default();
        Some(format!(
            "The login was sent with {list}: if the credentials are right, the provider may not know {them}, or the account \
             may not have {them}.{doubt}"
        ))
    }
}

impl AddedPart {
    fn in_words(&self) -> String {
        let noun = self.noun;
        let text = self.text.as_ref().map(|text| format!("`{text}`, ")).unwrap_or_default();
        match self.origin {
            Origin::Client => format!("{noun} ({text}chosen by the client)"),
            Origin::Setting(key) => format!("{noun} ({text}from this hop's `{key}`)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(status: u16, added: &Added) -> Option<String> {
        let mut refusal = Refusal::from_http(status, b"", []);
        added.explain(&mut refusal);
        refusal.note
    }

    #[test]
    fn a_rejected_login_is_explained_by_all_that_was_added() {
        let mut added = Added::default();
        assert_eq!(note(407, &added), None);
        let uk = "uk".parse().unwrap();
        added.push("a country", Some("-uk".into()), Origin::Client);
        added.doubt(&[uk]);
        let expected = "The login was sent with a country (`-uk`, chosen by the client): if the credentials are right, the \
                        provider may not know it, or the account may not have it. `uk` is not a code of ISO 3166, in which \
                        the United Kingdom is `gb`.";
        assert_eq!(note(407, &added).as_deref(), Some(expected));
        assert_eq!(note(403, &added).as_deref(), Some(expected));
        assert_eq!((note(502, &added), note(402, &added)), (None, None));
        added.push("a session", None, Origin::Setting("session"));
        let both = note(407, &added).unwrap();
        let words = "(`-uk`, chosen by the client) and a session (from this hop's `session`): if";
        assert!(both.contains(words) && both.contains("know them"), "{both}");
    }
}
