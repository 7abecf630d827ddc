//! One request and its answer, from the side of a command, which blocks.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpListener,
    path::Path,
    time::Duration,
};

use bytes::BytesMut;
use serde::{Deserialize, de::DeserializeOwned};
use thiserror::Error;

use crate::{
    control::{
        HEAD_BYTES_MAX,
        api::HandedOver,
        endpoint::{Connection, connect, process_behind},
        hand_over,
    },
    http::{HeadLimits, HeadReader},
};

/// The reason why the proxy gave no answer.
#[derive(Debug, Error)]
pub(crate) enum NoAnswer {
    /// The proxy accepts and stays silent.
    #[error("the proxy did not answer within {} s: it hangs, or was stopped", .patience.as_secs())]
    Silent {
        /// How long it was waited for.
        patience: Duration,
        /// The process, if the system tells.
        process: Option<u32>,
    },
    /// The connection failed.
    #[error("the connection to the proxy failed: {0}")]
    Io(#[from] io::Error),
    /// The proxy refused.
    #[error("the proxy refused: {0}")]
    Refused(String),
    /// The answer is not what this version expects.
    #[error("the proxy's answer can't be read, perhaps because it is another version: {0}")]
    Unreadable(#[source] serde_json::Error),
    /// The peer does not speak HTTP.
    #[error("the proxy's answer is not HTTP")]
    NoHttp,
}

impl NoAnswer {
    /// Returns the meaning of an error of a connection whose steps may take `patience`.
    fn after(error: io::Error, patience: Duration, process: Option<u32>) -> Self {
        match error.kind() {
            // The system decides which of the two it is.
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                Self::Silent { patience, process }
            }
            _ => Self::Io(error),
        }
    }
}

#[derive(Deserialize)]
struct Explanation {
    error: String,
}

/// Asks the proxy at `socket`, and reads its answer to the end of the connection. Each step of it may take `patience`.
pub(super) fn exchange<T: DeserializeOwned>(
    socket: &Path,
    method: &str,
    path: &str,
    body: Option<&[u8]>,
    patience: Duration,
) -> Result<T, NoAnswer> {
    let mut stream = ask(socket, method, path, body, patience)?;
    let mut answer = Vec::new();
    let process = process_behind(&stream);
    match stream.read_to_end(&mut answer) {
        // The end of a pipe.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        read => {
            read.map_err(|error| NoAnswer::after(error, patience, process))?;
        }
    }
    parse(&answer)
}

/// Asks the proxy at `socket` for its listening sockets.
pub(super) fn take_listeners(
    socket: &Path,
    patience: Duration,
) -> Result<Vec<TcpListener>, NoAnswer> {
    let mut stream = ask(socket, "POST", "/v1/hand-over", None, patience)?;
    let process = process_behind(&stream);
    let read = hand_over::read(&mut stream);
    let (answer, sockets) = read.map_err(|error| NoAnswer::after(error, patience, process))?;
    let HandedOver { listeners } = parse(&answer)?;
    // A proxy whose descriptors were cut off on the way must not be taken for one without listeners.
    if sockets.len() != listeners.len() {
        return Err(io::Error::other("it did not pass all of its sockets").into());
    }
    Ok(sockets)
}

/// Connects to the proxy at `socket` and writes a request.
fn ask(
    socket: &Path,
    method: &str,
    path: &str,
    body: Option<&[u8]>,
    patience: Duration,
) -> Result<Connection, NoAnswer> {
    // The queue of a proxy that hangs may be full.
    let silent = |error| NoAnswer::after(error, patience, None);
    let mut stream = connect(socket, patience).map_err(silent)?;
    let length = body.map_or(0, <[u8]>::len);
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nHost: mooltiroute\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )
    .into_bytes();
    request.extend_from_slice(body.unwrap_or_default());
    // One write and then reading to the end: a connection serves one request, so no answer needs to be delimited.
    stream.write_all(&request).map_err(silent)?;
    Ok(stream)
}

/// Reads an answer.
fn parse<T: DeserializeOwned>(answer: &[u8]) -> Result<T, NoAnswer> {
    let limits = HeadLimits { bytes: HEAD_BYTES_MAX, ..HeadLimits::default() };
    // A copy of the beginning, since the reader takes the head off it, and the body may have megabytes.
    let mut beginning = BytesMut::from(answer.get(..HEAD_BYTES_MAX).unwrap_or(answer));
    let copied = beginning.len();
    let head = HeadReader::new(limits).response("GET", &mut beginning);
    let Ok(Some(head)) = head else { return Err(NoAnswer::NoHttp) };
    let body = answer.get(copied - beginning.len()..).unwrap_or_default();
    if head.status() == 200 {
        return serde_json::from_slice(body).map_err(NoAnswer::Unreadable);
    }
    let explanation: Explanation = serde_json::from_slice(body).map_err(NoAnswer::Unreadable)?;
    Err(NoAnswer::Refused(explanation.error))
}
