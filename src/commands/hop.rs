//! `mooltiroute hop NAME on|off|auto`: switches a hop by editing its file.
//!
//! The order of the steps is what makes it safe. The edit is made in memory and checked before it is written: by the
//! running proxy if there is one, since its variables and flags decide, or else by this process. It must change the
//! switch of this hop and nothing else. Then the file is replaced in one step, and the proxy is asked for its verdict.
//! If it rejects the new file all the same, the old one comes back.

mod foreign;
mod origins;
pub(super) mod target;

use std::{fs, io::Write as _, path::Path, process::ExitCode};

use mooltiroute_hops::Registry;
use serde_json::{Value, json};
use thiserror::Error;

use self::{
    foreign::ForeignProxy,
    origins::{Origins, OriginsError},
    target::{NoTarget, SwitchTarget},
};
use super::{Verdict, complain, running};
use crate::{
    cli::{self, HopState, ProxyChoice},
    config::{
        Environment, Loader, Overrides, Problems, Source,
        edit::{EditedFile, Origin, Uneditable, has_condition, restore, switch},
    },
    control::{
        api::Checked,
        client::{Control, NoAnswer, NoProxy, WantedProxy},
        verdict::{self, ReloadOutcome, ToldProblem},
    },
    system::replace_file::replace_file,
};

/// The reason why a hop was not switched.
#[derive(Debug, Error)]
enum HopError {
    #[error("{0}")]
    NoTarget(#[from] NoTarget),
    #[error("{}: {reason}; edit it by hand", file)]
    Uneditable { file: String, reason: Uneditable },
    #[error(
        "`-c` names the files to edit, and so do `--address` and `--pid` of their proxy; leave one of them out"
    )]
    TwoNames,
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    NoSource(Problems),
    #[error("{0}")]
    NoAnswer(#[from] NoAnswer),
    #[error("{}\n\nrejected; nothing was changed", texts(.0))]
    Invalid(Vec<ToldProblem>),
    #[error("the edit would change {} as well, and was not made; edit the file by hand", .0.join(", "))]
    ChangesMore(Vec<String>),
    #[error(
        "`auto` has nothing to restore: neither `on` nor `off` of this user has replaced a condition of {0}. What another \
         user has replaced, only that user can restore"
    )]
    NoOrigin(String),
    #[error(
        "`auto` has nothing to restore in this file. What a switch replaced belongs to another one, which may have had this \
         content before it was renamed:{}\nWrite that by hand", lines(.0)
    )]
    OriginElsewhere(Vec<(String, String)>),
    #[error(
        "`{file}` and the files beside it belong to `{user}`, and this user may not read all that they name. Run this command as \
         `{user}`, as in `sudo -u {user} mooltiroute hop …`; nothing was changed"
    )]
    ForeignFiles { file: String, user: String },
    #[error("{0}")]
    Origins(#[from] OriginsError),
    #[error(
        "{file} can't be written: {cause}; nothing was changed{}",
        foreign::advice_on_rights(file, cause)
    )]
    Write { file: String, cause: std::io::Error },
    #[error("{0} was changed by another program meanwhile, and was left alone; try again")]
    Disturbed(String),
    #[error("{}\n\nthe running proxy rejected the edit, and it was undone", texts(.0))]
    Undone(Vec<ToldProblem>),
    #[error(
        "{}\n\nthe running proxy rejected the edit, and it could not be undone: {cause}",
        texts(problems)
    )]
    NotUndone { problems: Vec<ToldProblem>, cause: std::io::Error },
}

/// Runs the command.
pub fn run(flags: &cli::Hop, registry: Registry, environment: &Environment) -> ExitCode {
    match set(flags, registry, environment) {
        Ok(said) => super::status(writeln!(super::stdout(), "{said}").map(|()| Verdict::Valid)),
        Err(error) => complain(&error),
    }
}

/// The files to edit, and the proxies that run with them.
#[derive(Debug)]
struct Switchboard {
    source: Source,
    target: SwitchTarget,
    /// Every proxy of this user that reads the file, since all of them take the edit. Empty if none runs.
    running: Vec<Control>,
    /// Whether the result has to name the proxy, since it is not certain that the command means this one.
    is_uncertain: bool,
}

