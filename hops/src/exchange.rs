//! Requests to an HTTP proxy and its answers, one after the other on a tunnel (RFC 9110 §9.3.6).
//!
//! [`connect`] is all that a hop without multi-round authentication needs. Hops with several rounds use [`Exchange`] in a
//! loop: send a request, read the head of the answer whatever its status, then drain the answer to send the next
//! request.

mod body;
mod head;
mod request_head;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

pub use self::head::Answer;
use self::{
    body::{BodyDecoder, Progress},
    head::HeadScanner,
    request_head::head,
};
use crate::{
    Authority, Field, HopError, Refusal, RequestLine, Tunnel, auth::challenge::AuthScheme,
    refusal::RequestSecrets,
};

/// Asks the proxy that `tunnel` reaches to connect it to `next`, with `fields` in the request.
///
/// Any 2xx answer makes a tunnel, and only the end of its head matters. Bytes behind the head are kept. Nothing more is
/// sent before the whole head has come.
///
/// # Errors
/// [`HopError::Refused`] for any other status, and the way in which the exchange failed otherwise.
///
/// ```
/// use mooltiroute_hops::{Field, Secret, Tunnel, exchange};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// let (near, mut proxy) = duplex(1024);
/// proxy.write_all(b"HTTP/1.1 200 OK\r\n\r\nhello").await.unwrap();
/// let next = "example.com:443".parse().unwrap();
/// let fields = [Field::new("Proxy-Authorization", Secret::new("Basic dTpw"))];
/// let tunnel = exchange::connect(Tunnel::layered(near), &next, &fields, exchange::HEAD_BYTES_MAX).await;
/// let mut first = [0; 5];
/// tunnel.unwrap().read_exact(&mut first).await.unwrap();
/// assert_eq!(&first, b"hello");
/// # });
/// ```
pub async fn connect(
    mut tunnel: Tunnel,
    next: &Authority,
    fields: &[Field],
    head_bytes_max: usize,
) -> Result<Tunnel, HopError> {
    let mut exchange = Exchange::new(&mut tunnel, head_bytes_max);
    let answer = exchange.connect(next, fields).await?;
    if answer.is_success() {
        return Ok(tunnel);
    }
    Err(exchange.refusal(answer, &RequestSecrets::of(fields)).await.into())
}

/// A conversation with an HTTP proxy, one request and answer at a time.
///
/// Bytes that were read too far are put back into the tunnel after each step, so an exchange can be dropped and made
/// again between two rounds.
///
/// ```
/// use mooltiroute_hops::{Field, HopError, Secret, Tunnel, exchange::{Exchange, HEAD_BYTES_MAX}};
/// # use tokio::io::{AsyncWriteExt, duplex};
///
/// /// Sends credentials only after the proxy has asked for them.
/// async fn connect_when_asked(mut tunnel: Tunnel) -> Result<Tunnel, HopError> {
///     let next = "example.com:443".parse().unwrap();
///     let mut exchange = Exchange::new(&mut tunnel, HEAD_BYTES_MAX);
///     let mut answer = exchange.connect(&next, &[]).await?;
///     if answer.challenges().any(|challenge| challenge.starts_with(b"Basic")) && exchange.finish(&answer).await? {
///         let fields = [Field::new("Proxy-Authorization", Secret::new("Basic dTpw"))];
///         answer = exchange.connect(&next, &fields).await?;
///     }
///     if answer.is_success() { Ok(tunnel) } else { Err(answer.into_refusal().into()) }
/// }
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// # let (near, mut proxy) = duplex(1024);
/// # proxy.write_all(b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nContent-Length: 2\r\n\r\nhi").await.unwrap();
/// # proxy.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
/// # connect_when_asked(Tunnel::layered(near)).await.unwrap();
/// # });
/// ```
#[derive(Debug)]
pub struct Exchange<'t> {
    tunnel: &'t mut Tunnel,
    head_bytes_max: usize,
}

/// The body of an answer.
#[derive(Debug)]
pub struct Body {
    /// Its first bytes, as many as were asked for.
    pub bytes: Vec<u8>,
    /// The point at which the reading ended.
    pub end: BodyEnd,
}

