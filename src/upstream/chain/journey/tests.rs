use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use mooltiroute_hops::{
    ChooseError, Description, Eventual, Hop, HopError, InvalidPreferences, Meaning, Party,
    Preferences, Refusal, Selection, Tunnel, async_trait,
};
use tokio::net::TcpListener;

use super::*;
use crate::{
    system::own_lack::OwnLack,
    upstream::{
        chain::{Cause, ChainHop, FailedAttempt, StepTimeouts},
        dial::{DialError, Dialer},
    },
};

/// Refuses with this status whatever has another port than `allowed`, and notes what it was asked for.
#[derive(Debug)]
struct Strict {
    address: Authority,
    allowed: u16,
    status: u16,
    asked: Mutex<Vec<u16>>,
}

#[async_trait]
impl Link for Strict {
    fn address(&self) -> &Authority {
        &self.address
    }

    async fn extend(&self, tunnel: Tunnel, next: &Authority) -> Result<Tunnel, HopError> {
        self.asked.lock().unwrap().push(next.port());
        if next.port() == self.allowed {
            return Ok(tunnel);
        }
        Err(Refusal::from_http(self.status, b"No", []).into())
    }
}

/// A hop at several ports, which reaches everything.
#[derive(Debug)]
struct Wide(Vec<Authority>);

#[async_trait]
impl Link for Wide {
    fn address(&self) -> &Authority {
        &self.0[0]
    }

    fn alternatives(&self) -> &[Authority] {
        &self.0[1..]
    }

    async fn extend(&self, tunnel: Tunnel, _: &Authority) -> Result<Tunnel, HopError> {
        Ok(tunnel)
    }
}

async fn chain(allowed: u16, status: u16) -> (Chain, Arc<Strict>, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().into();
    let strict = Arc::new(Strict { address, allowed, status, asked: Mutex::default() });
    let ports = [80, 3128, 443].map(|port| format!("exit.example:{port}").parse().unwrap());
    let hops = vec![
        ChainHop {
            name: "corporate".into(),
            hop: Arc::clone(&strict) as Arc<dyn Hop>,
            url: None,
            has_answered: Arc::default(),
        },
        ChainHop {
            name: "exit".into(),
            hop: Arc::new(Wide(ports.into())),
            url: None,
            has_answered: Arc::default(),
        },
    ];
    (Chain::new("default".into(), hops, TIMEOUTS, Dialer::default()), strict, listener)
}

async fn connect(chain: &Chain) -> Result<Tunnel, ChainError> {
    let (target, preferences) = ("target.example:443".parse().unwrap(), Preferences::default());
    let connected = chain
        .travel(&Request::new(&target, &preferences), super::super::Destination::Target, &())
        .await?;
    Ok(connected.tunnel)
}

const TIMEOUTS: StepTimeouts =
    StepTimeouts { connect: Duration::from_secs(5), handshake: Duration::from_secs(5) };

#[tokio::test]
async fn ports_are_tried_in_turn_and_the_one_that_works_is_remembered() {
    let (chain, strict, listener) = chain(3128, 403).await;
    connect(&chain).await.unwrap();
    assert_eq!(*strict.asked.lock().unwrap(), [80, 3128]);
    connect(&chain).await.unwrap();
    assert_eq!(*strict.asked.lock().unwrap(), [80, 3128, 3128]);
    for _ in 0..3 {
        listener.accept().await.unwrap();
    }
}

#[tokio::test]
async fn where_all_ports_are_refused_the_error_names_them() {
    let (chain, strict, _listener) = chain(1, 405).await;
    let error = connect(&chain).await.unwrap_err();
    let ports: Vec<_> = error.refused.iter().map(Authority::port).collect();
    assert_eq!(ports, [80, 3128, 443]);
    assert_eq!(*strict.asked.lock().unwrap(), [80, 3128, 443]);
}

#[tokio::test]
async fn another_answer_than_a_refusal_by_policy_tries_no_other_port() {
    for status in [407, 429, 502] {
        let (chain, strict, _listener) = chain(1, status).await;
        assert!(connect(&chain).await.unwrap_err().refused.is_empty());
        assert_eq!(*strict.asked.lock().unwrap(), [80], "{status}");
    }
}

#[tokio::test]
async fn a_remembered_port_that_fails_is_forgotten() {
    let (chain, _strict, _listener) = chain(3128, 403).await;
    connect(&chain).await.unwrap();
    assert!(chain.remembered[1].load().is_some());
    let stop = chain.remembered[1].load_full().unwrap();
    let (target, preferences) = ("target.example:443".parse().unwrap(), Preferences::default());
    let journey = Journey::new(&chain, &Request::new(&target, &preferences), &[]).await;
    let mut journey = journey.unwrap();
    assert_eq!(journey.hops()[1].address, *stop);
    let stage = Stage::new(chain.hops.get(1), None, Step::Extend, (*stop).clone());
    let error = chain.error(stage, HopError::Closed.into());
    let failed = FailedAttempt { index: 1, error, again: None, asked: Instant::now() };
    journey.detour(failed).await.unwrap_err();
    assert!(chain.remembered[1].load().is_none());
}

