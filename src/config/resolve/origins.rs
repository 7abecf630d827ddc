//! Lists the credentials of a hop or of the listeners by their sources.

use mooltiroute_hops::{Key, KeyPath};
use serde_yaml::Value;

use crate::config::resolve::{Part, Resolver};
use crate::config::{Credential, CredentialSource, report::foreign_variable};

impl Resolver<'_> {
    /// Returns the credentials in the mapping at `path`. Warns of each that is written out.
    pub(crate) fn credentials(&mut self, path: &KeyPath) -> Vec<Credential> {
        let mut names = self.tree.names(path).unwrap_or_default();
        names.retain(|name| Credential::is_named_so(name));
        let mut credentials = Vec::new();
        for name in names {
            let place = path.clone().then(Key::Name(name.clone()));
            let Some(Value::String(text)) = self.tree.value(&place) else { continue };
            let variables = self.tree.variables(&place);
            // `kind: rotating` takes templates such as `{pass}`, which hold no credential themselves.
            if variables.is_empty() && Credential::is_template(text) {
                continue;
            }
            let (setting, origin) = match name.strip_suffix("_file") {
                Some(setting) => (setting, CredentialSource::File(text.clone())),
                None if !variables.is_empty() => {
                    (&*name, CredentialSource::Variables(variables.to_vec()))
                }
                None => (&*name, CredentialSource::Written),
            };
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
            let is_exposed = origin == CredentialSource::Written
                && !text.is_empty()
                && Credential::is_secret(setting);
            credentials.push(Credential { setting: setting.to_owned(), origin });
            if is_exposed && !self.warnings.skips() {
                let message = "this secret is written in the file, where others may read it";
                let problem = self.tree.problem(&place, Part::Value, "written-secret", message);
                let mut help = format!("take it from a variable, as in `{name}: \"${{NAME}}\"`");
                // There is no `pass_file`, since `pass` is a value of a template, and no `nt_hash_file`.
                if name == "password" {
                    help += &format!(", or from a file of its own, as in `{name}_file: PATH`");
                }
                self.warnings.push(problem.with_help(help));
            }
        }
        credentials
    }
}
