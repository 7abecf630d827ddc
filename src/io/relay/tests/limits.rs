//! The times after which a tunnel ends.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    join,
    time::Instant,
};

use super::{TIMEOUTS, piped};
use crate::io::relay::*;

#[tokio::test(start_paused = true)]
async fn an_old_tunnel_ends_in_its_first_quiet_second() {
    let timeouts = RelayTimeouts { rotate_after: Some(Duration::from_secs(10)), ..TIMEOUTS };
    let (mut relay, mut client, mut upstream) = piped(64, timeouts);
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
    let (mut relay, _client, _upstream) = piped(64, timeouts);
    let begun = Instant::now();
    assert_eq!(relay.run(|| false).await, End::Rotated);
    assert_eq!(begun.elapsed().as_secs(), 10, "a quiet one ends when it is old enough");
    let idle = RelayTimeouts { idle: Some(Duration::from_secs(3)), ..timeouts };
    let (mut relay, _client, _upstream) = piped(64, idle);
    assert_eq!(relay.run(|| false).await, End::Idle);
}

#[tokio::test(start_paused = true)]
async fn an_old_tunnel_waits_for_the_answer_to_the_clients_last_bytes() {
    let timeouts = RelayTimeouts { rotate_after: Some(Duration::from_secs(10)), ..TIMEOUTS };
    for (thinks, expected) in [(Some(4), 14), (Some(50), 60), (None, 69)] {
        let (mut relay, mut client, mut upstream) = piped(64, timeouts);
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
    let timeouts = RelayTimeouts { rotate_after: Some(Duration::from_secs(10)), ..TIMEOUTS };
    let (mut relay, mut client, mut upstream) = piped(64, timeouts);
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

#[tokio::test(start_paused = true)]
async fn silence_ends_a_tunnel_and_any_byte_starts_it_anew() {
    let idle = Duration::from_secs(60);
    let (mut relay, mut client, mut upstream) =
        piped(64, RelayTimeouts { idle: Some(idle), ..TIMEOUTS });
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
    let (mut relay, mut client, _upstream) = piped(64, TIMEOUTS);
    client.shutdown().await.unwrap();
    let begun = Instant::now();
    assert_eq!(relay.run(|| false).await, End::HalfClosed);
    assert_eq!(begun.elapsed().as_secs(), TIMEOUTS.half_closed.as_secs());
}
