//! A server of lists: HTTP or HTTPS, and an answer that depends on the request.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::support::Certificates;

type MakeAnswer = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// A server on loopback that closes each connection after one answer.
pub(super) struct ListServer {
    address: SocketAddr,
    scheme: &'static str,
    heads: Arc<Mutex<Vec<String>>>,
    answer: Arc<Mutex<MakeAnswer>>,
}

impl ListServer {
    /// Serves `text` with a tag, and 304 to a request that has the tag already.
    pub(super) async fn of(text: &str) -> Self {
        Self::start(tagged(text), None).await
    }

    /// Serves `text` by HTTPS.
    pub(super) async fn with_tls(text: &str, certificates: &Certificates) -> Self {
        Self::start(tagged(text), Some(certificates)).await
    }

    async fn start(answer: MakeAnswer, certificates: Option<&Certificates>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = certificates.map(Certificates::acceptor);
        let scheme = if acceptor.is_some() { "https" } else { "http" };
        let (heads, answer) = (Arc::<Mutex<Vec<String>>>::default(), Arc::new(Mutex::new(answer)));
        let (seen, current) = (Arc::clone(&heads), Arc::clone(&answer));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, seen, current) =
                    (acceptor.clone(), Arc::clone(&seen), Arc::clone(&current));
                tokio::spawn(async move {
                    match acceptor {
                        None => serve(stream, &seen, &current).await,
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(stream, &seen, &current).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, scheme, heads, answer }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the URL of `path`.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    /// Serves another list from now on.
    pub(super) fn becomes(&self, text: &str) {
        *self.answer.lock().unwrap() = tagged(text);
    }

    /// Answers each request with these bytes from now on.
    pub(super) fn answers(&self, answer: &str) {
        let answer = answer.to_owned();
        *self.answer.lock().unwrap() = Arc::new(move |_| answer.clone());
    }

    /// Serves `text` from now on with the date `modified` in an answer of the date `now`, and 304 to a request that has the
    /// date already.
    pub(super) fn becomes_dated(&self, text: &str, modified: &str, now: &str) {
        let (known, fields) = (
            format!("If-Modified-Since: {modified}\r\n"),
            format!("\r\nDate: {now}\r\nLast-Modified: {modified}\r\n\r\n"),
        );
        let whole = ok(text).replacen("\r\n\r\n", &fields, 1);
        *self.answer.lock().unwrap() = Arc::new(move |head| match head.contains(&known) {
            true => "HTTP/1.1 304 Not Modified\r\n\r\n".to_owned(),
            false => whole.clone(),
        });
    }

    /// Returns the heads of all requests so far.
    pub(super) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

/// Returns an answer with a body of this text.
pub(super) fn ok(text: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len())
}

fn tagged(text: &str) -> MakeAnswer {
    let text = text.to_owned();
    let tag = format!("\"{}-{}\"", text.len(), text.bytes().map(usize::from).sum::<usize>());
    Arc::new(move |head| {
        if head.contains(&format!("If-None-Match: {tag}\r\n")) {
            return "HTTP/1.1 304 Not Modified\r\n\r\n".to_owned();
        }
        ok(&text).replacen("\r\n\r\n", &format!("\r\nETag: {tag}\r\n\r\n"), 1)
    })
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    heads: &Mutex<Vec<String>>,
    answer: &Mutex<MakeAnswer>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(1..) = stream.read_buf(&mut head).await else { return };
    }
    let head = String::from_utf8(head).unwrap();
    let make = Arc::clone(&answer.lock().unwrap());
    let answer = make(&head);
    heads.lock().unwrap().push(head);
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
    // A reset could overtake the answer.
    let _ = stream.read_to_end(&mut Vec::new()).await;
}
