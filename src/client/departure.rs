//! Notices a client that leaves while its connection is being opened.

use std::{
    future::{Future, pending, poll_fn},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::Interest,
    net::TcpStream,
    time::{Instant, Sleep, sleep},
};

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
///
/// A client that sends much ahead is not read without bound, but only a read tells of a reset behind the bytes that wait.
/// So [past the limit](ReadAhead::Over) its socket is watched for errors instead.
struct Departure<'a> {
    client: &'a mut Client,
    /// The moment in which a connection that is about to open still serves a client that ended its direction, and when that
    /// client ended it.
    grace: Option<(Pin<Box<Sleep>>, Instant)>,
}

/// The outcome of reading what a client sends ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReadAhead {
    /// The client left at this moment.
    Left(Instant),
    /// No more is read: the limit is reached, or the client has ended its direction behind early bytes. From now on, only
    /// a [reset](reset_of) shows that it leaves.
    Over,
}

impl Departure<'_> {
    /// Reads what the client sends, which is kept for the tunnel.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ReadAhead> {
        loop {
            if let Some((grace, ended)) = &mut self.grace {
                return grace.as_mut().poll(cx).map(|()| ReadAhead::Left(*ended));
            }
            let Client { stream, seen, .. } = &mut *self.client;
            if seen.len() >= READ_AHEAD_MAX {
                return Poll::Ready(ReadAhead::Over);
            }
            match ready!(read_ahead::poll_read(cx, stream, seen, READ_BYTES)) {
                Ok(0) if seen.is_empty() => {
                    self.grace = Some((Box::pin(sleep(GRACE)), Instant::now()));
                }
                Ok(0) => return Poll::Ready(ReadAhead::Over),
                Ok(_) => {}
                Err(_) => return Poll::Ready(ReadAhead::Left(Instant::now())),
            }
        }
    }
}

/// Waits until the connection of `socket` is reset, whatever waits to be read on it. Never ready without a socket, or on a
/// system that tells only a reader.
async fn reset_of(socket: Option<&TcpStream>) -> Instant {
    if let Some(socket) = socket
        && socket.ready(Interest::ERROR).await.is_ok_and(|ready| ready.is_error())
    {
        return Instant::now();
    }
    pending().await
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
    // Returns how the wait ended, or `None` if only a reset of the client can end it from now on.
    let mut departure = Departure { client, grace: None };
    let ended = poll_fn(|cx| {
        let left = match ready!(poll_wait(cx, work.as_mut(), &is_cut, |cx| departure.poll(cx))) {
            Ok(ReadAhead::Over) => return Poll::Ready(None),
            Ok(ReadAhead::Left(left)) => left,
            Err(ended) => return Poll::Ready(Some(ended)),
        };
        Poll::Ready(Some(last_look(cx, row, left, work.as_mut())))
    })
    .await;
    if let Some(ended) = ended {
        return ended;
    }
    // On the heap, since hardly any client gets here.
    let mut reset = Box::pin(reset_of(client.stream.bottom()));
    poll_fn(|cx| {
        let left = match ready!(poll_wait(cx, work.as_mut(), &is_cut, |cx| reset.as_mut().poll(cx)))
        {
            Ok(left) => left,
            Err(ended) => return Poll::Ready(ended),
        };
        Poll::Ready(last_look(cx, row, left, work.as_mut()))
    })
    .await
}

