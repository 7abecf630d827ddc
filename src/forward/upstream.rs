//! The upstream connection of a client, which may be kept from one request to the next.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::BytesMut;
use mooltiroute_hops::{Authority, Tunnel};
use tokio::{
    io::{AsyncRead, ReadBuf},
    task::unconstrained,
};

/// A connection that takes plain requests.
#[derive(Debug)]
pub struct Upstream {
    pub(super) tunnel: Tunnel,
    /// Bytes read ahead.
    pub(super) seen: BytesMut,
    key: Key,
}

/// What a request needs of a connection, so that another request can tell whether it can use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// A new generation has connections of its own.
    pub(super) generation: u64,
    pub(super) chain: Arc<str>,
    /// `None`: it ends at a hop that takes requests for any origin.
    pub(super) origin: Option<Authority>,
}

impl Upstream {
    pub(super) fn new(tunnel: Tunnel, key: Key) -> Self {
        Self { tunnel, seen: BytesMut::new(), key }
    }

    pub(super) fn serves(&self, key: &Key) -> bool {
        self.key == *key
    }

    /// Whether nothing has come where nothing was asked for. If something did, even its end, the connection is of no
    /// more use (RFC 9112 §6.3).
    pub(super) async fn is_quiet(&mut self) -> bool {
        if !self.seen.is_empty() {
            return false;
        }
        // Unconstrained, since a task that has done its share would be told that nothing is there.
        unconstrained(poll_fn(|cx| Poll::Ready(self.poll_any(cx).is_pending()))).await
    }

    pub(super) fn into_tunnel(mut self) -> Tunnel {
        self.tunnel.unread(self.seen.freeze());
        self.tunnel
    }

    fn poll_any(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let mut byte = [0];
        Pin::new(&mut self.tunnel).poll_read(cx, &mut ReadBuf::new(&mut byte))
    }
}
