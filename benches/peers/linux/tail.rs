//! Measures how long the slowest messages and openings take while many tunnels are busy and one moves as much as it can.
//!
//! Clients that wait for each answer would hide a stall: while no answer comes they send nothing, so that one slow message stands
//! for many. So each client sends at fixed times, and the time of a message counts from when it was due.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{
    door::Door,
    figures::Figure,
    load::{self, Errors},
    network::Network,
    origin::{ECHO, SOURCE},
    results::{Results, Way},
    suite,
    table::Table,
};

/// Measures each peer in turn, in several rounds.
pub(super) fn measure(network: &Network, results: &mut Results) {
    for hops in Table::Tail.hops() {
        let running = suite::start_all(Table::Tail, network, hops, results);
        for round in 0..results.plan.tails {
            let mut order: Vec<_> = running.iter().collect();
            order.rotate_left(round % running.len());
            for (way, running) in order {
                let tunnels = results.plan.tail_tunnels;
                let (streams, errors) = load::idle(&running.door, running.process(), tunnels);
                results.fail(Table::Tail, *way, "opening", &errors);
                keep(results, *way, talk(&running.door, &streams, results.plan.tail_talk));
            }
        }
    }
}

/// The times and errors that the clients saw.
struct Seen {
    messages: Vec<Duration>,
    openings: Vec<Duration>,
    /// The bytes that came down the busy tunnel.
    bytes: u64,
    elapsed: Duration,
    errors: Errors,
}

fn keep(results: &mut Results, way: Way, mut seen: Seen) {
    results.fail(Table::Tail, way, "messages", &seen.errors);
    seen.messages.sort_unstable();
    seen.openings.sort_unstable();
    let milliseconds = |sorted: &[Duration], share: f64| {
        let place = (sorted.len() as f64 * share) as usize;
        sorted.get(place).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    };
    for (figure, times, share) in [
        (Figure::MessageHalf, &seen.messages, 0.5),
        (Figure::Message99, &seen.messages, 0.99),
        (Figure::Message999, &seen.messages, 0.999),
        (Figure::Opening99, &seen.openings, 0.99),
        (Figure::Opening999, &seen.openings, 0.999),
    ] {
        results.push(way, figure, milliseconds(times, share));
    }
    results.push(way, Figure::BesideRate, seen.bytes as f64 / 1e9 / seen.elapsed.as_secs_f64());
}

/// Exchanges messages on `streams` and opens tunnels for `time`, beside a download.
fn talk(door: &Door, streams: &[TcpStream], time: Duration) -> Seen {
    let (is_over, bytes) = (AtomicBool::new(false), AtomicU64::new(0));
    let begun = Instant::now();
    let parts = thread::scope(|scope| {
        let download = scope.spawn(|| download(door, &is_over, &bytes));
        let chats: Vec<_> = streams
            .iter()
            .enumerate()
            .map(|(number, stream)| {
                // Spread over the pause, so that they don't all come at once.
                let first = begun + PAUSE.mul_f64(number as f64 / streams.len() as f64);
                scope.spawn(move || chat(stream, first, begun + time))
            })
            .collect();
        let openings = scope.spawn(|| open(door, begun + time));
        let chats: Vec<_> = chats.into_iter().map(|chat| chat.join().unwrap()).collect();
        let openings = openings.join().unwrap();
        is_over.store(true, Ordering::Relaxed);
        (chats, openings, download.join().unwrap())
    });
    let (chats, openings, download) = parts;
    let elapsed = begun.elapsed();
    let mut errors = Errors::default();
    let mut times = |part: (Vec<Duration>, io::Result<()>)| {
        if let Err(error) = part.1 {
            errors.add(error);
        }
        part.0
    };
    let messages = chats.into_iter().flat_map(&mut times).collect();
    let openings = times(openings);
    times((Vec::new(), download));
    Seen { messages, openings, bytes: bytes.into_inner(), elapsed, errors }
}

/// Sends a message every [`PAUSE`] until `end`. Returns how long after it was due each one was back.
fn chat(stream: &TcpStream, first: Instant, end: Instant) -> (Vec<Duration>, io::Result<()>) {
    let (mut times, mut due, mut message) = (Vec::new(), first, [ECHO; 64]);
    while due < end {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if let Err(error) = load::echo(stream, &mut message) {
            return (times, Err(error));
        }
        times.push(due.elapsed());
        due += PAUSE;
    }
    (times, Ok(()))
}

/// Opens a tunnel every [`OPENING_PAUSE`] until `end`. Returns how long after it was due each one had moved a byte.
fn open(door: &Door, end: Instant) -> (Vec<Duration>, io::Result<()>) {
    let (mut times, mut due) = (Vec::new(), Instant::now());
    while due < end {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let opened = door.tunnel().and_then(|stream| load::echo(&stream, &mut [ECHO]));
        if let Err(error) = opened {
            return (times, Err(error));
        }
        times.push(due.elapsed());
        due += OPENING_PAUSE;
    }
    (times, Ok(()))
}

/// Reads as much as comes until `is_over`.
fn download(door: &Door, is_over: &AtomicBool, bytes: &AtomicU64) -> io::Result<()> {
    let mut stream = door.tunnel()?;
    let mut request = vec![SOURCE];
    request.extend_from_slice(&u64::MAX.to_be_bytes());
    stream.write_all(&request)?;
    let mut space = vec![0; 256 * 1024];
    while !is_over.load(Ordering::Relaxed) {
        match stream.read(&mut space)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => bytes.fetch_add(count as u64, Ordering::Relaxed),
        };
    }
    Ok(())
}

/// How often each client sends: with two hundred of them, two thousand messages a second.
const PAUSE: Duration = Duration::from_millis(100);
const OPENING_PAUSE: Duration = Duration::from_millis(5);
