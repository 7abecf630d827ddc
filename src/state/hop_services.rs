//! The services of the proxy for a hop that has to ask before it can choose.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use arc_swap::ArcSwap;
use mooltiroute_hops::{
    Authority, Eventual, Forwarder, KeptDocument, OpenError, PlainConnection, PlainRequest,
    Preferences, Request, RequestLine, SavedDocument, Secret, Services, SourceKind, SourceNews,
    Tunnel,
};
use tracing::{debug, info, warn};

use crate::{
    duration::{in_words, whole_seconds},
    error::with_causes,
    network::Network,
    state::{
        advice::state_advice_at,
        generation::{Generation, settled},
        saved_lists::SavedLists,
    },
    timestamp::rfc_3339,
    upstream::chain::{Chain, Connected, Destination},
};

/// The services for one hop, in every generation that has it.
///
/// They look for the chain when a connection is opened, and again when it is open. So a reload can't leave a hop with
/// services of a generation that is no longer in force, whatever the hop waits for at that moment.
#[derive(Debug)]
pub(crate) struct HopServices {
    /// The hop's name.
    pub hop: Arc<str>,
    /// The name of the chain through which it asks.
    pub via: Arc<str>,
    /// The generation in force. Weak, since that generation owns the hop, and the hop owns these services.
    pub in_force: Weak<ArcSwap<Generation>>,
    /// The facts about the network.
    pub network: Arc<Network>,
    /// The lists that are kept for the next start.
    pub lists: SavedLists,
}

impl Services for HopServices {
    fn open(&self, target: Authority) -> Eventual<'static, Result<Tunnel, OpenError>> {
        let (in_force, via) = (self.in_force.upgrade(), Arc::clone(&self.via));
        Eventual::later(async move {
            let (_, connected) = connect(in_force, &via, &target, Destination::Target).await?;
            Ok(connected.tunnel)
        })
    }

    fn open_plain(
        &self,
        target: Authority,
        uri: Secret,
    ) -> Eventual<'static, Result<PlainConnection, OpenError>> {
        let (in_force, via) = (self.in_force.upgrade(), Arc::clone(&self.via));
        Eventual::later(async move {
            let line = RequestLine { method: "GET", uri: &uri.expose() };
            let plain = PlainRequest::new(line, &target);
            let destination = Destination::Forwarder(plain);
            let (chain, connected) = connect(in_force, &via, &target, destination).await?;
            let Connected { tunnel, fields, last, is_at_hop, .. } = connected;
            let forwarder = last.filter(|_| is_at_hop).and_then(|last| {
                let name = Arc::clone(&chain.hops().get(last.position)?.name);
                Some(Forwarder { name, link: last.link, fields })
            });
            Ok(PlainConnection { tunnel, forwarder })
        })
    }

    fn network_epoch(&self) -> u64 {
        self.network.changes_so_far()
    }

    fn patience(&self) -> Duration {
        // Without a generation, nothing comes that is worth a wait.
        self.in_force.upgrade().map(|live| live.load().timeouts.connect).unwrap_or_default()
    }

    fn report(&self, kind: SourceKind, source: &str, news: SourceNews<'_>) {
        let hop = &*self.hop;
        match (kind, news) {
            (SourceKind::PacFile, SourceNews::Loaded { .. }) => {
                info!(hop, source, "PAC file loaded");
            }
            (SourceKind::PacFile, SourceNews::NotLoaded { problem, kept, retry }) => {
                let (in_use, next) = (in_use("PAC file", kept), next_fetch(retry));
                warn!(hop, source, problem, in_use, next, "PAC file not loaded");
            }
            (_, SourceNews::Loaded { members, before }) => {
                ListNews { hop, source, proxies: members, before }.log();
            }
            (_, SourceNews::NotLoaded { problem, kept, retry }) => {
                let (in_use, next) = (in_use("list", kept), next_fetch(retry));
                warn!(hop, source, problem, in_use, next, "list not loaded");
            }
            (_, SourceNews::Restored(KeptDocument { loaded, members })) => {
                let loaded = rfc_3339(loaded);
                info!(hop, source, proxies = members, loaded = %loaded, "list of an earlier run is in use until it is fetched");
            }
            (_, SourceNews::NotRestored(error)) => {
                warn!(hop, source, error, "the list of an earlier run can't be used");
            }
            (_, SourceNews::Doubtful(problem)) => {
                warn!(hop, source, problem, "list partly loaded");
            }
            (_, _) => {}
        }
    }

    fn said(&self, text: &str) {
        debug!(hop = &*self.hop, text, "the PAC file says");
    }

    fn saved(&self, name: &str) -> Option<SavedDocument> {
        let file = self.lists.path(name)?;
        let read = self.lists.read(name);
        read.inspect_err(|error| {
            warn!(hop = &*self.hop, file = %file.display(), %error, "the list of an earlier run can't be used");
        })
        .ok()?
    }

    fn save(&self, name: &str, document: &SavedDocument) {
        let Some(file) = self.lists.path(name) else { return };
        if let Err(error) = self.lists.write(name, document) {
            let advice = &*state_advice_at(&file, &error);
            warn!(hop = &*self.hop, file = %file.display(), %error, advice, "the list can't be kept for the next start");
        }
    }

    fn confirm(&self, name: &str) {
        if let Err(error) = self.lists.confirm(name) {
            debug!(hop = &*self.hop, %error, "the list that is kept for the next start can't be confirmed");
        }
    }
}

