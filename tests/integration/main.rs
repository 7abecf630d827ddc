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
#[cfg(unix)]
mod browsers;
mod client_commands;
mod clients;
#[cfg(unix)]
mod command_words;
#[cfg(target_os = "linux")]
mod conditions;
#[cfg(unix)]
mod control;
#[cfg(unix)]
mod control_access;
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
#[cfg(unix)]
mod login_clients;
mod loops;
mod memory;
mod ntlm_proofs;
mod pac;
mod passed_fields;
mod pinned_certificates;
mod plain_auth;
mod pools;
mod probe;
#[cfg(unix)]
mod provider_socks;
mod proxy_pac;
mod reason_phrases;
mod regression;
mod reload;
#[cfg(unix)]
mod reload_verdicts;
mod requests;
mod required_sessions;
#[cfg(target_os = "linux")]
mod rotation;
mod runtime_words;
mod saving;
mod secrets;
mod service;
mod shutdown;
#[cfg(unix)]
mod sign_on;
mod soak;
#[cfg(unix)]
mod socks_clients;
#[cfg(unix)]
mod socks_hops;
#[cfg(unix)]
mod socks_programs;
mod start;
mod status;
mod supervisor;
mod support;
mod switching;
mod take_over;
mod tls_listeners;
mod told_causes;
#[cfg(unix)]
mod top;
mod tunnels;
#[cfg(unix)]
mod usage;
mod warm;
#[cfg(unix)]
mod which_proxy;
mod wire;
#[cfg(target_os = "linux")]
mod workers;
