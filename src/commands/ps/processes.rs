//! Finds the processes at the other end of connections from this machine, on Linux.
//!
//! The kernel knows each TCP socket by its addresses and its inode, and lists each open file of a process as a link in
//! `/proc/PID/fd`; that of a socket names the inode. Only processes of the same user let their files be listed, so the
//! others stay unknown. All of it is read by the command and not by the proxy, whose traffic it can't delay.

mod inodes;
mod sock_diag;

use std::{fmt, fs, net::SocketAddr, os::fd::OwnedFd, path::Path, thread};

use foldhash::{HashMap, HashMapExt as _, HashSet};
use rustix::{
    fs::{CWD, Mode, OFlags, RawDir, openat, readlinkat_raw},
    net::AddressFamily,
    path::DecInt,
};
use serde::Serialize;

use crate::system::process_name::process_name;

/// A process at the other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ClientProcess {
    /// Its number.
    pub pid: u32,
    /// Its name, as the system knows it.
    pub name: String,
}

/// The sockets of this machine that are connected to a proxy, with their processes.
#[derive(Debug, Default)]
pub(crate) struct ClientSockets {
    known: HashSet<SocketAddr>,
    processes: HashMap<SocketAddr, ClientProcess>,
    ports: Vec<u16>,
    /// Whether sockets for IPv6 were looked for.
    has_ipv6: bool,
}

/// The processes of some clients, by the addresses that they connect from.
#[derive(Debug, Default)]
pub(crate) struct Processes(HashMap<SocketAddr, ClientProcess>);

impl ClientSockets {
    /// Finds the sockets that are connected to `listeners` of the proxy `proxy`, and their processes. The proxy itself has
    /// at least as many sockets as all of them, and is left out.
    ///
    /// The kernel is asked for the sockets that lead to these ports. `/proc/net/tcp`, with a line of text for each socket
    /// of the machine, takes several times as long to be written as all other steps of `ps` together.
    pub(crate) fn connected_to(listeners: &[SocketAddr], proxy: u32) -> Self {
        let ports: Vec<u16> = listeners.iter().map(SocketAddr::port).collect();
        let (inodes, has_ipv6) = match sock_diag::connected_to(&ports, AddressFamily::INET) {
            Ok(inodes) => (inodes, false),
            // A kernel may lack this interface, and a sandbox may forbid it.
            Err(_) => (inodes::connected_to(&ports), true),
        };
        let known = inodes.values().copied().collect();
        Self { known, processes: processes_of(inodes, proxy), ports, has_ipv6 }
    }

    /// Returns the processes of `clients`, by the addresses that they connect from. `older` are those of them that may have
    /// come by an address that the proxy no longer listens on.
    pub(crate) fn processes(
        mut self,
        clients: impl IntoIterator<Item = SocketAddr>,
        older: impl IntoIterator<Item = SocketAddr>,
        proxy: u32,
    ) -> Processes {
        let is_missing = |client: &SocketAddr| !self.known.contains(&canonical(*client));
        let mut inodes = inodes::of(older.into_iter().filter(is_missing));
        // A program may use a socket for IPv6 for all addresses, as Java does. The kernel looks through its whole table
        // again for those, so it is asked only if some client was not found.
        if !self.has_ipv6
            && clients.into_iter().any(|client| is_missing(&client))
            && let Ok(others) = sock_diag::connected_to(&self.ports, AddressFamily::INET6)
        {
            inodes.extend(others);
        }
        if !inodes.is_empty() {
            self.processes.extend(processes_of(inodes, proxy));
        }
        Processes(self.processes)
    }
}

impl Processes {
    /// Returns the process of the client at `address`.
    pub(crate) fn get(&self, address: SocketAddr) -> Option<&ClientProcess> {
        self.0.get(&canonical(address))
    }
}

impl ClientProcess {
    /// Returns its number.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }
}

impl fmt::Display for ClientProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.pid)
    }
}

/// Sockets by their inodes, with the address that each has at its own end.
type Inodes = HashMap<u64, SocketAddr>;

/// Looks through the open files of all processes until every socket was found.
fn processes_of(mut inodes: Inodes, proxy: u32) -> HashMap<SocketAddr, ClientProcess> {
    let mut found = HashMap::with_capacity(inodes.len());
    let Ok(processes) = fs::read_dir("/proc") else { return found };
    for process in processes.flatten() {
        // Going on could find nothing more, and a machine may have many thousand open files.
        if inodes.is_empty() {
            break;
        }
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if pid == proxy {
            continue;
        }
        // Fails for processes of other users.
        let Ok(files) = open_directory(&process.path().join("fd")) else { continue };
        let mut name = None;
        for inode in sockets_of(&files) {
            if let Some(address) = inodes.remove(&inode) {
                let name = name.get_or_insert_with(|| process_name(&process.path()));
                found.insert(address, ClientProcess { pid, name: name.clone() });
            }
        }
    }
    found
}

