//! Switches a hop by changing the value of its `enabled` in the text of a file.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::outline::{self, OutlineContent, OutlineEntry, OutlineNode};

/// The text of a file after a switch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Switched {
    /// The new text.
    pub text: String,
    /// The value before, if it is more than a switch.
    pub origin: Option<Origin>,
}

/// The value that `on` or `off` replaced, which `auto` restores to the byte.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Origin {
    /// A condition, a variable or an alias: the bytes between the colon and the end of the value.
    Value(String),
    /// Nothing: the key was added, with these bytes before and behind it.
    Absent {
        /// The bytes before the key.
        before: String,
        /// The bytes behind the value.
        behind: String,
    },
}

impl Origin {
    /// Returns the lines of the replaced condition, for someone who writes them by hand.
    pub(crate) fn in_words(&self) -> String {
        match self {
            // A value that begins on a line of its own keeps its indentation.
            Self::Value(value) if value.trim_start_matches(' ').starts_with(['\n', '\r']) => {
                format!("`enabled:{}`", value.trim_end())
            }
            Self::Value(value) => format!("`enabled: {}`", value.trim()),
            Self::Absent { .. } => "no `enabled` at all".to_owned(),
        }
    }
}

/// The reason why a text can't be edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Uneditable {
    /// The hop is an alias or something else than a mapping.
    #[error("the hop is written as an alias here")]
    NoMapping,
    /// A key without a colon behind it, or an empty mapping in braces.
    #[error("its `enabled` is written in an unusual way")]
    Unusual,
    /// `auto` was requested, but the value was edited by hand since.
    #[error("its `enabled` was edited since")]
    EditedSince,
}

/// The part of a hop's switch that a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SwitchPart {
    /// Nothing of the hop.
    Nothing,
    /// Some of its settings.
    Settings,
    /// Its kind, beside which a switch is best added.
    Kind,
    /// The switch itself.
    Switch,
}

/// Returns how much of the hop `name` is written in `text`.
pub(crate) fn switch_part(text: &str, name: &str) -> SwitchPart {
    let root = outline::read(body(text).1);
    let Some(hop) = root.as_ref().and_then(|root| hop(root, name)) else {
        return SwitchPart::Nothing;
    };
    match &hop.value {
        node if node.entry("enabled").is_some() => SwitchPart::Switch,
        node if node.entry("kind").is_some() => SwitchPart::Kind,
        _ => SwitchPart::Settings,
    }
}

/// Returns the names of the hops in `text`.
pub(crate) fn hop_names(text: &str) -> Vec<String> {
    let root = outline::read(body(text).1);
    let hops = root.as_ref().and_then(|root| root.entry("hops"));
    match hops.map(|hops| &hops.value.content) {
        Some(OutlineContent::Mapping(entries)) => {
            entries.iter().map(|hop| hop.name.clone()).collect()
        }
        _ => Vec::new(),
    }
}

/// Returns whether the switch of the hop `name` is more than on or off: a condition, a variable or an alias.
pub(crate) fn has_condition(text: &str, name: &str) -> bool {
    let root = outline::read(body(text).1);
    let enabled = root.as_ref().and_then(|root| hop(root, name)?.value.entry("enabled"));
    enabled.is_some_and(|enabled| boolean(&enabled.value).is_none())
}

/// Switches the hop `name` on or off. Returns `None` if `text` says so already.
///
/// # Errors
/// The reason why this text can't be edited.
pub(crate) fn switch(text: &str, name: &str, is_on: bool) -> Result<Option<Switched>, Uneditable> {
    let word = if is_on { "true" } else { "false" };
    edit(text, |body| {
        let root = outline::read(body).ok_or(Uneditable::NoMapping)?;
        let hop = hop(&root, name).ok_or(Uneditable::NoMapping)?;
        // Only the hop's own key counts. One that `<<` brings in may belong to other hops too, and an own key
        // wins over it.
        let Some(enabled) = hop.value.entry("enabled") else { return add(body, hop, word) };
        let range = after_colon(body, enabled)?;
        let written = &body[range.clone()];
        if let Some((old, is_now_on)) = boolean(&enabled.value) {
            if is_now_on == is_on {
                return Ok(None);
            }
            // Only the word is replaced, so that quotes, a tag and white space stay. A boolean needs no
            // `auto`: it says no more than on or off.
            let text = body[..range.start].to_owned()
                + &written.replacen(old, word, 1)
                + &body[range.end..];
            return Ok(Some(Switched { text, origin: None }));
        }
        // Anything else is a condition, a variable or an alias. It is remembered to the byte, with the white
        // space before it, so that `auto` can restore it.
        let (space, _) = split_space(written);
        let text = format!("{}{space}{word}{}", &body[..range.start], &body[range.end..]);
        Ok(Some(Switched { text, origin: Some(Origin::Value(written.to_owned())) }))
    })
}

