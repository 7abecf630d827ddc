//! Describes problems with parts of the tree to an operator.

use mooltiroute_hops::{Fault, InvalidSetting, Key, KeyPath};
use serde_yaml::Value;

use crate::config::yaml::tree::{File, Part, Problem, Tree, is_public_key};
use crate::config::{
    Credential, Place,
    report::{
        foreign_variable,
        known_keys::{key_without_colon, space_after_colon},
        problem::{is_host_pattern, is_name, is_word},
        suggest::{nearest, same_name},
    },
    yaml::{interpolate::Invalid, suspicious_value::look_alike},
};

impl Tree {
    /// Returns the text at `path` if it may be shown: no variable had a part in it, and no alias stands for it.
    pub(in crate::config) fn shown(&self, path: &KeyPath) -> Option<&str> {
        let text = self.value(path)?.as_str()?;
        (is_name(text) && !self.is_hidden(path)).then_some(text)
    }

    /// Returns whether the text at `path` could be the end of a secret.
    pub(super) fn hides(&self, path: &KeyPath) -> bool {
        let path = &*self.written(path);
        self.file_of(path).is_some_and(|file| file.hides(path))
    }

    /// Builds a problem with `part` of the setting at `path`.
    pub(in crate::config) fn problem(
        &self,
        path: &KeyPath,
        part: Part,
        code: &'static str,
        message: impl Into<String>,
    ) -> Problem {
        let message = message.into();
        // No file has this value, so none is named: the line in the file may even be correct.
        if let Some(option) = self.option(path) {
            let message = format!("{option}: {}", sentence("the value", message));
            return Problem::new(&KeyPath::default(), code, message);
        }
        let subject = match path.keys().last() {
            None => return Problem::new(path, code, message),
            Some(Key::Name(name)) if is_name(name) => format!("`{name}`"),
            Some(Key::Name(_)) => "this setting".to_owned(),
            Some(Key::Index(_)) => "this entry".to_owned(),
        };
        let problem = Problem::new(path, code, sentence(&subject, message));
        let path = &*self.written(path);
        match self.file_of(path).and_then(|file| file.locate(path, part)) {
            Some((place, excerpt)) => {
                // If two files have the key, the mistake may be just that, so the first one is shown too.
                let whole = |file: &&File| file.depth(path) == Some(path.keys().len());
                let first = self.files.iter().find(whole).and_then(|file| file.place(path, part));
                let first = first.filter(|first| first.file != place.file);
                Problem { place: Some(place), excerpt, first, ..problem }
            }
            None => problem,
        }
    }

