//! The built-in kinds of hop. A new one is a file beside these, and its two lines here.

mod added;
mod blocking;
mod gateway;
pub mod http_connect;
mod outer_choice;
#[cfg(feature = "pac")]
pub mod pac;
pub mod pool;
pub mod rotating;
pub mod socks5;
pub mod webshare;
mod wish;

use crate::Registry;

/// Returns every built-in kind.
///
/// ```
/// assert!(mooltiroute_hops::kinds::builtin().kind("socks5").is_some());
/// ```
pub fn builtin() -> Registry {
    let registry = Registry::default()
        .with::<http_connect::HttpConnectConfig>()
        .with::<pool::PoolConfig>()
        .with::<rotating::RotatingConfig>()
        .with::<socks5::Socks5Config>()
        .with::<webshare::WebshareConfig>();
    #[cfg(feature = "pac")]
    let registry = registry.with::<pac::PacConfig>();
    registry
}
