//! Moves bytes between sockets with as little work as Linux allows. A small message is copied in the same wake-up that finds it,
//! large amounts are spliced, and a waiting tunnel holds no buffer.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    os::fd::OwnedFd,
    pin::Pin,
    task::{Context, Poll, ready},
};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::{
    io::{AsyncRead as _, AsyncWriteExt as _, Interest, ReadBuf},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    try_join,
};

/// Moves bytes in both directions until both sides have ended.
pub(super) async fn pass(mut one: TcpStream, mut other: TcpStream) -> io::Result<()> {
    let (one_read, one_write) = one.split();
    let (other_read, other_write) = other.split();
    try_join!(pass_on(one_read, other_write), pass_on(other_read, one_write))?;
    Ok(())
}

async fn pass_on(mut reader: ReadHalf<'_>, mut writer: WriteHalf<'_>) -> io::Result<()> {
    loop {
        let (count, rest) = poll_fn(|cx| poll_copy(cx, &mut reader, &writer)).await?;
        writer.write_all(&rest).await?;
        let has_ended = match count {
            0 => true,
            BUFFER_BYTES => splice_bulk(reader.as_ref(), writer.as_ref()).await?,
            _ => false,
        };
        if has_ended {
            return writer.shutdown().await;
        }
    }
}

/// Reads once, and writes at once. Returns the number of bytes that were read, and those that the writer did not accept.
fn poll_copy(
    cx: &mut Context<'_>,
    reader: &mut ReadHalf<'_>,
    writer: &WriteHalf<'_>,
) -> Poll<io::Result<(usize, Vec<u8>)>> {
    BUFFER.with_borrow_mut(|buffer| {
        let mut space = ReadBuf::new(buffer);
        ready!(Pin::new(reader).poll_read(cx, &mut space))?;
        let filled = space.filled();
        let written = match writer.try_write(filled) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            done => done?,
        };
        Poll::Ready(Ok((filled.len(), filled[written..].to_vec())))
    })
}

/// Splices until little arrives at a time. Returns whether the reader has ended.
async fn splice_bulk(reader: &TcpStream, writer: &TcpStream) -> io::Result<bool> {
    let (output, input) = match PIPES.with_borrow_mut(Vec::pop) {
        Some(pipe) => pipe,
        None => pipe()?,
    };
    loop {
        let fill = || moved(reader, &input, PIPE_BYTES);
        let filled = reader.async_io(Interest::READABLE, fill).await?;
        let mut held = filled;
        while held > 0 {
            let drain = || moved(&output, writer, held);
            held -= writer.async_io(Interest::WRITABLE, drain).await?;
        }
        if filled < BULK_BYTES_MIN {
            PIPES.with_borrow_mut(|pipes| pipes.push((output, input)));
            return Ok(filled == 0);
        }
    }
}

fn moved(
    from: impl std::os::fd::AsFd,
    to: impl std::os::fd::AsFd,
    most: usize,
) -> io::Result<usize> {
    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
    Ok(splice(from, None, to, None, most, flags)?)
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (output, input) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    fcntl_setpipe_size(&input, PIPE_BYTES)?;
    Ok((output, input))
}

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; BUFFER_BYTES]);
    static PIPES: RefCell<Vec<(OwnedFd, OwnedFd)>> = const { RefCell::new(Vec::new()) };
}

const BUFFER_BYTES: usize = 64 * 1024;
const PIPE_BYTES: usize = 1024 * 1024;
const BULK_BYTES_MIN: usize = 16 * 1024;
