//! Many bytes, both ways at once, in many tunnels and in one.

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinSet,
};

use crate::support::{Proxy, connect, fill, first_difference, within};

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_tunnels_carry_their_own_bytes() {
    check(200, 1 << 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_carries_two_hundred_mebibytes_each_way() {
    check(1, 200 << 20).await;
}

/// Opens `count` tunnels at once, and passes `length` bytes of a pattern each way through each of them, at once; then
/// each end has read the pattern, whole, and then the end.
async fn check(count: usize, length: usize) {
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = target.local_addr().unwrap();
    let proxy = Proxy::start("chains: { default: [] }").await;
    let mut ends = JoinSet::new();
    let mut open = Vec::new();
    for _ in 0..count {
        let (tunnel, upstream) = tokio::join!(connect(proxy.address(), address), target.accept());
        open.push((tunnel.tunnel(), upstream.unwrap().0));
    }
    for (client, upstream) in open {
        ends.spawn(exchange(client, length));
        ends.spawn(exchange(upstream, length));
    }
    within("all bytes pass", ends.join_all()).await;
}

async fn exchange(stream: impl AsyncRead + AsyncWrite, length: usize) {
    let (mut read, mut write) = tokio::io::split(stream);
    let send = async {
        let block = fill(BLOCK_BYTES);
        let mut left = length;
        while left > 0 {
            let sent = left.min(BLOCK_BYTES);
            write.write_all(&block[..sent]).await.unwrap();
            left -= sent;
        }
        write.shutdown().await.unwrap();
    };
    let receive = async {
        let (mut buffer, mut received) = (vec![0; BLOCK_BYTES], 0);
        loop {
            let count = read.read(&mut buffer).await.unwrap();
            if count == 0 {
                break;
            }
            assert_eq!(first_difference(received, &buffer[..count]), None);
            received += count as u64;
        }
        assert_eq!(received, length as u64);
    };
    tokio::join!(send, receive);
}

/// The length of the pattern's period, so that each block begins as the first.
const BLOCK_BYTES: usize = 65_521;
