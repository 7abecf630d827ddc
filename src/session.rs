//! The life of one client connection.

use std::{net::SocketAddr, pin::pin, time::Duration};

use tokio::net::TcpStream;
use tracing::{debug, warn};

use crate::{
    alarm::{self, Alarm},
    auth,
    client::{Arrival, Client, Farewell, is_head},
    connect,
    forward::{self, Served, Switch},
    http::{HeadLimits, Target},
    live::Generation,
    local,
    reply::Reply,
    shared::{Admission, Shared},
    tunnel::OpenTunnel,
};

/// Serves one client until its connection ends: requests one after the other, and perhaps a tunnel at the end.
pub async fn run(socket: TcpStream, peer: SocketAddr, admission: Admission) {
    let shutdown = admission.shared().shutdown();
    let work = pin!(async {
        // Boxed, so that an open tunnel does not keep the room that the requests before it needed.
        let requests = requests(Client::new(socket, peer), admission.shared());
        let Some(mut tunnel) = Box::pin(requests).await else { return };
        tunnel.run(shutdown).await;
    });
    // What is cut has ended by itself, or has nothing to tell.
    let _ = shutdown.heeded_by(work).await;
}

/// Serves requests until the connection ends, or one of them has opened a tunnel.
async fn requests(mut client: Client, shared: &Shared) -> Option<OpenTunnel> {
    let shutdown = shared.shutdown();
    let mut timer = pin!(alarm::timer());
    let mut alarm = Alarm::new(timer.as_mut());
    let mut kept = None;
    let mut idle = shared.live().current().timeouts.header;
    loop {
        let (limits, header) = limits(&shared.live().current());
        let head = match client.next_head(limits, idle, header, &mut alarm, shutdown).await {
            Arrival::Head(head) => head,
            Arrival::End => return None,
            arrival => {
                refuse(client, arrival).await;
                return None;
            }
        };
        // Taken anew for each request, and then kept to its end.
        let generation = shared.live().current();
        let Some(admitted) = auth::admit(&head, generation.auth.as_ref()) else {
            debug!(client = %client.peer, "the client has no or other credentials than `server.auth`");
            client.close_with(&Reply::unauthorized(), is_head(&head)).await;
            return None;
        };
        match head.target() {
            Target::Tunnel(target) => {
                return connect::open(client, target.clone(), admitted, &generation).await;
            }
            Target::Resource(_) if !local::is_last_stop(&head) => {
                // Boxed, since it is large and tunnels don't need it.
                let served = Box::pin(forward::serve(
                    &mut client,
                    &mut kept,
                    &head,
                    admitted,
                    &generation,
                    &mut alarm,
                    shutdown,
                ))
                .await;
                match served {
                    Served::Again if shutdown.is_draining() => {
                        client.leave(Farewell::Close).await;
                        return None;
                    }
                    Served::Again => {}
                    Served::Switched(switch) => {
                        let Switch { upstream, access, opening } = *switch;
                        let timeouts = &generation.timeouts;
                        return Some(OpenTunnel::new(client, upstream, access, opening, timeouts));
                    }
                    Served::Over(farewell) => {
                        client.leave(farewell).await;
                        return None;
                    }
                }
            }
            Target::Resource(_) | Target::Origin(_) | Target::Asterisk => {
                local::serve(client, &head, shared).await;
                return None;
            }
        }
        idle = IDLE_BETWEEN_REQUESTS;
    }
}

/// Tells a client that there are too many.
pub async fn turn_away(socket: TcpStream, peer: SocketAddr, admission: Admission) {
    let shared = admission.shared();
    if shared.open() > shared.live().current().limits.connections + TURNED_AWAY_MAX {
        // More than can be told; a closed door says it too.
        return;
    }
    let work = pin!(tell_limit(Client::new(socket, peer), shared));
    let _ = shared.shutdown().heeded_by(work).await;
}

async fn tell_limit(mut client: Client, shared: &Shared) {
    let generation = shared.live().current();
    let (limits, _) = limits(&generation);
    let mut timer = pin!(alarm::timer());
    let mut alarm = Alarm::new(timer.as_mut());
    let (wait, shutdown) = (TURN_AWAY, shared.shutdown());
    let arrival = client.next_head(limits, wait, wait, &mut alarm, shutdown).await;
    let is_head = matches!(&arrival, Arrival::Head(head) if is_head(head));
    let reply = Reply::over_limit(generation.limits.connections);
    warn!(client = %client.peer, status = reply.status(), limit = generation.limits.connections, "too many connections");
    client.close_with(&reply, is_head).await;
}

async fn refuse(client: Client, arrival: Arrival) {
    let reply = match arrival {
        Arrival::Bad(bad) => {
            Reply::refused(bad.status(), &format!("Mooltiroute can't serve this request: {bad}."))
        }
        _ => Reply::refused(
            408,
            "Mooltiroute has waited for the rest of the request's head, and it did not come.",
        ),
    };
    debug!(client = %client.peer, status = reply.status(), "request refused");
    client.close_with(&reply, false).await;
}

fn limits(generation: &Generation) -> (HeadLimits, Duration) {
    let bytes = generation.limits.header_bytes;
    (HeadLimits { bytes, ..HeadLimits::default() }, generation.timeouts.header)
}

/// How long a client may keep its connection open without a request, as most servers allow.
const IDLE_BETWEEN_REQUESTS: Duration = Duration::from_secs(75);
/// How long a client that is turned away has for its request.
const TURN_AWAY: Duration = Duration::from_secs(1);
/// How many connections over the limit are told so at once.
const TURNED_AWAY_MAX: usize = 64;