/// A list that came into use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListNews<'a> {
    /// The hop that has its members from it.
    pub hop: &'a str,
    /// The file, or the server of the URL.
    pub source: &'a str,
    /// The number of its proxies.
    pub proxies: Option<usize>,
    /// The number of proxies of the list before it, if there was one.
    pub before: Option<usize>,
}

impl ListNews<'_> {
    /// Returns whether more than half of the proxies are gone. A download that was cut short looks like this.
    pub(crate) fn is_shrunk(&self) -> bool {
        matches!((self.proxies, self.before), (Some(now), Some(before)) if now < before.div_ceil(2))
    }

    /// Logs the numbers.
    pub(crate) fn log(&self) {
        let Self { hop, source, proxies, before } = self;
        if self.is_shrunk() {
            warn!(
                hop,
                source,
                proxies,
                before,
                "list loaded, with less than half of the proxies that it had"
            );
        } else {
            info!(hop, source, proxies, before, "list loaded");
        }
    }
}

/// Opens a connection for a request for `target` through the chain `via` of the generation in force.
async fn connect(
    in_force: Option<Arc<ArcSwap<Generation>>>,
    via: &str,
    target: &Authority,
    destination: Destination<'_>,
) -> Result<(Arc<Chain>, Connected), OpenError> {
    let in_force = in_force.ok_or_else(ended)?;
    loop {
        let chain = chain_in_force(&in_force, via).await?;
        let preferences = Preferences::default();
        let request = Request::new(target, &preferences);
        let opened = chain.travel(&request, destination, &()).await;
        // A reload may have replaced the chain meanwhile, such as by one with a hop that was switched on. Then nothing is
        // sent on the old way, and its failure says nothing.
        if !in_force.load().chain(via).is_some_and(|now| Arc::ptr_eq(now, &chain)) {
            continue;
        }
        return match opened {
            Ok(connected) => Ok((chain, connected)),
            Err(error) => Err(OpenError(with_causes(&error))),
        };
    }
}

/// Says which document requests use after a fetch that failed.
fn in_use(noun: &str, kept: Option<KeptDocument>) -> String {
    let Some(KeptDocument { loaded, members }) = kept else {
        return format!("no {noun} has been loaded yet, so requests are refused");
    };
    let loaded = rfc_3339(loaded);
    match members {
        Some(members) => {
            let noun_of_members = if members == 1 { "proxy" } else { "proxies" };
            format!("the last good {noun}, of {loaded}, with {members} {noun_of_members}")
        }
        None => format!("the last good {noun}, of {loaded}"),
    }
}

/// Says when a document is asked for again. Without requests there is no traffic, so a time alone would promise too much.
fn next_fetch(retry: Duration) -> String {
    format!("the first request after {} fetches it again", in_words(whole_seconds(retry)))
}

/// Returns the chain `via` of the generation in force, once the conditions of the network that it depends on are decided.
async fn chain_in_force(
    in_force: &ArcSwap<Generation>,
    via: &str,
) -> Result<Arc<Chain>, OpenError> {
    let depends_on = |generation: &Generation| generation.dependence_of(via).cloned();
    let generation = settled(in_force, in_force.load_full(), depends_on).await;
    let generation = generation
        .map_err(|_| OpenError("a condition of the network is not decided".to_owned()))?;
    generation.chain(via).cloned().ok_or_else(ended)
}

