//! Answers to a client that this proxy writes itself.
//!
//! [`message`] has the answer and how it is written, [`reason_phrase`] the words of its status line, [`verdict`] decides what an error means to a client, and [`texts`]
//! has the words.

mod hop_advice;
mod message;
mod near_target;
mod reason_phrase;
mod texts;
mod verdict;

pub(crate) use self::{
    hop_advice::waited,
    message::Reply,
    near_target::NearTarget,
    reason_phrase::is_registered,
    texts::{with_address, with_addresses},
    verdict::advice,
};
pub(crate) use crate::error::with_causes;
