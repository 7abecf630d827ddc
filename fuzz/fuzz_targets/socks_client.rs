//! The exchange with a SOCKS client has the same result at once and byte by byte, and a name that it asks for is a host name.

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use mooltiroute::{
    hops::Authority,
    internal::socks::{LoginPolicy, SocksError, SocksServer, SocksStep, SocksVersion},
};

/// The messages of the server, and the target, if the client asked for one.
type Served = (Vec<u8>, Result<Option<Authority>, SocksError>);

fuzz_target!(|input: &[u8]| {
    for policy in [LoginPolicy::Required, LoginPolicy::Preferred, LoginPolicy::Optional] {
        let (whole, by_byte) = (serve(input, input.len(), policy), serve(input, 1, policy));
        assert_eq!(whole, by_byte);
        if let Ok(Some(target)) = whole.1 {
            // A CONNECT to an HTTP hop means the same target.
            assert_eq!(target.to_string().parse(), Ok(target));
        }
    }
});

fn serve(input: &[u8], step: usize, policy: LoginPolicy) -> Served {
    let version = if input.first() == Some(&4) { SocksVersion::V4 } else { SocksVersion::V5 };
    let mut server = SocksServer::new(version, policy);
    let (mut seen, mut sent) = (BytesMut::new(), Vec::new());
    let mut pieces = input.chunks(step.max(1));
    loop {
        match server.step(&mut seen) {
            Ok(SocksStep::Read) => match pieces.next() {
                Some(piece) => seen.extend_from_slice(piece),
                None => return (sent, Ok(None)),
            },
            Ok(SocksStep::Send(message)) => sent.extend(message),
            Ok(SocksStep::Login(_)) => sent.extend(server.accept_login()),
            Ok(SocksStep::Connect(request)) => return (sent, Ok(Some(request.target))),
            Err(error) => {
                sent.extend(server.refusal(error.code()));
                return (sent, Err(error));
            }
        }
    }
}
