//! Problems of hops that the command line names, in terms of their URLs.
//!
//! The URLs become the text of a configuration, which is checked like any other. The operator never sees that text, so
//! its lines, columns and keys would mean nothing to them. A problem names the URL and the part of it instead.

use mooltiroute_hops::Key;

use super::ordinal;
use crate::config::Problem;

/// Puts `problem` with the text that URLs mean into terms of the URLs.
pub(crate) fn in_terms_of_urls(problem: Problem, text: &str) -> Problem {
    let Problem { place: Some(place), path, code, message, help, is_suggestion, .. } = &problem
    else {
        return problem;
    };
    let [Key::Name(section), Key::Name(name), below @ ..] = path.keys() else { return problem };
    if section != "hops" {
        return problem;
    }
    let position = text.lines().take(place.line).filter(is_name).count().saturating_sub(1);
    let key = match below.first() {
        Some(Key::Name(key)) => Some(key.as_str()),
        _ => None,
    };
    let part = UrlPart::of(key);
    // The text has a variable for each credential of the URL, whose name would mean nothing.
    let message = if *code == "variable" { "it is empty" } else { message };
    let message = format!("--hop: {}{}: {message}", ordinal(position), part.described(key));
    let example = match scheme(name) {
        kind @ ("pac" | "pool") => format!(
            "a hop of `kind: {kind}` names other hops, which a URL can't: write a configuration, and name it with `-c FILE`"
        ),
        // A session is added to the username, and the username of an earlier URL may have one already.
        "webshare" if matches!(part, UrlPart::Credentials) && text.contains("    sessions:") => {
            "write the username without a `-` and what follows it, as in `webshare://USERNAME:PASSWORD@HOST:PORT?sessions=by-client`"
                .to_owned()
        }
        scheme @ ("webshare" | "rotating") if matches!(key, Some("session" | "sessions")) => {
            session_example(scheme).to_owned()
        }
        scheme => part.example(scheme, key),
    };
    // A suggested name fits a URL too. Any other advice shows YAML, so an example URL replaces it.
    let help = match help {
        Some(help) if *is_suggestion => help.clone(),
        _ => example,
    };
    Problem::new(&mooltiroute_hops::KeyPath::default(), code, message).with_help(help)
}

/// Names the URL that the hop `name` comes from. `text` is the configuration that the URLs mean.
pub(crate) fn url_in_words(name: &str, text: &str) -> String {
    let mut names = text.lines().take_while(|line| !line.starts_with("chains:")).filter(is_name);
    let is_this = |line: &str| line.trim().strip_suffix(':') == Some(name);
    match (names.clone().count(), names.position(is_this)) {
        (2.., Some(position)) => format!("{} of `--hop`", ordinal(position)),
        _ => "the URL of `--hop`".to_owned(),
    }
}

/// Returns whether `line` has the name of a hop. Each hop has one such line, and those lines alone are indented by two.
fn is_name(line: &&str) -> bool {
    line.starts_with("  ") && !line.starts_with("   ")
}

/// The part of a URL that a setting is written in.
enum UrlPart {
    Address,
    Credentials,
    Setting,
    All,
}

impl UrlPart {
    fn of(key: Option<&str>) -> Self {
        match key {
            None => Self::All,
            Some("address") => Self::Address,
            Some("username" | "user" | "password" | "pass") => Self::Credentials,
            Some(_) => Self::Setting,
        }
    }

    fn described(&self, key: Option<&str>) -> String {
        match self {
            Self::All => String::new(),
            Self::Address => ", its host and port".to_owned(),
            Self::Credentials => ", its username and password".to_owned(),
            Self::Setting => format!(", `{}` after the `?`", key.unwrap_or_default()),
        }
    }

    fn example(&self, scheme: &str, key: Option<&str>) -> String {
        match (self, key) {
            (Self::Address, _) => format!("write `{scheme}://HOST:PORT`"),
            (Self::All | Self::Credentials, _) => {
                format!("write `{scheme}://USERNAME:PASSWORD@HOST:PORT`")
            }
            (Self::Setting, Some("auth")) => {
                format!(
                    "write `{scheme}://USERNAME:PASSWORD@HOST:PORT?auth=ntlm`, or `?auth=[negotiate,ntlm]`"
                )
            }
            (Self::Setting, Some("tls")) => format!(
                "write `https://HOST:PORT`, or `{scheme}://HOST:PORT?tls=true`; an authority's file needs a configuration, which \
                 `mooltiroute check --hop URL` prints"
            ),
            (Self::Setting, _) => {
                format!("write settings as in `{scheme}://HOST:PORT?KEY=VALUE`")
            }
        }
    }
}

