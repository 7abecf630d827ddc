//! A proxy on the way that costs next to nothing, so that it is not what is measured.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::pass::pass;

/// Opens the tunnel a client asks for; a plain request goes on as it is, and all that follow go the same way.
pub(super) async fn serve(listener: TcpListener) {
    while let Ok((client, _)) = listener.accept().await {
        #[expect(clippy::disallowed_methods, reason = "the process ends and so does this")]
        tokio::spawn(open(client));
    }
}

async fn open(mut client: TcpStream) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut seen = Vec::with_capacity(1024);
    while !seen.ends_with(b"\r\n\r\n") {
        if client.read_buf(&mut seen).await? == 0 {
            return Ok(());
        }
    }
    let (target, is_tunnel) = target(&seen).ok_or(io::ErrorKind::InvalidData)?;
    let mut upstream = TcpStream::connect(target).await?;
    upstream.set_nodelay(true)?;
    if is_tunnel {
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    } else {
        upstream.write_all(&seen).await?;
    }
    drop(seen);
    pass(client, upstream).await
}

/// Where a request wants to go, and whether through a tunnel.
fn target(head: &[u8]) -> Option<(SocketAddr, bool)> {
    let head = std::str::from_utf8(head).ok()?;
    let mut words = head.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    if method == "CONNECT" {
        return Some((target.parse().ok()?, true));
    }
    let authority = target.strip_prefix("http://")?.split('/').next()?;
    Some((authority.parse().ok()?, false))
}