    /// Returns the option of the command line that sets the value at `path`, or a value above it.
    fn option(&self, path: &KeyPath) -> Option<&'static str> {
        let mut overridden = self.overridden.iter();
        overridden.find_map(|(above, option)| path.below(above).map(|_| *option))
    }

    /// Returns the place of `path`, or of what is nearest above it.
    pub(in crate::config) fn place(&self, path: &KeyPath, part: Part) -> Option<Place> {
        let path = &*self.written(path);
        self.file_of(path)?.place(path, part)
    }

    /// Returns the file with the longest part of `path`, the last one of equals: its value is in force.
    pub(super) fn file_of(&self, path: &KeyPath) -> Option<&File> {
        self.files.iter().max_by_key(|file| file.depth(path))
    }

    /// Describes an invalid setting below `above`.
    pub(in crate::config) fn invalid(&self, above: &KeyPath, invalid: &InvalidSetting) -> Problem {
        self.with_keys_of_other_files(above, self.described(above, invalid))
    }

    /// Adds the places of the keys beside the setting of `problem` that are in other files and may be its cause: all those of
    /// later files, and those of earlier ones that the problem depends on.
    fn with_keys_of_other_files(&self, above: &KeyPath, mut problem: Problem) -> Problem {
        let Some(place) = &problem.place else { return problem };
        let number = |file: &str| self.files.iter().position(|one| **one.name() == *file);
        let depends_on_kind = ["unknown-key", "missing-key"].contains(&problem.code);
        // The names are those of one mapping that is written in several files.
        for name in self.names(above).unwrap_or_default() {
            let path = above.clone().then(Key::Name(name.clone()));
            let Some(of) = self.place(&path, Part::Key).filter(|of| of.file != place.file) else {
                continue;
            };
            let is_kind = name == "kind";
            if !is_word(&name) || (!is_kind && COMMON_KEYS.contains(&&*name)) {
                continue;
            }
            let is_later = number(&of.file) > number(&place.file);
            let is_named = problem.message.contains(&format!("`{name}`"));
            if is_later || is_named || (is_kind && depends_on_kind) {
                let value = self.shown(&path).filter(|_| is_kind).map(|kind| format!(": {kind}"));
                let value = value.unwrap_or_default();
                problem.details.push(format!("`{name}{value}` comes from {of}"));
            }
        }
        problem
    }

    fn described(&self, above: &KeyPath, invalid: &InvalidSetting) -> Problem {
        let path = above.clone().join(invalid.path());
        let (part, code, message, suggestion) = match invalid.fault() {
            Fault::UnknownKey { known } => {
                // The kind names only its own keys. The common ones were taken out before it read the
                // settings.
                let is_hop = above.keys().len() == 2
                    && above.below(&KeyPath::of(["hops"])).is_some()
                    && invalid.path().keys().len() == 1;
                let common: &[&str] = if is_hop { &COMMON_KEYS } else { &[] };
                return self.unknown_key(&path, &[common, known].concat());
            }
            Fault::UnknownValue { known } => {
                let text = self.value(&path).and_then(Value::as_str);
                let word = self.shown(&path).filter(|text| is_word(text));
                let word = word.or_else(|| self.word_without_credential(&path));
                let suggestion = text
                    .and_then(|text| same_name(text, known))
                    .or_else(|| nearest(word?, known.iter().copied()));
                // People also write a password as `auth`. Elsewhere, one would nearly always have a digit.
                let is_auth = path.keys().iter().any(|key| *key == Key::Name("auth".into()));
                let written = word.filter(|_| suggestion.is_some() || !is_auth);
                let message = match written {
                    Some(text) => {
                        format!("unknown value `{text}`; known values: {}", known.join(", "))
                    }
                    None => format!("unknown value; known values: {}", known.join(", ")),
                };
                (Part::Value, "unknown-value", message, suggestion)
            }
            Fault::MissingKey(key) => {
                let below = path.clone().then(Key::Name((*key).to_owned()));
                // The key is written, and its value is not there.
                if let Some(Value::Null) = self.value(&below) {
                    let problem = self.problem(&below, Part::Key, "missing-key", "has no value");
                    let help = self.swallowed(&below).unwrap_or("write one after the colon");
                    return problem.with_help(help);
                }
                (Part::Key, "missing-key", format!("the key `{key}` is missing"), None)
            }
            Fault::Key(about) => {
                let key = path.keys().last().and_then(Key::name).unwrap_or_default();
                let shown =
                    if is_host_pattern(key) { format!("`{key}`") } else { "the key".into() };
                (Part::Key, "value", format!("{shown} {about}"), None)
            }
            Fault::WrongType { .. } => (Part::Value, "type", invalid.to_string(), None),
            Fault::File(about) => {
                (Part::Value, "value", format!("{} {about}", self.file_in_words(&path)), None)
            }
            // With a tag and nothing after it, "remove the tag" would leave nothing.
            _ if self.swallowed(&path).is_some() && self.is_tagged(&path) => {
                (Part::Value, "value", "has no value, only a YAML tag".to_owned(), None)
            }
            _ => (Part::Value, "value", invalid.to_string(), None),
        };
        // A near name is more likely than any other advice.
        let problem = self.problem(&path, part, code, message);
        let of_variables = (part == Part::Value).then(|| self.variables(&path)).and_then(origin);
        let details = invalid.details().iter().cloned().chain(of_variables).collect();
        let problem = Problem { details, ..problem };
        match (suggestion, invalid.help()) {
            // The kind knows more than what is written tells.
            (None, Some(help)) => problem.with_help(help),
            (None, None) => Problem { help: self.advice(&path, invalid.fault()), ..problem },
            (near, _) => problem.with_suggestion(near),
        }
    }

    /// Builds the problem that the key at `path` is not in `known`. The key is shown only if it is near one of them or
    /// is a plain word.
    pub(in crate::config) fn unknown_key(&self, path: &KeyPath, known: &[&str]) -> Problem {
        let name = match path.keys().last() {
            Some(Key::Name(name)) => name.as_str(),
            _ => "",
        };
        let message = format!("unknown key; known keys: {}", known.join(", "));
        let mut problem = self.problem(path, Part::Key, "unknown-key", message);
        let near = nearest(name, known.iter().copied());
        // A line that begins with a no-break space has a key that looks like a known one.
        let odd = look_alike(name).map(|(what, help)| format!("the key has {what}; {help}"));
        let joined =
            key_without_colon(name).map(|key| format!("write a colon and a space after `{key}`"));
        let spaced = space_after_colon(name, known);
        problem = match odd.or(spaced).or(joined).or_else(|| self.advice_on_key(path, known)) {
            Some(help) => problem.with_help(help),
            None => problem.with_suggestion(near),
        };
        // In `{ password: a,b }` the second half of the password has become a key without a value, so such a
        // key is never shown.
        let is_cut_off = self.value(path).is_none_or(Value::is_null);
        // The name of a key of some program is not a secret wherever it is. Any other text is shown only if it can't be
        // the end of one.
        let is_shown =
            is_public_key(name) || ((near.is_some() || is_word(name)) && !self.hides(path));
        if is_cut_off || !is_shown {
            let above = path.keys()[..path.keys().len() - 1].to_vec();
            problem.path = KeyPath::from(above).then(Key::Name("…".into()));
        }
        if is_cut_off {
            problem
                .help
                .get_or_insert_with(|| "write a text with a comma or a colon in quotes".into());
        }
        problem
    }

    /// Builds the problem that a variable can't be put in at `path`.
    pub(in crate::config) fn invalid_variable(&self, path: &KeyPath, invalid: &Invalid) -> Problem {
        let problem = self.problem(path, Part::Value, "variable", invalid.to_string());
        match invalid {
            Invalid::Unset(names) => {
                let name = names.first().map_or("NAME", String::as_str);
                // A default of a credential would be a credential in the file.
                let key = path.last_name().unwrap_or_default();
                let is_part = self.value(path).and_then(Value::as_str).is_some_and(|text| {
                    text.trim() != format!("${{{name}}}")
                });
                let places = self.places_of_template(path, names);
                // A shell also shows variables that it does not export, so the advice says how to export one.
                let advice = |rest: &str| {
                    format!("set it where the program is started{rest}{}", exported(names))
                };
                problem.with_help(if let Some(help) = places {
                    help
                } else if name == "CREDENTIALS_DIRECTORY" {
                    "systemd sets it for a service that has `LoadCredential=`; for `check` in a shell, set it to a directory that \
                     has such a file"
                        .to_owned()
                } else if key.ends_with("_file") || (is_part && ["file", "ca", "keytab"].contains(&key)) {
                    advice("; `check` reads the file too, so it needs the same value")
                } else if Credential::is_secret(key) {
                    advice("; for `check` alone, any value will do")
                } else {
                    advice(&format!(", or write `${{{name}:-default}}`"))
                })
            }
            Invalid::Unclosed => problem.with_help(
                "write `}` after the name, as in `\"${NAME}\"`; a `${` that is not a variable is written `$${`",
            ),
            Invalid::Name => {
                let text = self.value(path).and_then(Value::as_str).unwrap_or_default();
                let instead = foreign_variable::in_dollar_braces(text);
                problem.with_help(format!(
                    "{instead}; a `${{` that is not a variable is written `$${{`"
                ))
            }
            Invalid::Encrypted(encryption) => problem.with_help(encryption.help()),
            Invalid::NotUnicode(_) | Invalid::TooLong | Invalid::TooMuch => problem,
        }
    }
}

