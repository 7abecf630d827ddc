use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    join,
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinHandle,
};

use super::*;
use crate::io::turn::TURN_BYTES;

const PATIENCE: Patience =
    Patience { idle: None, rotate_after: None, half_closed: Duration::from_secs(300) };

#[tokio::test(start_paused = true)]
async fn an_old_tunnel_ends_in_its_first_quiet_second() {
    let patience = Patience { rotate_after: Some(Duration::from_secs(10)), ..PATIENCE };
    let (mut relay, mut client, mut upstream) = piped(64, patience);
    let begun = Instant::now();
    let ends = async {
        // Not one second of these is quiet, although the tunnel gets older than it should.
        for _ in 0..30 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            upstream.write_all(b"x").await.unwrap();
            let mut byte = [0];
            client.read_exact(&mut byte).await.unwrap();
        }
        let (mut one, mut other) = (Vec::new(), Vec::new());
        let (client, upstream) =
            join!(client.read_to_end(&mut one), upstream.read_to_end(&mut other));
        (client.unwrap(), upstream.unwrap())
    };
    let (end, rest) = join!(relay.run(|| false), ends);
    assert_eq!((end, rest), (End::Rotated, (0, 0)));
    assert_eq!(begun.elapsed().as_secs(), 16);
    let (mut relay, _client, _upstream) = piped(64, patience);
    let begun = Instant::now();
    assert_eq!(relay.run(|| false).await, End::Rotated);
    assert_eq!(begun.elapsed().as_secs(), 10, "a quiet one ends when it is old enough");
    let idle = Patience { idle: Some(Duration::from_secs(3)), ..patience };
    let (mut relay, _client, _upstream) = piped(64, idle);
    assert_eq!(relay.run(|| false).await, End::Idle);
}

