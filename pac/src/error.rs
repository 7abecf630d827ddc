//! The reasons why a script gives no answer.

use std::{fmt, io, time::Duration};

use thiserror::Error;

/// Why a script could not be loaded, or a call gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PacError {
    /// The text is a web page.
    #[error("it is HTML and not a PAC file")]
    Html,
    /// The text is not JavaScript.
    #[error("it is not valid JavaScript: {message}{}", At(.place))]
    Syntax {
        /// The engine's words.
        message: String,
        /// The place in the text, if the engine knows it.
        place: Option<Place>,
    },
    /// The script defines no function that could be called.
    #[error("it has no function `FindProxyForURL`")]
    NoFunction,
    /// The script threw an exception.
    #[error("it threw an error: {message}{}", At(.place))]
    Threw {
        /// The exception, as text.
        message: String,
        /// The place in the text, if the engine knows it.
        place: Option<Place>,
    },
    /// A call, or loading the script, took too much processor time.
    #[error("it takes longer than {} ms", .0.as_millis())]
    TooSlow(Duration),
    /// A call, or loading the script, needed more memory or a deeper stack than a script may have.
    #[error("it needs too much memory, or its calls are nested too deeply")]
    Exhausted,
    /// The function returned something other than a text, such as `undefined`.
    #[error("its function returned {0} instead of a text")]
    NotText(&'static str),
    /// The function returned a text that is far too long for a list of proxies.
    #[error("its function returned a text longer than {0} bytes")]
    TooLong(usize),
    /// The most calls that may wait are waiting already.
    #[error("too many calls are waiting for it")]
    Busy,
    /// A call does not return, and can't be interrupted.
    #[error("a call to it does not return")]
    Stuck,
    /// Other calls do not return, and as many threads as allowed are lost to them.
    #[error("calls to it that do not return hold up all others")]
    HeldUp,
    /// The system gives no thread, or the engine could not be made.
    #[error("it can't be run: {0}")]
    NoThread(String),
}

/// A place in a script. Lines and columns are counted from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: u32,
    /// The character in the line.
    pub column: u32,
}

impl PacError {
    pub(crate) fn no_thread(error: &io::Error) -> Self {
        Self::NoThread(error.to_string())
    }

    /// Returns the place in the script, if the error has one.
    pub fn place(&self) -> Option<Place> {
        match self {
            Self::Syntax { place, .. } | Self::Threw { place, .. } => *place,
            _ => None,
        }
    }
}

/// Shows a place after a message.
struct At<'a>(&'a Option<Place>);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(Place { line, column }) => write!(f, " (line {line}, column {column})"),
            None => Ok(()),
        }
    }
}
