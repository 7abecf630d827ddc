//! `mooltiroute top`: the open connections, live in the terminal.
//!
//! Once a second the proxy is asked for its connections and counts, by another thread, since a proxy may not answer. A key
//! is answered at once, from what is known. What a
//! key does and what the screen shows are plain functions of [`Screen`], so that both are tested without a terminal.

mod proxy_asker;
mod rates;
mod screen;
mod view;

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
    time::{Duration, Instant},
};

use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyEventKind},
};

use self::{
    proxy_asker::{ProxyAsker, TopAnswer},
    screen::{Screen, Wish},
};
use super::{complain, ps::listed::Listed, running};
use crate::{cli, config::Environment};

/// Runs the command.
pub fn run(flags: &cli::Top, environment: &Environment) -> ExitCode {
    if !(io::stdout().is_terminal() && io::stdin().is_terminal()) {
        return complain(&"top needs a terminal; `mooltiroute ps` lists the connections once");
    }
    let mut control = match running::find(&flags.proxy, environment) {
        Ok(control) => control,
        Err(why) => return complain(&why),
    };
    let is_coloured = environment.variable("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut screen = Screen::new(is_coloured);
    match proxy_asker::ask(&mut control) {
        Ok((rows, overview)) => screen.update(rows, overview, Instant::now()),
        Err(error) => return complain(&error),
    }
    let mut asker = match ProxyAsker::begin(control) {
        Ok(asker) => asker,
        Err(error) => return complain(&format_args!("there is no thread to ask with: {error}")),
    };
    // It also installs a hook, so that a panic restores the terminal. From here to `restore`, nothing may
    // return.
    let mut terminal = match ratatui::try_init() {
        Ok(terminal) => terminal,
        Err(error) => return complain(&format_args!("the terminal can't be used: {error}")),
    };
    let ended = show(&mut terminal, &mut screen, &mut asker);
    ratatui::restore();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => complain(&why),
    }
}

/// Shows the screen until the user leaves or the proxy ends.
fn show(
    terminal: &mut DefaultTerminal,
    screen: &mut Screen,
    asker: &mut ProxyAsker,
) -> Result<(), String> {
    let failed = |error: io::Error| format!("the terminal can't be used: {error}");
    let mut next = Instant::now() + INTERVAL;
    loop {
        terminal.draw(|frame| view::draw(frame, screen)).map_err(failed)?;
        // The wait for a key ends when something else is due, so one thread does both.
        let left = match asker.waiting() {
            Some(_) => GLANCE,
            None => next.saturating_duration_since(Instant::now()),
        };
        if event::poll(left).map_err(failed)?
            // Other events, such as a new size, only need the screen to be drawn.
            && let Event::Key(key) = event::read().map_err(failed)?
            && key.kind != KeyEventKind::Release
        {
            match screen.press(key) {
                // Only the screen has changed. Asking the proxy for each key would make a key that is held
                // down slow.
                Wish::Nothing => {}
                Wish::Leave => return Ok(()),
                Wish::Kill(id) => asker.kill(id),
            }
        }
        while let Some(told) = asker.told() {
            match told {
                TopAnswer::State(rows, overview, at) => screen.update(rows, *overview, at),
                TopAnswer::Ended(message) => screen.say(message),
                TopAnswer::Nothing(error) => return Err(error.to_string()),
            }
            next = Instant::now() + INTERVAL;
        }
        screen.silent_for = asker.waiting().map(|since| since.elapsed()).unwrap_or_default();
        if Instant::now() >= next {
            asker.ask();
        }
    }
}

/// The time between two questions to the proxy.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long a key is waited for while an answer may come.
const GLANCE: Duration = Duration::from_millis(50);
