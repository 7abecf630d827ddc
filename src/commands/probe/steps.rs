//! The steps of a probe, recorded and shown as they end.

use std::{
    cell::RefCell,
    fmt,
    io::{self, Write},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use mooltiroute_hops::{Authority, Host, ObserveRounds, WhyDirect, auth::challenge::AuthScheme};
use serde::Serialize;

use crate::{
    client::reply::with_causes,
    upstream::{
        chain::{Cause, ChainError, Stage, Step, Trace},
        dial::DialError,
    },
};

/// Records each step. Writes its line at once if the output is for people.
pub(super) struct Steps<'a> {
    notes: RefCell<Notes<'a>>,
    target: &'a Authority,
    rounds: Arc<RecordedRounds>,
    wait: RefCell<Option<Awaited>>,
}

/// The wait that is under way.
struct Awaited {
    began: Instant,
    /// The answer or the handshake that the user waits for, in words.
    what: String,
    /// Whether the user was told.
    is_told: bool,
}

/// The rounds of authentication in the step that is under way, with the times when they ended.
#[derive(Debug, Default)]
struct RecordedRounds(Mutex<Vec<(AuthRound, Instant)>>);

struct Notes<'a> {
    steps: Vec<Note>,
    /// The time when the current step began.
    began: Instant,
    /// Whether the addresses of the first stop are known.
    is_looked_up: bool,
    out: Option<&'a mut dyn Write>,
    written: io::Result<()>,
}

/// A step that has ended.
#[derive(Debug, Serialize)]
pub(super) struct Note {
    step: &'static str,
    /// The hop's name, or `None` for the target.
    hop: Option<String>,
    /// The stop that the step was to reach.
    stop: String,
    seconds: f64,
    /// The reason why it failed, if it did.
    error: Option<String>,
    /// Why the hop was left out, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    direct: Option<String>,
    /// The scheme and the answer, if this is a round of authentication.
    #[serde(flatten)]
    round: Option<AuthRound>,
}

/// A request to a hop with credentials, and the answer to it.
#[derive(Clone, Copy, Debug, Serialize)]
struct AuthRound {
    /// The scheme of the credentials, or `None` if there were none.
    scheme: Option<&'static str>,
    /// Their source, if the scheme leaves a choice.
    source: Option<&'static str>,
    status: u16,
}

impl ObserveRounds for RecordedRounds {
    fn round(&self, scheme: Option<AuthScheme>, source: Option<&'static str>, status: u16) {
        let round = AuthRound { scheme: scheme.map(AuthScheme::name), source, status };
        self.lock().push((round, Instant::now()));
    }
}

impl RecordedRounds {
    fn lock(&self) -> MutexGuard<'_, Vec<(AuthRound, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Steps<'a> {
    pub(super) fn new(target: &'a Authority, out: Option<&'a mut dyn Write>) -> Self {
        let (steps, began) = (Vec::new(), Instant::now());
        let notes = Notes { steps, began, is_looked_up: false, out, written: Ok(()) };
        let (notes, rounds) = (RefCell::new(notes), Arc::default());
        Self { notes, target, rounds, wait: RefCell::default() }
    }

    /// Notes the wait that begins now.
    pub(super) fn awaits(&self, what: String) {
        let (began, is_told) = (Instant::now(), false);
        *self.wait.borrow_mut() = Some(Awaited { began, what, is_told });
    }

    /// Returns what is waited for, if the wait is long enough to tell the user, once for each wait.
    pub(super) fn long_wait(&self) -> Option<String> {
        let mut wait = self.wait.borrow_mut();
        let wait = wait.as_mut().filter(|wait| !wait.is_told && wait.began.elapsed() >= LONG)?;
        wait.is_told = true;
        Some(format!("waiting for {} ...", wait.what))
    }

    /// Records that the first byte of an answer arrived, or that `error` came instead.
    pub(super) fn answered(&self, hop: Option<&str>, target: &Authority, error: Option<&str>) {
        let (hop, error) = (hop.map(str::to_owned), error.map(str::to_owned));
        self.notes.borrow_mut().note("first byte", hop, target, error);
    }

    /// Notes the rounds of the step that ends.
    fn note_rounds(&self, stage: &Stage) {
        for (round, ended) in mem::take(&mut *self.rounds.lock()) {
            let mut notes = self.notes.borrow_mut();
            notes.add("round", stage.hop_name(), &stage.stop, ended, |note| Note {
                round: Some(round),
                ..note
            });
        }
    }

    /// Returns all steps.
    ///
    /// # Errors
    /// Writing a line failed.
    pub(super) fn finish(self) -> io::Result<Vec<Note>> {
        let Notes { steps, written, .. } = self.notes.into_inner();
        written.map(|()| steps)
    }
}

impl Trace for Steps<'_> {
    fn left_out(&self, hop: &str, why: WhyDirect) {
        let mut notes = self.notes.borrow_mut();
        let stop = self.target;
        notes.add(CHOICE, Some(hop.to_owned()), stop, Instant::now(), |note| Note {
            direct: Some(why.to_string()),
            ..note
        });
    }

