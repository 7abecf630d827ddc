//! What operators want, with every name resolved to the thing it names.
//!
//! A [`Loader`] makes a [`Config`]: it reads the files, merges them, puts variables in, applies what the
//! command line overrides, and resolves the names; or it lists every [`Problem`] there is.

mod credentials;
mod fingerprint;
pub mod load;
mod model;
mod raw;
pub mod report;
mod resolve;
pub mod schema;
pub mod source;
mod units;
mod yaml;

pub use self::{
    credentials::{Credential, Origin},
    fingerprint::{Outline, Overridden},
    load::{Loader, Overrides},
    model::{
        Auth, Chain, Config, Format, Level, Limits, Log, NamedHop, Route, Server, Timeouts,
        UnknownName,
    },
    report::problem::{Place, Problem, Problems},
    source::{Environment, Source},
};
