//! The log: one line per event, on standard error.

mod line;
mod logfmt;
mod queue;

use std::{
    fmt,
    io::{self, IsTerminal as _},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    time::SystemTime,
};

use tracing::{Level as TracingLevel, Subscriber, warn};
use tracing_subscriber::{
    Layer, Registry,
    filter::{LevelFilter, Targets},
    fmt as lines,
    layer::SubscriberExt as _,
    registry::LookupSpan,
    reload,
    util::SubscriberInitExt as _,
};

use self::{
    line::LineFormat,
    logfmt::Logfmt,
    queue::{Queue, queue},
};
pub(crate) use self::{line::LogLine, queue::Flush};
use crate::{
    config::{Level, Log, LogFormat},
    system::threads,
};

/// Changes the level and format of the log while the process runs.
#[derive(Clone)]
pub struct LogControl {
    filter: reload::Handle<Targets, Registry>,
    lines: reload::Handle<LineLayer, Filtered>,
    direct: DirectLog,
    directives: Option<Targets>,
}

/// Writes lines that are too frequent for an event of `tracing`.
///
/// It knows the log's format but not its filter: ask [`tracing::enabled!`] first.
#[derive(Clone, Debug)]
pub(crate) struct DirectLog {
    queue: Queue,
    /// One of [`COLOURED`], [`TEXT`] and [`JSON`].
    format: Arc<AtomicU8>,
}

type Filtered = tracing_subscriber::layer::Layered<reload::Layer<Targets, Registry>, Registry>;
type LineLayer = Box<dyn Layer<Filtered> + Send + Sync>;

/// Starts the log of this process. `directives` is the text of `RUST_LOG`, such as `info,mooltiroute::client=debug`;
/// if given, it replaces `log.level`. The last lines are written when the [`Flush`] is dropped.
///
/// # Errors
/// `directives` is invalid, the system has no thread to spare, or a log was started before.
pub(crate) fn begin(
    log: &Log,
    directives: Option<&str>,
) -> Result<(LogControl, Flush), Box<dyn std::error::Error + Send + Sync>> {
    // A wrong `RUST_LOG` is an error before anything has begun.
    let text = directives.filter(|text| !text.is_empty());
    let directives = text
        .map(str::parse::<Targets>)
        .transpose()
        .map_err(|error| format!("RUST_LOG: {error}"))?;
    // A misspelt level, such as `debgu`, is read as the name of a module and would silence everything. A text that is meant
    // for other programs would too.
    let is_off = text.is_some_and(|text| text.contains("off"));
    let is_for_us =
        |targets: &Targets| is_off || targets.would_enable("mooltiroute", &TracingLevel::ERROR);
    let (directives, foreign) = match directives {
        Some(targets) if !is_for_us(&targets) => (None, text),
        directives => (directives, None),
    };
    let (queue, flush) = queue(io::stderr()).map_err(|error| threads::too_few(&error))?;
    // Level and format change with a reload, so both layers can be replaced while the process runs.
    let (filter, filter_handle) =
        reload::Layer::new(directives.clone().unwrap_or_else(|| targets(log.level)));
    let (lines, lines_handle) = reload::Layer::new(layer(log.format, &queue));
    tracing_subscriber::registry().with(filter).with(lines).try_init()?;
    if let Some(text) = foreign {
        warn!(
            RUST_LOG = text,
            "RUST_LOG has no level for Mooltiroute, so `log.level` counts; write one, such as `debug`"
        );
    }
    let direct = DirectLog { queue, format: Arc::default() };
    direct.set_format(log.format);
    Ok((LogControl { filter: filter_handle, lines: lines_handle, direct, directives }, flush))
}

impl LogControl {
    /// Applies the settings of `log`.
    pub fn set(&self, log: &Log) {
        // `RUST_LOG` overrides the files, even after an edit.
        if self.directives.is_none() {
            // Fails only if the log has ended.
            let _ = self.filter.reload(targets(log.level));
        }
        let _ = self.lines.reload(layer(log.format, &self.direct.queue));
        self.direct.set_format(log.format);
    }

    /// Returns the log that bypasses `tracing`, for the most frequent lines.
    pub(crate) fn direct(&self) -> DirectLog {
        self.direct.clone()
    }
}

impl DirectLog {
    /// Writes a line whose fields `write` adds. Returns `false` on a terminal, whose lines have colours that only the formatter
    /// of `tracing` adds.
    pub(crate) fn write(
        &self,
        level: TracingLevel,
        message: &str,
        write: impl FnOnce(&mut LogLine<'_>),
    ) -> bool {
        let format = match self.format.load(Relaxed) {
            COLOURED => return false,
            TEXT => LineFormat::Text,
            _ => LineFormat::Json,
        };
        // Before the closure, which runs while the queue is locked.
        let now = SystemTime::now();
        self.queue.push(|out, clock| {
            let mut line = LogLine::begin(out, format, (clock, now), level, message);
            write(&mut line);
            line.end();
        });
        true
    }

    /// Returns a layer that writes events to `writer` in `format`, as a process without a terminal does.
    #[cfg(test)]
    pub(crate) fn events<S, W>(writer: W, format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
        W: for<'writer> lines::MakeWriter<'writer> + Send + Sync + 'static,
    {
        written(writer, format, false)
    }

    /// Returns a log that writes to `out` in `format`.
    #[cfg(test)]
    pub(crate) fn to(out: impl io::Write + Send + 'static, format: LogFormat) -> (Self, Flush) {
        let (queue, flush) = queue(out).unwrap();
        let format = if format == LogFormat::Json { JSON } else { TEXT };
        (Self { queue, format: Arc::new(format.into()) }, flush)
    }

    fn set_format(&self, format: LogFormat) {
        let format = match format {
            // The same rule as in `layer`, so that both kinds of lines look the same.
            LogFormat::Text if io::stderr().is_terminal() => COLOURED,
            LogFormat::Text => TEXT,
            LogFormat::Json => JSON,
        };
        self.format.store(format, Relaxed);
    }
}

impl fmt::Debug for LogControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogControl").finish_non_exhaustive()
    }
}

/// Selects this program's events at `level`, and warnings and errors of libraries.
fn targets(level: Level) -> Targets {
    // At `debug`, the many lines of libraries would bury those that explain a failure.
    let ours = LevelFilter::from(level);
    Targets::new()
        .with_default(ours.min(LevelFilter::WARN))
        .with_targets([("mooltiroute", ours), ("mooltiroute_hops", ours)])
}

fn layer<S>(format: LogFormat, queue: &Queue) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    written(queue.clone(), format, io::stderr().is_terminal())
}

/// Returns a layer that writes to `writer`, which is a terminal or not.
fn written<S, W>(writer: W, format: LogFormat, is_terminal: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> lines::MakeWriter<'writer> + Send + Sync + 'static,
{
    let layer = lines::layer().with_writer(writer).with_target(false);
    match format {
        LogFormat::Text => layer.fmt_fields(Logfmt).with_ansi(is_terminal).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_span_list(false).boxed(),
    }
}

/// The formats of a line, as the number that sessions share.
const COLOURED: u8 = 0;
const TEXT: u8 = 1;
const JSON: u8 = 2;

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
