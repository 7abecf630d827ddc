//! The log: one line an event, on standard error.

mod queue;

use std::{
    fmt,
    io::{self, IsTerminal as _},
};

use tracing::Subscriber;
use tracing_subscriber::{
    Layer, Registry,
    filter::{LevelFilter, Targets},
    fmt as lines,
    layer::SubscriberExt as _,
    registry::LookupSpan,
    reload,
    util::SubscriberInitExt as _,
};

pub(crate) use self::queue::Flush;
use self::queue::{Queue, queue};
use crate::config::{Format, Level, Log};

/// Changes the log while it is written.
#[derive(Clone)]
pub struct LogControl {
    filter: reload::Handle<Targets, Registry>,
    lines: reload::Handle<Lines, Filtered>,
    queue: Queue,
    directives: Option<Targets>,
}

type Filtered = tracing_subscriber::layer::Layered<reload::Layer<Targets, Registry>, Registry>;
type Lines = Box<dyn Layer<Filtered> + Send + Sync>;

/// Begins the log of this process. `directives`, where given, decide on levels in place of `log.level`: the text of
/// `RUST_LOG`, such as `info,mooltiroute::session=debug`. Its last lines are written when the [`Flush`] is dropped.
///
/// # Errors
/// What is wrong with `directives`, that the system gives no thread, or that a log was begun before.
pub(crate) fn begin(
    log: &Log,
    directives: Option<&str>,
) -> Result<(LogControl, Flush), Box<dyn std::error::Error + Send + Sync>> {
    let directives = directives
        .filter(|text| !text.is_empty())
        .map(str::parse::<Targets>)
        .transpose()
        .map_err(|error| format!("RUST_LOG: {error}"))?;
    let (queue, flush) =
        queue(io::stderr()).map_err(|error| format!("the log can't be written: {error}"))?;
    let (filter, filter_handle) =
        reload::Layer::new(directives.clone().unwrap_or_else(|| targets(log.level)));
    let (lines, lines_handle) = reload::Layer::new(layer(log.format, &queue));
    tracing_subscriber::registry().with(filter).with(lines).try_init()?;
    Ok((LogControl { filter: filter_handle, lines: lines_handle, queue, directives }, flush))
}

impl LogControl {
    /// Writes on as `log` says.
    pub fn set(&self, log: &Log) {
        if self.directives.is_none() {
            // It fails only where the log has ended.
            let _ = self.filter.reload(targets(log.level));
        }
        let _ = self.lines.reload(layer(log.format, &self.queue));
    }
}

impl fmt::Debug for LogControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogControl").finish_non_exhaustive()
    }
}

/// Our own events at `level`; of libraries, what goes wrong.
fn targets(level: Level) -> Targets {
    let ours = LevelFilter::from(level);
    Targets::new()
        .with_default(ours.min(LevelFilter::WARN))
        .with_targets([("mooltiroute", ours), ("mooltiroute_hops", ours)])
}

fn layer<S>(format: Format, queue: &Queue) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let layer = lines::layer().with_writer(queue.clone()).with_target(false);
    match format {
        Format::Text => layer.with_ansi(io::stderr().is_terminal()).boxed(),
        Format::Json => {
            layer.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
        }
    }
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Off => Self::OFF,
            Level::Error => Self::ERROR,
            Level::Warn => Self::WARN,
            Level::Info => Self::INFO,
            Level::Debug => Self::DEBUG,
            Level::Trace => Self::TRACE,
        }
    }
}
