//! One request through a chain, as a client behind the proxy would make it.

use std::{io, net::IpAddr, sync::Arc, time::Duration};

use bytes::BytesMut;
use mooltiroute_hops::{Hop, Refusal, Request, Tunnel, tls::TlsClient};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time,
};

use super::{
    errand::{Errand, Work},
    steps::Steps,
};
use crate::{
    client::reply::Reply,
    config::{Limits, Timeouts},
    http::{BodyReader, Decoded, HeadReader, RequestForm, RequestHead, ResponseHead, Target},
    upstream::chain::{Cause, Chain, ChainError, Destination, Stage, Trace as _},
};

/// What a visit needs.
pub(super) struct Visit<'a, 'out> {
    pub(super) errand: &'a Errand,
    pub(super) chain: &'a Chain,
    pub(super) timeouts: Timeouts,
    pub(super) limits: Limits,
    pub(super) tls: Option<&'a TlsClient>,
    pub(super) steps: &'a Steps<'out>,
}

/// What was answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) reason: String,
    /// What the answer says, where that is an address and nothing else.
    pub(super) exit: Option<IpAddr>,
    /// The hop that may have answered in the target's place, and does not say.
    pub(super) perhaps_by: Option<Arc<str>>,
}

impl Visit<'_, '_> {
    /// Goes there; `None`: the tunnel is open, and nothing was to be asked.
    ///
    /// # Errors
    /// What a client of the proxy would be told.
    pub(super) async fn make(&self) -> Result<Option<Answer>, Reply> {
        let Errand { target, preferences, .. } = self.errand;
        if !preferences.is_empty() && !self.chain.takes_preferences() {
            return Err(Reply::no_preferences(self.chain.name()));
        }
        let request = Request::new(target, preferences);
        let destination = match self.errand.work {
            Work::Http(_) => Destination::Forwarder,
            Work::Https(_) | Work::Tunnel => Destination::Target,
        };
        let arrival = self.chain.travel(request, destination, self.steps).await;
        let arrival = arrival.map_err(|error| Reply::unreachable(&error))?;
        let hop = arrival.last.filter(|_| arrival.is_at_hop);
        let tunnel = match self.tls {
            Some(tls) => self.enter(tls, arrival.tunnel).await.map_err(|error| {
                self.steps.failed(&error);
                Reply::unreachable(&error)
            })?,
            None => arrival.tunnel,
        };
        match &self.errand.work {
            Work::Tunnel => Ok(None),
            Work::Https(head) | Work::Http(head) => self.ask(tunnel, head, hop).await.map(Some),
        }
    }

    async fn enter(&self, tls: &TlsClient, tunnel: Tunnel) -> Result<Tunnel, ChainError> {
        let timeout = self.timeouts.connect;
        let cause = match time::timeout(timeout, tls.enter(tunnel)).await {
            Ok(Ok(tunnel)) => {
                self.steps.passed(|| Stage::at_target(&self.errand.target));
                return Ok(tunnel);
            }
            Ok(Err(error)) => Cause::Hop(error),
            Err(_) => Cause::Timeout(timeout),
        };
        Err(self.chain.target_failed(&self.errand.target, cause))
    }

    /// Sends the request and awaits the answer, from `hop` if that forwards it.
    async fn ask(
        &self,
        mut tunnel: Tunnel,
        head: &RequestHead,
        hop: Option<Arc<dyn Hop>>,
    ) -> Result<Answer, Reply> {
        let hop = hop.as_deref();
        let mut seen = BytesMut::new();
        let message = message(head, hop);
        let answer = self.exchange(&mut tunnel, &mut seen, &message, hop);
        let response = match time::timeout(self.timeouts.handshake, answer).await {
            Ok(response) => response?,
            Err(_) => {
                let why = format!("its head is not there after {:?}", self.timeouts.handshake);
                return Err(self.bad_response(hop, "http_response_timeout", &why));
            }
        };
        if let Some(error) = hop.and_then(|hop| self.refused(hop, &response)) {
            return Err(Reply::unreachable(&error));
        }
        if response.status() == 407 {
            let why = "it answers 407, which only a proxy may";
            return Err(self.bad_response(hop, "http_protocol_error", why));
        }
        let exit = time::timeout(EXIT_WAIT, exit_address(&response, &mut tunnel, &mut seen));
        let exit = exit.await.ok().flatten();
        let reason = String::from_utf8_lossy(response.reason());
        let reason = reason.chars().filter(|character| !character.is_control()).collect();
        let status = response.status();
        let perhaps_by = self.last_name(hop).filter(|_| status >= 500).cloned();
        Ok(Answer { status, reason, exit, perhaps_by })
    }

