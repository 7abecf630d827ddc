//! Requests to the proxy itself.

use crate::{
    client::{Client, is_head},
    http::RequestHead,
    reply::Reply,
};

/// Answers a request that names no origin.
pub async fn serve(client: Client, head: &RequestHead) {
    let text = "This is Mooltiroute, a proxy, and not a web server. Give a client its address as the proxy, as in \
                `curl -x http://localhost:8888 http://example.com/`, and ask for whole URLs.";
    client.close_with(&Reply::refused(400, text), is_head(head)).await;
}
