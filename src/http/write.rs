//! Writing heads from their parsed form.
//!
//! Fields keep their order. Hop-by-hop fields are removed. `Host` and the fields that frame the body are rewritten from
//! their meaning, each once and at the place of the first one. Our own fields come last, so that no `Connection` field
//! can remove them.

mod echo;
mod fields;
mod request;
mod response;

pub use self::request::{AbsoluteTarget, RequestForm};
