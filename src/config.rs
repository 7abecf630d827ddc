//! Loads, validates and describes the configuration.
//!
//! A [`Loader`] reads the files, merges them, puts variables in, applies the command line's overrides, and resolves all
//! names. The result is a [`Config`], or a list of every [`Problem`].

mod credentials;
pub(crate) mod edit;
mod fingerprint;
pub mod hop_url;
mod listen;
pub mod load;
mod model;
#[cfg(test)]
mod mute_kind;
mod raw;
pub mod report;
mod resolve;
pub mod schema;
pub mod source;
mod units;
mod workers;
mod yaml;

pub use self::{
    credentials::{Credential, CredentialSource},
    fingerprint::{Outline, Overridden, Shadowed},
    listen::{InvalidListenAddress, ListenAddress, Listener},
    load::{Loader, Overrides},
    model::{
        Auth, ChainConfig, Config, Level, Limits, Log, LogFormat, NamedHop, Protocol, Route,
        ServerConfig, ShownSetting, Timeouts, UnknownName,
    },
    raw::OnLeave,
    report::problem::{Place, Problem, Problems},
    source::{Environment, Source},
    workers::WorkerCount,
};
pub(crate) use self::{
    listen::{ProxyAddress, bare_port, has_too_large_port, reachable},
    report::first_problems::sort_by_place,
};
pub use crate::budget::{Budget, Consequence, Per, Zone};
