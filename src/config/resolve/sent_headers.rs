//! Warns of credentials among the header fields that a hop is sent.

use mooltiroute_hops::{Key, KeyPath};
use serde_yaml::Value;

use crate::config::resolve::{Part, Resolver};
use crate::config::{Credential, report::problem::is_name};

impl Resolver<'_> {
    /// Warns of each of the `headers` of the hop `name` that is meant for the target, or that has a secret written out.
    pub(super) fn warn_of_sent_headers(&mut self, name: &str) {
        let headers = KeyPath::of(["hops", name, "headers"]);
        for field in self.tree.names(&headers).unwrap_or_default() {
            let place = headers.clone().then(Key::Name(field.clone()));
            let is_for_target = is_of_target(&field);
            if is_for_target && is_name(name) && !self.warnings.skips() {
                let message = format!(
                    "goes to `{name}`, not to the target; the target's credentials are the client's to send"
                );
                let problem = self.tree.problem(&place, Part::Key, "header-of-target", message);
                let help = "remove it here and have the client send it, unless this hop itself asks for it";
                self.warnings.push(problem.with_help(help));
            }
            let Some(Value::String(text)) = self.tree.value(&place) else { continue };
            let is_written = self.tree.variables(&place).is_empty()
                && !text.is_empty()
                && !Credential::is_template(text);
            if is_written
                && (is_for_target || is_secret(&field))
                && !self.is_in_private_file(&place)
                && !self.warnings.skips()
            {
                let message = "this secret is written in the file, where others may read it";
                let problem = self.tree.problem(&place, Part::Value, "written-secret", message);
                let field = if is_name(&field) { &*field } else { "NAME" };
                let help = format!("take it from a variable, as in `{field}: \"${{NAME}}\"`");
                self.warnings.push(problem.with_help(help));
            }
        }
    }
}

/// Returns whether servers of the web and of APIs are sent credentials in the field `name`.
fn is_of_target(name: &str) -> bool {
    ["Authorization", "Cookie", "X-Api-Key", "Api-Key", "ApiKey"]
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known))
}

/// Returns whether the field `name` has a secret by its name.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["authorization", "key", "token", "secret", "password", "auth"].iter().any(|end| {
        name.strip_suffix(end).is_some_and(|start| start.is_empty() || start.ends_with(['-', '_']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_with_secrets_are_known_by_their_names() {
        for name in ["X-Provider-Token", "token", "Proxy-Authorization", "X-Key", "x-auth"] {
            assert!(is_secret(name) && !is_of_target(name), "{name}");
        }
        for name in ["X-Session", "X-Country", "Monkey", "User-Agent"] {
            assert!(!is_secret(name) && !is_of_target(name), "{name}");
        }
        for name in ["authorization", "COOKIE", "X-API-Key"] {
            assert!(is_of_target(name), "{name}");
        }
    }
}
