//! A unit of systemd for the user's session.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use super::{Definition, MARK, Manager, Program, ServiceError, words};

/// The systemd of the user.
#[derive(Debug)]
pub(super) struct Systemd {
    /// The user's directory of configurations.
    pub(super) config: Option<PathBuf>,
}

impl Manager for Systemd {
    fn definition(&self, program: &Program) -> Result<Definition, ServiceError> {
        let directory =
            self.config.as_ref().ok_or(ServiceError::NoDirectory("`HOME` or `XDG_CONFIG_HOME`"))?;
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
             Type=notify-reload\n\
             ExecStart={command}\n\
             Restart=on-failure\n\
             StateDirectory=mooltiroute\n\
             NoNewPrivileges=yes\n\n\
             [Install]\n\
             WantedBy=default.target\n"
        );
        Ok(Definition { path: directory.join("systemd/user").join(UNIT), content: content.into() })
    }

    fn start(&self, _: &Path) -> Vec<Vec<OsString>> {
        vec![
            words(&["systemctl", "--user", "daemon-reload"]),
            words(&["systemctl", "--user", "enable", UNIT]),
            // `restart` also makes a running proxy pick up the new definition.
            words(&["systemctl", "--user", "restart", UNIT]),
        ]
    }

    fn stop(&self) -> Vec<Vec<OsString>> {
        vec![words(&["systemctl", "--user", "disable", "--now", UNIT])]
    }

    fn status(&self) -> Vec<OsString> {
        words(&["systemctl", "--user", "--no-pager", "status", UNIT])
    }
}

/// Quotes a word of `ExecStart` (systemd.service(5), "Command lines"): specifiers begin with `%`, variables with `$`.
fn quoted(word: &str) -> String {
    let word = word.replace('\\', r"\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    format!("\"{word}\"")
}

const UNIT: &str = "mooltiroute.service";
