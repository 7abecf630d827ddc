//! Measures the costs that grow with the number of routes, hops, members of a pool, tunnels and reloads.

use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{
    door::Door,
    load,
    network::Network,
    process::{self, Process},
    subject,
    suite::{self, megabytes},
    usage,
};

/// A cost at one count of something.
#[derive(Debug)]
pub(super) struct Grown {
    /// The kind of thing that is counted.
    pub(super) what: &'static str,
    pub(super) count: u64,
    pub(super) start: Duration,
    /// The processor time of one tunnel, or of one reload.
    pub(super) cpu: Duration,
    /// Resident memory, in MB.
    pub(super) resident: f64,
    pub(super) errors: u64,
}

/// Measures each cost at each count up to `most`, with `tunnels` tunnels each time.
pub(super) fn measure(network: &Network, (most, tunnels): (u64, u64)) -> Vec<Grown> {
    let kinds: [(&str, u64, Write); 3] =
        [("routes", 10_000, routes), ("hops", 1_000, hops), ("members of a pool", 10_000, members)];
    let mut all = Vec::new();
    for (what, limit, write) in kinds {
        for count in counts(most.min(limit)) {
            let mut mooltiroute =
                Mooltiroute::start(network, |hop, directory| write(count, hop, directory));
            all.push(mooltiroute.tunnels((what, count), tunnels));
        }
    }
    for count in counts(most.min((usage::open_files_max() as u64 / 2).saturating_sub(300))) {
        let mut mooltiroute = Mooltiroute::start(network, |_, _| DIRECT.to_owned());
        let (open, errors) = load::idle(&mooltiroute.door, mooltiroute.process.id(), count);
        let grown = mooltiroute.tunnels(("open tunnels", open.len() as u64), tunnels);
        all.push(Grown { errors: grown.errors + errors.count, ..grown });
    }
    let mut mooltiroute = Mooltiroute::start(network, |_, _| DIRECT.to_owned());
    let mut done = 0;
    for count in counts(most.min(1_000)) {
        all.push(mooltiroute.reloads(done, count));
        done = count;
    }
    all
}

/// Returns a configuration with the given number of something. Takes the address of a hop and a directory for other files.
type Write = fn(u64, SocketAddr, &Path) -> String;

/// Returns the powers of ten from 10 to `most`.
fn counts(most: u64) -> impl Iterator<Item = u64> {
    std::iter::successors(Some(10), |count| Some(count * 10))
        .take_while(move |count| *count <= most)
}

fn routes(count: u64, _: SocketAddr, _: &Path) -> String {
    let mut text = format!("{DIRECT}routes:\n");
    for number in 0..count {
        let _ = writeln!(text, "  - {{ hosts: [\"*.host{number}.example\"], chain: default }}");
    }
    text + "  - { chain: default }\n"
}

fn hops(count: u64, hop: SocketAddr, _: &Path) -> String {
    let mut text = "hops:\n".to_owned();
    for number in 0..count {
        let _ = writeln!(text, "  hop{number}: {{ kind: http-connect, address: \"{hop}\" }}");
    }
    text.push_str("chains:\n  default: [hop0]\n");
    for number in 1..count {
        let _ = writeln!(text, "  chain{number}: [hop{number}]");
    }
    text + "routes:\n  - { chain: default }\n"
}

/// Returns a pool of one proxy with many usernames.
fn members(count: u64, hop: SocketAddr, directory: &Path) -> String {
    let lines: String = (0..count).map(|number| format!("{hop}:user{number}:word\n")).collect();
    fs::write(directory.join("list.txt"), lines).unwrap();
    "hops:\n  exits: { kind: pool, members_from: { file: list.txt } }\nchains: { default: [exits] }\n"
        .to_owned()
}

/// A running Mooltiroute.
struct Mooltiroute {
    process: Process,
    directory: TempDir,
    config: PathBuf,
    text: String,
    door: Door,
    started: Duration,
}

impl Mooltiroute {
    /// Starts with the configuration that `write` returns for a hop and a directory for other files.
    fn start(network: &Network, write: impl Fn(SocketAddr, &Path) -> String) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listen = process::free_address();
        let text = format!(
            "server: {{ listen: \"{listen}\" }}\nlog: {{ level: error, access: false }}\n{}",
            write(network.hops(1)[0], directory.path())
        );
        let config = directory.path().join("config.yaml");
        fs::write(&config, &text).unwrap();
        let mut command = command(directory.path());
        command.args(["run", "-c"]).arg(&config);
        let (process, started) = Process::listening(command, listen, directory.path()).unwrap();
        let door = Door::proxy(listen, network.origin());
        Self { process, directory, config, text, door, started }
    }

    /// Opens `count` tunnels one after another.
    fn tunnels(&mut self, (what, of): (&'static str, u64), count: u64) -> Grown {
        load::tunnels(&self.door, self.process.id(), count / 5);
        let tally = load::tunnels(&self.door, self.process.id(), count);
        suite::settle();
        let cpu = tally.cpu / u32::try_from(tally.done.max(1)).unwrap();
        self.grown((what, of), cpu, tally.errors.count)
    }

    /// Reloads until the total is `count`, after `done` earlier reloads.
    fn reloads(&mut self, done: u64, count: u64) -> Grown {
        let before = usage::Cpu::of(self.process.id());
        let (begun, mut errors) = (Instant::now(), 0);
        for number in done..count {
            // Each edit has another meaning than the one before.
            let text = format!("{}timeouts: {{ connect: {}s }}\n", self.text, 5 + number % 2);
            fs::write(&self.config, text).unwrap();
            let reload = command(self.directory.path())
                .args(["reload", "-c"])
                .arg(&self.config)
                .stdout(Stdio::null())
                .status();
            errors += u64::from(!reload.is_ok_and(|status| status.success()));
            if begun.elapsed() > RELOADS_MAX {
                errors += 1;
                break;
            }
        }
        suite::settle();
        let cpu = usage::Cpu::of(self.process.id()).since(&before);
        self.grown(("reloads", count), cpu / u32::try_from(count - done).unwrap(), errors)
    }

    fn grown(&self, (what, count): (&'static str, u64), cpu: Duration, errors: u64) -> Grown {
        let resident = megabytes(usage::resident(self.process.id()));
        Grown { what, count, start: self.started, cpu, resident, errors }
    }
}

/// Returns a command of the program whose files go to `directory`.
fn command(directory: &Path) -> Command {
    let mut command = Command::new(subject::program());
    command.env_remove("MOOLTIROUTE_CONFIG").env_remove("RUST_LOG");
    command.env("XDG_STATE_HOME", directory).env_remove("STATE_DIRECTORY");
    command.env("XDG_RUNTIME_DIR", directory);
    command
}

const DIRECT: &str = "chains: { default: [] }\n";
const RELOADS_MAX: Duration = Duration::from_secs(60);
