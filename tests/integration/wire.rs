//! Plain requests and their answers, byte by byte: a row of a table for each rule.

mod answers;
mod bodies;
mod bulk;
mod connections;
mod departures;
mod early_answers;
mod failures;
mod lingering;
mod mended;
mod mutations;
mod patience;
mod refusals;
mod requests;
#[cfg(target_os = "linux")]
mod slow_peers;

use tokio::io::AsyncWriteExt as _;

use crate::support::{Double, Proxy, SHORT_WAIT, Step, open, rest};

/// A short answer that allows another request.
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Starts a proxy that goes straight to origins, with short timeouts.
async fn direct() -> Proxy {
    Proxy::start(&format!(
        "timeouts: {{ header: {SHORT_WAIT}s, response: {SHORT_WAIT}s }}\nchains: {{ default: [] }}\n"
    ))
    .await
}

/// Sends `request` to an origin that plays `steps`, with `{o}` for the origin's authority. Returns everything that the
/// client receives.
async fn told(proxy: &Proxy, request: &str, steps: Vec<Step>) -> (String, Double) {
    let origin = Double::start(steps).await;
    let mut client = open(proxy.address()).await;
    client.write_all(at(&origin, request).as_bytes()).await.unwrap();
    (rest(&mut client).await, origin)
}

/// Returns `text` with the origin's authority for `{o}`.
fn at(origin: &Double, text: &str) -> String {
    text.replace("{o}", &origin.address().to_string())
}

fn answer(words: &str) -> Step {
    Step::Answer(words.into())
}
