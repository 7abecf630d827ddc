//! hyper's server and client as readers of forwarded messages.

use std::{
    cell::RefCell,
    convert::Infallible,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use hyper::{
    HeaderMap, Request, Response,
    body::{Body, Incoming},
    client, rt, server,
    service::service_fn,
};

use super::{Message, group, is_harmless};

/// Returns the requests that hyper's server finds in `input`, and how the connection ended.
pub(super) fn serve(input: Bytes) -> (Vec<Message>, hyper::Result<()>) {
    let heard = RefCell::new(Vec::new());
    let service = service_fn(async |request: Request<Incoming>| {
        let (head, body) = request.into_parts();
        let mut start = vec![head.method.to_string(), head.uri.to_string()];
        let hosts = head.headers.get_all("Host").iter();
        start.extend(hosts.map(|host| host.to_str().unwrap().to_owned()));
        let message = collect(start, &head.headers, body).await;
        heard.borrow_mut().push(message.unwrap_or_default());
        Ok::<_, Infallible>(Response::new(String::new()))
    });
    let wire = Wire { input, is_open: true, waiting: None };
    // Without `half_close`, hyper would close the connection at the end of the input, before it has
    // answered the request.
    let connection =
        server::conn::http1::Builder::new().half_close(true).serve_connection(wire, service);
    let end = block_on(connection);
    (heard.into_inner(), end)
}

/// Returns the final response that hyper's client finds in `input`, if nothing follows it.
pub(super) fn ask(method: &str, input: Bytes) -> hyper::Result<Message> {
    let wire = Wire { input, is_open: false, waiting: None };
    block_on(async {
        let (mut sender, connection) = client::conn::http1::handshake(wire).await?;
        let request =
            Request::builder().method(method).uri("/").header("Host", "a").body(String::new());
        let exchange = async {
            let (head, body) = sender.send_request(request.unwrap()).await?.into_parts();
            let start = vec![head.status.as_str().to_owned()];
            collect(start, &head.headers, body).await
        };
        // The connection's own end counts too: it fails if bytes follow the response.
        let (message, end) = tokio::join!(exchange, connection);
        end.and(message)
    })
}

/// Reads a message to its end.
async fn collect(
    start: Vec<String>,
    head: &HeaderMap,
    mut body: Incoming,
) -> hyper::Result<Message> {
    let fields = |map: &HeaderMap| {
        group(map.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes())))
    };
    let mut message = Message { start, fields: fields(head), ..Message::default() };
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        match frame?.into_data() {
            Ok(data) => message.content.extend_from_slice(&data),
            Err(frame) => message.trailers = frame.trailers_ref().map(fields).unwrap_or_default(),
        }
    }
    message.trailers.retain(|(name, _)| is_harmless(name));
    Ok(message)
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// A connection that delivers `input` and then its end, and accepts all writes.
struct Wire {
    input: Bytes,
    /// Whether reads deliver yet: a client must have asked before it is answered.
    is_open: bool,
    waiting: Option<Waker>,
}

impl rt::Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.is_open {
            self.waiting = Some(context.waker().clone());
            return Poll::Pending;
        }
        let bytes = self.input.len().min(buffer.remaining());
        buffer.put_slice(&self.input.split_to(bytes));
        Poll::Ready(Ok(()))
    }
}

impl rt::Write for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.is_open = true;
        if let Some(waiting) = self.waiting.take() {
            waiting.wake();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
