//! The bare relay: it accepts, connects and moves bytes. It reads no request, and sends a fixed CONNECT to each hop.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::{door, pass::pass};

/// Passes each connection on to the last of `stops`, through the others.
pub(super) async fn serve(listener: TcpListener, stops: Vec<SocketAddr>) {
    let first = stops[0];
    let heads: Arc<[String]> = stops[1..].iter().map(|stop| door::connect_head(*stop)).collect();
    loop {
        // A client may have gone before it was accepted.
        let Ok((client, _)) = listener.accept().await else { continue };
        #[expect(clippy::disallowed_methods, reason = "the process ends and so does this")]
        tokio::spawn(relay(client, first, Arc::clone(&heads)));
    }
}

async fn relay(client: TcpStream, first: SocketAddr, heads: Arc<[String]>) -> io::Result<()> {
    client.set_nodelay(true)?;
    let upstream = reach(first, &heads).await?;
    pass(client, upstream).await
}

/// Connects to `first`, sends `heads` one after another and reads the answers.
pub(super) async fn reach(first: SocketAddr, heads: &[String]) -> io::Result<TcpStream> {
    let mut upstream = TcpStream::connect(first).await?;
    upstream.set_nodelay(true)?;
    let mut answer = [0; 256];
    for head in heads {
        upstream.write_all(head.as_bytes()).await?;
        let mut length = 0;
        while !answer[..length].ends_with(b"\r\n\r\n") {
            match upstream.read(&mut answer[length..]).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => length += count,
            }
        }
    }
    Ok(upstream)
}
