//! A value that may already be there.

use std::{fmt, future::Future, pin::Pin};

/// A value that is ready, or a future that produces it.
///
/// Most hops know the answer to most questions at once. A boxed future for each of them would cost an allocation per
/// question, so only a hop that has to wait pays for one.
///
/// ```
/// use mooltiroute_hops::Eventual;
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// assert_eq!(Eventual::Ready(1).wait().await, 1);
/// assert_eq!(Eventual::later(async { 2 }).wait().await, 2);
/// # });
/// ```
pub enum Eventual<'a, T> {
    /// The value.
    Ready(T),
    /// The work that produces the value. Dropping it cancels the work.
    Pending(Pin<Box<dyn Future<Output = T> + Send + 'a>>),
}

impl<'a, T> Eventual<'a, T> {
    /// Defers to `work`.
    pub fn later(work: impl Future<Output = T> + Send + 'a) -> Self {
        Self::Pending(Box::pin(work))
    }

    /// Returns the value that `change` makes of this one, when that is there.
    pub fn map<U>(self, change: impl FnOnce(T) -> U + Send + 'a) -> Eventual<'a, U>
    where
        T: 'a,
    {
        match self {
            Self::Ready(value) => Eventual::Ready(change(value)),
            Self::Pending(work) => Eventual::later(async { change(work.await) }),
        }
    }

    /// Waits for the value.
    pub async fn wait(self) -> T {
        match self {
            Self::Ready(value) => value,
            Self::Pending(work) => work.await,
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Eventual<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(value) => f.debug_tuple("Ready").field(value).finish(),
            Self::Pending(_) => f.write_str("Pending"),
        }
    }
}
