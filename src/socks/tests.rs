use proptest::prelude::*;

use super::*;

/// How an exchange ended: the request and the bytes behind it, an error, or neither yet.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    Asked(SocksRequest, Vec<u8>),
    Refused(SocksError),
    Waiting,
}

/// Feeds `input` to a server, `step` bytes at a time; returns what it sent and how it ended.
fn run(input: &[u8], policy: LoginPolicy, step: usize) -> (Vec<u8>, Ended) {
    let version = if input.first() == Some(&4) { SocksVersion::V4 } else { SocksVersion::V5 };
    let mut server = SocksServer::new(version, policy);
    let (mut seen, mut sent) = (BytesMut::new(), Vec::new());
    let mut pieces = input.chunks(step);
    loop {
        match server.step(&mut seen) {
            Ok(SocksStep::Read) => match pieces.next() {
                Some(piece) => seen.extend_from_slice(piece),
                None => return (sent, Ended::Waiting),
            },
            Ok(SocksStep::Send(bytes)) => sent.extend(bytes),
            Ok(SocksStep::Login(login)) => {
                sent.extend(login.username);
                sent.extend(&*login.password);
                sent.extend(server.accept_login());
            }
            Ok(SocksStep::Connect(request)) => {
                sent.extend(server.success());
                let rest = pieces.flatten().copied();
                return (sent, Ended::Asked(request, seen.iter().copied().chain(rest).collect()));
            }
            Err(error) => {
                sent.extend(server.refusal(error.code()));
                return (sent, Ended::Refused(error));
            }
        }
    }
}

#[track_caller]
fn check(input: &[u8], policy: LoginPolicy, sent: &[u8], target: &str, rest: &[u8]) {
    for step in [1, 2, 3, 1000] {
        let (was_sent, ended) = run(input, policy, step);
        let Ended::Asked(request, behind) = ended else { panic!("{input:?}: {ended:?}") };
        assert_eq!((request.target.to_string().as_str(), behind.as_slice()), (target, rest));
        assert_eq!(was_sent, sent, "{input:?} by {step}");
    }
}

#[track_caller]
fn check_refused(input: &[u8], policy: LoginPolicy, sent: &[u8], expected: SocksError) {
    for step in [1, 2, 3, 1000] {
        let (was_sent, ended) = run(input, policy, step);
        assert_eq!(ended, Ended::Refused(expected), "{input:?} by {step}");
        assert_eq!(was_sent, sent, "{input:?} by {step}");
    }
}

const YES: &[u8] = b"\x05\x00\x00\x01\0\0\0\0\0\0";

#[test]
fn requests_are_read_with_every_type_of_address_and_what_follows_is_kept() {
    let (optional, sent) = (LoginPolicy::Optional, [b"\x05\x00", YES].concat());
    let v6 = [&b"\x05\x01\x00\x05\x01\x00\x04"[..], &[0; 15], b"\x01\x00\x50"].concat();
    check(&v6, optional, &sent, "[::1]:80", b"");
    let v4 = b"\x05\x01\x00\x05\x01\x00\x01\x7f\0\0\x01\x01\xbbearly";
    check(v4, optional, &sent, "127.0.0.1:443", b"early");
    let name = b"\x05\x02\x00\x02\x05\x01\x00\x03\x0bexample.com\x01\xbb\x16";
    check(name, optional, &sent, "example.com:443", b"\x16");
    let address_as_name = b"\x05\x01\x00\x05\x01\x00\x03\x03::1\x00\x50";
    check(address_as_name, optional, &sent, "[::1]:80", b"");
    let granted = b"\0\x5a\0\0\0\0\0\0";
    check(b"\x04\x01\x00\x50\x01\x02\x03\x04\0x", optional, granted, "1.2.3.4:80", b"x");
    check(b"\x04\x01\x00\x50\0\0\0\x01me\0a.test\0", optional, granted, "a.test:80", b"");
}