/// Restores the value that the switch of the hop `name` replaced.
///
/// # Errors
/// The reason why it can't be put back.
pub(crate) fn restore(text: &str, name: &str, origin: &Origin) -> Result<String, Uneditable> {
    let restored = edit(text, |body| {
        let root = outline::read(body).ok_or(Uneditable::NoMapping)?;
        let hop = hop(&root, name).ok_or(Uneditable::NoMapping)?;
        let enabled = hop.value.entry("enabled").ok_or(Uneditable::EditedSince)?;
        // Anything but a boolean was written by the operator since, and restoring would overwrite it.
        boolean(&enabled.value).ok_or(Uneditable::EditedSince)?;
        let range = after_colon(body, enabled)?;
        let text = match origin {
            Origin::Value(value) => {
                format!("{}{value}{}", &body[..range.start], &body[range.end..])
            }
            Origin::Absent { before, behind } => {
                // The key was added with these bytes around it. If they differ now, the lines were edited,
                // and removing the same number of bytes could damage a neighbour.
                let (head, tail) = (&body[..enabled.key.start], &body[range.end..]);
                let head = head.strip_suffix(before.as_str()).ok_or(Uneditable::EditedSince)?;
                let tail = tail.strip_prefix(behind.as_str()).ok_or(Uneditable::EditedSince)?;
                format!("{head}{tail}")
            }
        };
        Ok(Some(Switched { text, origin: None }))
    })?;
    restored.map(|restored| restored.text).ok_or(Uneditable::Unusual)
}

/// Edits the body of `text` and keeps the byte order mark before it.
fn edit(
    text: &str,
    change: impl FnOnce(&str) -> Result<Option<Switched>, Uneditable>,
) -> Result<Option<Switched>, Uneditable> {
    let (mark, body) = body(text);
    let switched = change(body)?;
    Ok(switched.map(|switched| Switched { text: format!("{mark}{}", switched.text), ..switched }))
}

fn body(text: &str) -> (&str, &str) {
    text.split_at(if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 })
}

fn hop<'a>(root: &'a OutlineNode, name: &str) -> Option<&'a OutlineEntry> {
    root.entry("hops")?.value.entry(name)
}

/// Adds a switch to a hop that has none: on a line of its own behind the kind, or within the braces.
///
/// A line goes behind that of the kind and not before that of the next key, whose comment may be above it.
fn add(body: &str, hop: &OutlineEntry, word: &str) -> Result<Option<Switched>, Uneditable> {
    let OutlineContent::Mapping(entries) = &hop.value.content else {
        return Err(Uneditable::NoMapping);
    };
    // An empty `{}` has no key to add another one to.
    let first = entries.first().ok_or(Uneditable::Unusual)?;
    let kind = entries.iter().find(|entry| entry.name == "kind");
    let is_flow = body[..first.key.start].trim_end().ends_with('{');
    // After a kind that takes several lines, the end of its first line is inside of its value.
    let is_on_one_line = |entry: &&OutlineEntry| {
        matches!(entry.value.content, OutlineContent::Scalar(_))
            && !body[entry.key.start..entry.value.bytes.end].contains(['\n', '\r'])
    };
    let kind = kind.filter(is_on_one_line);
    // What is added is kept in two parts, as `auto` must later remove exactly these bytes. Without a kind on
    // one line, the switch goes before the first key, whose place is certain whatever its value looks like.
    let (at, before, behind) = match (kind, is_flow) {
        (Some(kind), true) => (kind.value.bytes.end, ", ".to_owned(), String::new()),
        (None, true) => (first.key.start, String::new(), ", ".to_owned()),
        (Some(kind), false) => {
            let end = body[kind.value.bytes.end..].find(['\n', '\r']);
            let end = end.map_or(body.len(), |end| kind.value.bytes.end + end);
            (end, line_end(body).to_owned() + &indent(body, kind.key.start), String::new())
        }
        (None, false) => {
            let behind = line_end(body).to_owned() + &indent(body, first.key.start);
            (first.key.start, String::new(), behind)
        }
    };
    let text = format!("{}{before}enabled: {word}{behind}{}", &body[..at], &body[at..]);
    Ok(Some(Switched { text, origin: Some(Origin::Absent { before, behind }) }))
}

