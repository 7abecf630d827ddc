//! The hops of Mooltiroute.
//!
//! A *hop* is one upstream on the way to a target, such as a corporate proxy. It has two sides:
//!
//! - [`Hop`] chooses, for each connection, the upstream that carries it.
//! - [`Link`] carries one connection: it has the address of the upstream, and extends a [`Tunnel`] that reaches it to
//!   the next stop.
//!
//! A hop does not dial, time out or log, and does not know its name. The chain that holds it does, for every kind
//! alike. A kind with one upstream implements [`Link`] and is a [`Hop`] without further code.
//!
//! To write a kind of hop, depend on this crate alone: a type for its settings that implements [`HopConfig`], a type
//! that implements [`Link`], and one line, `registry.with::<MyConfig>()`, in the program's `main`.
//! `examples/custom_hop.rs` of the program is such a kind in one file.
//!
//! - [`Hop`], [`Link`], [`HopConfig`]: the seam.
//! - [`Asker`], [`Services`]: for a hop that has to ask before it can choose.
//! - [`Decider`]: for a hop that chooses by what is asked for.
//! - [`Tunnel`], [`Stream`]: the connection that is handed from hop to hop.
//! - [`HopError`], [`Refusal`], [`MissingCredentials`]: the reasons why a hop was not passed.
//! - [`Authority`], [`Host`]: a checked host and port.
//! - [`Registry`], [`Settings`], [`InvalidSetting`]: from the text of an operator to a hop.
//! - [`exchange`], [`socks`], [`tls`], [`credentials`]: parts that kinds share.
//! - [`thread_pool`]: for calls that block.
//! - [`auth`]: the authentication schemes of proxies.
//! - [`kinds`]: the built-in kinds.

#![forbid(unsafe_code)]

mod asker;
pub mod auth;
mod authority;
mod calendar;
mod context;
mod country;
pub mod credentials;
mod decider;
mod encryption;
mod error;
mod eventual;
pub mod exchange;
mod field;
mod glob;
mod hop;
pub mod kinds;
mod link;
mod logon;
mod member_ledger;
mod no_descriptor;
mod one_or_list;
mod pass_headers;
mod preferences;
mod random;
mod readiness;
mod refusal;
mod registry;
mod remote;
mod rounds;
mod secret;
mod settings;
pub mod socks;
pub mod thread_pool;
pub mod tls;
mod tunnel;

pub use async_trait::async_trait;
pub use schemars;

pub use crate::{
    asker::{
        Asker, Forwarder, KeptDocument, OpenError, PlainConnection, SavedDocument, Services,
        SourceKind, SourceNews, SourceState, Validators,
    },
    authority::{Authority, Host, InvalidAuthority},
    context::{BuildContext, FileContents, Siblings, is_utf16},
    country::{Country, InvalidCountry},
    decider::{Decider, Decision, Prediction},
    encryption::Encryption,
    error::{AskedToWait, HeldBack, HopError, MissingCredentials, NoChoice, Spoken},
    eventual::Eventual,
    field::{Field, FieldName},
    glob::Glob,
    hop::{
        AnswerRecord, ChooseError, Chosen, Description, Hop, HopConfig, KeptExit, LoginShape,
        MemberStatus, PlainForm, Selection, SettingMeaning, UrlKeys, WhyDirect,
    },
    link::{Link, LinkSettings, PlainRequest, RequestLine, Reuse},
    logon::Logon,
    member_ledger::MemberLedger,
    no_descriptor::NO_DESCRIPTOR,
    one_or_list::{Listed, OneOrList},
    pass_headers::{ClientFields, PassHeaders},
    preferences::{InvalidPreferences, Preferences, Request, Sessions},
    readiness::{Readiness, Unready},
    refusal::{HttpRefusal, Meaning, Party, Refusal, SentLogin},
    registry::{Kind, Registry},
    rounds::ObserveRounds,
    secret::Secret,
    settings::{Fault, InvalidSetting, InvalidSettings, Key, KeyPath, Settings, name_of_value},
    tunnel::{CountWire, Io, ReadHalf, Stream, Tunnel, WriteHalf},
};
