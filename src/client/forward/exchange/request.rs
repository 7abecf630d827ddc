//! Sends the request, and watches the client behind it.

use std::task::{Context, Poll, ready};

use mooltiroute_hops::Stream;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use super::{Exchange, Upload};
use crate::{
    client::{
        departure::READ_AHEAD_MAX,
        forward::{ending::Ending, pump::Stuck},
    },
    io::read_ahead,
};

impl<C, U> Exchange<'_, C, U>
where
    C: Stream,
    U: AsyncRead + AsyncWrite + Unpin,
{
    /// Sends the request, and then watches the client. Never ready just because the upstream broke: the answer may be
    /// there anyway, and say why.
    pub(super) fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        if self.upload == Upload::Sending {
            let client = (&mut *self.client, &mut *self.client_seen);
            let upstream = (&mut *self.upstream, &mut self.to_upstream);
            let fields = self.outbound.plan.head.fields();
            // If the upstream takes no more of the request, its answer may still come and say why,
            // such as 413 or 401. Only a failure of the client's side ends the exchange here.
            let sent = self.request.poll(cx, client, upstream, fields);
            // An upstream that takes nothing holds up the reading of the client.
            self.is_unread = self.to_upstream.blocked_since().is_some();
            self.upload = match ready!(sent) {
                Ok(()) => Upload::Whole,
                Err(Stuck::Writer) => Upload::Abandoned,
                Err(Stuck::Bad(bad)) => return Poll::Ready(self.bad_body(bad)),
                Err(Stuck::ReaderBroke) => return Poll::Ready(Ending::ClientBroke),
                Err(Stuck::ReaderEnded) => return Poll::Ready(self.client_left()),
            };
            // `timeouts.response` counts from here: an answer to a long upload is not late before
            // the upload is over.
            self.over = Some(Instant::now());
            self.outbound.log_wait();
        }
        self.poll_client(cx)
    }

    /// Reads ahead of what the client sends behind the request, so that its end is noticed.
    ///
    /// These bytes are the next request, which waits, or the rest of a request that the upstream no longer takes. A client
    /// that first sends and then reads would never finish if the rest were not read.
    fn poll_client(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        self.is_unread = false;
        loop {
            // A request that waits its turn is read ahead a little, so that the end of the
            // connection is seen behind it. The rest of an abandoned one is read to its end, within
            // a limit.
            let is_enough = match self.upload {
                Upload::Abandoned => self.discarded >= DISCARD_BYTES_MAX,
                Upload::Sending | Upload::Whole => self.client_seen.len() >= READ_AHEAD_MAX,
            };
            // No more is read from this side during the exchange. A client that has ended its direction is gone once
            // nothing moves; whether another one is still there is looked at now and then.
            if self.client_has_ended || is_enough {
                self.is_unread = is_enough && !self.client_has_ended;
                return Poll::Pending;
            }
            let seen = &mut *self.client_seen;
            match ready!(read_ahead::poll_read(cx, self.client, seen, READ_BYTES)) {
                Ok(0) => self.client_has_ended = true,
                Ok(count) if self.upload == Upload::Abandoned => {
                    self.discarded += count;
                    seen.clear();
                }
                Ok(_) => {}
                Err(_) => return Poll::Ready(Ending::ClientBroke),
            }
        }
    }
}

/// How much is read at once behind a request whose answer is under way.
const READ_BYTES: usize = 4 * 1024;
/// How much of a request that the upstream no longer takes is read and dropped.
const DISCARD_BYTES_MAX: usize = 128 << 20;