/// The point at which the reading of a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyEnd {
    /// At its end.
    Whole,
    /// At the limit of bytes.
    TooLong,
    /// At framing that is invalid, such as a chunk without a size.
    Broken,
}

impl<'t> Exchange<'t> {
    /// Begins a conversation with the proxy that `tunnel` reaches. The heads of its answers may have `head_bytes_max` bytes,
    /// which operators set ([`BuildContext::head_bytes_max`](crate::BuildContext::head_bytes_max)).
    pub fn new(tunnel: &'t mut Tunnel, head_bytes_max: usize) -> Self {
        Self { tunnel, head_bytes_max }
    }

    /// Sends a CONNECT to `next`, and reads the head of the answer.
    ///
    /// # Errors
    /// The answer does not come, is not HTTP, or is too large.
    pub async fn connect(
        &mut self,
        next: &Authority,
        fields: &[Field],
    ) -> Result<Answer, HopError> {
        // The client's fields that pass are kept in the tunnel, so that every kind of hop which speaks CONNECT sends them.
        // The list is copied only if there are any.
        let next = next.to_string();
        let joined;
        let fields = match self.tunnel.passed().map(|passed| passed.sent()) {
            None | Some([]) => fields,
            Some(passed) => {
                joined = [fields, passed].concat();
                &joined
            }
        };
        let answer = self.exchange("CONNECT", &next, &next, fields).await?;
        // The fields of a 2xx are not read unless one of them is to reach the client.
        if answer.is_success()
            && let Some(passed) = self.tunnel.passed().filter(|passed| passed.wants_answer())
        {
            passed.keep(&answer.fields_of_success());
        }
        Ok(answer)
    }