/// Returns the bytes between the colon of `entry` and the end of its value, with the white space before the value.
fn after_colon(body: &str, entry: &OutlineEntry) -> Result<Range<usize>, Uneditable> {
    let behind = &body[entry.key.end..];
    let colon = behind.find(|character: char| !character.is_whitespace());
    let colon = colon.filter(|at| behind[*at..].starts_with(':')).ok_or(Uneditable::Unusual)?;
    let start = entry.key.end + colon + 1;
    // A value that is not written ends before the colon.
    Ok(start..entry.value.bytes.end.max(start))
}

/// Returns the white space before a value that begins on the line of its key, or one space, and the value.
fn split_space(written: &str) -> (&str, &str) {
    let value = written.trim_start();
    let space = &written[..written.len() - value.len()];
    if space.is_empty() || space.contains(['\n', '\r']) { (" ", value) } else { (space, value) }
}

/// Returns the word of a plain switch as it is written, and whether it means on.
fn boolean(value: &OutlineNode) -> Option<(&str, bool)> {
    let OutlineContent::Scalar(text) = &value.content else { return None };
    match text.as_str() {
        "true" | "True" | "TRUE" => Some((text, true)),
        "false" | "False" | "FALSE" => Some((text, false)),
        _ => None,
    }
}

/// Returns how lines end in this text.
fn line_end(body: &str) -> &'static str {
    if body.contains("\r\n") { "\r\n" } else { "\n" }
}

