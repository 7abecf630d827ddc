//! Answers to a client that this proxy writes itself.
//!
//! [`message`] has the answer and how it is written, [`reason_phrase`] the words of its status line, [`reply_text`] the form of its text, [`verdict`] decides what an error means to a client, and [`texts`]
//! has the words.

mod hop_advice;
mod message;
mod near_target;
mod reason_phrase;
mod reply_text;
mod texts;
mod verdict;

pub(crate) use self::{
    hop_advice::waited,
    message::Reply,
    near_target::NearTarget,
    reason_phrase::is_registered,
    reply_text::{ReplyText, place_of_proxy, proxy_url},
    verdict::advice,
};
pub(crate) use crate::error::with_causes;
