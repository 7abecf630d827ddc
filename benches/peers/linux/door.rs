//! The ways in which a client reaches the origin: through a proxy, through a relay, or directly.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use super::origin::BODY_BYTES;

/// The address that a client connects to, and the CONNECT requests it sends there.
#[derive(Clone, Debug)]
pub(super) struct Door {
    address: SocketAddr,
    /// The targets of its CONNECT requests, in their order.
    connects: Vec<SocketAddr>,
    origin: SocketAddr,
    protocol: DoorProtocol,
}

/// The protocol between a client and the program at the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DoorProtocol {
    /// CONNECT for each stop, and plain requests through the tunnel.
    Relay,
    /// CONNECT, and plain requests in absolute-form.
    Proxy,
    /// SOCKS5, and plain requests through the tunnel.
    Socks,
}

impl Door {
    /// Through a proxy that knows the hops itself.
    pub(super) fn proxy(address: SocketAddr, origin: SocketAddr) -> Self {
        Self { address, connects: vec![origin], origin, protocol: DoorProtocol::Proxy }
    }

    /// Through a SOCKS5 proxy that knows the hops itself.
    pub(super) fn socks(address: SocketAddr, origin: SocketAddr) -> Self {
        Self { address, connects: Vec::new(), origin, protocol: DoorProtocol::Socks }
    }

    /// Through something at `address` that moves all bytes to the first of `stops`; the last stop is the origin.
    pub(super) fn relay(address: SocketAddr, stops: &[SocketAddr]) -> Self {
        let origin = *stops.last().unwrap();
        Self { address, connects: stops[1..].to_vec(), origin, protocol: DoorProtocol::Relay }
    }

    /// Opens a tunnel to the origin.
    pub(super) fn tunnel(&self) -> io::Result<TcpStream> {
        let mut stream = self.connection()?;
        if self.protocol == DoorProtocol::Socks {
            open_by_socks(&mut stream, self.origin)?;
        }
        for target in &self.connects {
            stream.write_all(connect_head(*target).as_bytes())?;
            let mut answer = Vec::new();
            read_head(&mut stream, &mut answer)?;
        }
        Ok(stream)
    }

    /// Opens a connection for plain requests.
    pub(super) fn plain(&self) -> io::Result<Plain<'_>> {
        let is_forwarded = self.protocol == DoorProtocol::Proxy;
        let stream = if is_forwarded { self.connection() } else { self.tunnel() }?;
        let origin = self.origin;
        let form = if is_forwarded { format!("http://{origin}/item") } else { "/item".to_owned() };
        let request = format!(
            "GET {form} HTTP/1.1\r\nHost: {origin}\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"
        );
        Ok(Plain { door: self, stream, request, answer: Vec::with_capacity(4096), is_used: false })
    }

    /// Asks Mooltiroute for its status.
    pub(super) fn status(&self) -> io::Result<serde_json::Value> {
        let mut stream = self.connection()?;
        write!(stream, "GET /status HTTP/1.1\r\nHost: {}\r\n\r\n", self.address)?;
        let mut answer = Vec::new();
        let head = read_head(&mut stream, &mut answer)?;
        stream.read_to_end(&mut answer)?;
        Ok(serde_json::from_slice(&answer[head..])?)
    }

    fn connection(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    }
}

/// A connection that carries one plain request after another.
#[derive(Debug)]
pub(super) struct Plain<'a> {
    door: &'a Door,
    stream: TcpStream,
    request: String,
    answer: Vec<u8>,
    is_used: bool,
}

impl Plain<'_> {
    /// Sends a request and reads its response. Connects again, as any client does, if the proxy has closed the
    /// connection since the last one.
    pub(super) fn exchange(&mut self) -> io::Result<()> {
        let mut result = self.try_exchange();
        if result.is_err() && self.is_used && self.answer.is_empty() {
            *self = self.door.plain()?;
            result = self.try_exchange();
        }
        self.is_used = true;
        result
    }

    fn try_exchange(&mut self) -> io::Result<()> {
        self.answer.clear();
        self.stream.write_all(self.request.as_bytes())?;
        let head = read_head(&mut self.stream, &mut self.answer)?;
        while self.answer.len() < head + BODY_BYTES {
            read_more(&mut self.stream, &mut self.answer)?;
        }
        let head = String::from_utf8_lossy(&self.answer[..head]).to_ascii_lowercase();
        if head.contains("connection: close") {
            *self = self.door.plain()?;
        }
        Ok(())
    }
}

/// Asks for a tunnel to `target` by SOCKS5, in the two round trips that every client needs (RFC 1928).
fn open_by_socks(stream: &mut TcpStream, target: SocketAddr) -> io::Result<()> {
    stream.write_all(&[5, 1, 0])?;
    let mut method = [0; 2];
    stream.read_exact(&mut method)?;
    let SocketAddr::V4(target) = target else { return Err(io::ErrorKind::Unsupported.into()) };
    let mut request = vec![5, 1, 0, 1];
    request.extend(target.ip().octets());
    request.extend(target.port().to_be_bytes());
    stream.write_all(&request)?;
    let mut reply = [0; 10];
    stream.read_exact(&mut reply)?;
    if method == [5, 0] && reply[1] == 0 { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Returns a minimal CONNECT request.
pub(super) fn connect_head(target: SocketAddr) -> String {
    format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")
}

/// Reads a whole head, which must say 200, and returns its length.
fn read_head(stream: &mut TcpStream, seen: &mut Vec<u8>) -> io::Result<usize> {
    loop {
        read_more(stream, seen)?;
        if let Some(start) = seen.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let is_good = seen.get(8..13) == Some(b" 200 ");
            return if is_good { Ok(start + 4) } else { Err(io::ErrorKind::InvalidData.into()) };
        }
    }
}

fn read_more(stream: &mut TcpStream, seen: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0; 4096];
    match stream.read(&mut buffer)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        count => {
            seen.extend_from_slice(&buffer[..count]);
            Ok(())
        }
    }
}

/// Only a program that hangs takes this long.
const PATIENCE: Duration = Duration::from_secs(10);
