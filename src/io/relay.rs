//! Copies bytes both ways between a client and an upstream until both are done.
//!
//! A buffer is held only while bytes are in flight, so an idle tunnel costs its two sockets and little else. Much at
//! once goes from socket to socket inside the kernel, where the system can do that. The end of one direction is carried through and leaves the other alone; a reset on one side is a reset on the other.

mod pool;
#[cfg_attr(not(target_os = "linux"), path = "relay/no_splice.rs")]
mod splice;
mod way;

use std::{
    fmt,
    future::{Future, poll_fn},
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use mooltiroute_hops::Tunnel;
use tokio::time::{Instant, Sleep, sleep_until};

use self::way::{Fault, Way};
use crate::metrics::Meter;

/// Two ends, and how far the copying between them is.
#[derive(Debug)]
pub struct Relay {
    client: Tunnel,
    upstream: Tunnel,
    outward: Way,
    inward: Way,
    patience: Patience,
    meter: Option<Arc<Meter>>,
    timer: Option<(Pin<Box<Sleep>>, Duration)>,
    last_moved: Instant,
}

/// How long a relay waits for a byte.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// While both directions are open; `None`: for ever.
    pub idle: Option<Duration>,
    /// Once one direction has ended.
    pub half_closed: Duration,
}

/// How a relay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Both directions came to their end.
    Closed,
    /// The client's connection broke.
    ClientBroke,
    /// The upstream's connection broke.
    UpstreamBroke,
    /// No byte moved for too long.
    Idle,
    /// One direction had ended, and no byte moved in the other for too long.
    HalfClosed,
    /// The proxy was shut down.
    Cut,
}

impl Relay {
    /// Bytes that either tunnel has read ahead are passed on first.
    pub fn new(client: Tunnel, upstream: Tunnel, patience: Patience) -> Self {
        let (outward, inward) = (Way::default(), Way::default());
        Self {
            client,
            upstream,
            outward,
            inward,
            patience,
            meter: None,
            timer: None,
            last_moved: Instant::now(),
        }
    }

    /// The same, counted by `meter` while bytes move.
    #[must_use]
    pub fn metered(self, meter: Arc<Meter>) -> Self {
        Self { meter: Some(meter), ..self }
    }

    /// Copies until the end, or until it is woken and `is_cut`. Dropping the future loses nothing: it can be called
    /// again.
    pub async fn run(&mut self, is_cut: impl Fn() -> bool) -> End {
        let end = poll_fn(|cx| match self.poll(cx) {
            Poll::Pending if is_cut() => Poll::Ready(End::Cut),
            end => end,
        })
        .await;
        if end != End::Closed {
            self.reset();
        }
        end
    }

    /// Bytes from the client that the upstream took.
    pub fn sent(&self) -> u64 {
        self.outward.moved()
    }

    /// Bytes from the upstream that the client took.
    pub fn received(&self) -> u64 {
        self.inward.moved()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let before = (self.sent(), self.received());
        let outward = self.outward.poll(cx, &mut self.client, &mut self.upstream);
        let inward = self.inward.poll(cx, &mut self.upstream, &mut self.client);
        if let Some(meter) = &self.meter {
            meter.sent(self.sent() - before.0);
            meter.received(self.received() - before.1);
        }
        match (outward, inward) {
            (Poll::Ready(Err(Fault::Read)), _) | (_, Poll::Ready(Err(Fault::Write))) => {
                Poll::Ready(End::ClientBroke)
            }
            (Poll::Ready(Err(Fault::Write)), _) | (_, Poll::Ready(Err(Fault::Read))) => {
                Poll::Ready(End::UpstreamBroke)
            }
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(End::Closed),
            (outward, inward) => {
                let is_half_closed = outward.is_ready() || inward.is_ready();
                let has_moved = before != (self.sent(), self.received());
                self.poll_timer(cx, is_half_closed, has_moved)
            }
        }
    }

    fn poll_timer(
        &mut self,
        cx: &mut Context<'_>,
        is_half_closed: bool,
        has_moved: bool,
    ) -> Poll<End> {
        let patience =
            if is_half_closed { Some(self.patience.half_closed) } else { self.patience.idle };
        let Some(patience) = patience else { return Poll::Pending };
        let is_new = self.timer.as_ref().is_none_or(|(_, armed)| *armed != patience);
        if has_moved || is_new {
            self.last_moved = Instant::now();
        }
        if is_new {
            self.timer = Some((Box::pin(sleep_until(self.last_moved + patience)), patience));
        }
        let Some((timer, _)) = &mut self.timer else { return Poll::Pending };
        // The timer is left alone while bytes move; when it fires it is set to what has become of the deadline.
        loop {
            ready!(timer.as_mut().poll(cx));
            let deadline = self.last_moved + patience;
            if deadline <= Instant::now() {
                return Poll::Ready(if is_half_closed { End::HalfClosed } else { End::Idle });
            }
            timer.as_mut().reset(deadline);
        }
    }

