//! Finds the processes at the other end of connections from this machine, on Linux.
//!
//! The kernel lists each TCP socket with its addresses and its inode in `/proc/net/tcp`, and each open file of a process
//! as a link in `/proc/PID/fd`; that of a socket names the inode. Only processes of the same user let their files be
//! listed, so the others stay unknown. All of it is read by the command and not by the proxy, whose traffic it can't
//! delay.

use std::{
    collections::{HashMap, HashSet},
    fmt, fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

use serde::Serialize;

/// A process at the other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ClientProcess {
    /// Its number.
    pub pid: u32,
    /// Its name, as the system knows it.
    pub name: String,
}

/// The processes of some clients.
#[derive(Debug, Default)]
pub(crate) struct Processes(HashMap<SocketAddr, ClientProcess>);

impl Processes {
    /// Finds the processes of `clients`, by the addresses that they connect from. The proxy, process `proxy`, has at least
    /// as many sockets as all of them, and is left out.
    pub(crate) fn of(clients: impl Iterator<Item = SocketAddr>, proxy: u32) -> Self {
        let mut wanted: HashSet<SocketAddr> = clients.map(canonical).collect();
        let mut by_inode = HashMap::new();
        for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
            let table = fs::read_to_string(table).unwrap_or_default();
            for (address, inode) in table.lines().skip(1).filter_map(socket) {
                // The client's end of a connection from this machine is listed as a socket of its own, by the
                // address that the proxy sees as its peer.
                if wanted.remove(&address) {
                    by_inode.insert(inode, address);
                }
            }
        }
        Self(processes_of(by_inode, proxy))
    }

    /// Returns the process of the client at `address`.
    pub(crate) fn get(&self, address: SocketAddr) -> Option<&ClientProcess> {
        self.0.get(&canonical(address))
    }
}

impl fmt::Display for ClientProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.pid)
    }
}

/// Looks through the open files of all processes until every socket was found.
fn processes_of(
    mut by_inode: HashMap<u64, SocketAddr>,
    proxy: u32,
) -> HashMap<SocketAddr, ClientProcess> {
    let mut found = HashMap::new();
    let Ok(processes) = fs::read_dir("/proc") else { return found };
    for process in processes.flatten() {
        // Going on could find nothing more, and a machine may have many thousand open files.
        if by_inode.is_empty() {
            break;
        }
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if pid == proxy {
            continue;
        }
        // Fails for processes of other users.
        let Ok(files) = fs::read_dir(process.path().join("fd")) else { continue };
        let mut name = None;
        for file in files.flatten() {
            let Some(inode) = inode_of(&file.path()) else { continue };
            if let Some(address) = by_inode.remove(&inode) {
                let name = name.get_or_insert_with(|| process_name(&process.path()));
                found.insert(address, ClientProcess { pid, name: name.clone() });
            }
        }
    }
    found
}

/// Returns the name of a process. It chooses that itself, so control characters are left out.
fn process_name(process: &Path) -> String {
    let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
    name.chars().filter(|character| !character.is_control()).collect()
}

/// Returns the inode of a socket among the open files of a process.
fn inode_of(file: &Path) -> Option<u64> {
    let target = fs::read_link(file).ok()?;
    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Reads a line of the kernel's table: its own address, and the inode. Returns `None` for a connection that has ended and
/// only waits for late packets: it belongs to no process, and another connection may already use its address.
fn socket(line: &str) -> Option<(SocketAddr, u64)> {
    let mut words = line.split_ascii_whitespace();
    let address = words.nth(1)?;
    let inode = words.nth(7)?.parse().ok().filter(|inode| *inode != 0)?;
    Some((canonical(parse_address(address)?), inode))
}

/// Reads an address as the kernel writes it: the words of the address in the byte order of the machine, and the port.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let word = |index: usize| u32::from_str_radix(ip.get(index * 8..index * 8 + 8)?, 16).ok();
    let ip = match ip.len() {
        8 => IpAddr::from(Ipv4Addr::from(word(0)?.to_ne_bytes())),
        32 => {
            let mut bytes = [0; 16];
            for (index, part) in bytes.chunks_exact_mut(4).enumerate() {
                part.copy_from_slice(&word(index)?.to_ne_bytes());
            }
            IpAddr::from(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

/// Returns an IPv4 address that a socket for IPv6 has as the IPv4 address that its peer sees.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn addresses_are_read_as_the_kernel_writes_them() {
        let read = |text: &str| parse_address(text).map(|address| address.to_string());
        assert_eq!(read("0100007F:22B8").as_deref(), Some("127.0.0.1:8888"));
        let six = "00000000000000000000000001000000:0050";
        assert_eq!(read(six).as_deref(), Some("[::1]:80"));
        for bad in ["", "0100007F", "0100007F:", ":22B8", "0100007G:22B8", "01:22B8", "é100007F:1"]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn a_connection_that_has_ended_has_no_process() {
        let line = |inode| {
            format!(
                "0: 0100007F:22B8 0100007F:0050 06 00000000:00000000 03:0F 00000000 0 0 {inode} 3 0"
            )
        };
        assert_eq!(socket(&line("77")).map(|(_, inode)| inode), Some(77));
        assert_eq!(socket(&line("0")), None);
    }

    #[test]
    fn the_process_of_a_connection_is_found() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            // The machine may lack IPv6.
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let from = client.local_addr().unwrap();
            let found = Processes::of([from].into_iter(), 0);
            assert_eq!(found.get(from).unwrap().pid, std::process::id());
            let nobody = SocketAddr::new(from.ip(), 1);
            assert_eq!(Processes::of([nobody].into_iter(), 0).get(nobody), None);
        }
    }
}
