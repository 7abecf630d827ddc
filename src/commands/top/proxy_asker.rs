//! Asks the proxy on a thread of its own, so that keys are heeded while it does not answer.

use std::{
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::Instant,
};

use super::Listed;
use crate::control::{
    api::{KillOrder, Killed, Overview},
    client::{Control, NoAnswer},
};

/// An answer of the proxy, or why there is none.
#[derive(Debug)]
pub(super) enum TopAnswer {
    /// The open connections and the counts, at this moment.
    State(Vec<Listed>, Box<Overview>, Instant),
    /// The outcome of an order to end a connection.
    Ended(String),
    /// The reason why there is no answer.
    Nothing(NoAnswer),
}

/// A thread that asks. It ends with this or, if it waits for an answer then, with the process.
#[derive(Debug)]
pub(super) struct ProxyAsker {
    questions: Sender<TopQuestion>,
    answers: Receiver<TopAnswer>,
    /// Since when an answer is waited for.
    waiting: Option<Instant>,
}

#[derive(Debug)]
enum TopQuestion {
    State,
    Kill(u64),
}

impl ProxyAsker {
    /// Begins the thread, which asks `control`.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn begin(mut control: Control) -> std::io::Result<Self> {
        let (questions, asked) = mpsc::channel();
        let (sender, answers) = mpsc::channel();
        let answer = move || {
            while let Ok(question) = asked.recv() {
                let told = match question {
                    TopQuestion::State => ask(&mut control)
                        .map(|(rows, all)| TopAnswer::State(rows, all.into(), Instant::now())),
                    TopQuestion::Kill(id) => Ok(TopAnswer::Ended(kill(&control, id))),
                };
                if sender.send(told.unwrap_or_else(TopAnswer::Nothing)).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name("asker".into()).spawn(answer)?;
        Ok(Self { questions, answers, waiting: None })
    }

    /// Asks for the state, unless an answer is waited for already.
    pub(super) fn ask(&mut self) {
        if self.waiting.is_none() {
            self.waiting = Some(Instant::now());
            // If the thread has ended by a panic, no answer comes, which the screen says.
            let _ = self.questions.send(TopQuestion::State);
        }
    }

    /// Has a connection ended. The state after that follows.
    pub(super) fn kill(&mut self, id: u64) {
        self.waiting.get_or_insert_with(Instant::now);
        let _ = self.questions.send(TopQuestion::Kill(id));
        let _ = self.questions.send(TopQuestion::State);
    }

    /// Returns the next answer that has come.
    pub(super) fn told(&mut self) -> Option<TopAnswer> {
        let told = self.answers.try_recv().ok()?;
        if !matches!(told, TopAnswer::Ended(_)) {
            self.waiting = None;
        }
        Some(told)
    }

    /// Returns since when an answer is waited for.
    pub(super) fn waiting(&self) -> Option<Instant> {
        self.waiting
    }
}

/// Asks for everything that the screen shows.
pub(super) fn ask(control: &mut Control) -> Result<(Vec<Listed>, Overview), NoAnswer> {
    // A reload may have changed the listeners, which `top` needs to find the processes of clients.
    control.identity = control.get("/v1/proxy")?;
    Ok((Listed::all(control)?, control.get("/v1/overview")?))
}

fn kill(control: &Control, id: u64) -> String {
    match control.post("/v1/kill", &KillOrder::Ids(vec![id])) {
        Ok(Killed { killed }) if killed.is_empty() => format!("{id} has ended already"),
        Ok(_) => format!("{id} killed"),
        Err(error) => error.to_string(),
    }
}
