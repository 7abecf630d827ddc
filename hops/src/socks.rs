//! SOCKS5 (RFC 1928) with username and password (RFC 1929): the messages, without I/O, and a client's exchange.

mod v5;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub use self::v5::{AuthMethod, ReplyCode, UserPassword};
use crate::{
    Authority, HopError, Meaning, Party, Refusal, Tunnel,
    refusal::{CREDENTIALS_NEEDED, CREDENTIALS_REJECTED},
};

/// Asks the SOCKS5 proxy that `tunnel` reaches to connect it to `next`.
///
/// With `credentials`, only the method that sends them is offered: a proxy that chose "no authentication" instead would
/// ignore the session that a provider's username names. Names are passed on unresolved. Each message waits for the answer to
/// the previous one, and bytes behind the last answer are kept.
///
/// # Errors
/// [`HopError::Refused`] if the proxy says no, and the way in which the exchange failed otherwise.
///
/// ```
/// use mooltiroute_hops::{Tunnel, socks};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// let (near, mut proxy) = duplex(1024);
/// proxy.write_all(&[5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
/// let next = "example.com:443".parse().unwrap();
/// socks::connect(Tunnel::layered(near), &next, None).await.unwrap();
/// let mut asked = Vec::new();
/// proxy.read_to_end(&mut asked).await.unwrap();
/// assert_eq!(asked, b"\x05\x01\x00\x05\x01\x00\x03\x0bexample.com\x01\xbb");
/// # });
/// ```
pub async fn connect(
    mut tunnel: Tunnel,
    next: &Authority,
    credentials: Option<&UserPassword>,
) -> Result<Tunnel, HopError> {
    let mut seen = BytesMut::with_capacity(READ_BYTES);
    // Only one method is offered, since "no authentication" would drop the credentials.
    let method = if credentials.is_some() { AuthMethod::UserPassword } else { AuthMethod::None };
    send(&mut tunnel, &v5::greeting(method)).await?;
    if receive(&mut tunnel, &mut seen, v5::chosen_method).await? != Some(method) {
        let said = match method {
            AuthMethod::None => {
                "that it wants a username and a password, or another kind of authentication"
            }
            AuthMethod::UserPassword => "that it takes no username and password (RFC 1929)",
        };
        let mut refusal = Refusal::new(Meaning::Credentials, Party::Hop, said);
        refusal.summary = Some(match method {
            AuthMethod::None => CREDENTIALS_NEEDED.into(),
            AuthMethod::UserPassword => "takes no password".into(),
        });
        if method == AuthMethod::UserPassword {
            refusal.advice = Some(TAKES_NO_LOGIN.to_owned());
        }
        return Err(refusal.into());
    }
    if let Some(credentials) = credentials {
        // The proxy has chosen this method. One that does not know it never receives the credentials.
        send(&mut tunnel, &credentials.message()).await?;
        if !receive(&mut tunnel, &mut seen, v5::is_authenticated).await? {
            let said = "username or password not accepted";
            let mut refusal = Refusal::new(Meaning::Credentials, Party::Hop, said);
            refusal.summary = Some(CREDENTIALS_REJECTED.into());
            return Err(refusal.into());
        }
    }
    send(&mut tunnel, &v5::request(next)?).await?;
    // The bound address in the reply is the proxy's own and of no use here.
    let code = receive(&mut tunnel, &mut seen, v5::reply).await?;
    if let Some(refusal) = code.refusal() {
        return Err(refusal.into());
    }
    // A target that speaks first, such as SSH, may have sent bytes behind the reply. They belong to the tunnel.
    if !seen.is_empty() {
        tunnel.unread(seen.freeze());
    }
    Ok(tunnel)
}

async fn send(tunnel: &mut Tunnel, message: &[u8]) -> Result<(), HopError> {
    tunnel.write_all(message).await?;
    Ok(tunnel.flush().await?)
}

/// Reads until `parse` finds a whole message at the start of `seen`, and takes it off.
async fn receive<T>(
    tunnel: &mut Tunnel,
    seen: &mut BytesMut,
    parse: impl Fn(&[u8]) -> Result<Option<(T, usize)>, HopError>,
) -> Result<T, HopError> {
    loop {
        // The buffer may already hold the next answer, so it is parsed before more is read. No `parse` needs more than the 262
        // bytes of the longest reply, so a peer can't make the buffer grow.
        if let Some((message, length)) = parse(seen)? {
            let _ = seen.split_to(length);
            return Ok(message);
        }
        if tunnel.read_buf(seen).await? == 0 {
            return Err(HopError::Closed);
        }
    }
}

/// More than the longest answer.
const READ_BYTES: usize = 512;

