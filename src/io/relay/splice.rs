//! Moves bytes from socket to socket inside the kernel, through a pipe.

use std::{
    cell::RefCell,
    fmt, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    task::{Context, Poll, ready},
};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::{io::Interest, net::TcpStream};

use crate::system::open_files::PipeDescriptors;

/// A pipe with the bytes that are in it.
pub(super) struct Pipe {
    ends: Ends,
    held: usize,
}

struct Ends {
    read: OwnedFd,
    write: OwnedFd,
    capacity: usize,
    _counted: PipeDescriptors,
}

impl Pipe {
    /// Returns an empty pipe, or `None` if the system has none to give, so that bytes must be copied.
    pub(super) fn take() -> Option<Self> {
        let pooled = POOL.try_with(|pool| pool.borrow_mut().pop()).ok().flatten();
        let ends = pooled.or_else(|| Ends::new().ok())?;
        Some(Self { ends, held: 0 })
    }

    /// Returns an empty pipe to the pool. Closes it if the pool is full, or if it still has bytes.
    pub(super) fn give_back(self) {
        // The bytes that are left would come out in another tunnel.
        if self.held > 0 {
            return;
        }
        // The pool is gone when its thread ends; so is the pipe then.
        let _ = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < POOLED_MAX {
                pool.push(self.ends);
            }
        });
    }

    /// Returns how many pipes wait in the pool of this thread.
    #[cfg(test)]
    pub(super) fn pooled() -> usize {
        POOL.with_borrow(Vec::len)
    }

    /// Fills the pipe, which must be empty, with bytes of `reader`. Returns how many; zero means that the reader ended.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        reader: &TcpStream,
    ) -> Poll<io::Result<usize>> {
        let Self { ends, held } = self;
        // splice(2) reports an empty socket and a full pipe by the same error. The pipe is empty
        // here, so the error is about the socket, and waiting for the socket to be readable is
        // right.
        debug_assert_eq!(*held, 0);
        *held = ready!(poll_moved(cx, reader, Interest::READABLE, || {
            moved(reader.as_fd(), ends.write.as_fd(), ends.capacity)
        }))?;
        Poll::Ready(Ok(*held))
    }

    /// Empties the pipe into `writer`, and adds the bytes that it took to `total`.
    pub(super) fn poll_drain(
        &mut self,
        cx: &mut Context<'_>,
        writer: &TcpStream,
        total: &mut u64,
    ) -> Poll<io::Result<()>> {
        let Self { ends, held } = self;
        while *held > 0 {
            // The pipe is not empty here, so only a full socket makes it wait.
            let count = ready!(poll_moved(cx, writer, Interest::WRITABLE, || {
                moved(ends.read.as_fd(), writer.as_fd(), *held)
            }))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *held -= count;
            *total += count as u64;
        }
        Poll::Ready(Ok(()))
    }
}

impl Ends {
    fn new() -> io::Result<Self> {
        // A tunnel works without a pipe, by copying. A new client does not work without descriptors.
        let counted = PipeDescriptors::take().ok_or(io::ErrorKind::ResourceBusy)?;
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Linux limits the pages in all pipes of a user. Beyond that limit the pipe keeps its usual size.
        let capacity = fcntl_setpipe_size(&write, PIPE_BYTES).unwrap_or(PIPE_BYTES_USUAL);
        Ok(Self { read, write, capacity, _counted: counted })
    }
}

impl fmt::Debug for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipe").field("held", &self.held).finish_non_exhaustive()
    }
}

/// Does `work` when `socket` is ready for it, and again for as long as the socket would block.
fn poll_moved(
    cx: &mut Context<'_>,
    socket: &TcpStream,
    interest: Interest,
    mut work: impl FnMut() -> io::Result<usize>,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(if interest.is_readable() {
            socket.poll_read_ready(cx)
        } else {
            socket.poll_write_ready(cx)
        })?;
        // `try_io` takes the readiness back if the socket would block after all, so the loop waits
        // for the next event and does not spin.
        match socket.try_io(interest, &mut work) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return Poll::Ready(done),
        }
    }
}

fn moved(from: BorrowedFd<'_>, to: BorrowedFd<'_>, bytes: usize) -> io::Result<usize> {
    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
    Ok(splice(from, None, to, None, bytes, flags)?)
}

thread_local! {
    static POOL: RefCell<Vec<Ends>> = const { RefCell::new(Vec::new()) };
}

/// The largest size that Linux gives to any user by default. A pipe of the usual size would halve the gain.
const PIPE_BYTES: usize = 1024 * 1024;
const PIPE_BYTES_USUAL: usize = 64 * 1024;
const POOLED_MAX: usize = 4;