fn ended() -> OpenError {
    OpenError("the chain is no longer in force".to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use mooltiroute_hops::kinds;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;
    use crate::{
        config::{Environment, Loader, Overrides, Source},
        state::generation::Live,
    };

    /// Loads a configuration whose chain `via` has the hop `vpn` at `address`, if `enabled` says so.
    fn load(address: &str, enabled: &str) -> crate::config::Config {
        let yaml = format!(
            "timeouts: {{ connect: 5s }}\n\
             hops: {{ vpn: {{ kind: http-connect, address: \"{address}\", enabled: {enabled} }} }}\n\
             chains: {{ default: [], via: [vpn] }}\n"
        );
        let environment = Environment::new(|_| None, Path::new(""));
        let source = Source::Text(yaml.into());
        Loader::new(source, Overrides::default(), kinds::builtin(), environment).load().unwrap()
    }

    /// Returns services that ask through the chain `via` of the generation in force. They own what is otherwise shared, so
    /// that they work without a proxy.
    fn services(in_force: &Arc<ArcSwap<Generation>>) -> HopServices {
        let network = Arc::clone(in_force.load().network());
        let (hop, via) = ("office".into(), "via".into());
        let lists = SavedLists::default();
        HopServices { hop, via, in_force: Arc::downgrade(in_force), network, lists }
    }

    /// Accepts one connection, answers its CONNECT, and returns the request.
    async fn asked(listener: &TcpListener) -> String {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut request = [0; 512];
        let length = client.read(&mut request).await.unwrap();
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        String::from_utf8_lossy(&request[..length]).into_owned()
    }

    #[tokio::test]
    async fn a_connection_that_waits_for_a_condition_takes_the_way_of_an_edit() {
        let vpn = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = vpn.local_addr().unwrap().to_string();
        // Nothing answers the question here, so the condition stays undecided.
        let undecided = "{ when: { resolves: vpn.test }, unknown: off }";
        let first = Generation::new(1, load(&address, undecided), vec![]);
        first.put_outcomes_in_force();
        let in_force = Arc::new(ArcSwap::from_pointee(first));
        let opening = services(&in_force).open("target.test:80".parse().unwrap()).wait();
        let edit = async {
            tokio::task::yield_now().await;
            let next = in_force.load().next(load(&address, "true"), vec![]);
            in_force.store(Arc::new(next));
            in_force.load().put_outcomes_in_force();
        };
        let (opened, (), asked) = tokio::join!(opening, edit, asked(&vpn));
        assert!(opened.is_ok(), "{opened:?}");
        assert!(asked.starts_with("CONNECT target.test:80 "), "{asked}");
    }

    #[tokio::test]
    async fn a_connection_whose_chain_is_replaced_while_it_is_made_is_made_again() {
        let (old, new) =
            tokio::join!(TcpListener::bind("127.0.0.1:0"), TcpListener::bind("127.0.0.1:0"));
        let (old, new) = (old.unwrap(), new.unwrap());
        let at = |listener: &TcpListener| listener.local_addr().unwrap().to_string();
        for answers in [true, false] {
            let first = Generation::new(1, load(&at(&old), "true"), vec![]);
            let in_force = Arc::new(ArcSwap::from_pointee(first));
            let opening = services(&in_force).open("target.test:80".parse().unwrap()).wait();
            let edit = async {
                let (mut client, _) = old.accept().await.unwrap();
                in_force.store(Arc::new(in_force.load().next(load(&at(&new), "true"), vec![])));
                if answers {
                    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                    // It is open until the other side gives it up.
                    client.read_to_end(&mut Vec::new()).await.unwrap();
                }
            };
            let (opened, (), asked) = tokio::join!(opening, edit, asked(&new));
            assert!(opened.is_ok(), "{opened:?}");
            assert!(asked.starts_with("CONNECT target.test:80 "), "{asked}");
        }
    }

    #[tokio::test]
    async fn services_end_with_the_proxy() {
        let live = Live::new(Generation::new(1, load("a.test:1", "true"), vec![]));
        let in_force = Arc::new(ArcSwap::new(live.current()));
        let services = services(&in_force);
        drop(in_force);
        let error = services.open("target.test:80".parse().unwrap()).wait().await.unwrap_err();
        assert_eq!(error, ended());
    }
}