    async fn exchange(
        &self,
        tunnel: &mut Tunnel,
        seen: &mut BytesMut,
        message: &[u8],
        hop: Option<&dyn Hop>,
    ) -> Result<ResponseHead, Reply> {
        let broke = |error: io::Error| {
            let why = format!("the connection broke before a whole answer came: {error}");
            self.bad_response(hop, "connection_terminated", &why)
        };
        tunnel.write_all(message).await.map_err(broke)?;
        tunnel.flush().await.map_err(broke)?;
        let mut reader = HeadReader::new(self.limits.into());
        let mut has_come = false;
        loop {
            match reader.response(seen) {
                Ok(Some(response)) if response.is_interim() => continue,
                Ok(Some(response)) => return Ok(response),
                Ok(None) => {}
                Err(bad) => {
                    return Err(self.bad_response(hop, bad.proxy_error(), &bad.to_string()));
                }
            }
            if tunnel.read_buf(seen).await.map_err(broke)? == 0 {
                let why = "the connection was closed before a whole answer came";
                return Err(self.bad_response(hop, "connection_terminated", why));
            }
            if !has_come {
                has_come = true;
                let name = self.last_name(hop).map(|name| &**name);
                self.steps.answered(name, &self.errand.target, None);
            }
        }
    }

    /// Why `response` is `hop`'s own answer, and not the target's.
    fn refused(&self, hop: &dyn Hop, response: &ResponseHead) -> Option<ChainError> {
        let status = response.status();
        if status < 400 {
            return None;
        }
        let refusal = Refusal::new(status, response.reason(), response.fields().iter());
        hop.refuses(&refusal).then(|| self.chain.refused(hop, &self.errand.target, refusal))
    }

    fn bad_response(&self, hop: Option<&dyn Hop>, error: &'static str, why: &str) -> Reply {
        let target = &self.errand.target;
        let name = self.last_name(hop);
        self.steps.answered(name.map(|name| &**name), target, Some(why));
        let next_hop = name.map_or_else(|| target.to_string(), |name| name.to_string());
        Reply::bad_response(&next_hop, name, error, why)
    }

    /// What the last hop is called, where it is `hop` that answers.
    fn last_name(&self, hop: Option<&dyn Hop>) -> Option<&Arc<str>> {
        hop.and_then(|_| self.chain.links().last()).map(|last| &last.name)
    }
}

/// The request as it is sent, to `hop` if that forwards it.
fn message(head: &RequestHead, hop: Option<&dyn Hop>) -> Vec<u8> {
    let mut message = Vec::new();
    let Target::Resource(resource) = head.target() else { return message };
    let forwarding = hop.and_then(Hop::forwarding);
    let fields = forwarding.into_iter().flat_map(|forwarding| &forwarding.fields);
    let mut extra: Vec<_> = fields.map(|(name, value)| (*name, value.expose())).collect();
    extra.push(("Connection", "close"));
    let form = if forwarding.is_some() { RequestForm::Absolute } else { RequestForm::Origin };
    head.write(resource, form, &extra, &mut message);
    message
}

/// What the body says, where that is an address and nothing else.
async fn exit_address(
    response: &ResponseHead,
    tunnel: &mut Tunnel,
    seen: &mut BytesMut,
) -> Option<IpAddr> {
    if response.status() != 200 {
        return None;
    }
    let mut reader = BodyReader::of_response(response.body_length("GET"));
    let mut body = Vec::new();
    while body.len() <= EXIT_BYTES_MAX {
        match reader.decode(seen).ok()? {
            Decoded::Data(data) => body.extend_from_slice(&data),
            Decoded::Trailers(_) => {}
            Decoded::End => return str::from_utf8(&body).ok()?.trim().parse().ok(),
            // Some end TLS without saying so; whether the body is whole, the reader knows.
            Decoded::NeedMore => {
                if tunnel.read_buf(seen).await.unwrap_or(0) == 0 {
                    reader.end().ok()?;
                }
            }
        }
    }
    None
}

/// The target has been reached by then; a body that dribbles is not worth more.
const EXIT_WAIT: Duration = Duration::from_secs(5);
/// More than any address has, and the blanks around it.
const EXIT_BYTES_MAX: usize = 64;
