//! Writing heads anew from their parsed form.
//!
//! Fields go out in the order in which they came. Those of one connection are left out, `Host` and the fields that
//! frame the body are written from what they mean, each once and where the first of its kind stood, and fields of our
//! own come last, so that nothing a `Connection` field lists can take them away.

mod decimal;
mod echo;
mod fields;
mod request;
mod response;

pub use self::request::{AbsoluteTarget, RequestForm};
