//! A machine that goes from the office home and back, again and again, while clients use the proxy.
//! `MOOLTIROUTE_SWITCHES` says how often.
#![cfg(target_os = "linux")]

use std::{
    cell::{Cell, RefCell},
    env,
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{TcpListener, TcpStream},
    task::{LocalSet, spawn_local},
    time,
};

use crate::support::{
    EchoOrigin, Namespace, Proxy, Says, connect, head, pause, ping, status, within,
};

/// More than a slow machine needs from an event to the new path. Without the event, the answer of the name server counts
/// for 30 s.
const NOT_BY_TIME: Duration = Duration::from_secs(10);

/// The network in which a request went its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Office,
    Home,
}

/// The present place, and what clients have met.
#[derive(Debug)]
struct Stage {
    proxy: SocketAddr,
    echo: SocketAddr,
    at: Cell<At>,
    /// When the last event came.
    event: Cell<Instant>,
    opened: Cell<usize>,
    echoed: Cell<usize>,
    failures: RefCell<Vec<String>>,
    is_over: Cell<bool>,
}

#[test]
fn a_hundred_switches_cut_no_tunnel_and_fail_no_request() {
    Namespace::run(OFFICE, |namespace| async move {
        LocalSet::new().run_until(switch_under_load(namespace)).await;
    });
}

#[expect(clippy::print_stdout, reason = "the figures of a full run are for people")]
async fn switch_under_load(namespace: Namespace) {
    let switches: u32 = env::var("MOOLTIROUTE_SWITCHES").map_or(10, |text| text.parse().unwrap());
    let (office, echo) = (office().await, EchoOrigin::start().await);
    namespace.add_link("lan0");
    namespace.ip("link set lan0 up");
    // Both ways lead to an echo in either network, so each failure is one of the proxy.
    let proxy = Proxy::start(&format!(
        "log: {{ access: false }}\nhops:\n  office: {{ kind: http-connect, address: \"{office}\", \
         enabled: {{ when: {{ resolves: proxy.test, into: 10.0.0.0/8 }} }} }}\nchains: {{ default: [office] }}\n"
    ))
    .await;
    let stage = Rc::new(Stage {
        proxy: proxy.address(),
        echo: echo.address(),
        at: Cell::new(At::Office),
        event: Cell::new(Instant::now()),
        opened: Cell::default(),
        echoed: Cell::default(),
        failures: RefCell::default(),
        is_over: Cell::new(false),
    });
    within("the first way", stage.comes(At::Office)).await;
    let openers: Vec<_> =
        (0..CLIENTS).map(|_| spawn_local(Rc::clone(&stage).keep_opening())).collect();
    let mut tunnels = Vec::new();
    let mut delays = Vec::new();
    for number in 0..switches {
        // Half of the tunnels begin in either network.
        if number < 2 {
            for _ in 0..CLIENTS / 2 {
                let (stage, (tunnel, _)) = (Rc::clone(&stage), stage.open().await.unwrap());
                tunnels.push(spawn_local(stage.keep_echoing(tunnel)));
            }
        }
        delays.push(stage.switch(&namespace, number).await);
        // Clients go on for a while in each network.
        time::sleep(STAY).await;
    }
    let generations = status(proxy.address()).await["generation"].as_u64().unwrap();
    stage.is_over.set(true);
    for client in openers.into_iter().chain(tunnels) {
        within("clients end", client).await.unwrap();
    }
    delays.sort();
    let p99 = delays[(delays.len() * 99).div_ceil(100) - 1];
    println!(
        "{switches} switches, {generations} generations: {} tunnels opened, {} echoes; event to new path p50 {:?}, \
         p99 {p99:?}, longest {:?}",
        stage.opened.get(),
        stage.echoed.get(),
        delays[delays.len() / 2],
        delays[delays.len() - 1]
    );
    assert_eq!(*stage.failures.borrow(), [""; 0]);
    assert!(stage.opened.get() > CLIENTS && stage.echoed.get() > CLIENTS);
    assert!(p99 < NOT_BY_TIME, "{delays:?}");
    assert!(generations <= u64::from(switches) + 1, "one generation for each switch");
    assert_eq!(proxy.other_lines(), [""; 0]);
}

