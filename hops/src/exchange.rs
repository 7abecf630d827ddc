//! Requests to an HTTP proxy and its answers, one after the other on a tunnel (RFC 9110 §9.3.6).
//!
//! [`connect`] is all that a hop without multi-round authentication needs. Hops with several rounds use [`Exchange`] in a
//! loop: send a request, read the head of the answer whatever its status, then drain the answer to send the next
//! request.

mod body;
mod head;
mod request_head;
#[cfg(test)]
mod tests;

use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::{unconstrained, yield_now},
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

impl Body {
    /// Returns the bytes up to the last end of a line, or up to the last tag of HTML, unless the body is whole: the end of a
    /// line that was cut may be half a secret, which nobody would recognize.
    fn into_whole_lines(mut self) -> Vec<u8> {
        if self.end != BodyEnd::Whole {
            let end = self.bytes.iter().rposition(|byte| matches!(byte, b'\n' | b'<'));
            self.bytes.truncate(end.unwrap_or_default());
        }
        self.bytes
    }
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

    /// Returns whether the connection carries no other request, though the last answer did not say so: the proxy has closed it by
    /// now, or has sent bytes that belong to no answer, such as the page of an answer to HEAD.
    pub(crate) async fn is_used_up(&mut self) -> bool {
        // The end most often comes with the answer, and the runtime looks for it only between two turns of a task.
        yield_now().await;
        let mut seen = BytesMut::with_capacity(READ_BYTES);
        let read = {
            let mut read = pin!(self.tunnel.read_buf(&mut seen));
            // Unconstrained: a task that has used up its budget would read nothing, even if something is there.
            unconstrained(poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx)))).await
        };
        // Line ends before an answer are allowed (RFC 9112 §2.2).
        let is_stray = seen.iter().any(|byte| !matches!(byte, b'\r' | b'\n'));
        self.tunnel.unread(seen.freeze());
        is_stray || matches!(read, Poll::Ready(Ok(0) | Err(_)))
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
        let page = page.ok().and_then(Result::ok).map(Body::into_whole_lines).unwrap_or_default();
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
