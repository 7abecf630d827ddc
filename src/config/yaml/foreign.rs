//! Recognises files that are something else than YAML.

mod program;

use std::fmt;

use self::program::Program;

/// The format of a file that was named as a configuration and is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ForeignFormat {
    /// Sections in brackets and settings with `=`, as in INI and TOML.
    Ini,
    /// A list of proxies, one a line.
    ProxyList,
    /// A web page, or XML.
    Markup,
    /// A PAC file.
    Script,
    /// The settings of another program.
    Of(Program),
}

impl ForeignFormat {
    /// Returns the format of `text`, which is not a configuration, if its first lines have one of these formats.
    pub(crate) fn of(text: &str) -> Option<Self> {
        let lines = text.lines().map(str::trim);
        let is_comment = |line: &&str| line.is_empty() || line.starts_with(['#', ';']);
        let lines: Vec<&str> = lines.filter(|line| !is_comment(line)).take(LINES_MAX).collect();
        let first = lines.first()?;
        if first.starts_with('<') && !first.starts_with("<<") {
            return Some(Self::Markup);
        }
        if lines.iter().all(|line| is_proxy(line)) {
            return Some(Self::ProxyList);
        }
        if lines.iter().any(|line| line.contains("FindProxyForURL")) {
            return Some(Self::Script);
        }
        if let Some(program) = Program::of(&lines) {
            return Some(Self::Of(program));
        }
        let begins = is_section(first) || is_assignment(first);
        (begins && lines.iter().any(|line| is_assignment(line))).then_some(Self::Ini)
    }

    /// Returns what to do with the file.
    pub(crate) fn help(self) -> &'static str {
        match self {
            Self::Ini => "`mooltiroute init DIR` writes a commented configuration in YAML",
            Self::ProxyList => {
                "name it in a configuration: `hops: { exits: { kind: pool, members_from: { file: FILE } } }` and `chains: { \
                 default: [exits] }`"
            }
            Self::Markup => {
                "it may be the answer to a download; look at it, and download the file again"
            }
            Self::Script => {
                "name it in a configuration: `hops: { proxy: { kind: http-connect, address: \"HOST:PORT\" }, office: { kind: \
                 pac, file: FILE, hops: { \"*\": proxy } } }` and `chains: { default: [office] }`"
            }
            Self::Of(program) => program.help(),
        }
    }
}

impl fmt::Display for ForeignFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ini => "this is not YAML: it looks like INI or TOML",
            Self::ProxyList => "this is a list of proxies and not a configuration",
            Self::Markup => "this is not YAML: it looks like a web page or XML",
            Self::Script => "this is a PAC file and not a configuration",
            Self::Of(program) => {
                return write!(
                    f,
                    "this is not YAML: it looks like a configuration of {}",
                    program.name()
                );
            }
        })
    }
}

fn is_section(line: &str) -> bool {
    let inner = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inner.is_some_and(|inner| !inner.is_empty() && !inner.contains(','))
}

/// Returns whether `line` is `NAME = VALUE`, with no colon in the name.
fn is_assignment(line: &str) -> bool {
    let Some((name, _)) = line.split_once('=') else { return false };
    let name = name.trim_end();
    !name.is_empty() && name.chars().all(|one| one.is_alphanumeric() || "_-.\"'".contains(one))
}

/// Returns whether `line` has the form of a proxy in the lists of providers.
fn is_proxy(line: &str) -> bool {
    if line.contains(char::is_whitespace) {
        return false;
    }
    if let Some((scheme, rest)) = line.split_once("://") {
        return SCHEMES.contains(&&*scheme.to_ascii_lowercase()) && rest.contains(':');
    }
    // After a login there is an address. Otherwise a login may come after it.
    let address = line.rsplit_once('@').map_or(line, |(_, address)| address);
    let mut parts = address.split(':');
    let host = parts.next().unwrap_or_default();
    let is_host = host == "localhost" || host.contains('.');
    is_host && parts.next().is_some_and(|port| port.parse::<u16>().is_ok())
}

const SCHEMES: [&str; 5] = ["http", "https", "socks4", "socks5", "socks5h"];
/// Enough to tell the format.
const LINES_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_their_first_lines() {
        for (text, expected) in [
            ("# x\n[main]\nserver = a:1\n", Some(ForeignFormat::Ini)),
            ("# px\n[proxy:main]\nserver = a:1\n", Some(ForeignFormat::Of(Program::Px))),
            ("function FindProxyForURL(url, host) {\n", Some(ForeignFormat::Script)),
            ("listen = \"127.0.0.1:1\"\n[[hops]]\nname = 'a'\n", Some(ForeignFormat::Ini)),
            ("; cntlm\nUsername=alice\n", Some(ForeignFormat::Ini)),
            ("127.0.0.1:1:u:p\n127.0.0.2:2:u:p\n", Some(ForeignFormat::ProxyList)),
            ("u:p@a.test:1\n\n# x\nsocks5://a:1\n", Some(ForeignFormat::ProxyList)),
            ("<!DOCTYPE html>\n<html>", Some(ForeignFormat::Markup)),
            ("<<: *a\n", None),
            ("hops:\n  a: { password: x=y }\n", None),
            ("[a, b]\n", None),
            ("[a]\n", None),
            ("password: a\nx = y\n", None),
            ("a:1\n", None),
            ("", None),
        ] {
            assert_eq!(ForeignFormat::of(text), expected, "{text}");
        }
    }
}