#[test]
fn a_client_that_offers_both_methods_is_asked_as_the_policy_says() {
    let asked = b"\x05\x02\x00\x02\x01\x01u\x01p\x05\x01\x00\x03\x01a\x00\x01";
    let sent = [b"\x05\x02up\x01\x00", YES].concat();
    check(asked, LoginPolicy::Required, &sent, "a:1", b"");
    check(asked, LoginPolicy::Preferred, &sent, "a:1", b"");
    let only = b"\x05\x01\x02\x01\x00\x00\x05\x01\x00\x03\x01a\x00\x01";
    check(only, LoginPolicy::Optional, &[b"\x05\x02\x01\x00", YES].concat(), "a:1", b"");
    check_refused(b"\x05\x01\x00", LoginPolicy::Required, b"\x05\xff", SocksError::Method);
    check_refused(b"\x05\x00", LoginPolicy::Optional, b"\x05\xff", SocksError::Method);
    check_refused(b"\x05\x02\x01\x80", LoginPolicy::Preferred, b"\x05\xff", SocksError::Method);
}

#[test]
fn what_is_not_served_is_told_in_the_message_that_is_due() {
    let policy = LoginPolicy::Optional;
    let no = |code| [b"\x05\x00".as_slice(), &v5::reply(ReplyCode(code))].concat();
    let asks = |rest: &[u8]| [b"\x05\x01\x00".as_slice(), rest].concat();
    for (request, code, error) in [
        (&b"\x05\x02\x00\x01\0\0\0\0\0\0"[..], 7, SocksError::Command(2)),
        (b"\x05\x03\x00\x01\0\0\0\0\0\0", 7, SocksError::Command(3)),
        (b"\x05\x01\x00\x02", 8, SocksError::AddressType),
        (b"\x05\x01\x00\x01\x7f\0\0\x01\0\0", 1, SocksError::Port),
        (b"\x04\x01", 1, SocksError::Version),
        (b"\x05\x01\x00\x03\x03\xff\xff\xff\0\x50", 1, SocksError::NotText),
    ] {
        check_refused(&asks(request), policy, &no(code), error);
    }
    check_refused(b"\x05\x01\x02\x05", policy, b"\x05\x02\x01\x01", SocksError::PasswordVersion);
    let rejected = b"\0\x5b\0\0\0\0\0\0";
    check_refused(b"\x04\x02\0\x50\x01\x02\x03\x04\0", policy, rejected, SocksError::Command(2));
    check_refused(b"\x04\x01\0\0\x01\x02\x03\x04\0", policy, rejected, SocksError::Port);
    let endless = [&b"\x04\x01\0\x50\x01\x02\x03\x04"[..], &[b'a'; 256]].concat();
    check_refused(&endless, policy, rejected, SocksError::TooLong);
}

#[test]
fn a_name_with_a_byte_that_means_something_to_a_hop_is_refused() {
    let long = "a".repeat(255);
    let names =
        ["", "a b", "a\rb", "a\nb", "a\0b", "a:1", "a/b", "a@b", "a?b", "a#b", "127.1", &long];
    for name in names {
        let mut input = b"\x05\x01\x00\x05\x01\x00\x03".to_vec();
        input.push(name.len() as u8);
        input.extend([name.as_bytes(), b"\x00\x50"].concat());
        let (_, ended) = run(&input, LoginPolicy::Optional, 1);
        assert!(matches!(ended, Ended::Refused(SocksError::Host(_))), "{name:?}: {ended:?}");
    }
}

proptest! {
    #[test]
    fn pieces_make_no_difference(
        rest in proptest::collection::vec(prop_oneof![0_u8..6, Just(b'a'), any::<u8>()], 0..60),
        policy in prop_oneof![
            Just(LoginPolicy::Required), Just(LoginPolicy::Preferred), Just(LoginPolicy::Optional)
        ],
        start in 0_usize..4,
        step in 1_usize..9,
    ) {
        let starts: [&[u8]; 4] = [
            b"\x05", b"\x04", b"\x05\x02\x00\x02", b"\x05\x02\x00\x02\x05\x01\x00\x03\x05",
        ];
        let input = [starts[start], &rest].concat();
        prop_assert_eq!(run(&input, policy, 1000), run(&input, policy, step));
    }
}
