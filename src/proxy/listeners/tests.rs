//! Tests of listeners that change.

use super::*;

const ANY: &str = "127.0.0.1:0";

fn listeners(addresses: &[&str]) -> Vec<Listener> {
    let parse = |address: &&str| Listener { address: address.parse().unwrap(), tls: None };
    addresses.iter().map(parse).collect()
}

#[track_caller]
fn replace(open: &mut Listeners, addresses: &[&str]) -> Vec<BoundListener> {
    let prepared = open.prepare(&listeners(addresses)).unwrap();
    let expected = open.addresses_after(&prepared);
    let begun = open.replace(prepared);
    let actual: Vec<_> = open.open.iter().map(|open| open.place.actual).collect();
    assert_eq!(actual, expected);
    begun
}

#[tokio::test]
async fn a_listener_that_stays_keeps_its_socket_and_others_close() {
    let mut open = Listeners::default();
    let [first] = &replace(&mut open, &[ANY])[..] else { panic!("one listener") };
    let (first_address, first_closed) = (first.address, first.closed.clone());
    let second = replace(&mut open, &[ANY, "[::1]:0"]);
    assert_eq!(open.open[0].place.actual, first_address);
    assert!(second.len() == 1 && second[0].address.is_ipv6() && !first_closed.is_cancelled());
    assert!(replace(&mut open, &["[::1]:0"]).is_empty());
    assert!(first_closed.is_cancelled() && !second[0].closed.is_cancelled());
}

#[tokio::test]
async fn localhost_is_both_loopback_addresses_at_one_port() {
    let mut open = Listeners::default();
    let begun = replace(&mut open, &["localhost:0"]);
    let [v4, v6] = &begun[..] else { panic!("two sockets: {begun:?}") };
    assert!(v4.address.is_ipv4() && v6.address.is_ipv6());
    assert_eq!(v4.address.port(), v6.address.port());
    assert!(replace(&mut open, &["localhost:0"]).is_empty(), "both stay");
}

#[tokio::test]
async fn an_address_that_becomes_localhost_keeps_its_socket() {
    let mut open = Listeners::default();
    let v4 = &replace(&mut open, &[ANY])[0];
    let begun = replace(&mut open, &["localhost:0"]);
    assert!(begun.len() == 1 && begun[0].address.is_ipv6() && !v4.closed.is_cancelled());
    assert_eq!(begun[0].address.port(), v4.address.port());
    assert!(replace(&mut open, &[ANY]).is_empty());
    assert!(begun[0].closed.is_cancelled() && !v4.closed.is_cancelled());
}

/// Binds as on a machine without IPv6.
#[cfg(unix)]
fn bind_v4(address: SocketAddr) -> io::Result<net::TcpListener> {
    if address.is_ipv6() {
        return Err(io::Error::from_raw_os_error(rustix::io::Errno::AFNOSUPPORT.raw_os_error()));
    }
    bind(address)
}

/// Binds as on a machine without any address.
fn bind_nowhere(_: SocketAddr) -> io::Result<net::TcpListener> {
    Err(io::ErrorKind::AddrNotAvailable.into())
}

/// Binds as on a machine where another program has every port of IPv6.
fn bind_taken(address: SocketAddr) -> io::Result<net::TcpListener> {
    if address.is_ipv6() { Err(io::ErrorKind::AddrInUse.into()) } else { bind(address) }
}

#[cfg(unix)]
#[tokio::test]
async fn one_loopback_address_is_enough_if_the_machine_lacks_the_other() {
    let mut open = Listeners { bind: bind_v4, ..Listeners::default() };
    let begun = replace(&mut open, &["localhost:0"]);
    assert!(begun.len() == 1 && begun[0].address.is_ipv4());
    // Once the machine has the other one, the next reload listens there too.
    open.bind = bind;
    let begun = replace(&mut open, &["localhost:0"]);
    assert!(begun.len() == 1 && begun[0].address.is_ipv6());
    let written = Listeners { bind: bind_v4, ..Listeners::default() };
    let error = written.prepare(&listeners(&["[::1]:0"])).unwrap_err().to_string();
    assert_eq!(
        error,
        "the proxy can't listen on [::1]:0: no interface of this machine has this address"
    );
}

#[tokio::test]
async fn localhost_without_any_address_or_with_a_taken_port_is_an_error() {
    let open = Listeners { bind: bind_nowhere, ..Listeners::default() };
    let error = open.prepare(&listeners(&["localhost:0"])).unwrap_err().to_string();
    assert_eq!(
        error,
        "the proxy can't listen on [::1]:0: no interface of this machine has this address"
    );
    let open = Listeners { bind: bind_taken, ..Listeners::default() };
    let error = open.prepare(&listeners(&["localhost:0"])).unwrap_err().to_string();
    assert!(error.contains("another program has the port"), "{error}");
}

