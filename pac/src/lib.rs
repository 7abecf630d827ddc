//! Runs PAC files: the JavaScript function `FindProxyForURL(url, host)` by which a company chooses a proxy for each request.
//!
//! A PAC file is a program from outside, so this package runs it with limits and without any I/O:
//!
//! - [`PacRunner`] owns the thread on which a script runs. A call has [a tenth of a second](CALL_MAX) of processor time
//!   and a script 16 MiB of memory. A call that exceeds them fails, and the next one starts with a fresh script. A call
//!   that takes long holds up no other one: another thread takes over those that wait.
//! - [`Surroundings`] are the only facts that a script can ask for: addresses of names, addresses of this machine, the
//!   time. They must be known at once. A name whose addresses are not known yet ends the call with
//!   [`Outcome::Lookup`]; the caller looks the name up and calls again. So a silent name server delays only the request
//!   that needs it, and never the thread.
//! - [`decode`] turns the bytes of a file into text, even if nothing names their encoding.
//!
//! ```
//! use std::sync::{Arc, mpsc};
//! use mooltiroute_pac::{NoNames, Outcome, PacRunner, Query};
//!
//! let text = "function FindProxyForURL(url, host) {
//!     return isPlainHostName(host) ? 'DIRECT' : 'PROXY proxy.example:3128';
//! }";
//! let runner = PacRunner::load(text.into()).unwrap();
//! let (sender, receiver) = mpsc::channel();
//! let query = Query { url: "https://www.example/".into(), host: "www.example".into() };
//! let _pending = runner.ask(query, Arc::new(NoNames), move |outcome| sender.send(outcome).unwrap());
//! assert_eq!(receiver.recv().unwrap(), Ok(Outcome::Answer("PROXY proxy.example:3128".into())));
//! ```

#![forbid(unsafe_code)]

mod addresses;
mod budget;
mod engine;
mod error;
mod functions;
mod priority;
mod runner;
mod text;
mod url_use;

use std::{fmt, net::IpAddr, time::SystemTime};

pub use crate::{
    budget::{CALL_MAX, LOAD_MAX},
    engine::Engine,
    error::{PacError, Place},
    runner::{PacRunner, PendingCall},
    text::decode,
    url_use::looks_at_url,
};

/// The arguments of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The URL of the request.
    pub url: Box<str>,
    /// Its host. An IPv6 address has no brackets here.
    pub host: Box<str>,
}

/// The outcome of a call that did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The text that the script returned.
    Answer(String),
    /// The script asked for the addresses of this name, which are not known yet.
    Lookup(String),
}

/// The facts that a script may ask for. None of these functions may block: they run on the thread of the script.
pub trait Surroundings: fmt::Debug + Send + Sync {
    /// Returns the addresses of `name`, which are empty if it has none or can't be looked up. Returns `None` if it was not
    /// looked up yet.
    fn addresses(&self, name: &str) -> Option<Vec<IpAddr>>;

    /// Returns the addresses by which this machine reaches other networks, the best first.
    fn own_addresses(&self) -> Vec<IpAddr>;

    /// Returns the present time.
    fn now(&self) -> SystemTime;

    /// Receives a message from the script to people.
    fn alert(&self, text: &str);
}

/// Surroundings without any address, for tests and measurements: each name is known to have none.
#[derive(Clone, Copy, Debug)]
pub struct NoNames;

impl Surroundings for NoNames {
    fn addresses(&self, _: &str) -> Option<Vec<IpAddr>> {
        Some(Vec::new())
    }

    fn own_addresses(&self) -> Vec<IpAddr> {
        Vec::new()
    }

    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn alert(&self, _: &str) {}
}
