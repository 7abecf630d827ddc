//! HTTP/1.1 on the wire, without sockets (RFC 9110, RFC 9112).
//!
//! Bytes come in as a growing buffer and leave as parsed heads and slices of bodies; what is sent on is written anew
//! from the parsed form. A head that could be read in two ways never becomes a [`RequestHead`] or a [`ResponseHead`],
//! so what is written from one cannot be ambiguous either.
//!
//! - [`HeadReader`]: from bytes to heads, and from nonsense to a [`BadRequest`] or a [`BadResponse`].
//! - [`RequestHead`], [`ResponseHead`], [`Fields`]: what was said; names, order, case and bytes as they came.
//! - [`Target`], [`Resource`]: where a request wants to go.
//! - [`BodyLength`], [`BodyReader`], [`chunked`]: where a body ends, and its bytes.

mod body;
pub mod chunked;
mod error;
mod fields;
mod framing;
mod head;
#[cfg(test)]
mod properties;
mod request;
mod response;
mod role;
#[cfg(test)]
mod second_opinion;
mod target;
mod version;
mod write;

pub use self::{
    body::{BodyReader, Decoded},
    error::{BadBody, BadRequest, BadResponse, Truncated},
    fields::Fields,
    framing::BodyLength,
    head::{HeadLimits, HeadReader},
    request::RequestHead,
    response::ResponseHead,
    role::is_hop_by_hop,
    target::{Resource, Target},
    version::Version,
    write::{AbsoluteTarget, RequestForm},
};
