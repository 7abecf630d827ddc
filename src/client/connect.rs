//! A request for a tunnel, in any protocol: route, chain, and only then success and the tunnel.

use std::{borrow::Cow, pin::pin, sync::Arc};

use mooltiroute_hops::{Authority, ClientFields, Field, Request};
use tokio::time::Instant;

use crate::{
    client::{
        account::{Account, Outcome},
        ask::{Ask, Denial},
        auth::Admitted,
        connection::Client,
        departure::{Interruption, unless_left},
        reply::{Reply, waited, with_causes},
        tunnel::{OpenTunnel, Opening},
    },
    config::Protocol,
    http::Fields,
    io::relay::End,
    state::{connections::OpenConnection, generation::Generation, shared::Shared},
    upstream::{
        chain::{ChainError, Destination, Stage, TakenHop, Trace},
        rounds::Round,
    },
    usage::RecentOwner,
};

/// A protocol in which clients ask for tunnels: the messages that answer them.
pub(crate) trait TunnelProtocol {
    /// Returns its name.
    fn protocol(&self) -> Protocol;

    /// Returns the header fields of the request, if the protocol has any.
    fn fields(&self) -> Option<&dyn ClientFields> {
        None
    }

    /// Returns the message that the tunnel is open, with the fields that the last hop returned if the protocol has room.
    fn established(&self, returned: &[Field]) -> Cow<'static, [u8]>;

    /// Returns the message to `client` that the request is not even tried.
    fn denied(&self, denial: Denial, client: &Client) -> Vec<u8>;

    /// Returns the message to `client` that the chain failed on its way to `target`. `reply` is the answer of HTTP.
    fn failed(
        &self,
        reply: &Reply,
        error: &ChainError,
        target: &Authority,
        client: &Client,
    ) -> Vec<u8>;
}

/// CONNECT of HTTP/1.1.
#[derive(Debug)]
pub(crate) struct HttpConnect<'a> {
    /// The header fields of the request.
    pub fields: &'a Fields,
}

/// Opens a tunnel to `target` for a client that asked for it in `protocol`. If that fails, tells the client why.
pub(crate) async fn open<P: TunnelProtocol>(
    mut client: Client,
    target: Authority,
    admitted: Admitted,
    (shared, generation): (&Shared, &Arc<Generation>),
    answers: P,
) -> Option<Box<OpenTunnel>> {
    let (peer, protocol) = (client.peer, answers.protocol());
    let ask = Ask { peer, protocol, method: "CONNECT", target: &target, admitted: &admitted };
    // Registered before anything is awaited, so that the request can be listed and killed from here
    // on.
    let (account, preferences) =
        match ask.begin(shared, generation, &mut RecentOwner::default()).await {
            Ok(begun) => begun,
            Err(denial) => {
                let message = answers.denied(denial, &client);
                client.close_after(&message).await;
                return None;
            }
        };
    let chain = account.chain();
    // Bounded before a connection is opened, since the request may come back to this proxy through
    // the hops. Dropped once the last hop has answered.
    let round = {
        let begun = {
            let round = pin!(shared.begin_round(("CONNECT", &target), chain, generation));
            unless_left(&mut client, account.row(), || account.is_killed(), round).await
        };
        match begun {
            Ok(Ok(round)) => round,
            Ok(Err(error)) => {
                let reply = Reply::not_admitted(error, &target);
                account.failed(&reply, &reply.text_at(shared.proxy_address()), shared);
                let denial = Denial::NotAdmitted(error, target);
                let message = answers.denied(denial, &client);
                client.close_after(&message).await;
                return None;
            }
            Err(interruption) => return interrupted(client, &account, interruption),
        }
    };
    let request = Request::new(&target, &preferences)
        .with_fields(answers.fields())
        .marked(generation.via.as_deref());
    // The client hears nothing before this ends. A success that came earlier would make a failure
    // of the hops look like one of the target, and the client could not be told the reason.
    let reached = {
        let trace = TunnelTrace { row: account.row(), round: &round };
        let upstream = pin!(chain.travel(&request, Destination::Target, &trace));
        unless_left(&mut client, account.row(), || account.is_killed(), upstream).await
    };
    let mut upstream = match reached {
        Ok(Ok(connected)) => {
            // The hops have answered, so this is not a round of a loop. A tunnel may last for days, and must not count as
            // unanswered.
            if let Some(round) = round {
                round.served();
            }
            account.took_way(connected.passage, shared);
            account.end_if_its_hop_left(shared);
            connected.tunnel
        }
        Ok(Err(error)) => {
            if let Some(reason) = waited(&error) {
                round.iter().for_each(Round::left);
                account.row().set_passage(error.passage());
                left(&account, Some(&reason));
                return None;
            }
            let reply = Reply::unreachable(&error);
            account.row().set_passage(error.passage());
            account.failed(&reply, &with_causes(&error), shared);
            let message = answers.failed(&reply, &error, &target, &client);
            client.close_after(&message).await;
            return None;
        }
        Err(interruption) => {
            round.iter().for_each(Round::left);
            return interrupted(client, &account, interruption);
        }
    };
    if account.is_killed() {
        return interrupted(client, &account, Interruption::Cut);
    }
    account.takes(&upstream);
    // The bytes that the client sent ahead are still in `client.seen`: they go to the target only
    // now that there is a tunnel.
    if client.send(&answers.established(&upstream.take_returned_fields())).await.is_err() {
        let end = &End::ClientBroke;
        account.tunnel(&Outcome { status: 200, sent: 0, received: 0, end, reason: None });
        return None;
    }
    let opening = Opening { status: 200, sent: 0, received: 0 };
    Some(OpenTunnel::new(client, upstream, account, opening))
}