const TAKES_NO_LOGIN: &str = "It accepts no login, and may know its clients by their addresses. Remove the username and the password.";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::duplex;

    use super::*;
    use crate::Secret;

    /// Runs the exchange against `answers`, `step` bytes at a time. Returns the bytes that were sent, and the rest of the
    /// answers or the error.
    async fn run(
        answers: &[u8],
        is_known: bool,
        step: usize,
    ) -> (Vec<u8>, Result<Vec<u8>, String>) {
        let (near, far) = duplex(step);
        let (mut reader, mut writer) = tokio::io::split(far);
        let hop = async move {
            let mut asked = Vec::new();
            let write = async {
                let _ = writer.write_all(answers).await;
                let _ = writer.shutdown().await;
            };
            let _ = tokio::join!(write, reader.read_to_end(&mut asked));
            asked
        };
        let client = async move {
            let next = "example.com:443".parse().unwrap();
            let known = UserPassword::new(Secret::new("u"), Secret::new("pw")).unwrap();
            let known = is_known.then_some(&known);
            let mut tunnel = connect(Tunnel::layered(near), &next, known)
                .await
                .map_err(|error| error.to_string())?;
            let mut rest = Vec::new();
            tunnel.read_to_end(&mut rest).await.map_err(|error| error.to_string())?;
            Ok(rest)
        };
        tokio::join!(hop, client)
    }

    #[track_caller]
    fn check(answers: &[u8], is_known: bool, expected: Result<&[u8], &str>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for step in [1, 3, 1024] {
            let (_, got) = runtime.block_on(run(answers, is_known, step));
            assert_eq!(got.as_deref().map_err(String::as_str), expected, "{answers:?} by {step}");
        }
    }

    #[test]
    fn a_yes_makes_a_tunnel_and_bytes_behind_it_are_kept() {
        check(b"\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50SSH", false, Ok(b"SSH"));
        for version in [1, 5, 0] {
            let agreed =
                [b"\x05\x02", &[version, 0][..], b"\x05\x00\x00\x03\x01a\x00\x00x"].concat();
            check(&agreed, true, Ok(b"x"));
        }
        let v6 = [&b"\x05\x00\x05\x00\x00\x04"[..], &[0; 18], b"y"].concat();
        check(&v6, false, Ok(b"y"));
    }

    #[test]
    fn a_no_says_what_is_wrong() {
        check(
            b"\x05\xff",
            false,
            Err(
                "it answered that it wants a username and a password, or another kind of authentication",
            ),
        );
        check(
            b"\x05\x00",
            true,
            Err("it answered that it takes no username and password (RFC 1929)"),
        );
        for version in [1, 5] {
            let refused = [5, 2, version, 1];
            check(&refused, true, Err("it answered username or password not accepted"));
        }
        check(
            b"\x05\x00\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00",
            false,
            Err("it answered 5, connection refused"),
        );
        // Some proxies close right after the code.
        check(b"\x05\x00\x05\x02", false, Err("it answered 2, not allowed by its rules"));
    }

    #[test]
    fn an_answer_that_is_not_socks5_is_an_error() {
        let not_socks = "its answer is not understood: this is not SOCKS5";
        check(b"HTTP/1.1 400 Bad Request\r\n\r\n", false, Err("it speaks HTTP"));
        check(b"\x15\x03\x01", false, Err("it speaks TLS"));
        check(b"\x15\xff", false, Err("it speaks TLS"));
        check(b"\x05\x00\x16\xff", false, Err("it speaks TLS"));
        check(b"SSH-2.0", false, Err(not_socks));
        check(
            b"\x05\x00\x05\x00\x00\x02",
            false,
            Err("its answer is not understood: it has an unknown type of address"),
        );
        check(
            b"\x05\x00\x05\x00\x00\x01\x00",
            false,
            Err("it closed the connection without a full answer"),
        );
        check(b"", false, Err("it closed the connection without a full answer"));
    }

    #[tokio::test]
    async fn credentials_are_sent_only_when_asked_for() {
        let (asked, _) =
            run(b"\x05\x02\x01\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00", true, 1).await;
        assert_eq!(asked, b"\x05\x01\x02\x01\x01u\x02pw\x05\x01\x00\x03\x0bexample.com\x01\xbb");
        let (asked, _) = run(b"\x05\x00", true, 1).await;
        assert_eq!(asked, b"\x05\x01\x02");
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(
            answers in proptest::collection::vec(prop_oneof![0_u8..6, Just(255), any::<u8>()], 0..30),
            is_known: bool,
            step in 1_usize..9,
        ) {
            let answers = [if is_known { &b"\x05\x02\x01\x00"[..] } else { b"\x05\x00" }, &answers].concat();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (_, whole) = runtime.block_on(run(&answers, is_known, 1024));
            let (_, pieces) = runtime.block_on(run(&answers, is_known, step));
            prop_assert_eq!(whole, pieces);
        }
    }
}
