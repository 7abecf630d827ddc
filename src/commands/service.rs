//! `mooltiroute service`: starts the proxy when the user logs in. Needs no administrator rights.

mod launchd;
mod systemd;
mod task;

use std::{
    env,
    ffi::OsString,
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Output},
};

use thiserror::Error;

use super::{Verdict, complain};
use crate::{
    cli::{self, ServiceAction},
    config::{Environment, Source},
};

/// The program that the service manager runs, and its configuration.
#[derive(Debug)]
struct Program {
    executable: PathBuf,
    /// The configuration, or `None` for the one that the program finds by itself.
    config: Option<PathBuf>,
}

/// The description of a service in the format of a service manager.
#[derive(Debug)]
struct Definition {
    path: PathBuf,
    content: Vec<u8>,
}

/// A per-user service manager. Each method that returns commands returns them in the order in which they run.
trait Manager {
    /// Returns the file that describes the service.
    fn definition(&self, program: &Program) -> Result<Definition, ServiceError>;

    /// Returns the commands that put the definition in force and start the service.
    fn start(&self, definition: &Path) -> Vec<Vec<OsString>>;

    /// Returns the commands that stop and forget the service. Their failure means that it was not there.
    fn stop(&self) -> Vec<Vec<OsString>>;

    /// Returns the command that succeeds while the service is known.
    fn status(&self) -> Vec<OsString>;
}

