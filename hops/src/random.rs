//! Random numbers of the system.

use std::sync::LazyLock;

use tokio_rustls::rustls::crypto::{SecureRandom, ring};

use crate::HopError;

/// Returns random bytes that are fit for nonces.
///
/// # Errors
/// The system gives none.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], HopError> {
    // A weak number in place of a missing one would make nonces predictable, so a system without any fails the
    // connection.
    let mut bytes = [0; N];
    let no_source = |_| HopError::Other("the system gives no random numbers".into());
    SOURCE.fill(&mut bytes).map_err(no_source)?;
    Ok(bytes)
}

/// The source that TLS uses too. The provider that names it is large, so it is built once.
static SOURCE: LazyLock<&'static dyn SecureRandom> =
    LazyLock::new(|| ring::default_provider().secure_random);
