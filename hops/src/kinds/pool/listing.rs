//! A list of proxies, read line by line.

use std::{fmt, sync::Arc};

use super::{
    PoolMember,
    list::{InvalidLine, ListedProxy, parse_line},
};
use crate::InvalidSetting;

/// The proxies of a list, and the lines that can't be used.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) members: Vec<PoolMember>,
    bad: Vec<(usize, BadLine)>,
    /// The first line with a probable mistake, and that mistake.
    doubtful: Option<(usize, &'static str)>,
}

/// Why a line gives no member.
#[derive(Debug)]
enum BadLine {
    Invalid(InvalidLine),
    /// The hop that it describes can't be built.
    Hop(Vec<InvalidSetting>),
}

impl Listing {
    /// Reads `text`. `member` makes a member of each proxy, which gets the name of its line.
    ///
    /// # Errors
    /// The list has no usable line, or too many, as a clause without anything of its text.
    pub(super) fn read(
        text: &str,
        mut member: impl FnMut(&ListedProxy, Arc<str>) -> Result<PoolMember, Vec<InvalidSetting>>,
    ) -> Result<Self, String> {
        let mut listing = Self::default();
        for (line, number) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().zip(1..) {
            let Some(parsed) = parse_line(line) else { continue };
            let doubt = parsed.as_ref().ok().and_then(ListedProxy::doubt);
            listing.doubtful = listing.doubtful.or_else(|| doubt.map(|doubt| (number, doubt)));
            let built = parsed.map_err(BadLine::Invalid).and_then(|proxy| {
                member(&proxy, format!("line {number}").into()).map_err(BadLine::Hop)
            });
            match built {
                Ok(member) => listing.members.push(member),
                Err(error) => listing.bad.push((number, error)),
            }
            if listing.members.len() > LISTED_MAX {
                return Err(format!("has over {LISTED_MAX} proxies"));
            }
        }
        match (listing.members.is_empty(), listing.bad.is_empty()) {
            (false, _) => Ok(listing),
            (true, true) => Err("has no proxy in it".to_owned()),
            (true, false) => Err(format!("has no usable line: {}", first_few(&listing.bad))),
        }
    }

    /// Describes what is odd about the list, in clauses without anything of its text.
    pub(super) fn doubts(&self) -> Vec<String> {
        let doubtful = self
            .doubtful
            .map(|(number, doubt)| format!("probably has a mistake in line {number}: {doubt}"));
        let left_out = (!self.bad.is_empty()).then(|| {
            let (bad, count) = (self.bad.len(), self.bad.len() + self.members.len());
            let few = first_few(&self.bad);
            format!("has {bad} of {count} lines that can't be used, and are left out: {few}")
        });
        doubtful.into_iter().chain(left_out).collect()
    }
}

/// Describes the first bad lines by number, without anything of their text. Neighbours with one reason are described
/// together.
fn first_few(bad: &[(usize, BadLine)]) -> String {
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
    let shown: Vec<String> = shown.collect();
    match bad.len() - described {
        0 => shown.join("; "),
        more => format!("{}; and {more} more", shown.join("; ")),
    }
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(why) => why.fmt(f),
            Self::Hop(why) => {
                let why: Vec<String> = why.iter().map(ToString::to_string).collect();
                f.write_str(&why.join(", "))
            }
        }
    }
}

/// The groups of bad lines that are described.
const SHOWN_MAX: usize = 10;
/// The proxies that a list may have.
const LISTED_MAX: usize = 50_000;
