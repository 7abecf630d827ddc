//! Lists the credentials of a hop or of the listeners by their sources.

use std::path::Path;

use mooltiroute_hops::{
    Key, KeyPath, Secret,
    credentials::{doubtful, is_encoded_for_url, is_template},
};
use serde_yaml::Value;

use crate::config::resolve::{Part, Resolver};
use crate::config::{
    Credential, CredentialSource,
    report::{
        file_access::{give_instead, is_private, mode_for_all},
        foreign_variable,
    },
};

impl Resolver<'_> {
    /// Returns the credentials in the mapping at `path`. Warns of each that is written out, that others may read or that
    /// looks damaged. If they are needed, a variable that is set and empty is a problem.
    pub(crate) fn credentials(&mut self, path: &KeyPath, are_needed: bool) -> Vec<Credential> {
        let mut names = self.tree.names(path).unwrap_or_default();
        names.retain(|name| Credential::is_named_so(name));
        let mut credentials = Vec::new();
        self.warn_of_readers_of_keytab(path);
        for name in names {
            let place = path.clone().then(Key::Name(name.clone()));
            let Some(Value::String(text)) = self.tree.value(&place).cloned() else { continue };
            let text = Secret::new(text);
            let text = text.expose();
            self.warn_of_template(path, &name, text);
            let variables = self.tree.variables(&place);
            // `kind: rotating` takes templates such as `{pass}`, which hold no credential themselves.
            let may_be_template = !["http-connect", "socks5", "webshare"]
                .contains(&self.kind_at(path).unwrap_or_default());
            if may_be_template && variables.is_empty() && Credential::is_template(text) {
                continue;
            }
            let (setting, origin) = match name.strip_suffix("_file") {
                Some(setting) => (setting, CredentialSource::File(text.to_owned())),
                None if !variables.is_empty() => {
                    (&*name, CredentialSource::Variables(variables.to_vec()))
                }
                None => (&*name, CredentialSource::Written),
            };
            match &origin {
                CredentialSource::Variables(names) => {
                    self.check_variables(&place, names, are_needed);
                }
                CredentialSource::File(file) => {
                    let file = self.context().directory().join(file);
                    self.warn_of_readers(&place, &file);
                }
                CredentialSource::Written => {}
            }
            // `$NAME` and `%NAME%` are expanded by shells but not here, so the hop would send the name of the
            // variable. This warning takes the place of the one about a written secret, which would be beside
            // the point.
            if origin == CredentialSource::Written
                && let Some(help) = foreign_variable::instead(&name, text)
                && !self.warnings.skips()
            {
                let what = if foreign_variable::is_command(text) { "command" } else { "variable" };
                let message = format!("this looks like a {what}, and is taken as it is written");
                let problem = self.tree.problem(&place, Part::Value, "no-variable", message);
                self.warnings.push(problem.with_help(help));
                credentials.push(Credential { setting: setting.to_owned(), origin });
                continue;
            }
            // With `auth`, the hop warns of two backslashes itself, in the words of NTLM.
            let auth = path.clone().then(Key::Name("auth".into()));
            let is_checked = text.contains("\\\\") && self.tree.value(&auth).is_some();
            // The username of `kind: rotating` is a template, which has a check of its own.
            let is_template = self.kind_at(path) == Some("rotating");
            if origin == CredentialSource::Written
                && !is_template
                && !is_checked
                && let Some((message, help)) = written_doubt(&name, text)
                && !self.warnings.skips()
            {
                let problem = self.tree.problem(&place, Part::Value, "odd-credential", message);
                self.warnings.push(problem.with_help(help));
            }
            let is_exposed = origin == CredentialSource::Written
                && !text.is_empty()
                && Credential::is_secret(setting)
                && !self.is_in_private_file(&place);
            credentials.push(Credential { setting: setting.to_owned(), origin });
            if is_exposed && !self.warnings.skips() {
                let message = "this secret is written in the file, where others may read it";
                let problem = self.tree.problem(&place, Part::Value, "written-secret", message);
                let mut help = format!("take it from a variable, as in `{name}: \"${{NAME}}\"`");
                // There is no `nt_hash_file`.
                if ["password", "pass"].contains(&&*name) {
                    help += &format!(", or from a file of its own, as in `{name}_file: PATH`");
                }
                self.warnings.push(problem.with_help(help));
            }
        }
        credentials
    }

    /// Warns if the username `text` of the hop at `path`, the value of `key`, is a template that its kind does not fill in.
    fn warn_of_template(&mut self, path: &KeyPath, key: &str, text: &str) {
        let is_plain = matches!(self.kind_at(path), Some("http-connect" | "socks5"));
        if !is_plain || key != "username" || !is_template(text) || self.warnings.skips() {
            return;
        }
        let place = path.clone().then(Key::Name(key.to_owned()));
        let message = "this looks like a template, and is sent as it is written";
        let problem = self.tree.problem(&place, Part::Value, "odd-credential", message);
        let help = "templates belong to `kind: rotating`; write the username itself, or that kind";
        self.warnings.push(problem.with_help(help));
    }

    /// Returns the kind that is written for the hop at `path`.
    fn kind_at(&self, path: &KeyPath) -> Option<&str> {
        self.tree.value(&path.clone().then(Key::Name("kind".into())))?.as_str()
    }

    /// Checks a credential at `place` that came from the variables `names`.
    fn check_variables(&mut self, place: &KeyPath, names: &[String], is_needed: bool) {
        let Some(Value::String(text)) = self.tree.value(place) else { return };
        let is_empty =
            |name: &String| self.environment.variable(name).is_some_and(|value| value.is_empty());
        if text.is_empty()
            && let Some(name) = names.iter().find(|name| is_empty(name))
        {
            let message = format!("the variable `{name}` is set, but empty");
            let problem = self.tree.problem(place, Part::Value, "variable", message);
            let problem = problem.with_help("set it to a value where the program is started");
            // Its consequences are not problems of their own.
            if is_needed && self.failed.insert(place.clone()) && !self.problems.skips() {
                self.problems.push(problem);
            } else if !is_needed && !self.warnings.skips() {
                self.warnings.push(problem);
            }
        } else if let Some(doubt) = doubtful(text).filter(|_| !self.failed.contains(place))
            && !self.warnings.skips()
        {
            let message = format!("the value of `${{{}}}` {doubt}", names.join("}` and `${"));
            let problem = self.tree.problem(place, Part::Value, "odd-credential", message);
            self.warnings.push(problem);
        }
    }

    /// Warns if others may read the keytab of the hop at `path`. It is as good as a password.
    fn warn_of_readers_of_keytab(&mut self, path: &KeyPath) {
        let place =
            path.clone().then(Key::Name("kerberos".into())).then(Key::Name("keytab".into()));
        if let Some(Value::String(file)) = self.tree.value(&place) {
            let file = self.context().directory().join(file);
            self.warn_of_readers(&place, &file);
        }
    }

    /// Warns if every user of this machine can read the secret in `file`, which the setting at `place` names.
    pub(super) fn warn_of_readers(&mut self, place: &KeyPath, file: &Path) {
        if !self.environment.checks_permissions() || self.warnings.skips() {
            return;
        }
        let Some(mode) = mode_for_all(file) else { return };
        let message =
            format!("every user of this machine can read this file: its permissions are {mode}");
        let problem = self.tree.problem(place, Part::Value, "readable-secret", message);
        // Without another right first, this program could no longer read it.
        let help = give_instead(file)
            .unwrap_or_else(|| "remove the permission of others with `chmod o-r FILE`".to_owned());
        self.warnings.push(problem.with_help(help));
    }

    /// Returns whether the value at `place` is in a file that only its owner can read.
    pub(super) fn is_in_private_file(&self, place: &KeyPath) -> bool {
        let place = self.tree.place(place, Part::Value);
        self.environment.checks_permissions()
            && place.is_some_and(|place| is_private(Path::new(&*place.file)))
    }
}

