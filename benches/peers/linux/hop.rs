//! A proxy that costs next to nothing. It serves as a hop that does not affect the measurement, and as the bare proxy.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::{door, pass::pass, relay};

/// Opens the tunnel that a client asks for, through `hops`. A plain request and all requests after it are passed on unchanged to
/// the last of them, or to the target if there are none.
pub(super) async fn serve(listener: TcpListener, hops: Vec<SocketAddr>) {
    let hops: Arc<[SocketAddr]> = hops.into();
    loop {
        // A client may have gone before it was accepted.
        let Ok((client, _)) = listener.accept().await else { continue };
        #[expect(clippy::disallowed_methods, reason = "the process ends and so does this")]
        tokio::spawn(open(client, Arc::clone(&hops)));
    }
}

async fn open(mut client: TcpStream, hops: Arc<[SocketAddr]>) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut seen = Vec::with_capacity(1024);
    while !seen.ends_with(b"\r\n\r\n") {
        if client.read_buf(&mut seen).await? == 0 {
            return Ok(());
        }
    }
    let (target, is_tunnel) = target(&seen).ok_or(io::ErrorKind::InvalidData)?;
    let stops = hops.iter().copied().chain((is_tunnel || hops.is_empty()).then_some(target));
    let stops: Vec<SocketAddr> = stops.collect();
    let heads: Vec<String> = stops[1..].iter().map(|stop| door::connect_head(*stop)).collect();
    let mut upstream = relay::reach(stops[0], &heads).await?;
    if is_tunnel {
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    } else {
        upstream.write_all(&seen).await?;
    }
    drop(seen);
    pass(client, upstream).await
}

/// Returns the target of a request, and whether it asks for a tunnel.
pub(super) fn target(head: &[u8]) -> Option<(SocketAddr, bool)> {
    let head = std::str::from_utf8(head).ok()?;
    let mut words = head.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    if method == "CONNECT" {
        return Some((target.parse().ok()?, true));
    }
    let authority = target.strip_prefix("http://")?.split('/').next()?;
    Some((authority.parse().ok()?, false))
}
