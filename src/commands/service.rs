//! `mooltiroute service`: starts the proxy when the user logs in. Needs no administrator rights.

mod doubts;
mod environment_file;
mod error;
mod launchd;
mod systemd;
mod task;

use std::{
    env,
    ffi::OsStr,
    fs,
    io::{self, Write as _},
    iter,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Output},
    thread,
    time::{Duration, Instant},
};

use mooltiroute_hops::Registry;

use self::{doubts::Doubts, error::ServiceError};
use super::{Verdict, complain};
use crate::{
    cli::{self, ServiceAction},
    config::{Environment, Source, source::without_links},
};

/// The program that the service manager runs, and its configuration.
#[derive(Debug)]
struct ServiceProgram {
    executable: PathBuf,
    /// The configuration, or `None` for the one that the program finds by itself.
    config: Option<PathBuf>,
}

/// A per-user service manager. Each method that returns commands returns them in the order in which they run.
trait Manager {
    /// Returns the path of the file that describes the service.
    fn path(&self) -> Result<PathBuf, ServiceError>;

    /// Returns the path of the file that sets the variables of the service, if the manager reads one.
    fn environment_file(&self) -> Option<PathBuf> {
        None
    }

    /// Returns the content of that file, in the format of this manager.
    fn content(&self, program: &ServiceProgram) -> Result<Vec<u8>, ServiceError>;

    /// Returns the commands that end a running service if [`start`](Self::start) would leave it as it is. They fail if
    /// none runs.
    fn end(&self) -> Vec<Command>;

    /// Returns a command that succeeds until the service has ended. Returns `None` if [`end`](Self::end) waits for that.
    fn ending(&self) -> Option<Command> {
        None
    }

    /// Returns the commands that load the definition and start the service.
    fn start(&self, definition: &Path) -> Vec<Command>;

    /// Returns the commands that stop and forget the service. They fail if it is not there.
    fn stop(&self) -> Vec<Command>;

    /// Returns the command that succeeds while the service is known.
    fn status(&self) -> Command;
}

/// Runs the command.
pub fn run(flags: &cli::Service, registry: Registry, environment: &Environment) -> ExitCode {
    let manager = manager(environment);
    match flags.action {
        ServiceAction::Install => {
            let source = match Source::find(flags.config.path.clone(), environment) {
                Ok(source) => source,
                Err(problems) => return complain(&problems),
            };
            let Doubts { invalid, variables } =
                Doubts::about(&*manager, &source, registry, environment);
            // On standard error, since `--print` writes a file to standard output.
            if let Some(problems) = invalid {
                complain(&problems);
                if !flags.print {
                    return complain(&format_args!("{source} is invalid; {NOT_INSTALLED_SO}"));
                }
                complain(&format_args!("{source} is invalid; the service would not start"));
            }
            let status = done(install(&*manager, &source, flags.print));
            for doubt in &variables {
                complain(doubt);
            }
            status
        }
        ServiceAction::Uninstall => done(uninstall(&*manager)),
        ServiceAction::Status => match execute(&mut manager.status()) {
            Ok(output) => {
                let _ = super::stdout().write_all(&output.stdout);
                if output.status.success() {
                    return ExitCode::SUCCESS;
                }
                // The reason may be that there is no service manager, as in many containers.
                match said(&output) {
                    why if why.is_empty() => complain(&NOT_INSTALLED),
                    said if is_unreachable(&said) => complain(&ServiceError::Unreachable { said }),
                    why => complain(&format_args!("{NOT_INSTALLED} ({why})")),
                }
            }
            Err(error) => complain(&error),
        },
    }
}