/// A link that fails in a configurable way.
#[derive(Debug)]
struct Told {
    address: Authority,
    refusal: Option<Refusal>,
}

#[async_trait]
impl Link for Told {
    fn address(&self) -> &Authority {
        &self.address
    }

    async fn extend(&self, tunnel: Tunnel, _: &Authority) -> Result<Tunnel, HopError> {
        match &self.refusal {
            Some(refusal) => Err(refusal.clone().into()),
            None => Ok(tunnel),
        }
    }
}

/// Chooses its links one after the other, and counts for each how it went.
#[derive(Debug, Default)]
struct Row {
    links: Vec<Arc<Told>>,
    reached: Vec<AtomicUsize>,
    failed: Vec<AtomicUsize>,
}

#[derive(Debug)]
struct RowChoice(Arc<Row>, usize);

impl Row {
    fn new(links: Vec<Told>) -> Arc<Self> {
        let counts = || links.iter().map(|_| AtomicUsize::new(0)).collect();
        let (reached, failed) = (counts(), counts());
        Arc::new(Self { links: links.into_iter().map(Arc::new).collect(), reached, failed })
    }

    fn at(self: Arc<Self>, index: usize) -> Option<Chosen> {
        let link = Arc::clone(self.links.get(index)?);
        let selection: Option<Box<dyn Selection>> = Some(Box::new(RowChoice(self, index)));
        Some(Chosen { selection, ..Chosen::new(link) })
    }

    fn counts(&self) -> Vec<(usize, usize)> {
        let both = self.reached.iter().zip(&self.failed);
        both.map(|(a, b)| (a.load(Ordering::Relaxed), b.load(Ordering::Relaxed))).collect()
    }
}

impl Hop for Row {
    fn describe(&self) -> Description<'_> {
        Description::default()
    }

    fn choose(
        self: Arc<Self>,
        request: Request<'_>,
    ) -> Eventual<'static, Result<Chosen, ChooseError>> {
        Eventual::Ready(match request.preferences.country {
            Some(_) => Err(InvalidPreferences::NoCountry.into()),
            None => self.at(0).ok_or_else(|| HopError::Closed.into()),
        })
    }
}

impl Selection for RowChoice {
    fn member(&self) -> String {
        format!("row[{}]", self.1)
    }

    fn reached(&self) {
        self.0.reached[self.1].fetch_add(1, Ordering::Relaxed);
    }

    fn instead(self: Box<Self>) -> Eventual<'static, Option<Chosen>> {
        self.0.failed[self.1].fetch_add(1, Ordering::Relaxed);
        Eventual::Ready(self.0.at(self.1 + 1))
    }
}

fn row_chain(row: &Arc<Row>) -> Chain {
    let hop = ChainHop {
        name: "pool".into(),
        hop: Arc::clone(row) as Arc<dyn Hop>,
        url: None,
        has_answered: Arc::default(),
    };
    Chain::new("default".into(), vec![hop], TIMEOUTS, Dialer::default())
}

#[tokio::test]
async fn a_hop_that_can_not_be_reached_gives_way_to_the_one_in_its_place() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refusing = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let told = |address: std::net::SocketAddr| Told { address: address.into(), refusal: None };
    let row = Row::new(vec![told(refusing), told(listener.local_addr().unwrap())]);
    let chain = row_chain(&row);
    connect(&chain).await.unwrap();
    assert_eq!(row.counts(), [(0, 1), (1, 0)]);
    drop(listener);
    assert!(matches!(connect(&chain).await.unwrap_err().cause, Cause::Dial(_)));
    let preferences = "country-us".parse().unwrap();
    let target = "target.example:443".parse().unwrap();
    let error = chain
        .travel(&Request::new(&target, &preferences), super::super::Destination::Target, &())
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "chain `default` failed at hop `pool`, while it chose a proxy");
}

#[tokio::test]
async fn a_lack_of_this_machine_is_reported_to_no_selection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: Authority = listener.local_addr().unwrap().into();
    let told = || Told { address: address.clone(), refusal: None };
    let row = Row::new(vec![told(), told()]);
    let chain = row_chain(&row);
    let (target, preferences) = ("target.example:443".parse().unwrap(), Preferences::default());
    let lack = || std::io::Error::from_raw_os_error(EMFILE);
    let dialled = || DialError::OwnLack(OwnLack::Descriptors, lack()).into();
    let causes: [(Step, Cause, usize); 4] = [
        (Step::Dial, dialled(), 0),
        (Step::Enter, HopError::Tls(lack()).into(), 0),
        (Step::Extend, HopError::Io(lack()).into(), 0),
        // The counterpart: a connection that breaks is the member's failure.
        (Step::Extend, HopError::Io(std::io::ErrorKind::ConnectionReset.into()).into(), 1),
    ];
    for (step, cause, failures) in causes {
        let journey = Journey::new(&chain, &Request::new(&target, &preferences), &[]).await;
        let stage = Stage::new(chain.hops.first(), None, step, address.clone());
        let error = chain.error(stage, cause);
        let failed = FailedAttempt { index: 0, error, again: None, asked: Instant::now() };
        assert_eq!(journey.unwrap().detour(failed).await.is_err(), failures == 0, "{step:?}");
        assert_eq!(row.counts(), [(0, failures), (0, 0)], "{step:?}");
    }
    let journey = Journey::new(&chain, &Request::new(&target, &preferences), &[]).await;
    let stage = Stage::new(chain.hops.first(), None, Step::Extend, address.clone());
    let error = chain.error(stage, HopError::Io(lack()).into());
    journey.unwrap().give_up(&error);
    assert_eq!(row.counts(), [(0, 1), (0, 0)], "no more than before");
}

