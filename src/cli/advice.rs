//! Advice on a command line that clap does not understand.
//!
//! clap suggests names that look alike, such as `hop` for `stop`. People more often write the flags of other proxies, such as
//! `--port 3128` or `start`, so the error says which flag or command of this program does that.

mod words;

use std::{ffi::OsString, net::SocketAddr, path::Path};

use clap::{
    CommandFactory as _, Error, FromArgMatches as _,
    builder::StyledStr,
    error::{ContextKind, ContextValue, ErrorKind},
};

use self::words::{COMMANDS, FLAGS, FLAGS_OF_COMMANDS, LISTEN_FLAGS, ORDERS, VALUES};
use super::Cli;
use crate::config::{
    bare_port,
    report::{problem::is_name, proxy_url::proxy_address},
};

impl Cli {
    /// Parses the arguments of this process, the first one being its name.
    ///
    /// # Errors
    /// The command line is not understood, or asks for help. The error never quotes a URL, which may have credentials.
    pub fn try_from_arguments(
        arguments: impl IntoIterator<Item = OsString>,
    ) -> Result<Self, Error> {
        let arguments: Vec<OsString> = arguments.into_iter().collect();
        if let Some(run) = Self::of_run(&arguments) {
            return Ok(run);
        }
        let parsed = Self::command().try_get_matches_from(&arguments);
        let parsed = parsed.and_then(|matches| Self::from_arg_matches(&matches));
        parsed.map_err(|error| with_advice(error, &arguments))
    }
}

fn with_advice(mut error: Error, arguments: &[OsString]) -> Error {
    if let Some(advice) = advice(&error, arguments) {
        for kind in [
            ContextKind::SuggestedArg,
            ContextKind::SuggestedSubcommand,
            ContextKind::SuggestedValue,
            ContextKind::SuggestedCommand,
            ContextKind::TrailingArg,
        ] {
            error.remove(kind);
        }
        let tip = StyledStr::from(advice);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    }
    hide_urls(&mut error);
    error
}

/// Hides quoted words that may contain credentials.
fn hide_urls(error: &mut Error) {
    for kind in [ContextKind::InvalidArg, ContextKind::InvalidSubcommand, ContextKind::InvalidValue]
    {
        if quoted(error, kind).is_some_and(|text| text.contains(['@', '/', '%'])) {
            error.insert(kind, ContextValue::String("…".to_owned()));
        }
    }
}

fn quoted(error: &Error, kind: ContextKind) -> Option<&str> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text),
        _ => None,
    }
}

