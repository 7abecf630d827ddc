//! Random numbers of the system.

use tokio_rustls::rustls::crypto::ring;

use crate::HopError;

/// Returns random bytes that are fit for nonces.
///
/// # Errors
/// The system gives none.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], HopError> {
    let mut bytes = [0; N];
    let source = ring::default_provider().secure_random;
    let no_source = |_| HopError::Other("the system gives no random numbers".into());
    source.fill(&mut bytes).map_err(no_source)?;
    Ok(bytes)
}
