//! The programs that are measured.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use tempfile::TempDir;

use super::{
    door::Door,
    login::LoginScheme,
    login_programs,
    network::Network,
    process::{self, Process},
    programs,
    role::Role,
};

/// A program whose tunnels are measured.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) name: &'static str,
    pub(super) sort: Sort,
    /// The version, as the program prints it.
    pub(super) version: String,
    /// The most hops that it can be configured for.
    pub(super) hops_max: usize,
    program: PathBuf,
    prepare: fn(&Setting<'_>, &mut Command),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// The bare relay, which goes through the hops itself. No program can cost less.
    Limit,
    /// The bare proxy. No program that reads CONNECT and answers it can cost less.
    Least,
    /// A relay that moves all bytes to the first stop; the client goes through the hops.
    Passage,
    /// Mooltiroute.
    Ours,
    /// Mooltiroute with spare tunnels.
    Warm,
    /// An earlier build of Mooltiroute.
    Before,
    /// Another proxy.
    Other,
    /// Mooltiroute with two threads.
    OursTwo,
    /// A proxy whose clients use TLS.
    TlsListener(Side),
    /// A proxy whose only hop is behind TLS.
    TlsHop(Side),
    /// A proxy whose only hop wants a login by this scheme.
    Login(LoginScheme, Side),
    /// Mooltiroute, with clients that use SOCKS5.
    OursSocks,
    /// Another proxy that speaks SOCKS5.
    OtherSocks,
}

impl Sort {
    /// Returns whether a peer of this sort is Mooltiroute or the bare relay. These are always available and must not fail.
    pub(super) fn is_ours_or_limit(self) -> bool {
        match self {
            Self::Limit | Self::Ours | Self::Warm | Self::OursTwo | Self::OursSocks => true,
            Self::TlsListener(side) | Self::TlsHop(side) | Self::Login(_, side) => {
                side == Side::Ours
            }
            Self::Least | Self::Passage | Self::Before | Self::Other | Self::OtherSocks => false,
        }
    }
}

/// The part that a program plays in a measurement with TLS or with a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Ours,
    /// Another proxy.
    Proxy,
    /// A relay that adds or removes TLS and moves all bytes to the first stop.
    Passage,
}

/// The values that a program is configured with.
#[derive(Debug)]
pub(super) struct Setting<'a> {
    /// The address to listen on.
    pub(super) listen: SocketAddr,
    /// A directory for its files.
    pub(super) directory: &'a Path,
    /// The hops to go through.
    pub(super) hops: &'a [SocketAddr],
    /// The first stop: the first hop, or the origin.
    pub(super) first: SocketAddr,
    /// The directory of the certificate and its key.
    pub(super) credentials: &'a Path,
    /// The directory of the Kerberos tickets.
    pub(super) kerberos: Option<&'a Path>,
}

/// A running peer.
#[derive(Debug)]
pub(super) struct Running {
    // First, so that it has ended before its directory is removed.
    process: Process,
    _directory: TempDir,
    /// Speaks TLS for the clients.
    _tls: Option<Process>,
    pub(super) door: Door,
    /// The time from its start until it accepted.
    pub(super) started: Duration,
}

impl Peer {
    /// Returns the bare relay, Mooltiroute and the programs that are installed, and the names of those that are not.
    pub(super) fn all() -> (Vec<Self>, Vec<&'static str>) {
        let mut missing = Vec::new();
        let all = programs::ALL.iter().chain(&login_programs::ALL);
        let known = all.filter_map(|known| {
            let program = (known.find)();
            if program.is_none() && known.sort != Sort::Before {
                missing.push(known.name);
            }
            let program = program?;
            let version = known.version.map_or_else(String::new, |flag| version(&program, flag));
            let (name, sort, hops_max) = (known.name, known.sort, known.hops_max);
            Some(Self { name, sort, version, hops_max, program, prepare: known.prepare })
        });
        (known.collect(), missing)
    }

    /// Starts the peer with the first `hops` hops. An error holds the output of the peer.
    pub(super) fn start(&self, network: &Network, hops: usize) -> Result<Running, String> {
        let directory = scratch();
        let listen = process::free_address();
        let mut stops = network.stops(hops);
        let mut hops = network.hops(hops).to_vec();
        let only_hop = match self.sort {
            Sort::TlsHop(_) => Some(network.secure_hop()),
            Sort::Login(scheme, _) => Some(network.login_hop(scheme)),
            _ => None,
        };
        if let Some(hop) = only_hop {
            (stops[0], hops) = (hop, vec![hop]);
        }
        let mut command = match self.sort {
            Sort::Limit => Role::Relay(stops.clone()).command(listen),
            Sort::Least => Role::Hop(hops.clone()).command(listen),
            Sort::Passage
            | Sort::Ours
            | Sort::Warm
            | Sort::Before
            | Sort::Other
            | Sort::OursTwo
            | Sort::TlsListener(_)
            | Sort::TlsHop(_)
            | Sort::Login(..)
            | Sort::OursSocks
            | Sort::OtherSocks => Command::new(&self.program),
        };
        let (origin, credentials, first) = (network.origin(), network.credentials(), stops[0]);
        let directory_path = directory.path();
        let setting = Setting {
            listen,
            directory: directory_path,
            hops: &hops,
            first,
            credentials,
            kerberos: network.kerberos(),
        };
        (self.prepare)(&setting, &mut command);
        let (process, started) = Process::listening(command, listen, directory.path())?;
        let tls = matches!(self.sort, Sort::TlsListener(_))
            .then(|| Process::part(&Role::TlsBegin(listen, credentials.to_owned())));
        let (tls, listen) = tls.map_or((None, listen), |(process, begin)| (Some(process), begin));
        let door = match self.sort {
            Sort::Limit => Door::relay(listen, &[origin]),
            Sort::Passage | Sort::TlsListener(Side::Passage) | Sort::TlsHop(Side::Passage) => {
                Door::relay(listen, &stops)
            }
            Sort::Least
            | Sort::Ours
            | Sort::OursTwo
            | Sort::Warm
            | Sort::Before
            | Sort::Other
            | Sort::TlsListener(_)
            | Sort::TlsHop(_)
            | Sort::Login(..) => Door::proxy(listen, origin),
            Sort::OursSocks | Sort::OtherSocks => Door::socks(listen, origin),
        };
        Ok(Running { process, _directory: directory, _tls: tls, door, started })
    }
}

impl Running {
    pub(super) fn process(&self) -> u32 {
        self.process.id()
    }
}

/// Returns the first line that a program prints about its version.
fn version(program: &Path, flag: &str) -> String {
    let output = Command::new(program).arg(flag).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.unwrap_or_default().lines().next().unwrap_or_default().trim().to_owned()
}

/// Makes a directory that a program can write to after it has dropped root.
fn scratch() -> TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let everybody = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(&directory, everybody).unwrap();
    directory
}
