//! A hop or an origin that follows a script, to behave in any way that a test needs.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
    time,
};

use super::{
    client::read_through,
    record::{Record, Seen},
};

/// One step of a double's script.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Reads up to the end of a head, then sends this.
    Answer(String),
    /// Reads up to the end of this, and no byte more.
    Hear(String),
    /// Sends this without waiting for anything.
    Say(String),
    /// Sends this byte by byte, with this pause after each.
    Dribble(String, Duration),
    /// Reads until the other side ends, and sends nothing.
    Listen,
    /// Reads until the test allows the next step.
    Await(Arc<Notify>),
    /// Ends its own direction of the connection.
    End,
    /// Resets the connection.
    Reset,
}

/// A listener on loopback. It plays the whole script on each connection, and then reads until the other side ends.
#[derive(Debug)]
pub(crate) struct Double {
    address: SocketAddr,
    script: Arc<Mutex<Vec<Step>>>,
    record: Record,
}

impl Double {
    pub(crate) async fn start(script: impl Into<Vec<Step>>) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), script).await
    }

    /// Starts a double at an address that clients already know.
    pub(crate) async fn start_at(address: SocketAddr, script: impl Into<Vec<Step>>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let script = Arc::new(Mutex::new(script.into()));
        let record = Record::default();
        let (current, writer) = (Arc::clone(&script), record.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let steps = current.lock().unwrap().clone();
                tokio::spawn(play(stream, steps, writer.clone()));
            }
        });
        Self { address, script, record }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Replaces the script of later connections.
    pub(crate) fn becomes(&self, script: impl Into<Vec<Step>>) {
        *self.script.lock().unwrap() = script.into();
    }

    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    /// Returns all that it has received, on all connections.
    pub(crate) fn sent(&self) -> String {
        self.record.now().iter().map(Seen::text).collect()
    }
}

async fn play(mut stream: TcpStream, steps: Vec<Step>, record: Record) {
    let number = record.open();
    for step in steps {
        match step {
            Step::Answer(answer) => {
                if !hear(&mut stream, "\r\n\r\n", number, &record).await {
                    break;
                }
                let _ = stream.write_all(answer.as_bytes()).await;
            }
            Step::Hear(end) => {
                if !hear(&mut stream, &end, number, &record).await {
                    break;
                }
            }
            Step::Say(words) => {
                let _ = stream.write_all(words.as_bytes()).await;
            }
            Step::Dribble(words, pause) => {
                for byte in words.bytes() {
                    if stream.write_all(&[byte]).await.is_err() {
                        break;
                    }
                    time::sleep(pause).await;
                }
            }
            Step::Listen => listen(&mut stream, number, &record).await,
            Step::Await(allowed) => tokio::select! {
                () = allowed.notified() => {}
                () = listen(&mut stream, number, &record) => {}
            },
            Step::End => {
                let _ = stream.shutdown().await;
            }
            Step::Reset => {
                let _ = stream.set_zero_linger();
                record.ended(number);
                return;
            }
        }
    }
    listen(&mut stream, number, &record).await;
    record.ended(number);
}

async fn listen(stream: &mut TcpStream, number: usize, record: &Record) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        record.received(number, &buffer[..length]);
    }
}

/// Reads up to `end`, and no byte more. Returns whether it came.
async fn hear(stream: &mut TcpStream, end: &str, number: usize, record: &Record) -> bool {
    let reading = read_through(stream, end, |bytes| record.received(number, bytes));
    reading.await.unwrap_or(false)
}
