//! The status of the proxy, and the resources of its process.

use std::net::SocketAddr;

use serde_json::Value;

use super::exchange;

/// Returns the proxy's `/status`.
pub(crate) async fn status(proxy: SocketAddr) -> Value {
    let answer = exchange(proxy, b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
    serde_json::from_str(body).unwrap()
}

/// Returns the number of open descriptors of a process, and its anonymous memory in KiB. Pages of files, such as its code, are
/// not counted, since they come and go.
#[cfg(target_os = "linux")]
pub(crate) fn resources(pid: u64) -> (usize, u64) {
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let memory = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let memory = memory.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    (descriptors, memory.trim().trim_end_matches(" kB").parse().unwrap())
}