impl Switchboard {
    /// Finds the files by their proxy, if `choice` names that, or else the proxy by the files.
    fn find(name: &str, choice: &ProxyChoice, environment: &Environment) -> Result<Self, HopError> {
        let is_proxy_named = choice.address.is_some() || choice.pid.is_some();
        if is_proxy_named {
            if choice.config.path.is_some() {
                return Err(HopError::TwoNames);
            }
            let control = running::find(choice, environment).map_err(HopError::NotFound)?;
            let source = control.source();
            let target = SwitchTarget::find(&source, name)?;
            let mut running = Self::readers(&source, &target, environment);
            // The named one reports first. Others that read the same file can't be kept from it.
            running.retain(|one| one.identity.pid != control.identity.pid);
            running.insert(0, control);
            return Ok(Self { source, target, running, is_uncertain: false });
        }
        let source =
            Source::find(choice.config.path.clone(), environment).map_err(HopError::NoSource)?;
        if !matches!(source, Source::Path(_)) {
            return Self::of_only_proxy(name, environment);
        }
        let doubt = || running::doubt_source(&choice.config, &source, environment);
        let target = SwitchTarget::find(&source, name).inspect_err(|_| doubt())?;
        // Without a proxy the file is still switched, for its next start.
        let running = Self::readers(&source, &target, environment);
        if running.is_empty() {
            doubt();
        }
        // A proxy that was started with another path to these files may not be the one that the operator means.
        let is_certain = |control: &Control| {
            control.is_exact && running::names_configuration(&choice.config, environment)
        };
        let is_uncertain = !running.iter().all(is_certain);
        Ok(Self { source, target, running, is_uncertain })
    }

    /// Finds the files of the only proxy that runs, since none were found from here.
    fn of_only_proxy(name: &str, environment: &Environment) -> Result<Self, HopError> {
        let control = match Control::find(&WantedProxy::Usual(None), environment) {
            Ok(control) => control,
            Err(
                NoProxy::NotRunning(others)
                | NoProxy::Missing(_, others)
                | NoProxy::Ambiguous(others),
            ) => {
                return Err(NoTarget::NoFiles(others).into());
            }
        };
        let source = control.source();
        if !matches!(source, Source::Path(_)) {
            return Err(match control.identity.has_hops_of_command_line {
                true => NoTarget::HopsOfCommandLine(control.others),
                false => NoTarget::NoFiles(control.others),
            }
            .into());
        }
        let target = SwitchTarget::find(&source, name)?;
        Ok(Self { source, target, running: vec![control], is_uncertain: true })
    }

    /// Finds every proxy of this user that reads the file of `target`.
    fn readers(source: &Source, target: &SwitchTarget, environment: &Environment) -> Vec<Control> {
        let Source::Path(path) = source else { return Vec::new() };
        let wanted = WantedProxy::ReaderOf { config: path.clone(), file: target.path.clone() };
        Control::all(&wanted, environment)
    }
}

/// Switches the hop, and returns a sentence about what is in force now.
fn set(
    flags: &cli::Hop,
    registry: Registry,
    environment: &Environment,
) -> Result<String, HopError> {
    let name = flags.name.as_str();
    // Everything that can fail without an effect comes first: the file, the proxy, what is remembered, the
    // edit, its check.
    let Switchboard { source, target, running, is_uncertain } =
        Switchboard::find(name, &flags.proxy, environment)?;
    let mut origins = Origins::read(environment)?;
    let Some((text, origin)) = edited(&target, flags.state, &origins)? else {
        let file = target.path.display();
        let said = match flags.state {
            HopState::Auto => format!("{name} follows its condition already, in {file}"),
            state => format!("{name} is {state} already in {file}"),
        };
        let foreign = match running.is_empty() {
            true => ForeignProxy::find(&flags.proxy, &source, environment),
            false => None,
        };
        if running.is_empty() && foreign.is_none() {
            return Ok(said + "; no proxy runs with this configuration");
        }
        let is_named = is_uncertain || running.len() > 1;
        let of_running = running.iter().filter_map(|control| {
            let place = if is_named { control.identity.to_string() } else { RUNNING.to_owned() };
            obstacle(&control.get("/v1/status").ok()?, name, flags.state, &place)
        });
        let of_foreign = foreign
            .and_then(|foreign| obstacle(&foreign.status()?, name, flags.state, foreign.place()));
        let obstacles: String =
            of_running.chain(of_foreign).map(|obstacle| format!("\n{obstacle}")).collect();
        return Ok(said + &obstacles);
    };
    let edit = EditedFile { path: target.path.clone(), text };
    // A proxy may have other variables and flags than this process, so its judgement counts.
    for control in &running {
        check(&control.post("/v1/check", &edit)?, name)?;
    }
    // The proxy of another user is out of reach, and reads the edit by itself.
    let mut foreign = None;
    if running.is_empty() {
        foreign = ForeignProxy::find(&flags.proxy, &source, environment);
        let loader = Loader::new(source, Overrides::default(), registry, environment.clone());
        let checked = check_here(&loader, &edit);
        if !checked.problems.is_empty()
            && let Some(user) = running::owner::of_path(&target.path)
            && checked.problems.iter().all(|problem| problem.text.contains("the right to read it"))
        {
            return Err(HopError::ForeignFiles { file: target.path.display().to_string(), user });
        }
        check(&checked, name)?;
    }
    // Before the file is written: if this process ends in between, an entry too many is harmless, but a
    // condition that is written nowhere would be lost.
    if let Some(origin) = origin {
        origins.set(&target.path, name, Some(origin))?;
    }
    write(&target, &edit.text)?;
    let switched_words = switched(name, flags.state);
    let said = match (&*running, foreign) {
        ([], None) => format!(
            "{switched_words} in {}; no proxy runs with this configuration",
            target.path.display()
        ),
        ([], Some(foreign)) => match foreign.takes_edit() {
            Ok(words) => format!("{switched_words}; {words}"),
            Err(problems) => return Err(undo(&target, problems, || ())),
        },
        (running, _) => {
            // Several proxies may share the files, such as the two of an upgrade.
            let is_named = is_uncertain || running.len() > 1;
            let report = |control: &Control| {
                let place =
                    if is_named { format!(" in {}", control.identity) } else { String::new() };
                in_force(control, &target, flags.state, &place)
            };
            let reports = running.iter().map(report).collect::<Result<Vec<_>, _>>()?;
            // Most of their warnings are the same.
            let mut lines = Vec::new();
            for line in reports.iter().flat_map(|report| report.lines()) {
                if !lines.contains(&line) {
                    lines.push(line);
                }
            }
            lines.join("\n")
        }
    };
    // Forgotten last: if the proxy rejects the restored value, the file is put back, and `auto` must work
    // again later.
    if flags.state == HopState::Auto {
        origins.set(&target.path, name, None)?;
    }
    Ok(said)
}

