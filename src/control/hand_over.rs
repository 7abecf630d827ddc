//! Passes listening sockets to another process of the same user, attached to the answer of a request.
//!
//! A Unix socket carries descriptors beside its bytes (`SCM_RIGHTS`, unix(7)). Both processes then have the same
//! socket with one queue of clients, so none of these is lost when either of them closes it.

use std::{
    io::{self, IoSlice, IoSliceMut, Read as _},
    mem::MaybeUninit,
    net,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream as BlockingStream,
    },
    sync::Arc,
};

use rustix::{
    io::{FdFlags, fcntl_setfd},
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
    },
};
use tokio::{
    io::{AsyncWriteExt as _, Interest},
    net::{TcpListener, UnixStream},
};

/// Writes `bytes` to `stream`, with `sockets` attached to the first of them.
///
/// # Errors
/// The system's error, or more sockets than a message can carry.
pub(super) async fn write(
    stream: &mut UnixStream,
    bytes: &[u8],
    sockets: &[Arc<TcpListener>],
) -> io::Result<()> {
    let sockets: Vec<_> = sockets.iter().map(|socket| socket.as_fd()).collect();
    let sent = stream.async_io(Interest::WRITABLE, || {
        let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(sockets.len()))];
        let mut attached = SendAncillaryBuffer::new(&mut space);
        if sockets.len() > SOCKETS_MAX || !attached.push(SendAncillaryMessage::ScmRights(&sockets))
        {
            return Err(io::Error::other("more sockets than one message can carry"));
        }
        let bytes = [IoSlice::new(bytes)];
        Ok(sendmsg(&*stream, &bytes, &mut attached, SendFlags::empty())?)
    });
    let sent = sent.await?;
    stream.write_all(&bytes[sent..]).await
}

/// Reads from `stream` to its end. Returns the bytes, and the listening sockets that came with them.
///
/// # Errors
/// The system's error.
pub(super) fn read(stream: &mut BlockingStream) -> io::Result<(Vec<u8>, Vec<net::TcpListener>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut attached = RecvAncillaryBuffer::new(&mut space);
    // The sockets are attached to the first byte, so they come with the first read.
    let mut bytes = vec![0; 4096];
    let received =
        recvmsg(&*stream, &mut [IoSliceMut::new(&mut bytes)], &mut attached, RecvFlags::empty())?;
    bytes.truncate(received.bytes);
    let mut sockets = Vec::new();
    for message in attached.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            sockets.extend(received.map(kept_from_children).collect::<io::Result<Vec<_>>>()?);
        }
    }
    stream.read_to_end(&mut bytes)?;
    Ok((bytes, sockets))
}

/// Closes `socket` in programs that this process starts. macOS has no flag that does so on receipt.
fn kept_from_children(socket: OwnedFd) -> io::Result<net::TcpListener> {
    fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    Ok(socket.into())
}

/// The most that Linux attaches to one message (`SCM_MAX_FD`).
const SOCKETS_MAX: usize = 253;
