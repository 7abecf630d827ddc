//! The origin. It has one port, and learns from the first byte what a client wants.

use std::io;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// Asks for the number of bytes that the next eight bytes name.
pub(super) const SOURCE: u8 = b's';
/// Begins data to echo.
pub(super) const ECHO: u8 = b'e';
/// The body of each response to a plain request.
pub(super) const BODY_BYTES: usize = 128;

pub(super) async fn serve(listener: TcpListener) {
    loop {
        // A client may have gone before it was accepted.
        let Ok((stream, _)) = listener.accept().await else { continue };
        #[expect(clippy::disallowed_methods, reason = "the process ends and so does this")]
        tokio::spawn(answer(stream));
    }
}

async fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut first = [0; 1];
    if stream.peek(&mut first).await? == 0 {
        return Ok(());
    }
    match first {
        [SOURCE] => source(&mut stream).await,
        [ECHO] => echo(&mut stream).await,
        _ => respond(&mut stream).await,
    }
}

async fn source(stream: &mut TcpStream) -> io::Result<()> {
    stream.read_u8().await?;
    let mut left = stream.read_u64().await?;
    let bytes = vec![b'x'; 256 * 1024];
    while left > 0 {
        let length = left.min(bytes.len() as u64);
        stream.write_all(&bytes[..length as usize]).await?;
        left -= length;
    }
    stream.shutdown().await
}

async fn echo(stream: &mut TcpStream) -> io::Result<()> {
    // It is small, because thousands of these wait at the same time.
    let mut buffer = [0; 256];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return stream.shutdown().await,
            length => stream.write_all(&buffer[..length]).await?,
        }
    }
}

/// Answers each request without parsing it. No request has a body.
async fn respond(stream: &mut TcpStream) -> io::Result<()> {
    let body = "x".repeat(BODY_BYTES);
    let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY_BYTES}\r\n\r\n{body}");
    let mut seen = Vec::with_capacity(4096);
    while stream.read_buf(&mut seen).await? > 0 {
        while let Some(start) = seen.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            seen.drain(..start + 4);
            stream.write_all(response.as_bytes()).await?;
        }
    }
    stream.shutdown().await
}
