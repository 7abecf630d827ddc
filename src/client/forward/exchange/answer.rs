//! Reads the answer, interim ones first, and passes it on.

use std::task::{Context, Poll, ready};

use mooltiroute_hops::Stream;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use super::{AnswerProgress, Exchange, Upload};
use crate::{
    client::forward::{ending::Ending, outbound::Outbound, pump::Pump},
    http::{BodyLength, BodyReader, HeadReader, ResponseHead, Version},
    io::read_ahead,
    proxy_error::ProxyError,
};

/// How far the answer is.
pub(super) enum Answer {
    /// Its head has not come; this many interim answers have. `is_doubtful` says that the end of one of them is
    /// uncertain.
    Head { reader: HeadReader, interim_count: usize, is_doubtful: bool },
    /// Its head has come.
    Body { head: ResponseHead, pump: Pump, to: BodyLength, keeps_upstream: bool, is_last: bool },
    /// It is a switch of protocols, which the client is being told.
    Switching,
    /// The client has all of it.
    Done { keeps_upstream: bool, is_last: bool },
}

impl<C, U> Exchange<'_, C, U>
where
    C: Stream,
    U: AsyncRead + AsyncWrite + Unpin,
{
    /// Passes on the answer, interim ones first.
    pub(super) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        loop {
            match &mut self.answer {
                Answer::Head { .. } => {
                    if let Some(ending) = ready!(self.poll_head(cx)) {
                        return Poll::Ready(ending);
                    }
                }
                Answer::Body { head, pump, keeps_upstream, is_last, .. } => {
                    let upstream = (&mut *self.upstream, &mut *self.upstream_seen);
                    let client = (&mut *self.client, &mut self.to_client);
                    if let Err(stuck) = ready!(pump.poll(cx, upstream, client, head.fields())) {
                        return Poll::Ready(self.broke_off(&stuck));
                    }
                    self.answer =
                        Answer::Done { keeps_upstream: *keeps_upstream, is_last: *is_last };
                }
                Answer::Switching => {
                    // The tunnel begins with an empty send buffer, so the 101 has to be out first.
                    let flushed = ready!(self.to_client.poll_flush(cx, self.client));
                    return Poll::Ready(flushed.map_or(Ending::ClientBroke, |()| Ending::Switched));
                }
                // An origin may answer before it has read the request. The rest still goes to it:
                // it may store a file that is complete only with its last byte.
                Answer::Done { .. } if self.upload == Upload::Sending => {
                    self.note_end_of_upstream(cx);
                    return Poll::Pending;
                }
                Answer::Done { keeps_upstream, is_last } => {
                    let (keeps_upstream, is_last) = (*keeps_upstream, *is_last);
                    return Poll::Ready(self.whole(keeps_upstream, is_last));
                }
            }
        }
    }

    /// Reads to the end of the head of the answer, and passes on interim answers; `None` if the answer goes on.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Option<Ending>> {
        let outbound = self.outbound;
        loop {
            let Answer::Head { reader, interim_count, is_doubtful } = &mut self.answer else {
                return Poll::Ready(None);
            };
            // An interim answer leaves before the next head is read. So a client that takes nothing
            // holds up the upstream, and no answer of this proxy begins in the middle of one.
            if ready!(self.to_client.poll_flush(cx, self.client)).is_err() {
                return Poll::Ready(Some(Ending::ClientBroke));
            }
            let method = outbound.plan.head.method();
            let ending = match reader.response(method, self.upstream_seen) {
                Ok(Some(interim)) if interim.is_interim() => {
                    *interim_count += 1;
                    *is_doubtful |= interim.has_doubtful_length();
                    self.head_begun = None;
                    // A server that sends interim answers without end would keep the client
                    // waiting, so their number has a bound.
                    if *interim_count <= INTERIM_MAX {
                        self.pass_interim(&interim);
                        continue;
                    }
                    let why = "it keeps sending interim answers";
                    Some(outbound.bad_answer(ProxyError::HttpProtocol, why))
                }
                Ok(Some(head)) => {
                    let is_doubtful = *is_doubtful;
                    return Poll::Ready(self.begin(head, is_doubtful));
                }
                Ok(None) => None,
                Err(bad) => Some(outbound.not_http(&bad, self.upstream_seen)),
            };
            if ending.is_some() {
                return Poll::Ready(ending);
            }
            if !self.upstream_seen.is_empty() {
                // A head that comes byte by byte is late even while the request is under way.
                self.head_begun.get_or_insert_with(Instant::now);
            }
            let seen = &mut *self.upstream_seen;
            match ready!(read_ahead::poll_read(cx, self.upstream, seen, HEAD_READ_BYTES)) {
                Ok(1..) => self.progress = AnswerProgress::Something,
                read => {
                    // Closed without a byte: a kept connection was most likely closed before the
                    // request arrived, and the request may be tried again on a new one.
                    if self.progress == AnswerProgress::Nothing {
                        self.progress = AnswerProgress::ClosedUnanswered;
                    }
                    let why = match read {
                        Ok(_) => "the connection was closed before the answer was complete".into(),
                        Err(error) => {
                            format!("the connection broke before the answer was complete: {error}")
                        }
                    };
                    return Poll::Ready(Some(
                        outbound.bad_answer(ProxyError::ConnectionTerminated, why),
                    ));
                }
            }
        }
    }

    /// Notes whether the upstream has ended after its answer. It may go on reading anyway, so the rest of the request
    /// is still sent to it. But a client that never sends that rest would keep both connections.
    fn note_end_of_upstream(&mut self, cx: &mut Context<'_>) {
        if self.upstream_has_ended {
            return;
        }
        let seen = &mut *self.upstream_seen;
        // Bytes behind the answer belong to no request. They count as an end, since nothing good can follow.
        self.upstream_has_ended = !seen.is_empty()
            || read_ahead::poll_read(cx, self.upstream, seen, HEAD_READ_BYTES).is_ready();
    }

    fn pass_interim(&mut self, interim: &ResponseHead) {
        let request = self.outbound.plan.head;
        // HTTP/1.0 has no interim answers (RFC 9110 §15.2).
        if request.version() == Version::Http11 {
            interim.write(Version::Http11, &[], self.to_client.collected());
        }
    }

    /// Begins to pass on the answer whose head has come, or ends the exchange if that can't be passed on.
    fn begin(&mut self, head: ResponseHead, is_after_doubtful: bool) -> Option<Ending> {
        self.status = head.status();
        // Any head is an answer, also one that is not passed on: the request is not a round of a loop.
        self.outbound.plan.is_answered(head.status());
        if let Some(hop) = &self.outbound.end.hop {
            hop.answered(self.outbound.plan.chain);
        }
        let challenge = self.logon.as_deref().filter(|_| head.status() == 407);
        if let Some((refused, can_go_on)) = self.outbound.refused(&head, challenge) {
            if can_go_on {
                self.progress = AnswerProgress::Challenged;
            }
            return Some(refused);
        }
        // Before the hop is proved, since a refusal is not a connection that it carried.
        self.outbound.note_answer(&head);
        self.outbound.plan.is_proved();
        if let Some(logon) = &self.logon {
            logon.accepted();
        }
        match head.status() {
            101 => return self.switch(&head),
            // A client must not be asked for credentials that it does not have. Browsers would ask
            // their user, and send the password to the wrong party.
            407 => {
                let why = "it answers 407, which only a proxy may";
                return Some(self.outbound.bad_answer(ProxyError::HttpProtocol, why));
            }
            _ => {}
        }
        let request = self.outbound.plan.head;
        // If the request is not over, its rest may never come. The client is told now that the
        // connection closes, since nothing can be said about that after the head.
        let is_last = !request.wants_keep_alive() || self.upload != Upload::Whole;
        let via = self.outbound.via();
        let mut extra = Vec::new();
        extra.extend(via.as_deref().map(|via| ("Via", via)));
        extra.extend(is_last.then_some(("Connection", "close")));
        let from = head.body_length();
        let out = self.to_client.collected();
        let to = head.write(request.version(), &extra, out);
        // A body that lasts until the close uses the connection up.
        let keeps_upstream =
            head.keeps_alive() && from != BodyLength::UntilClose && !is_after_doubtful;
        let pump = Pump::new(BodyReader::of_response(from), to);
        self.answer = Answer::Body { head, pump, to, keeps_upstream, is_last };
        None
    }

    fn switch(&mut self, head: &ResponseHead) -> Option<Ending> {
        let Outbound { plan, .. } = self.outbound;
        let bad = |why: &str| Some(self.outbound.bad_answer(ProxyError::HttpUpgradeFailed, why));
        if self.upload != Upload::Whole {
            return bad("it switches protocols in the middle of the request");
        }
        let (Some(_), Some(protocol)) = (&plan.upgrade, head.upgrade()) else {
            return bad("it switches protocols without being asked");
        };
        // Both sides have agreed, and nothing of the request is left to send (RFC 9110 §7.8).
        let extra = [("Connection", "Upgrade"), ("Upgrade", protocol.as_str())];
        let out = self.to_client.collected();
        head.write(Version::Http11, &extra, out);
        self.answer = Answer::Switching;
        None
    }
}

/// Most heads fit in one read of this size.
const HEAD_READ_BYTES: usize = 8 * 1024;
/// How many interim answers may precede one answer. A server that sends a 102 each second for an hour stays below it, and the
/// wait as a whole is bounded by `timeouts.response`.
const INTERIM_MAX: usize = 10_000;