/// Returns a warning about the credential `text`, the value of `key`, and its advice, if it is probably a mistake.
fn written_doubt(key: &str, text: &str) -> Option<(&'static str, &'static str)> {
    let is_secret = Credential::is_secret(key);
    if text.is_empty() {
        return is_secret.then_some((
            "is empty, so the proxy gets a username without a password",
            "write it, as in `password: \"${NAME}\"`; a proxy without a login needs neither `username` nor `password`",
        ));
    }
    if text.trim() != text {
        return Some((
            "begins or ends with a blank, which is sent as a part of it",
            "remove the blank if it is not meant",
        ));
    }
    if is_encoded_for_url(text) {
        return Some((
            "is encoded as in a URL, and is sent as it is: in a URL `%40` stands for `@`, here it does not",
            "if it was copied from a URL, write the characters themselves",
        ));
    }
    if is_secret {
        let help = match key {
            "password" => "for the content of a file, write `password_file: FILE`",
            "pass" => "for the content of a file, write `pass_file: FILE`",
            _ => return None,
        };
        let message = "this looks like the name of a file, and is sent as it is written";
        return text.starts_with("file:").then_some((message, help));
    }
    if foreign_variable::is_inside(text) {
        return Some((
            "this looks like a text with a variable, and is taken as it is written",
            "write each variable as `${NAME}`, as in `username: \"CORP\\\\${NAME}\"`",
        ));
    }
    let (domain, name) = text.split_once('\\')?;
    if name.is_empty() {
        return Some((
            "ends with `\\`, so it has a domain and no name",
            "write `'DOMAIN\\NAME'`, or the name alone",
        ));
    }
    if name.starts_with('\\') {
        return Some((
            "has two backslashes, and both are sent",
            "write one: in single quotes and without quotes `\\` is an ordinary character",
        ));
    }
    if !domain.is_empty() && name.contains('@') {
        return Some((
            "has a domain before the name and another one after it",
            "write one of the two: `'DOMAIN\\NAME'` or `NAME@REALM`",
        ));
    }
    let is_example = ["DOMAIN", "CORP", "MYDOMAIN"].contains(&domain)
        && ["NAME", "USER", "USERNAME", "user", "username", "LOGIN"].contains(&name);
    is_example.then_some((
        "this is the placeholder of an example",
        "write the name of the domain and of the account in its place",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_credentials_are_found_and_ordinary_ones_are_not() {
        let is_odd = |key: &str, text: &str| written_doubt(key, text).is_some();
        for text in [
            "acme ",
            "\u{a0}acme",
            "%USERDOMAIN%\\%USERNAME%",
            "CORP\\$USER",
            "CORP\\jdoe@CORP.TEST",
            "jdoe\\",
            "CORP\\\\jdoe",
            "DOMAIN\\NAME",
            "jdoe%40CORP.TEST",
        ] {
            assert!(is_odd("username", text), "{text}");
        }
        for text in
            ["acme", "CORP\\jdoe", "jdoe@CORP.TEST", "USER", "100%", "a$b", "a%b%", ".\\jdoe"]
        {
            assert!(!is_odd("username", text), "{text}");
        }
        for (text, expected) in [
            ("", true),
            (" x", true),
            ("x\t", true),
            ("file:/run/pw", true),
            ("x y", false),
            ("x\\", false),
            ("a$USER", false),
            ("%AB%cd", false),
            ("x%40y%3A", true),
            ("x%40y@", false),
        ] {
            assert_eq!(is_odd("password", text), expected, "{text}");
        }
        assert!(!is_odd("username", ""));
    }
}
