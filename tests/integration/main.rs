//! The program as its users meet it: the real binary, between real clients, real proxies and real origins.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must stop")]
#![expect(clippy::expect_used, reason = "as above, and it says what was missing")]
#![expect(clippy::panic, reason = "helpers fail the test that called them")]
#![expect(clippy::disallowed_methods, reason = "tasks end with the runtime of their test")]

mod activation;
mod advice;
mod auth_schemes;
mod authentication;
mod bad_input;
mod client_commands;
mod clients;
mod command_words;
mod control;
mod credentials;
mod delivery;
mod departures;
mod faults;
mod flapping;
mod flips;
mod hop_answers;
mod hop_switch;
mod hop_urls;
mod hops;
mod limits;
mod listeners;
mod lists;
mod log;
mod login_rounds;
mod loops;
mod memory;
mod ntlm_proofs;
mod pac;
mod passed_fields;
mod pinned_certificates;
mod plain_auth;
mod pools;
mod probe;
mod provider_socks;
mod proxy_pac;
mod reason_phrases;
mod regression;
mod reload;
mod reload_verdicts;
mod requests;
mod required_sessions;
mod runtime_words;
mod saving;
mod secrets;
mod service;
mod shutdown;
mod soak;
mod socks_clients;
mod socks_programs;
mod start;
mod status;
mod supervisor;
mod support;
mod switching;
mod take_over;
mod tls_listeners;
mod told_causes;
mod tunnels;
mod usage;
mod warm;
mod wire;

// Their peers or clients are programs of Unix.
#[cfg(unix)]
mod browsers;
#[cfg(unix)]
mod login_clients;
#[cfg(unix)]
mod sign_on;
#[cfg(unix)]
mod socks_hops;
#[cfg(unix)]
mod top;

// The owners and permissions of Unix sockets.
#[cfg(unix)]
mod control_access;

// Commands find a proxy among others. On Windows they list its named pipes, and Wine, which these tests run under there,
// has no such list.
#[cfg(unix)]
mod which_proxy;

// Namespaces of networks, all of 127.0.0.0/8, and sockets that several workers share.
#[cfg(target_os = "linux")]
mod conditions;
#[cfg(target_os = "linux")]
mod rotation;
#[cfg(target_os = "linux")]
mod workers;
