//! `mooltiroute hop NAME on|off|auto`: switches a hop by editing its file.
//!
//! The order of the steps is what makes it safe. The edit is made in memory and checked before it is written: by the
//! running proxy if there is one, since its variables and flags decide, or else by this process. It must change the
//! switch of this hop and nothing else. Then the file is replaced in one step, and the proxy is asked for its verdict.
//! If it rejects the new file anyway, the old one comes back.
//!
//! Other programs may save the same file at any time, and other `hop` commands may run. Those take turns from the
//! reading to the replacing. A save of another program is never overwritten, neither by the edit nor by its undoing.

mod effect;
mod error;
mod foreign;
mod lock;
mod origins;
mod switchboard;
pub(super) mod target;

use std::{fs, io::Write as _, path::Path, process::ExitCode};

use mooltiroute_hops::Registry;

use self::{
    effect::{RUNNING, in_force, obstacle, switched},
    error::{HopError, RejectedEdit},
    foreign::ForeignProxy,
    lock::HopLock,
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
    system::replace_file::replace_unchanged,
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
    // Everything that can fail without an effect comes first: the file, the proxy, the edit, its check.
    let mut board = Switchboard::find(name, &flags.proxy, environment)?;
    let lock = HopLock::wait(environment)?;
    board.target = board.target.read_again(&board.source)?;
    let Some((text, origin)) = edited(&board.target, flags.state, environment)? else {
        drop(lock);
        return Ok(nothing_to_edit(flags, &board, environment));
    };
    let edit = EditedFile { path: board.target.path.clone(), text };
    // A proxy may have other variables and flags than this process, so its judgement counts.
    for control in &board.running {
        check(&control.post("/v1/check", &edit)?, name)?;
    }
    // The proxy of another user, or one whose control socket is gone, is out of reach, and reads the edit by itself.
    let mut foreign = None;
    if board.running.is_empty() {
        foreign = ForeignProxy::find(&flags.proxy, &board.source, environment);
        let (source, environment) = (board.source.clone(), environment.clone());
        let loader = Loader::new(source, Overrides::default(), registry, environment);
        check_here(&loader, &edit, name)?;
    }
    // Before the file is written: if this process ends in between, an entry too many is harmless, but a
    // condition that is written nowhere would be lost. A switch of `true` to `false` needs no place for it.
    if let Some(origin) = origin {
        Origins::read(environment)?.set(&board.target.path, name, Some(origin))?;
    }
    write(&board.target, &edit.text)?;
    // A proxy may wait for a slow writer of another file before it gives its verdict.
    drop(lock);
    let said = effect_of(&edit, flags.state, &board, foreign)?;
    // Forgotten last: if the proxy rejects the restored value, the file is put back, and `auto` must work
    // again later. If the lock can't be had, an entry too many stays, which is harmless.
    if flags.state == HopState::Auto
        && let Ok(_lock) = HopLock::wait(environment)
        && is_restored(&edit, name)
    {
        Origins::read(environment)?.set(&board.target.path, name, None)?;
    }
    Ok(said)
}

/// Says that the file needs no edit, and what keeps the switch from having its effect, if anything does.
fn nothing_to_edit(flags: &cli::Hop, board: &Switchboard, environment: &Environment) -> String {
    let (name, state, file) = (&flags.name, flags.state, board.target.path.display());
    let said = match state {
        HopState::Auto => format!("{name} follows its condition already, in {file}"),
        state => format!("{name} is {state} already in {file}"),
    };
    let foreign = match board.running.is_empty() {
        true => ForeignProxy::find(&flags.proxy, &board.source, environment),
        false => None,
    };
    if board.running.is_empty() && foreign.is_none() {
        return said + "; no proxy runs with this configuration";
    }
    let of_running = board.running.iter().filter_map(|control| {
        let is_named = board.has_to_name_proxies();
        let place = if is_named { control.identity.to_string() } else { RUNNING.to_owned() };
        obstacle(&control.get("/v1/status").ok()?, name, state, &place)
    });
    let of_foreign =
        foreign.and_then(|foreign| obstacle(&foreign.status()?, name, state, foreign.place()));
    let obstacles = of_running.chain(of_foreign).map(|obstacle| format!("\n{obstacle}"));
    said + &obstacles.collect::<String>()
}

