//! Measures how much a login to the next proxy adds to the cost of a tunnel.

use std::io;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::{
    hop, load, network::Network, pass::pass, relay, results::Results, suite, table::Table,
};

/// The scheme by which a hop wants its clients to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoginScheme {
    Basic,
    Digest,
    Ntlm,
    Negotiate,
}

impl LoginScheme {
    pub(super) const ALL: [Self; 4] = [Self::Basic, Self::Digest, Self::Ntlm, Self::Negotiate];

    /// Returns the value of `auth` in the settings of a hop.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::Digest => "digest",
            Self::Ntlm => "ntlm",
            Self::Negotiate => "negotiate",
        }
    }

    /// Returns the challenge that answers a request with this head, or `None` if the request is let through.
    ///
    /// Nothing is checked, and the challenges are always the same. So the hop has little work, and its clients have as much as
    /// with a real proxy.
    fn challenge(self, head: &str) -> Option<String> {
        let mut fields = head.lines().filter_map(|line| line.split_once(": "));
        let sent = fields.find(|(name, _)| name.eq_ignore_ascii_case("Proxy-Authorization"));
        let sent = sent.map_or("", |(_, value)| value);
        match self {
            Self::Basic => {
                (!sent.starts_with("Basic ")).then(|| "Basic realm=\"bench\"".to_owned())
            }
            Self::Digest => (!sent.starts_with("Digest ")).then(|| {
                "Digest realm=\"bench\", nonce=\"1\", algorithm=SHA-256, qop=\"auth\"".to_owned()
            }),
            Self::Negotiate => (!sent.starts_with("Negotiate ")).then(|| "Negotiate".to_owned()),
            Self::Ntlm if sent.starts_with(NTLM_PROOF) => None,
            Self::Ntlm if sent.starts_with("NTLM ") => {
                Some(format!("NTLM {}", STANDARD.encode(ntlm_challenge())))
            }
            Self::Ntlm => Some("NTLM".to_owned()),
        }
    }
}

/// Opens tunnels through each peer, in turn.
pub(super) fn measure(network: &Network, results: &mut Results) {
    let plan = results.plan;
    for hops in Table::Login.hops() {
        let running = suite::start_all(Table::Login, network, hops, results);
        for round in 0..plan.rounds {
            let mut order: Vec<_> = running.iter().collect();
            order.rotate_left(round % running.len());
            for (way, running) in order {
                let tally = load::tunnels(&running.door, running.process(), plan.tunnels);
                suite::keep(results, (Table::Login, *way), &tally, &suite::TUNNEL);
            }
        }
    }
}

/// Serves as a hop that opens tunnels for clients that log in.
pub(super) async fn serve(listener: TcpListener, scheme: LoginScheme) {
    loop {
        // A client may have gone before it was accepted.
        let Ok((client, _)) = listener.accept().await else { continue };
        #[expect(clippy::disallowed_methods, reason = "the process ends and so does this")]
        tokio::spawn(open(client, scheme));
    }
}

async fn open(mut client: TcpStream, scheme: LoginScheme) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut head = Vec::with_capacity(4096);
    let target = loop {
        head.clear();
        while !head.ends_with(b"\r\n\r\n") {
            if client.read_buf(&mut head).await? == 0 {
                return Ok(());
            }
        }
        let (target, _) = hop::target(&head).ok_or(io::ErrorKind::InvalidData)?;
        let Some(challenge) = scheme.challenge(&String::from_utf8_lossy(&head)) else {
            break target;
        };
        let answer = format!(
            "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: {challenge}\r\n\
             Content-Length: 0\r\n\r\n"
        );
        client.write_all(answer.as_bytes()).await?;
    };
    drop(head);
    let upstream = relay::reach(target, &[]).await?;
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    pass(client, upstream).await
}

/// Returns a challenge of NTLM (MS-NLMP §2.2.1.2) of the domain `CORP`.
fn ntlm_challenge() -> Vec<u8> {
    // UNICODE, REQUEST_TARGET, NTLM, ALWAYS_SIGN, TARGET_TYPE_DOMAIN, EXTENDED_SESSIONSECURITY and TARGET_INFO.
    const FLAGS: u32 = 0x0089_8205;
    const HEADER_BYTES: u32 = 48;
    let name: Vec<u8> = "CORP".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let name_bytes = name.len() as u16;
    // The pair MsvAvNbDomainName, and the end of the list.
    let pairs = [&[2, 0][..], &name_bytes.to_le_bytes(), &name, &[0; 4]].concat();
    // A length, the same number again, and an offset.
    let field = |length: u16, offset: u32| {
        [&length.to_le_bytes()[..], &length.to_le_bytes(), &offset.to_le_bytes()].concat()
    };
    [
        &b"NTLMSSP\0\x02\0\0\0"[..],
        &field(name_bytes, HEADER_BYTES),
        &FLAGS.to_le_bytes(),
        b"challeng",
        &[0; 8],
        &field(pairs.len() as u16, HEADER_BYTES + u32::from(name_bytes)),
        &name,
        &pairs,
    ]
    .concat()
}

/// The beginning of a field that holds message 3 of NTLM.
const NTLM_PROOF: &str = "NTLM TlRMTVNTUAAD";
/// The user that logs in.
pub(super) const USERNAME: &str = "dev";
pub(super) const PASSWORD: &str = "secret";
