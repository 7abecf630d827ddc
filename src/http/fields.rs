//! The fields of a head.

use std::fmt;

use bytes::Bytes;

use super::role::{Role, role_of};

/// The field lines of a head or of a trailer section, as they came: order, case, repetition and bytes.
///
/// It holds the bytes of the head once and where in them each line lies. `Debug` shows names and no value.
#[derive(Clone, Default)]
pub struct Fields {
    head: Bytes,
    lines: Vec<Line>,
    /// The [`mark`]s of their names.
    marks: u64,
}

/// Where a field lies in its head. Heads are far below 4 GiB.
#[derive(Clone, Copy)]
pub(super) struct Line {
    name: (u32, u32),
    value: (u32, u32),
}

impl Fields {
    /// `lines` lie in `head`.
    pub(super) fn new(head: Bytes, lines: Vec<Line>) -> Self {
        let name = |line: &Line| &head[line.name.0 as usize..line.name.1 as usize];
        let marks = lines.iter().fold(0, |marks, line| marks | mark(name(line)));
        Self { head, lines, marks }
    }

    /// The name and the value of each field, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> + ExactSizeIterator {
        self.pairs(&self.lines)
    }

    /// How many field lines there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The values of all fields of this name, in whatever case it is written.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let may_be_there = self.marks & mark(name.as_bytes()) != 0;
        self.pairs(if may_be_there { &self.lines } else { &[] })
            .filter(move |(known, _)| known.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// The elements of all comma-separated lists of this name (RFC 9110 §5.6.1); empty ones are left out.
    ///
    /// It is for lists of tokens: a comma in a quoted string separates, too.
    pub fn elements<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.values(name).flat_map(elements)
    }

    /// Whether a list of this name has this token, in whatever case.
    pub fn lists_token(&self, name: &str, token: &str) -> bool {
        self.elements(name).any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// How many bytes the head has in which they lie.
    pub(super) fn byte_count(&self) -> usize {
        self.head.len()
    }

    /// Whether `Connection` lists so many options that looking each field up among them would cost too much.
    pub(super) fn has_too_many_options(&self) -> bool {
        self.elements("Connection").nth(OPTIONS_MAX).is_some()
    }

    /// The names that `Connection` lists and that are not about the connection anyway.
    pub(super) fn connection_options(&self) -> Vec<&[u8]> {
        self.elements("Connection")
            .filter(|option| {
                let is_known = ["close", "keep-alive"]
                    .iter()
                    .any(|known| option.eq_ignore_ascii_case(known.as_bytes()));
                !is_known && matches!(role_of(option), Role::EndToEnd | Role::MaxForwards)
            })
            .collect()
    }

    fn pairs<'a>(
        &'a self,
        lines: &'a [Line],
    ) -> impl DoubleEndedIterator<Item = (&'a [u8], &'a [u8])> + ExactSizeIterator {
        lines.iter().map(|line| (self.bytes(line.name), self.bytes(line.value)))
    }

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
    /// Finds where the lines that were parsed lie in `head`.
    pub(super) fn all_within(head: &[u8], parsed: &[httparse::Header<'_>]) -> Vec<Self> {
        parsed.iter().map(|line| Self::within(head, line.name.as_bytes(), line.value)).collect()
    }

    /// Finds where `name` and `value`, which are slices of `head`, lie in it.
    fn within(head: &[u8], name: &[u8], value: &[u8]) -> Self {
        Self { name: range_within(head, name), value: range_within(head, value) }
    }

    fn start(&self) -> usize {
        self.name.0 as usize
    }
}

/// Whether one of the lines that come before one of `lines`, or the empty line itself, ends in a bare LF.
///
/// Names and values hold no LF, so each one in a head comes right before a name or ends the head.
pub(super) fn has_bare_lf(head: &[u8], lines: &[Line]) -> bool {
    !head.ends_with(b"\r\n\r\n")
        || lines.iter().any(|line| !head[..line.start()].ends_with(b"\r\n"))
}

/// The elements of one comma-separated list, without the white space around them and without empty ones.
pub(super) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// One bit, the same for a name in whatever case. Most names that are asked for are not there, and that their bit is
/// missing says so without a look at the lines.
fn mark(name: &[u8]) -> u64 {
    let first = name.first().map_or(0, |byte| usize::from(byte.to_ascii_lowercase()));
    1 << ((first + 7 * name.len()) % 64)
}

fn range_within(head: &[u8], part: &[u8]) -> (u32, u32) {
    let start = (part.as_ptr() as usize).wrapping_sub(head.as_ptr() as usize);
    debug_assert!(start + part.len() <= head.len(), "the part is no slice of the head");
    // The limit of a head keeps both far below the maximum.
    (start as u32, (start + part.len()) as u32)
}

/// Far more than there are fields about a connection.
const OPTIONS_MAX: usize = 64;
