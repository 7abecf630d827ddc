//! Checks the settings, and warns of valid ones that are surely a mistake.

use super::{
    PORTS_MAX, RotatingConfig,
    template::{ForeignPlace, Placeholder, Template},
};
use crate::{
    BuildContext, Country, Fault, InvalidSetting, InvalidSettings, credentials,
    kinds::gateway::GatewayProtocol,
};

impl RotatingConfig {
    /// Returns every setting that is wrong, or that has no effect.
    pub(super) fn check(&self) -> Result<(), InvalidSettings> {
        let mut invalid = Vec::new();
        if self.ports.len() > PORTS_MAX {
            invalid.push(InvalidSetting::new("ports", format!("must be at most {PORTS_MAX}")));
        }
        // A setting that has no effect is an error in all checks below: its operator would believe that the provider
        // honours it.
        for (key, is_set) in
            [("headers", !self.headers.is_empty()), ("error_fields", !self.error_fields.is_empty())]
        {
            if is_set && self.protocol == GatewayProtocol::Socks5 {
                let message = "is for `protocol: http`: SOCKS5 has no header fields";
                invalid.push(InvalidSetting::new(key, message));
            }
        }
        for (key, value) in [("city", &self.city), ("ttl", &self.ttl)] {
            // Most templates separate their parts with `-`, `,` or `;`. A value with one of these would add parts of
            // its own, such as another session.
            let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.".contains(&byte);
            if value
                .as_ref()
                .is_some_and(|value| value.is_empty() || !value.bytes().all(is_allowed))
            {
                let message = "may have letters, digits, `_` and `.` only";
                invalid.push(InvalidSetting::new(key, message));
            }
        }
        // Wherever a template would put such a word, it would be wrong.
        if self.is_left_open("session")
            && !(self.has(&[Placeholder::Session]) && self.session_fits())
        {
            invalid.push(InvalidSetting::new("session", NO_ORDER).with_help(NEW_EXIT_HELP));
        } else if !self.session_fits() {
            // Providers differ in the form of sessions, such as digits only, or exactly eight characters.
            let allowed = self.session_id.in_words();
            let message = format!("must be {allowed}, without blanks or other characters");
            let help = "`session_id` sets which characters the provider accepts, and how many";
            invalid.push(InvalidSetting::new("session", message).with_help(help));
        }
        let settings = [
            (
                "country",
                self.country.is_some(),
                [Placeholder::CountryLower, Placeholder::CountryUpper].as_slice(),
            ),
            ("city", self.city.is_some(), &[Placeholder::City]),
            ("session", self.session.is_some(), &[Placeholder::Session]),
            ("ttl", self.ttl.is_some(), &[Placeholder::Ttl]),
            ("sessions", self.sessions.are_by_client(), &[Placeholder::Session]),
        ];
        let has_no_place =
            |(_, is_set, places): &(_, bool, &[Placeholder])| *is_set && !self.has(places);
        let unused = settings.into_iter().filter(has_no_place);
        let unused: Vec<_> = unused.map(|(key, _, places)| (key, places[0].name())).collect();
        // One template that has a place for all of them, so that the next check finds no other one without a place.
        let mut names: Vec<&str> = Vec::new();
        for (key, name) in &unused {
            if !names.contains(name) && !self.is_left_open(key) {
                names.push(name);
            }
        }
        let places: String = names.iter().map(|name| format!("[-{name}-{{{name}}}]")).collect();
        for (key, name) in unused {
            // A value that is wrong is said to be wrong first.
            if invalid.iter().any(|one| one.path().last_name() == Some(key)) {
                continue;
            }
            let message = format!("has no effect: no template has `{{{name}}}` in it");
            let help = match self.is_left_open(key) {
                true => left_open_help(key),
                false => format!("write it into one, as in `username: \"{{user}}{places}\"`"),
            };
            invalid.push(InvalidSetting::new(key, message).with_help(help));
        }
        if invalid.is_empty() { Ok(()) } else { Err(invalid.into()) }
    }