    fn begins(&self, stage: impl FnOnce() -> Stage) {
        self.awaits(stage().to_string());
    }

    fn looked_up(&self, stage: impl FnOnce() -> Stage) {
        let stage = stage();
        let mut notes = self.notes.borrow_mut();
        notes.is_looked_up = true;
        // An address needs no look-up, so there is no step to show.
        if matches!(stage.stop.host(), Host::Name(_)) {
            notes.note("DNS", stage.hop_name(), &stage.stop, None);
        }
    }

    fn passed(&self, stage: impl FnOnce() -> Stage) {
        let stage = stage();
        self.note_rounds(&stage);
        self.notes.borrow_mut().note(name(&stage), stage.hop_name(), &stage.stop, None);
    }

    fn rounds(&self) -> Option<Arc<dyn ObserveRounds>> {
        Some(Arc::clone(&self.rounds) as Arc<dyn ObserveRounds>)
    }

    fn logged_on(&self, stage: impl FnOnce() -> Stage) {
        self.note_rounds(&stage());
    }

    fn failed(&self, error: &ChainError) {
        let stage = &error.stage;
        self.note_rounds(stage);
        let mut notes = self.notes.borrow_mut();
        // The look-up and the connection are one step of the chain. Errors tell which of the two failed; a
        // timeout belongs to the look-up as long as that has not been reported.
        let is_dns = stage.step == Step::Dial
            && match &error.cause {
                Cause::Dial(DialError::Lookup(_) | DialError::NoAddress) => true,
                Cause::Timeout(..) => !notes.is_looked_up,
                _ => false,
            };
        let step = if is_dns { "DNS" } else { name(stage) };
        notes.note(step, stage.hop_name(), &stage.stop, Some(with_causes(&error.cause)));
        // The chain may go on by a detour, which begins with a look-up again.
        notes.is_looked_up = false;
    }
}

impl Notes<'_> {
    fn note(
        &mut self,
        step: &'static str,
        hop: Option<String>,
        stop: &Authority,
        error: Option<String>,
    ) {
        self.add(step, hop, stop, Instant::now(), |note| Note { error, ..note });
    }

    /// Adds the note that `complete` makes of one about a step that ended at `now`.
    fn add(
        &mut self,
        step: &'static str,
        hop: Option<String>,
        stop: &Authority,
        now: Instant,
        complete: impl FnOnce(Note) -> Note,
    ) {
        let seconds = now.duration_since(self.began).as_secs_f64();
        self.began = now;
        let stop = stop.to_string();
        let note =
            complete(Note { step, hop, stop, seconds, error: None, direct: None, round: None });
        if let (Some(out), Ok(())) = (&mut self.out, &self.written) {
            // Written at once, so that a user sees which step hangs.
            self.written = writeln!(out, "{note}").and_then(|()| out.flush());
        }
        self.steps.push(note);
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, hop, stop, seconds, error, direct, round } = self;
        let time = milliseconds(Duration::from_secs_f64(*seconds));
        write!(f, "{time:>12}  {step:<10}  ")?;
        // For CONNECT, the stop is not the hop but the address that the hop was asked for. A first byte comes
        // from the hop, whatever the target is.
        match (*step, hop) {
            (CHOICE, Some(hop)) if direct.is_some() => write!(f, "{hop}")?,
            ("CONNECT", Some(hop)) => write!(f, "{hop} to {stop}")?,
            ("first byte" | "round", Some(hop)) => write!(f, "{hop}")?,
            (_, Some(hop)) => write!(f, "{hop} at {stop}")?,
            (_, None) => write!(f, "the target, {stop}")?,
        }
        if let Some(AuthRound { scheme, source, status }) = round {
            match (scheme, source) {
                (Some(scheme), Some(source)) => write!(f, ", by {scheme} with {source}: {status}")?,
                (Some(scheme), None) => write!(f, ", by {scheme}: {status}")?,
                (None, _) => write!(f, ", without credentials: {status}")?,
            }
        }
        if let Some(why) = direct {
            write!(f, ": {why}")?;
        }
        match error {
            Some(error) => write!(f, ": {RED}{error}{RESET}"),
            None => Ok(()),
        }
    }
}

/// Formats a time for people.
pub(super) fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

fn name(stage: &Stage) -> &'static str {
    match stage.step {
        Step::Choose => CHOICE,
        Step::Dial => "TCP",
        Step::Enter => stage.protocol.unwrap_or("handshake"),
        Step::Extend => "CONNECT",
    }
}

/// The step in which a hop chooses the way.
const CHOICE: &str = "choice";
/// A step that takes longer than this has its wait shown to the user.
const LONG: Duration = Duration::from_secs(2);
const RED: &str = "\u{1b}[1;31m";
const RESET: &str = "\u{1b}[0m";
