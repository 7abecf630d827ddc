//! One request and its answer on the control socket.

use std::{io, time::Duration};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    time,
};

use super::{
    HEAD_BYTES_MAX,
    api::{Api, ApiCall, ControlAnswer, Refused},
    endpoint::AcceptedCaller,
    hand_over,
};
use crate::http::{BodyLength, Fields, HeadLimits, HeadReader, RequestHead, Target};

/// Reads one request from `stream`, and answers it. The connection ends after that.
pub(crate) async fn serve(mut stream: AcceptedCaller, api: Api) {
    // Both directions have a limit, since a client that stops halfway would hold one of the few places. The work
    // between them has none: a reload may wait half a minute for a writer.
    let read = time::timeout(REQUEST_MAX, read(&mut stream)).await;
    let answer = match read {
        Ok(Ok(Ok(call))) => api.answer(call).await,
        Ok(Ok(Err(refused))) => Err(refused),
        // The client is gone, or never said what it wants.
        Ok(Err(_)) | Err(_) => return,
    };
    let (status, ControlAnswer { body, sockets }) = match answer {
        Ok(answer) => ("200 OK", answer),
        Err(refused) => {
            (refused.status(), ControlAnswer { body: refused.body(), ..ControlAnswer::default() })
        }
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let write = async {
        match &sockets[..] {
            [] => stream.write_all(head.as_bytes()).await?,
            sockets => hand_over::write(&mut stream, head.as_bytes(), sockets).await?,
        }
        stream.write_all(&body).await?;
        stream.shutdown().await
    };
    // A client that does not read its answer must not keep its place.
    let _ = time::timeout(ANSWER_MAX, write).await;
}

/// Reads a request, and finds out what it asks for.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Result<ApiCall, Refused>> {
    let mut seen = BytesMut::new();
    let mut reader = HeadReader::new(HeadLimits { bytes: HEAD_BYTES_MAX, fields: 100 });
    let head = loop {
        match reader.request(&mut seen) {
            Ok(Some(head)) => break head,
            Ok(None) => {}
            Err(bad) => return Ok(Err(Refused::BadRequest(bad.to_string()))),
        }
        if stream.read_buf(&mut seen).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    // Before the body is read or anything is done.
    if is_from_a_browser(head.fields()) {
        return Ok(Err(Refused::FromAPage));
    }
    // A body is bounded before it is read. Our own commands always send its length.
    let length = match head.body_length() {
        BodyLength::Empty => 0,
        BodyLength::Length(length) if length <= BODY_BYTES_MAX => length as usize,
        BodyLength::Length(_) => return Ok(Err(Refused::TooLarge)),
        BodyLength::Chunked | BodyLength::UntilClose => {
            return Ok(Err(Refused::BadRequest("send the body with a Content-Length".into())));
        }
    };
    while seen.len() < length {
        if stream.read_buf(&mut seen).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(ApiCall::read(head.method(), path(&head), &seen[..length]))
}

fn path(head: &RequestHead) -> &str {
    match head.target() {
        Target::Origin(path) => str::from_utf8(path).unwrap_or_default(),
        _ => "",
    }
}

/// Returns whether a browser sends the request for a web page. No browser can name the socket, but a program may pass
/// connections of a port on to it.
fn is_from_a_browser(fields: &Fields) -> bool {
    ["Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode", "Referer"]
        .into_iter()
        .any(|name| fields.values(name).next().is_some())
}

/// A configuration file in a request, and some room for the rest.
const BODY_BYTES_MAX: u64 = 8 << 20;
/// How long a request may take to arrive.
const REQUEST_MAX: Duration = Duration::from_secs(10);
/// How long an answer may take to be read.
const ANSWER_MAX: Duration = Duration::from_secs(30);
