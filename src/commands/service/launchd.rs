//! A launch agent of macOS.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{MARK, Manager, ServiceError, ServiceProgram, command, escaped};

/// The launchd of the user.
#[derive(Debug)]
pub(super) struct Launchd {
    pub(super) home: Option<PathBuf>,
}

impl Manager for Launchd {
    fn path(&self) -> Result<PathBuf, ServiceError> {
        Ok(self.home()?.join("Library/LaunchAgents").join(format!("{LABEL}.plist")))
    }

    fn content(&self, program: &ServiceProgram) -> Result<Vec<u8>, ServiceError> {
        let mut command = vec![program.executable.to_string_lossy().into_owned(), "run".into()];
        if let Some(config) = &program.config {
            command.extend(["-c".into(), config.to_string_lossy().into_owned()]);
        }
        let arguments =
            command.iter().map(|word| format!("\t\t<string>{}</string>\n", escaped(word)));
        let arguments: String = arguments.collect();
        let log = escaped(&self.home()?.join("Library/Logs/mooltiroute.log").to_string_lossy());
        let content = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <!-- {MARK} -->\n\
             <!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n\
             <plist version=\"1.0\">\n<dict>\n\
             \t<key>Label</key>\n\t<string>{LABEL}</string>\n\
             \t<key>ProgramArguments</key>\n\t<array>\n{arguments}\t</array>\n\
             \t<key>RunAtLoad</key>\n\t<true/>\n\
             \t<key>KeepAlive</key>\n\t<dict>\n\t\t<key>SuccessfulExit</key>\n\t\t<false/>\n\t</dict>\n\
             \t<key>StandardErrorPath</key>\n\t<string>{log}</string>\n\
             </dict>\n</plist>\n"
        );
        Ok(content.into())
    }

    fn end(&self) -> Vec<Command> {
        // `bootstrap` fails for a label that is loaded already.
        vec![command("launchctl", &["bootout", &format!("{}/{LABEL}", domain())])]
    }

    fn ending(&self) -> Option<Command> {
        // `bootout` may return before the process has ended its connections.
        Some(self.status())
    }

    fn start(&self, definition: &Path) -> Vec<Command> {
        let mut load = command("launchctl", &["bootstrap", &domain()]);
        load.arg(definition);
        vec![load]
    }

    fn stop(&self) -> Vec<Command> {
        self.end()
    }

    fn status(&self) -> Command {
        command("launchctl", &["print", &format!("{}/{LABEL}", domain())])
    }
}

impl Launchd {
    fn home(&self) -> Result<&Path, ServiceError> {
        self.home.as_deref().ok_or(ServiceError::NoDirectory("`HOME`"))
    }
}

/// Returns the name of the user's session.
fn domain() -> String {
    #[cfg(unix)]
    let user = rustix::process::getuid().as_raw();
    #[cfg(not(unix))]
    let user = 0;
    format!("gui/{user}")
}

const LABEL: &str = "io.github.mooltiroute";