/// Notes the progress of a request for a tunnel: its hops in the table of connections, their answers in its round.
struct TunnelTrace<'a> {
    row: &'a OpenConnection,
    round: &'a Option<Round>,
}

impl Trace for TunnelTrace<'_> {
    fn chosen(&self, taken: &Arc<[TakenHop]>) {
        self.row.chosen(taken);
    }

    fn passed(&self, stage: impl FnOnce() -> Stage) {
        self.round.passed(stage);
    }

    fn abandoned(&self) -> Option<Instant> {
        self.row.abandoned()
    }
}

/// Ends a tunnel that was killed, or whose client left, before it was open.
fn interrupted(
    client: Client,
    account: &Account,
    interruption: Interruption,
) -> Option<Box<OpenTunnel>> {
    match interruption {
        Interruption::ClientLeft => left(account, None),
        Interruption::Cut => {
            let end = &End::Killed;
            account.tunnel(&Outcome { status: 0, sent: 0, received: 0, end, reason: None });
            client.reset();
        }
    }
    None
}

/// Logs that the client left before its tunnel was open, and what it waited for.
fn left(account: &Account, reason: Option<&str>) {
    account.tunnel(&Outcome { status: 0, sent: 0, received: 0, end: &End::ClientLeft, reason });
}

impl TunnelProtocol for HttpConnect<'_> {
    fn protocol(&self) -> Protocol {
        Protocol::Http
    }

    fn fields(&self) -> Option<&dyn ClientFields> {
        Some(self.fields)
    }

    fn established(&self, returned: &[Field]) -> Cow<'static, [u8]> {
        let Some(line) = ESTABLISHED.strip_suffix(b"\r\n").filter(|_| !returned.is_empty()) else {
            return ESTABLISHED.into();
        };
        let mut head = line.to_vec();
        for Field { name, value } in returned {
            // Both were checked when they were read.
            head.extend([name, ": ", value.expose(), "\r\n"].concat().as_bytes());
        }
        head.extend(b"\r\n");
        head.into()
    }

    fn denied(&self, denial: Denial, client: &Client) -> Vec<u8> {
        Reply::from(denial).message(client, false)
    }

    fn failed(
        &self,
        reply: &Reply,
        _error: &ChainError,
        _target: &Authority,
        client: &Client,
    ) -> Vec<u8> {
        reply.message(client, false)
    }
}

/// The answer without fields. To the letter what other proxies say: some clients compare it.
const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";
