//! Asks a running proxy for its status.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use mooltiroute_hops::credentials;
use serde_json::Value;
use thiserror::Error;

use crate::{
    config::Auth,
    http::{HeadLimits, HeadReader},
};

/// The reason why there is no status.
#[derive(Debug, Error)]
pub(super) enum NoStatus {
    #[error("nothing listens there")]
    Refused,
    #[error("no answer within {} seconds", TIMEOUT.as_secs())]
    Slow,
    #[error("{0}")]
    Io(io::Error),
    #[error(
        "it asks for a username and a password: those of `server.auth` in its configuration, which `-c` names"
    )]
    Unauthorized,
    #[error("it has as many connections as `limits.connections` allows, and no room for this one")]
    Full,
    #[error("it answers {0}, so it is not a Mooltiroute that shows its status")]
    Status(u16),
    #[error("what listens there is not Mooltiroute")]
    Other,
}

/// Asks the proxy at `address` for its status, and waits at most [`TIMEOUT`].
pub(super) fn ask(address: SocketAddr, auth: Option<&Auth>) -> Result<Value, NoStatus> {
    let deadline = Instant::now() + TIMEOUT;
    let mut socket = TcpStream::connect_timeout(&address, TIMEOUT)?;
    socket.set_write_timeout(Some(TIMEOUT))?;
    // The proxy accepts this name even if a forwarded port leads to it from elsewhere.
    let mut request =
        String::from("GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    if let Some(value) =
        auth.and_then(|Auth { username, password }| credentials::basic(username, password).ok())
    {
        request.push_str(&format!("Proxy-Authorization: {}\r\n", value.expose()));
    }
    request.push_str("\r\n");
    socket.write_all(request.as_bytes())?;
    let answer = read_to_end(&mut socket, deadline)?;
    body(answer)
}

/// Reads to the end. `deadline` bounds the whole answer and not each read.
fn read_to_end(socket: &mut TcpStream, deadline: Instant) -> Result<BytesMut, NoStatus> {
    let mut answer = BytesMut::new();
    let mut part = [0; 8 * 1024];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(NoStatus::Slow);
        }
        socket.set_read_timeout(Some(left))?;
        match socket.read(&mut part)? {
            0 => return Ok(answer),
            count => answer.extend_from_slice(&part[..count]),
        }
        if answer.len() > ANSWER_BYTES_MAX {
            return Err(NoStatus::Other);
        }
    }
}

fn body(mut answer: BytesMut) -> Result<Value, NoStatus> {
    let head = HeadReader::new(HeadLimits::default()).response("GET", &mut answer);
    let Ok(Some(head)) = head else { return Err(NoStatus::Other) };
    match head.status() {
        200 => {}
        401 | 407 => return Err(NoStatus::Unauthorized),
        503 => return Err(NoStatus::Full),
        status => return Err(NoStatus::Status(status)),
    }
    // Another program may listen there and answer 200 with a JSON of its own, so a field of ours must be in
    // it.
    let status: Value = serde_json::from_slice(&answer).map_err(|_| NoStatus::Other)?;
    if status["generation"].is_u64() { Ok(status) } else { Err(NoStatus::Other) }
}

impl From<io::Error> for NoStatus {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            // The system decides which of the two it is.
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Self::Slow,
            _ => Self::Io(error),
        }
    }
}

const TIMEOUT: Duration = Duration::from_secs(2);
/// Far more than the status of a thousand hops.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