/// The reason why a service could not be changed.
#[derive(Debug, Error)]
enum ServiceError {
    #[error("the directory of the user's services is not known: set {0}")]
    NoDirectory(&'static str),
    #[error("`{}` was not written by this command; remove it first", .0.display())]
    Foreign(PathBuf),
    #[error("`{}` can't be written: {cause}", path.display())]
    Write { path: PathBuf, cause: io::Error },
    #[error("`{}` can't be removed: {cause}", path.display())]
    Remove { path: PathBuf, cause: io::Error },
    #[error("the path of this program is not known: {0}")]
    Executable(io::Error),
    #[error("`{command}` can't be run: {cause}")]
    Run { command: String, cause: io::Error },
    #[error("`{command}` failed: {said}")]
    Failed { command: String, said: String },
}

/// Runs the command.
pub fn run(flags: &cli::Service, environment: &Environment) -> ExitCode {
    let manager = manager(environment);
    match flags.action {
        ServiceAction::Install => {
            let source = match Source::find(flags.config.path.clone(), environment) {
                Ok(source) => source,
                Err(problems) => return complain(&problems),
            };
            done(install(&*manager, &source, flags.print))
        }
        ServiceAction::Uninstall => done(uninstall(&*manager)),
        ServiceAction::Status => match execute(&manager.status()) {
            Ok(output) => {
                let _ = super::stdout().write_all(&output.stdout);
                if output.status.success() { ExitCode::SUCCESS } else { complain(&NOT_INSTALLED) }
            }
            Err(error) => complain(&error),
        },
    }
}

fn done(done: Result<String, ServiceError>) -> ExitCode {
    match done {
        Ok(said) => {
            super::status(super::stdout().write_all(said.as_bytes()).map(|()| Verdict::Valid))
        }
        Err(error) => complain(&error),
    }
}

fn install(manager: &dyn Manager, source: &Source, prints: bool) -> Result<String, ServiceError> {
    let executable = env::current_exe().map_err(ServiceError::Executable)?;
    let config = match source {
        // A service has another working directory.
        Source::Path(path) => Some(fs::canonicalize(path).unwrap_or_else(|_| path.clone())),
        Source::Text(_) | Source::CommandLine { .. } | Source::Embedded => None,
    };
    let Definition { path, content } = manager.definition(&Program { executable, config })?;
    if prints {
        return Ok(String::from_utf8_lossy(&content).into_owned());
    }
    if fs::read(&path).is_ok_and(|old| !is_ours(&old)) {
        return Err(ServiceError::Foreign(path));
    }
    let directory = path.parent().unwrap_or(Path::new(""));
    let written = fs::create_dir_all(directory).and_then(|()| fs::write(&path, &content));
    written.map_err(|cause| ServiceError::Write { path: path.clone(), cause })?;
    for command in manager.start(&path) {
        succeed(&command)?;
    }
    Ok(format!("{}: written, and the service is started\n", path.display()))
}

fn uninstall(manager: &dyn Manager) -> Result<String, ServiceError> {
    let nothing = Program { executable: PathBuf::new(), config: None };
    let Definition { path, .. } = manager.definition(&nothing)?;
    if fs::read(&path).is_ok_and(|old| !is_ours(&old)) {
        return Err(ServiceError::Foreign(path));
    }
    for command in manager.stop() {
        // The command fails if the service is not loaded, which is fine here.
        execute(&command)?;
    }
    match fs::remove_file(&path) {
        Ok(()) => Ok(format!("{}: removed, and the service is stopped\n", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Ok("no service was installed\n".to_owned())
        }
        Err(cause) => Err(ServiceError::Remove { path, cause }),
    }
}

/// Returns whether a file was written by [`install`], in whichever encoding.
fn is_ours(content: &[u8]) -> bool {
    let text: String =
        content.iter().filter(|byte| **byte != 0).map(|byte| char::from(*byte)).collect();
    text.contains(MARK)
}

fn succeed(command: &[OsString]) -> Result<(), ServiceError> {
    let output = execute(command)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(ServiceError::Failed { command: shown(command), said })
}

fn execute(command: &[OsString]) -> Result<Output, ServiceError> {
    let (program, arguments) = command
        .split_first()
        .map_or((None, &[][..]), |(program, rest)| (Some(program.clone()), rest));
    let output = Command::new(program.unwrap_or_default()).args(arguments).output();
    output.map_err(|cause| ServiceError::Run { command: shown(command), cause })
}

fn shown(command: &[OsString]) -> String {
    command.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Returns the words of a command.
fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// Returns the service manager of this system.
fn manager(environment: &Environment) -> Box<dyn Manager> {
    if cfg!(target_os = "macos") {
        Box::new(launchd::Launchd { home: environment.absolute_path("HOME") })
    } else if cfg!(windows) {
        Box::new(task::ScheduledTask { directory: environment.absolute_path("LOCALAPPDATA") })
    } else {
        let user = environment.absolute_path("XDG_CONFIG_HOME");
        let user = user.or_else(|| Some(environment.absolute_path("HOME")?.join(".config")));
        Box::new(systemd::Systemd { config: user })
    }
}

/// The mark of files that [`install`] may replace.
const MARK: &str = "Written by `mooltiroute service install`";
const NOT_INSTALLED: &str = "the service does not run; `mooltiroute service install` starts it";

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> Program {
        Program {
            executable: "/opt/my \"tools\"/100%/mooltiroute".into(),
            config: Some("/home/ann/$x & <y>/config.d".into()),
        }
    }

    fn text(manager: &dyn Manager) -> String {
        let content = manager.definition(&program()).unwrap().content;
        assert!(is_ours(&content));
        String::from_utf8(
            content.into_iter().filter(|byte| *byte != 0 && byte.is_ascii()).collect(),
        )
        .unwrap()
    }

    #[test]
    fn a_systemd_unit_quotes_what_systemd_would_expand() {
        let unit = text(&systemd::Systemd { config: Some("/home/ann/.config".into()) });
        let line = r#"ExecStart="/opt/my \"tools\"/100%%/mooltiroute" "run" "-c" "/home/ann/$$x & <y>/config.d""#;
        assert!(unit.lines().any(|found| found == line), "{unit}");
        assert!(
            unit.contains("Type=notify-reload\n") && unit.contains("WantedBy=default.target\n")
        );
        assert!(!unit.contains("User="), "it is a unit of a user");
    }

    #[test]
    fn a_launch_agent_escapes_xml_and_runs_at_login() {
        let agent = text(&launchd::Launchd { home: Some("/Users/ann".into()) });
        assert!(
            agent.contains("<string>/home/ann/$x &amp; &lt;y&gt;/config.d</string>"),
            "{agent}"
        );
        assert!(agent.contains("<key>RunAtLoad</key>\n\t<true/>"), "{agent}");
    }

    #[test]
    fn a_task_starts_at_logon_with_the_rights_of_its_user() {
        let task = text(&task::ScheduledTask { directory: Some("/c/Users/ann".into()) });
        assert!(
            task.contains("<LogonTrigger>") && task.contains("<RunLevel>LeastPrivilege</RunLevel>")
        );
        assert!(
            task.contains("<ExecutionTimeLimit>PT0S</ExecutionTimeLimit>"),
            "it runs without a limit: {task}"
        );
        assert!(task.contains("&quot;/home/ann/$x &amp; &lt;y&gt;/config.d&quot;"), "{task}");
    }
}