    /// Warns of valid settings that are probably a mistake.
    pub(super) fn warn(&self, context: &BuildContext<'_>) {
        if let Some((doubt, help)) = self.country.and_then(Country::doubt) {
            context.warn(InvalidSetting::new("country", doubt).with_help(help));
        }
        if self.is_left_open("session") {
            let help =
                format!("{NEW_EXIT_HELP}; what is in `[ ]` around `{{session}}` is left out then");
            context.warn(InvalidSetting::new("session", NO_ORDER).with_help(help));
        }
        for key in ["city", "ttl"] {
            if self.is_left_open(key) {
                let message = "is sent to the provider as this word";
                context.warn(InvalidSetting::new(key, message).with_help(left_open_help(key)));
            }
        }
        let written = [("username", &self.username), ("password", &self.password)];
        let written =
            written.into_iter().filter_map(|(key, template)| Some((key, template.as_ref()?)));
        for (key, template) in written {
            let foreign = template.foreign_places();
            let meant = foreign.iter().find_map(|place| place.meant());
            if let Some(value) = meant {
                let name = value.name();
                let message = format!(
                    "has a place for the {} in the form of another program, such as `%s`, `$NAME`, `<NAME>` or \
                     `YOUR_NAME`, which is sent as it is written",
                    value.noun()
                );
                let help = format!("write `{{{name}}}` in its place");
                context.warn(InvalidSetting::new(key, message).with_help(help));
            } else if !foreign.is_empty() {
                let message =
                    "has a place such as `%s`, `$NAME` or `<NAME>`, which is sent as it is written";
                let help =
                    "write the names of values in braces, as in `{user}[-session-{session}]`";
                context.warn(InvalidSetting::new(key, message).with_help(help));
            }
            let unset = template.bare().filter(|value| !self.is_always_set(*value));
            if let Some(value) = unset.map(Placeholder::name).next() {
                let message = format!(
                    "has brackets around `{{{value}}}` alone, so the text before them is sent even if there is no {value}"
                );
                let help = format!(
                    "put that text between the brackets too, as in `[-{value}-{{{value}}}]`: all between `[` and `]` is \
                     left out if there is no {value}"
                );
                context.warn(InvalidSetting::new(key, message).with_help(help));
            }
        }
        self.warn_of_unused_login(context);
    }

    /// Warns of a `user` or a password that the provider never gets. The account may be written into the template, so this
    /// is no error.
    fn warn_of_unused_login(&self, context: &BuildContext<'_>) {
        let templates = [&self.username, &self.password];
        let has_foreign = |value: Placeholder| {
            let mut places = templates.iter().copied().flatten().flat_map(Template::foreign_places);
            places.any(|place| place.meant() == Some(value))
        };
        let pass_key = if self.pass_file.is_some() { "pass_file" } else { "pass" };
        for (key, value, is_set) in [
            ("user", Placeholder::User, !self.user.is_empty()),
            (pass_key, Placeholder::Pass, !self.pass.is_empty()),
        ] {
            // The warning about a place in another form asks for the same.
            if !is_set || self.uses(value) || has_foreign(value) {
                continue;
            }
            let name = value.name();
            let message = format!("has no effect: no template has `{{{name}}}` in it");
            let help = match value {
                Placeholder::Pass => "write it into one, as in `password: \"{pass}\"`",
                _ => "write it into one, as in `username: \"{user}-session-{session}\"`",
            };
            context.warn(InvalidSetting::new(key, message).with_help(help));
        }
    }

    /// Returns whether the provider accepts the identifier of the session, if there is one.
    fn session_fits(&self) -> bool {
        self.session.as_ref().is_none_or(|session| self.session_id.fits(session))
    }

    /// Returns whether the value of the setting `key` is a word such as `any`, for which the setting is to be left out.
    fn is_left_open(&self, key: &str) -> bool {
        match key {
            "city" => is_word(&self.city, &ANY_WORDS),
            "ttl" => is_word(&self.ttl, &ANY_WORDS),
            "session" => is_word(&self.session, &NEW_EXIT_WORDS),
            _ => false,
        }
    }

    /// Returns whether the provider gets `value`, which is the account or the password: in a template, or as it is.
    fn uses(&self, value: Placeholder) -> bool {
        let template = match value {
            Placeholder::Pass => &self.password,
            _ => &self.username,
        };
        template.is_none() || self.has(&[value])
    }