/// Returns what to write instead of the word that `error` is about, if its meaning is clear.
fn advice(error: &Error, arguments: &[OsString]) -> Option<String> {
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let word = quoted(error, ContextKind::InvalidSubcommand)?;
            let instead = COMMANDS.iter().find(|(words, _)| words.contains(&word));
            instead.map(|(_, help)| (*help).to_owned()).or_else(|| bare(word))
        }
        ErrorKind::UnknownArgument => {
            let word = quoted(error, ContextKind::InvalidArg)?;
            let command = command_of(arguments);
            if !word.starts_with('-') {
                return match command {
                    Some("exec") => without_dashes(word),
                    Some("env") if shell_instead(word).is_some() => shell_instead(word),
                    Some(name) if ASKS_A_PROXY.contains(&name) && !is_path(word) => {
                        let is_list = name == "ps";
                        address_instead(word).or_else(|| is_list.then(|| PS_INSTEAD.to_owned()))
                    }
                    // A number is a port only where an address may be meant.
                    Some(name) if !TAKES_ADDRESS.contains(&name) && bare_port(word).is_some() => {
                        None
                    }
                    _ => bare(word),
                };
            }
            let word = word.split('=').next()?;
            // Signals of the system's command, such as `-9`, `-TERM` and `-s TERM`.
            let is_signal = |word: &str| {
                word == "-s"
                    || word[1..]
                        .starts_with(|one: char| one.is_ascii_digit() || one.is_ascii_uppercase())
            };
            if command == Some("kill") && is_signal(word) {
                return Some(kill_instead(arguments));
            }
            let value = value_of(word, arguments);
            if ["-k", "-s"].contains(&word)
                && let Some(order) = value.as_deref()
                && let Some((_, help)) = ORDERS.iter().find(|(words, _)| words.contains(&order))
            {
                return Some((*help).to_owned());
            }
            let of_command = FLAGS_OF_COMMANDS.iter().find(|(commands, words, _)| {
                words.contains(&word) && command.is_some_and(|name| commands.contains(&name))
            });
            if let Some((_, _, help)) = of_command {
                let value =
                    value.as_deref().filter(|value| is_name(value) && !value.starts_with('-'));
                return Some(
                    value.map_or_else(|| (*help).to_owned(), |value| help.replace("NAME", value)),
                );
            }
            // In other programs `-p` may also be a password, and `-l` a log file.
            let is_listen = value.as_deref().is_some_and(|value| listen_address(value).is_some());
            let is_short = ["-p", "-l"].contains(&word);
            let is_of_address = ADDRESS_FLAGS.contains(&word) || LISTEN_FLAGS.contains(&word);
            let names_proxy = is_of_address && (is_listen || !is_short);
            if names_proxy && command.is_some_and(|name| ASKS_A_PROXY.contains(&name)) {
                return Some(address_flag_instead(word, value.as_deref()));
            }
            if is_short && !is_listen {
                return None;
            }
            let (_, help) = FLAGS.iter().find(|(words, _)| words.contains(&word))?;
            let count = value.as_deref().filter(|value| value.parse::<u16>().is_ok());
            if let (true, Some(count)) = (help.contains(WORKERS_EXAMPLE), count) {
                return Some(help.replace(WORKERS_EXAMPLE, &format!("workers: {count}")));
            }
            Some(with_value(help, value.as_deref()))
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let argument = quoted(error, ContextKind::InvalidArg)?;
            let value = quoted(error, ContextKind::InvalidValue)?.to_ascii_lowercase();
            let words = words_of(arguments);
            if let Some((name, state)) = swapped_hop(&words) {
                return Some(format!("the name comes first: `mooltiroute hop {name} {state}`"));
            }
            let instead = VALUES
                .iter()
                .find(|(of, words, _)| argument.contains(of) && words.contains(&&*value));
            instead.map(|(_, _, help)| (*help).to_owned())
        }
        _ => None,
    }
}

/// Returns the name and the state of `hop STATE NAME`. Values of flags may be before and after them.
fn swapped_hop<'a>(words: &[&'a str]) -> Option<(&'a str, &'a str)> {
    let command = words.iter().position(|word| *word == "hop")?;
    let mut pairs = words[command + 1..].windows(2);
    pairs.find_map(|pair| match pair {
        [state @ ("on" | "off" | "auto"), name] if is_name(name) => Some((*name, *state)),
        _ => None,
    })
}

/// Returns the arguments that are texts and no flags.
fn words_of(arguments: &[OsString]) -> Vec<&str> {
    let words = arguments.iter().filter_map(|argument| argument.to_str());
    words.filter(|word| !word.starts_with('-')).collect()
}

/// Returns what to write instead of the system's `kill`, with the number of a connection if there is one.
fn kill_instead(arguments: &[OsString]) -> String {
    let words: Vec<_> = arguments.iter().filter_map(|argument| argument.to_str()).collect();
    let mut numbers = words.iter().filter(|word| word.bytes().all(|byte| byte.is_ascii_digit()));
    // The value of `-s` may be a number too.
    let number = numbers.next_back().filter(|number| words.last() == Some(number));
    let number = number.map_or("NUMBER", |number| number);
    format!(
        "this command ends connections, which have no signals: write `mooltiroute kill {number}`, with a number that \
         `mooltiroute ps` shows. To reload the configuration, write `mooltiroute reload`; a signal for the proxy itself is \
         sent by the system's own `kill`"
    )
}

/// Returns how to name the running proxy that `word` is the address, the port or the process of.
fn address_instead(word: &str) -> Option<String> {
    if let Some(port) = bare_port(word) {
        return Some(format!(
            "write `--address 127.0.0.1:{port}` for the proxy at this port, or `--pid {port}` for this process"
        ));
    }
    let address = listen_address(word).or_else(|| proxy_address(word))?;
    Some(format!("write `--address {address}`"))
}

/// Returns how to name the running proxy that the flag `word` with `value` names in other programs.
fn address_flag_instead(word: &str, value: Option<&str>) -> String {
    let port = value.and_then(bare_port);
    match (value, port) {
        // `ps` and `top` of the system take a process there.
        (Some(value), Some(_)) if word == "-p" => address_instead(value),
        (_, Some(port)) => Some(format!("write `--address 127.0.0.1:{port}`")),
        (value, None) => value.and_then(address_instead),
    }
    .unwrap_or_else(|| format!("write `--address {LISTEN_EXAMPLE}`, with the address of the proxy"))
}

