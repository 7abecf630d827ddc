//! Runs the proxy inside another program: loads it, starts it on a port that the system chooses, uses it and stops it.
//!
//! ```text
//! cargo run --example embed
//! ```
//!
//! It also starts an origin, and prints the response that it gets through the proxy. The proxy emits `tracing` events, so a
//! program without a subscriber has no log. With `Source::Path` instead of `Source::Text`, the configuration is a file or a
//! directory, and changes take effect at once.

use std::{
    error::Error,
    io::Write as _,
    net::{Ipv4Addr, SocketAddr},
};

use mooltiroute::{
    config::{Environment, Loader, Overrides, Source},
    hops::kinds,
    proxy::Loaded,
};
use tokio::{
    io::{self, AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let source = Source::Text(CONFIG.into());
    let environment = Environment::of_process();
    let loader = Loader::new(source, Overrides::default(), kinds::builtin(), environment);

    let proxy = Loaded::new(loader)?.start()?;
    let (addresses, shutdown) = (proxy.addresses().to_vec(), proxy.shutdown().clone());

    let work = async {
        let answer = fetch(&addresses).await;
        // The proxy now accepts nothing new, and open connections have `timeouts.drain` to end. `shutdown.cut` would end them
        // at once.
        shutdown.drain();
        answer
    };
    // `run` serves and reloads until the shutdown is complete. A larger program would spawn it.
    let ((), answer) = tokio::join!(proxy.run(), work);
    std::io::stdout().write_all(answer?.as_bytes())?;
    Ok(())
}

/// Starts an origin and requests something from it through the proxy at `addresses`.
async fn fetch(addresses: &[SocketAddr]) -> io::Result<String> {
    let origin = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let request = format!(
        "GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\nConnection: close\r\n\r\n",
        origin.local_addr()?
    );
    let ask = async {
        let mut client = TcpStream::connect(addresses).await?;
        client.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        client.read_to_string(&mut answer).await?;
        io::Result::Ok(answer)
    };
    let serve = async {
        let (mut client, _) = origin.accept().await?;
        let mut seen = [0; 1024];
        let _ = client.read(&mut seen).await?;
        client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n").await
    };
    tokio::select! {
        answer = ask => answer,
        Err(error) = serve => Err(error),
    }
}

/// A configuration as in a file. It may have hops and routes too.
const CONFIG: &str = "
server: { listen: 127.0.0.1:0 }
timeouts: { drain: 5s }
chains: { default: [] }
";
