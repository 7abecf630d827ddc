//! A list of proxies, read line by line.

use std::{collections::HashMap, fmt, sync::Arc};

use thiserror::Error;

mod cut;

use self::cut::{CutSign, LastLine};
use super::{
    PoolMember,
    list::{InvalidLine, LineDoubt, LineForm, ListScheme, ListedProxy, parse_line},
};
use crate::InvalidSetting;

/// The proxies of a list, and the lines that can't be used.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) members: Vec<PoolMember>,
    bad: Vec<(usize, BadLine)>,
    /// The first line with a probable mistake, and that mistake.
    doubtful: Option<(usize, LineDoubt, LineForm)>,
    /// The number of other lines with the same mistake.
    doubtful_more: usize,
    /// The first line that repeats an earlier one, with the number of that one.
    repeated: Option<(usize, usize)>,
    /// The number of other lines that repeat one.
    repeated_more: usize,
    /// The number of the last line and a sign that its end is missing, if there is one.
    cut: Option<(usize, CutSign)>,
}

/// Why a whole text is not a list of proxies. The text never repeats anything of it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum UnusableList {
    #[error("has no proxy in it")]
    Empty,
    #[error("is JSON, not a list with one proxy a line")]
    Json,
    #[error("is a web page or XML, not a list with one proxy a line")]
    Markup,
    #[error("has over {LISTED_MAX} proxies")]
    TooLong,
    #[error("has no usable line{}", in_one_line(.0))]
    NoUsableLine(Vec<String>),
}

/// Something odd about a list, as a clause without anything of its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Doubt {
    pub(super) about: String,
    /// The first lines that it is about.
    pub(super) lines: Vec<String>,
}

impl Doubt {
    /// Puts all of `doubts` into one sentence, if there are any.
    pub(super) fn all_in_words(doubts: &[Self]) -> Option<String> {
        let doubts: Vec<String> = doubts.iter().map(ToString::to_string).collect();
        (!doubts.is_empty()).then(|| format!("it {}", doubts.join("; it ")))
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.about, in_one_line(&self.lines))
    }
}

impl From<String> for Doubt {
    fn from(about: String) -> Self {
        Self { about, lines: Vec::new() }
    }
}

impl UnusableList {
    /// Returns what to do about a file that is such a text.
    pub(super) fn help(&self) -> Option<&'static str> {
        match self {
            Self::Empty => Some(
                "write proxies into it, one `HOST:PORT:USER:PASSWORD` or URL a line; a running proxy goes on with the \
                 last list until then",
            ),
            Self::Json => Some(
                "ask the provider for the download as text, one proxy a line, and save that as the file",
            ),
            Self::Markup => {
                Some("download the list again; this may be the page of a login or of an error")
            }
            Self::TooLong | Self::NoUsableLine(_) => None,
        }
    }
}

/// Why a line gives no member.
#[derive(Debug)]
enum BadLine {
    Invalid(InvalidLine, LineForm),
    /// The hop that it describes can't be built.
    Hop(Vec<InvalidSetting>),
}

impl Listing {
    /// Reads `text`, whose lines without a scheme mean `scheme`. `member` makes a member of each proxy, which gets the name
    /// of its line.
    ///
    /// # Errors
    /// The text is not a list, or has no usable line, or too many.
    pub(super) fn read(
        text: &str,
        scheme: ListScheme,
        mut member: impl FnMut(&ListedProxy, Arc<str>) -> Result<PoolMember, Vec<InvalidSetting>>,
    ) -> Result<Self, UnusableList> {
        let mut listing = Self::default();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if is_json(text) {
            return Err(UnusableList::Json);
        }
        if text.trim_start().starts_with('<') {
            return Err(UnusableList::Markup);
        }
        let mut lines = HashMap::new();
        let mut last_line = LastLine::of(text);
        for (line, number) in text.lines().zip(1..) {
            let Some(parsed) = parse_line(line) else { continue };
            let form = LineForm::of(line, scheme);
            if let Some(doubt) = parsed.as_ref().ok().and_then(ListedProxy::doubt) {
                listing.doubts_in(number, doubt, form);
            }
            if let Ok(proxy) = &parsed {
                last_line.note(number, proxy);
            }
            let invalid = |why| BadLine::Invalid(why, form);
            let built = parsed.map_err(invalid).and_then(|proxy| {
                member(&proxy, format!("line {number}").into()).map_err(BadLine::Hop)
            });
            match built {
                Ok(member) => {
                    // The fingerprint is that of all that the line says, in whichever form.
                    let first = *lines.entry(member.fingerprint).or_insert(number);
                    if first != number {
                        listing.repeats(number, first);
                    }
                    listing.members.push(member);
                }
                Err(error) => listing.bad.push((number, error)),
            }
            if listing.members.len() > LISTED_MAX {
                return Err(UnusableList::TooLong);
            }
        }
        listing.cut = last_line.sign();
        match (listing.members.is_empty(), listing.bad.is_empty()) {
            (false, _) => Ok(listing),
            (true, true) => Err(UnusableList::Empty),
            (true, false) => Err(UnusableList::NoUsableLine(first_few(&listing.bad))),
        }
    }