    /// Sends a plain request without a body, and reads the head of the answer.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn request(
        &mut self,
        line: RequestLine<'_>,
        host: &Authority,
        fields: &[Field],
    ) -> Result<Answer, HopError> {
        self.exchange(line.method, &line.uri.to_string(), &host.to_string(), fields).await
    }

    async fn exchange(
        &mut self,
        method: &str,
        uri: &str,
        host: &str,
        fields: &[Field],
    ) -> Result<Answer, HopError> {
        // The head is sent before anything is read, and nothing follows it. A proxy that refuses this request must
        // not find a second one behind it, which it would read with credentials that are not for it.
        self.tunnel.write_all(head(method, uri, host, fields).as_bytes()).await?;
        self.tunnel.flush().await?;
        let mut seen = BytesMut::with_capacity(READ_BYTES);
        let mut scanner = HeadScanner::default();
        // Answers of 1xx come before the real one (RFC 9110 §15.2). Their number is limited, or a peer could go on
        // with them without end.
        let mut interim_count = 0;
        loop {
            while let Some(end) = scanner.scan(&seen)? {
                // A head that came in one read may already be over the limit, so it is checked here as well as below.
                if end > self.head_bytes_max {
                    return Err(HopError::HeadTooLarge { limit: self.head_bytes_max });
                }
                // Splitting off nothing would still make the buffer a shared one, which allocates.
                let rest = if end < seen.len() { seen.split_off(end) } else { BytesMut::new() };
                let answer = Answer::parse(std::mem::replace(&mut seen, rest))?.to(method);
                // What came behind the head is the start of a body, or bytes of the tunnel if the target speaks
                // first, as SSH does.
                if !answer.is_interim() {
                    self.tunnel.unread(seen.freeze());
                    return Ok(answer);
                }
                interim_count += 1;
                if interim_count > INTERIM_MAX {
                    return Err(HopError::Malformed("it keeps sending interim answers"));
                }
                scanner = HeadScanner::default();
            }
            // The head has no end yet, and from here it can only grow.
            if seen.len() >= self.head_bytes_max {
                return Err(HopError::HeadTooLarge { limit: self.head_bytes_max });
            }
            if self.tunnel.read_buf(&mut seen).await? == 0 {
                return Err(HopError::Closed);
            }
        }
    }

    /// Reports an answer to the [observer](Tunnel::observe_rounds), if there is one. The request had credentials by `scheme`,
    /// made from `source`.
    pub fn report_round(
        &self,
        scheme: Option<AuthScheme>,
        source: Option<&'static str>,
        answer: &Answer,
    ) {
        if let Some(observer) = self.tunnel.rounds_observer() {
            observer.round(scheme, source, answer.status());
        }
    }

    /// Discards the body of `answer`. Returns whether the tunnel carries another request.
    ///
    /// It does not if the proxy closes after the answer, if the body has no certain end, or if the body is over
    /// [`BODY_BYTES_MAX`]. Then this returns without waiting for the end.
    ///
    /// # Errors
    /// The connection failed before the end of the body.
    pub async fn finish(&mut self, answer: &Answer) -> Result<bool, HopError> {
        Ok(answer.is_persistent() && self.body(answer).await?.end == BodyEnd::Whole)
    }

    /// Turns `answer`, the last one, into a refusal, with a line of its page that repeats none of `secrets`.
    ///
    /// The page only explains the answer, so a part that does not come at once is left out.
    pub(crate) async fn refusal(&mut self, answer: Answer, secrets: &RequestSecrets) -> Refusal {
        let passed = self.tunnel.passed().map(|passed| RequestSecrets::of(passed.sent()));
        let mut all = passed.unwrap_or_default();
        all.extend(secrets);
        // The page of a challenge only asks for credentials. Some proxies answer 401 in its place.
        if matches!(answer.status(), 401 | 407) {
            return answer.into_refusal().with_page(b"", &all);
        }
        let page = timeout(PAGE_WAIT_MAX, self.body_up_to(&answer, PAGE_BYTES_MAX)).await;
        let page = page.ok().and_then(Result::ok).map(|body| body.bytes).unwrap_or_default();
        answer.into_refusal().with_page(&page, &all)
    }

    /// Reads the body of `answer`, which must be the last one.
    ///
    /// # Errors
    /// The connection failed before the end of the body.
    pub async fn body(&mut self, answer: &Answer) -> Result<Body, HopError> {
        self.body_up_to(answer, BODY_BYTES_MAX).await
    }

    /// Reads the body of `answer` as far as `bytes_max`. The fields of a 2xx must have been
    /// [read](Answer::with_fields).
    ///
    /// # Errors
    /// As [`body`](Self::body).
    pub async fn body_up_to(
        &mut self,
        answer: &Answer,
        bytes_max: usize,
    ) -> Result<Body, HopError> {
        let mut decoder = BodyDecoder::new(answer.framing());
        // This must read exactly the body. One byte too few would begin the next answer, and one too many would be
        // taken from it.
        let (mut seen, mut bytes) = (BytesMut::new(), Vec::new());
        // Framing counts too, so that a body of tiny chunks comes to an end.
        let mut read_bytes = 0;
        let mut end = loop {
            match decoder.decode(&mut seen, &mut bytes) {
                Progress::End => break BodyEnd::Whole,
                Progress::Broken => break BodyEnd::Broken,
                Progress::NeedMore if read_bytes > bytes_max => break BodyEnd::TooLong,
                Progress::NeedMore => {}
            }
            // An empty buffer would take a system call for every 64 bytes.
            seen.reserve(BODY_READ_BYTES);
            match self.tunnel.read_buf(&mut seen).await? {
                // A body whose end is the close of the connection is whole now. Any other body that ends here was
                // cut.
                0 if decoder.ends_at_close() => break BodyEnd::Whole,
                0 => return Err(HopError::Closed),
                count => read_bytes += count,
            }
        };
        self.tunnel.unread(Bytes::from(seen));
        // The last read may go beyond the limit by its own size.
        if end == BodyEnd::Whole && bytes.len() > bytes_max {
            end = BodyEnd::TooLong;
        }
        bytes.truncate(bytes_max);
        Ok(Body { bytes, end })
    }
}

/// The default of `limits.header_bytes`.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;

/// The most bytes of an answer's body that are read, its framing included. The connection is not used after a longer body.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

const INTERIM_MAX: usize = 100;

/// The most bytes of a refusal's page that are searched for an explanation.
const PAGE_BYTES_MAX: usize = 8 * 1024;

/// The longest wait for a refusal's page.
const PAGE_WAIT_MAX: Duration = Duration::from_millis(250);

/// Most heads fit in one read of this size.
const READ_BYTES: usize = 1024;

