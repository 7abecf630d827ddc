//! A scheduled task of Windows that starts when its user logs on.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{MARK, Manager, Program, ServiceError, command, escaped};

/// The task scheduler.
#[derive(Debug)]
pub(super) struct ScheduledTask {
    /// The directory for the definition. A definition there marks the task as one of this command.
    pub(super) directory: Option<PathBuf>,
}

impl Manager for ScheduledTask {
    fn path(&self) -> Result<PathBuf, ServiceError> {
        let directory =
            self.directory.as_ref().ok_or(ServiceError::NoDirectory("`LOCALAPPDATA`"))?;
        Ok(directory.join("mooltiroute").join("task.xml"))
    }

    fn content(&self, program: &Program) -> Result<Vec<u8>, ServiceError> {
        let executable = escaped(&program.executable.to_string_lossy());
        let config = program.config.as_ref().map(|path| format!(" -c \"{}\"", path.display()));
        let arguments = escaped(&format!("run{}", config.unwrap_or_default()));
        let xml = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-16\"?>\r\n\
             <Task version=\"1.2\" xmlns=\"http://schemas.microsoft.com/windows/2004/02/mit/task\">\r\n\
             <RegistrationInfo><Description>{MARK}</Description></RegistrationInfo>\r\n\
             <Triggers><LogonTrigger><Enabled>true</Enabled></LogonTrigger></Triggers>\r\n\
             <Principals><Principal id=\"Author\"><LogonType>InteractiveToken</LogonType>\
             <RunLevel>LeastPrivilege</RunLevel></Principal></Principals>\r\n\
             <Settings><MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>\
             <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>\
             <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>\
             <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>\
             <RestartOnFailure><Interval>PT1M</Interval><Count>99</Count></RestartOnFailure></Settings>\r\n\
             <Actions Context=\"Author\"><Exec><Command>{executable}</Command>\
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
