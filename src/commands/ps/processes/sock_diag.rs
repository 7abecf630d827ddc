//! The inodes of TCP sockets, from the kernel's interface for socket statistics, which `ss` uses too (`sock_diag(7)`).

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::OwnedFd,
    time::Duration,
};

use foldhash::HashMapExt as _;
use rustix::{
    io::{Errno, Result},
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto, netlink, recv, send,
        socket_with,
        sockopt::{Timeout, set_socket_timeout},
    },
};

use super::{Inodes, canonical};

/// Returns the sockets of `family` that are connected to one of `ports`, on any address.
///
/// # Errors
/// The kernel lacks the interface or the family, or a sandbox forbids it.
pub(super) fn connected_to(ports: &[u16], family: AddressFamily) -> Result<Inodes> {
    let mut found = Inodes::new();
    let (Some(first), Some(last)) = (ports.iter().min(), ports.iter().max()) else {
        return Ok(found);
    };
    dump(&request(family, *first, *last), |socket| {
        if ports.contains(&socket.remote_port) {
            found.insert(socket.inode, socket.local);
        }
    })?;
    Ok(found)
}

/// Sends `request`, and calls `on_socket` for each socket of the answer.
fn dump(request: &[u8], on_socket: impl FnMut(DumpedSocket)) -> Result<()> {
    // Each dump has a connection of its own, so that no late part of one is taken for the next.
    let (kind, flags) = (SocketType::DGRAM, SocketFlags::CLOEXEC);
    let kernel = socket_with(AddressFamily::NETLINK, kind, flags, Some(netlink::SOCK_DIAG))?;
    set_socket_timeout(&kernel, Timeout::Recv, Some(PATIENCE))?;
    send(&kernel, request, SendFlags::empty())?;
    for_each_socket(&kernel, on_socket)
}

/// A socket, as far as it is of interest here.
struct DumpedSocket {
    local: SocketAddr,
    remote_port: u16,
    inode: u64,
}

/// Returns the message that asks for all sockets of `family` with a remote port from `first` to `last`.
///
/// It is a `nlmsghdr`, an `inet_diag_req_v2`, and an attribute with a filter, which the kernel runs for each socket. All
/// numbers are in the byte order of the machine.
fn request(family: AddressFamily, first: u16, last: u16) -> Vec<u8> {
    let filter = port_filter(first, last);
    let mut body = vec![family.as_raw() as u8, ipproto::TCP.as_raw().get() as u8, 0, 0];
    body.extend(STATES.to_ne_bytes());
    // No addresses, and so the sockets of all.
    body.extend([0; SOCKET_ID_BYTES]);
    body.extend(((4 + filter.len()) as u16).to_ne_bytes());
    body.extend(REQUEST_FILTER.to_ne_bytes());
    body.extend(filter);
    let mut message = Vec::with_capacity(HEADER_BYTES + body.len());
    message.extend(((HEADER_BYTES + body.len()) as u32).to_ne_bytes());
    message.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    // The sequence number, and the kernel's address.
    message.extend([0; 8]);
    message.extend(body);
    message
}

/// Returns a program of two instructions: a remote port is at least `first`, and at most `last`.
///
/// An instruction has a code, the distance to the next one if it holds, and the distance if it does not. Ports are in the
/// instruction after it. A distance to the end takes the socket, and one past the end leaves it out.
fn port_filter(first: u16, last: u16) -> Vec<u8> {
    let mut program = Vec::with_capacity(16);
    for (code, port, left) in
        [(DESTINATION_AT_LEAST, first, 16_u16), (DESTINATION_AT_MOST, last, 8)]
    {
        program.extend([code, 8]);
        program.extend((left + 4).to_ne_bytes());
        program.extend([0, 0]);
        program.extend(port.to_ne_bytes());
    }
    program
}

/// Reads the answer to its end.
fn for_each_socket(kernel: &OwnedFd, mut on_socket: impl FnMut(DumpedSocket)) -> Result<()> {
    let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let (_, length) = recv(kernel, &mut *datagram, RecvFlags::empty())?;
        let mut rest =
            datagram.get(..length).filter(|rest| !rest.is_empty()).ok_or(Errno::BADMSG)?;
        while let Some((kind, body, next)) = message(rest) {
            match kind {
                SOCK_DIAG_BY_FAMILY => dumped(body).into_iter().for_each(&mut on_socket),
                NLMSG_DONE => return Ok(()),
                NLMSG_ERROR => return Err(error(body)),
                _ => {}
            }
            rest = next;
        }
    }
}

