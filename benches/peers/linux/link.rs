//! A long line, which lies between a proxy and the first hop.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// Passes each connection on to `stop`, all bytes half a round trip late.
///
/// In threads, since a runtime's clock ticks in milliseconds.
pub(super) fn serve(listener: &TcpListener, stop: SocketAddr) {
    loop {
        // A client that has gone again before it was let in is no reason to end.
        let Ok((near, _)) = listener.accept() else { continue };
        // On loopback TCP's handshake is done at once. On a line it takes a round trip, and nobody says a word before.
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

/// Passes one direction on, its end too. Whatever comes before `opened` is taken as said then.
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

/// How long a byte and the answer to it take on the line.
pub(super) const ROUND_TRIP: Duration = Duration::from_millis(50);
