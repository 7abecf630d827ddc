//! Measures how much of the data that was written to a socket is still on this machine.

#[cfg(target_os = "linux")]
mod linux;

use mooltiroute_hops::Tunnel;
use tokio::net::TcpStream;

/// Returns how much memory the send queue of `socket` takes, or `None` if the system does not tell.
///
/// The kernel frees a segment when the peer acknowledges it, and the queue of a broken connection at once. So zero means
/// that there is nothing left to wait for. The number is not one of payload bytes: it includes the kernel's own headers.
pub(crate) fn queued(socket: &TcpStream) -> Option<u32> {
    #[cfg(target_os = "linux")]
    return linux::queued(socket);
    // Other systems have no portable way to ask.
    #[cfg(not(target_os = "linux"))]
    {
        let _ = socket;
        None
    }
}

/// Returns how many of the bytes that were written to the socket below `tunnel` have never been sent: zero if the system
/// does not tell.
///
/// A socket that is closed with a reset, or was reset by its peer, throws its send queue away. The kernel keeps the two
/// sequence numbers whose difference this is, so it can be asked after the reset too.
pub(crate) fn not_sent(tunnel: &Tunnel) -> u64 {
    tunnel.bottom().map_or(0, never_sent)
}

fn never_sent(socket: &TcpStream) -> u64 {
    #[cfg(target_os = "linux")]
    return linux::never_sent(socket).map_or(0, u64::from);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = socket;
        0
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::ErrorKind;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        join,
        net::TcpListener,
    };

    use super::*;

    #[tokio::test]
    async fn bytes_that_a_reset_threw_away_were_not_sent() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (near, far) =
            join!(listener.accept(), TcpStream::connect(listener.local_addr().unwrap()));
        let (near, far) = (near.unwrap().0, far.unwrap());
        near.writable().await.unwrap();
        assert_eq!(near.try_write(b"few").unwrap(), 3);
        assert_eq!(never_sent(&near), 0);
        let mut written = 3;
        while let Ok(count) = near.try_write(&[0; 100_000]) {
            written += count as u64;
        }
        let waiting = never_sent(&near);
        assert!((1..written).contains(&waiting), "{waiting} of {written}");
        // Closed with bytes to read, and so with a reset.
        drop(far);
        loop {
            near.writable().await.unwrap();
            match near.try_write(b"more") {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                broken => break assert!(broken.is_err()),
            }
        }
        assert_eq!(never_sent(&near), waiting);
    }

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