/// Returns how a URL names a session, or none.
fn session_example(scheme: &str) -> &'static str {
    match scheme {
        "webshare" => {
            "write `webshare://HOST:PORT?session=rotate` for a new exit each time, or a number as in `?session=1` to keep one"
        }
        _ => {
            "for a new exit each time, leave `session` and `sessions` out; to keep one, write the name of a session, as in \
             `rotating://HOST:PORT?session=abc`"
        }
    }
}

/// Returns the scheme of the hop `name`, which is its kind, perhaps with a number as in `socks5-2`.
fn scheme(name: &str) -> &str {
    let is_number = |end: &str| end.chars().all(|one| one.is_ascii_digit());
    let kind =
        name.rsplit_once('-').filter(|(_, end)| is_number(end)).map_or(name, |(kind, _)| kind);
    if kind == "http-connect" { "http" } else { kind }
}

#[cfg(test)]
mod tests {
    use mooltiroute_hops::kinds;

    use crate::config::{
        Environment, Loader, Overrides, Source,
        hop_url::{HopUrl, UrlChain},
    };

    /// Returns what loading these URLs says.
    fn told(urls: &[&str]) -> String {
        let urls: Vec<_> = urls.iter().map(|url| HopUrl::new(url)).collect();
        let UrlChain { yaml, variables, .. } = UrlChain::new(&urls, &kinds::builtin()).unwrap();
        let source = Source::CommandLine { text: yaml.into(), has_credentials: true };
        let environment = Environment::new(|_| None, "").with_variables(variables);
        let loader = Loader::new(source, Overrides::default(), kinds::builtin(), environment);
        loader.load().map_or_else(|problems| problems.to_string(), |_| "valid".to_owned())
    }

    #[test]
    fn a_problem_names_the_url_and_its_part() {
        let check = |urls: &[&str], expected: &str| {
            let told = told(urls);
            assert!(told.contains(expected), "{told}");
            assert!(!told.contains("hunter2") && !told.contains(" | "), "{told}");
        };
        check(
            &["webshare://joe:hunter2@a.test:80?sessions=rotate"],
            "help: write `webshare://HOST:PORT?session=rotate` for a new exit each time",
        );
        check(
            &["rotating://joe:hunter2@a.test:80?session=rotate"],
            "and not an order to change it\n  help: for a new exit each time, leave `session`",
        );
        check(
            &["http://a:1", "http://proxy"],
            "--hop: the second URL, its host and port: the port is missing",
        );
        check(&["socks5://a:1", "http://proxy"], "write `http://HOST:PORT`");
        check(&["http://acme@a:1"], "its username and password: `username` needs a `password`");
        check(&["http://acme:@a:1"], "its username and password: it is empty");
        check(
            &["webshare://acme-rotate:hunter2@p.webshare.io:80?sessions=by-client"],
            "as in `webshare://USERNAME:PASSWORD@HOST:PORT?sessions=by-client`",
        );
        check(&["http://joe:hunter2@a:1?auth=kerberos"], "help: did you mean `negotiate`?");
        check(&["http://a:1?auth=ntlm"], "`http://USERNAME:PASSWORD@HOST:PORT?auth=ntlm`");
        check(
            &["http://a:1?tls=hunter2.pem"],
            "--hop: the first URL, `tls` after the `?`: expected",
        );
        check(&["http://a:1?tsl=hunter2"], "help: did you mean `tls`?");
        check(&["http://a:1?color=hunter2"], "`color` after the `?`: unknown key");
        check(&["socks5://a:99999"], "write `socks5://HOST:PORT`");
        check(&["pac://proxy:80?url=http://a/p.pac"], "name it with `-c FILE`");
        check(&["pool://?members=[hunter2]"], "name it with `-c FILE`");
    }

    #[test]
    fn a_hop_knows_its_url() {
        let words = |urls: &[&str]| -> Vec<String> {
            let urls: Vec<_> = urls.iter().map(|url| HopUrl::new(url)).collect();
            let UrlChain { yaml, .. } = UrlChain::new(&urls, &kinds::builtin()).unwrap();
            let names = ["http-connect", "http-connect-2", "socks5"];
            names.iter().map(|name| super::url_in_words(name, &yaml)).collect()
        };
        assert_eq!(words(&["http://a:1"])[0], "the URL of `--hop`");
        let words = words(&["http://a:1", "socks5://b:2", "https://c:3"]);
        let ordinals = ["the first URL", "the third URL", "the second URL"];
        assert_eq!(words, ordinals.map(|url| format!("{url} of `--hop`")));
    }

    #[test]
    fn auth_is_a_scheme_or_a_list_of_them() {
        for auth in ["ntlm", "[ntlm]", "[ntlm,basic]", "basic"] {
            assert_eq!(told(&[&format!("http://joe:hunter2@a:1?auth={auth}")]), "valid", "{auth}");
        }
    }
}
