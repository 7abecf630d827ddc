//! The names of processes, on Linux.

use std::{fs, path::Path};

/// Returns the name of the process whose directory in `/proc` is `process`, as it is shown. It is
/// empty if the process is gone.
pub(crate) fn process_name(process: &Path) -> String {
    shown(&fs::read(process.join("comm")).unwrap_or_default())
}

/// Returns `name` without the characters that steer a terminal or turn the direction of writing.
///
/// A process chooses its name itself. The kernel cuts a name after 15 bytes, which may be within a character.
fn shown(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    name.chars().filter(|one| !one.is_control() && !is_format(*one)).collect()
}

/// Returns whether a character has no shape of its own, but changes how others are shown.
fn is_format(one: char) -> bool {
    matches!(one, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_shown_without_what_steers_a_terminal_even_if_it_is_cut_within_a_character() {
        for (name, expected) in [
            ("curl\n".as_bytes(), "curl"),
            (&"программа".as_bytes()[..15], "програм\u{fffd}"),
            (b"\x1b[31mred\xc2\x9b", "[31mred"),
            ("a\u{202e}lruc\u{200f}".as_bytes(), "alruc"),
            (b"", ""),
        ] {
            assert_eq!(shown(name), expected);
        }
    }
}
