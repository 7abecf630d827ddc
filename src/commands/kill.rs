//! `mooltiroute kill`: ends connections of the running proxy.

use std::{io::Write as _, process::ExitCode};

use serde_json::Value;

use super::{Verdict, complain, running};
use crate::{
    cli,
    commands::hop::target::is_member,
    config::{Environment, report::suggest::nearest},
    control::{
        api::{KillOrder, Killed},
        client::Control,
    },
};

/// Runs the command.
pub fn run(flags: &cli::Kill, environment: &Environment) -> ExitCode {
    let order = order(flags);
    let control = match running::find(&flags.proxy, environment) {
        Ok(control) => control,
        Err(why) => return complain(&why),
    };
    let killed = match control.post("/v1/kill", &order) {
        Ok(Killed { killed }) => killed,
        Err(error) => return complain(&error),
    };
    // A connection that has ended meanwhile is reported, but the command fails only if none was left to end.
    let missing: Vec<_> = flags.ids.iter().filter(|id| !killed.contains(id)).collect();
    for id in missing {
        complain(&format_args!("no open connection has the number {id}"));
    }
    match killed.len() {
        0 if flags.ids.is_empty() => complain(&nothing_killed(flags, &control)),
        0 => ExitCode::FAILURE,
        count => {
            let noun = if count == 1 { "connection" } else { "connections" };
            let written = writeln!(super::stdout(), "{count} {noun} killed{}", control.place());
            super::status(written.map(|()| Verdict::Valid))
        }
    }
}

/// Returns the reason why no connection was ended: the name is unknown, or no connection uses it.
fn nothing_killed(flags: &cli::Kill, control: &Control) -> String {
    let (noun, section, name) = match (&flags.chain, &flags.hop) {
        (Some(chain), _) => ("chain", "chains", chain),
        (_, Some(hop)) => ("hop", "hops", hop),
        _ => return NONE_MATCHES.to_owned(),
    };
    let Ok(status) = control.get::<Value>("/v1/status") else { return NONE_MATCHES.to_owned() };
    let listed = status[section].as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    let known: Vec<&str> = listed.collect();
    // A member is named with its hop before it.
    let is_known = |known: &&str| {
        name.strip_prefix(*known).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    if let Some(hop) = known.iter().find(|known| is_known(known)) {
        let member = name.strip_prefix(*hop).and_then(|rest| rest.strip_prefix('.'));
        return match member.and_then(member_in_full) {
            Some(member) => {
                format!("no open connection matches; did you mean `--hop '{hop}.{member}'`?")
            }
            None => NONE_MATCHES.to_owned(),
        };
    }
    if is_member(name) {
        return format!("a member is named with its hop before it, as in `--hop 'HOP.{name}'`");
    }
    match nearest(name, known) {
        Some(near) => format!("no {noun} is called `{name}`; did you mean `{near}`?"),
        None => format!("no {noun} is called `{name}`; `mooltiroute status` lists them"),
    }
}

/// Returns the name of the member that `text` seems to mean, if that is another text.
fn member_in_full(text: &str) -> Option<String> {
    if is_member(text) {
        return None;
    }
    let number = |text: &str| {
        text.trim_matches(|letter: char| !letter.is_ascii_digit()).parse::<usize>().ok()
    };
    let lower = text.to_ascii_lowercase();
    match lower.strip_prefix("line") {
        Some(rest) => Some(format!("line {}", number(rest)?)),
        None => Some(format!("members[{}]", number(lower.strip_prefix("member")?)?)),
    }
}

/// Returns the order that the flags give. The command line allows exactly one kind.
fn order(flags: &cli::Kill) -> KillOrder {
    match (&flags.chain, &flags.hop) {
        (Some(chain), _) => KillOrder::Chain(chain.clone()),
        (_, Some(hop)) => KillOrder::Hop(hop.clone()),
        _ if flags.older_generations => KillOrder::OlderGenerations {},
        _ => KillOrder::Ids(flags.ids.clone()),
    }
}

const NONE_MATCHES: &str = "no open connection matches";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_suggested_by_its_number() {
        let of = |text| member_in_full(text);
        for text in ["line2", "line-2", "Line  2", "line[2]"] {
            assert_eq!(of(text).as_deref(), Some("line 2"), "{text}");
        }
        assert_eq!(of("members.3").as_deref(), Some("members[3]"));
        assert_eq!(of("member3").as_deref(), Some("members[3]"));
        for text in ["line 2", "members[0]", "proxy", "line", "lines"] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
