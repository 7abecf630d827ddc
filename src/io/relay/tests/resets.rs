//! Bytes that one side delivered before it reset.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    join,
    net::TcpStream,
    time::Instant,
};

use super::{TIMEOUTS, running, sockets, sockets_with};
use crate::io::relay::*;

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

// In real time: a paused clock jumps ahead while the system still moves bytes from one socket to the other.
#[tokio::test]
async fn a_receiver_that_never_reads_delays_a_reset_for_a_limited_time() {
    let (client, _client_far) = sockets_with(|far| {
        // Fixed, because the system would enlarge the queue, and each byte that moves restarts the wait.
        far.set_recv_buffer_size(64 * 1024).unwrap();
    })
    .await;
    let (upstream, mut upstream_far) = sockets().await;
    let timeouts = RelayTimeouts { half_closed: Duration::from_millis(300), ..TIMEOUTS };
    let mut relay = Relay::new(Tunnel::socket(client), Tunnel::socket(upstream), timeouts);
    let begun = Instant::now();
    let fill = async {
        // More than the client's receive queue holds, and less than that and the send queue before it.
        upstream_far.write_all(&[7; 300_000]).await.unwrap();
        reset_after_delivery(upstream_far).await;
    };
    let (end, ()) = join!(relay.run(|| false), fill);
    assert_eq!(end, End::UpstreamBroke);
    // No upper bound: a relay that waits without limit never gets here.
    assert!(begun.elapsed() >= timeouts.half_closed, "{:?}", begun.elapsed());
}

/// Waits until the peer of `socket` has acknowledged everything, and then resets the connection.
async fn reset_after_delivery(socket: TcpStream) {
    delivered(&socket).await;
    socket.set_zero_linger().unwrap();
}

async fn delivered(socket: &TcpStream) {
    let mut delivery = Delivery::new();
    poll_fn(|cx| delivery.poll(cx, socket, TIMEOUTS.half_closed)).await;
}
