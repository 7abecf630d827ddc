//! A queue of log lines, and the thread that writes them to standard error.
//!
//! Logging must never block traffic: a slow terminal, a pipe that nobody reads or a full disk would stop the thread that serves
//! connections. So a line is only copied into a shared buffer, which another thread writes out. The buffer is bounded. Lines
//! without room are dropped and counted, and their number is logged once writing works again. Under load one wake-up of the
//! thread serves many lines, since it waits a few milliseconds after the first one.

use std::{
    fmt,
    io::{self, ErrorKind, Write},
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tracing::warn;
use tracing_subscriber::fmt::MakeWriter;

use super::line::Clock;

/// Accepts lines without blocking, and drops those that find no room.
#[derive(Clone, Debug)]
pub(super) struct Queue(Arc<SharedQueue>);

/// Ends the thread when dropped, after it has written the remaining lines or has taken too long.
pub(crate) struct Flush(Arc<SharedQueue>);

#[derive(Debug)]
struct SharedQueue {
    state: Mutex<QueueState>,
    /// Tells the thread that there is work.
    came: Condvar,
    /// Tells [`Flush`] that the thread has ended.
    ended: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    /// The lines, each with its line feed.
    lines: Vec<u8>,
    clock: Clock,
    /// The number of lines that found no room.
    lost: u64,
    /// Whether the thread sleeps until it is woken.
    is_idle: bool,
    is_closing: bool,
    has_ended: bool,
}

/// Creates a queue, and the thread that writes it to `out`.
///
/// # Errors
/// The system has no thread to spare.
pub(super) fn queue(out: impl Write + Send + 'static) -> io::Result<(Queue, Flush)> {
    let shared = Arc::new(SharedQueue {
        state: Mutex::default(),
        came: Condvar::new(),
        ended: Condvar::new(),
    });
    let lines = Arc::clone(&shared);
    thread::Builder::new().name("log".into()).spawn(move || lines.write_to(out))?;
    Ok((Queue(Arc::clone(&shared)), Flush(shared)))
}

impl SharedQueue {
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        // After a panic under the lock, a line may be incomplete, which is no reason to stop logging.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `write` append one line. It writes into the locked buffer, which saves a copy, so it must neither block nor log.
    fn push(&self, write: impl FnOnce(&mut Vec<u8>, &mut Clock)) {
        let mut state = self.lock();
        let QueueState { lines, clock, lost, .. } = &mut *state;
        let before = lines.len();
        write(lines, clock);
        // The length is known only now. A line without room is removed again, since half a line would spoil the next one.
        if lines.len() > ROOM {
            lines.truncate(before);
            *lost += 1;
            return;
        }
        // A thread that is awake finds the line by itself, so a batch costs one wake-up. The lock is released first, or
        // the thread would have to wait for it.
        if mem::take(&mut state.is_idle) {
            drop(state);
            self.came.notify_one();
        }
    }

    fn write_to(&self, mut out: impl Write) {
        let mut batch = Vec::new();
        let mut lost = 0;
        while let Some(more) = self.next(&mut batch) {
            // This may block as long as standard error does. The queue is not locked.
            let failed = write_lines(&mut out, &batch);
            lost += more + failed;
            // After a failed write, this line would probably fail too.
            if failed == 0 && lost > 0 {
                let lines = mem::take(&mut lost);
                warn!(lines, "log lines were lost: standard error did not take them");
            }
        }
        self.lock().has_ended = true;
        self.ended.notify_all();
    }

    /// Waits for lines and moves them into `batch`. Returns the number of lines that found no room, or `None` after the
    /// last line.
    fn next(&self, batch: &mut Vec<u8>) -> Option<u64> {
        batch.clear();
        // After a burst, each of the two buffers may have a MiB.
        batch.shrink_to(BATCH_KEPT);
        let mut state = self.lock();
        state.is_idle = true;
        state = self
            .came
            .wait_while(state, |state| state.lines.is_empty() && !state.is_closing)
            .unwrap_or_else(PoisonError::into_inner);
        state.is_idle = false;
        // Under load one wake-up serves many lines.
        (state, _) = self
            .came
            .wait_timeout_while(state, GATHERING, |state| !state.is_closing)
            .unwrap_or_else(PoisonError::into_inner);
        // The buffers are swapped, since connections would have to wait for the lock during a copy.
        mem::swap(&mut state.lines, batch);
        (!batch.is_empty()).then(|| mem::take(&mut state.lost))
    }
}

impl Queue {
    /// Lets `write` append one line with its line feed. It must neither block nor log.
    pub(super) fn push(&self, write: impl FnOnce(&mut Vec<u8>, &mut Clock)) {
        self.0.push(write);
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl Write for &Queue {
    /// Accepts one complete line, as the formatting layer passes it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(|lines, _| lines.extend_from_slice(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Flush {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flush").finish_non_exhaustive()
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_closing = true;
        self.0.came.notify_one();
        // The process must be able to exit even if nobody reads standard error.
        let _ = self.0.ended.wait_timeout_while(state, PATIENCE, |state| !state.has_ended);
    }
}

/// Writes lines to `out`, and returns the number of lines that failed.
fn write_lines(out: &mut impl Write, mut lines: &[u8]) -> u64 {
    let mut failed = 0;
    while !lines.is_empty() {
        // Other programs may write to the same pipe, and the system writes a piece of this size in one step. So each piece
        // consists of whole lines. If one fails, its lines are counted and the rest is still tried.
        let (some, rest) = lines.split_at(whole_lines(lines));
        if write_all(out, some).is_err() {
            failed += some.iter().filter(|&&byte| byte == b'\n').count() as u64;
        }
        lines = rest;
    }
    failed
}

/// Returns the length of the first lines that may be written at once, or of the first line if it is longer.
fn whole_lines(lines: &[u8]) -> usize {
    let Some(head) = lines.get(..AT_ONCE) else { return lines.len() };
    let last = head.iter().rposition(|&byte| byte == b'\n');
    let end = last.or_else(|| lines.iter().position(|&byte| byte == b'\n'));
    end.map_or(lines.len(), |feed| feed + 1)
}

/// Like [`Write::write_all`], but also waits if another owner of standard error has made it non-blocking.
fn write_all(out: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(GATHERING),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The number of bytes that may wait, besides those being written.
const ROOM: usize = 1 << 20;
/// The number of bytes that stay allocated for the next lines.
const BATCH_KEPT: usize = 16 << 10;
/// Linux's `PIPE_BUF` (POSIX allows less). A write of this size to a pipe is never mixed with those of other processes.
const AT_ONCE: usize = 4096;
/// The time that the first line waits for others.
const GATHERING: Duration = Duration::from_millis(5);
/// The time that the exit of the process waits for the last lines.
const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// A writer whose next writes follow a script, and which keeps all bytes.
    #[derive(Clone, Debug, Default)]
    struct Out(Arc<Mutex<(Vec<u8>, Vec<Step>)>>);

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Take(usize),
        Fail(ErrorKind),
    }

    impl Write for Out {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut out = self.0.lock().unwrap();
            let taken = match out.1.pop() {
                Some(Step::Fail(kind)) => return Err(kind.into()),
                Some(Step::Take(length)) => length.min(bytes.len()),
                None => bytes.len(),
            };
            out.0.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A writer that blocks until the test takes what is written.
    struct Slow(SyncSender<Vec<u8>>);

    impl Slow {
        fn new() -> (Self, Receiver<Vec<u8>>) {
            let (sender, receiver) = sync_channel(0);
            (Self(sender), receiver)
        }
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(|_| ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (1usize..9000).prop_map(Step::Take),
            1 => Just(Step::Fail(ErrorKind::Interrupted)),
            1 => Just(Step::Fail(ErrorKind::WouldBlock)),
        ]
    }

    fn line() -> impl Strategy<Value = String> {
        (any::<char>(), 0usize..1500)
            .prop_filter("one line", |(of, _)| *of != '\n')
            .prop_map(|(of, length)| of.to_string().repeat(length) + "\n")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn every_line_arrives_once_and_in_order(
            lines in vec(line(), 0..40),
            steps in vec(step(), 0..30),
        ) {
            let out = Out(Arc::new(Mutex::new((Vec::new(), steps))));
            let (queue, flush) = queue(out.clone()).unwrap();
            for line in &lines {
                (&queue).write_all(line.as_bytes()).unwrap();
            }
            drop(flush);
            let written = out.0.lock().unwrap().0.clone();
            prop_assert_eq!(String::from_utf8(written).unwrap(), lines.concat());
        }

        #[test]
        fn only_whole_lines_are_written_at_once(lines in vec(line(), 1..9)) {
            let all = lines.concat();
            let mut rest = all.as_bytes();
            while !rest.is_empty() {
                let (some, more) = rest.split_at(whole_lines(rest));
                prop_assert!(some.ends_with(b"\n"));
                let count = some.iter().filter(|&&byte| byte == b'\n').count();
                prop_assert!(count == 1 || some.len() <= AT_ONCE);
                rest = more;
            }
        }
    }

    #[test]
    fn logging_does_not_block_and_lines_without_room_are_counted() {
        let (slow, taken) = Slow::new();
        let (queue, flush) = queue(slow).unwrap();
        (&queue).write_all(b"first\n").unwrap();
        // The thread now blocks on the first line.
        while !queue.0.lock().lines.is_empty() {
            thread::sleep(Duration::from_millis(1));
        }
        let line = [b"x".repeat(999), b"\n".to_vec()].concat();
        let room = ROOM / line.len();
        for _ in 0..room + 7 {
            (&queue).write_all(&line).unwrap();
        }
        assert_eq!(queue.0.lock().lost, 7);
        let reader = thread::spawn(move || taken.iter().flatten().collect::<Vec<u8>>());
        drop(flush);
        let written = reader.join().unwrap();
        assert_eq!(written, [b"first\n".to_vec(), line.repeat(room)].concat());
    }

    #[test]
    fn a_failed_write_costs_its_own_lines() {
        let steps = vec![Step::Fail(ErrorKind::StorageFull)];
        let mut out = Out(Arc::new(Mutex::new((Vec::new(), steps))));
        let long = format!("{}\n", "x".repeat(4000));
        let failed = write_lines(&mut out, format!("a\nb\n{long}{long}c\n").as_bytes());
        assert_eq!(failed, 3);
        assert_eq!(out.0.lock().unwrap().0, format!("{long}c\n").as_bytes());
    }

    #[test]
    fn the_exit_waits_for_a_bounded_time() {
        let (slow, taken) = Slow::new();
        let (queue, flush) = queue(slow).unwrap();
        (&queue).write_all(b"never read\n").unwrap();
        drop(flush);
        drop(taken);
    }
}