    /// Returns what to do if the provider rejects the credentials, which come from `login`.
    pub(super) fn advice_on_rejection(&self, login: Option<&str>) -> String {
        let origins = login.map(|login| format!(" ({login})")).unwrap_or_default();
        let templates = [("username", &self.username), ("password", &self.password)];
        let templates: Vec<_> = templates
            .iter()
            .filter(|(_, template)| template.is_some())
            .map(|(key, _)| format!("`{key}`"))
            .collect();
        let templates = match &templates[..] {
            [] => String::new(),
            some => format!(
                ". If these are right, compare {} with the provider's documentation",
                some.join(" and ")
            ),
        };
        // A value that no template has is not sent, so another one would change nothing.
        let key =
            |value: Placeholder, template| if self.uses(value) { value.name() } else { template };
        let (user, pass) = (key(Placeholder::User, "username"), key(Placeholder::Pass, "password"));
        let unused: Vec<_> = [(Placeholder::User, user), (Placeholder::Pass, pass)]
            .iter()
            .filter(|(value, key)| value.name() != *key)
            .map(|(value, key)| {
                let name = value.name();
                format!(" `{name}` has no effect, since no template has `{{{name}}}` in it: write that into `{key}`.")
            })
            .collect();
        let unused = unused.concat();
        format!(
            "The provider wants other credentials than it got. Correct this hop's `{user}` and `{pass}`{origins}{templates}.{unused} \
             If they come from variables, new values take a restart. The client needs none."
        )
    }

    /// Returns whether the configuration sets this value, so that no request is without it.
    fn is_always_set(&self, value: Placeholder) -> bool {
        match value {
            Placeholder::User => !self.user.is_empty(),
            Placeholder::Pass => !self.pass.is_empty(),
            Placeholder::CountryLower | Placeholder::CountryUpper => self.country.is_some(),
            Placeholder::City => self.city.is_some(),
            Placeholder::Session => self.session.is_some(),
            Placeholder::Ttl => self.ttl.is_some(),
        }
    }

    /// Moves a problem of the credentials to the setting that it comes from.
    pub(super) fn at_origin(&self, invalid: InvalidSetting) -> InvalidSetting {
        let path = invalid.path().to_string();
        let (key, value, template) = match path.as_str() {
            "username" => ("user", &self.user, &self.username),
            "password" if self.pass_file.is_some() => ("pass_file", &self.pass, &self.password),
            "password" => ("pass", &self.pass, &self.password),
            _ => return invalid,
        };
        // Without a template the credential is the value itself, under a key that the operator did write. A template is
        // not to blame for what any template would get.
        let has_fault = match self.protocol {
            GatewayProtocol::Socks5 => false,
            GatewayProtocol::Http => {
                credentials::control_character(value).is_some()
                    || (key == "user" && value.expose().contains(':'))
            }
        };
        match invalid.fault() {
            Fault::Other(message) if template.is_none() || has_fault => {
                InvalidSetting::new(key, message.clone())
            }
            _ => {
                // A template in the notation of another program may break a rule of the protocol, as `:user` does.
                let mut foreign = template.iter().flat_map(Template::foreign_places);
                match foreign.find_map(ForeignPlace::meant).map(Placeholder::name) {
                    Some(name) => invalid.with_help(format!(
                        "for a place for the value of `{name}`, write `{{{name}}}`"
                    )),
                    None => invalid,
                }
            }
        }
    }
}

pub(super) fn unset(key: &str, missing: Placeholder) -> InvalidSetting {
    let name = missing.name();
    InvalidSetting::new(key, format!("has a place for `{{{name}}}`, which is unset")).with_help(format!(
        "set `{setting}`, or put brackets around all that belongs to it, as in `[-{name}-{{{name}}}]`: what is between \
         `[` and `]` is left out if there is no {setting}",
        setting = missing.setting(),
    ))
}

fn is_word(value: &Option<String>, words: &[&str]) -> bool {
    value.as_ref().is_some_and(|value| words.iter().any(|one| value.eq_ignore_ascii_case(one)))
}

fn left_open_help(key: &str) -> String {
    format!("to ask for none in particular, leave `{key}` out")
}

const NO_ORDER: &str =
    "is the name of a session, which keeps its exit, and not an order to change it";
const NEW_EXIT_HELP: &str = "for a new exit each time, leave `session` out";

/// Words for another exit each time, which a session can't be.
const NEW_EXIT_WORDS: [&str; 8] =
    ["rotate", "rotating", "random", "new", "auto", "none", "false", "off"];

/// Words for a value that is left open.
const ANY_WORDS: [&str; 6] = ["any", "all", "random", "none", "auto", "default"];
