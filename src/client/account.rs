//! Accounting for one tunnel or request: its row in the table of open connections, its counters, and its line in the
//! access log.

mod access_line;

use std::{
    fmt,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use mooltiroute_hops::Tunnel;

use self::access_line::{AccessLine, Failed, Passed};
use crate::{
    client::{ask::RequestLog, reply::Reply},
    config::Timeouts,
    state::{
        connections::{OpenConnection, Registration},
        generation::is_cut,
        shared::Shared,
    },
    upstream::chain::{Chain, Passage},
    usage::{self, Owner},
};

/// The account of one request or tunnel. Dropping it removes the request from the table of open connections.
#[derive(Debug)]
pub(crate) struct Account {
    registration: Registration,
    owner: Owner,
    is_tunnel: bool,
}

/// The end of a request or tunnel, for the log.
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
    /// Why it ended like that, if there is more to say.
    pub reason: Option<&'a str>,
}

impl Account {
    /// Begins the account of a connection that was just registered. Its bytes on the wire count for `owner` too.
    pub(crate) fn new(registration: Registration, owner: Owner) -> Self {
        let row = registration.row();
        // A CONNECT counts for its chain once its tunnel is open. Both kinds count as requests of
        // their generation, which the status lists until they end.
        if !row.is_tunnel() {
            row.chain.meter().request();
        }
        row.generation.users.requests.fetch_add(1, Relaxed);
        Self { registration, owner, is_tunnel: false }
    }

    /// Notes that the request goes over `tunnel` from now on, whose bytes count for it.
    pub(crate) fn takes(&self, tunnel: &Tunnel) {
        usage::owned_by(tunnel, &self.owner);
    }

    /// Records the way that an open connection took. Logs a hint, once for each hop, if a client without a session got
    /// no exit of its own from a hop or a pool that gives one to each session.
    pub(crate) fn took_way(&self, passage: Passage, shared: &Shared) {
        let row = self.row();
        if let Some(hop) = &passage.without_session {
            let log = RequestLog { peer: row.peer, protocol: row.protocol, target: &row.target };
            log.log_no_session(hop, &row.generation, shared);
        }
        if row.session.is_none() {
            let log = RequestLog { peer: row.peer, protocol: row.protocol, target: &row.target };
            for hop in self.chain().hops_with_choice(&passage) {
                log.log_pick_by_host(hop, &row.generation, shared);
            }
        }
        row.set_passage(passage);
    }

    /// Notes that many requests of the client took the way of `passage`, over one connection. Logs it once for each pool on
    /// the way that chooses a member for each connection.
    pub(crate) fn keeps_exit(&self, passage: &Passage, shared: &Shared) {
        let row = self.row();
        let log = RequestLog { peer: row.peer, protocol: row.protocol, target: &row.target };
        for hop in self.chain().hops_with_choice(passage) {
            log.log_kept_exit(hop, &row.generation, shared);
        }
    }

    /// Returns the row in the table of open connections, which counts the bytes.
    pub(crate) fn row(&self) -> &Arc<OpenConnection> {
        self.registration.row()
    }

    /// Returns the chain that the request takes.
    pub(crate) fn chain(&self) -> &Arc<Chain> {
        &self.row().chain
    }

    /// Returns the timeouts that were in force when it began.
    pub(crate) fn timeouts(&self) -> &Timeouts {
        &self.row().generation.timeouts
    }

    /// Returns whether someone asked for its end.
    pub(crate) fn is_killed(&self) -> bool {
        self.row().is_killed()
    }

    /// Ends the tunnel if a hop on its way has left with `on_leave: cut` while the tunnel was being opened.
    ///
    /// The reload that switched the hop off has cut the tunnels that it found in the table. It could not know the way of
    /// this one, whose hops had not chosen yet.
    pub(crate) fn end_if_its_hop_left(&self, shared: &Shared) {
        let (row, current) = (self.row(), shared.live().current());
        if current.number() == row.generation.number() {
            return;
        }
        let left = row.generation.hops_that_leave(&current);
        if is_cut(row, &left) {
            row.end();
        }
    }

    /// Counts it as a tunnel from now on.
    pub(crate) fn opened(&mut self) {
        // The request becomes the tunnel, so the generation has as many users as before.
        let users = &self.row().generation.users;
        users.tunnels.fetch_add(1, Relaxed);
        users.requests.fetch_sub(1, Relaxed);
        self.chain().meter().opened();
        if let Some(chosen) = self.row().chosen_counts() {
            chosen.opened();
        }
        self.is_tunnel = true;
    }

    /// Logs the end of a tunnel.
    pub(crate) fn tunnel<E: fmt::Display>(&self, outcome: &Outcome<'_, E>) {
        self.line(outcome, "tunnel closed", false);
    }

    /// Logs the end of a request. One whose answer was cut is a failure, and logged even if access is not.
    pub(crate) fn request<E: fmt::Display>(&self, outcome: &Outcome<'_, E>, is_cut: bool) {
        self.line(outcome, "request", is_cut);
    }

