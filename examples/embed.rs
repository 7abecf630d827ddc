//! The proxy inside another program: loaded, started on a port that the system chooses, used for one request, ended.
//!
//! ```text
//! cargo run --example embed              # goes direct
//! cargo run --example embed -- config.d  # with this configuration
//! ```
//!
//! It prints what an origin of its own answered through the proxy. The log is the program's own affair: the proxy
//! writes events of `tracing`, and a program that sets up no subscriber has none.

use std::{env, error::Error, io::Write as _, net::Ipv4Addr};

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
    let source = env::args_os().nth(1).map_or(Source::Embedded, |path| Source::Path(path.into()));
    // Wins over the files, as `--listen` does.
    let listen = vec![(Ipv4Addr::LOCALHOST, 0).into()];
    let overrides = Overrides { listen, ..Overrides::default() };
    let loader = Loader::new(source, overrides, kinds::builtin(), Environment::of_process());

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
async fn fetch(addresses: &[std::net::SocketAddr]) -> io::Result<String> {
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
    let (answer, ()) = tokio::try_join!(ask, serve)?;
    Ok(answer)
}