    /// Makes the close of both sockets a reset, so that neither end takes a broken stream for a whole one.
    fn reset(&self) {
        for tunnel in [&self.client, &self.upstream] {
            if let Some(socket) = tunnel.bottom() {
                // Where that fails the socket is already gone.
                let _: io::Result<()> = socket.set_zero_linger();
            }
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "closed",
            Self::ClientBroke => "client broke",
            Self::UpstreamBroke => "upstream broke",
            Self::Idle => "idle",
            Self::HalfClosed => "half-closed too long",
            Self::Cut => "cut at shutdown",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        join,
        net::{TcpListener, TcpStream},
        task::JoinHandle,
    };

    use super::*;

    const PATIENCE: Patience = Patience { idle: None, half_closed: Duration::from_secs(300) };

    /// A relay between two pipes that hold `room` bytes, and their far ends.
    fn piped(room: usize, patience: Patience) -> (Relay, DuplexStream, DuplexStream) {
        let (client, client_far) = duplex(room);
        let (upstream, upstream_far) = duplex(room);
        (
            Relay::new(Tunnel::layered(client), Tunnel::layered(upstream), patience),
            client_far,
            upstream_far,
        )
    }

    /// Two ends of a connection.
    async fn sockets() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (near, far) =
            join!(listener.accept(), TcpStream::connect(listener.local_addr().unwrap()));
        (near.unwrap().0, far.unwrap())
    }

    /// A relay between two sockets that already runs, and their far ends.
    async fn running() -> (JoinHandle<End>, TcpStream, TcpStream) {
        let ((client, client_far), (upstream, upstream_far)) = (sockets().await, sockets().await);
        let mut relay = Relay::new(Tunnel::socket(client), Tunnel::socket(upstream), PATIENCE);
        #[expect(clippy::disallowed_methods, reason = "the test waits for it itself")]
        let task = tokio::spawn(async move { relay.run(|| false).await });
        (task, client_far, upstream_far)
    }

    #[tokio::test]
    async fn bytes_read_ahead_come_first_in_both_directions() {
        let (client, mut client_far) = duplex(64);
        let (upstream, mut upstream_far) = duplex(64);
        let (mut client, mut upstream) = (Tunnel::layered(client), Tunnel::layered(upstream));
        client.unread("early ".into());
        upstream.unread("greeting ".into());
        let mut relay = Relay::new(client, upstream, PATIENCE);
        let ends = async {
            client_far.write_all(b"later").await.unwrap();
            upstream_far.write_all(b"more").await.unwrap();
            client_far.shutdown().await.unwrap();
            upstream_far.shutdown().await.unwrap();
            let (mut sent, mut received) = (String::new(), String::new());
            upstream_far.read_to_string(&mut sent).await.unwrap();
            client_far.read_to_string(&mut received).await.unwrap();
            (sent, received)
        };
        let (end, texts) = join!(relay.run(|| false), ends);
        assert_eq!(texts, ("early later".to_owned(), "greeting more".to_owned()));
        assert_eq!((end, relay.sent(), relay.received()), (End::Closed, 11, 13));
    }

    #[tokio::test]
    async fn much_passes_through_little_room_whole() {
        for room in [1, 7, 100_000] {
            let (mut relay, mut client, mut upstream) = piped(room, PATIENCE);
            let bytes: Vec<u8> =
                (0..300_000_u32.min(room as u32 * 3000)).map(|n| n as u8).collect();
            let ends = async {
                let (mut client_read, mut client_write) = tokio::io::split(&mut client);
                let (mut upstream_read, mut upstream_write) = tokio::io::split(&mut upstream);
                let echo = async {
                    tokio::io::copy(&mut upstream_read, &mut upstream_write).await.unwrap();
                    upstream_write.shutdown().await.unwrap();
                };
                let send = async {
                    client_write.write_all(&bytes).await.unwrap();
                    client_write.shutdown().await.unwrap();
                };
                let mut echoed = Vec::new();
                let receive = client_read.read_to_end(&mut echoed);
                let ((), (), received) = join!(echo, send, receive);
                received.unwrap();
                echoed
            };
            let (end, echoed) = join!(relay.run(|| false), ends);
            assert!(echoed == bytes && end == End::Closed, "{room}");
        }
    }

