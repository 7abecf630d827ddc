//! A launch agent of macOS.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use super::{Definition, MARK, Manager, Program, ServiceError, words};

/// The launchd of the user.
#[derive(Debug)]
pub(super) struct Launchd {
    pub(super) home: Option<PathBuf>,
}

impl Manager for Launchd {
    fn definition(&self, program: &Program) -> Result<Definition, ServiceError> {
        let home = self.home.as_ref().ok_or(ServiceError::NoDirectory("`HOME`"))?;
        let mut command = vec![program.executable.to_string_lossy().into_owned(), "run".into()];
        if let Some(config) = &program.config {
            command.extend(["-c".into(), config.to_string_lossy().into_owned()]);
        }
        let arguments =
            command.iter().map(|word| format!("\t\t<string>{}</string>\n", escaped(word)));
        let arguments: String = arguments.collect();
        let log = escaped(&home.join("Library/Logs/mooltiroute.log").to_string_lossy());
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
        let path = home.join("Library/LaunchAgents").join(format!("{LABEL}.plist"));
        Ok(Definition { path, content: content.into() })
    }

    fn start(&self, definition: &Path) -> Vec<Vec<OsString>> {
        let mut load = words(&["launchctl", "bootstrap", &domain()]);
        load.push(definition.into());
        vec![load]
    }

    fn stop(&self) -> Vec<Vec<OsString>> {
        vec![words(&["launchctl", "bootout", &format!("{}/{LABEL}", domain())])]
    }

    fn status(&self) -> Vec<OsString> {
        words(&["launchctl", "print", &format!("{}/{LABEL}", domain())])
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

/// Escapes text for an element of XML.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const LABEL: &str = "io.github.mooltiroute";
