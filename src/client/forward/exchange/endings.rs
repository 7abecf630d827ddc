//! Decides how an exchange ends, which depends on how much of the answer the client has.

use mooltiroute_hops::Stream;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Answer, Exchange, Upload};
use crate::{
    client::{
        forward::{
            ending::{BreakSign, Ending},
            pump::Stuck,
        },
        reply::Reply,
    },
    http::{BadBody, BodyLength},
};

impl<C, U> Exchange<'_, C, U>
where
    C: Stream,
    U: AsyncRead + AsyncWrite + Unpin,
{
    pub(super) fn whole(&self, keeps_upstream: bool, is_last: bool) -> Ending {
        // After a part of a request, the next one would be read as its rest.
        let keeps_upstream = keeps_upstream && self.upload == Upload::Whole;
        Ending::Whole { keeps_client: !is_last, keeps_upstream }
    }

    pub(super) fn client_left(&self) -> Ending {
        match self.answer {
            // It left with the complete answer.
            Answer::Done { .. } => self.whole(false, true),
            _ => Ending::ClientLeft(self.break_sign()),
        }
    }

    pub(super) fn bad_body(&self, bad: BadBody) -> Ending {
        // The client is reading an answer already, which can only be cut off.
        if self.has_begun() {
            return self.truncated("the request's body is broken");
        }
        let why = format!("the body of the request is broken: {bad}");
        let text = format!("Mooltiroute can't pass on this request: {why}.");
        Ending::Refused(Box::new(Reply::refused(400, text)), why)
    }

    pub(super) fn broke_off(&self, stuck: &Stuck) -> Ending {
        let why = match stuck {
            Stuck::ReaderEnded | Stuck::ReaderBroke => {
                "the upstream closed before the end of the body"
            }
            Stuck::Bad(_) => "the upstream sent a broken body",
            Stuck::Writer => return Ending::ClientBroke,
        };
        // A failure of the client has returned above. It does not count against the upstream.
        self.outbound.count_break();
        self.truncated(why)
    }

    pub(super) fn truncated(&self, why: &'static str) -> Ending {
        Ending::Truncated(self.break_sign(), why)
    }

    fn break_sign(&self) -> BreakSign {
        match self.answer {
            // An orderly close would pass for the end of this body, so only a reset can show the
            // cut.
            Answer::Body { to: BodyLength::UntilClose, .. } => BreakSign::Missing,
            _ => BreakSign::Visible,
        }
    }

    /// Returns whether something of an answer is on its way to the client, so that no other can take its place.
    pub(super) fn has_begun(&self) -> bool {
        !matches!(self.answer, Answer::Head { .. }) || self.to_client.blocked_since().is_some()
    }
}
