//! The work of the clients. Every loop ends after a number, a time, or a number of errors.

use std::{
    hash::{BuildHasher as _, RandomState},
    io::{self, Read as _, Write as _},
    net::TcpStream,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    door::Door,
    origin::{ECHO, SOURCE},
    usage::Cpu,
};

/// The outcome of a load.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) done: u64,
    pub(super) errors: Errors,
    pub(super) elapsed: Duration,
    /// The processor time of the proxy.
    pub(super) cpu: Duration,
    /// The processor time of everything else that the benchmark runs: clients, hops, origin.
    pub(super) others: Duration,
}

/// The number of errors, and the text of the first.
#[derive(Debug, Default)]
pub(super) struct Errors {
    pub(super) count: u64,
    pub(super) first: Option<io::Error>,
}

/// Opens and closes `count` tunnels, with a byte in each direction in between.
pub(super) fn tunnels(door: &Door, process: u32, count: u64) -> Tally {
    spread(process, CLIENTS, count, TIME_MAX, || Ok(()), |()| echo(&door.tunnel()?, &mut [ECHO]))
}

/// Makes `count` plain requests on kept connections.
pub(super) fn requests(door: &Door, process: u32, count: u64) -> Tally {
    spread(process, CLIENTS, count, TIME_MAX, || door.plain(), |plain| plain.exchange())
}

/// Moves `bytes` down each of a few tunnels. The tally counts bytes.
pub(super) fn bulk(door: &Door, process: u32, bytes: u64) -> Tally {
    let download = |buffer: &mut Vec<u8>| {
        let mut stream = door.tunnel()?;
        let mut request = vec![SOURCE];
        request.extend_from_slice(&bytes.to_be_bytes());
        stream.write_all(&request)?;
        let mut left = bytes;
        while left > 0 {
            match stream.read(buffer)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => left = left.saturating_sub(count as u64),
            }
        }
        Ok(())
    };
    let streams = BULK_STREAMS;
    let begin = || Ok(vec![0; 256 * 1024]);
    let tally = spread(process, streams, streams as u64, TIME_MAX, begin, download);
    Tally { done: tally.done * bytes, ..tally }
}

/// Returns the median round trip of `count` messages on an open tunnel behind each door. The doors take turns after each message,
/// so that other work on the machine affects all of them. Their order changes each time, because a door is faster right after
/// another one has woken the origin.
pub(super) fn round_trips(doors: &[&Door], count: u64) -> Vec<io::Result<Duration>> {
    let mut all: Vec<_> =
        doors.iter().map(|door| door.tunnel().map(|stream| (stream, Vec::new()))).collect();
    let mut order: Vec<usize> = (0..all.len()).collect();
    let mut message = [ECHO; 64];
    let (begun, chance) = (Instant::now(), RandomState::new());
    for number in 0..count {
        order.sort_by_cached_key(|place| chance.hash_one((number, place)));
        for &place in &order {
            let Ok((stream, times)) = &mut all[place] else { continue };
            let sent = Instant::now();
            match echo(stream, &mut message) {
                Ok(()) => times.push(sent.elapsed()),
                Err(error) => all[place] = Err(error),
            }
        }
        if begun.elapsed() > TIME_MAX * doors.len() as u32 {
            break;
        }
    }
    let median = |(_, mut times): (_, Vec<Duration>)| {
        times.sort_unstable();
        times[times.len() / 2]
    };
    all.into_iter().map(|one| one.map(median)).collect()
}

/// Opens `count` tunnels, moves a byte in each direction through each, and keeps them. Also returns the errors.
pub(super) fn idle(door: &Door, process: u32, count: u64) -> (Vec<TcpStream>, Errors) {
    let kept = Mutex::new(Vec::new());
    let tally = spread(
        process,
        CLIENTS,
        count,
        FILL_MAX,
        || Ok(()),
        |()| {
            let stream = door.tunnel()?;
            echo(&stream, &mut [ECHO])?;
            kept.lock().unwrap().push(stream);
            Ok(())
        },
    );
    (kept.into_inner().unwrap(), tally.errors)
}

