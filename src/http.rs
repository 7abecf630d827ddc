//! HTTP/1.1 on the wire, without sockets (RFC 9110, RFC 9112).
//!
//! Bytes arrive in a growing buffer and leave as parsed heads and slices of bodies. Messages are forwarded by writing
//! the parsed form again. A head that could be read in two ways never becomes a [`RequestHead`] or a [`ResponseHead`],
//! so the messages written from them are not ambiguous either.
//!
//! Requests must follow the grammar strictly. Responses are repaired if the RFC says how and only one reading exists.
//!
//! - [`HeadReader`] turns bytes into heads, a [`BadRequest`] or a [`BadResponse`], within [`HeadLimits`].
//! - [`RequestHead`], [`ResponseHead`] and [`Fields`] keep names, order, case and bytes as they were received.
//! - [`Target`] and [`Resource`] say which resource a request asks for.
//! - [`BodyLength`], [`BodyReader`] and [`chunked`] find the end of a body and hand out its bytes.

mod body;
pub mod chunked;
mod error;
mod fields;
mod framing;
mod head;
mod mend;
mod method;
#[cfg(test)]
mod properties;
pub(crate) mod proxy_protocol;
mod request;
mod response;
mod role;
#[cfg(test)]
mod second_opinion;
mod target;
mod upgrade;
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
pub(crate) use self::{error::PROXY_PROTOCOL, method::is_idempotent};
