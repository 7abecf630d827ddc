//! The roles of child processes. They run the same program, with an argument that no user gives.

use std::{
    env,
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    path::PathBuf,
    process::{self, Command},
    thread,
};

use tokio::{net::TcpListener, runtime};

use super::{
    hop, link,
    login::{self, LoginScheme},
    origin, relay, tls_ends,
};

/// The role of a child process.
#[derive(Clone, Debug)]
pub(super) enum Role {
    /// The end of every tunnel.
    Origin,
    /// A proxy that is as cheap as possible and goes through these others.
    Hop(Vec<SocketAddr>),
    /// A hop that wants a login.
    Login(LoginScheme),
    /// The limit, which moves bytes to the last of these stops through the others.
    Relay(Vec<SocketAddr>),
    /// A slow line to this stop.
    Link(SocketAddr),
    /// TLS that ends here, on the way to this stop. The credentials are in this directory.
    TlsEnd(SocketAddr, PathBuf),
    /// TLS that begins here, on the way to this stop.
    TlsBegin(SocketAddr, PathBuf),
}

impl Role {
    /// Returns the role that `arguments` ask for, or `None` if a user wrote them.
    pub(super) fn from_arguments(arguments: &[String]) -> Option<Self> {
        let [word, role, stops @ ..] = arguments else { return None };
        if word != WORD {
            return None;
        }
        let stops_in_order = || stops.iter().map(|stop| stop.parse().unwrap()).collect();
        match role.as_str() {
            "origin" => Some(Self::Origin),
            "hop" => Some(Self::Hop(stops_in_order())),
            "login" => {
                let scheme = LoginScheme::ALL.into_iter().find(|one| one.name() == stops[0]);
                Some(Self::Login(scheme.unwrap()))
            }
            "relay" => Some(Self::Relay(stops_in_order())),
            "tls-end" => Some(Self::TlsEnd(stops[0].parse().unwrap(), (&stops[1]).into())),
            "tls-begin" => Some(Self::TlsBegin(stops[0].parse().unwrap(), (&stops[1]).into())),
            "link" => Some(Self::Link(stops[0].parse().unwrap())),
            other => panic!("no part is called {other}"),
        }
    }

    /// Returns a command that starts a child in this role, listening on `address`.
    pub(super) fn command(&self, address: SocketAddr) -> Command {
        let mut command = Command::new(env::current_exe().unwrap());
        command.arg(WORD);
        match self {
            Self::Origin => command.arg("origin"),
            Self::Hop(hops) => command.arg("hop").args(hops.iter().map(ToString::to_string)),
            Self::Login(scheme) => command.arg("login").arg(scheme.name()),
            Self::Relay(stops) => command.arg("relay").args(stops.iter().map(ToString::to_string)),
            Self::TlsEnd(stop, files) => command.arg("tls-end").arg(stop.to_string()).arg(files),
            Self::TlsBegin(stop, files) => {
                command.arg("tls-begin").arg(stop.to_string()).arg(files)
            }
            Self::Link(stop) => command.arg("link").arg(stop.to_string()),
        };
        command.env(ADDRESS, address.to_string());
        command
    }

    /// Plays the role until standard input ends, which happens when the parent ends.
    pub(super) fn play(self) {
        thread::spawn(|| {
            let _ = io::stdin().read_to_end(&mut Vec::new());
            process::exit(0);
        });
        let address: SocketAddr = env::var(ADDRESS).unwrap().parse().unwrap();
        let runtime = runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind(address).await.unwrap();
            println!("{}", listener.local_addr().unwrap());
            io::stdout().flush().unwrap();
            match self {
                Self::Origin => origin::serve(listener).await,
                Self::Hop(hops) => hop::serve(listener, hops).await,
                Self::Login(scheme) => login::serve(listener, scheme).await,
                Self::Relay(stops) => relay::serve(listener, stops).await,
                Self::TlsEnd(stop, files) => tls_ends::end(listener, stop, &files).await,
                Self::TlsBegin(stop, files) => tls_ends::begin(listener, stop, &files).await,
                Self::Link(stop) => {
                    let listener = listener.into_std().unwrap();
                    listener.set_nonblocking(false).unwrap();
                    link::serve(&listener, stop);
                }
            }
        });
    }
}

const WORD: &str = "--part";
const ADDRESS: &str = "MOOLTIROUTE_BENCH_ADDRESS";
