//! Threads that the system may refuse to give.

use std::{
    fmt, io,
    sync::mpsc::{self, Sender},
    thread::{self, JoinHandle},
};

/// A thread that does nothing. Starting it shows that the system has one to spare.
///
/// Libraries start threads too, and some of them panic if they get none. Asking first turns a limit that is too low
/// (`ulimit -u`, `TasksMax=`, a container's `pids.max`) into an error. The thread ends by itself, so a caller that has
/// something else to do meanwhile hardly waits for it.
#[derive(Debug)]
pub(crate) struct ThreadProbe(JoinHandle<Option<u32>>);

impl ThreadProbe {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no thread to spare.
    pub(crate) fn start() -> io::Result<Self> {
        thread::Builder::new().stack_size(STACK_BYTES).spawn(own_id).map(Self)
    }

    /// Waits until the system no longer counts the thread, so that another one can have its place.
    pub(crate) fn end(self) {
        // It runs no code that could panic.
        let Ok(Some(id)) = self.0.join() else { return };
        // On Linux, a thread can be joined a moment before it is no longer counted.
        let counted = format!("/proc/self/task/{id}");
        for _ in 0..LOOKS_MAX {
            if std::fs::symlink_metadata(&counted).is_err() {
                return;
            }
            thread::yield_now();
        }
    }
}

/// A thread that was started in advance. Work that is given to it can't fail for lack of a thread.
///
/// The thread ends with its work, and if this is dropped without any.
pub(crate) struct ReadyThread(Sender<Box<dyn FnOnce() + Send>>);

impl ReadyThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no thread to spare.
    pub(crate) fn start(name: &str) -> io::Result<Self> {
        let (give, given) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let wait = move || {
            if let Ok(work) = given.recv() {
                work();
            }
        };
        thread::Builder::new().name(name.to_owned()).spawn(wait)?;
        Ok(Self(give))
    }

    /// Does `work` on the thread.
    pub(crate) fn run(self, work: impl FnOnce() + Send + 'static) {
        // The thread waits for it, so it is received.
        let _ = self.0.send(Box::new(work));
    }
}

impl fmt::Debug for ReadyThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadyThread").finish_non_exhaustive()
    }
}

/// Says that the system gives this process too few threads.
pub(crate) fn too_few(error: &io::Error) -> String {
    format!("{TOO_FEW} ({error})")
}

#[cfg(target_os = "linux")]
fn own_id() -> Option<u32> {
    rustix::thread::gettid().as_raw_nonzero().get().try_into().ok()
}

#[cfg(not(target_os = "linux"))]
fn own_id() -> Option<u32> {
    None
}

const TOO_FEW: &str = "the system gives this process too few threads to run; raise the limit of processes of this user \
     (`ulimit -u`), service (`TasksMax=`) or container";
/// The system makes a small stack faster than one of the usual size. It gives more if a thread needs more.
const STACK_BYTES: usize = 16 * 1024;
const LOOKS_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usual_process_gets_a_thread() {
        ThreadProbe::start().unwrap().end();
    }

    #[test]
    fn a_ready_thread_does_its_work_under_its_name() {
        let (tell, told) = mpsc::channel();
        let thread = ReadyThread::start("ready").unwrap();
        thread.run(move || tell.send(thread::current().name().map(str::to_owned)).unwrap());
        assert_eq!(told.recv().unwrap().as_deref(), Some("ready"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn after_its_end_the_system_does_not_count_it() {
        let (tell, told) = std::sync::mpsc::channel();
        let probe = ThreadProbe(thread::spawn(move || {
            tell.send(own_id().unwrap()).unwrap();
            own_id()
        }));
        let id = told.recv().unwrap();
        probe.end();
        assert!(!std::path::Path::new(&format!("/proc/self/task/{id}")).exists());
    }
}
