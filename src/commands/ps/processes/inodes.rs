//! The inodes of TCP sockets, from the kernel's tables in text.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use foldhash::{HashMapExt as _, HashSet};

use super::{Inodes, canonical};

/// A line of the kernel's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ListedSocket {
    local: SocketAddr,
    remote: SocketAddr,
    inode: u64,
}

/// Returns the sockets at the addresses of `clients`.
pub(super) fn of(clients: impl IntoIterator<Item = SocketAddr>) -> Inodes {
    let clients: HashSet<SocketAddr> = clients.into_iter().map(canonical).collect();
    if clients.is_empty() {
        return Inodes::new();
    }
    // The client's end of a connection from this machine is listed as a socket of its own, by the address that the
    // proxy sees as its peer.
    find(|socket| clients.contains(&socket.local))
}

/// Returns the sockets that are connected to `ports`.
pub(super) fn connected_to(ports: &[u16]) -> Inodes {
    find(|socket| ports.contains(&socket.remote.port()))
}

fn find(is_wanted: impl Fn(&ListedSocket) -> bool) -> Inodes {
    let mut found = Inodes::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let table = fs::read_to_string(table).unwrap_or_default();
        let wanted = table.lines().skip(1).filter_map(parse_line).filter(&is_wanted);
        found.extend(wanted.map(|socket| (socket.inode, socket.local)));
    }
    found
}

/// Reads a line. Returns `None` for a connection that has ended and only waits for late packets: it belongs to no process,
/// and another connection may already use its address.
fn parse_line(line: &str) -> Option<ListedSocket> {
    let mut words = line.split_ascii_whitespace();
    let local = canonical(parse_address(words.nth(1)?)?);
    let remote = parse_address(words.next()?)?;
    let inode = words.nth(6)?.parse().ok().filter(|inode| *inode != 0)?;
    Some(ListedSocket { local, remote, inode })
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
        let [local, remote] = ["127.0.0.1:8888", "127.0.0.1:80"].map(|text| text.parse().unwrap());
        assert_eq!(parse_line(&line("77")), Some(ListedSocket { local, remote, inode: 77 }));
        assert_eq!(parse_line(&line("0")), None);
    }

    #[test]
    fn both_searches_find_the_end_of_the_client() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let listening = listener.local_addr().unwrap();
        let client = TcpStream::connect(listening).unwrap();
        let found = connected_to(&[listening.port()]);
        let from = client.local_addr().unwrap();
        assert_eq!(found.values().collect::<Vec<_>>(), [&from]);
        // Another program may have a socket at the same address, to another peer.
        let at_address = of([from]);
        assert!(found.keys().all(|inode| at_address.contains_key(inode)), "{at_address:?}");
    }
}
