//! The body of one message on its way from one connection to another.

use std::{
    io,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};

use super::outbox::Outbox;
use crate::{
    http::{BadBody, BodyLength, BodyReader, Decoded, Fields, chunked},
    io::read_ahead,
};

/// The body of one message on its way, with the framing that its recipient understands.
#[derive(Debug)]
pub(super) struct Pump {
    body: BodyReader,
    is_chunked: bool,
    read_bytes: usize,
    state: PumpState,
}

#[derive(Clone, Copy, Debug)]
enum PumpState {
    Passing,
    /// All of it is in the outbox.
    Whole,
    /// It was broken; what came before is good, and leaves first.
    Broken(BadBody),
}

/// Why a body could not be passed on to its end.
#[derive(Debug)]
pub(super) enum Stuck {
    /// The connection that it comes from ended before the end of the body.
    ReaderEnded,
    /// The connection that it comes from broke.
    ReaderBroke,
    /// The bytes are not a valid body.
    Bad(BadBody),
    /// The connection that it goes to broke.
    Writer,
}

impl Pump {
    /// Passes on `body`, with its end marked as `to` says.
    pub(super) fn new(body: BodyReader, to: BodyLength) -> Self {
        Self {
            body,
            is_chunked: to == BodyLength::Chunked,
            read_bytes: READ_BYTES_MIN,
            state: PumpState::Passing,
        }
    }

    /// Moves what can be moved; ready once `writer` has taken all of the body.
    ///
    /// `seen` was read ahead of `reader`; what follows the body stays in it. `head` has the fields of the message. Whatever
    /// waits in `outbox` leaves before more is read, so a slow writer holds up the reader.
    pub(super) fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        (reader, seen): (&mut R, &mut BytesMut),
        (writer, outbox): (&mut W, &mut Outbox),
        head: &Fields,
    ) -> Poll<Result<(), Stuck>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            if !outbox.has_room() || !matches!(self.state, PumpState::Passing) {
                ready!(outbox.poll_flush(cx, writer)).map_err(|_| Stuck::Writer)?;
            }
            match self.state {
                PumpState::Passing => {}
                PumpState::Whole => return Poll::Ready(Ok(())),
                PumpState::Broken(bad) => return Poll::Ready(Err(Stuck::Bad(bad))),
            }
            match self.body.decode(seen) {
                Ok(Decoded::Data(data)) => outbox.put(data, self.is_chunked),
                Ok(Decoded::Trailers(trailers)) => self.end(head, Some(&trailers), outbox),
                Ok(Decoded::End) => self.end(head, None, outbox),
                Ok(Decoded::NeedMore) => {
                    ready!(outbox.poll_flush(cx, writer)).map_err(|_| Stuck::Writer)?;
                    self.read(ready!(read_ahead::poll_read(cx, reader, seen, self.read_bytes)))?;
                }
                Err(bad) => self.state = PumpState::Broken(bad),
            }
        }
    }

    fn end(&mut self, head: &Fields, trailers: Option<&Fields>, outbox: &mut Outbox) {
        if self.is_chunked {
            chunked::write_end(head, trailers, outbox.collected());
        }
        self.state = PumpState::Whole;
    }

    fn read(&mut self, read: io::Result<usize>) -> Result<(), Stuck> {
        let count = read.map_err(|_| Stuck::ReaderBroke)?;
        if count == 0 {
            self.body.end().map_err(|_| Stuck::ReaderEnded)?;
        }
        // A body that fills its room gets more.
        if count >= self.read_bytes {
            self.read_bytes = (self.read_bytes * 2).min(READ_BYTES_MAX);
        }
        Ok(())
    }
}

const READ_BYTES_MIN: usize = 8 * 1024;
const READ_BYTES_MAX: usize = 64 * 1024;
