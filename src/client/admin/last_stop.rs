//! OPTIONS and TRACE that go no further than this proxy: by `Max-Forwards: 0`, or since they are about the proxy itself
//! (RFC 9110 §7.6.2).
//!
//! TRACE is answered, not refused: what it shows of the request leaves out the fields that hold credentials, and no web
//! page can make a browser send one.

use crate::http::{RequestHead, Target};

/// Returns the answer to `head`, if it is one of the two and this proxy is its last stop.
pub(super) fn answer(head: &RequestHead) -> Option<Vec<u8>> {
    let is_here = matches!(head.target(), Target::Asterisk) || head.max_forwards() == Some(0);
    match head.method() {
        "OPTIONS" if is_here => Some(OPTIONS.into()),
        "TRACE" if is_here => {
            let mut echo = Vec::new();
            head.write_echo(&mut echo);
            let start = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: message/http\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
                 Connection: close\r\n\r\n",
                echo.len()
            );
            Some([start.into_bytes(), echo].concat())
        }
        _ => None,
    }
}

/// Any method passes; these are the ones that are registered for general use (RFC 9110 §9, RFC 5789).
const OPTIONS: &str = "HTTP/1.1 200 OK\r\nAllow: GET, HEAD, POST, PUT, DELETE, CONNECT, OPTIONS, TRACE, PATCH\r\n\
     Content-Length: 0\r\nConnection: close\r\n\r\n";

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::http::{HeadLimits, HeadReader};

    #[track_caller]
    fn check(start: &str, expected: Option<&str>) {
        let mut seen = BytesMut::from(&*format!("{start}Host: a\r\nCookie: canary\r\n\r\n"));
        let head = HeadReader::new(HeadLimits::default()).request(&mut seen).unwrap().unwrap();
        let answer = answer(&head).map(|answer| String::from_utf8(answer).unwrap());
        assert_eq!(answer.as_deref(), expected, "{start}");
    }

    #[test]
    fn the_last_stop_of_options_and_trace_answers() {
        check("OPTIONS * HTTP/1.1\r\n", Some(OPTIONS));
        check("OPTIONS http://a/ HTTP/1.1\r\nMax-Forwards: 0\r\n", Some(OPTIONS));
        check(
            "TRACE http://u:canary@a/b HTTP/1.1\r\nMax-Forwards: 0\r\n",
            Some(
                "HTTP/1.1 200 OK\r\nContent-Type: message/http\r\nContent-Length: 55\r\nCache-Control: no-store\r\n\
                 Connection: close\r\n\r\nTRACE http://a/b HTTP/1.1\r\nMax-Forwards: 0\r\nHost: a\r\n\r\n",
            ),
        );
    }

    #[test]
    fn what_may_go_on_is_not_answered() {
        check("OPTIONS http://a/ HTTP/1.1\r\nMax-Forwards: 1\r\n", None);
        check("OPTIONS http://a/ HTTP/1.1\r\n", None);
        check("TRACE http://a/ HTTP/1.1\r\nMax-Forwards: none\r\n", None);
        check("GET http://a/ HTTP/1.1\r\nMax-Forwards: 0\r\n", None);
        check("OPTIONS / HTTP/1.1\r\n", None);
    }
}
