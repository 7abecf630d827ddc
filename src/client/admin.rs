//! Requests to the proxy itself: its health, its status, its metrics.
//!
//! They are for programs and people on this machine. What a web page makes a browser ask for is refused: by its
//! `Host`, where a foreign name was made to lead here (DNS rebinding), and by `Origin` and `Sec-Fetch-Site`. The
//! connection is closed after each answer.

mod last_stop;
pub(crate) mod status;

use std::net::{IpAddr, SocketAddr};

use tracing::debug;

use crate::{
    client::{
        admin::status::Status,
        connection::{Client, is_head},
        reply::Reply,
    },
    http::{Fields, RequestHead, Target, Version},
    state::shared::Shared,
};

/// An answer that is no error.
struct Page {
    content_type: &'static str,
    body: String,
}

/// Whether a request that names another origin is to be answered here all the same.
pub(crate) fn is_last_stop(head: &RequestHead) -> bool {
    head.max_forwards() == Some(0)
}

/// Answers a request that goes no further than this proxy.
pub(crate) async fn serve(client: Client, head: &RequestHead, shared: &Shared) {
    if let Some(message) = last_stop::answer(head) {
        client.close_after(&message).await;
        return;
    }
    let is_head = is_head(head);
    let message = match answer(&client, head, shared) {
        Ok(page) => page.message(is_head),
        Err(reply) => {
            debug!(client = %client.peer, status = reply.status(), "request to the proxy refused");
            reply.message(is_head)
        }
    };
    client.close_after(&message).await;
}

fn answer(client: &Client, head: &RequestHead, shared: &Shared) -> Result<Page, Box<Reply>> {
    let path = match head.target() {
        Target::Origin(path) => path.split(|byte| *byte == b'?').next().unwrap_or_default(),
        _ => b"*",
    };
    let page: fn(&Shared) -> Page = match path {
        b"/healthz" => health,
        b"/status" => status_page,
        b"/metrics" => metrics,
        // RFC 9112 §3.2.
        _ if head.version() == Version::Http11 && head.host().is_none() => {
            return Err(Box::new(Reply::refused(400, "The request has no `Host` field.")));
        }
        _ => return Err(Box::new(Reply::refused(404, NOT_FOUND))),
    };
    let mut own = shared.live().current().listening.clone();
    // Behind `0.0.0.0` it is the one of this machine that the client connected to.
    own.extend(client.socket.local_addr());
    if !head.host().is_some_and(|host| is_own(host, &own)) {
        return Err(Box::new(Reply::refused(403, FOREIGN_HOST)));
    }
    if is_cross_origin(head.fields(), &own) {
        return Err(Box::new(Reply::refused(403, "No web page may ask this proxy about itself.")));
    }
    if !matches!(head.method(), "GET" | "HEAD") {
        return Err(Box::new(Reply::only_reading()));
    }
    Ok(page(shared))
}

fn health(_: &Shared) -> Page {
    Page { content_type: "text/plain; charset=utf-8", body: "ok\n".into() }
}

fn status_page(shared: &Shared) -> Page {
    Page { content_type: "application/json", body: Status::of(shared).to_json() }
}

fn metrics(shared: &Shared) -> Page {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Page { content_type, body: Status::of(shared).into_prometheus() }
}

/// Whether `host`, the value of a `Host` field, is `localhost` or one of `own`. A port that is written must be right,
/// but for `localhost`, which no foreign site can be called: it may be the near end of a forwarding.
fn is_own(host: &[u8], own: &[SocketAddr]) -> bool {
    let Ok(host) = str::from_utf8(host) else { return false };
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if name.eq_ignore_ascii_case("localhost") {
        return true;
    }
    if let Ok(address) = host.parse::<SocketAddr>() {
        return own.contains(&address);
    }
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.parse::<IpAddr>().is_ok_and(|ip| own.iter().any(|own| own.ip() == ip))
}

/// Whether a browser sends this for another site than the proxy itself.
fn is_cross_origin(fields: &Fields, own: &[SocketAddr]) -> bool {
    let is_foreign =
        |origin: &[u8]| !origin.strip_prefix(b"http://").is_some_and(|host| is_own(host, own));
    let is_elsewhere = |site: &[u8]| !matches!(site, b"none" | b"same-origin");
    fields.values("Origin").any(is_foreign) || fields.values("Sec-Fetch-Site").any(is_elsewhere)
}

impl Page {
    fn message(&self, is_head: bool) -> Vec<u8> {
        let Self { content_type, body } = self;
        let mut message = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
             X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
            body.len()
        );
        if !is_head {
            message.push_str(body);
        }
        message.into_bytes()
    }
}

const NOT_FOUND: &str = "This is Mooltiroute, a proxy, and not a web server. Give a client its address as the proxy, as in \
     `curl -x http://localhost:8888 http://example.com/`, and ask for whole URLs. Of itself it tells at /healthz, \
     /status and /metrics.";
const FOREIGN_HOST: &str = "The proxy tells about itself only where it is asked by an address that it listens on, or as \
     localhost; the `Host` of this request is another.";

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::http::{HeadLimits, HeadReader};

    fn own() -> [SocketAddr; 2] {
        ["127.0.0.1:8888".parse().unwrap(), "[::1]:9999".parse().unwrap()]
    }

    #[track_caller]
    fn check_host(host: &str, expected: bool) {
        assert_eq!(is_own(host.as_bytes(), &own()), expected, "{host}");
    }

    #[test]
    fn only_its_own_addresses_are_its_own() {
        for host in ["localhost", "LocalHost:8888", "localhost:1", "127.0.0.1:8888", "127.0.0.1"] {
            check_host(host, true);
        }
        check_host("[::1]:9999", true);
        check_host("[::1]", true);
        for host in ["", "evil.example", "evil.example:8888", "localhost.evil.example"] {
            check_host(host, false);
        }
        for host in ["127.0.0.1:80", "127.0.0.2:8888", "[::1]:8888", "::1:9999", "127.0.0.1:8888:1"]
        {
            check_host(host, false);
        }
    }

    #[track_caller]
    fn check_origin(fields: &str, expected: bool) {
        let text = format!("GET /status HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
        let head = HeadReader::new(HeadLimits::default()).request(&mut BytesMut::from(&*text));
        let head = head.unwrap().unwrap();
        assert_eq!(is_cross_origin(head.fields(), &own()), expected, "{fields}");
    }

    #[test]
    fn what_a_foreign_page_asks_for_is_told_apart() {
        check_origin("", false);
        check_origin("Origin: http://localhost:8888\r\n", false);
        check_origin("Origin: http://127.0.0.1:8888\r\nSec-Fetch-Site: same-origin\r\n", false);
        check_origin("Sec-Fetch-Site: none\r\n", false);
        check_origin("Origin: null\r\n", true);
        check_origin("Origin: http://evil.example\r\n", true);
        check_origin("Origin: https://localhost\r\n", true);
        check_origin("Sec-Fetch-Site: cross-site\r\n", true);
        check_origin("Sec-Fetch-Site: same-site\r\n", true);
    }
}
