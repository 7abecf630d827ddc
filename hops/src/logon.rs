//! Authentication of the connections that carry plain requests.

use std::{any::Any, fmt};

use crate::Refusal;

/// The authentication of one connection to a hop that forwards plain requests.
///
/// [`Link::authorize`](crate::Link::authorize) makes the credentials of a request, and only the answer to that request
/// shows whether the hop accepts them. A kind that has to know leaves a `Logon` in the
/// [tunnel](crate::Tunnel::set_logon), and finds it there again by a downcast from [`Any`].
pub trait Logon: Any + fmt::Debug + Send + Sync {
    /// Returns whether the connection itself is logged on, so that a request without credentials passes on it and on
    /// no other.
    fn is_logged_on(&self) -> bool {
        false
    }

    /// Notes that the hop took the request that was authorized last, whatever its answer.
    fn accepted(&self);

    /// Notes that the hop answered that request with a 407. `challenges` has the values of its `Proxy-Authenticate`
    /// fields.
    ///
    /// Returns whether the same request may succeed on a new connection, because of what was learned from the answer.
    /// Otherwise adds to `refusal` what the kind knows about it.
    fn challenged(&self, challenges: &[&[u8]], refusal: &mut Refusal) -> bool;
}
