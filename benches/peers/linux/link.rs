//! A slow line between a proxy and the first hop.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// Passes each connection on to `stop`, and delays all bytes by half a round trip.
///
/// Uses threads, because a runtime's clock ticks in milliseconds.
pub(super) fn serve(listener: &TcpListener, stop: SocketAddr) {
    loop {
        // A client may have gone before it was accepted.
        let Ok((near, _)) = listener.accept() else { continue };
        // On loopback, TCP's handshake takes no time. On a real line nothing is sent before it has taken a round trip.
        let opened = Instant::now() + ROUND_TRIP;
        thread::spawn(move || pass(&near, stop, opened));
    }
}

fn pass(near: &TcpStream, stop: SocketAddr, opened: Instant) -> io::Result<()> {
    let far = TcpStream::connect(stop)?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    thread::scope(|scope| {
        scope.spawn(|| pass_on(near, &far, opened));
        pass_on(&far, near, opened)
    })
}

/// Passes on one direction and its end. Bytes that arrive before `opened` count as sent then.
fn pass_on(mut from: &TcpStream, to: &TcpStream, opened: Instant) -> io::Result<()> {
    let (under_way, arriving) = mpsc::channel();
    thread::scope(move |scope| {
        scope.spawn(move || deliver(arriving, to));
        let mut buffer = [0; 16 * 1024];
        loop {
            let count = from.read(&mut buffer)?;
            let due = Instant::now().max(opened) + ROUND_TRIP / 2;
            let is_wanted = under_way.send((due, buffer[..count].to_vec())).is_ok();
            if count == 0 || !is_wanted {
                return Ok(());
            }
        }
    })
}

fn deliver(arriving: mpsc::Receiver<(Instant, Vec<u8>)>, mut to: &TcpStream) -> io::Result<()> {
    for (due, bytes) in arriving {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        to.write_all(&bytes)?;
    }
    to.shutdown(Shutdown::Write)
}

/// The round trip of the line.
pub(super) const ROUND_TRIP: Duration = Duration::from_millis(50);