fn open_directory(path: &Path) -> rustix::io::Result<OwnedFd> {
    openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Returns the inodes of the sockets among the open files of a process, which the directory `files` lists.
///
/// A process may have ten thousand files, and the kernel takes 4 µs for the link of each. So several threads share the
/// work, and links are read from the open directory, since a whole path would take longer to look up.
fn sockets_of(files: &OwnedFd) -> Vec<u64> {
    let numbers = open_files(files);
    // Most processes have few files. The number of processors is not asked for those, since it is read from files.
    if numbers.len() < 2 * FILES_PER_THREAD_MIN {
        return linked_sockets(files, &numbers);
    }
    let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
    let share = numbers.len().div_ceil(threads).max(FILES_PER_THREAD_MIN);
    let (first, others) = numbers.split_at(share);
    thread::scope(|scope| {
        let others =
            others.chunks(share).map(|numbers| scope.spawn(|| linked_sockets(files, numbers)));
        let others: Vec<_> = others.collect();
        let mut inodes = linked_sockets(files, first);
        // A panic was reported already. The processes of these sockets stay unknown.
        others.into_iter().for_each(|other| inodes.extend(other.join().unwrap_or_default()));
        inodes
    })
}

/// Returns the numbers of the open files that the directory `files` lists.
fn open_files(files: &OwnedFd) -> Vec<u32> {
    let (mut numbers, mut buffer) = (Vec::new(), Vec::with_capacity(LISTING_BYTES));
    let mut listing = RawDir::new(files, buffer.spare_capacity_mut());
    while let Some(Ok(entry)) = listing.next() {
        // All but `.` and `..`.
        numbers.extend(entry.file_name().to_str().ok().and_then(|name| name.parse::<u32>().ok()));
    }
    numbers
}

/// Returns the inodes of the sockets that the links `numbers` in the directory `files` lead to.
fn linked_sockets(files: &OwnedFd, numbers: &[u32]) -> Vec<u64> {
    let mut link = [0; LINK_BYTES_MAX];
    let inode = |number: &u32| {
        let length = readlinkat_raw(files, DecInt::new(*number), &mut link).ok()?;
        link.get(..length).and_then(inode_in)
    };
    numbers.iter().filter_map(inode).collect()
}

/// Returns the inode of a socket that the link of an open file names.
fn inode_in(link: &[u8]) -> Option<u64> {
    let digits = link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    str::from_utf8(digits).ok()?.parse().ok()
}

/// Returns an IPv4 address that a socket for IPv6 has as the IPv4 address that its peer sees.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The room for a part of a listing. A file takes 24 bytes.
const LISTING_BYTES: usize = 16 * 1024;
/// Longer links are not sockets.
const LINK_BYTES_MAX: usize = 32;
/// More threads would wait for each other in the kernel.
const THREADS_MAX: usize = 4;
/// With fewer files to look at, a thread would not be worth its start.
const FILES_PER_THREAD_MIN: usize = 1_000;

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn the_process_of_a_connection_is_found() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            // The machine may lack IPv6.
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let listening = listener.local_addr().unwrap();
            let client = TcpStream::connect(listening).unwrap();
            let from = client.local_addr().unwrap();
            let found = ClientSockets::connected_to(&[listening], 0).processes([from], [], 0);
            assert_eq!(found.get(from).unwrap().pid, std::process::id());
            assert_eq!(found.get(listening), None, "this end is the proxy's own");
            let this = std::process::id();
            let without_this = ClientSockets::connected_to(&[listening], this);
            assert_eq!(without_this.processes([from], [], this).get(from), None);
            // The proxy listens elsewhere by now.
            let sockets = || ClientSockets::connected_to(&[SocketAddr::new(from.ip(), 1)], 0);
            assert_eq!(sockets().processes([from], [], 0).get(from), None);
            assert!(sockets().processes([from], [from], 0).get(from).is_some());
        }
    }

    #[test]
    fn all_threads_together_find_all_sockets() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let files = open_directory(Path::new("/proc/self/fd")).unwrap();
        let inodes = sockets_of(&files);
        assert!(!inodes.is_empty());
        let all: Vec<u32> = (0..3 * FILES_PER_THREAD_MIN as u32).collect();
        let found = linked_sockets(&files, &all);
        assert!(inodes.iter().any(|inode| found.contains(inode)), "{listener:?}");
    }

    #[test]
    fn only_the_link_of_a_socket_has_an_inode() {
        assert_eq!(inode_in(b"socket:[4711]"), Some(4711));
        for link in ["pipe:[4711]", "socket:[]", "socket:[47", "/socket:[1]", ""] {
            assert_eq!(inode_in(link.as_bytes()), None, "{link}");
        }
    }
}