/// Bodies are read in pieces of this size. A list of proxies has up to some mebibytes.
const BODY_READ_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::{Context, Poll, ready},
    };

    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, duplex};

    use super::*;
    use crate::{Secret, Stream};

    const REQUEST: &str = "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n";

    /// Runs the exchange against `answer`, over a pipe that passes `step` bytes at a time.
    async fn run(answer: &[u8], step: usize) -> Result<String, HopError> {
        let (near, mut far) = duplex(step);
        let hop = async move {
            let mut seen = [0; REQUEST.len()];
            far.read_exact(&mut seen).await.unwrap();
            assert_eq!(std::str::from_utf8(&seen).unwrap(), REQUEST);
            let _ = far.write_all(answer).await;
        };
        let client = async move {
            let next = "example.com:443".parse().unwrap();
            let mut tunnel = connect(Tunnel::layered(near), &next, &[], HEAD_BYTES_MAX).await?;
            let mut rest = String::new();
            tunnel.read_to_string(&mut rest).await?;
            Ok(rest)
        };
        tokio::join!(hop, client).1
    }

    #[track_caller]
    fn check(answer: &str, expected: Result<&str, &str>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        for step in [1, 7, 4096] {
            let got =
                runtime.block_on(run(answer.as_bytes(), step)).map_err(|error| error.to_string());
            assert_eq!(got.as_deref().map_err(String::as_str), expected, "{answer:?} by {step}");
        }
    }

    #[test]
    fn any_2xx_makes_a_tunnel_and_bytes_after_the_head_are_kept() {
        check("HTTP/1.1 200 Connection established\r\n\r\n", Ok(""));
        check("HTTP/1.0 200\r\n\r\nSSH-2.0", Ok("SSH-2.0"));
        check(
            "HTTP/1.1 204 Fine\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
            Ok("abc"),
        );
        check("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nx", Ok("x"));
    }

    #[test]
    fn only_the_end_of_the_head_of_a_2xx_matters() {
        check("HTTP/1.1 200 OK\r\nProxy-Agent : x\r\n\r\nabc", Ok("abc"));
        check("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\td\r\n\r\nabc", Ok("abc"));
        check("HTTP/1.1 200 OK\r\n folded: first\r\n\r\nabc", Ok("abc"));
        check("HTTP/1.1 200 OK\nA: b\n\nabc", Ok("abc"));
        check("HTTP/1.1 200 OK\r\nA: b\n\r\nabc", Ok("abc"));
        check("HTTP/1.1 200 OK\r\njunk\r\n: none\r\n\u{1}\u{7f}\r\nA b: c\r\n\r\n", Ok(""));
        check(&format!("HTTP/1.1 200 OK\r\n{}\r\nabc", "A: b\r\n".repeat(150)), Ok("abc"));
        check(&format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\nx", "a".repeat(60_000)), Ok("x"));
    }

    #[test]
    fn a_refusal_carries_what_the_hop_says() {
        check("HTTP/1.1 403 Forbidden\r\n\r\n", Err("it answered 403 Forbidden"));
        check(
            "HTTP/1.1 407 Nope\r\nX-Other: x\r\nX-Squid-Error : ERR_ACCESS_DENIED 0\r\n\r\nbody",
            Err("it answered 407 Nope (ERR_ACCESS_DENIED 0)"),
        );
        check("HTTP/1.1 502\r\n\r\n", Err("it answered 502"));
        check(
            "HTTP/1.1 403 No\r\nContent-Length: 7\r\n\r\nBlockedX",
            Err("it answered 403 No and says \"Blocked\""),
        );
        check("HTTP/1.1 302 Found\nLocation: /\n\n", Err("it answered 302 Found"));
    }

    #[test]
    fn an_answer_that_is_not_http_is_an_error() {
        check("", Err("it closed the connection without a full answer"));
        check("HTTP/1.1 200 OK\r\n", Err("it closed the connection without a full answer"));
        let not_http = "its answer is not understood: this is not HTTP";
        check("SSH-2.0-OpenSSH\r\n", Err(not_http));
        check("\x15\x03\x01", Err("it speaks TLS"));
        check("\x05\u{7f}", Err("it speaks SOCKS5"));
        let broken = Err("its answer is not understood: the status line is broken");
        check("HTTP/1.1 2000 OK\r\n\r\n", broken);
        check("HTTP/1.1 20x OK\r\n\r\n", broken);
        check("HTTP/1.1\r\n\r\n", broken);
        check(
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            Err("its answer is not understood: it switches protocols, which CONNECT does not"),
        );
        check(
            &"HTTP/1.1 100 Continue\r\n\r\n".repeat(102),
            Err("its answer is not understood: it keeps sending interim answers"),
        );
    }

    #[test]
    fn a_head_that_does_not_end_is_given_up() {
        let long = format!("HTTP/1.1 200 OK\r\nX: {}", "a".repeat(HEAD_BYTES_MAX));
        check(&long, Err("the head of its answer is over 65536 bytes"));
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(20_000));
        check(&many, Err("the head of its answer is over 65536 bytes"));
    }

    #[test]
    fn credentials_are_sent_and_the_buffer_is_sized_exactly() {
        let fields = [Field::new("Proxy-Authorization", Secret::new("Basic dTpw"))];
        let head = head("CONNECT", "[::1]:80", "[::1]:80", &fields);
        assert_eq!(
            head.as_str(),
            "CONNECT [::1]:80 HTTP/1.1\r\nHost: [::1]:80\r\nProxy-Authorization: Basic dTpw\r\n\r\n"
        );
        assert_eq!(head.len(), head.capacity());
    }

    /// Sends `first` and then a 200, `step` bytes at a time. Returns whether the second request was possible.
    async fn second_round(first: &str, step: usize) -> Result<bool, String> {
        let (near, far) = duplex(step);
        let script = format!("{first}HTTP/1.1 200 OK\r\n\r\nx");
        // Reads and writes at once: the pipe may be too small for a request or an answer.
        let (mut reader, mut writer) = tokio::io::split(far);
        let hop = async move {
            let mut asked = Vec::new();
            let (_, _) =
                tokio::join!(writer.write_all(script.as_bytes()), reader.read_to_end(&mut asked));
        };
        let client = async move {
            let next = "example.com:443".parse().unwrap();
            let mut tunnel = Tunnel::layered(near);
            let (mut reader, mut scanner) = (BytesMut::new(), HeadScanner::default());
            let end = loop {
                if let Some(end) = scanner.scan(&reader).unwrap() {
                    break end;
                }
                tunnel.read_buf(&mut reader).await.unwrap();
            };
            let rest = reader.split_off(end);
            tunnel.unread(rest.freeze());
            let answer = Answer::parse(reader).unwrap();
            let mut exchange = Exchange::new(&mut tunnel, HEAD_BYTES_MAX);
            let is_kept = exchange.finish(&answer).await.map_err(|error| error.to_string())?;
            if is_kept {
                assert!(exchange.connect(&next, &[]).await.unwrap().is_success());
            }
            Ok(is_kept)
        };
        tokio::select! {
            biased;
            kept = client => kept,
            () = hop => Err("the hop ended first".into()),
        }
    }

    #[tokio::test]
    async fn a_tunnel_is_kept_over_a_refusal_whose_end_is_certain() {
        for (head, is_kept) in [
            ("HTTP/1.1 407 A\r\nContent-Length: 3\r\n\r\nabc", true),
            ("HTTP/1.1 407 A\r\nContent-Length: 0\r\n\r\n", true),
            ("HTTP/1.1 407 A\r\nContent-Length: 3, 3\r\n\r\nabc", true),
            (
                "HTTP/1.1 407 A\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: x\r\n\r\n",
                true,
            ),
            (
                "HTTP/1.0 407 A\r\nProxy-Connection: Keep-Alive\r\nContent-Length: 3\r\n\r\nabc",
                true,
            ),
            ("HTTP/1.1 407 A\r\nConnection: x, CLOSE\r\nContent-Length: 0\r\n\r\n", false),
            ("HTTP/1.1 407 A\r\nProxy-Connection: close\r\nContent-Length: 0\r\n\r\n", false),
            ("HTTP/1.0 407 A\r\nContent-Length: 0\r\n\r\n", false),
            ("HTTP/1.1 407 A\r\n\r\n", false),
            ("HTTP/1.1 407 A\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", false),
            ("HTTP/1.1 407 A\r\nContent-Length: -1\r\n\r\n", false),
            (
                "HTTP/1.1 407 A\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
                false,
            ),
            ("HTTP/1.1 407 A\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n", false),
            ("HTTP/1.1 407 A\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", false),
        ] {
            for step in [1, 7, 4096] {
                assert_eq!(second_round(head, step).await, Ok(is_kept), "{head:?} by {step}");
            }
        }
    }

    #[tokio::test]
    async fn an_answer_to_head_has_no_body() {
        let (near, mut proxy) = duplex(1024);
        let mut tunnel = Tunnel::layered(near);
        let mut exchange = Exchange::new(&mut tunnel, HEAD_BYTES_MAX);
        let host = "example.com:80".parse().unwrap();
        for (head, is_kept) in [
            ("HTTP/1.1 407 A\r\nContent-Length: 3\r\n\r\n", true),
            ("HTTP/1.1 407 A\r\nTransfer-Encoding: chunked\r\n\r\n", true),
            ("HTTP/1.1 407 A\r\n\r\n", true),
            ("HTTP/1.1 407 A\r\nConnection: close\r\n\r\n", false),
        ] {
            proxy.write_all(head.as_bytes()).await.unwrap();
            let line = RequestLine { method: "HEAD", uri: &"http://example.com/" };
            let answer = exchange.request(line, &host, &[]).await.unwrap();
            assert_eq!(exchange.finish(&answer).await.unwrap(), is_kept, "{head:?}");
        }
    }

    /// A stream that counts how often it is read.
    struct CountReads {
        stream: tokio::io::DuplexStream,
        reads: Arc<AtomicUsize>,
    }

    impl AsyncRead for CountReads {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<std::io::Result<()>> {
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
            self.reads.fetch_add(1, Ordering::Relaxed);
            Poll::Ready(read)
        }
    }

    impl AsyncWrite for CountReads {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<std::io::Result<usize>> {
            Pin::new(&mut self.stream).poll_write(cx, buf)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
            Pin::new(&mut self.stream).poll_flush(cx)
        }

        fn poll_shutdown(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<std::io::Result<()>> {
            Pin::new(&mut self.stream).poll_shutdown(cx)
        }
    }

    impl Stream for CountReads {}

    #[tokio::test]
    async fn a_large_body_takes_few_reads() {
        const BYTES: usize = 1 << 20;
        for (framing, reads_max) in
            [(format!("Content-Length: {BYTES}"), 70), ("Transfer-Encoding: chunked".into(), 70)]
        {
            let body = "a".repeat(BYTES);
            let body = match framing.starts_with('T') {
                true => format!("{BYTES:x}\r\n{body}\r\n0\r\n\r\n"),
                false => body,
            };
            let answer = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{body}");
            let (near, mut far) = duplex(2 * BYTES);
            far.write_all(answer.as_bytes()).await.unwrap();
            let reads = Arc::<AtomicUsize>::default();
            let mut tunnel =
                Tunnel::layered(CountReads { stream: near, reads: Arc::clone(&reads) });
            let mut exchange = Exchange::new(&mut tunnel, HEAD_BYTES_MAX);
            let host = "example.com:80".parse().unwrap();
            let line = RequestLine { method: "GET", uri: &"/" };
            let answer = exchange.request(line, &host, &[]).await.unwrap().with_fields();
            let body = exchange.body_up_to(&answer, 2 * BYTES).await.unwrap();
            assert_eq!((body.bytes.len(), body.end), (BYTES, BodyEnd::Whole), "{framing}");
            let reads = reads.load(Ordering::Relaxed);
            assert!(reads <= reads_max, "{framing}: {reads}");
        }
    }

    #[tokio::test]
    async fn a_body_over_64_kib_counts_as_a_close() {
        let long = format!("HTTP/1.1 407 A\r\nContent-Length: 70000\r\n\r\n{}", "a".repeat(70_000));
        assert_eq!(second_round(&long, 4096).await, Ok(false));
        let chunks = "1\r\na\r\n".repeat(20_000);
        let chunks =
            format!("HTTP/1.1 407 A\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n");
        assert_eq!(second_round(&chunks, 4096).await, Ok(false));
        let most = format!("HTTP/1.1 407 A\r\nContent-Length: 65536\r\n\r\n{}", "a".repeat(65_536));
        assert_eq!(second_round(&most, 4096).await, Ok(true));
    }
}