/// "Too many open files".
const EMFILE: i32 = if cfg!(windows) { 10_024 } else { 24 };

#[tokio::test]
async fn only_a_refusal_about_the_hop_itself_makes_a_selection_leave_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: Authority = listener.local_addr().unwrap().into();
    for (meaning, about, counts) in [
        (Meaning::TargetRefused, Party::Next, [(1, 0), (0, 0)]),
        (Meaning::UnknownName, Party::Next, [(1, 0), (0, 0)]),
        (Meaning::Unclear, Party::Next, [(1, 0), (0, 0)]),
        (Meaning::Credentials, Party::Hop, [(0, 1), (1, 0)]),
        (Meaning::Unclear, Party::Hop, [(0, 1), (1, 0)]),
    ] {
        let refusal = Some(Refusal::new(meaning, about, "no"));
        let (first, second) = (address.clone(), address.clone());
        let first = Told { address: first, refusal };
        let row = Row::new(vec![first, Told { address: second, refusal: None }]);
        let is_over = connect(&row_chain(&row)).await.is_err();
        assert_eq!((is_over, row.counts()), (about == Party::Next, counts.to_vec()), "{meaning:?}");
    }
}

#[tokio::test]
async fn a_loop_is_the_failure_of_no_member_and_no_other_one_is_asked() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: Authority = listener.local_addr().unwrap().into();
    let ours = "mooltiroute; error=connection_limit_reached";
    let (unanswered, over_limit) = (format!("{ours}; unanswered=19"), ours.to_owned());
    for (status, proxy_status, is_loop) in [
        (508, String::new(), true),
        (503, unanswered, true),
        // The counterpart: a member that has too many clients. Another one may have room.
        (503, over_limit, false),
    ] {
        let fields =
            [(&b"Retry-After"[..], &b"1"[..]), (&b"Proxy-Status"[..], proxy_status.as_bytes())];
        let refusal = Some(Refusal::from_http(status, b"", fields));
        let looping = Told { address: address.clone(), refusal };
        let row = Row::new(vec![looping, Told { address: address.clone(), refusal: None }]);
        let is_over = connect(&row_chain(&row)).await.is_err();
        let counts = if is_loop { [(1, 0), (0, 0)] } else { [(0, 1), (1, 0)] };
        assert_eq!((is_over, row.counts()), (is_loop, counts.to_vec()), "{status} {proxy_status}");
    }
}

/// Asks for a new connection so many times, and notes each.
#[derive(Clone, Debug)]
struct Insistent {
    address: Authority,
    agains: usize,
    pause: Duration,
    asked: Arc<AtomicUsize>,
}

#[async_trait]
impl Link for Insistent {
    fn address(&self) -> &Authority {
        &self.address
    }

    async fn extend(&self, tunnel: Tunnel, _: &Authority) -> Result<Tunnel, HopError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(self.pause).await;
        match self.agains.checked_sub(1) {
            Some(agains) => Err(HopError::Again(Arc::new(Self { agains, ..self.clone() }))),
            None => Ok(tunnel),
        }
    }
}

async fn insist(agains: usize, pause: Duration) -> (Result<Tunnel, ChainError>, usize) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().into();
    let asked = Arc::default();
    let hop = Arc::new(Insistent { address, agains, pause, asked: Arc::clone(&asked) });
    let hops =
        vec![ChainHop { name: "corporate".into(), hop, url: None, has_answered: Arc::default() }];
    let timeouts = StepTimeouts { handshake: Duration::from_millis(300), ..TIMEOUTS };
    let chain = Chain::new("default".into(), hops, timeouts, Dialer::default());
    let connected = connect(&chain).await;
    (connected, asked.load(Ordering::Relaxed))
}

#[tokio::test]
async fn a_hop_goes_on_over_two_new_connections_and_no_more() {
    for agains in 0..=2 {
        let (connected, asked) = insist(agains, Duration::ZERO).await;
        assert!(connected.is_ok());
        assert_eq!(asked, agains + 1);
    }
    let (connected, asked) = insist(3, Duration::ZERO).await;
    assert!(matches!(connected.unwrap_err().cause, Cause::Hop(HopError::Again(_))));
    assert_eq!(asked, 3);
}

#[tokio::test]
async fn new_connections_do_not_prolong_the_handshake() {
    let (connected, _) = insist(1, Duration::from_millis(200)).await;
    assert!(matches!(connected.unwrap_err().cause, Cause::Timeout(..)));
}
