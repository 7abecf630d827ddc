mod limits;
#[cfg(target_os = "linux")]
mod resets;

use std::{
    io,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    join,
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinHandle,
};

use super::*;
use crate::io::turn::TURN_BYTES;

const TIMEOUTS: RelayTimeouts =
    RelayTimeouts { idle: None, rotate_after: None, half_closed: Duration::from_secs(300) };

/// Creates a relay between two pipes that hold `room` bytes, and their far ends.
fn piped(room: usize, timeouts: RelayTimeouts) -> (Relay, DuplexStream, DuplexStream) {
    let (client, client_far) = duplex(room);
    let (upstream, upstream_far) = duplex(room);
    (
        Relay::new(Tunnel::layered(client), Tunnel::layered(upstream), timeouts),
        client_far,
        upstream_far,
    )
}

/// Creates two ends of a connection.
async fn sockets() -> (TcpStream, TcpStream) {
    sockets_with(|_| ()).await
}

/// Creates two ends of a connection, the second with the options that `set` sets.
async fn sockets_with(set: impl FnOnce(&TcpSocket)) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let far = TcpSocket::new_v4().unwrap();
    set(&far);
    let (near, far) = join!(listener.accept(), far.connect(listener.local_addr().unwrap()));
    (near.unwrap().0, far.unwrap())
}

/// Creates a relay between two sockets that already runs, and their far ends.
async fn running() -> (JoinHandle<End>, TcpStream, TcpStream) {
    let ((client, client_far), (upstream, upstream_far)) = (sockets().await, sockets().await);
    let mut relay = Relay::new(Tunnel::socket(client), Tunnel::socket(upstream), TIMEOUTS);
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
    let mut relay = Relay::new(client, upstream, TIMEOUTS);
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
        let (mut relay, mut client, mut upstream) = piped(room, TIMEOUTS);
        let bytes: Vec<u8> = (0..300_000_u32.min(room as u32 * 3000)).map(|n| n as u8).collect();
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
    let mut relay = Relay::new(Tunnel::socket(client), Tunnel::socket(upstream), TIMEOUTS);
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

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_layer_on_one_side_takes_no_pipe_from_the_pool() {
    splice::Pipe::take().unwrap().give_back();
    let (client, mut client_far) = sockets().await;
    let (upstream, mut upstream_far) = duplex(100_000);
    let mut relay = Relay::new(Tunnel::socket(client), Tunnel::layered(upstream), TIMEOUTS);
    let bytes = vec![7; 2_000_000];
    let mut seen = vec![0; bytes.len()];
    let ends = async {
        let read = join!(client_far.write_all(&bytes), upstream_far.read_exact(&mut seen)).1;
        assert_eq!(read.unwrap(), bytes.len());
    };
    tokio::select! {
        end = relay.run(|| false) => panic!("{end}"),
        () = ends => {}
    }
    assert_eq!(seen, bytes);
    assert_eq!(splice::Pipe::pooled(), 1);
}

#[tokio::test]
#[cfg_attr(windows, ignore = "Wine ends a connection before it can be reset")]
async fn a_reset_arrives_as_a_reset() {
    for is_client in [true, false] {
        let (task, client, upstream) = running().await;
        let (breaks, mut sees) = if is_client { (client, upstream) } else { (upstream, client) };
        breaks.set_zero_linger().unwrap();
        drop(breaks);
        let error = sees.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let expected = if is_client { End::ClientBroke } else { End::UpstreamBroke };
        assert_eq!(task.await.unwrap(), expected);
    }
}

/// A stream that delivers and takes one byte at a time, each after a wake-up, and then breaks.
struct Grudging {
    says: Vec<u8>,
    heard: Arc<std::sync::Mutex<Vec<u8>>>,
    /// How many bytes it takes before writing fails.
    takes: usize,
    /// The error after the last byte, or the end of the stream.
    last: Option<io::ErrorKind>,
    is_due: [bool; 2],
}

impl Grudging {
    fn new(says: &[u8], takes: usize, last: Option<io::ErrorKind>) -> Self {
        let says = says.iter().rev().copied().collect();
        Self { says, heard: Arc::default(), takes, last, is_due: [false; 2] }
    }

    fn is_due(&mut self, cx: &Context<'_>, direction: usize) -> bool {
        self.is_due[direction] = !self.is_due[direction];
        if self.is_due[direction] {
            cx.waker().wake_by_ref();
        }
        !self.is_due[direction]
    }
}

impl tokio::io::AsyncRead for Grudging {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.is_due(cx, 0) {
            return Poll::Pending;
        }
        match (self.says.pop(), self.last) {
            (Some(byte), _) => buf.put_slice(&[byte]),
            (None, Some(kind)) => return Poll::Ready(Err(kind.into())),
            (None, None) => {}
        }
        Poll::Ready(Ok(()))
    }
}

