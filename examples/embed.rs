//! The proxy inside another program: loaded, started on a port that the system chooses, used for one request, ended.
//!
//! ```text
//! cargo run --example embed
//! ```
//!
//! It prints what an origin of its own answered through the proxy. The log is the program's own affair: the proxy
//! writes events of `tracing`, and a program that sets up no subscriber has none. `Source::Path` in place of the text
//! is a file or a directory, and is watched.

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
        // Nothing new begins; what is open has `timeouts.drain` to end. `shutdown.cut` would end it at once.
        shutdown.draining.cancel();
        answer
    };
    // The proxy serves and reloads until its end; a larger program would spawn it.
    let ((), answer) = tokio::join!(proxy.run(), work);
    std::io::stdout().write_all(answer?.as_bytes())?;
    Ok(())
}

/// Asks an origin of our own for something, through the proxy that listens on `addresses`.
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

/// The same as in a file; hops and routes have their place here too.
const CONFIG: &str = "
server: { listen: 127.0.0.1:0 }
timeouts: { drain: 5s }
chains: { default: [] }
";
