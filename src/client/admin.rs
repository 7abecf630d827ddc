//! Answers requests to the proxy itself: health, status and metrics.
//!
//! These endpoints are for programs and people on this machine. A request that a web page made a browser send is
//! refused: by its `Host` if a foreign name was made to resolve to this machine (DNS rebinding), or by `Origin` and
//! `Sec-Fetch-Site`. The connection is closed after each answer.

mod autoconfig;
mod last_stop;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use mooltiroute_hops::thread_pool;
use tokio::sync::Semaphore;
use tracing::debug;

use crate::{
    client::{
        connection::{Client, is_head},
        reply::{Reply, ReplyText},
    },
    http::{Fields, RequestHead, Target, Version},
    state::{
        shared::Shared,
        status::{MetricsFormat, StatusDocument},
    },
};

/// A successful answer.
struct Page {
    content_type: &'static str,
    body: String,
}

/// Returns whether this proxy answers a request that names another origin, because `Max-Forwards` lets it go no
/// further.
pub(crate) fn is_last_stop(head: &RequestHead) -> bool {
    head.max_forwards() == Some(0)
}

/// Answers a request that goes no further than this proxy.
pub(crate) async fn serve(client: Client, head: &RequestHead, shared: &Arc<Shared>) {
    // Before all checks: any origin may be asked by OPTIONS and TRACE how far a request gets, and
    // the answer tells nothing about this proxy.
    if let Some(message) = last_stop::answer(head) {
        client.close_after(&message).await;
        return;
    }
    let is_head = is_head(head);
    let page = match asked_page(&client, head, shared) {
        Ok(asked) => asked.page(shared).await,
        Err(reply) => Err(reply),
    };
    let message = match page {
        Ok(page) => page.message(is_head),
        Err(reply) => {
            debug!(client = %client.peer, status = reply.status(), "request to the proxy refused");
            reply.message(&client, is_head)
        }
    };
    client.close_after(&message).await;
}

/// A page that may be served.
enum AskedPage {
    Health,
    Status,
    Metrics(MetricsFormat),
    /// The script, which the current thread makes at once: it depends on the request, and is short.
    ProxyPac(Page),
}

/// Returns the page that `head` asks for.
///
/// # Errors
/// There is no such page, or this client may not have it.
fn asked_page(
    client: &Client,
    head: &RequestHead,
    shared: &Shared,
) -> Result<AskedPage, Box<Reply>> {
    let path = match head.target() {
        Target::Origin(path) => path.split(|byte| *byte == b'?').next().unwrap_or_default(),
        _ => b"*",
    };
    // An unknown path is answered before any check. The text explains what this port is, and has
    // nothing that another site could use.
    if !PATHS.contains(&path) {
        // RFC 9112 §3.2.
        let has_no_host = head.version() == Version::Http11 && head.host().is_none();
        return Err(Box::new(match has_no_host {
            true => Reply::refused(400, "The request has no `Host` field."),
            false => Reply::refused(404, not_found()),
        }));
    }
    let mut own = shared.live().current().listening.clone();
    // A listener on `0.0.0.0` is reached at whichever address of this machine the client connected to.
    let local = client.stream.bottom().and_then(|socket| socket.local_addr().ok());
    own.extend(local);
    // A page whose own name was made to resolve to this machine (DNS rebinding) has that name in
    // `Host`, since browsers write the name of the URL there.
    if !head.host().is_some_and(|host| is_own(host, &own)) {
        return Err(Box::new(Reply::refused(403, FOREIGN_HOST)));
    }
    let scheme = if client.is_tls { "https://" } else { "http://" };
    // A page of another site may ask for an address of this machine directly. Browsers then name
    // the site; programs send neither of the two fields.
    if is_cross_origin(head.fields(), scheme, &own) {
        return Err(Box::new(Reply::refused(
            403,
            "Web pages may not request the proxy's own pages.",
        )));
    }
    if !matches!(head.method(), "GET" | "HEAD") {
        return Err(Box::new(Reply::only_reading()));
    }
    Ok(match path {
        STATUS => AskedPage::Status,
        METRICS => AskedPage::Metrics(MetricsFormat::accepted_by(head.fields())),
        PROXY_PAC => AskedPage::ProxyPac(proxy_pac(client, head, shared, local)),
        _ => AskedPage::Health,
    })
}

