//! The kinds of hop that ship. A new one is a file beside these, and its two lines here.

pub mod http_connect;
pub mod pool;
pub mod rotating;
pub mod webshare;

use crate::Registry;

/// Every kind that ships.
pub fn builtin() -> Registry {
    Registry::default() //
        .with::<http_connect::Config>()
        .with::<pool::Config>()
        .with::<rotating::Config>()
        .with::<webshare::Config>()
}