/// Returns how to name the shell `word`.
fn shell_instead(word: &str) -> Option<String> {
    const SHELLS: [&str; 4] = ["sh", "fish", "powershell", "cmd"];
    let named = SHELLS.contains(&word).then(|| format!("write `--shell {word}`"));
    let other = VALUES.iter().find(|(of, words, _)| *of == "--shell" && words.contains(&word));
    named.or_else(|| other.map(|(_, _, help)| (*help).to_owned()))
}

/// Returns whether `word` is probably the path of a configuration.
fn is_path(word: &str) -> bool {
    let is_plain = !word.contains(['@', '%']) && !word.contains("://");
    let is_yaml = [".yaml", ".yml", ".conf"].iter().any(|end| word.ends_with(end));
    let is_named_so = word.contains(['/', '\\']) && bare_port(word).is_none();
    is_plain && (is_yaml || is_named_so || Path::new(word).exists())
}

const PS_INSTEAD: &str = "leave it out: `mooltiroute ps` lists all open connections";

/// The commands that ask a running proxy, which `--address` may name.
const ASKS_A_PROXY: [&str; 8] = ["status", "ps", "top", "kill", "reload", "hop", "env", "exec"];

/// Further flags that name the address of a proxy, `--listen` being that of `run`.
const ADDRESS_FLAGS: [&str; 6] = ["--listen", "--server", "--url", "--proxy", "-x", "--connect"];

/// The commands that could be given the address of the proxy.
const TAKES_ADDRESS: [&str; 3] = ["run", "check", "service"];

/// Returns the command among `arguments`, if one is written.
fn command_of(arguments: &[OsString]) -> Option<&str> {
    let names: Vec<String> =
        Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
    let mut words = arguments.iter().skip(1).filter_map(|argument| argument.to_str());
    words.find(|word| names.iter().any(|name| name == word))
}

/// Returns how to write a command for `exec` that has no `--` before it. The rest of a quoted command line may have
/// credentials in it.
fn without_dashes(word: &str) -> Option<String> {
    let first = word.split_whitespace().next()?;
    let first = if is_name(first) { first } else { "COMMAND" };
    Some(format!(
        "write `--` before the command, and no quotes around it: `mooltiroute exec -- {first} …`"
    ))
}

/// Returns the word after `flag`, or the one behind its `=`.
fn value_of(flag: &str, arguments: &[OsString]) -> Option<String> {
    let mut arguments = arguments.iter().map(|argument| argument.to_string_lossy());
    while let Some(argument) = arguments.next() {
        if argument == flag {
            return arguments.next().map(|value| value.into_owned());
        }
        if let Some(value) = argument.strip_prefix(flag).and_then(|rest| rest.strip_prefix('=')) {
            return Some(value.to_owned());
        }
    }
    None
}

/// Puts what was written into the example: a port, or the address of a proxy without its credentials.
fn with_value(help: &str, value: Option<&str>) -> String {
    let Some(value) = value else { return help.to_owned() };
    match (listen_address(value), proxy_address(value)) {
        (Some(address), None) => help.replace(LISTEN_EXAMPLE, &address),
        (listen, Some(address)) => {
            let scheme = match value.split_once("://") {
                Some((scheme @ ("https" | "socks5"), _)) => scheme,
                _ => "http",
            };
            let credentials = if value.contains('@') { "USERNAME:PASSWORD@" } else { "" };
            let url = format!("{scheme}://{credentials}{address}");
            // In this order, since an address never has the example of a URL in it.
            let help = listen
                .map_or_else(|| help.to_owned(), |address| help.replace(LISTEN_EXAMPLE, &address));
            help.replace(URL_EXAMPLE, &url)
        }
        (None, None) => help.to_owned(),
    }
}

/// Returns the listen address for `text`, which is a port or an IP address with a port.
fn listen_address(text: &str) -> Option<String> {
    match bare_port(text) {
        Some(port) => Some(format!("127.0.0.1:{port}")),
        None => text.parse::<SocketAddr>().ok().map(|address| address.to_string()),
    }
}

