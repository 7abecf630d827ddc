//! Those who are measured.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use tempfile::TempDir;

use super::{
    door::Door,
    network::Network,
    process::{self, Process},
    programs,
    role::Role,
};

/// One who passes tunnels on.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) name: &'static str,
    pub(super) sort: Sort,
    /// As the program itself says it.
    pub(super) version: String,
    /// How many hops it can be told to go through.
    pub(super) hops_max: usize,
    program: PathBuf,
    prepare: fn(&Setting<'_>, &mut Command),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// Our bare relay, which goes through the hops by itself: the limit.
    Limit,
    /// Our bare proxy: the least that one costs which reads CONNECT and answers it.
    Least,
    /// Passes all bytes to where the way begins; the client goes through the hops.
    Passage,
    /// This program.
    Ours,
    /// This program with spare tunnels at hand.
    Warm,
    /// Another proxy.
    Other,
}

/// What a program is configured with.
#[derive(Debug)]
pub(super) struct Setting<'a> {
    /// Where it is to listen.
    pub(super) listen: SocketAddr,
    /// Where its files may be.
    pub(super) directory: &'a Path,
    /// The hops it is to go through.
    pub(super) hops: &'a [SocketAddr],
    /// Where the way begins: the first hop, or the origin.
    pub(super) first: SocketAddr,
}

/// A peer at work.
#[derive(Debug)]
pub(super) struct Running {
    // First, so that it has ended when its directory is removed.
    process: Process,
    _directory: TempDir,
    pub(super) door: Door,
    /// From its start until it accepted.
    pub(super) started: Duration,
}

impl Peer {
    /// The limit, this program, and whichever others are there; also the names of those who are not.
    pub(super) fn all() -> (Vec<Self>, Vec<&'static str>) {
        let mut missing = Vec::new();
        let known = programs::ALL.iter().filter_map(|known| {
            let program = (known.find)();
            if program.is_none() {
                missing.push(known.name);
            }
            let program = program?;
            let version = known.version.map_or_else(String::new, |flag| version(&program, flag));
            let (name, sort, hops_max) = (known.name, known.sort, known.hops_max);
            Some(Self { name, sort, version, hops_max, program, prepare: known.prepare })
        });
        (known.collect(), missing)
    }

    /// Starts it on the way through the first `hops` hops; fails with its words.
    pub(super) fn start(&self, network: &Network, hops: usize) -> Result<Running, String> {
        let directory = scratch();
        let listen = process::free_address();
        let stops = network.stops(hops);
        let mut command = match self.sort {
            Sort::Limit => Role::Relay(stops.clone()).command(listen),
            Sort::Least => Role::Hop(network.hops(hops).to_vec()).command(listen),
            Sort::Passage | Sort::Ours | Sort::Warm | Sort::Other => Command::new(&self.program),
        };
        let (hops, origin) = (network.hops(hops), network.origin());
        let setting = Setting { listen, directory: directory.path(), hops, first: stops[0] };
        (self.prepare)(&setting, &mut command);
        let (process, started) = Process::listening(command, listen, directory.path())?;
        let door = match self.sort {
            Sort::Limit => Door::relay(listen, &[origin]),
            Sort::Passage => Door::relay(listen, &stops),
            Sort::Least | Sort::Ours | Sort::Warm | Sort::Other => Door::proxy(listen, origin),
        };
        Ok(Running { process, _directory: directory, door, started })
    }
}

impl Running {
    pub(super) fn process(&self) -> u32 {
        self.process.id()
    }
}

/// The first line that a program says of itself.
fn version(program: &Path, flag: &str) -> String {
    let output = Command::new(program).arg(flag).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.unwrap_or_default().lines().next().unwrap_or_default().trim().to_owned()
}

/// A directory that a program can write to after it let go of being root.
fn scratch() -> TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let everybody = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(&directory, everybody).unwrap();
    directory
}
