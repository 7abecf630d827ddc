//! The account of each tunnel and each request: counted while it lasts, one line in the log when it has ended.

use std::{
    borrow::Cow,
    fmt,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use mooltiroute_hops::Authority;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::{
    client::reply::Reply,
    config::Timeouts,
    metrics::Meter,
    state::generation::{Generation, Way},
};

/// What is known of a tunnel or a request while it lasts.
#[derive(Debug)]
pub(crate) struct Access {
    generation: Arc<Generation>,
    client: SocketAddr,
    method: Cow<'static, str>,
    target: Authority,
    route: usize,
    chain: Arc<str>,
    begun: Instant,
    meter: Arc<Meter>,
    is_tunnel: bool,
}

/// How it went.
#[derive(Debug)]
pub(crate) struct Outcome<'a, E> {
    /// The status that the client was sent.
    pub status: u16,
    /// Bytes from the client that were passed on.
    pub sent: u64,
    /// Bytes to the client.
    pub received: u64,
    /// How it ended.
    pub end: &'a E,
}

impl Access {
    /// Begins now.
    pub(crate) fn new(
        generation: Arc<Generation>,
        client: SocketAddr,
        method: &str,
        target: Authority,
        way: Way<'_>,
    ) -> Self {
        let (route, chain) = (way.route, Arc::clone(way.chain.name()));
        let meter = Arc::clone(way.chain.meter());
        if method != "CONNECT" {
            meter.request();
        }
        generation.users.requests.fetch_add(1, Relaxed);
        Self {
            generation,
            client,
            method: owned(method),
            target,
            route,
            chain,
            begun: Instant::now(),
            meter,
            is_tunnel: false,
        }
    }

    /// Those that were in force when it began.
    pub(crate) fn timeouts(&self) -> &Timeouts {
        &self.generation.timeouts
    }

    /// What counts its traffic.
    pub(crate) fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// From now on it is a tunnel.
    pub(crate) fn opened(&mut self) {
        let users = &self.generation.users;
        users.tunnels.fetch_add(1, Relaxed);
        users.requests.fetch_sub(1, Relaxed);
        self.meter.opened();
        self.is_tunnel = true;
    }

    /// Logs the end of a tunnel.
    pub(crate) fn tunnel<E: fmt::Display>(&self, outcome: &Outcome<'_, E>) {
        self.line(outcome, "tunnel closed");
    }

    /// Logs the end of a request.
    pub(crate) fn request<E: fmt::Display>(&self, outcome: &Outcome<'_, E>) {
        self.line(outcome, "request");
    }

    /// Logs and counts that it failed before the target answered, so that the client is told `reply`; also where access
    /// is not logged.
    pub(crate) fn failed(&self, reply: &Reply, error: &str) {
        if let Some(blame) = reply.blame() {
            self.meter.failed(blame.hop.as_deref(), blame.stage, reply.error());
        }
        let status = reply.status();
        let Self { client, method, target, route, chain, .. } = self;
        let (generation, duration) = (self.generation.number(), self.begun.elapsed());
        warn!(%client, %method, %target, route, %chain, generation, status, ?duration, error, "request failed");
    }

    fn line<E: fmt::Display>(&self, outcome: &Outcome<'_, E>, message: &str) {
        if !self.generation.is_access_logged {
            return;
        }
        let Self { client, method, target, route, chain, .. } = self;
        let (generation, duration) = (self.generation.number(), self.begun.elapsed());
        let Outcome { status, sent, received, end } = outcome;
        info!(
            %client, %method, %target, route, %chain, generation, status, sent, received, ?duration, %end,
            "{message}"
        );
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        let users = &self.generation.users;
        if self.is_tunnel {
            self.meter.closed();
            users.tunnels.fetch_sub(1, Relaxed);
        } else {
            users.requests.fetch_sub(1, Relaxed);
        }
    }
}

/// The method, copied only if it is a rare one.
fn owned(method: &str) -> Cow<'static, str> {
    const COMMON: [&str; 6] = ["CONNECT", "GET", "POST", "HEAD", "PUT", "DELETE"];
    let known = COMMON.iter().find(|common| **common == method);
    known.map_or_else(|| Cow::Owned(method.to_owned()), |common| Cow::Borrowed(*common))
}