const NOT_INSTALLED_SO: &str = "the service is not installed. Correct the configuration, look at it with `mooltiroute check`, and run \
                                this again";

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
        Source::Path(path) => Some(without_links(path).unwrap_or_else(|_| path.clone())),
        Source::Text(_) | Source::CommandLine { .. } | Source::Embedded => None,
    };
    let (path, content) =
        (manager.path()?, manager.content(&ServiceProgram { executable, config })?);
    if prints {
        return Ok(as_text(&content));
    }
    is_installed(&path)?;
    let directory = path.parent().unwrap_or(Path::new(""));
    let written = fs::create_dir_all(directory).and_then(|()| fs::write(&path, &content));
    written.map_err(|cause| ServiceError::Write { path: path.clone(), cause })?;
    let started = end(manager).and_then(|()| manager.start(&path).iter_mut().try_for_each(succeed));
    started.map_err(|cause| {
        let (path, cause) = (path.clone(), Box::new(cause));
        match *cause {
            ServiceError::Unreachable { .. } => ServiceError::Waiting { path, cause },
            _ => ServiceError::Start { path, cause },
        }
    })?;
    Ok(format!("{}: written, and the service is started\n", path.display()))
}

/// Ends the service of an earlier installation, if it runs, and waits for its end.
fn end(manager: &dyn Manager) -> Result<(), ServiceError> {
    for mut command in manager.end() {
        execute(&mut command)?;
    }
    let Some(mut ending) = manager.ending() else { return Ok(()) };
    let begin = Instant::now();
    while execute(&mut ending)?.status.success() {
        if begin.elapsed() > LONGEST_END {
            return Err(ServiceError::Running);
        }
        thread::sleep(POLL);
    }
    Ok(())
}

fn uninstall(manager: &dyn Manager) -> Result<String, ServiceError> {
    let path = manager.path()?;
    // Without our definition, a service of this name belongs to another installer, such as a package. It runs on.
    if !is_installed(&path)? {
        return Ok("no service was installed\n".to_owned());
    }
    let mut unreachable = None;
    for mut command in manager.stop() {
        // The command fails if the service is not loaded, which is fine here.
        let said = said(&execute(&mut command)?);
        if is_unreachable(&said) {
            unreachable = Some(ServiceError::Unreachable { said });
        }
    }
    match (fs::remove_file(&path), unreachable) {
        (Ok(()), Some(cause)) => Err(ServiceError::NotStopped { path, cause: Box::new(cause) }),
        (Ok(()), None) => Ok(format!("{}: removed, and the service is stopped\n", path.display())),
        (Err(cause), _) => Err(ServiceError::Remove { path, cause }),
    }
}

/// Returns whether a command of systemd says that this user has no service manager to talk to.
fn is_unreachable(said: &str) -> bool {
    said.contains("connect to bus") || said.contains("connect to user scope bus")
}