    /// Logs and counts a failure before the target answered. `reply` is the client's answer. Failures are logged even if
    /// access is not.
    pub(crate) fn failed(&self, reply: &Reply, error: &str, shared: &Shared) {
        // A failure for which the client or this proxy is responsible counts for no chain and no
        // hop.
        if let Some(blame) = reply.blame().filter(|blame| !blame.is_own_lack) {
            let meter = self.chain().meter();
            meter.failed(blame.hop.as_deref(), blame.stage, reply.error());
            meter.explain(blame.hop.as_deref(), &blame.cause);
            let metrics = self.row().generation.metrics();
            if let Some(through) = metrics.chosen(blame.through.iter()) {
                through.failed(blame.stage, reply.error());
                through.explain(&blame.cause);
            }
            // A hop that is switched by a condition of the network may fail because the network has
            // changed, so the conditions on this way are looked at again.
            let depends = || self.row().generation.dependence_of(self.chain().name());
            if let (Some(_), Some(dependence)) = (&blame.hop, depends()) {
                dependence.hop_failed();
            }
        }
        // The log says which address clients have to use, as the answer does.
        let address = shared.proxy_address();
        self.registration.failed(reply.status(), &reply.text_at(address));
        let blame = reply.blame();
        let hop = blame.and_then(|blame| blame.hop.as_deref());
        let advice = blame.and_then(|blame| blame.advice.as_ref());
        let advice = advice.map(|advice| advice.for_client_at(address));
        let advice = advice.as_deref();
        let failed = Failed { hop, stage: blame.map(|blame| blame.stage), error, advice };
        AccessLine::new(self.row(), reply.status()).failed(failed, self.registration.log());
    }

    fn line<E: fmt::Display>(
        &self,
        outcome: &Outcome<'_, E>,
        message: &'static str,
        is_failure: bool,
    ) {
        if is_failure || self.row().generation.is_access_logged {
            let Outcome { status, sent, received, end, reason } = *outcome;
            let passed = Passed { message, sent, received, end, reason };
            AccessLine::new(self.row(), status).passed(passed, self.registration.log());
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let users = &self.row().generation.users;
        if self.is_tunnel {
            self.chain().meter().closed();
            if let Some(chosen) = self.row().chosen_counts() {
                chosen.closed();
            }
            users.tunnels.fetch_sub(1, Relaxed);
        } else {
            users.requests.fetch_sub(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc, time::Duration};

    use mooltiroute_hops::kinds;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
        time::timeout,
    };

    use crate::{
        client::{accepted::Accepted, session},
        config::{Environment, Loader, Overrides, Source},
        state::{
            generation::Generation,
            shared::{Admission, Shared},
        },
        system::shutdown::Shutdown,
    };

    fn shared() -> Arc<Shared> {
        let source = Source::Text("chains: { default: [] }\n".into());
        let environment = Environment::new(|_| None, Path::new(""));
        let loader =
            Loader::new(source.clone(), Overrides::default(), kinds::builtin(), environment);
        let first = Generation::new(1, loader.load().unwrap(), vec![]);
        Shared::new(first, source, Shutdown::default())
    }

    /// Serves one client of a proxy in this process. Returns the client's end and the task that serves it.
    #[expect(clippy::disallowed_methods, reason = "the task ends with the runtime of its test")]
    async fn client(shared: &Arc<Shared>) -> (TcpStream, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, peer) = listener.accept().await.unwrap();
        let admission = Admission::new(Arc::clone(shared));
        let accepted =
            Accepted { socket, peer, entrance: crate::state::entrance::Entrance::default() };
        (client, tokio::spawn(session::run(accepted, admission)))
    }

    async fn is_over(serving: tokio::task::JoinHandle<()>) {
        timeout(Duration::from_secs(10), serving).await.unwrap().unwrap();
    }

    #[tokio::test]
    #[cfg_attr(windows, ignore = "Wine ends a connection before it can be reset")]
    async fn a_tunnel_is_listed_with_its_bytes_until_it_is_killed() {
        let shared = shared();
        let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = target.local_addr().unwrap();
        let (mut client, serving) = client(&shared).await;
        client
            .write_all(
                format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\nhello").as_bytes(),
            )
            .await
            .unwrap();
        let (mut origin, _) = target.accept().await.unwrap();
        let mut read = [0; 5];
        origin.read_exact(&mut read).await.unwrap();
        origin.write_all(b"hi").await.unwrap();
        let mut answered = [0; 41];
        client.read_exact(&mut answered).await.unwrap();
        let [row] = shared.connections().list().try_into().unwrap();
        assert_eq!((&*row.method, row.target.to_string()), ("CONNECT", address.to_string()));
        assert_eq!((row.bytes_sent(), row.bytes_received()), (5, 2));
        assert_eq!(shared.connections().kill(|row| row.id == 7), [0; 0]);
        assert_eq!(shared.connections().kill(|other| other.id == row.id), [row.id]);
        is_over(serving).await;
        assert!(client.read(&mut read).await.is_err(), "the client sees a reset");
        assert!(origin.read(&mut read).await.is_err(), "the target sees a reset");
        assert!(shared.connections().list().is_empty());
    }

    #[tokio::test]
    async fn a_request_is_killed_while_it_waits_for_its_answer() {
        let shared = shared();
        let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = origin.local_addr().unwrap();
        let (mut client, serving) = client(&shared).await;
        let request = format!("GET http://{address}/ HTTP/1.1\r\nHost: {address}\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let (mut socket, _) = origin.accept().await.unwrap();
        socket.read_u8().await.unwrap();
        assert_eq!(shared.connections().kill(|row| *row.method == *"GET").len(), 1);
        is_over(serving).await;
        assert!(client.read_u8().await.is_err());
        assert!(shared.connections().list().is_empty());
    }
}
