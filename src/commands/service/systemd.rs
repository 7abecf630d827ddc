//! A unit of systemd for the user's session. It follows the unit of the packages, whose comments explain the settings.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{MARK, Manager, ServiceError, ServiceProgram, command};

/// The systemd of the user.
#[derive(Debug)]
pub(super) struct Systemd {
    /// The user's directory of configurations.
    pub(super) config: Option<PathBuf>,
}

impl Manager for Systemd {
    fn path(&self) -> Result<PathBuf, ServiceError> {
        let directory =
            self.config.as_ref().ok_or(ServiceError::NoDirectory("`HOME` or `XDG_CONFIG_HOME`"))?;
        Ok(directory.join("systemd/user").join(UNIT))
    }

    fn environment_file(&self) -> Option<PathBuf> {
        Some(self.config.as_ref()?.join("mooltiroute/environment"))
    }

    fn content(&self, program: &ServiceProgram) -> Result<Vec<u8>, ServiceError> {
        let mut command = quoted(&program.executable.to_string_lossy());
        command.push_str(" \"run\"");
        if let Some(config) = &program.config {
            command.push_str(&format!(" \"-c\" {}", quoted(&config.to_string_lossy())));
        }
        let content = format!(
            "# {MARK}; `mooltiroute service uninstall` removes it.\n\
             [Unit]\n\
             Description=Mooltiroute, a local proxy that routes requests through chains of hops\n\n\
             [Service]\n\
             Type=notify\n\
             ExecStart={command}\n\
             ExecReload=/bin/kill -HUP $MAINPID\n\
             EnvironmentFile=-%E/mooltiroute/environment\n\
             WorkingDirectory=/\n\
             Restart=on-failure\n\
             RestartSec=3\n\
             StateDirectory=mooltiroute\n\
             NoNewPrivileges=yes\n\n\
             [Install]\n\
             WantedBy=default.target\n"
        );
        Ok(content.into())
    }

    fn end(&self) -> Vec<Command> {
        Vec::new()
    }

    fn start(&self, _: &Path) -> Vec<Command> {
        vec![
            systemctl(&["daemon-reload"]),
            systemctl(&["enable", UNIT]),
            // `restart` also makes a running proxy pick up the new definition.
            systemctl(&["restart", UNIT]),
        ]
    }

    fn stop(&self) -> Vec<Command> {
        vec![systemctl(&["disable", "--now", UNIT])]
    }

    fn status(&self) -> Command {
        systemctl(&["--no-pager", "status", UNIT])
    }
}

/// Returns a command to the systemd of the user.
fn systemctl(arguments: &[&str]) -> Command {
    let mut systemctl = command("systemctl", &["--user"]);
    systemctl.args(arguments);
    systemctl
}

/// Quotes a word of `ExecStart` (systemd.service(5), "Command lines"): specifiers begin with `%`, variables with `$`.
fn quoted(word: &str) -> String {
    let word = word.replace('\\', r"\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    format!("\"{word}\"")
}

const UNIT: &str = "mooltiroute.service";
