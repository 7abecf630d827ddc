//! Programs of the machine, which may be missing.

use std::{
    env,
    io::Write as _,
    net::TcpListener,
    path::Path,
    process::{self, Child, Command, Output},
    sync::atomic::{AtomicU16, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// Returns whether all these files exist, and reports the first one that is missing on the terminal.
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

/// Runs a program to its end. It must succeed.
pub(crate) fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {output:?}");
    output
}

/// Waits until `what` returns `true`, and returns whether it did in time.
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

/// Returns a port at which nothing listens. No other call returns it, and it is below the ports that systems give to clients.
pub(crate) fn free_port() -> u16 {
    static RETURNED: AtomicU16 = AtomicU16::new(0);
    let first = (process::id() % 10_000) as u16;
    loop {
        let number = first.wrapping_add(RETURNED.fetch_add(1, Relaxed)) % 20_000;
        let port = 12_000 + number;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
