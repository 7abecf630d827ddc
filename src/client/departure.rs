//! Notices a client that leaves while its connection is being opened.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

use crate::{client::connection::Client, io::read_ahead, state::connections::OpenConnection};

/// Why the work for a client was broken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interruption {
    /// Someone else asked for its end.
    Cut,
    /// The client left.
    ClientLeft,
}

/// Watches a client whose connection is not open yet.
///
/// A client that closes its connection and one that only ends its direction send the same thing. A client that has sent
/// something ahead may wait for the answer to that, so its end is left to the tunnel. One that has sent nothing has nothing
/// to wait for, except from a target that speaks first, so that it is taken to be gone after a moment. A reset leaves no
/// doubt.
struct Departure<'a> {
    client: &'a mut Client,
    /// The moment in which a connection that is about to open still serves a client that ended its direction, and when that
    /// client ended it.
    grace: Option<(Pin<Box<Sleep>>, Instant)>,
    has_ended: bool,
}

impl Departure<'_> {
    /// Becomes ready if the client has left, with the moment in which it did. What it sends is kept for the tunnel.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        loop {
            if let Some((grace, ended)) = &mut self.grace {
                return grace.as_mut().poll(cx).map(|()| *ended);
            }
            let Client { stream, seen, .. } = &mut *self.client;
            // A client that sends much ahead is not read any further, so that its end is seen later.
            if self.has_ended || seen.len() >= READ_AHEAD_BYTES {
                return Poll::Pending;
            }
            match ready!(read_ahead::poll_read(cx, stream, seen, READ_AHEAD_BYTES)) {
                Ok(0) if seen.is_empty() => {
                    self.grace = Some((Box::pin(sleep(GRACE)), Instant::now()));
                }
                Ok(0) => self.has_ended = true,
                Ok(_) => {}
                Err(_) => return Poll::Ready(Instant::now()),
            }
        }
    }
}

/// Waits for `work`, which opens the connection of `row` for `client`. Breaks it off if the client leaves, or if the task
/// is woken and `is_cut`.
///
/// If the client has left, the work is polled once more, so that it can tell what it waited for.
pub(crate) async fn unless_left<F: Future>(
    client: &mut Client,
    row: &OpenConnection,
    is_cut: impl Fn() -> bool,
    mut work: Pin<&mut F>,
) -> Result<F::Output, Interruption> {
    let mut departure = Departure { client, grace: None, has_ended: false };
    poll_fn(|cx| {
        // Most work is done at its first or second poll, and then nobody looks whether the client is still there.
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Ok(done));
        }
        if is_cut() {
            return Poll::Ready(Err(Interruption::Cut));
        }
        row.client_has_left(ready!(departure.poll(cx)));
        match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Ok(done)),
            Poll::Pending => Poll::Ready(Err(Interruption::ClientLeft)),
        }
    })
    .await
}

/// How much is read of a client before its connection is open.
const READ_AHEAD_BYTES: usize = 4 * 1024;
/// How long a client that has ended its direction, and sent nothing, is still served.
const GRACE: Duration = Duration::from_millis(1_500);

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use mooltiroute_hops::Tunnel;
    use tokio::{
        io::AsyncWriteExt as _,
        net::{TcpListener, TcpStream},
        time::timeout,
    };

    use super::*;

    /// Returns a client of this process, and its other end.
    async fn client() -> (Client, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, peer) = listener.accept().await.unwrap();
        (Client::new(Tunnel::socket(socket), peer), far)
    }

    /// Returns when the client left, if it does.
    async fn leaves(client: &mut Client) -> Option<Instant> {
        let mut departure = Departure { client, grace: None, has_ended: false };
        timeout(2 * GRACE, poll_fn(|cx| departure.poll(cx))).await.ok()
    }

    #[tokio::test]
    async fn an_end_after_nothing_is_a_departure_after_a_moment() {
        let (mut client, far) = client().await;
        drop(far);
        let begun = Instant::now();
        let left = leaves(&mut client).await.unwrap();
        assert!(begun.elapsed() >= GRACE, "{:?}", begun.elapsed());
        // The moment is not part of the time that the client waited, so it is over by now.
        assert!(left.elapsed() > GRACE / 2, "{:?}", left.elapsed());
    }

    #[tokio::test]
    async fn an_end_after_early_bytes_is_left_to_the_tunnel_that_gets_the_bytes() {
        let (mut client, mut far) = client().await;
        for _ in 0..3 {
            far.write_all(b"early").await.unwrap();
        }
        far.shutdown().await.unwrap();
        assert_eq!(leaves(&mut client).await, None);
        assert_eq!(client.seen, "earlyearlyearly");
    }

    #[tokio::test]
    #[cfg_attr(windows, ignore = "Wine ends a connection before it can be reset")]
    async fn a_reset_is_a_departure_whatever_came_before() {
        for early in [&b""[..], b"early"] {
            let (mut client, mut far) = client().await;
            far.write_all(early).await.unwrap();
            Tunnel::socket(far).reset_on_close();
            let mut departure = Departure { client: &mut client, grace: None, has_ended: false };
            timeout(2 * GRACE, poll_fn(|cx| departure.poll(cx))).await.unwrap();
            assert!(departure.grace.is_none(), "{early:?}: only an end waits for a moment");
        }
    }

    #[tokio::test]
    async fn a_client_that_sends_much_ahead_is_not_read_without_bound() {
        let (mut client, mut far) = client().await;
        far.write_all(&[b'x'; 64 * 1024]).await.unwrap();
        let mut departure = Departure { client: &mut client, grace: None, has_ended: false };
        for _ in 0..100 {
            let mut cx = Context::from_waker(Waker::noop());
            let _ = departure.poll(&mut cx);
            tokio::task::yield_now().await;
        }
        assert!((1..=2 * READ_AHEAD_BYTES).contains(&client.seen.len()), "{}", client.seen.len());
    }
}
