//! A tunnel that is open: the relay, and the line that is logged at its end.

use std::{
    task::{Context, Poll, ready},
    time::Duration,
};

use mooltiroute_hops::Tunnel;

use crate::{
    client::{
        account::{Account, Outcome},
        connection::Client,
    },
    duration,
    io::relay::{End, Relay, RelayTimeouts},
    system::shutdown::Shutdown,
};

/// A tunnel whose client was told that it is open.
#[derive(Debug)]
pub(crate) struct OpenTunnel {
    relay: Relay,
    account: Account,
    /// The status that the client received.
    status: u16,
}

/// The exchange that preceded a tunnel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening {
    /// The status that the client received: 200, or 101 if a request switched protocols.
    pub status: u16,
    /// Bytes passed on to the upstream before.
    pub sent: u64,
    /// Bytes passed on to the client before.
    pub received: u64,
}

impl OpenTunnel {
    /// Opens a tunnel between `client` and `upstream`, which passes the bytes that either has read ahead first.
    ///
    /// Boxed, since it is handed up through the futures that served the request, and each would move it.
    pub(crate) fn new(
        client: Client,
        upstream: Tunnel,
        mut account: Account,
        opening: Opening,
    ) -> Box<Self> {
        account.opened();
        // The timeouts of the generation that the tunnel began under, also after a reload.
        let timeouts = account.timeouts();
        let rotate_after = account.chain().rotate_after();
        let (idle, half_closed) = (timeouts.idle, timeouts.half_closed);
        let timeouts = RelayTimeouts { idle, rotate_after, half_closed };
        // A request that switched protocols has moved bytes before, and is logged as one line.
        let Opening { status, sent, received } = opening;
        let relay = Relay::new(Tunnel::from(client), upstream, timeouts)
            .counting_from(sent, received)
            .metered(account.row().clone());
        Box::new(Self { relay, account, status })
    }

    /// Relays until both ends are done, or until the cut, which has to [wake](Shutdown::heeded_by) this task. Then it logs
    /// the end.
    ///
    /// Not an `async fn`, whose future the task of each open tunnel would keep beside this.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, shutdown: &Shutdown) -> Poll<()> {
        let Self { relay, account, .. } = self;
        let end = ready!(relay.poll_end(cx, || shutdown.is_cut() || account.is_killed()));
        // The relay knows one way to be stopped from outside. The account tells which one it was.
        self.tell(match end {
            End::Cut if self.account.is_killed() => End::Killed,
            end => end,
        });
        Poll::Ready(())
    }

    fn tell(&mut self, end: End) {
        let (status, sent, received) = (self.status, self.relay.sent(), self.relay.received());
        let reason = match (end, self.account.chain().rotate_after()) {
            (End::Rotated, Some(age)) => Some(rotated(self.account.chain().name(), age)),
            _ => None,
        };
        let reason = reason.as_deref();
        self.account.tunnel(&Outcome { status, sent, received, end: &end, reason });
    }
}

/// Says which setting ended a tunnel through `chain`, and what to do if that was too soon.
fn rotated(chain: &str, age: Duration) -> String {
    let age = duration::in_words(age);
    format!(
        "older than `rotate_after` of chain `{chain}` ({age}), and no byte moved for a second; if transfers break off, raise \
         `rotate_after`, or remove it if a new tunnel gets the same exit"
    )
}
