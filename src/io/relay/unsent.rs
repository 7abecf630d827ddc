//! Tells whether the peer of a socket has acknowledged everything that was written to the socket.

#[cfg(target_os = "linux")]
use nix::{getsockopt_impl, sockopt_impl};
use tokio::net::TcpStream;

/// Returns how much memory the send queue of `socket` takes, or `None` if the system does not tell.
///
/// The kernel frees a segment when the peer acknowledges it, and the queue of a broken connection at once. So zero means
/// that there is nothing left to wait for. The number is not one of payload bytes: it includes the kernel's own headers.
#[cfg(target_os = "linux")]
pub(super) fn queued(socket: &TcpStream) -> Option<u32> {
    let memory = nix::sys::socket::getsockopt(socket, SocketMemory).ok()?;
    Some(memory[SK_MEMINFO_WMEM_QUEUED])
}

/// Returns `None`: this system has no portable way to ask.
#[cfg(not(target_os = "linux"))]
pub(super) fn queued(_: &TcpStream) -> Option<u32> {
    None
}

// `SO_MEMINFO` of Linux 4.12, an array of numbers (`SK_MEMINFO_VARS` of linux/sock_diag.h).
#[cfg(target_os = "linux")]
sockopt_impl!(
    /// How much memory the queues of a socket take.
    SocketMemory,
    GetOnly,
    nix::libc::SOL_SOCKET,
    nix::libc::SO_MEMINFO,
    [u32; 9]
);

#[cfg(target_os = "linux")]
const SK_MEMINFO_WMEM_QUEUED: usize = 5;

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        join,
        net::TcpListener,
    };

    use super::*;

    #[tokio::test]
    async fn the_queue_is_empty_once_the_peer_has_room_for_everything() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (near, far) =
            join!(listener.accept(), TcpStream::connect(listener.local_addr().unwrap()));
        let (mut near, mut far) = (near.unwrap().0, far.unwrap());
        assert_eq!(queued(&near), Some(0));
        let mut written = 0;
        // `try_write` fails once the queue is full.
        near.writable().await.unwrap();
        while let Ok(count) = near.try_write(&[0; 100_000]) {
            written += count;
        }
        assert!(queued(&near).unwrap() > 0);
        let mut seen = vec![0; written];
        far.read_exact(&mut seen).await.unwrap();
        near.write_all(b"x").await.unwrap();
        far.read_u8().await.unwrap();
        assert_eq!(queued(&near), Some(0));
    }
}
