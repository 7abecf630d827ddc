//! A client that speaks SOCKS: its greeting, its credentials, and one request, which becomes a tunnel.

pub(super) mod reply_code;

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
};

use mooltiroute_hops::{Authority, Field, socks::ReplyCode};
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::{
    client::{
        ask::{Denial, RequestLog},
        auth::{self, Admitted},
        connect::{self, TunnelProtocol},
        connection::Client,
        detect::Detected,
        reply::{Reply, place_of_proxy},
        tunnel::OpenTunnel,
    },
    config::{Protocol, ProxyAddress},
    io::{lazy_timer::LazyDeadline, read_ahead},
    network::Unsettled,
    router::Query,
    socks::{
        BIND, LoginPolicy, SocksError, SocksRequest, SocksServer, SocksStep, SocksVersion,
        UDP_ASSOCIATE,
    },
    state::{
        denials::{ClientLine, RefusalReason},
        generation::Generation,
        shared::Shared,
    },
    upstream::chain::ChainError,
};

/// Serves a client whose first byte says that it speaks SOCKS. All of the exchange before the request is whole has to
/// fit into `timeouts.header`.
pub(crate) async fn serve(
    mut client: Client,
    version: SocksVersion,
    mut deadline: LazyDeadline<'_>,
    shared: &Shared,
) -> Option<Box<OpenTunnel>> {
    // One generation judges the greeting and the credentials, so that a reload between two messages
    // can't mix two sets of rules. Hops that take preferences read them from the username, so a
    // client is then asked for one even without `server.auth`.
    let judge = shared.live().current();
    let policy = match (&judge.auth, judge.takes_preferences()) {
        (Some(_), _) => LoginPolicy::Required,
        (None, true) => LoginPolicy::Preferred,
        (None, false) => LoginPolicy::Optional,
    };
    let mut server = SocksServer::new(version, policy);
    // One deadline for all messages: a client that sends a byte now and then gains no time by it.
    let due = Instant::now() + judge.timeouts.header;
    let heard = {
        let progress = hear(&mut client, &mut server, &judge);
        tokio::select! {
            biased;
            heard = progress => heard,
            () = deadline.until(due) => Err(Unserved::Slow),
        }
    };
    match heard {
        Ok((target, admitted)) => {
            let protocol = SocksTunnel { server };
            // The way is that of the generation in force now, as for a request in HTTP: a reload
            // during the greeting counts.
            let current = shared.live().current();
            let generation = match shared.generation_for(&Query { target: &target }, current).await
            {
                Ok(generation) => generation,
                Err(Unsettled) => {
                    let denial = Denial::Unsettled(target.clone());
                    let (peer, protocol_name) = (client.peer, protocol.protocol());
                    RequestLog { peer, protocol: protocol_name, target: &target }
                        .log(&denial, shared);
                    let message = protocol.denied(denial, &client);
                    client.close_after(&message).await;
                    return None;
                }
            };
            if let Some((code, reason)) = shut_out(&client, version, &judge, &generation) {
                let protocol_name = protocol.protocol();
                warn!(client = %client.peer, protocol = %protocol_name, code, reason, "request denied");
                client.close_after(&protocol.server.refusal(ReplyCode(code))).await;
                return None;
            }
            connect::open(client, target, admitted, (shared, &generation), protocol).await
        }
        Err(Unserved::Ended) => None,
        Err(unserved) => {
            let (protocol, code) = (Detected::Socks(version).protocol(), unserved.code().0);
            let skipped = match unserved {
                // Missing or wrong credentials are a mistake of the configuration of one side. A
                // client of SOCKS offers them at once, and does not come back with them.
                Unserved::NoCredentials(_) => {
                    shared.denials().count(protocol, RefusalReason::NoCredentials, 1)
                }
                Unserved::WrongCredentials => {
                    shared.denials().count(protocol, RefusalReason::Unauthorized, 1)
                }
                // Few clients show a reply code, so the log has the reason, as for a bad request of HTTP.
                Unserved::Bad(error) => {
                    shared.denials().note(ClientLine::Refused(protocol, reason(error)))
                }
                Unserved::Ended | Unserved::Slow => None,
            };
            match skipped {
                Some(skipped) => {
                    let mut reason = unserved.to_string();
                    if let Unserved::NoCredentials(SocksVersion::V5) = unserved {
                        let is_tls = client.is_tls;
                        let reached = client.reached();
                        let reached = reached.map(|socket| ProxyAddress { socket, is_tls });
                        let place = place_of_proxy(reached);
                        let _ = write!(reason, ", as in `socks5h://USER:PASSWORD@{place}`");
                    }
                    let reason = &*reason;
                    warn!(client = %client.peer, %protocol, code, reason, skipped, "request denied");
                }
                None => {
                    debug!(client = %client.peer, %protocol, reason = %unserved, "request refused")
                }
            }
            // The state of the exchange tells which message can carry the refusal.
            client.close_after(&server.refusal(unserved.code())).await;
            None
        }
    }
}

/// Returns the reply code and the reason if `generation`, which is to serve the request, would not have let the client in
/// that `judge` has let in.
fn shut_out(
    client: &Client,
    version: SocksVersion,
    judge: &Generation,
    generation: &Generation,
) -> Option<(u8, &'static str)> {
    let protocol = Detected::Socks(version).protocol();
    let shut_out = client.entrance.reason_to_shut_out(client.peer, protocol, generation);
    let has_other_auth = generation.auth.is_some() && generation.auth != judge.auth;
    let reason = shut_out.or_else(|| has_other_auth.then_some(OTHER_AUTH))?;
    Some((2, reason))
}