    #[tokio::test]
    async fn the_end_of_one_direction_leaves_the_other_alone() {
        let (task, mut client, mut upstream) = running().await;
        client.write_all(b"request").await.unwrap();
        client.shutdown().await.unwrap();
        let mut request = String::new();
        upstream.read_to_string(&mut request).await.unwrap();
        upstream.write_all(b"answer").await.unwrap();
        drop(upstream);
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!((request.as_str(), answer.as_str()), ("request", "answer"));
        assert_eq!(task.await.unwrap(), End::Closed);
    }

    #[tokio::test]
    async fn much_passes_between_sockets_whole_and_a_little_after_it_at_once() {
        let (task, mut client, mut upstream) = running().await;
        let bytes: Vec<u8> = (0..30_000_000_u32).map(|n| (n / 3) as u8).collect();
        let mut seen = vec![0; bytes.len()];
        let (written, read) = join!(client.write_all(&bytes), upstream.read_exact(&mut seen));
        written.and(read.map(drop)).unwrap();
        assert!(seen == bytes);
        for word in ["a little", "and more"] {
            client.write_all(word.as_bytes()).await.unwrap();
            upstream.read_exact(&mut seen[..word.len()]).await.unwrap();
            assert_eq!(&seen[..word.len()], word.as_bytes());
        }
        drop((client, upstream));
        assert_eq!(task.await.unwrap(), End::Closed);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn sockets_with_much_to_say_are_spliced() {
        let (client, mut client_far) = sockets().await;
        let (upstream, mut upstream_far) = sockets().await;
        let mut relay = Relay::new(Tunnel::socket(client), Tunnel::socket(upstream), PATIENCE);
        let bytes = vec![7; 8_000_000];
        let mut seen = vec![0; bytes.len()];
        let mut was_bulk = false;
        let read = {
            let mut ends = std::pin::pin!(async {
                join!(client_far.write_all(&bytes), upstream_far.read_exact(&mut seen)).1
            });
            let ended = poll_fn(|cx| {
                assert!(relay.poll(cx).is_pending());
                was_bulk |= relay.outward.is_bulk();
                ends.as_mut().poll(cx)
            });
            ended.await
        };
        assert_eq!(read.unwrap(), bytes.len());
        assert!(was_bulk && seen == bytes && relay.sent() == 8_000_000);
    }

    #[tokio::test]
    async fn a_reset_arrives_as_a_reset() {
        for is_client in [true, false] {
            let (task, client, upstream) = running().await;
            let (breaks, mut sees) =
                if is_client { (client, upstream) } else { (upstream, client) };
            breaks.set_zero_linger().unwrap();
            drop(breaks);
            let error = sees.read_u8().await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
            let expected = if is_client { End::ClientBroke } else { End::UpstreamBroke };
            assert_eq!(task.await.unwrap(), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_a_tunnel_and_any_byte_starts_it_anew() {
        let idle = Duration::from_secs(60);
        let (mut relay, mut client, mut upstream) =
            piped(64, Patience { idle: Some(idle), ..PATIENCE });
        let begun = Instant::now();
        let ends = async {
            for _ in 0..5 {
                tokio::time::sleep(idle * 2 / 3).await;
                upstream.write_all(b"x").await.unwrap();
                client.read_u8().await.unwrap();
            }
            begun.elapsed()
        };
        let (end, last) = join!(relay.run(|| false), ends);
        assert_eq!((end, begun.elapsed().as_secs()), (End::Idle, (last + idle).as_secs()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_half_closed_tunnel_is_given_a_limited_time() {
        let (mut relay, mut client, _upstream) = piped(64, PATIENCE);
        client.shutdown().await.unwrap();
        let begun = Instant::now();
        assert_eq!(relay.run(|| false).await, End::HalfClosed);
        assert_eq!(begun.elapsed().as_secs(), PATIENCE.half_closed.as_secs());
    }

    #[tokio::test]
    async fn an_idle_tunnel_holds_no_buffer() {
        let (mut relay, mut client, mut upstream) = piped(64, PATIENCE);
        client.write_all(b"x").await.unwrap();
        tokio::select! {
            end = relay.run(|| false) => panic!("{end}"),
            byte = upstream.read_u8() => assert_eq!(byte.unwrap(), b'x'),
        }
        assert!(!relay.outward.holds_buffer() && !relay.inward.holds_buffer());
    }
}
