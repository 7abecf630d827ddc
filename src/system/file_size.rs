//! The limit on the size of files: `ulimit -f`, or `LimitFSIZE=` of a service.

use std::io;

/// Makes a write beyond the limit fail, as one to a full disk does. By default the system ends the process with SIGXFSZ
/// instead. It stays so until the process ends, and programs that this one starts have the default again. To be called in
/// a runtime of tokio.
///
/// # Errors
/// The system's error.
pub(crate) fn outlive_limit() -> io::Result<()> {
    #[cfg(unix)]
    {
        use rustix::process::Signal;
        use tokio::signal::unix::{SignalKind, signal};

        // A signal that is handled ends nothing. The handler outlives the stream, which nobody reads.
        drop(signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))?);
    }
    Ok(())
}