impl tokio::io::AsyncWrite for Grudging {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.is_due(cx, 1) {
            return Poll::Pending;
        }
        if self.takes == 0 {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        self.takes -= 1;
        self.heard.lock().unwrap().push(buf[0]);
        Poll::Ready(Ok(1))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.heard.lock().unwrap().extend(b"<end>");
        Poll::Ready(Ok(()))
    }
}

impl mooltiroute_hops::Stream for Grudging {}

/// A stream that is always ready: it delivers this many bytes, and takes all.
struct Eager(u64);

impl tokio::io::AsyncRead for Eager {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let count = self.0.min(buf.remaining() as u64);
        self.0 -= count;
        buf.put_slice(&vec![b'x'; count as usize]);
        Poll::Ready(Ok(()))
    }
}

impl tokio::io::AsyncWrite for Eager {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl mooltiroute_hops::Stream for Eager {}

#[tokio::test]
async fn a_transfer_that_never_waits_lets_others_have_their_turn() {
    const BYTES: u64 = 16 * TURN_BYTES;
    let (client, upstream) = (Tunnel::layered(Eager(0)), Tunnel::layered(Eager(BYTES)));
    let mut relay = Relay::new(client, upstream, TIMEOUTS);
    let (mut near, mut far) = sockets().await;
    // A message that has to go through the system, so only a look for events brings it.
    let turns = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&turns);
    #[expect(clippy::disallowed_methods, reason = "the test ends it")]
    let others = tokio::spawn(async move {
        while near.write_all(b"x").await.is_ok() && far.read_u8().await.is_ok() {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    assert_eq!(relay.run(|| false).await, End::Closed);
    assert_eq!(relay.received(), BYTES);
    others.abort();
    let turns = turns.load(Ordering::Relaxed);
    assert!(turns >= 8, "{turns} messages beside {} turns", BYTES / TURN_BYTES);
}

#[tokio::test]
async fn bytes_before_a_break_arrive_one_by_one() {
    let reset = io::ErrorKind::ConnectionReset;
    // How many bytes of the client the upstream takes, and how the upstream's own bytes end.
    for (takes, last) in [(0, None), (3, None), (99, Some(reset)), (2, Some(reset))] {
        let client = Grudging::new(b"a request of the client", usize::MAX, None);
        let upstream = Grudging::new(b"an answer that is longer than that", takes, last);
        let (heard, taken) = (Arc::clone(&client.heard), Arc::clone(&upstream.heard));
        let (client, upstream) = (Tunnel::layered(client), Tunnel::layered(upstream));
        let mut relay = Relay::new(client, upstream, TIMEOUTS);
        assert_eq!(relay.run(|| false).await, End::UpstreamBroke);
        // No end follows: the client must not take the broken answer for a complete one.
        assert_eq!(*heard.lock().unwrap(), b"an answer that is longer than that");
        assert_eq!(relay.received(), 34);
        let taken = taken.lock().unwrap();
        assert!(taken.starts_with(&b"a request of the client"[..takes.min(23)]));
        assert_eq!(relay.sent(), 23.min(takes as u64));
    }
}

#[tokio::test]
async fn an_idle_tunnel_holds_no_buffer() {
    let (mut relay, mut client, mut upstream) = piped(64, TIMEOUTS);
    client.write_all(b"x").await.unwrap();
    tokio::select! {
        end = relay.run(|| false) => panic!("{end}"),
        byte = upstream.read_u8() => assert_eq!(byte.unwrap(), b'x'),
    }
    assert!(relay.outward.is_empty() && relay.inward.is_empty());
}
