//! The body of one message on its way from one connection to another.

use std::{
    io,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};

use super::send_buffer::SendBuffer;
use crate::{
    http::{BadBody, BodyLength, BodyReader, Decoded, Fields, chunked},
    io::{
        read_ahead,
        turn::{self, TURN_BYTES},
    },
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
    /// All of it is in the send buffer.
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
    /// waits in `send_buffer` leaves before more is read, so a slow writer holds up the reader.
    pub(super) fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        (reader, seen): (&mut R, &mut BytesMut),
        (writer, send_buffer): (&mut W, &mut SendBuffer),
        head: &Fields,
    ) -> Poll<Result<(), Stuck>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut moved = 0;
        loop {
            // Nothing is flushed while there is room, so that small pieces are collected. At the
            // end everything leaves, also what came before a broken part: it is good, and the
            // recipient sees by the framing that the rest is missing.
            if !send_buffer.has_room() || !matches!(self.state, PumpState::Passing) {
                ready!(send_buffer.poll_flush(cx, writer)).map_err(|_| Stuck::Writer)?;
            }
            match self.state {
                PumpState::Passing => {}
                PumpState::Whole => return Poll::Ready(Ok(())),
                PumpState::Broken(bad) => return Poll::Ready(Err(Stuck::Bad(bad))),
            }
            match self.body.decode(seen) {
                Ok(Decoded::Data(data)) => send_buffer.put(data, self.is_chunked),
                Ok(Decoded::Trailers(trailers)) => self.end(head, Some(&trailers), send_buffer),
                Ok(Decoded::End) => self.end(head, None, send_buffer),
                Ok(Decoded::NeedMore) => {
                    // Nothing is left to decode. The next bytes may come much later, so what is
                    // collected leaves before they are awaited.
                    ready!(send_buffer.poll_flush(cx, writer)).map_err(|_| Stuck::Writer)?;
                    if moved >= TURN_BYTES {
                        return turn::end(cx);
                    }
                    let read = ready!(read_ahead::poll_read(cx, reader, seen, self.read_bytes));
                    moved += self.read(read)?;
                }
                Err(bad) => self.state = PumpState::Broken(bad),
            }
        }
    }

    fn end(&mut self, head: &Fields, trailers: Option<&Fields>, send_buffer: &mut SendBuffer) {
        // A body of known length ends by itself, and has no place for trailers.
        if self.is_chunked {
            chunked::write_end(head, trailers, send_buffer.collected());
        }
        self.state = PumpState::Whole;
    }

    /// Notes the outcome of a read, and returns how many bytes it brought.
    fn read(&mut self, read: io::Result<usize>) -> Result<u64, Stuck> {
        let count = read.map_err(|_| Stuck::ReaderBroke)?;
        // The end of the connection completes only a body that lasts until then.
        if count == 0 {
            self.body.end().map_err(|_| Stuck::ReaderEnded)?;
        }
        // Room grows with the speed of the body, so that a slow stream of events holds little.
        if count >= self.read_bytes {
            self.read_bytes = (self.read_bytes * 2).min(READ_BYTES_MAX);
        }
        Ok(count as u64)
    }
}

const READ_BYTES_MIN: usize = 8 * 1024;
const READ_BYTES_MAX: usize = 64 * 1024;
