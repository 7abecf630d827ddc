//! One request through a chain, as a client behind the proxy would make it.

use std::{future::poll_fn, net::IpAddr, pin::pin, sync::Arc, task::Poll, time::Duration};

use bytes::BytesMut;
use mooltiroute_hops::{PlainRequest, Request, RequestLine, Reuse, Tunnel, tls::TlsClient};
use tokio::{
    io::{AsyncReadExt as _, DuplexStream, duplex},
    time,
};

use super::{
    probe_request::{ProbeRequest, Work},
    steps::Steps,
};
use crate::{
    client::{
        forward::{AnswerProgress, CHALLENGES_MAX, Ending, Exchange, Plan, Upstream},
        reply::Reply,
    },
    http::{
        AbsoluteTarget, BodyReader, Decoded, HeadLimits, HeadReader, RequestHead, ResponseHead,
        Target,
    },
    io::lazy_timer::{self, LazyDeadline},
    proxy_error::ProxyError,
    state::generation::Generation,
    upstream::chain::{Cause, Chain, ChainError, Connected, Destination, Stage, Trace as _},
};

/// The inputs of a visit.
pub(super) struct Visit<'a, 'out> {
    pub(super) probe_request: &'a ProbeRequest,
    pub(super) chain: &'a Arc<Chain>,
    pub(super) generation: &'a Generation,
    pub(super) tls: Option<&'a TlsClient>,
    pub(super) steps: &'a Steps<'out>,
}

/// The answer.
#[derive(Debug)]
pub(super) struct ProbeAnswer {
    pub(super) status: u16,
    pub(super) reason: String,
    /// The address in the body, if the body is an address and nothing else.
    pub(super) exit: Option<IpAddr>,
    /// The hop that may have answered in the target's place.
    pub(super) perhaps_by: Option<Arc<str>>,
    /// Says that the hop means another machine by the target.
    pub(super) note: Option<String>,
    /// The field by which the answer is a proxy's own, and not the target's.
    pub(super) sign: Option<String>,
}

/// The end of one attempt.
enum Visited {
    /// The tunnel is open, and there was nothing to ask.
    Open,
    /// The target has answered.
    Answered(ProbeAnswer),
    /// A hop wants credentials, and the next attempt has better ones. Without another attempt, this is the reply.
    Challenged(Box<Reply>),
}

impl Visit<'_, '_> {
    /// Makes the request. Returns `None` if the tunnel is open and there was nothing to ask.
    ///
    /// # Errors
    /// The reply that a client of the proxy would get.
    pub(super) async fn make(&self) -> Result<Option<ProbeAnswer>, Reply> {
        // A hop that forwards plain requests may ask for credentials by its answer, as it does for a client.
        let mut challenges = 0;
        loop {
            match self.once().await? {
                Visited::Open => return Ok(None),
                Visited::Answered(answer) => return Ok(Some(answer)),
                Visited::Challenged(reply) if challenges == CHALLENGES_MAX => return Err(*reply),
                Visited::Challenged(_) => challenges += 1,
            }
        }
    }

    async fn once(&self) -> Result<Visited, Reply> {
        let ProbeRequest { target, preferences, .. } = self.probe_request;
        let request = Request::new(target, preferences);
        // Only a plain request may end at a hop that forwards it. For everything else the tunnel must reach
        // the target.
        let connected = if let Work::Http(head) = &self.probe_request.work
            && let Target::Resource(resource) = head.target()
        {
            let uri = AbsoluteTarget(head, resource);
            let line = RequestLine { method: head.method(), uri: &uri };
            let plain = PlainRequest::new(line, target);
            self.chain.travel(&request, Destination::Forwarder(plain), self.steps).await
        } else {
            self.chain.travel(&request, Destination::Target, self.steps).await
        };
        let connected = connected.map_err(|error| Reply::unreachable(&error))?;
        // A client of the proxy speaks TLS with the target by itself, inside the tunnel, so the chain knows
        // nothing of it.
        let tunnel = match self.tls {
            Some(tls) => self.enter(tls, connected.tunnel).await.map_err(|error| {
                self.steps.failed(&error);
                Reply::unreachable(&error)
            })?,
            None => connected.tunnel,
        };
        // The connection is for this request alone, and `Never` has the request say so.
        let connected = Connected { tunnel, reuse: Reuse::Never, ..connected };
        match &self.probe_request.work {
            Work::Tunnel => Ok(Visited::Open),
            Work::Https(head) | Work::Http(head) => self.ask(connected, head).await,
        }
    }

