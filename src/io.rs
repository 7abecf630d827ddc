//! Bytes on sockets: the relay of a tunnel, reading ahead, and the turns, timers and probes beside it.

mod count_bytes;
pub(crate) mod keepalive;
pub(crate) mod lazy_timer;
pub(crate) mod read_ahead;
pub(crate) mod relay;
pub(crate) mod send_queue;
pub(crate) mod turn;

pub(crate) use self::count_bytes::CountBytes;
