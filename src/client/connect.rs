//! A CONNECT request: route, chain, and only then 200 and the tunnel.

use std::sync::Arc;

use mooltiroute_hops::{Authority, Request};
use tokio::io::AsyncWriteExt;
use tracing::warn;

use crate::{
    client::{
        access_log::{Access, Outcome},
        auth::Admitted,
        connection::Client,
        reply::{Reply, with_causes},
        tunnel::{OpenTunnel, Opening},
    },
    io::relay::End,
    state::generation::Generation,
};

/// Opens a tunnel to `target` for a client that asked for it; where that fails, tells the client why.
pub(crate) async fn open(
    mut client: Client,
    target: Authority,
    admitted: Admitted,
    generation: &Arc<Generation>,
) -> Option<OpenTunnel> {
    let Some(way) = generation.way(&target) else {
        warn!(client = %client.peer, %target, "no route matches");
        client.close_with(&Reply::no_route(&target), false).await;
        return None;
    };
    let preferences = match admitted.preferences(way.chain, generation) {
        Ok(preferences) => preferences,
        Err(reply) => {
            client.close_with(&reply, false).await;
            return None;
        }
    };
    let access = Access::new(Arc::clone(generation), client.peer, "CONNECT", target.clone(), way);
    let upstream = match way.chain.connect(Request::new(&target, &preferences)).await {
        Ok(upstream) => upstream,
        Err(error) => {
            let reply = Reply::unreachable(&error);
            access.failed(&reply, &with_causes(&error));
            client.close_with(&reply, false).await;
            return None;
        }
    };
    if client.socket.write_all(ESTABLISHED).await.is_err() {
        access.tunnel(&Outcome { status: 200, sent: 0, received: 0, end: &End::ClientBroke });
        return None;
    }
    let opening = Opening { status: 200, sent: 0, received: 0 };
    Some(OpenTunnel::new(client, upstream, access, opening))
}

/// To the letter what other proxies say: some clients compare it.
const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";
