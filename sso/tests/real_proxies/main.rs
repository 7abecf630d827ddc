//! Authentication against real servers: squid with samba's and its own helpers, and an MIT KDC on loopback.
//!
//! Programs that are missing leave a test out, with a line on the terminal, unless MOOLTIROUTE_PEERS=required.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must stop")]
#![expect(clippy::panic, reason = "helpers fail the test that called them")]

mod kdc;
mod kerberos;
mod passwords;
mod programs;
mod squid;