#[tokio::test]
async fn a_passed_listener_is_named_and_never_closed() {
    let passed = net::TcpListener::bind(ANY).unwrap();
    let address = passed.local_addr().unwrap();
    let mut open = Listeners::default();
    let begun = open.adopt(vec![passed]).unwrap();
    assert!(
        matches!(open.prepare(&listeners(&[ANY])), Err(ListenError::NotNamed(named)) if named == address)
    );
    assert_eq!(replace(&mut open, &[ANY, &address.to_string()]).len(), 1, "the other one");
    let localhost = format!("localhost:{}", address.port());
    assert_eq!(replace(&mut open, &[&localhost]).len(), 1, "the one of IPv6");
    drop(open);
    assert!(begun[0].address == address && !begun[0].closed.is_cancelled());
}

/// Changes listeners whose addresses overlap, and checks that no other program can join.
#[cfg(target_os = "linux")]
fn overlapping(old: &str, new: &[&str], bind_beside: BinderBeside) -> Result<(), ListenError> {
    let mut open = Listeners { bind_beside, ..Listeners::default() };
    let begun = replace(&mut open, &[old]);
    let address = begun[0].address;
    // The port is written now, as an operator writes it.
    let with_port = |host: &str| host.replace("PORT", &address.port().to_string());
    let written = old.replace(":0", &format!(":{}", address.port()));
    for open in &mut open.open {
        open.place.wanted.address = open.place.actual;
    }
    assert!(replace(&mut open, &[&written]).is_empty());
    let new: Vec<_> = new.iter().map(|new| with_port(new)).collect();
    let new: Vec<_> = new.iter().map(String::as_str).collect();
    let prepared = open.prepare(&listeners(&new))?;
    let began = open.replace(prepared);
    assert!(began.len() == 1 && begun[0].closed.is_cancelled(), "{old} to {new:?}");
    let shares = |begun: &BoundListener| SockRef::from(&*begun.listener).reuse_port().unwrap();
    assert!(!began.iter().chain(&begun).any(shares), "{old} to {new:?}");
    // While both are open and after that, no other program can join, whatever it asks for.
    let joins = || {
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(began[0].address),
            socket2::Type::STREAM,
            None,
        );
        let socket = socket.unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.bind(&began[0].address.into()).is_ok()
    };
    assert!(!joins(), "{old} to {new:?}");
    drop(begun);
    assert!(!joins(), "{old} to {new:?}");
    net::TcpStream::connect((std::net::Ipv4Addr::LOCALHOST, address.port())).unwrap();
    Ok(())
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_address_that_overlaps_with_the_old_one_is_listened_on_before_that_closes() {
    for (old, new) in [
        ("0.0.0.0:0", "127.0.0.1:PORT"),
        ("127.0.0.1:0", "0.0.0.0:PORT"),
        ("localhost:0", "0.0.0.0:PORT"),
    ] {
        overlapping(old, &[new], bind_beside).unwrap();
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_overlap_that_the_system_does_not_allow_is_called_our_own() {
    let refuses: BinderBeside = |_, _| Err(io::ErrorKind::AddrInUse.into());
    let fails = |old: &str, new: &[&str], bind_beside| {
        let error = overlapping(old, new, bind_beside).unwrap_err();
        assert!(matches!(error, ListenError::OwnPort { .. }), "{error}");
        let words = error.at_reload();
        assert!(words.contains("while it listens on 0.0.0.0:"), "{words}");
        assert!(words.ends_with("restart the proxy"), "{words}");
    };
    fails("0.0.0.0:0", &["127.0.0.1:PORT"], refuses);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn two_wanted_addresses_that_overlap_are_both_named() {
    let free = net::TcpListener::bind(ANY).unwrap().local_addr().unwrap().port();
    let both = [format!("0.0.0.0:{free}"), format!("127.0.0.1:{free}")];
    let both = both.each_ref().map(String::as_str);
    let check = |error: ListenError| {
        let words = error.at_reload();
        assert!(words.contains(both[0]) && words.contains(both[1]), "{words}");
        assert!(words.contains("one of them includes the other"), "{words}");
    };
    // At the start, and as an edit.
    check(Listeners::default().prepare(&listeners(&both)).unwrap_err());
    let mut open = Listeners::default();
    let _begun = replace(&mut open, &both[..1]);
    check(open.prepare(&listeners(&both)).unwrap_err());
}

#[tokio::test]
async fn a_taken_port_changes_nothing() {
    let mut open = Listeners::default();
    let begun = replace(&mut open, &[ANY]);
    let taken = begun[0].address.to_string();
    let other = Listeners::default();
    let error = other.prepare(&listeners(&[ANY, &taken])).unwrap_err().to_string();
    assert!(error.contains("another program has the port"), "{error}");
    assert!(!begun[0].closed.is_cancelled());
}