impl AskedPage {
    /// Makes the page.
    ///
    /// # Errors
    /// It could not be made.
    async fn page(self, shared: &Arc<Shared>) -> Result<Page, Box<Reply>> {
        let format = match self {
            Self::Health => {
                let content_type = "text/plain; charset=utf-8";
                return Ok(Page { content_type, body: "ok\n".into() });
            }
            Self::ProxyPac(page) => return Ok(page),
            Self::Status => None,
            Self::Metrics(format) => Some(format),
        };
        // The state of ten thousand members of a pool has megabytes, and the connections of this thread do not wait
        // until it is written.
        let shared = Arc::clone(shared);
        // Never closed. The thread holds the permit, so that clients that give up don't make room for more threads.
        let permit = PAGES.acquire().await;
        let page = thread_pool::run(move || {
            let _permit = permit;
            let status = StatusDocument::of(&shared);
            match format {
                None => Page { content_type: "application/json", body: status.to_json() },
                Some(format) => {
                    Page { content_type: format.content_type(), body: status.into_metrics(format) }
                }
            }
        });
        page.await.map_err(|_| Box::new(Reply::page_not_made()))
    }
}

/// Returns the script that names this proxy, as the client that asks for it does: others may not reach it by that name.
fn proxy_pac(
    client: &Client,
    head: &RequestHead,
    shared: &Shared,
    local: Option<SocketAddr>,
) -> Page {
    let proxy = autoconfig::proxy_address(head.host().unwrap_or_default(), local);
    let answer = format!("{} {proxy}", if client.is_tls { "HTTPS" } else { "PROXY" });
    let body = autoconfig::script(&shared.live().current(), &answer);
    Page { content_type: "application/x-ns-proxy-autoconfig", body }
}

/// Returns whether `host`, the value of a `Host` field, is `localhost` or one of `own`. A written port must be right,
/// except for `localhost`: no foreign site has that name, and the client may use a forwarded port.
fn is_own(host: &[u8], own: &[SocketAddr]) -> bool {
    let Ok(host) = str::from_utf8(host) else { return false };
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if name.eq_ignore_ascii_case("localhost") {
        return true;
    }
    // With a port, the value has to be one of the listeners. Without one, the client has used the
    // default port of its scheme, and the address alone is compared.
    if let Ok(address) = host.parse::<SocketAddr>() {
        return own.contains(&address);
    }
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.parse::<IpAddr>().is_ok_and(|ip| own.iter().any(|own| own.ip() == ip))
}

/// Returns whether a browser sends this request for a site other than the proxy itself.
fn is_cross_origin(fields: &Fields, scheme: &str, own: &[SocketAddr]) -> bool {
    let is_foreign = |origin: &[u8]| {
        !origin.strip_prefix(scheme.as_bytes()).is_some_and(|host| is_own(host, own))
    };
    let is_elsewhere = |site: &[u8]| !matches!(site, b"none" | b"same-origin");
    fields.values("Origin").any(is_foreign) || fields.values("Sec-Fetch-Site").any(is_elsewhere)
}

impl Page {
    fn message(&self, is_head: bool) -> Vec<u8> {
        let Self { content_type, body } = self;
        // A snapshot must not be cached, and no browser may take it for a script or a document of another type.
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

fn not_found() -> ReplyText {
    ReplyText::from(
        "This is Mooltiroute, a proxy, not a web server. Configure it as the proxy of a client, as in `curl -x ",
    )
    .proxy_url()
    .words(
        " http://example.com/`. Its own pages are /healthz, /status, /metrics and /proxy.pac.",
    )
}

/// Limits the threads that make pages, however many clients ask. The others wait without a thread.
static PAGES: Semaphore = Semaphore::const_new(2);
const HEALTH: &[u8] = b"/healthz";
const STATUS: &[u8] = b"/status";
const METRICS: &[u8] = b"/metrics";
const PROXY_PAC: &[u8] = b"/proxy.pac";
/// The paths of the pages.
const PATHS: [&[u8]; 4] = [HEALTH, STATUS, METRICS, PROXY_PAC];
const FOREIGN_HOST: &str = "The pages of the proxy itself are served only under `localhost` or an address that it listens \
     on, and the `Host` field of this request names neither.";

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
    fn a_host_field_must_name_localhost_or_a_listen_address() {
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
        assert_eq!(is_cross_origin(head.fields(), "http://", &own()), expected, "{fields}");
        let fields = fields.replace("http://", "https://");
        if fields.contains("https://localhost:") || fields.contains("https://127.") {
            assert!(is_cross_origin(head.fields(), "https://", &own()), "another scheme");
        }
    }

    #[test]
    fn requests_of_foreign_web_pages_are_recognised() {
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