/// Returns the white space that the key at `at` is indented by.
fn indent(body: &str, at: usize) -> String {
    let line = body[..at].rsplit(['\n', '\r']).next().unwrap_or_default();
    line.chars().map(|character| if character == '\t' { '\t' } else { ' ' }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(before: &str, is_on: bool, after: &str) {
        let switched = switch(before, "corp", is_on).unwrap();
        let Some(Switched { text, origin }) = switched else {
            assert_eq!(before, after, "nothing changes");
            return;
        };
        assert_eq!(text, after);
        if let Some(origin) = origin {
            assert_eq!(restore(&text, "corp", &origin).unwrap(), before, "back to the byte");
            let flipped = switch(&text, "corp", !is_on).unwrap().unwrap();
            assert_eq!(flipped.origin, None, "a switch of a switch has nothing to restore");
            assert_eq!(restore(&flipped.text, "corp", &origin).unwrap(), before);
        }
    }

    #[test]
    fn only_the_word_changes() {
        for (before, after) in [
            ("enabled: true", "enabled: false"),
            ("enabled:   True   # on for now", "enabled:   false   # on for now"),
            ("enabled: \"true\"", "enabled: \"false\""),
            ("'enabled': 'true'", "'enabled': 'false'"),
            ("enabled: !!bool true", "enabled: !!bool false"),
            ("enabled:\n        true", "enabled:\n        false"),
            ("enabled: false", "enabled: false"),
        ] {
            for (line, end) in [("\n", "\n"), ("\r\n", "\r\n"), ("\n", "")] {
                let file = |enabled: &str| {
                    let text = format!(
                        "# größe\nhops: # all\n  a: {{ kind: socks5 }}\n  corp:\n    kind: pool # ü\n    {enabled}\n    x: y{end}"
                    );
                    text.replace('\n', line)
                };
                check(&file(before), false, &file(after));
                check(
                    &format!("\u{feff}{}", file(before)),
                    false,
                    &format!("\u{feff}{}", file(after)),
                );
            }
        }
    }

    #[test]
    fn flow_mappings_are_edited_in_place() {
        check(
            "hops: { corp: { kind: x, enabled: true } }",
            false,
            "hops: { corp: { kind: x, enabled: false } }",
        );
        check(
            "{\"hops\":{\"corp\":{\"enabled\":true}}}",
            false,
            "{\"hops\":{\"corp\":{\"enabled\":false}}}",
        );
        check(
            "hops: {corp: {enabled: false,kind: x}}",
            true,
            "hops: {corp: {enabled: true,kind: x}}",
        );
    }

    #[test]
    fn a_condition_or_a_variable_is_kept_to_be_restored() {
        check(
            "hops: { corp: { enabled: \"${ON:-true}\" } }",
            true,
            "hops: { corp: { enabled: true } }",
        );
        check(
            "hops: { corp: { enabled: { when: { interface: \"tun*\" } }, kind: x } }\n",
            false,
            "hops: { corp: { enabled: false, kind: x } }\n",
        );
        // Behind the last value of a mapping in braces stand brackets of others.
        for (end, behind) in [("}", "}"), (" }", " }"), ("  }", "\t}"), ("\n}", "\n }")] {
            check(
                &format!(
                    "hops: {{ corp: {{ kind: x, enabled: {{ when: {{ any: [ {{ interface: tun0 }} ] {end} }}{behind} }}\n"
                ),
                false,
                &format!("hops: {{ corp: {{ kind: x, enabled: false{behind} }}\n"),
            );
        }
        check(
            "hops:\n  corp:\n    enabled: # at work\n      when:\n        # the VPN\n        interface: tun*  # any\n    # next\n    kind: x\n",
            false,
            "hops:\n  corp:\n    enabled: false  # any\n    # next\n    kind: x\n",
        );
        check(
            "hops:\n  corp:\n    enabled:\n      when: { any: [ { interface: tun0 } ] }\n",
            true,
            "hops:\n  corp:\n    enabled: true\n",
        );
        check(
            "hops:\n  corp:\n    enabled: \"${ON:-\\\"#\\\"}\"   # why\n    kind: x\n",
            false,
            "hops:\n  corp:\n    enabled: false   # why\n    kind: x\n",
        );
        check(
            "hops: { corp: { enabled: '${IT''S}' } } # x",
            true,
            "hops: { corp: { enabled: true } } # x",
        );
        check(
            "x-on: &on true\nhops: { corp: { enabled: *on } }",
            false,
            "x-on: &on true\nhops: { corp: { enabled: false } }",
        );
        check(
            "hops:\n  corp:\n    enabled:\n    kind: x\n",
            false,
            "hops:\n  corp:\n    enabled: false\n    kind: x\n",
        );
    }

    #[test]
    fn a_missing_key_is_added_behind_the_kind() {
        check(
            "hops:\n  corp:\n    kind: x # the\n    # of the address\n    address: a:1\n",
            false,
            "hops:\n  corp:\n    kind: x # the\n    enabled: false\n    # of the address\n    address: a:1\n",
        );
        check(
            "hops:\r\n  corp:\r\n    kind: x",
            false,
            "hops:\r\n  corp:\r\n    kind: x\r\n    enabled: false",
        );
        check(
            "hops:\n  corp:\n    address: a:1\n",
            false,
            "hops:\n  corp:\n    enabled: false\n    address: a:1\n",
        );
        check(
            "hops: { corp: { kind: x, address: \"a:1\" } }",
            false,
            "hops: { corp: { kind: x, enabled: false, address: \"a:1\" } }",
        );
        check("hops: { corp: {address: x} }", true, "hops: { corp: {enabled: true, address: x} }");
        check(
            "x-base: &base { enabled: true }\nhops:\n  corp:\n    <<: *base\n    kind: x\n",
            false,
            "x-base: &base { enabled: true }\nhops:\n  corp:\n    <<: *base\n    kind: x\n    enabled: false\n",
        );
    }

    #[test]
    fn what_is_written_elsewhere_is_not_edited() {
        let alias = "x-corp: &corp { kind: x }\nhops: { corp: *corp }\n";
        assert_eq!(switch(alias, "corp", false), Err(Uneditable::NoMapping));
        assert_eq!(switch("hops: { corp: {} }", "corp", false), Err(Uneditable::Unusual));
        assert_eq!(switch_part(alias, "other"), SwitchPart::Nothing);
        assert_eq!(switch_part("hops: { a: { x: 1 }, b: { kind: x } }", "a"), SwitchPart::Settings);
        assert_eq!(switch_part("hops: { a: { x: 1 }, b: { kind: x } }", "b"), SwitchPart::Kind);
        assert_eq!(switch_part("hops: { a: { enabled: 1 } }", "a"), SwitchPart::Switch);
    }

    proptest! {
        #[test]
        fn any_text_is_edited_without_a_panic(text in "[ \\na-z:{}\\[\\]\"'#&*!|>,\\r\\tü-]{0,80}") {
            let text = format!("hops:\n  corp: {text}");
            if let Ok(Some(Switched { text: switched, origin: Some(origin) })) = switch(&text, "corp", false) {
                // Whatever was switched can be put back, unless the text reads differently by now.
                if let Ok(restored) = restore(&switched, "corp", &origin) {
                    prop_assert_eq!(restored, text);
                }
            }
        }
    }
}
