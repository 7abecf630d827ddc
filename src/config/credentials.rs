//! Lists the credentials of a configuration by their sources, never by their values.

use std::fmt;

/// A setting that is a credential or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The setting's key, such as `password`.
    pub setting: String,
    /// The source of its value.
    pub origin: CredentialSource,
}

/// The source of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialSource {
    /// These environment variables.
    Variables(Vec<String>),
    /// The content of this file.
    File(String),
    /// The configuration itself.
    Written,
}

impl Credential {
    /// Returns whether the setting `key` counts as a credential. A name decides, since kinds may have any settings.
    pub(crate) fn is_named_so(key: &str) -> bool {
        ["user", "username"].contains(&key) || Self::is_secret(key)
    }

    /// Returns whether `text` is a template that takes a credential from another setting, as in `kind: rotating`.
    pub(crate) fn is_template(text: &str) -> bool {
        text.contains("{user}") || text.contains("{pass}")
    }

    /// Returns whether the value of `key` should not be written in a configuration file.
    pub(crate) fn is_secret(key: &str) -> bool {
        let key = key.strip_suffix("_file").unwrap_or(key);
        // `pass` must be the complete name, since words such as `bypass` end with it.
        ["pass", "nt_hash"].contains(&key)
            || ["password", "passphrase", "secret", "token", "api_key"]
                .iter()
                .any(|end| key.ends_with(end))
    }
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let setting = &self.setting;
        match &self.origin {
            CredentialSource::Variables(names) => {
                write!(f, "{setting} from ${}", names.join(" and $"))
            }
            CredentialSource::File(path) => write!(f, "{setting} from the file {path}"),
            CredentialSource::Written => write!(f, "{setting} as written"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_no_secret_and_what_it_takes_is() {
        assert!(Credential::is_template("{pass}[_country-{country}]"));
        assert!(!Credential::is_template("{}pass"));
        for key in ["pass", "nt_hash", "password", "password_file", "api_key"] {
            assert!(Credential::is_secret(key), "{key}");
        }
        assert!(!Credential::is_secret("bypass") && !Credential::is_secret("user"));
        assert!(Credential::is_named_so("user"));
    }
}
