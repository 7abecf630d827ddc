//! Passes the body of one message from one connection to another.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use crate::{
    http::{
        BadBody, BodyLength, BodyReader, Decoded, Fields,
        chunked::{self, CHUNK_END, ChunkLine},
    },
    io::read_ahead,
    metrics::Meter,
};

/// Where bytes go: collected while they are few, written when they are many or when nothing more is there.
pub(super) struct Outlet<'a, W> {
    writer: W,
    /// What is to be written before all else, such as a head.
    pub(super) pending: Vec<u8>,
    written: Written<'a>,
    /// How long one write may take; `None`: as long as it needs.
    patience: Option<Duration>,
}

/// Where what was written is counted: for the message, and for its chain.
pub(super) struct Written<'a> {
    message: &'a AtomicU64,
    meter: &'a Meter,
    add: fn(&Meter, u64),
}

/// Why a body could not be passed on to its end.
#[derive(Debug)]
pub(super) enum Stuck {
    /// The side that it comes from broke or ended.
    Reader,
    /// What came is no body.
    Bad(BadBody),
    /// The side that it goes to broke.
    Writer,
    /// The side that it goes to took nothing for too long.
    WriterSlow,
}

impl<'a, W: AsyncWrite + Unpin> Outlet<'a, W> {
    pub(super) fn new(writer: W, written: Written<'a>, patience: Option<Duration>) -> Self {
        Self { writer, pending: Vec::new(), written, patience }
    }

    /// Passes on the `body` that comes from `reader`, and leaves in `seen` what follows it. The bytes of `seen` were
    /// read ahead, and `head` has the fields of the message.
    pub(super) async fn pass<R: AsyncRead + Unpin>(
        &mut self,
        mut reader: R,
        seen: &mut BytesMut,
        head: &Fields,
        mut body: BodyReader,
        to: BodyLength,
    ) -> Result<(), Stuck> {
        let is_chunked = to == BodyLength::Chunked;
        let mut read_bytes = READ_BYTES_MIN;
        loop {
            let decoded = match body.decode(seen) {
                Ok(decoded) => decoded,
                Err(bad) => {
                    // What came before it is good.
                    self.flush().await?;
                    return Err(Stuck::Bad(bad));
                }
            };
            match decoded {
                Decoded::Data(data) if is_chunked => {
                    self.pending.extend_from_slice(ChunkLine::new(data.len()).as_bytes());
                    self.put(&data).await?;
                    self.pending.extend_from_slice(CHUNK_END);
                }
                Decoded::Data(data) => self.put(&data).await?,
                Decoded::Trailers(trailers) if is_chunked => {
                    chunked::write_end(head, Some(&trailers), &mut self.pending);
                    return self.flush().await;
                }
                Decoded::Trailers(_) => {}
                Decoded::End => {
                    if is_chunked {
                        chunked::write_end(head, None, &mut self.pending);
                    }
                    return self.flush().await;
                }
                Decoded::NeedMore => {
                    self.flush().await?;
                    let read = read_ahead::read(&mut reader, seen, read_bytes).await;
                    let count = read.map_err(|_| Stuck::Reader)?;
                    if count == 0 {
                        body.end().map_err(|_| Stuck::Reader)?;
                    }
                    // More room for a body that fills it.
                    if count >= read_bytes {
                        read_bytes = (read_bytes * 2).min(READ_BYTES_MAX);
                    }
                }
            }
        }
    }

    /// Writes what is collected, and has it leave.
    pub(super) async fn flush(&mut self) -> Result<(), Stuck> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let pending = std::mem::take(&mut self.pending);
        self.write(&pending).await?;
        self.pending = pending;
        self.pending.clear();
        Ok(())
    }

    async fn put(&mut self, data: &[u8]) -> Result<(), Stuck> {
        if self.pending.len() + data.len() <= COLLECT_BYTES_MAX {
            self.pending.extend_from_slice(data);
            return Ok(());
        }
        self.flush().await?;
        self.write(data).await
    }

    async fn write(&mut self, data: &[u8]) -> Result<(), Stuck> {
        let writer = &mut self.writer;
        let write = async {
            writer.write_all(data).await?;
            writer.flush().await
        };
        let written = match self.patience {
            Some(patience) => timeout(patience, write).await.map_err(|_| Stuck::WriterSlow)?,
            None => write.await,
        };
        written.map_err(|_| Stuck::Writer)?;
        self.written.add(data.len() as u64);
        Ok(())
    }
}

impl<'a> Written<'a> {
    pub(super) fn new(message: &'a AtomicU64, meter: &'a Meter, add: fn(&Meter, u64)) -> Self {
        Self { message, meter, add }
    }

    fn add(&self, bytes: u64) {
        self.message.fetch_add(bytes, Ordering::Relaxed);
        (self.add)(self.meter, bytes);
    }
}

const READ_BYTES_MIN: usize = 8 * 1024;
const READ_BYTES_MAX: usize = 64 * 1024;
/// Less than this is copied, to leave in one write with what comes before or after it.
const COLLECT_BYTES_MAX: usize = 8 * 1024;
