//! Bytes on sockets: the relay of a tunnel, reading ahead, and the timers and probes beside it.

pub mod keepalive;
pub mod lazy_timer;
pub mod read_ahead;
pub mod relay;