/// Returns the new text, and the value to remember. Returns `None` if the file needs no edit.
fn edited(
    target: &SwitchTarget,
    state: HopState,
    origins: &Origins,
) -> Result<Option<(String, Option<Origin>)>, HopError> {
    let name = &target.name;
    let uneditable =
        |reason| HopError::Uneditable { file: target.path.display().to_string(), reason };
    if state == HopState::Auto {
        let Some(origin) = origins.of(&target.path, name) else {
            if has_condition(&target.text, name) {
                return Ok(None);
            }
            let elsewhere = origins.elsewhere(&target.path, name);
            let elsewhere = elsewhere.filter(|(file, _)| !Path::new(file).exists());
            let lost: Vec<_> =
                elsewhere.map(|(file, origin)| (file.to_owned(), origin.in_words())).collect();
            return Err(match lost.is_empty() {
                true => HopError::NoOrigin(name.clone()),
                false => HopError::OriginElsewhere(lost),
            });
        };
        let text = restore(&target.text, name, origin).map_err(uneditable)?;
        return Ok(Some((text, None)));
    }
    let switched = switch(&target.text, name, state == HopState::On).map_err(uneditable)?;
    Ok(switched.map(|switched| (switched.text, switched.origin)))
}

/// Checks the edit with the variables of this process.
fn check_here(loader: &Loader, edit: &EditedFile) -> Checked {
    match loader.check_edit(edit) {
        Ok(changes) => Checked { changes, problems: Vec::new() },
        Err(problems) => Checked { changes: None, problems: ToldProblem::all(&problems) },
    }
}

fn check(checked: &Checked, name: &str) -> Result<(), HopError> {
    if !checked.problems.is_empty() {
        return Err(HopError::Invalid(checked.problems.clone()));
    }
    let own = format!("hops.{name}.enabled");
    // The `enabled` of a hop may be a condition, so paths below it belong to the switch too. Anything else
    // means that the text was understood differently from the way in which it was edited.
    let is_other = |path: &&String| {
        path.strip_prefix(&own).is_none_or(|rest| !(rest.is_empty() || rest.starts_with('.')))
    };
    let more: Vec<_> = checked.changes.iter().flatten().filter(is_other).cloned().collect();
    if more.is_empty() { Ok(()) } else { Err(HopError::ChangesMore(more)) }
}

/// Replaces the file, unless it was changed since it was read.
fn write(target: &SwitchTarget, text: &str) -> Result<(), HopError> {
    let file = target.path.display().to_string();
    // An editor or another `hop` may have saved the file meanwhile. Its change must not be overwritten.
    if fs::read(&target.path).ok().as_deref() != Some(target.text.as_bytes()) {
        return Err(HopError::Disturbed(file));
    }
    replace_file(&target.path, text.as_bytes()).map_err(|cause| HopError::Write { file, cause })
}

