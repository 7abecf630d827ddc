//! The numbers that Linux keeps about a TCP socket.
//!
//! The kernel copies as much of them as it has, which depends on its version, and says how much that was. The safe crates
//! for socket options panic if that is less than they expect.

use std::{ffi::c_int, mem::size_of, os::fd::AsRawFd as _};

use libc::socklen_t;
use tokio::net::TcpStream;

/// Returns how much memory the send queue of `socket` takes. `None` before Linux 4.12.
pub(super) fn queued(socket: &TcpStream) -> Option<u32> {
    let memory = numbers::<{ WMEM_QUEUED + 1 }>(socket, libc::SOL_SOCKET, libc::SO_MEMINFO)?;
    Some(memory[WMEM_QUEUED])
}

/// Returns how many bytes were written to `socket` and never sent. `None` before Linux 4.6.
pub(super) fn never_sent(socket: &TcpStream) -> Option<u32> {
    let info = numbers::<{ NOTSENT_BYTES + 1 }>(socket, libc::IPPROTO_TCP, libc::TCP_INFO)?;
    Some(info[NOTSENT_BYTES])
}

/// Returns the first `N` numbers of an option that is an array of them, or `None` if the kernel has fewer.
fn numbers<const N: usize>(socket: &TcpStream, level: c_int, option: c_int) -> Option<[u32; N]> {
    let mut values = [0_u32; N];
    let mut bytes = socklen_t::try_from(size_of::<[u32; N]>()).ok()?;
    #[expect(unsafe_code, reason = "the safe crates panic at an option that is shorter")]
    // SAFETY: the descriptor is that of an open socket. The kernel writes at most `bytes` bytes to `values`, which has as
    // many, any of which are valid numbers, and the length to `bytes`. It keeps neither pointer.
    let failed = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            option,
            values.as_mut_ptr().cast(),
            &raw mut bytes,
        )
    };
    (failed == 0 && bytes as usize == size_of::<[u32; N]>()).then_some(values)
}

/// The place in the array of `SO_MEMINFO` (`SK_MEMINFO_VARS` of linux/sock_diag.h).
const WMEM_QUEUED: usize = 5;
/// The place in `struct tcp_info` (linux/tcp.h), read as numbers of four bytes. Its first eight fields take one byte each.
const NOTSENT_BYTES: usize = 36;

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn an_option_with_fewer_numbers_is_unknown() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        assert_eq!(never_sent(&socket), Some(0));
        assert_eq!(queued(&socket), Some(0));
        // As from a kernel that is older than the number.
        assert_eq!(numbers::<500>(&socket, libc::IPPROTO_TCP, libc::TCP_INFO), None);
        assert_eq!(numbers::<500>(&socket, libc::SOL_SOCKET, libc::SO_MEMINFO), None);
    }
}