/// Has the proxies of `board`, or the one of another user, take the edit. Returns a sentence about what is in force now.
///
/// # Errors
/// A proxy rejects the file, which has its old text again.
fn effect_of(
    edit: &EditedFile,
    state: HopState,
    board: &Switchboard,
    foreign: Option<ForeignProxy<'_>>,
) -> Result<String, HopError> {
    let Switchboard { target, running, .. } = board;
    let words = switched(&target.name, state);
    if running.is_empty() {
        let Some(foreign) = foreign else {
            let file = target.path.display();
            return Ok(format!("{words} in {file}; no proxy runs with this configuration"));
        };
        return match foreign.takes_edit() {
            Ok(taken) => Ok(format!("{words}; {taken}")),
            Err(rejected) => Err(undo(target, edit, rejected, || ())),
        };
    }
    let report = |control: &Control| {
        let is_named = board.has_to_name_proxies();
        let place = if is_named { format!(" in {}", control.identity) } else { String::new() };
        in_force(control, (target, edit), state, &place)
    };
    let reports = running.iter().map(report).collect::<Result<Vec<_>, _>>()?;
    // Most of their warnings are the same.
    let mut lines = Vec::new();
    for line in reports.iter().flat_map(|report| report.lines()) {
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    Ok(lines.join("\n"))
}

/// Returns the new text, and the value to remember. Returns `None` if the file needs no edit.
fn edited(
    target: &SwitchTarget,
    state: HopState,
    environment: &Environment,
) -> Result<Option<(String, Option<Origin>)>, HopError> {
    let name = &target.name;
    let uneditable =
        |reason| HopError::Uneditable { file: target.path.display().to_string(), reason };
    if state == HopState::Auto {
        let origins = Origins::read(environment)?;
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
fn check_here(loader: &Loader, edit: &EditedFile, name: &str) -> Result<(), HopError> {
    let checked = match loader.check_edit(edit) {
        Ok(changes) => Checked { changes, ..Checked::default() },
        Err(problems) => Checked::invalid(ToldProblem::all(&problems)),
    };
    if !checked.problems.is_empty()
        && let Some(user) = running::owner::of_path(&edit.path)
        && checked.problems.iter().all(|problem| problem.text.contains("the right to read it"))
    {
        return Err(HopError::ForeignFiles { file: edit.path.display().to_string(), user });
    }
    check(&checked, name)
}

/// Accepts an edit that is valid and changes the switch of the hop `name` alone.
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
    // An editor may have saved the file meanwhile. Its change must not be overwritten.
    match replace_unchanged(&target.path, target.text.as_bytes(), text.as_bytes()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(HopError::Disturbed(file)),
        Err(cause) => Err(HopError::Write { file, cause }),
    }
}

/// Returns whether the file still has the condition that `edit` has put back. Another command may have replaced it
/// meanwhile, and remembers it now.
fn is_restored(edit: &EditedFile, name: &str) -> bool {
    fs::read_to_string(&edit.path).is_ok_and(|text| text == edit.text || has_condition(&text, name))
}

/// Puts the old text back, which `reload` then makes known. A text that another program has saved since `edit` stays.
fn undo(
    target: &SwitchTarget,
    edit: &EditedFile,
    rejected: RejectedEdit,
    reload: impl FnOnce(),
) -> HopError {
    match replace_unchanged(&target.path, edit.text.as_bytes(), target.text.as_bytes()) {
        Ok(true) => {
            reload();
            HopError::Undone(rejected)
        }
        Ok(false) => HopError::Overtaken { rejected, file: target.path.display().to_string() },
        Err(cause) => HopError::NotUndone { rejected, cause },
    }
}
