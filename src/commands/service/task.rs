//! A scheduled task of Windows that starts when its user logs on.
//!
//! `conhost.exe --headless` gives the program a console without a window. The scheduler doesn't count an exit status as a
//! failure, so the trigger repeats every minute, and `IgnoreNew` makes that do nothing while the program runs.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{MARK, Manager, ServiceError, ServiceProgram, command, escaped};
use crate::config::Environment;

/// The task scheduler.
#[derive(Debug)]
pub(super) struct ScheduledTask {
    /// The directory for the definition. A definition there marks the task as one of this command.
    pub(super) directory: Option<PathBuf>,
    /// The name of the user, with that of the domain or machine before it.
    pub(super) user: Option<String>,
}

impl ScheduledTask {
    pub(super) fn new(environment: &Environment) -> Self {
        let name = |variable| environment.variable(variable).map(|name| name.display().to_string());
        let user = name("USERNAME").map(|user| match name("USERDOMAIN") {
            Some(domain) => format!("{domain}\\{user}"),
            None => user,
        });
        Self { directory: environment.absolute_path("LOCALAPPDATA"), user }
    }
}

impl Manager for ScheduledTask {
    fn path(&self) -> Result<PathBuf, ServiceError> {
        let directory =
            self.directory.as_ref().ok_or(ServiceError::NoDirectory("`LOCALAPPDATA`"))?;
        Ok(directory.join("mooltiroute").join("task.xml"))
    }

    fn content(&self, program: &ServiceProgram) -> Result<Vec<u8>, ServiceError> {
        let user = self.user.as_ref().ok_or(ServiceError::NoUser("`USERNAME`"))?;
        // Without the user, the trigger is for every user who logs on, which only administrators may register.
        let user = escaped(user);
        let executable = program.executable.display();
        let config = program.config.as_ref().map(|path| format!(" -c \"{}\"", path.display()));
        let arguments =
            escaped(&format!("--headless \"{executable}\" run{}", config.unwrap_or_default()));
        let xml = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-16\"?>\r\n\
             <Task version=\"1.2\" xmlns=\"http://schemas.microsoft.com/windows/2004/02/mit/task\">\r\n\
             <RegistrationInfo><Description>{MARK}</Description></RegistrationInfo>\r\n\
             <Triggers><LogonTrigger>{EVERY_MINUTE}<Enabled>true</Enabled><UserId>{user}</UserId></LogonTrigger></Triggers>\r\n\
             <Principals><Principal id=\"Author\"><UserId>{user}</UserId><LogonType>InteractiveToken</LogonType>\
             <RunLevel>LeastPrivilege</RunLevel></Principal></Principals>\r\n\
             <Settings><MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>\
             <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>\
             <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>\
             <ExecutionTimeLimit>PT0S</ExecutionTimeLimit></Settings>\r\n\
             <Actions Context=\"Author\"><Exec><Command>conhost.exe</Command>\
             <Arguments>{arguments}</Arguments></Exec></Actions>\r\n\
             </Task>\r\n"
        );
        // The scheduler reads UTF-16 with a byte order mark.
        let content = std::iter::once(0xfeff).chain(xml.encode_utf16()).flat_map(u16::to_le_bytes);
        Ok(content.collect())
    }

    fn end(&self) -> Vec<Command> {
        // `IgnoreNew` makes `/Run` do nothing while a process of the old definition runs.
        vec![command("schtasks", &["/End", "/TN", NAME])]
    }

    fn start(&self, definition: &Path) -> Vec<Command> {
        let mut create = command("schtasks", &["/Create", "/F", "/TN", NAME, "/XML"]);
        create.arg(definition);
        vec![create, command("schtasks", &["/Run", "/TN", NAME])]
    }

    fn stop(&self) -> Vec<Command> {
        let mut stop = self.end();
        stop.push(command("schtasks", &["/Delete", "/F", "/TN", NAME]));
        stop
    }

    fn status(&self) -> Command {
        command("schtasks", &["/Query", "/TN", NAME])
    }
}

const NAME: &str = "Mooltiroute";
const EVERY_MINUTE: &str = "<Repetition><Interval>PT1M</Interval><StopAtDurationEnd>false</StopAtDurationEnd></Repetition>";
