//! Asks the questions of conditions: the system's resolver for a name, a TCP port for a connection.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use dns_lookup::LookupErrorKind;
use mooltiroute_hops::{Authority, Host, thread_pool};
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{Instant, timeout_at},
};

use super::{Interfaces, Question};
use crate::system::own_lack::OwnLack;

/// The result of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// The name has these addresses.
    Addresses(Vec<IpAddr>),
    /// There is no such name, or it has no address.
    NoAddress,
    /// The connection was accepted.
    Connected,
    /// The connection was refused, or nothing came in time.
    NotConnected,
    /// Nothing was heard that decides it, for this reason.
    Nothing(Arc<str>),
}

/// Asks `question`, and waits a bounded time for the answer.
pub(super) async fn ask(question: Question) -> Finding {
    match question {
        Question::Addresses(name) => look_up(name, Instant::now() + LOOKUP_MAX).await,
        Question::Connection(address) => connect(&address).await,
    }
}

/// Looks up a name as the dial to a hop does: by the system's resolver, with its hosts file, its search list and the
/// name servers that it has for some domains only, as VPNs set them.
///
/// The standard library's look-up hides whether a name server has said that the name does not exist or whether none
/// has answered. The codes of getaddrinfo tell that apart. A thread waits for the answer, longer than this function if
/// the name server is silent: the system's own limits end it.
async fn look_up(name: Arc<str>, until: Instant) -> Finding {
    let addresses = move || dns_lookup::lookup_host(&name).map(|found| found.collect::<Vec<_>>());
    match timeout_at(until, thread_pool::run(addresses)).await {
        Ok(Ok(Ok(found))) if found.is_empty() => Finding::NoAddress,
        Ok(Ok(Ok(found))) => Finding::Addresses(found.iter().map(IpAddr::to_canonical).collect()),
        Ok(Ok(Err(error))) => failed(error.kind()),
        Ok(Err(_)) => Finding::Nothing("the look-up did not end".into()),
        Err(_) => Finding::Nothing("the name server does not answer".into()),
    }
}

/// Tells an answer that there is no address from everything that is no answer: SERVFAIL, silence, no name server.
fn failed(kind: LookupErrorKind) -> Finding {
    match kind {
        // Linux says this only if a name server did. Other systems also say it when there is no network.
        LookupErrorKind::NoName | LookupErrorKind::NoData => {
            let may_be_offline = cfg!(not(target_os = "linux"));
            if may_be_offline && Interfaces::list().is_none_or(|all| all.is_offline()) {
                return Finding::Nothing("this machine has no network".into());
            }
            Finding::NoAddress
        }
        LookupErrorKind::Again => {
            Finding::Nothing("no name server answers, or it can't look the name up now".into())
        }
        _ => Finding::Nothing("the system's resolver failed".into()),
    }
}

/// Connects to any address of `target`. A name that can't be looked up leaves it open whether the target is there.
async fn connect(target: &Authority) -> Finding {
    let until = Instant::now() + CONNECT_MAX;
    let addresses = match target.host() {
        Host::Address(address) => vec![*address],
        Host::Name(name) => match look_up(name.clone(), until).await {
            Finding::Addresses(addresses) => addresses,
            Finding::NoAddress => return Finding::NotConnected,
            other => return other,
        },
    };
    // All addresses at once, since one that swallows packets would use up the time of the others.
    let mut attempts = JoinSet::new();
    for address in addresses.into_iter().take(ADDRESSES_MAX) {
        let address = SocketAddr::new(address, target.port());
        attempts.spawn(async move {
            let connected = TcpStream::connect(address).await;
            connected.map_err(|error| OwnLack::of_connect(&error, address))
        });
    }
    let mut own_lack = None;
    while let Ok(Some(attempt)) = timeout_at(until, attempts.join_next()).await {
        match attempt {
            Ok(Ok(_)) => return Finding::Connected,
            Ok(Err(lack)) => own_lack = own_lack.or(lack),
            Err(_) => {}
        }
    }
    // A lack of this machine says nothing about the target. Taken for a refusal, it could switch hops off.
    match own_lack {
        Some(OwnLack::Descriptors) => {
            Finding::Nothing("this process has too many open files".into())
        }
        Some(OwnLack::Memory) => {
            Finding::Nothing("the system has no memory for a connection".into())
        }
        Some(OwnLack::Ports) => Finding::Nothing("no local port is free".into()),
        None => Finding::NotConnected,
    }
}

/// How long a name server may take. Public ones answer within a tenth of it.
const LOOKUP_MAX: Duration = Duration::from_secs(5);
/// How long a look-up and a connection may take together.
const CONNECT_MAX: Duration = Duration::from_millis(2500);
/// More addresses of one name are not tried.
const ADDRESSES_MAX: usize = 8;
