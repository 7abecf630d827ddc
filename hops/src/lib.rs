//! The hops of Mooltiroute.
//!
//! A *hop* is one upstream on the way to a target, such as a corporate proxy. Each is a [`Hop`]: it says where it is
//! reached and how a [`Tunnel`] that reaches it is extended to the next stop. It does not dial, time out, log or pool,
//! and does not know its name: the chain that holds it does, for every kind alike.
//!
//! To write a kind of hop, depend on this crate alone: a type for its settings that implements [`HopConfig`], a type
//! that implements [`Hop`], and one line, `registry.with::<MyConfig>()`, where the program is started.
//! `examples/custom_hop.rs` of the program does so in fifty lines.
//!
//! - [`Hop`], [`HopConfig`]: the seam.
//! - [`Tunnel`], [`Stream`]: the connection that is handed from hop to hop.
//! - [`Authority`], [`Host`]: a checked host and port.
//! - [`Registry`], [`Settings`], [`InvalidSetting`]: from what an operator wrote to a hop.
//! - [`handshake`], [`tls`], [`credentials`]: what kinds have in common.
//! - [`auth`]: the authentication schemes of proxies.
//! - [`kinds`]: the kinds that ship.

#![forbid(unsafe_code)]

pub mod auth;
mod authority;
mod context;
mod country;
pub mod credentials;
mod error;
mod field;
pub mod handshake;
mod hop;
pub mod kinds;
mod one_or_list;
mod preferences;
mod refusal;
mod registry;
mod secret;
mod settings;
pub mod tls;
mod tunnel;

pub use async_trait::async_trait;
pub use schemars;

pub use crate::{
    authority::{Authority, Host, InvalidAuthority},
    context::{BuildContext, Siblings},
    country::{Country, InvalidCountry},
    error::HopError,
    field::FieldName,
    hop::{Forwarding, Hop, HopConfig, Reuse},
    one_or_list::{Listed, OneOrList},
    preferences::{InvalidPreferences, Preferences, Request, Sessions},
    refusal::{Meaning, Refusal},
    registry::{Kind, Registry},
    secret::Secret,
    settings::{Fault, InvalidSetting, InvalidSettings, Key, KeyPath, Settings},
    tunnel::{Io, ReadHalf, Stream, Tunnel, WriteHalf},
};
