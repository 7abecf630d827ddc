//! Adds a kind of hop from outside: `socks5`, a SOCKS5 proxy without authentication (RFC 1928).
//!
//! A kind is the type of its settings, the hop, and one line in `main`. The result is the whole program, with its
//! command line and its live reload, and one more kind.
//!
//! ```text
//! microsocks -i 127.0.0.1 -p 1080 &
//! cargo run --example custom_hop -- -c examples/custom_hop.yaml &
//! curl -x http://localhost:8888 https://example.com/
//! ```

use std::{process::ExitCode, sync::Arc};

use clap::Parser as _;
use mooltiroute::{
    cli::Cli,
    commands,
    config::Environment,
    hops::{
        Authority, BuildContext, Hop, HopConfig, HopError, Host, InvalidSettings, Tunnel,
        async_trait, kinds, schemars::JsonSchema,
    },
};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn main() -> ExitCode {
    let registry = kinds::builtin().with::<Config>();
    commands::execute(Cli::parse(), registry, &Environment::of_process())
}

/// The settings of `kind: socks5`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "mooltiroute::hops::schemars")]
#[serde(deny_unknown_fields)]
struct Config {
    /// Where the proxy listens, as `host:port`.
    address: Authority,
}

#[derive(Debug)]
struct Socks5 {
    address: Authority,
}

impl HopConfig for Config {
    const KIND: &'static str = "socks5";

    fn build(self, _: &BuildContext<'_>) -> Result<Arc<dyn Hop>, InvalidSettings> {
        Ok(Arc::new(Socks5 { address: self.address }))
    }
}

#[async_trait]
impl Hop for Socks5 {
    fn address(&self) -> &Authority {
        &self.address
    }

    async fn extend(&self, mut tunnel: Tunnel, next: &Authority) -> Result<Tunnel, HopError> {
        tunnel.write_all(&[VERSION, 1, NO_AUTHENTICATION]).await?;
        let mut choice = [0; 2];
        tunnel.read_exact(&mut choice).await?;
        match choice {
            [VERSION, NO_AUTHENTICATION] => {}
            [VERSION, _] => return Err(HopError::Other("it wants authentication".into())),
            _ => return Err(HopError::Malformed("this is not SOCKS5")),
        }
        tunnel.write_all(&request(next)?).await?;
        // Read to the byte, so that nothing has to go back with `Tunnel::unread`.
        let mut answer = [0; 4];
        tunnel.read_exact(&mut answer).await?;
        let address_bytes = match answer {
            [VERSION, SUCCEEDED, _, IPV4] => 4,
            [VERSION, SUCCEEDED, _, IPV6] => 16,
            [VERSION, SUCCEEDED, _, NAME] => tunnel.read_u8().await?.into(),
            [VERSION, SUCCEEDED, ..] => return Err(HopError::Malformed("no such address type")),
            [VERSION, code, ..] => {
                return Err(HopError::Other(format!("it answered error {code}")));
            }
            _ => return Err(HopError::Malformed("this is not SOCKS5")),
        };
        let mut bound = vec![0; address_bytes + PORT_BYTES];
        tunnel.read_exact(&mut bound).await?;
        Ok(tunnel)
    }
}

/// CONNECT to `next` (RFC 1928 §4). A name is left for the proxy to look up.
fn request(next: &Authority) -> Result<Vec<u8>, HopError> {
    let mut request = vec![VERSION, CONNECT, 0];
    match next.host() {
        Host::Address(std::net::IpAddr::V4(address)) => {
            request.push(IPV4);
            request.extend(address.octets());
        }
        Host::Address(std::net::IpAddr::V6(address)) => {
            request.push(IPV6);
            request.extend(address.octets());
        }
        Host::Name(name) => {
            let too_long = |_| HopError::Other("the name is too long for SOCKS5".into());
            request.extend([NAME, u8::try_from(name.len()).map_err(too_long)?]);
            request.extend(name.as_bytes());
        }
    }
    request.extend(next.port().to_be_bytes());
    Ok(request)
}

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const CONNECT: u8 = 1;
const SUCCEEDED: u8 = 0;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;
const PORT_BYTES: usize = 2;
