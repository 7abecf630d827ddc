//! `mooltiroute hop NAME on|off|auto`: switches a hop by editing its file.
//!
//! The order of the steps is what makes it safe. The edit is made in memory and checked before it is written: by the
//! running proxy if there is one, since its variables and flags decide, or else by this process. It must change the
//! switch of this hop and nothing else. Then the file is replaced in one step, and the proxy is asked for its verdict.
//! If it rejects the new file all the same, the old one comes back.

mod effect;
mod error;
mod foreign;
mod origins;
mod switchboard;
pub(super) mod target;

use std::{fs, io::Write as _, path::Path, process::ExitCode};

use mooltiroute_hops::Registry;

use self::{
    effect::{RUNNING, in_force, obstacle, switched},
    error::{HopError, RejectedEdit},
    foreign::ForeignProxy,
    origins::Origins,
    switchboard::Switchboard,
    target::SwitchTarget,
};
use super::{Verdict, complain, running};
use crate::{
    cli::{self, HopState},
    config::{
        Environment, Loader, Overrides,
        edit::{EditedFile, Origin, has_condition, restore, switch},
    },
    control::{api::Checked, client::Control, verdict::ToldProblem},
    system::replace_file::replace_file,
};

/// Runs the command.
pub fn run(flags: &cli::Hop, registry: Registry, environment: &Environment) -> ExitCode {
    match set(flags, registry, environment) {
        Ok(said) => super::status(writeln!(super::stdout(), "{said}").map(|()| Verdict::Valid)),
        Err(error) => complain(&error),
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
            Err(rejected) => return Err(undo(&target, rejected, || ())),
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
        Ok(changes) => Checked { changes, ..Checked::default() },
        Err(problems) => Checked::invalid(ToldProblem::all(&problems)),
    }
}

fn check(checked: &Checked, name: &str) -> Result<(), HopError> {
    if !checked.problems.is_empty() {
        let Checked { problems, notes, .. } = checked.clone();
        return Err(HopError::Invalid(RejectedEdit { problems, notes }));
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

/// Puts the old text back, which `reload` then makes known.
fn undo(target: &SwitchTarget, rejected: RejectedEdit, reload: impl FnOnce()) -> HopError {
    match replace_file(&target.path, target.text.as_bytes()) {
        Ok(()) => {
            reload();
            HopError::Undone(rejected)
        }
        Err(cause) => HopError::NotUndone { rejected, cause },
    }
}
