//! Builds the runtimes of tokio.

use std::io;

use tokio::runtime::{Builder, Runtime};

use crate::system::own_lack::{OwnLack, RAISE_OPEN_FILES};

/// Builds a runtime that serves on the thread which calls it.
///
/// # Errors
/// The system has no descriptor left for it.
pub(crate) fn build() -> io::Result<Runtime> {
    // The first runtime of a process makes a socket pair for signals, and tokio panics if the system refuses that. So its
    // six descriptors are asked for in advance: epoll's and a duplicate, one for waking, the pair and a duplicate.
    #[cfg(unix)]
    let free = [(); 3].map(|()| io::pipe());
    #[cfg(unix)]
    for pipe in free {
        drop(pipe?);
    }
    Builder::new_current_thread().enable_all().build()
}

/// Describes a runtime that could not be built, and what to do.
pub(crate) fn not_built(error: &io::Error) -> String {
    let advice = match OwnLack::of(error) {
        Some(OwnLack::Descriptors) => format!("; {RAISE_OPEN_FILES}"),
        _ => String::new(),
    };
    format!("the runtime can't be started: {error}{advice}")
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_has_timers_and_sockets() {
        let bound = async {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            tokio::net::TcpListener::bind("127.0.0.1:0").await
        };
        assert!(build().unwrap().block_on(bound).is_ok());
    }
}
