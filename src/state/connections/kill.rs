//! Ends a connection from outside.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
};

use super::lock;

/// Ends one connection from outside. The task that serves it is woken and finds the flag set.
#[derive(Debug, Default)]
pub(super) struct KillToken {
    pub(super) is_killed: AtomicBool,
    pub(super) task: Mutex<Option<Waker>>,
}

impl KillToken {
    pub(super) fn kill(&self) {
        // The flag comes before the wake-up, so that the task finds it set. The waker is the one of the task that
        // serves the connection, which stays the same to its end.
        self.is_killed.store(true, Ordering::Release);
        if let Some(task) = lock(&self.task).take() {
            task.wake();
        }
    }
}