/// Returns the time until the first byte has come back through a new tunnel, minus that of the next byte.
pub(super) fn opening(door: &Door) -> io::Result<Duration> {
    let begun = Instant::now();
    let stream = door.tunnel()?;
    echo(&stream, &mut [ECHO])?;
    let first = begun.elapsed();
    let sent = Instant::now();
    echo(&stream, &mut [ECHO])?;
    Ok(first.saturating_sub(sent.elapsed()))
}

/// Exchanges messages on all of `streams` at once for `time`. Returns their number and the errors.
pub(super) fn messages(streams: &[&TcpStream], time: Duration) -> (u64, Errors) {
    let done = AtomicU64::new(0);
    let errors = Mutex::new(Errors::default());
    let begun = Instant::now();
    let chat = |stream: &TcpStream| {
        let mut message = [ECHO; 64];
        while begun.elapsed() < time {
            if let Err(error) = echo(stream, &mut message) {
                errors.lock().unwrap().add(error);
                return;
            }
            done.fetch_add(1, Ordering::Relaxed);
        }
    };
    thread::scope(|scope| {
        for stream in streams {
            scope.spawn(|| chat(stream));
        }
    });
    (done.into_inner(), errors.into_inner().unwrap())
}

/// Exchanges a byte on each of `streams` and returns the errors.
pub(super) fn probe(streams: &[TcpStream]) -> Errors {
    let mut errors = Errors::default();
    for stream in streams {
        if let Err(error) = echo(stream, &mut [ECHO])
            && errors.add(error) >= ERRORS_MAX
        {
            break;
        }
    }
    errors
}

/// Runs `step` `count` times in total, in `clients` threads, each with its own state. Begins no step after `time`.
fn spread<S>(
    process: u32,
    clients: usize,
    count: u64,
    time: Duration,
    begin: impl Fn() -> io::Result<S> + Sync,
    step: impl Fn(&mut S) -> io::Result<()> + Sync,
) -> Tally {
    let [taken, done] = [const { AtomicU64::new(0) }; 2];
    let errors = Mutex::new(Errors::default());
    let (before, all_before) = (Cpu::of(process), Cpu::of(std::process::id()));
    let begun = Instant::now();
    let client = || {
        let mut state = None;
        while begun.elapsed() < time && taken.fetch_add(1, Ordering::Relaxed) < count {
            let result = match &mut state {
                Some(state) => step(state),
                None => begin().and_then(|begun| step(state.insert(begun))),
            };
            match result {
                Ok(()) => {
                    done.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => {
                    state = None;
                    if errors.lock().unwrap().add(error) >= ERRORS_MAX {
                        break;
                    }
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(client);
        }
    });
    let elapsed = begun.elapsed();
    // The proxy needs a moment to notice the last close.
    thread::sleep(SETTLED);
    let cpu = Cpu::of(process).since(&before);
    // The proxy is a child of this process.
    let others = Cpu::of(std::process::id()).since(&all_before).saturating_sub(cpu);
    let (done, errors) = (done.into_inner(), errors.into_inner().unwrap());
    Tally { done, errors, elapsed, cpu, others }
}

impl Errors {
    /// Counts an error. Returns the number of errors.
    pub(super) fn add(&mut self, error: io::Error) -> u64 {
        self.first.get_or_insert(error);
        self.count += 1;
        self.count
    }
}

/// Sends `message` and reads as many bytes.
pub(super) fn echo(mut stream: &TcpStream, message: &mut [u8]) -> io::Result<()> {
    stream.write_all(message)?;
    stream.read_exact(message)
}

/// The number of clients: enough to keep a proxy busy, few enough for a laptop.
const CLIENTS: usize = 8;
const BULK_STREAMS: usize = 2;
const ERRORS_MAX: u64 = 20;
const SETTLED: Duration = Duration::from_millis(50);
/// The longest time of a load. Programs that need 40 ms per request complete enough of it.
const TIME_MAX: Duration = Duration::from_secs(4);
/// The longest time to open tunnels, which is enough for the largest number even on a busy machine.
const FILL_MAX: Duration = Duration::from_secs(20);
