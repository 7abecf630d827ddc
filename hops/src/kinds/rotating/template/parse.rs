//! Reads a template.

use std::str::FromStr;

use thiserror::Error;
use zeroize::Zeroizing;

use super::{Group, Part, Placeholder, Template, placeholder::NAMES};
use crate::Secret;

/// The reason why a text is not a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(in crate::kinds::rotating) enum InvalidTemplate {
    /// The number of the braces, counted from one, and what their name probably means.
    #[error("has an unknown name in {}; the names are {NAMES}{}", braces(*.0), did_you_mean(.1))]
    Unknown(usize, Option<Placeholder>),
    #[error("has `{{{{`; write a name between single braces, as in `{{user}}`")]
    Doubled,
    #[error("has a `{{` or `[` without its end; to send one as it is, write `\\` before it")]
    Open,
    #[error("has a `}}` or `]` without its beginning; to send one as it is, write `\\` before it")]
    Closed,
    #[error("has brackets within brackets")]
    Nested,
    /// Has the value that the word between the brackets probably means.
    #[error(
        "has brackets without a value in braces; write one into them, or `\\` before each bracket to send it{}",
        did_you_mean(.0)
    )]
    Constant(Option<Placeholder>),
    #[error("ends in a `\\`")]
    Escape,
    #[error("has a control character")]
    Control,
}

/// Says which braces of a template are meant. Their content may be a secret.
fn braces(number: usize) -> String {
    match number {
        1 => "its first braces".to_owned(),
        2 => "its second braces".to_owned(),
        3 => "its third braces".to_owned(),
        number => format!("its braces number {number}"),
    }
}

fn did_you_mean(near: &Option<Placeholder>) -> String {
    near.map_or_else(String::new, |near| format!("; did you mean `{{{}}}`?", near.name()))
}

impl FromStr for Template {
    type Err = InvalidTemplate;

    fn from_str(text: &str) -> Result<Self, InvalidTemplate> {
        // The text alternates between plain groups and bracketed ones, and the last group is the one that is being
        // read. Text is collected until something else begins, because a part of it can be a credential: it is kept
        // in memory that is wiped.
        let mut groups = vec![Group { is_optional: false, parts: vec![] }];
        let mut plain = Zeroizing::new(String::with_capacity(text.len()));
        let mut rest = text.chars();
        let mut braces = 0;
        while let Some(character) = rest.next() {
            if !matches!(character, '{' | '}' | '[' | ']') {
                // A backslash takes the next character as it is.
                let character = match character {
                    '\\' => rest.next().ok_or(InvalidTemplate::Escape)?,
                    character => character,
                };
                // Refused here, since a part that only some clients get is never filled before their requests.
                if character.is_control() {
                    return Err(InvalidTemplate::Control);
                }
                plain.push(character);
                continue;
            }
            let is_inside = groups.last().is_some_and(|group| group.is_optional);
            end_text(&mut groups, &mut plain);
            match character {
                '{' if rest.as_str().starts_with('{') => return Err(InvalidTemplate::Doubled),
                '{' => {
                    braces += 1;
                    // A name in braces has no escapes, so it ends at the next brace.
                    let (name, after) =
                        rest.as_str().split_once('}').ok_or(InvalidTemplate::Open)?;
                    let is_it = |placeholder: &Placeholder| placeholder.name() == name;
                    let placeholder = Placeholder::ALL.into_iter().find(is_it);
                    let unknown = || InvalidTemplate::Unknown(braces, Placeholder::meant_by(name));
                    let value = Part::Value(placeholder.ok_or_else(unknown)?);
                    push(&mut groups, value);
                    rest = after.chars();
                }
                // Nested groups would need a rule for which values decide about which text.
                '[' if is_inside => return Err(InvalidTemplate::Nested),
                '[' => groups.push(Group { is_optional: true, parts: vec![] }),
                ']' if is_inside => {
                    // Brackets around plain text could never vanish, so the operator meant plain brackets and has to
                    // escape them.
                    if let Some(group) = groups.last().filter(|group| group.is_constant()) {
                        return Err(InvalidTemplate::Constant(group.meant()));
                    }
                    groups.push(Group { is_optional: false, parts: vec![] });
                }
                _ => return Err(InvalidTemplate::Closed),
            }
        }
        if groups.last().is_some_and(|group| group.is_optional) {
            return Err(InvalidTemplate::Open);
        }
        end_text(&mut groups, &mut plain);
        Ok(Self(groups))
    }
}

impl Group {
    fn is_constant(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Text(_)))
    }

    /// Returns the value whose name is the only text of the group, as in `[user]`.
    fn meant(&self) -> Option<Placeholder> {
        match &self.parts[..] {
            [Part::Text(text)] => Placeholder::meant_by(text.expose()),
            _ => None,
        }
    }
}

fn end_text(groups: &mut [Group], plain: &mut Zeroizing<String>) {
    if !plain.is_empty() {
        push(groups, Part::Text(Secret::new(plain.as_str())));
        plain.clear();
    }
}

fn push(groups: &mut [Group], part: Part) {
    if let Some(group) = groups.last_mut() {
        group.parts.push(part);
    }
}
