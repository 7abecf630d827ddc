//! The fields of a head.

use std::fmt;

use bytes::Bytes;
use mooltiroute_hops::ClientFields;

use super::role::{Role, role_of};

/// The field lines of a head or a trailer section, with their order, case, repetition and bytes.
///
/// They are slices of one buffer. `Debug` shows names, never values.
#[derive(Clone, Default)]
pub struct Fields {
    head: Bytes,
    lines: Vec<Line>,
    /// The [`mark`]s of all names, combined.
    marks: u64,
}

/// The position of a field in its head. Heads are far smaller than 4 GiB, so 32 bits are enough.
#[derive(Clone, Copy)]
pub(super) struct Line {
    name: (u32, u32),
    value: (u32, u32),
}

impl ClientFields for Fields {
    fn visit(&self, name: &str, visit: &mut dyn FnMut(&[u8])) {
        self.values(name).for_each(visit);
    }
}

impl Fields {
    /// Creates the fields at the positions `lines` of `head`.
    pub(super) fn new(head: Bytes, lines: Vec<Line>) -> Self {
        // The marks are made once, since a forwarded request is searched for a dozen fields that
        // most heads don't have.
        let name = |line: &Line| &head[line.name.0 as usize..line.name.1 as usize];
        let marks = lines.iter().fold(0, |marks, line| marks | mark(name(line)));
        Self { head, lines, marks }
    }

    /// Returns the name and the value of each field, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> + ExactSizeIterator {
        self.pairs(&self.lines)
    }

    /// Returns the number of field lines.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Returns whether there are no fields.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Returns the values of all fields named `name`, in any case.
    #[inline]
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        // A missing bit proves that the name is not there. A bit that is set may come from another
        // name, so the search still compares.
        let may_be_there = self.marks & mark(name.as_bytes()) != 0;
        self.pairs(if may_be_there { &self.lines } else { &[] })
            .filter(move |(known, _)| known.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// Returns the elements of all comma-separated lists named `name` (RFC 9110 §5.6.1), without empty ones.
    ///
    /// Use it for lists of tokens only: it splits quoted strings at commas, too.
    pub fn elements<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.values(name).flat_map(elements)
    }

    /// Returns whether a list named `name` contains `token`, in any case.
    pub fn lists_token(&self, name: &str, token: &str) -> bool {
        let is_token = |element: &[u8]| element.eq_ignore_ascii_case(token.as_bytes());
        self.values(name).any(|value| elements(value).any(is_token))
    }

    /// Returns the size of the head that the fields are slices of.
    pub(super) fn byte_count(&self) -> usize {
        self.head.len()
    }

    /// Returns whether `Connection` lists too many options: each field is looked up among them.
    pub(super) fn has_too_many_options(&self) -> bool {
        self.elements("Connection").nth(OPTIONS_MAX).is_some()
    }

    /// Returns the names in `Connection` that are not hop-by-hop anyway.
    pub(super) fn connection_options(&self) -> Vec<&[u8]> {
        self.elements("Connection")
            .filter(|option| {
                let is_known = ["close", "keep-alive"]
                    .iter()
                    .any(|known| option.eq_ignore_ascii_case(known.as_bytes()));
                // Hop-by-hop fields are removed in any case. `Host` and the fields that frame the
                // body can't be removed by an option: a client could otherwise change where a body
                // ends.
                !is_known && matches!(role_of(option), Role::EndToEnd | Role::MaxForwards)
            })
            .collect()
    }

    #[inline]
    fn pairs<'a>(
        &'a self,
        lines: &'a [Line],
    ) -> impl DoubleEndedIterator<Item = (&'a [u8], &'a [u8])> + ExactSizeIterator {
        lines.iter().map(|line| (self.bytes(line.name), self.bytes(line.value)))
    }

    #[inline]
    fn bytes(&self, (start, end): (u32, u32)) -> &[u8] {
        &self.head[start as usize..end as usize]
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| String::from_utf8_lossy(name))).finish()
    }
}

impl Line {
    /// Returns the positions in `head` of the lines that were parsed from it.
    pub(super) fn all_within(head: &[u8], parsed: &[httparse::Header<'_>]) -> Vec<Self> {
        parsed.iter().map(|line| Self::within(head, line.name.as_bytes(), line.value)).collect()
    }

    /// Returns the position in `head` of `name` and `value`, which are slices of it.
    fn within(head: &[u8], name: &[u8], value: &[u8]) -> Self {
        Self { name: range_within(head, name), value: range_within(head, value) }
    }

    fn start(&self) -> usize {
        self.name.0 as usize
    }
}

/// Returns whether any line of `head` ends in a bare LF.
///
/// Names and values contain no LF, so every LF comes right before a name or ends the head.
pub(super) fn has_bare_lf(head: &[u8], lines: &[Line]) -> bool {
    !head.ends_with(b"\r\n\r\n")
        || lines.iter().any(|line| !head[..line.start()].ends_with(b"\r\n"))
}

/// Splits a comma-separated list into its elements, without white space around them and without empty ones.
pub(super) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// Returns one bit for `name`, the same in any case.
///
/// Most lookups are for names that a head does not have, and the missing bit says so without a search.
#[inline]
fn mark(name: &[u8]) -> u64 {
    // The first letter and the length spread the usual names well. A collision costs no more than a
    // search.
    let first = name.first().map_or(0, |byte| usize::from(byte.to_ascii_lowercase()));
    1 << ((first + 7 * name.len()) % 64)
}

#[inline]
fn range_within(head: &[u8], part: &[u8]) -> (u32, u32) {
    let start = (part.as_ptr() as usize).wrapping_sub(head.as_ptr() as usize);
    debug_assert!(start + part.len() <= head.len(), "the part is not a slice of the head");
    // The limit of heads keeps both far below the maximum.
    (start as u32, (start + part.len()) as u32)
}

/// Far more than the registered connection options.
const OPTIONS_MAX: usize = 64;
