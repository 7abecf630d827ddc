//! A CONNECT request: route, chain, and only then 200 and the tunnel.

use std::sync::Arc;

use mooltiroute_hops::{Authority, Request, Tunnel};
use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    access::{Access, Outcome},
    auth::Admitted,
    chain::ChainError,
    client::Client,
    live::Generation,
    relay::{End, Patience, Relay},
    reply::{Reply, with_causes},
};

/// Serves a client that asked for a tunnel to `target`, to the end of its connection.
pub async fn serve(
    client: Client,
    target: Authority,
    admitted: Admitted,
    generation: Arc<Generation>,
    cut: &CancellationToken,
) {
    let Some(way) = generation.way(&target) else {
        warn!(client = %client.peer, %target, "no route matches");
        cut.run_until_cancelled(client.close_with(&Reply::no_route(&target), false)).await;
        return;
    };
    let preferences = match admitted.preferences(way.chain, &generation) {
        Ok(preferences) => preferences,
        Err(reply) => {
            cut.run_until_cancelled(client.close_with(&reply, false)).await;
            return;
        }
    };
    let access = Access::new(Arc::clone(&generation), client.peer, "CONNECT", target.clone(), way);
    // Boxed, so that the tunnel's task does not keep the room that only the handshake needs.
    let connect = way.chain.connect(Request::new(&target, &preferences));
    let upstream = Box::pin(cut.run_until_cancelled(connect)).await;
    match upstream {
        Some(Ok(upstream)) => relay(client, upstream, access, &generation, cut).await,
        Some(Err(error)) => {
            Box::pin(cut.run_until_cancelled(refuse(client, &error, &access))).await;
        }
        None => {}
    }
}

async fn refuse(client: Client, error: &ChainError, access: &Access) {
    let reply = Reply::unreachable(error);
    access.failed(reply.status(), &with_causes(error));
    client.close_with(&reply, false).await;
}

async fn relay(
    client: Client,
    upstream: Tunnel,
    access: Access,
    generation: &Generation,
    cut: &CancellationToken,
) {
    let Client { mut socket, seen, .. } = client;
    if socket.write_all(ESTABLISHED).await.is_err() {
        access.tunnel(&Outcome { status: 200, sent: 0, received: 0, end: &End::ClientBroke });
        return;
    }
    let mut client = Tunnel::socket(socket);
    client.unread(seen.freeze());
    let timeouts = &generation.timeouts;
    let patience = Patience { idle: timeouts.idle, half_closed: timeouts.half_closed };
    let mut relay = Relay::new(client, upstream, patience);
    let end = cut.run_until_cancelled(relay.run()).await.unwrap_or(End::Cut);
    access.tunnel(&Outcome {
        status: 200,
        sent: relay.sent(),
        received: relay.received(),
        end: &end,
    });
}

/// To the letter what other proxies say: some clients compare it.
const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";
