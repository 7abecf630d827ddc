//! The threads that the process needs, asked for before anything depends on them.

use std::{io, sync::mpsc, thread};

/// Checks that the system would give this process as many threads as it needs to run.
///
/// Libraries start threads too, and some of them panic if they get none. Asking for all of them at once, before
/// anything has begun, turns a limit that is too low (`ulimit -u`, `TasksMax=`, a container's `pids.max`) into one error.
///
/// # Errors
/// The system's error for the first thread that it refuses.
pub(crate) fn check_supply() -> io::Result<()> {
    let (mut threads, mut releases) = (Vec::new(), Vec::new());
    for _ in 0..NEEDED {
        let (release, released) = mpsc::channel::<()>();
        // Each lives until its channel ends, so that all of them exist at the same time.
        let waits = move || {
            let _ = released.recv();
        };
        threads.push(thread::Builder::new().stack_size(STACK_BYTES).spawn(waits)?);
        releases.push(release);
    }
    // All end at once, since the start waits for the last of them.
    drop(releases);
    for thread in threads {
        // It runs no code that could panic.
        let _ = thread.join();
    }
    wait_for_the_last_to_go();
    Ok(())
}

/// Waits until the system no longer counts threads that have ended. On Linux a thread is joined a moment before that.
fn wait_for_the_last_to_go() {
    #[cfg(target_os = "linux")]
    for _ in 0..LOOKS_MAX {
        let tasks = std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
        if tasks <= 1 {
            return;
        }
        thread::yield_now();
    }
}

/// The writer of the log, the two threads that watch the configuration, the keeper of usage, one for name look-ups and
/// reading files.
const NEEDED: usize = 5;
/// The system makes a small stack quicker than one of the usual size. It gives more if it needs more for a thread.
const STACK_BYTES: usize = 16 * 1024;
/// Other threads of a program that embeds this one may stay for long.
#[cfg(target_os = "linux")]
const LOOKS_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usual_process_gets_its_threads() {
        check_supply().unwrap();
    }
}