/// Polls `work`, then `is_cut`, and last `departure`. `Err` is the end of the wait, by one of the first two.
fn poll_wait<F: Future, T>(
    cx: &mut Context<'_>,
    work: Pin<&mut F>,
    is_cut: impl Fn() -> bool,
    departure: impl FnOnce(&mut Context<'_>) -> Poll<T>,
) -> Poll<Result<T, Result<F::Output, Interruption>>> {
    // Most work is done at its first or second poll, and then nobody looks whether the client is still there.
    if let Poll::Ready(done) = work.poll(cx) {
        return Poll::Ready(Err(Ok(done)));
    }
    if is_cut() {
        return Poll::Ready(Err(Err(Interruption::Cut)));
    }
    departure(cx).map(Ok)
}

/// Notes in `row` that the client left at `left`, and polls `work` for the last time.
fn last_look<F: Future>(
    cx: &mut Context<'_>,
    row: &OpenConnection,
    left: Instant,
    work: Pin<&mut F>,
) -> Result<F::Output, Interruption> {
    row.client_has_left(left);
    match work.poll(cx) {
        Poll::Ready(done) => Ok(done),
        Poll::Pending => Err(Interruption::ClientLeft),
    }
}

/// How much is read of a client before its connection is open.
pub(crate) const READ_AHEAD_MAX: usize = 64 * 1024;
/// How much is read at once, so that a client that sends little ahead takes little memory.
const READ_BYTES: usize = 4 * 1024;
/// How long a client that has ended its direction, and sent nothing, is still served.
const GRACE: Duration = Duration::from_millis(1_500);

#[cfg(test)]
mod tests {
    use mooltiroute_hops::Tunnel;
    use tokio::{io::AsyncWriteExt as _, net::TcpListener, time::timeout};

    use super::*;
    use crate::state::entrance::Entrance;

    /// Returns a client of this process, and its other end.
    async fn client() -> (Client, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, peer) = listener.accept().await.unwrap();
        (Client::new(Tunnel::socket(socket), peer, Entrance::default()), far)
    }

    /// Returns when the client left, if it does.
    async fn leaves(client: &mut Client) -> Option<Instant> {
        let left = async {
            let mut departure = Departure { client, grace: None };
            let read = poll_fn(|cx| departure.poll(cx)).await;
            match read {
                ReadAhead::Left(left) => left,
                ReadAhead::Over => reset_of(client.stream.bottom()).await,
            }
        };
        timeout(2 * GRACE, left).await.ok()
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
        // The socket takes all of it, so that its peer can reset without waiting.
        let much = vec![b'x'; 2 * READ_AHEAD_MAX];
        for early in [&b""[..], b"early", &much[..READ_AHEAD_MAX / 2], &much] {
            let (mut client, mut far) = client().await;
            far.write_all(early).await.unwrap();
            // Most of the bytes are read before the reset comes.
            let early_left = timeout(GRACE / 10, leaves(&mut client)).await;
            assert!(early_left.is_err(), "{early_left:?}");
            Tunnel::socket(far).reset_on_close();
            // Only an end waits for a moment.
            let left = leaves(&mut client).await;
            assert!(left.is_some_and(|left| left.elapsed() < GRACE / 2), "{}", early.len());
        }
    }

    #[tokio::test]
    #[cfg_attr(windows, ignore = "only a read shows a reset there")]
    async fn a_reset_behind_an_end_is_a_departure() {
        let (mut client, mut far) = client().await;
        far.write_all(b"early").await.unwrap();
        far.shutdown().await.unwrap();
        assert!(timeout(GRACE / 10, leaves(&mut client)).await.is_err());
        Tunnel::socket(far).reset_on_close();
        assert!(leaves(&mut client).await.is_some());
    }

    #[tokio::test]
    async fn a_client_that_sends_much_ahead_is_not_read_without_bound() {
        let (mut client, mut far) = client().await;
        let much = vec![b'x'; 4 * READ_AHEAD_MAX];
        let mut departure = Departure { client: &mut client, grace: None };
        let over = tokio::select! {
            over = poll_fn(|cx| departure.poll(cx)) => over,
            sent = far.write_all(&much) => {
                sent.unwrap();
                poll_fn(|cx| departure.poll(cx)).await
            }
        };
        assert_eq!(over, ReadAhead::Over);
        let read = client.seen.len();
        assert!((READ_AHEAD_MAX..READ_AHEAD_MAX + READ_BYTES).contains(&read), "{read}");
    }
}