impl Stage {
    /// Goes to the other network. Returns the time from the event until a request took its way.
    async fn switch(&self, namespace: &Namespace, number: u32) -> Duration {
        let (at, says, state) = match self.at.get() {
            At::Office => (At::Home, Says::NoSuchName, "down"),
            At::Home => (At::Office, OFFICE, "up"),
        };
        namespace.says(says);
        self.at.set(at);
        let began = Instant::now();
        namespace.ip(&format!("link set lan0 {state}"));
        self.event.set(Instant::now());
        within(&format!("switch {number}"), self.comes(at)).await;
        // Counted from before the command, so that it is never too short.
        began.elapsed()
    }

    async fn comes(&self, expected: At) {
        while self.open().await.map(|(_, at)| at) != Ok(expected) {
            pause().await;
        }
    }

    /// Opens a tunnel, and tells which way it went by the first byte.
    async fn open(&self) -> Result<(TcpStream, At), String> {
        let answer = connect(self.proxy, self.echo).await;
        if !answer.head.starts_with("HTTP/1.1 200 ") {
            return Err(answer.head);
        }
        let mut tunnel = answer.tunnel();
        tunnel.write_all(b"x").await.map_err(|error| error.to_string())?;
        let first = tunnel.read_u8().await.map_err(|error| error.to_string())?;
        if first == b'x' {
            return Ok((tunnel, At::Home));
        }
        let second = tunnel.read_u8().await.map_err(|error| error.to_string())?;
        assert_eq!([first, second], *b"Ox");
        Ok((tunnel, At::Office))
    }

    /// Opens one tunnel after the other. None may fail, and long after an event none may go the old way.
    async fn keep_opening(self: Rc<Self>) {
        while !self.is_over.get() {
            let (began, event, expected) = (Instant::now(), self.event.get(), self.at.get());
            match self.open().await {
                Ok((_, at)) => {
                    self.opened.set(self.opened.get() + 1);
                    let is_late = began.duration_since(event) > LATE && self.event.get() == event;
                    if is_late && at != expected {
                        self.fail(format!(
                            "{at:?} and not {expected:?}, {:?} after",
                            began - event
                        ));
                    }
                }
                Err(error) => self.fail(error),
            }
            time::sleep(PACE).await;
        }
    }

    /// Echoes through one tunnel, which may not end.
    async fn keep_echoing(self: Rc<Self>, mut tunnel: TcpStream) {
        while !self.is_over.get() {
            within("the echo", ping(&mut tunnel)).await;
            self.echoed.set(self.echoed.get() + 1);
            time::sleep(PACE).await;
        }
    }

    fn fail(&self, why: String) {
        self.failures.borrow_mut().push(why);
    }
}

/// The proxy of the office, which is its own target: an echo that begins with an `O`.
async fn office() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                head(&mut client).await;
                let (mut read, mut write) = client.split();
                // The client may be gone.
                let _ = write.write_all(b"HTTP/1.1 200 OK\r\n\r\nO").await;
                let _ = copy(&mut read, &mut write).await;
            });
        }
    });
    address
}

const OFFICE: Says = Says::Address(Ipv4Addr::new(10, 1, 2, 3));
/// The clients that open tunnels, and the tunnels that echo.
const CLIENTS: usize = 50;
/// The pause of each client between two steps.
const PACE: Duration = Duration::from_millis(100);
/// How long the machine stays in each network.
const STAY: Duration = Duration::from_millis(600);
/// A request that begins this long after an event may not take the old way. A busy machine may need some time to tell the
/// proxy of the event.
const LATE: Duration = Duration::from_millis(250);