    async fn enter(&self, tls: &TlsClient, tunnel: Tunnel) -> Result<Tunnel, ChainError> {
        let timeout = self.generation.timeouts.connect;
        self.steps.begins(|| Stage::at_target(&self.probe_request.target));
        let cause = match time::timeout(timeout, tls.enter(tunnel)).await {
            Ok(Ok(tunnel)) => {
                self.steps.passed(|| Stage::at_target(&self.probe_request.target));
                return Ok(tunnel);
            }
            Ok(Err(error)) => Cause::Hop(error),
            Err(_) => Cause::Timeout(timeout, "timeouts.connect"),
        };
        Err(self.chain.target_failed(&self.probe_request.target, cause))
    }

    /// Makes the request as the proxy would for a client, which is the other end of a pipe.
    async fn ask(&self, connected: Connected, head: &RequestHead) -> Result<Visited, Reply> {
        let ProbeRequest { target, preferences, .. } = self.probe_request;
        let Target::Resource(resource) = head.target() else {
            return Err(Reply::no_route(target));
        };
        // The request takes the code of the proxy, with a pipe in place of the client's socket: what is
        // mended, limited or refused there is so here too. This task reads the other end of the pipe at the
        // same time, so that a large answer does not get stuck in it.
        let plan = Plan::new(head, resource, self.chain, preferences.clone(), self.generation);
        let mut upstream = Upstream::of(connected, &plan);
        let hop = upstream.is_at_hop().then(|| self.chain.hops().last()).flatten();
        let hop = hop.map(|link| &link.name);
        self.steps.awaits(match hop {
            Some(_) => format!("the answer of `{}`", plan.name_of(&upstream)),
            None => format!("the answer of the target `{target}`"),
        });
        let (mut client, mut far) = duplex(PIPE_BYTES);
        let mut timer = pin!(lazy_timer::timer());
        let mut reading = pin!(read(&mut far));
        let (ending, progress) = {
            let mut seen = BytesMut::new();
            let deadline = LazyDeadline::new(timer.as_mut());
            let mut exchange =
                Exchange::new(&plan, (&mut client, &mut seen), &mut upstream, deadline);
            let mut is_noted = false;
            let ending = poll_fn(|cx| {
                let ending = exchange.poll(cx);
                // Looked at after each poll, since the exchange has no event for the first byte.
                if !is_noted && exchange.progress() == AnswerProgress::Something {
                    is_noted = true;
                    self.steps.answered(hop.map(|hop| &**hop), target, None);
                }
                if let Poll::Ready(ending) = ending {
                    return Poll::Ready(Err(ending));
                }
                reading.as_mut().poll(cx).map(Ok)
            })
            .await;
            (ending, exchange.progress())
        };
        let answer = match ending {
            Ok(answer) => answer,
            Err(Ending::BadAnswer(reply, why)) => {
                self.steps.answered(hop.map(|hop| &**hop), target, Some(&why));
                return Err(*reply);
            }
            Err(Ending::Refused(reply, _)) if plan.goes_on(progress) => {
                return Ok(Visited::Challenged(reply));
            }
            Err(Ending::Refused(reply, _)) => return Err(*reply),
            // The exchange has ended, and what it has passed on may still be in the pipe. Closing this end
            // lets the reader come to an end.
            Err(_) => {
                drop(client);
                reading.await
            }
        };
        let (head, exit) = answer.ok_or_else(|| {
            let why = "the connection was closed before the answer was complete";
            Reply::bad_response(&target.to_string(), None, ProxyError::ConnectionTerminated, why)
        })?;
        let status = head.status();
        let reason = String::from_utf8_lossy(head.reason());
        // The text goes to a terminal, and a target could send escape sequences.
        let reason = reason.chars().filter(|character| !character.is_control()).collect();
        // A hop that can't reach the target answers with a 5xx, and some answer 401 where 407 is meant. Not every hop
        // says that the answer is its own. A web server in place of a proxy answers 400, 404 or 405, and a proxy that
        // blocks the target 403.
        let is_doubtful = status >= 500 || DOUBTFUL.contains(&status);
        let perhaps_by = hop.filter(|_| is_doubtful).cloned();
        let sign = perhaps_by.as_ref().and_then(|_| sign_of_a_proxy(&head));
        let note = plan.near_target(&upstream, status);
        Ok(Visited::Answered(ProbeAnswer { status, reason, exit, perhaps_by, note, sign }))
    }
}

