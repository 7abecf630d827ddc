//! A network for one test: a namespace of Linux, with a name server that answers as the test wants.

use std::{
    fs,
    future::Future,
    net::Ipv4Addr,
    panic,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    thread,
};

use nix::{
    mount::{MsFlags, mount, umount},
    sched::{CloneFlags, unshare},
};
use tempfile::TempDir;
use tokio::{net::UdpSocket, runtime::Builder};

use super::skip;

/// A network namespace, in which a test and every process that it starts run.
#[derive(Debug)]
pub(crate) struct Namespace {
    directory: TempDir,
    names: Arc<Mutex<Names>>,
}

/// How the name server answers.
#[derive(Clone, Debug)]
pub(crate) enum Says {
    /// Every name has this address.
    Address(Ipv4Addr),
    /// No name exists.
    NoSuchName,
    /// Every look-up fails.
    Failure,
    /// It does not answer.
    Nothing,
}

#[derive(Debug)]
struct Names {
    says: Says,
    queries: usize,
}

impl Namespace {
    /// Runs `test` in a network of its own, with the loopback interface and a name server. Skips it if this user may not make
    /// namespaces.
    pub(crate) fn run<F: Future<Output = ()>>(
        says: Says,
        test: impl FnOnce(Self) -> F + Send + 'static,
    ) {
        // A namespace belongs to a thread, so each test has one of its own.
        let ended = thread::spawn(move || {
            let Some(namespace) = Self::enter(says) else {
                return skip("the right to make network namespaces");
            };
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let server = UdpSocket::bind("127.0.0.1:53").await.unwrap();
                tokio::spawn(answer(server, Arc::clone(&namespace.names)));
                test(namespace).await;
            });
            runtime.shutdown_background();
        })
        .join();
        if let Err(panicked) = ended {
            panic::resume_unwind(panicked);
        }
    }

    fn enter(says: Says) -> Option<Self> {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).ok()?;
        let none: Option<&str> = None;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).ok()?;
        let directory = tempfile::tempdir().unwrap();
        let names = Arc::new(Mutex::new(Names { says, queries: 0 }));
        let namespace = Self { directory, names };
        namespace.write_resolver(RESOLVER);
        let file = namespace.resolver_file();
        mount(Some(&file), "/etc/resolv.conf", none, MsFlags::MS_BIND, none).ok()?;
        namespace.ip("link set lo up");
        Some(namespace)
    }

    /// Runs `ip` with `arguments`.
    pub(crate) fn ip(&self, arguments: &str) {
        let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
        assert!(status.success(), "ip {arguments}");
    }

    /// Adds a pair of interfaces, of which `name` is down.
    pub(crate) fn add_link(&self, name: &str) {
        self.ip(&format!("link add name {name} type veth peer name peer-{name}"));
        self.ip(&format!("link set peer-{name} up"));
    }

    /// Hides a file behind an empty one, for the test and its processes only.
    pub(crate) fn cover(&self, file: &Path) {
        let empty = self.directory.path().join("empty");
        fs::write(&empty, "").unwrap();
        let none: Option<&str> = None;
        mount(Some(&empty), file, none, MsFlags::MS_BIND, none).unwrap();
    }

    /// Shows a covered file again.
    #[expect(clippy::unused_self, reason = "only the owner of the namespace changes it")]
    pub(crate) fn uncover(&self, file: &Path) {
        umount(file).unwrap();
    }

    /// Changes the answers of the name server.
    pub(crate) fn says(&self, says: Says) {
        self.names.lock().unwrap().says = says;
    }

    /// Returns how many queries the name server has heard.
    pub(crate) fn queries(&self) -> usize {
        self.names.lock().unwrap().queries
    }

    /// Writes another configuration of the system's resolver.
    pub(crate) fn write_resolver(&self, text: &str) {
        fs::write(self.resolver_file(), text).unwrap();
    }

    fn resolver_file(&self) -> PathBuf {
        self.directory.path().join("resolv.conf")
    }
}

/// The name server of the namespace.
pub(crate) const RESOLVER: &str = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n";

async fn answer(server: UdpSocket, names: Arc<Mutex<Names>>) {
    let mut query = [0; 1500];
    while let Ok((length, client)) = server.recv_from(&mut query).await {
        let says = {
            let mut names = names.lock().unwrap();
            names.queries += 1;
            names.says.clone()
        };
        if let Some(answer) = message(&query[..length], &says) {
            let _ = server.send_to(&answer, client).await;
        }
    }
}

/// Builds the answer to a query of one question (RFC 1035 §4).
fn message(query: &[u8], says: &Says) -> Option<Vec<u8>> {
    let labels = query.get(12..)?.iter().position(|byte| *byte == 0)?;
    let question = query.get(12..12 + labels + 5)?;
    let is_for_v4 = question[labels + 1..labels + 3] == [0, 1];
    let (code, address) = match says {
        Says::Address(address) => (0, Some(address).filter(|_| is_for_v4)),
        Says::NoSuchName => (3, None),
        Says::Failure => (2, None),
        Says::Nothing => return None,
    };
    let mut answer = query.get(..2)?.to_vec();
    answer.extend([0x81, 0x80 | code, 0, 1, 0, u8::from(address.is_some()), 0, 0, 0, 0]);
    answer.extend(question);
    if let Some(address) = address {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}