/// Returns whether [`install`] has written the definition at `path`.
///
/// # Errors
/// The file is not ours, or can't be read.
fn is_installed(path: &Path) -> Result<bool, ServiceError> {
    match fs::read(path) {
        Ok(content) if is_ours(&content) => Ok(true),
        Ok(_) => Err(ServiceError::Foreign(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(cause) => Err(ServiceError::Read { path: path.to_owned(), cause }),
    }
}

/// Returns a definition as text, also that of Windows, which is UTF-16 with a byte order mark.
fn as_text(content: &[u8]) -> String {
    let Some(units) = content.strip_prefix(b"\xff\xfe") else {
        return String::from_utf8_lossy(content).into_owned();
    };
    let units: Vec<u16> =
        units.as_chunks().0.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
    String::from_utf16_lossy(&units)
}

/// Returns whether a file was written by [`install`], in whichever encoding.
fn is_ours(content: &[u8]) -> bool {
    let text: String =
        content.iter().filter(|byte| **byte != 0).map(|byte| char::from(*byte)).collect();
    text.contains(MARK)
}

fn succeed(command: &mut Command) -> Result<(), ServiceError> {
    let output = execute(command)?;
    if output.status.success() {
        return Ok(());
    }
    let said = said(&output);
    Err(match is_unreachable(&said) {
        true => ServiceError::Unreachable { said },
        false => ServiceError::Failed { command: shown(command), said },
    })
}

/// Returns the standard error of a command, without a full stop at its end.
fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().trim_end_matches('.').to_owned()
}

fn execute(command: &mut Command) -> Result<Output, ServiceError> {
    command.output().map_err(|cause| ServiceError::Run { command: shown(command), cause })
}

fn shown(command: &Command) -> String {
    let words = iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// Returns a command of a program and its arguments.
fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// Escapes text for an element of XML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Returns the service manager of this system.
fn manager(environment: &Environment) -> Box<dyn Manager> {
    if cfg!(target_os = "macos") {
        Box::new(launchd::Launchd { home: environment.absolute_path("HOME") })
    } else if cfg!(windows) {
        Box::new(task::ScheduledTask::new(environment))
    } else {
        Box::new(systemd::Systemd { config: environment.user_directories().into_iter().next() })
    }
}

/// The mark of files that [`install`] may replace.
const MARK: &str = "Written by `mooltiroute service install`";
/// The longest time that a service may take to end. launchd kills it after 20 s.
const LONGEST_END: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);
const NOT_INSTALLED: &str = "the service does not run; `mooltiroute service install` starts it";

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> ServiceProgram {
        ServiceProgram {
            executable: "/opt/my \"tools\"/100%/mooltiroute".into(),
            config: Some("/home/ann/$x & <y>/config.d".into()),
        }
    }

    fn text(manager: &dyn Manager) -> String {
        let content = manager.content(&program()).unwrap();
        assert!(is_ours(&content));
        assert!(as_text(&content).contains(MARK) && !as_text(&content).contains('\u{fffd}'));
        String::from_utf8(
            content.into_iter().filter(|byte| *byte != 0 && byte.is_ascii()).collect(),
        )
        .unwrap()
    }

    #[test]
    fn a_user_without_a_service_manager_is_told_from_a_service_that_fails() {
        for said in [
            "Failed to connect to bus: No medium found",
            "Failed to connect to bus: $DBUS_SESSION_BUS_ADDRESS and $XDG_RUNTIME_DIR not defined (consider using --machine=<user>@.host --user to connect to bus of other user)",
            "Failed to connect to user scope bus via local transport: No such file or directory",
        ] {
            assert!(is_unreachable(said), "{said}");
        }
        assert!(!is_unreachable("Job for mooltiroute.service failed"));
    }

    #[test]
    fn a_systemd_unit_quotes_what_systemd_would_expand() {
        let unit = text(&systemd::Systemd { config: Some("/home/ann/.config".into()) });
        let line = r#"ExecStart="/opt/my \"tools\"/100%%/mooltiroute" "run" "-c" "/home/ann/$$x & <y>/config.d""#;
        assert!(unit.lines().any(|found| found == line), "{unit}");
        assert!(
            unit.contains("Type=notify\n") && unit.contains("ExecReload="),
            "`notify-reload` needs systemd 253: {unit}"
        );
        assert!(unit.contains("WantedBy=default.target\n"), "{unit}");
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
        let task = text(&task());
        assert!(task.contains("<RunLevel>LeastPrivilege</RunLevel>"), "{task}");
        // The trigger and the principal name the user, or only an administrator may register the task.
        assert_eq!(task.matches("<UserId>OFFICE\\ann &amp; co</UserId>").count(), 2, "{task}");
        assert!(
            task.contains("<Interval>PT1M</Interval>") && task.contains("IgnoreNew"),
            "it starts again after a failure: {task}"
        );
        assert!(
            task.contains("<ExecutionTimeLimit>PT0S</ExecutionTimeLimit>"),
            "it runs without a limit: {task}"
        );
        assert!(
            task.contains("<Command>conhost.exe</Command><Arguments>--headless &quot;/opt/my"),
            "it has no window: {task}"
        );
        assert!(task.contains("&quot;/home/ann/$x &amp; &lt;y&gt;/config.d&quot;"), "{task}");
    }

    fn task() -> task::ScheduledTask {
        let directory = Some("/c/Users/ann".into());
        task::ScheduledTask { directory, user: Some("OFFICE\\ann & co".to_owned()) }
    }

    #[test]
    fn the_user_of_a_task_comes_with_the_domain() {
        let environment = |variables: &'static [(&str, &str)]| {
            let find = move |name: &str| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| value.into())
            };
            task::ScheduledTask::new(&Environment::new(find, "")).user
        };
        let both = environment(&[("USERNAME", "ann"), ("USERDOMAIN", "OFFICE")]);
        assert_eq!(both.as_deref(), Some("OFFICE\\ann"));
        assert_eq!(environment(&[("USERNAME", "ann")]).as_deref(), Some("ann"));
        assert_eq!(environment(&[]), None);
    }

    /// Returns the commands of a second installation as text, and of the removal.
    fn commands(manager: &dyn Manager) -> (Vec<String>, Vec<String>) {
        let definition = manager.path().unwrap();
        let install = manager.end().into_iter().chain(manager.start(&definition));
        // Windows, which can show the commands of other systems too, has other separators in paths.
        let text = |command: &Command| shown(command).replace('\\', "/");
        let texts = |commands: Vec<Command>| commands.iter().map(text).collect::<Vec<_>>();
        (texts(install.collect()), texts(manager.stop()))
    }

    #[test]
    fn a_second_installation_replaces_a_loaded_launch_agent() {
        let (install, remove) = commands(&launchd::Launchd { home: Some("/Users/ann".into()) });
        assert!(
            install[0].starts_with("launchctl bootout gui/")
                && install[0].ends_with("/io.github.mooltiroute"),
            "{install:?}"
        );
        assert!(install[1].starts_with("launchctl bootstrap gui/"), "{install:?}");
        assert!(install[1].ends_with("LaunchAgents/io.github.mooltiroute.plist"), "{install:?}");
        assert_eq!(remove, install[..1]);
    }

    #[test]
    fn a_second_installation_ends_the_process_of_a_running_task() {
        let (install, remove) = commands(&task());
        let end = "schtasks /End /TN Mooltiroute".to_owned();
        assert_eq!(install[0], end);
        assert!(install[1].starts_with("schtasks /Create /F /TN Mooltiroute /XML "), "{install:?}");
        assert_eq!(install[2..], ["schtasks /Run /TN Mooltiroute"]);
        assert_eq!(remove, [end, "schtasks /Delete /F /TN Mooltiroute".to_owned()]);
    }

    /// A manager that ends its service in the background: the `runs` file is gone at the third look.
    #[cfg(unix)]
    struct Slow(PathBuf);

    #[cfg(unix)]
    impl Slow {
        fn shell(&self, script: &str) -> Command {
            let mut shell = command("sh", &["-c", script]);
            shell.current_dir(&self.0);
            shell
        }
    }

    #[cfg(unix)]
    impl Manager for Slow {
        fn path(&self) -> Result<PathBuf, ServiceError> {
            Ok(self.0.join("definition"))
        }

        fn content(&self, _: &ServiceProgram) -> Result<Vec<u8>, ServiceError> {
            Ok(MARK.into())
        }

        fn end(&self) -> Vec<Command> {
            vec![self.shell("exit 1")]
        }

        fn ending(&self) -> Option<Command> {
            Some(self.shell("echo >> looks; test $(wc -l < looks) -lt 3 || { rm runs; exit 1; }"))
        }

        fn start(&self, _: &Path) -> Vec<Command> {
            vec![self.shell("test ! -e runs")]
        }

        fn stop(&self) -> Vec<Command> {
            Vec::new()
        }

        fn status(&self) -> Command {
            self.shell("test -e runs")
        }
    }

    #[test]
    #[cfg(unix)]
    fn an_installation_waits_for_the_end_of_the_earlier_service() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("runs"), "").unwrap();
        let done = install(&Slow(directory.path().to_owned()), &Source::Embedded, false);
        assert!(done.is_ok_and(|said| said.ends_with("the service is started\n")));
        assert_eq!(fs::read_to_string(directory.path().join("looks")).unwrap(), "\n\n\n");
    }
}