#[tokio::test(start_paused = true)]
async fn an_old_tunnel_waits_for_the_answer_to_the_clients_last_bytes() {
    let patience = Patience { rotate_after: Some(Duration::from_secs(10)), ..PATIENCE };
    for (thinks, expected) in [(Some(4), 14), (Some(50), 60), (None, 69)] {
        let (mut relay, mut client, mut upstream) = piped(64, patience);
        let begun = Instant::now();
        let ends = async {
            tokio::time::sleep(Duration::from_secs(9)).await;
            client.write_all(b"ask").await.unwrap();
            let mut asked = [0; 3];
            upstream.read_exact(&mut asked).await.unwrap();
            if let Some(seconds) = thinks {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                upstream.write_all(b"answer").await.unwrap();
            }
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            answer
        };
        let (end, answer) = join!(relay.run(|| false), ends);
        let answered: &[u8] = if thinks.is_some() { b"answer" } else { b"" };
        assert_eq!((end, &answer[..]), (End::Rotated, answered), "{thinks:?}");
        assert_eq!(begun.elapsed().as_secs(), expected, "{thinks:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_old_tunnel_waits_for_a_peer_that_takes_its_bytes_late() {
    let patience = Patience { rotate_after: Some(Duration::from_secs(10)), ..PATIENCE };
    let (mut relay, mut client, mut upstream) = piped(64, patience);
    let begun = Instant::now();
    let late = async {
        // More than the pipe holds, so the relay keeps the rest.
        upstream.write_all(&[b'x'; 100]).await.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
        let mut all = Vec::new();
        client.read_to_end(&mut all).await.unwrap();
        all.len()
    };
    assert_eq!(join!(relay.run(|| false), late), (End::Rotated, 100));
    assert_eq!(begun.elapsed().as_secs(), 61);
}

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
    sockets_with(|_| ()).await
}

/// Two ends of a connection, the second with the options that `set` sets.
async fn sockets_with(set: impl FnOnce(&TcpSocket)) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let far = TcpSocket::new_v4().unwrap();
    set(&far);
    let (near, far) = join!(listener.accept(), far.connect(listener.local_addr().unwrap()));
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

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_layer_on_one_side_takes_no_pipe_from_the_pool() {
    splice::Pipe::take().unwrap().give_back();
    let (client, mut client_far) = sockets().await;
    let (upstream, mut upstream_far) = duplex(100_000);
    let mut relay = Relay::new(Tunnel::socket(client), Tunnel::layered(upstream), PATIENCE);
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

/// Waits until the peer of `socket` has acknowledged everything, and then resets the connection.
#[cfg(target_os = "linux")]
async fn reset_after_delivery(socket: TcpStream) {
    delivered(&socket).await;
    socket.set_zero_linger().unwrap();
}

#[cfg(target_os = "linux")]
async fn delivered(socket: &TcpStream) {
    let mut delivery = Delivery::new();
    poll_fn(|cx| delivery.poll(cx, socket, PATIENCE.half_closed)).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn bytes_before_a_reset_arrive_before_it() {
    for (is_client, is_half_closed) in [(true, false), (true, true), (false, false), (false, true)]
    {
        let (task, client, upstream) = running().await;
        let (mut breaks, mut sees) =
            if is_client { (client, upstream) } else { (upstream, client) };
        if is_half_closed {
            sees.shutdown().await.unwrap();
            assert_eq!(breaks.read(&mut [0]).await.unwrap(), 0);
        }
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n / 3) as u8).collect();
        breaks.write_all(&bytes).await.unwrap();
        reset_after_delivery(breaks).await;
        let mut seen = vec![0; bytes.len()];
        sees.read_exact(&mut seen).await.unwrap();
        assert!(seen == bytes);
        let error = sees.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let expected = if is_client { End::ClientBroke } else { End::UpstreamBroke };
        assert_eq!(task.await.unwrap(), expected);
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn bytes_arrive_if_the_receiver_writes_on_after_the_end() {
    let (task, mut client, mut upstream) = running().await;
    let bytes = vec![7; 300_000];
    upstream.write_all(&bytes).await.unwrap();
    delivered(&upstream).await;
    drop(upstream);
    client.write_all(b"first").await.unwrap();
    let mut seen = Vec::new();
    client.read_to_end(&mut seen).await.unwrap();
    // The system answered the first bytes with a reset. The relay learns of it by writing more.
    while !task.is_finished() && client.write_all(b"x").await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(seen.len(), bytes.len());
    assert_eq!(task.await.unwrap(), End::UpstreamBroke);
}

#[cfg(target_os = "linux")]
// In real time: a paused clock jumps ahead while the system still moves bytes from one socket to the other.
#[tokio::test]
async fn a_receiver_that_never_reads_delays_a_reset_for_a_limited_time() {
    let (client, _client_far) = sockets_with(|far| {
        // Fixed, because the system would enlarge the queue, and each byte that moves restarts the wait.
        far.set_recv_buffer_size(64 * 1024).unwrap();
    })
    .await;
    let (upstream, mut upstream_far) = sockets().await;
    let patience = Patience { half_closed: Duration::from_millis(300), ..PATIENCE };
    let mut relay = Relay::new(Tunnel::socket(client), Tunnel::socket(upstream), patience);
    let begun = Instant::now();
    let fill = async {
        // More than the client's receive queue holds, and less than that and the send queue before it.
        upstream_far.write_all(&[7; 300_000]).await.unwrap();
        reset_after_delivery(upstream_far).await;
    };
    let (end, ()) = join!(relay.run(|| false), fill);
    assert_eq!(end, End::UpstreamBroke);
    // No upper bound: a relay that waits without limit never gets here.
    assert!(begun.elapsed() >= patience.half_closed, "{:?}", begun.elapsed());
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
    let mut relay = Relay::new(client, upstream, PATIENCE);
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
        let mut relay = Relay::new(client, upstream, PATIENCE);
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
    let (mut relay, mut client, mut upstream) = piped(64, PATIENCE);
    client.write_all(b"x").await.unwrap();
    tokio::select! {
        end = relay.run(|| false) => panic!("{end}"),
        byte = upstream.read_u8() => assert_eq!(byte.unwrap(), b'x'),
    }
    assert!(relay.outward.is_empty() && relay.inward.is_empty());
}
