//! The CONNECT exchange with an HTTP proxy (RFC 9110 §9.3.6).

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{Authority, HopError, Refusal, Secret, Tunnel};

/// Asks the proxy that `tunnel` reaches to connect it to `next`, with `fields` in the request.
///
/// Any 2xx answer makes a tunnel, and whatever else its head says about a body is ignored. Bytes behind the head are
/// kept. The whole answer is awaited before anything more is sent.
///
/// # Errors
/// [`HopError::Refused`] for any other status; else the way in which the exchange failed.
pub async fn connect<N: AsRef<str> + Sync>(
    mut tunnel: Tunnel,
    next: &Authority,
    fields: &[(N, Secret)],
) -> Result<Tunnel, HopError> {
    tunnel.write_all(request(next, fields).as_bytes()).await?;
    tunnel.flush().await?;
    let mut seen = BytesMut::with_capacity(READ_BYTES);
    loop {
        while let Some((head_bytes, answer)) = parse(&seen)? {
            let rest = seen.split_off(head_bytes);
            match answer {
                Answer::Interim => seen = rest,
                Answer::Reached => {
                    tunnel.unread(rest.freeze());
                    return Ok(tunnel);
                }
                Answer::Refused(refusal) => return Err(HopError::Refused(refusal)),
            }
        }
        if seen.len() >= HEAD_BYTES_MAX {
            return Err(HopError::HeadTooLarge { limit: HEAD_BYTES_MAX });
        }
        if tunnel.read_buf(&mut seen).await? == 0 {
            return Err(HopError::Closed);
        }
    }
}

/// The head, and nothing a proxy could stumble over: some providers refuse what other clients add. No
/// `Proxy-Connection: keep-alive` either, which old proxies need to keep a connection over a refusal: Basic is sent at once,
/// so no answer but the last one comes.
fn request<N: AsRef<str>>(next: &Authority, fields: &[(N, Secret)]) -> zeroize::Zeroizing<String> {
    let next = next.to_string();
    let fields_bytes: usize =
        fields.iter().map(|(name, value)| name.as_ref().len() + value.expose().len() + 4).sum();
    // Sized exactly, so that no reallocation leaves a copy of a credential behind.
    let mut head = String::with_capacity(
        2 * next.len() + fields_bytes + "CONNECT  HTTP/1.1\r\nHost: \r\n\r\n".len(),
    );
    for part in ["CONNECT ", &next, " HTTP/1.1\r\nHost: ", &next, "\r\n"] {
        head.push_str(part);
    }
    for (name, value) in fields {
        for part in [name.as_ref(), ": ", value.expose(), "\r\n"] {
            head.push_str(part);
        }
    }
    head.push_str("\r\n");
    head.into()
}

enum Answer {
    Reached,
    Interim,
    Refused(Box<Refusal>),
}

/// Parses the answer at the start of `seen`, if it is whole, and tells how many bytes its head has.
fn parse(seen: &[u8]) -> Result<Option<(usize, Answer)>, HopError> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let head_bytes = match response.parse(seen) {
        Ok(httparse::Status::Complete(head_bytes)) => head_bytes,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(HopError::HeadTooLarge { limit: HEAD_BYTES_MAX });
        }
        Err(httparse::Error::Version | httparse::Error::Status | httparse::Error::Token)
            if !seen.starts_with(b"HTTP/") =>
        {
            return Err(HopError::Malformed("this is not HTTP; is the address, or `tls`, right?"));
        }
        Err(_) => return Err(HopError::Malformed("the head of a response is broken")),
    };
    if head_bytes > HEAD_BYTES_MAX {
        return Err(HopError::HeadTooLarge { limit: HEAD_BYTES_MAX });
    }
    let answer = match response.code.unwrap_or_default() {
        200..=299 => Answer::Reached,
        101 => return Err(HopError::Malformed("it switches protocols, which CONNECT does not")),
        100..=199 => Answer::Interim,
        status => {
            let fields = response.headers.iter().map(|field| (field.name.as_bytes(), field.value));
            let reason = response.reason.unwrap_or_default().as_bytes();
            Answer::Refused(Box::new(Refusal::new(status, reason, fields)))
        }
    };
    Ok(Some((head_bytes, answer)))
}

/// curl's limit for the same head is 16 KiB too.
const HEAD_BYTES_MAX: usize = 16 * 1024;
const FIELDS_MAX: usize = 100;
/// Most answers fit in one read of this size.
const READ_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::duplex;

    use super::*;

    const NONE: &[(&str, Secret)] = &[];
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
            let mut tunnel =
                connect(Tunnel::layered(near), &"example.com:443".parse().unwrap(), NONE).await?;
            let mut rest = String::new();
            tunnel.read_to_string(&mut rest).await?;
            Ok(rest)
        };
        tokio::join!(hop, client).1
    }

    #[track_caller]
    fn check(answer: &str, expected: Result<&str, &str>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
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
    fn a_refusal_carries_what_the_hop_says() {
        check("HTTP/1.1 403 Forbidden\r\n\r\n", Err("it answered 403 Forbidden"));
        check(
            "HTTP/1.1 407 Nope\r\nX-Other: x\r\nX-Squid-Error: ERR_ACCESS_DENIED 0\r\n\r\nbody",
            Err("it answered 407 Nope (ERR_ACCESS_DENIED 0)"),
        );
        check("HTTP/1.1 502\r\n\r\n", Err("it answered 502"));
        check("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", Err("it answered 302 Found"));
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        check("", Err("it closed the connection without a full answer"));
        check("HTTP/1.1 200 OK\r\n", Err("it closed the connection without a full answer"));
        let not_http =
            "its answer is not understood: this is not HTTP; is the address, or `tls`, right?";
        check("SSH-2.0-OpenSSH\r\n", Err(not_http));
        check("\x15\x03\x01", Err(not_http));
        let broken = Err("its answer is not understood: the head of a response is broken");
        check("HTTP/1.1 2000 OK\r\n\r\n", broken);
        check("HTTP/1.1 200 OK\r\nA b: c\r\n\r\n", broken);
        check(
            "HTTP/1.1 101 Switching\r\n\r\n",
            Err("its answer is not understood: it switches protocols, which CONNECT does not"),
        );
    }

    #[test]
    fn an_endless_head_is_given_up() {
        let limit = Err("the head of its answer is over 16384 bytes");
        check(&format!("HTTP/1.1 200 OK\r\nA: {}", "a".repeat(20_000)), limit);
        check(&format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(101)), limit);
    }

    #[test]
    fn the_request_has_only_what_it_needs() {
        let secret = Secret::new("Basic dTpw");
        let next = "[::1]:80".parse().unwrap();
        let head = request(&next, &[("Proxy-Authorization", secret)]);
        assert_eq!(
            head.as_str(),
            "CONNECT [::1]:80 HTTP/1.1\r\nHost: [::1]:80\r\nProxy-Authorization: Basic dTpw\r\n\r\n"
        );
        assert_eq!(head.len(), head.capacity());
    }

    proptest! {
        #[test]
        fn no_answer_makes_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
            let _ = parse(&[b"HTTP/1.1 200 OK\r\n", bytes.as_slice()].concat());
        }
    }
}