/// Waits until the running proxy has taken the edit. If it rejects it, the old text comes back.
fn in_force(
    control: &Control,
    target: &SwitchTarget,
    state: HopState,
    place: &str,
) -> Result<String, HopError> {
    let name = &target.name;
    let reload = || control.post::<verdict::ReloadVerdict>("/v1/reload", &json!({}));
    // A proxy that ends now will read the edited file at its next start.
    let Ok(verdict) = reload() else {
        return Ok(format!("{name} is {state} in {}; the proxy has ended", target.path.display()));
    };
    let generation = verdict.generation;
    let mut said = match verdict.verdict {
        ReloadOutcome::Applied | ReloadOutcome::Unchanged => {
            let switched = switched(name, state);
            format!("{switched}; generation {generation} is in force{place}")
        }
        ReloadOutcome::Unsettled => format!(
            "{name} is {state} in {}; generation {generation} stays in force{place} until the files come to rest",
            target.path.display()
        ),
        ReloadOutcome::Rejected => {
            // Its verdict on the old text is the one it had before.
            return Err(undo(target, verdict.problems, || drop(reload())));
        }
    };
    for warning in &verdict.warnings {
        said += &format!("\nwarning: {warning}");
    }
    let own = format!("hops.{name}.enabled");
    // The verdict is then `Unchanged`, which alone would look like success.
    if let Some(setting) = verdict.overridden.iter().find(|setting| setting.path == own)
        && let Some(words) = overridden_by(&setting.option, name, state, RUNNING)
    {
        said = format!("{words}\n{said}");
    }
    Ok(said)
}

/// Returns what keeps the proxy with this `status` from the state that the file has already. `place` names the proxy.
fn obstacle(status: &Value, name: &str, state: HopState, place: &str) -> Option<String> {
    if let Some(option) = status["hops_switched"][name].as_str() {
        return overridden_by(option, name, state, place);
    }
    (!status["rejected"].is_null()).then(|| {
        format!(
            "no effect yet: {place} has rejected the files on disk, and earlier ones stay in force; `mooltiroute reload` says why"
        )
    })
}

/// Returns the words about an option of the command line that decides in place of the file. Returns `None` if both mean
/// the same.
fn overridden_by(option: &str, name: &str, state: HopState, place: &str) -> Option<String> {
    let enables = option == "--enable";
    match state {
        HopState::On if enables => return None,
        HopState::Off if !enables => return None,
        _ => {}
    }
    let stays = if enables { "on" } else { "off" };
    let option = match option {
        // This one names no hop.
        "--no-corporate" => option.to_owned(),
        option => format!("{option} {name}"),
    };
    Some(format!(
        "no effect yet: {place} was started with `{option}`, which goes before the file, so `{name}` stays {stays}; start it \
         again without this option"
    ))
}

/// Puts the old text back, which `reload` then makes known.
fn undo(target: &SwitchTarget, problems: Vec<ToldProblem>, reload: impl FnOnce()) -> HopError {
    match replace_file(&target.path, target.text.as_bytes()) {
        Ok(()) => {
            reload();
            HopError::Undone(problems)
        }
        Err(cause) => HopError::NotUndone { problems, cause },
    }
}

/// Describes the new state of the hop.
fn switched(name: &str, state: HopState) -> String {
    match state {
        HopState::On | HopState::Off => format!("{name} is {state}"),
        HopState::Auto => {
            format!("{name} has the `enabled` back that it had before `on` or `off`")
        }
    }
}

fn lines(lost: &[(String, String)]) -> String {
    lost.iter().map(|(file, value)| format!("\n  {value}, in {file}")).collect()
}

fn texts(problems: &[ToldProblem]) -> String {
    problems.iter().map(|problem| problem.text.as_str()).collect::<Vec<_>>().join("\n")
}

const RUNNING: &str = "the running proxy";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_that_holds_a_hop_is_named_with_what_to_do() {
        let words = |option: &str, state| {
            let status = json!({ "hops_switched": { "a": option }, "rejected": null });
            obstacle(&status, "a", state, RUNNING)
        };
        assert_eq!(
            words("--disable", HopState::On).unwrap(),
            "no effect yet: the running proxy was started with `--disable a`, which goes before the file, so `a` stays off; \
             start it again without this option"
        );
        let no_corporate = words("--no-corporate", HopState::On).unwrap();
        assert!(no_corporate.contains("`--no-corporate`, which"), "{no_corporate}");
        let enabled = words("--enable", HopState::Off).unwrap();
        assert!(enabled.contains("`--enable a`") && enabled.contains("stays on"), "{enabled}");
        assert!(words("--enable", HopState::Auto).is_some());
        assert!(words("--disable", HopState::Auto).is_some());
        // The file and the option mean the same.
        assert_eq!(words("--disable", HopState::Off), None);
        assert_eq!(words("--enable", HopState::On), None);
    }

    #[test]
    fn files_that_were_rejected_have_no_effect() {
        let rejected = json!({ "rejected": { "at": "2026-11-27T10:00:00Z", "problems": ["x"] } });
        let words = obstacle(&rejected, "a", HopState::On, RUNNING).unwrap();
        assert!(words.contains("has rejected the files on disk"), "{words}");
        assert_eq!(obstacle(&json!({ "rejected": null }), "a", HopState::On, RUNNING), None);
    }
}
