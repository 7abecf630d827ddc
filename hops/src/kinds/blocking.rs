//! Calls of the system's library on threads of their own.

use std::{io, sync::Arc, thread, time::Duration};

use tokio::{
    sync::{Semaphore, oneshot},
    time,
};

/// Runs calls that may block for long, a few at a time.
///
/// A call can't be cancelled: one that asks a key distribution centre which accepts a connection and says nothing
/// goes on for 25 s and more. So nothing waits for a call longer than `patience`, and a call that was given up keeps
/// its place until it returns. Each hop has places of its own, which keeps the calls of one hop from delaying those
/// of another. The threads are not those of [`thread_pool`](crate::thread_pool), where name look-ups and edits would wait
/// for calls that hang.
#[derive(Debug)]
pub(super) struct BlockingCalls {
    /// The name of the threads.
    name: &'static str,
    places: Arc<Semaphore>,
    patience: Duration,
}

/// A call that did not come back.
#[derive(Debug)]
pub(super) enum CallError {
    /// It takes longer than this.
    TimedOut(Duration),
    /// The system gives no thread.
    NoThread(io::Error),
    /// It panicked.
    Broken,
}

impl BlockingCalls {
    /// Runs at most `places` calls at a time, on threads with this name. Each call may take up to `patience`.
    pub(super) fn new(name: &'static str, places: usize, patience: Duration) -> Self {
        Self { name, places: Arc::new(Semaphore::new(places)), patience }
    }

    /// Runs `work` and waits for its result.
    ///
    /// # Errors
    /// The result does not come in time, or not at all.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, CallError> {
        // The wait for a place and for a thread is inside the timeout too. Calls that hang in every place would
        // otherwise block the next one for as long as they last.
        let call = async {
            // The place moves into the thread and is free when the call returns, not when the caller gives up.
            let place = Arc::clone(&self.places).acquire_owned().await;
            let place = place.map_err(|_| CallError::Broken)?;
            let (sender, receiver) = oneshot::channel();
            let call = move || {
                // A caller that has given up reads nothing.
                let _ = sender.send(work());
                drop(place);
            };
            // `Builder::spawn` returns an error if the system has no thread to spare, and `thread::spawn` panics.
            let builder = thread::Builder::new().name(self.name.into());
            builder.spawn(call).map_err(CallError::NoThread)?;
            receiver.await.map_err(|_| CallError::Broken)
        };
        let in_time = time::timeout(self.patience, call).await;
        in_time.unwrap_or(Err(CallError::TimedOut(self.patience)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const PLACES: usize = 4;

    #[tokio::test]
    async fn calls_that_hang_are_left_and_keep_their_places() {
        let calls = BlockingCalls::new("test", PLACES, Duration::from_millis(50));
        assert_eq!(calls.run(|| 7).await.unwrap(), 7);
        let mut releases = Vec::new();
        for _ in 0..=PLACES {
            let (release, released) = mpsc::channel::<()>();
            releases.push(release);
            let hangs = calls.run(move || released.recv().unwrap_or_default()).await;
            assert!(matches!(hangs, Err(CallError::TimedOut(_))));
        }
        assert_eq!(calls.places.available_permits(), 0);
        drop(releases);
        let patient = BlockingCalls { patience: Duration::from_secs(60), ..calls };
        assert_eq!(patient.run(|| 8).await.unwrap(), 8);
    }

    #[tokio::test]
    async fn a_call_that_panics_is_an_error_and_frees_its_place() {
        let calls = BlockingCalls::new("test", PLACES, Duration::from_secs(60));
        for _ in 0..=PLACES {
            let broken = calls.run(|| std::panic::resume_unwind(Box::new("on purpose"))).await;
            assert!(matches!(broken, Err::<(), _>(CallError::Broken)));
        }
    }
}
