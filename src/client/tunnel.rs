//! A tunnel that is open: the relay, and the line that is logged at its end.

use std::sync::Arc;

use mooltiroute_hops::Tunnel;

use crate::{
    client::{
        access_log::{Access, Outcome},
        connection::Client,
    },
    io::relay::{Patience, Relay},
    system::shutdown::Shutdown,
};

/// A tunnel whose client was told that it is open.
#[derive(Debug)]
pub(crate) struct OpenTunnel {
    relay: Relay,
    access: Access,
    opening: Opening,
}

/// What was said before the tunnel was one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening {
    /// The status that the client was told: 200, or 101 where a request switched protocols.
    pub status: u16,
    /// Bytes passed on to the upstream before.
    pub sent: u64,
    /// Bytes passed on to the client before.
    pub received: u64,
}

impl OpenTunnel {
    /// A tunnel between `client` and `upstream`. What either has read ahead goes first.
    pub(crate) fn new(
        client: Client,
        upstream: Tunnel,
        mut access: Access,
        opening: Opening,
    ) -> Self {
        access.opened();
        let timeouts = access.timeouts();
        let patience = Patience { idle: timeouts.idle, half_closed: timeouts.half_closed };
        let relay = Relay::new(Tunnel::from(client), upstream, patience)
            .metered(Arc::clone(access.meter()));
        Self { relay, access, opening }
    }

    /// Relays until both ends are done, or until the cut, which has to [wake](Shutdown::heeded_by) this task.
    pub(crate) async fn run(&mut self, shutdown: &Shutdown) {
        let end = self.relay.run(|| shutdown.is_cut()).await;
        let Opening { status, sent, received } = self.opening;
        let (sent, received) = (sent + self.relay.sent(), received + self.relay.received());
        self.access.tunnel(&Outcome { status, sent, received, end: &end });
    }
}