const OTHER_AUTH: &str = "`server.auth` changed while the client was let in; connect again";

/// Returns the message that turns away a client before its first message is read.
pub(crate) fn turned_away(version: SocksVersion) -> Vec<u8> {
    SocksServer::new(version, LoginPolicy::Required).refusal(ReplyCode(1))
}

/// Why a client's request was not heard to its end.
#[derive(Clone, Copy, Debug)]
enum Unserved {
    /// It closed the connection, or the connection broke.
    Ended,
    /// The rest did not come in time.
    Slow,
    /// It sent no credentials, and `server.auth` asks for them.
    NoCredentials(SocksVersion),
    /// It sent other credentials than those of `server.auth`.
    WrongCredentials,
    /// It sent something that is not served.
    Bad(SocksError),
}

/// Hears the client out. Returns the target of its request, and the proof that it is admitted.
async fn hear(
    client: &mut Client,
    server: &mut SocksServer,
    generation: &Generation,
) -> Result<(Authority, Admitted), Unserved> {
    let auth = generation.auth.as_ref();
    // The order of messages is the server's. This loop only moves bytes and checks credentials, so
    // nothing that a client sends can skip a step.
    let mut admitted = None;
    loop {
        let step = server.step(&mut client.seen).map_err(|error| match error {
            SocksError::Method if auth.is_some() => Unserved::NoCredentials(SocksVersion::V5),
            error => Unserved::Bad(error),
        });
        match step? {
            SocksStep::Read => {
                let read = read_ahead::read(&mut client.stream, &mut client.seen, READ_BYTES).await;
                if !matches!(read, Ok(1..)) {
                    return Err(Unserved::Ended);
                }
            }
            SocksStep::Send(message) => send(client, message).await?,
            SocksStep::Login(login) => {
                let known = auth::admit_login(&login.username, &login.password, auth);
                let is_empty = login.username.is_empty() && login.password.is_empty();
                admitted = Some(known.ok_or(match is_empty {
                    true => Unserved::NoCredentials(SocksVersion::V5),
                    false => Unserved::WrongCredentials,
                })?);
                send(client, server.accept_login()).await?;
            }
            SocksStep::Connect(SocksRequest { target, user }) => {
                // Without a login there are no credentials: SOCKS4 has none, and SOCKS5 can't get here if it needs them.
                let admitted = admitted.or_else(|| auth::admit_user(&user, auth));
                let version = server.version();
                return Ok((target, admitted.ok_or(Unserved::NoCredentials(version))?));
            }
        }
    }
}

async fn send(client: &mut Client, message: [u8; 2]) -> Result<(), Unserved> {
    client.send(&message).await.map_err(|_| Unserved::Ended)
}

impl Unserved {
    fn code(self) -> ReplyCode {
        match self {
            Self::Bad(error) => error.code(),
            Self::NoCredentials(_) | Self::WrongCredentials => ReplyCode(2),
            Self::Ended | Self::Slow => ReplyCode(1),
        }
    }
}

impl fmt::Display for Unserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended => f.write_str("it closed the connection"),
            Self::Slow => f.write_str("the rest of its request did not come in time"),
            Self::NoCredentials(SocksVersion::V5) => f.write_str(
                "the client sent no username and password, and `server.auth` asks for them; write them into its proxy \
                 URL",
            ),
            Self::NoCredentials(SocksVersion::V4) => f.write_str(
                "the client speaks SOCKS4, which has no password, and `server.auth` asks for one; let it use SOCKS5 or HTTP",
            ),
            Self::WrongCredentials => {
                f.write_str("the client's credentials are not those of `server.auth`")
            }
            Self::Bad(error) => error.fmt(f),
        }
    }
}

/// Returns the sort of line that the log has for `error`.
fn reason(error: SocksError) -> RefusalReason {
    match error {
        SocksError::Command(BIND) => RefusalReason::SocksBind,
        SocksError::Command(UDP_ASSOCIATE) => RefusalReason::SocksUdp,
        SocksError::Command(_) => RefusalReason::SocksCommand,
        SocksError::Method => RefusalReason::SocksMethod,
        SocksError::AddressType | SocksError::Host(_) | SocksError::NotText | SocksError::Port => {
            RefusalReason::SocksTarget
        }
        SocksError::Version | SocksError::PasswordVersion | SocksError::TooLong => {
            RefusalReason::Malformed
        }
    }
}

/// The answers to the request of a SOCKS client.
#[derive(Debug)]
struct SocksTunnel {
    server: SocksServer,
}

impl TunnelProtocol for SocksTunnel {
    fn protocol(&self) -> Protocol {
        Detected::Socks(self.server.version()).protocol()
    }

    fn established(&self, _returned: &[Field]) -> Cow<'static, [u8]> {
        self.server.success().into()
    }

    /// Returns a reply code. It has no room for words, so [`RequestLog::log`] has written them to the log.
    fn denied(&self, denial: Denial, _client: &Client) -> Vec<u8> {
        self.server.refusal(reply_code::of_denial(&denial))
    }

    fn failed(
        &self,
        _reply: &Reply,
        error: &ChainError,
        target: &Authority,
        _client: &Client,
    ) -> Vec<u8> {
        self.server.refusal(reply_code::of_failure(error, target))
    }
}

/// More than all messages of a client have together.
const READ_BYTES: usize = 1024;
