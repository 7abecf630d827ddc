//! `mooltiroute top`: the open connections, live in the terminal.
//!
//! Once a second the proxy is asked for its connections and counts. A key is answered at once, from what is known. What a
//! key does and what the screen shows are plain functions of [`Screen`], so that both are tested without a terminal.

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

use self::screen::{Screen, Wish};
use super::{complain, ps::listed::Listed, running};
use crate::{
    cli,
    config::Environment,
    control::{
        api::{KillOrder, Killed},
        client::{Control, NoAnswer},
    },
};

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
    if let Err(error) = refresh(&mut screen, &mut control) {
        return complain(&error);
    }
    // It also installs a hook, so that a panic restores the terminal. From here to `restore`, nothing may
    // return.
    let mut terminal = match ratatui::try_init() {
        Ok(terminal) => terminal,
        Err(error) => return complain(&format_args!("the terminal can't be used: {error}")),
    };
    let ended = show(&mut terminal, &mut screen, &mut control);
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
    control: &mut Control,
) -> Result<(), String> {
    let failed = |error: io::Error| format!("the terminal can't be used: {error}");
    let mut next = Instant::now() + INTERVAL;
    loop {
        terminal.draw(|frame| view::draw(frame, screen)).map_err(failed)?;
        // The wait for a key ends when the next question is due, so one thread does both.
        let left = next.saturating_duration_since(Instant::now());
        if event::poll(left).map_err(failed)? {
            // Other events, such as a new size, only need the screen to be drawn.
            let Event::Key(key) = event::read().map_err(failed)? else { continue };
            if key.kind == KeyEventKind::Release {
                continue;
            }
            match screen.press(key) {
                // Only the screen has changed. Asking the proxy for each key would make a key that is held
                // down slow.
                Wish::Nothing => continue,
                Wish::Leave => return Ok(()),
                Wish::Kill(id) => screen.say(kill(control, id)),
            }
        }
        refresh(screen, control).map_err(|error| error.to_string())?;
        next = Instant::now() + INTERVAL;
    }
}

fn refresh(screen: &mut Screen, control: &mut Control) -> Result<(), NoAnswer> {
    // A reload may have changed the listeners, which `top` needs to find the processes of clients.
    control.identity = control.get("/v1/proxy")?;
    let (rows, overview) = (Listed::all(control)?, control.get("/v1/overview")?);
    screen.update(rows, overview, Instant::now());
    Ok(())
}

fn kill(control: &Control, id: u64) -> String {
    match control.post("/v1/kill", &KillOrder::Ids(vec![id])) {
        Ok(Killed { killed }) if killed.is_empty() => format!("{id} has ended already"),
        Ok(_) => format!("{id} killed"),
        Err(error) => error.to_string(),
    }
}

/// The time between two questions to the proxy.
const INTERVAL: Duration = Duration::from_secs(1);
