//! The access line: one for each tunnel and each request, when it has ended.

use std::{fmt, net::SocketAddr, sync::Arc};

use mooltiroute_hops::Authority;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::live::{Generation, Way};

/// What is known of a tunnel or a request while it lasts.
#[derive(Debug)]
pub struct Access {
    generation: Arc<Generation>,
    client: SocketAddr,
    method: Box<str>,
    target: Authority,
    route: usize,
    chain: Arc<str>,
    begun: Instant,
}

/// How it went.
#[derive(Debug)]
pub struct Outcome<'a, E> {
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
    pub fn new(
        generation: Arc<Generation>,
        client: SocketAddr,
        method: &str,
        target: Authority,
        way: Way<'_>,
    ) -> Self {
        let (route, chain) = (way.route, Arc::clone(way.chain.name()));
        Self {
            generation,
            client,
            method: method.into(),
            target,
            route,
            chain,
            begun: Instant::now(),
        }
    }

    /// Logs the end of a tunnel.
    pub fn tunnel<E: fmt::Display>(&self, outcome: &Outcome<'_, E>) {
        self.line(outcome, "tunnel closed");
    }

    /// Logs the end of a request.
    pub fn request<E: fmt::Display>(&self, outcome: &Outcome<'_, E>) {
        self.line(outcome, "request");
    }

    /// Logs that it failed before the target answered; also where access is not logged.
    pub fn failed(&self, status: u16, error: &str) {
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
