//! Measures relaying bytes between two local sockets, including the work of both ends.
//!
//! `cargo bench --bench relay`

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up must stop")]

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use divan::{Bencher, counter::BytesCount};
use mooltiroute::{
    hops::Tunnel,
    internal::relay::{Relay, RelayTimeouts},
};
use tokio::runtime;

fn main() {
    divan::main();
}

/// Sends a message in each direction, which wakes the relay twice.
#[divan::bench(args = [64, 4096])]
fn small(bencher: Bencher<'_, '_>, bytes: usize) {
    let (mut client, mut upstream) = relayed();
    let mut message = vec![b'x'; bytes];
    bencher.counter(BytesCount::new(2 * bytes)).bench_local(|| {
        client.write_all(&message).unwrap();
        upstream.read_exact(&mut message).unwrap();
        upstream.write_all(&message).unwrap();
        client.read_exact(&mut message).unwrap();
    });
}

/// Sends far more than the buffers on the way hold.
#[divan::bench(args = [64 << 20], sample_count = 20)]
fn bulk(bencher: Bencher<'_, '_>, bytes: usize) {
    let (mut client, mut upstream) = relayed();
    let chunk = vec![b'x'; CHUNK_BYTES];
    let mut seen = chunk.clone();
    bencher.counter(BytesCount::new(bytes)).bench_local(|| {
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..bytes / CHUNK_BYTES {
                    upstream.write_all(&chunk).unwrap();
                }
            });
            for _ in 0..bytes / CHUNK_BYTES {
                client.read_exact(&mut seen).unwrap();
            }
        });
    });
}

/// Starts a relay on a thread of its own and returns the far ends of its client and its upstream.
fn relayed() -> (TcpStream, TcpStream) {
    let [(client, client_far), (upstream, upstream_far)] = [connection(), connection()];
    thread::spawn(|| {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let timeouts = RelayTimeouts {
                idle: None,
                rotate_after: None,
                half_closed: Duration::from_secs(300),
            };
            Relay::new(tunnel(client), tunnel(upstream), timeouts).run(|| false).await;
        });
    });
    (client_far, upstream_far)
}

fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let near = listener.accept().unwrap().0;
    far.set_nodelay(true).unwrap();
    near.set_nodelay(true).unwrap();
    (near, far)
}

/// Wraps `socket` for the runtime of the calling thread.
fn tunnel(socket: TcpStream) -> Tunnel {
    socket.set_nonblocking(true).unwrap();
    Tunnel::socket(tokio::net::TcpStream::from_std(socket).unwrap())
}

const CHUNK_BYTES: usize = 256 * 1024;