/// Returns the field of an error that only a proxy writes: its own `Proxy-Status` with an error (RFC 9209 §2.1), or Squid's
/// reason. It may be a proxy behind the hop, and even one in front of the origin.
fn sign_of_a_proxy(head: &ResponseHead) -> Option<String> {
    let fields: Vec<_> = head.fields().iter().collect();
    let value = |wanted: &str| {
        // The last one is of the proxy that is nearest.
        let found =
            fields.iter().rev().find(|(name, _)| name.eq_ignore_ascii_case(wanted.as_bytes()));
        found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    };
    let has_error = |value: &String| {
        value.split(';').any(|part| part.trim_start().to_ascii_lowercase().starts_with("error="))
    };
    let status = value("Proxy-Status").filter(has_error).map(|value| ("Proxy-Status", value));
    let (name, value) = status.or_else(|| Some(("X-Squid-Error", value("X-Squid-Error")?)))?;
    // It goes to a terminal.
    let value: String =
        value.chars().filter(|one| !one.is_control()).take(SIGN_CHARS_MAX).collect();
    Some(format!("{name}: {value}"))
}

/// Reads an answer that the exchange passes on, and the address in it. Returns `None` if there is no answer.
async fn read(pipe: &mut DuplexStream) -> Option<(ResponseHead, Option<IpAddr>)> {
    let mut seen = BytesMut::new();
    // The exchange has already held it to the limit of the configuration.
    let limits = HeadLimits { bytes: HEAD_BYTES_MAX, fields: HEAD_FIELDS_MAX };
    let mut reader = HeadReader::new(limits);
    let head = loop {
        match reader.response("GET", &mut seen) {
            Ok(Some(interim)) if interim.is_interim() => continue,
            Ok(Some(head)) => break head,
            Ok(None) => {}
            Err(_) => return None,
        }
        if pipe.read_buf(&mut seen).await.unwrap_or(0) == 0 {
            return None;
        }
    };
    let exit = time::timeout(EXIT_WAIT, exit_address(&head, pipe, &mut seen)).await.ok().flatten();
    Some((head, exit))
}

/// Returns the address in the body, if the body is an address and nothing else.
async fn exit_address(
    response: &ResponseHead,
    pipe: &mut DuplexStream,
    seen: &mut BytesMut,
) -> Option<IpAddr> {
    if response.status() != 200 {
        return None;
    }
    let mut reader = BodyReader::of_response(response.body_length());
    let mut body = Vec::new();
    while body.len() <= EXIT_BYTES_MAX {
        match reader.decode(seen).ok()? {
            Decoded::Data(data) => body.extend_from_slice(&data),
            Decoded::Trailers(_) => {}
            Decoded::End => return str::from_utf8(&body).ok()?.trim().parse().ok(),
            // The end of the stream is not an error as such: some servers end TLS without saying so, and `end`
            // knows whether the body is complete.
            Decoded::NeedMore => {
                if pipe.read_buf(seen).await.unwrap_or(0) == 0 {
                    reader.end().ok()?;
                }
            }
        }
    }
    None
}

/// The statuses below 500 by which proxies answer themselves, as targets do too.
const DOUBTFUL: [u16; 8] = [400, 401, 402, 403, 404, 405, 407, 429];
/// The most characters of a field that is shown.
const SIGN_CHARS_MAX: usize = 120;
/// More than `limits.header_bytes` allows.
const HEAD_BYTES_MAX: usize = 2 << 20;
/// The largest `limits.header_fields`.
const HEAD_FIELDS_MAX: usize = 10_000;
/// Far more than any answer has that is read here to its end.
const PIPE_BYTES: usize = 8 * 1024;
/// The target has been reached by then; a body that dribbles is not worth more.
const EXIT_WAIT: Duration = Duration::from_secs(5);
/// More than any address has, and the blanks around it.
const EXIT_BYTES_MAX: usize = 64;
