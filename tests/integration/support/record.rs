//! The bytes that a peer received on its connections, in the order of the connections.

use std::{
    fmt::Debug,
    sync::{Arc, Mutex},
};

use tokio::sync::Notify;

use super::within;

/// The most bytes of a connection that are kept, since some bodies have 100 MB.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// A record that a peer writes and a test reads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    connections: Arc<Mutex<Vec<Seen>>>,
    changed: Arc<Notify>,
}

/// The bytes of one connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) bytes: Vec<u8>,
    /// Whether the other side has ended it.
    pub(crate) is_ended: bool,
}

impl Seen {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

impl Record {
    /// Adds a connection and returns its number.
    pub(crate) fn open(&self) -> usize {
        self.change(|connections| {
            connections.push(Seen::default());
            connections.len() - 1
        })
    }

    pub(crate) fn received(&self, number: usize, bytes: &[u8]) {
        self.change(|connections| {
            let kept = &mut connections[number].bytes;
            let room = KEPT_BYTES_MAX - kept.len();
            kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
        });
    }

    pub(crate) fn ended(&self, number: usize) {
        self.change(|connections| connections[number].is_ended = true);
    }

    /// Returns everything that has come so far.
    pub(crate) fn now(&self) -> Vec<Seen> {
        self.connections.lock().unwrap().clone()
    }

    /// Waits until `find` finds something.
    pub(crate) async fn until<T>(&self, what: &str, find: impl Fn(&[Seen]) -> Option<T>) -> T {
        within(what, async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if let Some(found) = find(&self.connections.lock().unwrap()) {
                    return found;
                }
                changed.await;
            }
        })
        .await
    }

    /// Waits until connection `number` has ended or received as many bytes as `expected` has, and compares them.
    pub(crate) async fn assert_sent(&self, number: usize, expected: &str) {
        let sent = self
            .until(&format!("connection {number} is sent {expected:?}"), |connections| {
                let seen = connections.get(number)?;
                (seen.is_ended || seen.bytes.len() >= expected.len()).then(|| seen.text())
            })
            .await;
        assert_eq!(sent, expected, "what connection {number} was sent");
    }

    fn change<T>(&self, change: impl FnOnce(&mut Vec<Seen>) -> T) -> T {
        let changed = change(&mut self.connections.lock().unwrap());
        self.changed.notify_waiters();
        changed
    }
}
