//! Signals as futures, and the two steps of an end.

use std::io;

use tokio_util::sync::CancellationToken;

/// The two steps in which the proxy ends: first nothing new begins, then what is left is cut.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// Cancelled when nothing new is to begin.
    pub draining: CancellationToken,
    /// Cancelled when what is still open is to end.
    pub cut: CancellationToken,
}

/// The signals that ask this process to end or to reload.
#[derive(Debug)]
pub struct Signals {
    #[cfg(unix)]
    streams: unix::Streams,
}

impl Signals {
    /// Takes the signals over from the system's defaults.
    ///
    /// # Errors
    /// What the system says.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            streams: unix::Streams::new()?,
        })
    }

    /// Waits until the process is asked to end: by SIGINT or SIGTERM where there are signals, by Ctrl+C elsewhere.
    pub async fn end(&mut self) {
        #[cfg(unix)]
        return self.streams.end().await;
        #[cfg(not(unix))]
        {
            // It fails only where no handler can be set; then there is nothing to wait for.
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// The requests to reload that come as a signal: SIGHUP, where there is one.
#[derive(Debug)]
pub struct ReloadRequests {
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
}

impl ReloadRequests {
    /// Takes the signal over from the system's default.
    ///
    /// # Errors
    /// What the system says.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            hangup: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?,
        })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        #[cfg(unix)]
        if self.hangup.recv().await.is_some() {
            return;
        }
        std::future::pending().await
    }
}

#[cfg(unix)]
mod unix {
    use std::io;

    use tokio::signal::unix::{Signal, SignalKind, signal};

    #[derive(Debug)]
    pub(super) struct Streams {
        interrupt: Signal,
        terminate: Signal,
    }

    impl Streams {
        pub(super) fn new() -> io::Result<Self> {
            Ok(Self {
                interrupt: signal(SignalKind::interrupt())?,
                terminate: signal(SignalKind::terminate())?,
            })
        }

        pub(super) async fn end(&mut self) {
            tokio::select! {
                _ = self.interrupt.recv() => {}
                _ = self.terminate.recv() => {}
            }
        }
    }
}