    fn repeats(&mut self, number: usize, first: usize) {
        match self.repeated {
            None => self.repeated = Some((number, first)),
            Some(_) => self.repeated_more += 1,
        }
    }

    fn doubts_in(&mut self, number: usize, doubt: LineDoubt, form: LineForm) {
        match self.doubtful {
            None => self.doubtful = Some((number, doubt, form)),
            Some((_, first, _)) => self.doubtful_more += usize::from(first == doubt),
        }
    }

    /// Returns all that is odd about the list.
    pub(super) fn doubts(&self) -> Vec<Doubt> {
        let doubtful = self.doubtful.map(|(number, doubt, form)| {
            let more = match self.doubtful_more {
                0 => String::new(),
                1 => " and in one more".to_owned(),
                more => format!(" and in {more} more"),
            };
            // A password may have a `%` and such digits by coincidence.
            let likely = if doubt == LineDoubt::Encoded { "may have" } else { "probably has" };
            format!("{likely} a mistake in line {number}{more}: {}", doubt.in_words(form))
        });
        let left_out = (!self.bad.is_empty()).then(|| {
            let (bad, count) = (self.bad.len(), self.bad.len() + self.members.len());
            let about = format!("has {bad} of {count} lines that can't be used, and are left out");
            Doubt { about, lines: first_few(&self.bad) }
        });
        let repeated = self.repeated.map(|(number, first)| {
            let more = match self.repeated_more {
                0 => String::new(),
                1 => ", and one more line repeats another".to_owned(),
                more => format!(", and {more} more lines repeat others"),
            };
            format!(
                "has the same proxy in lines {first} and {number}{more}; each line is a member of its own, so \
                 remove the repeats, unless this proxy should get a larger share"
            )
        });
        let cut = self.cut.map(|(number, sign)| {
            format!(
                "may have lost its end: line {number} is the last one, has no line end, and {sign}; save the list again, or add a \
                 line end if it is complete"
            )
        });
        doubtful.into_iter().chain(repeated).chain(cut).map(Doubt::from).chain(left_out).collect()
    }
}

/// Returns whether `text` begins as JSON does. An IPv6 address begins with `[` too, and a colon or a digit follows it.
fn is_json(text: &str) -> bool {
    let text = text.trim_start();
    let Some(items) = text.strip_prefix('[') else { return text.starts_with('{') };
    let items = items.trim_start();
    items.starts_with(['{', '[', '"', ']']) && !text.starts_with("[]:")
}

/// Describes the first bad lines by number, each in an item without anything of its text. Neighbours with one reason share
/// an item, and a last one counts the rest.
fn first_few(bad: &[(usize, BadLine)]) -> Vec<String> {
    let mut groups: Vec<(usize, usize, String)> = Vec::new();
    let mut described = 0;
    for (number, why) in bad {
        let why = why.to_string();
        let is_full = groups.len() == SHOWN_MAX;
        match groups.last_mut() {
            Some((_, last, same)) if *same == why && *last + 1 == *number => *last = *number,
            _ if is_full => break,
            _ => groups.push((*number, *number, why)),
        }
        described += 1;
    }
    let shown = groups.iter().map(|(first, last, why)| match first == last {
        true => format!("line {first}: {why}"),
        false => format!("lines {first} to {last}: {why}"),
    });
    let more = bad.len() - described;
    let rest = match more {
        0 => None,
        1 => Some("and one more line".to_owned()),
        more => Some(format!("and {more} more lines")),
    };
    shown.chain(rest).collect()
}

/// Returns what to add to a clause about these lines, in a text without line ends.
fn in_one_line(lines: &[String]) -> String {
    if lines.is_empty() { String::new() } else { format!(": {}", lines.join("; ")) }
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(why, form) => f.write_str(&why.in_words(*form)),
            Self::Hop(why) => {
                let why: Vec<String> = why.iter().map(ToString::to_string).collect();
                f.write_str(&why.join(", "))
            }
        }
    }
}

/// The groups of bad lines that are described.
const SHOWN_MAX: usize = 3;
/// The proxies that a list may have.
const LISTED_MAX: usize = 50_000;
