//! The helpers of all tests. Everything that is started here ends when its handle is dropped, also by a panic.

#[cfg(unix)]
mod activation;
mod certificates;
mod client;
mod client_program;
mod config;
mod double;
#[cfg(unix)]
mod kdc;
#[cfg(target_os = "linux")]
mod namespace;
mod network;
mod open_files;
mod origin;
#[cfg(target_os = "linux")]
mod other_user;
mod pattern;
mod probed;
mod process;
mod proxy;
mod record;
mod socks;
mod squid;
mod status;
mod tinyproxy;
mod wait;
mod wine;

#[cfg(unix)]
pub(crate) use self::activation::activated;
#[cfg(unix)]
pub(crate) use self::kdc::{Kdc, SilentKdc};
#[cfg(unix)]
pub(crate) use self::process::is_default_address_free;
pub(crate) use self::{
    certificates::Certificates,
    client::{
        assert_reads, connect, connect_early, exchange, head, open, ping, read_through, rest,
        socks_connect,
    },
    client_program::{quiet, script, with_library},
    config::{ConfigDir, Way, two_hops},
    double::{Double, Step},
    network::{Network, WAYS},
    open_files::raise_open_files,
    origin::{EchoOrigin, HttpOrigin},
    pattern::{fill, first_difference},
    probed::{Probed, probe, run_probe},
    process::{Program, skip},
    proxy::{Event, Proxy, in_runtime, outcome, run},
    record::Seen,
    socks::SocksProxy,
    squid::{Passed, Squid, SquidRules, free_address, free_port, free_port_at},
    status::status,
    tinyproxy::Tinyproxy,
    wait::{SHORT_TIMEOUTS, SHORT_WAIT, pause, within},
    wine::{finds_proxies_or_skip, remove_and_write, rename, resets, resets_or_skip},
};
#[cfg(target_os = "linux")]
pub(crate) use self::{
    client::Answer,
    namespace::{Namespace, RESOLVER, Says},
    other_user::OtherUser,
    status::resources,
};

/// The credentials that the provider's doubles and peers know.
pub(crate) const USERNAME: &str = "dev";
pub(crate) const PASSWORD: &str = "secret";
/// The two as the value of a `Proxy-Authorization` field.
pub(crate) const BASIC: &str = "Basic ZGV2OnNlY3JldA==";
