//! The places that the credentials of `server.auth` come from, for a proxy that does not accept them.

use std::fmt;

use crate::config::{Credential, CredentialSource, Place};

/// The places that the credentials come from. Completes a sentence about credentials that are not accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct AuthOrigins {
    /// Each credential with its place, in words.
    found: Vec<String>,
    /// The variables that have a part in them.
    variables: Vec<String>,
    /// Whether one of them comes from a file.
    has_files: bool,
}

impl AuthOrigins {
    /// Returns the places of `credentials`. `places` has those that are written out, by their keys.
    pub(super) fn new(credentials: &[Credential], places: &[(String, Place)]) -> Self {
        let mut origins = Self::default();
        for Credential { setting, origin } in credentials {
            let words = match origin {
                CredentialSource::Variables(names) => {
                    origins.variables.extend(names.iter().map(|name| format!("`{name}`")));
                    let noun = if names.len() == 1 { "the variable" } else { "the variables" };
                    format!("`{setting}` from {noun} `{}`", names.join("` and `"))
                }
                CredentialSource::File(file) => {
                    origins.has_files = true;
                    format!("`{setting}` from the file {file}")
                }
                CredentialSource::Written => {
                    origins.has_files = true;
                    match places.iter().find(|(key, _)| key == setting) {
                        Some((_, place)) => format!("`{setting}` as written at {place}"),
                        None => format!("`{setting}` as written"),
                    }
                }
            };
            origins.found.push(words);
        }
        origins.variables.sort();
        origins.variables.dedup();
        origins
    }
}

impl fmt::Display for AuthOrigins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { found, variables, has_files } = self;
        if !found.is_empty() {
            write!(f, ": {}", found.join(", "))?;
        }
        if !variables.is_empty() {
            let them = if variables.len() == 1 { "it" } else { "them" };
            write!(
                f,
                ". The proxy was started with another value of {}: set {them} to that in this terminal, or start the proxy again",
                variables.join(" or ")
            )?;
        }
        if *has_files || found.is_empty() {
            f.write_str(
                ". If the files have changed, run `mooltiroute reload`, which says why if the proxy does not take them",
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_is_named_with_what_to_do() {
        let credential = |setting: &str, origin| Credential { setting: setting.to_owned(), origin };
        let variable = |name: &str| CredentialSource::Variables(vec![name.to_owned()]);
        let place = Place { file: "10-server.yaml".into(), line: 3, column: 5 };
        let words = |credentials: &[Credential]| {
            let places = [("username".to_owned(), place.clone())];
            AuthOrigins::new(credentials, &places).to_string()
        };
        let both = [credential("username", variable("U")), credential("password", variable("P"))];
        assert_eq!(
            words(&both),
            ": `username` from the variable `U`, `password` from the variable `P`. The proxy was started with another value of \
             `P` or `U`: set them to that in this terminal, or start the proxy again"
        );
        let mixed = [
            credential("username", CredentialSource::Written),
            credential("password", CredentialSource::File("/run/pw".to_owned())),
        ];
        assert_eq!(
            words(&mixed),
            ": `username` as written at 10-server.yaml:3:5, `password` from the file /run/pw. If the files have changed, run \
             `mooltiroute reload`, which says why if the proxy does not take them"
        );
        let one = words(&[credential("password", variable("P"))]);
        assert!(
            one.contains("another value of `P`: set it to that") && !one.contains("reload"),
            "{one}"
        );
    }
}