/// Returns what a word without a flag seems to be: a port, a file, or a proxy.
fn bare(word: &str) -> Option<String> {
    if let Some(port) = bare_port(word) {
        return Some(format!("write `mooltiroute run --listen 127.0.0.1:{port}`"));
    }
    if is_path(word) {
        return Some("write `-c PATH` before the path of a configuration".to_owned());
    }
    let is_url = ["http://", "https://", "socks5://"].iter().any(|begin| word.starts_with(begin));
    (is_url || proxy_address(word).is_some()).then(|| {
        format!(
            "{}, and `mooltiroute probe URL` tests a target",
            with_value("write `mooltiroute run --hop http://HOST:PORT` for a proxy", Some(word))
        )
    })
}

const WORKERS_EXAMPLE: &str = "workers: 2";
const LISTEN_EXAMPLE: &str = "127.0.0.1:8888";
const URL_EXAMPLE: &str = "http://HOST:PORT";

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &str) {
        let arguments = line.split(' ').map(OsString::from);
        let told = Cli::try_from_arguments(arguments).unwrap_err().to_string();
        assert!(told.contains(expected), "{line}: {told}");
        assert!(!told.contains("hunter2"), "{line}: {told}");
    }

    #[test]
    fn flags_and_commands_of_other_programs_are_explained() {
        check("mooltiroute run --port 3128", "tip: write `--listen 127.0.0.1:3128`");
        check("mooltiroute run --port=3128", "tip: write `--listen 127.0.0.1:3128`");
        check("mooltiroute -p 3128", "tip: write `--listen 127.0.0.1:3128`");
        check("mooltiroute run --port", "tip: write `--listen 127.0.0.1:8888`");
        check("mooltiroute run --bind 0.0.0.0:80", "tip: write `--listen 0.0.0.0:80`");
        check("mooltiroute run --proxy proxy:3128", "`--hop http://proxy:3128`");
        check("mooltiroute run -x socks5://proxy:1080", "`--hop socks5://proxy:1080`");
        check("mooltiroute start", "tip: `mooltiroute run` runs the proxy");
        check("mooltiroute stop", "tip: end the proxy with Ctrl+C");
        check("mooltiroute stop", "`systemctl --user stop mooltiroute`, without `--user` if");
        check("mooltiroute logs", "`journalctl --user -u mooltiroute`, without `--user` if");
        check("mooltiroute kinit", "a Kerberos program");
        check("mooltiroute run -d", "tip: the proxy runs in the foreground");
        check("mooltiroute run --workers 4", "`server: { workers: 4 }`");
        check("mooltiroute run --pac http://pac.corp/proxy.pac", "kind: pac, url: \"URL\"");
        check("mooltiroute exec -s bob -- curl", "tip: write `--session bob`");
        check("mooltiroute exec -s -- curl", "tip: write `--session NAME`");
        check("mooltiroute exec curl -u joe:hunter2", "`mooltiroute exec -- curl …`");
        check("mooltiroute probe --session bob", "tip: write `--as session-bob`");
        check("mooltiroute explain --country=us http://a.test", "tip: write `--as country-us`");
        check("mooltiroute run --session bob", "curl -x http://session-bob:x@localhost:8888");
        check("mooltiroute kill --all", "to end everything, stop the proxy");
        check(
            "mooltiroute ps --hop exit",
            "tip: `mooltiroute ps` lists all connections: write `mooltiroute ps | grep exit`",
        );
        check("mooltiroute ps --hop http://joe:hunter2@proxy:1", "`mooltiroute ps | grep NAME`");
        check("mooltiroute usage --hop exit", "write `--by hop`");
        check("mooltiroute exec --sticky bob -- curl", "tip: write `--session NAME`");
        check("mooltiroute env --shell zsh", "tip: write `--shell sh`");
        check("mooltiroute usage --by host", "tip: write `--by target`");
        check("mooltiroute kill webshare", "`ps` lists them");
        check("mooltiroute kill 1-5", "`--hop NAME`");
        check("mooltiroute run 3128", "--listen 127.0.0.1:3128");
        check("mooltiroute config.yaml", "`-c PATH`");
        for line in
            ["run ./d", "run /etc/x", "check x.yml", "check src", "reload x/y", "status a.yaml"]
        {
            check(&format!("mooltiroute {line}"), "`-c PATH` before the path");
        }
        check("mooltiroute run http://joe:hunter2@proxy:1/x", "USERNAME:PASSWORD@proxy:1`");
        check("mooltiroute -k reconfigure", "tip: write `mooltiroute reload`");
        check("mooltiroute run -k parse", "tip: write `mooltiroute check`");
        check("mooltiroute -s reload", "tip: write `mooltiroute reload`");
        check("mooltiroute -s quit", "tip: end the proxy with Ctrl+C");
        check("mooltiroute probe -k", "certificates are always checked");
        for line in ["kill -9 3", "kill -TERM 3", "kill -s 9 3", "kill -HUP 3"] {
            check(&format!("mooltiroute {line}"), "write `mooltiroute kill 3`");
        }
        check("mooltiroute kill -9", "write `mooltiroute kill NUMBER`");
        check("mooltiroute check --quiet", "tip: end the line with `> /dev/null`");
        check("mooltiroute reload -q", "the exit status says the result");
        check("mooltiroute run -q", "tip: write `--log-level error`");
        check("mooltiroute check --verbose", "`mooltiroute run --log-level debug`");
        check("mooltiroute status 3128", "tip: write `--address 127.0.0.1:3128`");
        for line in ["status --listen", "reload --bind", "ps --server", "top --listen-address"] {
            let line = format!("mooltiroute {line} 10.0.0.1:3128");
            check(&line, "tip: write `--address 10.0.0.1:3128`");
        }
        check("mooltiroute kill --listen=3128", "tip: write `--address 127.0.0.1:3128`\n");
        check("mooltiroute hop pool off --port 3128", "tip: write `--address 127.0.0.1:3128`\n");
        check("mooltiroute ps -p 3128", "or `--pid 3128` for this process");
        check("mooltiroute env --listen", "tip: write `--address 127.0.0.1:8888`, with the");
        check("mooltiroute status --url http://joe:hunter2@a:1", "tip: write `--address a:1`");
        check("mooltiroute ps localhost:3128", "tip: write `--address localhost:3128`");
        check("mooltiroute ps aux", "leave it out");
        check("mooltiroute ps -ef", "leave it out");
        check("mooltiroute env bash", "tip: write `--shell sh`");
        check("mooltiroute env fish", "tip: write `--shell fish`");
        check("mooltiroute init --force", "never overwrites");
        check("mooltiroute service --user install", "leave `--user` out");
        check("mooltiroute proxy:3128", "`mooltiroute run --hop http://proxy:3128`");
        check("mooltiroute hop corporate disable", "tip: write `off`");
        check(
            "mooltiroute hop off webshare",
            "tip: the name comes first: `mooltiroute hop webshare off`",
        );
        for line in ["hop off pool -c d", "hop -c d off pool", "hop --address a.test:1 off pool"] {
            check(&format!("mooltiroute {line}"), "first: `mooltiroute hop pool off`");
        }
        check("mooltiroute hop --list", "tip: `mooltiroute status` lists the hops");
        check(
            "mooltiroute service install --dry-run",
            "tip: write `mooltiroute service install --print`",
        );
        check(
            "mooltiroute service install --listen 127.0.0.1:1",
            "tip: a service listens where its configuration says",
        );
        check("mooltiroute run --log-level warning", "tip: write `--log-level warn`");
    }

    #[test]
    fn clap_still_suggests_names_that_look_alike() {
        check("mooltiroute exlain", "'explain'");
        check("mooltiroute run --listn x", "'--listen'");
    }

    #[test]
    fn no_error_quotes_credentials() {
        const URL: &str = "http://joe:hunter2@proxy:3128";
        for line in [
            "mooltiroute run --upstream",
            "mooltiroute run --nonsense",
            "mooltiroute run --listen",
            "mooltiroute run --log-level",
            "mooltiroute run",
            "mooltiroute",
            "mooltiroute check --format",
            "mooltiroute kill",
        ] {
            check(&format!("{line} {URL}"), "error:");
            if line.contains("--") {
                check(&format!("{line}={URL}"), "error:");
            }
        }
        check(
            &format!("mooltiroute run --upstream {URL}"),
            "`--hop http://USERNAME:PASSWORD@proxy:3128`",
        );
        check("mooltiroute run --upstream joe:hunter2@proxy:3128", "USERNAME:PASSWORD@proxy:3128");
        check("mooltiroute run --upstream http://joe:1/hunter2@proxy:1", "http://HOST:PORT");
    }
}
