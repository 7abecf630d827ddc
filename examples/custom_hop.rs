//! A third party's kind of hop: `socks4a`, a SOCKS4 proxy that looks up names itself.
//!
//! A kind needs no more than this file: the type of its settings, the link that carries a connection, and one line in `main`.
//! The program is Mooltiroute, with its command line and its live reload, and has one more kind.
//!
//! ```text
//! cargo run --example custom_hop -- -c examples/custom_hop.yaml &
//! curl -x http://localhost:8888 https://example.com/
//! ```

use std::{net::IpAddr, process::ExitCode, sync::Arc};

use clap::Parser as _;
use mooltiroute::{
    cli::Cli,
    commands,
    config::Environment,
    hops::{
        Authority, BuildContext, Hop, HopConfig, HopError, Host, InvalidSettings, Link, Meaning,
        Party, Refusal, Tunnel, async_trait, kinds, schemars::JsonSchema,
    },
};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn main() -> ExitCode {
    let registry = kinds::builtin().with::<Config>();
    commands::execute(Cli::parse(), registry, &Environment::of_process())
}

/// The settings below `kind: socks4a`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "mooltiroute::hops::schemars")]
#[serde(deny_unknown_fields)]
struct Config {
    /// The address of the proxy, as `host:port`.
    address: Authority,
}

#[derive(Debug)]
struct Socks4a {
    address: Authority,
}

impl HopConfig for Config {
    const KIND: &'static str = "socks4a";

    fn build(self, _: &BuildContext<'_>) -> Result<Arc<dyn Hop>, InvalidSettings> {
        Ok(Arc::new(Socks4a { address: self.address }))
    }
}

#[async_trait]
impl Link for Socks4a {
    fn address(&self) -> &Authority {
        &self.address
    }

    async fn extend(&self, mut tunnel: Tunnel, next: &Authority) -> Result<Tunnel, HopError> {
        tunnel.write_all(&request(next)?).await?;
        tunnel.flush().await?;
        // Reads exactly one answer, so there are no bytes to give back with `Tunnel::unread`.
        let mut answer = [0; ANSWER_BYTES];
        tunnel.read_exact(&mut answer).await?;
        match answer {
            [0, GRANTED, ..] => Ok(tunnel),
            // The next stop can't be reached. Another proxy would not reach it either, so a pool keeps this one.
            [0, REJECTED, ..] => {
                let said = "request rejected or failed";
                Err(Refusal::new(Meaning::Unreachable, Party::Next, said).into())
            }
            // The proxy itself refuses this client. A pool may try another one.
            [0, NO_IDENT | OTHER_IDENT, ..] => {
                let said = "this client is not allowed";
                Err(Refusal::new(Meaning::Credentials, Party::Hop, said).into())
            }
            _ => Err(HopError::Malformed("this is not SOCKS4")),
        }
    }
}

/// Writes a CONNECT to `next`. The address 0.0.0.1 announces a name, which the proxy looks up.
fn request(next: &Authority) -> Result<Vec<u8>, HopError> {
    let mut request = vec![VERSION, CONNECT];
    request.extend(next.port().to_be_bytes());
    match next.host() {
        Host::Address(IpAddr::V4(address)) => {
            request.extend(address.octets());
            request.push(END);
        }
        Host::Address(IpAddr::V6(_)) => {
            return Err(HopError::Other("SOCKS4 has no IPv6 addresses".into()));
        }
        Host::Name(name) => {
            request.extend([0, 0, 0, 1, END]);
            request.extend(name.as_bytes());
            request.push(END);
        }
    }
    Ok(request)
}

const VERSION: u8 = 4;
const CONNECT: u8 = 1;
/// Ends the user name, which is empty, and the host name.
const END: u8 = 0;
const GRANTED: u8 = 90;
const REJECTED: u8 = 91;
const NO_IDENT: u8 = 92;
const OTHER_IDENT: u8 = 93;
const ANSWER_BYTES: usize = 8;
