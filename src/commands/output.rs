//! Writes the answers of commands, and the reasons why they fail.

use std::{
    fmt,
    io::{self, Write},
    process::ExitCode,
};

use serde_json::json;
use terminal_size::{Height, Width};

use super::{Verdict, json::ShownProblem, wrap::Wrapped};
use crate::{
    cli::Format,
    config::{Loader, Problems},
};

/// Returns standard output for the answer of a command in `format`. Text is wrapped at the width of a terminal.
pub(super) fn answer(format: Format) -> Wrapped<impl Write> {
    // A line end inside of a text of JSON would break it.
    let is_wrapped = format == Format::Human;
    let width =
        is_wrapped.then(|| columns(terminal_size::terminal_size_of(io::stdout()))).flatten();
    Wrapped::new(stdout(), width)
}

/// Returns how many columns of a terminal to use. The last column stays free.
fn columns(size: Option<(Width, Height)>) -> Option<usize> {
    size.map(|(Width(width), _)| usize::from(width).saturating_sub(1).min(LINE_CHARS_MAX))
}

/// Returns standard output without wrapping.
///
/// After the reader has closed its end, as `head` does once it has enough, writes succeed and go nowhere. So the command
/// runs to its end and exits with its own status.
pub(super) fn stdout() -> impl Write {
    UntilClosed(StyledOutput { styled: anstream::stdout().lock(), plain: io::stdout() })
}

/// Standard output, which leaves styles out if it can't show them.
struct StyledOutput {
    styled: anstream::AutoStream<io::StdoutLock<'static>>,
    plain: io::Stdout,
}

impl Write for StyledOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // The search for styles takes its time for each byte, and a table may have ten thousand lines without any. Both
        // ways lead through one buffer, so the order stays.
        if bytes.contains(&ESCAPE) { self.styled.write(bytes) } else { self.plain.write(bytes) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.styled.flush()
    }
}

struct UntilClosed<W>(W);

impl<W: Write> Write for UntilClosed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.write(bytes) {
            // Counted as written, or the caller would try again.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(bytes.len()),
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.0.flush() {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            flushed => flushed,
        }
    }
}

/// Writes every problem that `loader` found.
pub(super) fn write_problems(
    loader: &Loader,
    problems: &Problems,
    format: Format,
    out: &mut dyn Write,
) -> io::Result<Verdict> {
    match format {
        Format::Human => {
            let count = match problems.0.len() {
                1 => "1 problem".to_owned(),
                count => format!("{count} problems"),
            };
            writeln!(out, "{}\n\n{}: {count}", problems.coloured(), loader.source())?;
        }
        Format::Json => return write_json_problems(problems, out),
    }
    Ok(Verdict::Invalid)
}

pub(super) fn write_json_problems(problems: &Problems, out: &mut dyn Write) -> io::Result<Verdict> {
    let problems: Vec<_> = problems.0.iter().map(ShownProblem::from).collect();
    writeln!(out, "{:#}", json!({ "valid": false, "problems": problems }))?;
    Ok(Verdict::Invalid)
}

/// Returns the exit status of a command that has written its answer.
pub(super) fn status(written: io::Result<Verdict>) -> ExitCode {
    match written {
        Ok(Verdict::Valid) => ExitCode::SUCCESS,
        Ok(Verdict::Invalid) => ExitCode::FAILURE,
        Err(error) => complain(&error),
    }
}

/// Writes to standard error why a command failed, and returns the exit status for that.
pub(super) fn complain(why: &dyn fmt::Display) -> ExitCode {
    // If standard error is closed, there is nowhere to report it.
    let width = columns(terminal_size::terminal_size_of(io::stderr()));
    let _ = writeln!(Wrapped::new(anstream::stderr(), width), "mooltiroute: {why}");
    ExitCode::FAILURE
}

/// The byte that begins each style.
const ESCAPE: u8 = 0x1b;

/// A longer line of text is hard to read.
const LINE_CHARS_MAX: usize = 120;
