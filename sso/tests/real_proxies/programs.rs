//! Programs of the machine, which may be missing.

use std::{
    env,
    io::Write as _,
    path::Path,
    process::{Child, Command, Output},
    time::{Duration, Instant},
};

/// Whether all these files are there; says so on the terminal if one is not.
pub(crate) fn are_installed(paths: &[&str]) -> bool {
    let Some(missing) = paths.iter().find(|path| !Path::new(path).is_file()) else { return true };
    assert!(
        env::var_os("MOOLTIROUTE_PEERS").is_none_or(|peers| peers != "required"),
        "{missing} is not installed, and MOOLTIROUTE_PEERS=required"
    );
    let _ =
        std::io::stderr().write_all(format!("skipped: {missing} is not installed\n").as_bytes());
    false
}

/// A child that is killed and waited for.
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a program to its end, which must be a good one.
pub(crate) fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {output:?}");
    output
}

/// Waits until `what` holds, and tells whether it did in time.
pub(crate) fn wait_until(mut what: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        if what() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