impl Tree {
    /// Returns what to write if some of the variables `names` at `path` are places of a template of `kind: rotating`, which
    /// have no `$`.
    fn places_of_template(&self, path: &KeyPath, names: &[String]) -> Option<String> {
        let keys = path.keys();
        let of_hop = match keys {
            [of_hop @ .., Key::Name(headers), _] if headers == "headers" => of_hop,
            [of_hop @ .., Key::Name(key)] if ["username", "password"].contains(&&**key) => of_hop,
            _ => return None,
        };
        let kind = KeyPath::from(of_hop.to_vec()).then(Key::Name("kind".into()));
        if self.value(&kind).and_then(Value::as_str) != Some("rotating") {
            return None;
        }
        let is_place = |name: &&String| TEMPLATE_PLACES.contains(&&***name);
        let (places, others): (Vec<_>, Vec<_>) = names.iter().partition(is_place);
        let others: Vec<String> = others.into_iter().cloned().collect();
        let places: Vec<_> = places.iter().map(|name| format!("`{{{name}}}`")).collect();
        let help = match &*places {
            [] => return None,
            places => format!("in a template write {}, without `$`", places.join(" and ")),
        };
        Some(match others.first() {
            Some(name) => {
                let exported = exported(&others);
                format!("{help}; set `{name}` where the program is started{exported}")
            }
            None => help,
        })
    }
}

/// Returns what to add to the advice to set the variables `names`: a shell shows a variable that the program does not get.
#[cfg(not(windows))]
fn exported(names: &[String]) -> String {
    let set: String = names.iter().map(|name| format!(" {name}=…")).collect();
    format!(
        "; in a shell, write `export{set}`, since a variable that is not exported is not seen, and a `.env` file is not read"
    )
}

#[cfg(windows)]
fn exported(_: &[String]) -> String {
    String::new()
}

/// The names of the places that the templates of `kind: rotating` have.
const TEMPLATE_PLACES: [&str; 7] = ["user", "pass", "country", "COUNTRY", "city", "session", "ttl"];

/// Says that a value comes from `variables`, if there are any. The line that is shown has only their names.
fn origin(variables: &[String]) -> Option<String> {
    let names: Vec<_> = variables.iter().map(|name| format!("`{name}`")).collect();
    match names.len() {
        0 => None,
        1 => Some(format!("the value comes from the variable {}", names.concat())),
        _ => Some(format!("the value comes from the variables {}", names.join(" and "))),
    }
}

/// Puts `subject` before a clause without one, such as "is empty".
///
/// Hops and settings report their faults as clauses about a setting, whose name they may not know. A clause that has a
/// subject of its own stays as it is.
fn sentence(subject: &str, clause: String) -> String {
    let verb = clause.split(' ').next().unwrap_or_default();
    match VERBS.contains(&verb) {
        true => format!("{subject} {clause}"),
        false => clause,
    }
}

/// The words with which a clause without a subject begins.
const VERBS: [&str; 11] =
    ["is", "has", "must", "needs", "names", "can't", "may", "lists", "begins", "ends", "holds"];

/// The keys that every hop has. Its kind knows the rest.
pub(in crate::config) const COMMON_KEYS: [&str; 5] =
    ["kind", "enabled", "on_leave", "budget", "rotate_after"];