/// Reads the number of an error, which the kernel negates.
fn error(body: &[u8]) -> Errno {
    let number = array(body, 0).map(|number| i32::from_ne_bytes(number).wrapping_neg());
    number.map_or(Errno::BADMSG, Errno::from_raw_os_error)
}

/// Splits the first message off `bytes`: its kind, its body, and the messages after it.
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(array(bytes, 0)?) as usize;
    let kind = u16::from_ne_bytes(array(bytes, 4)?);
    let body = bytes.get(HEADER_BYTES..length)?;
    // Messages begin at multiples of four.
    Some((kind, body, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// Reads an `inet_diag_msg`. Returns `None` for a socket that no process has.
fn dumped(body: &[u8]) -> Option<DumpedSocket> {
    // Unlike the rest, ports and addresses are in the byte order of the network.
    let (port, remote_port) =
        (u16::from_be_bytes(array(body, 4)?), u16::from_be_bytes(array(body, 6)?));
    let ip = match AddressFamily::from_raw(u16::from(*body.first()?)) {
        AddressFamily::INET => IpAddr::from(Ipv4Addr::from(array(body, 8)?)),
        AddressFamily::INET6 => IpAddr::from(Ipv6Addr::from(array::<16>(body, 8)?)),
        _ => return None,
    };
    let inode = u32::from_ne_bytes(array(body, 68)?).into();
    (inode != 0).then(|| DumpedSocket {
        local: canonical(SocketAddr::new(ip, port)),
        remote_port,
        inode,
    })
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

// From `linux/netlink.h`, `linux/sock_diag.h` and `linux/inet_diag.h`.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const REQUEST_FILTER: u16 = 1;
const DESTINATION_AT_LEAST: u8 = 4;
const DESTINATION_AT_MOST: u8 = 5;
/// The states of TCP in which a process may have the socket: all but TIME-WAIT (6), CLOSE (7), LISTEN (10) and a
/// connection that is not accepted yet (12), by number.
const STATES: u32 = 0b1011_0011_1110;
const HEADER_BYTES: usize = 16;
const SOCKET_ID_BYTES: usize = 48;
/// The kernel puts at most 32 KiB of a dump into a datagram.
const DATAGRAM_BYTES_MAX: usize = 64 * 1024;
/// The kernel answers at once.
const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    const V4: AddressFamily = AddressFamily::INET;

    #[test]
    fn only_the_ends_of_clients_are_found() {
        let listeners = ["127.0.0.1:0", "127.0.0.1:0"].map(|at| TcpListener::bind(at).unwrap());
        let [wanted, other] = listeners.each_ref().map(|one| one.local_addr().unwrap());
        let [client, _other] = [wanted, other].map(|at| TcpStream::connect(at).unwrap());
        let _accepted = listeners.each_ref().map(|one| one.accept().unwrap());
        let found = match connected_to(&[wanted.port()], V4) {
            Ok(found) => found,
            // As in some sandboxes.
            Err(error) => return eprintln!("skipped: no socket statistics here ({error})"),
        };
        assert_eq!(found.values().collect::<Vec<_>>(), [&client.local_addr().unwrap()]);
        let both = connected_to(&[wanted.port(), other.port()], V4).unwrap();
        assert_eq!(both.len(), 2);
        // Ports between the two are left out again.
        let between = wanted.port().min(other.port()) + 1;
        if between != wanted.port().max(other.port()) {
            let client = TcpListener::bind(("127.0.0.1", between)).ok().map(|listener| {
                let client = TcpStream::connect(("127.0.0.1", between)).unwrap();
                (listener, client)
            });
            assert_eq!(
                connected_to(&[wanted.port(), other.port()], V4).unwrap(),
                both,
                "{client:?}"
            );
        }
        assert_eq!(connected_to(&[], V4).unwrap(), Inodes::new());
    }

    #[test]
    fn an_answer_that_is_cut_short_is_no_socket() {
        let mut body = vec![0; 72];
        body[0] = AddressFamily::INET.as_raw() as u8;
        assert!(dumped(&body).is_none(), "its inode is zero");
        body[68] = 7;
        assert_eq!(dumped(&body).unwrap().inode, 7);
        for length in 0..72 {
            assert!(dumped(&body[..length]).is_none());
            assert!(length >= HEADER_BYTES || message(&body[..length]).is_none());
        }
        // A message that claims to be longer than it is, or shorter than its header.
        for length in [100_u32, 15, 0] {
            let mut bytes = [0; 20];
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
            assert!(message(&bytes).is_none(), "{length}");
        }
    }
}
