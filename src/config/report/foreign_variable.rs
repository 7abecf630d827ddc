//! Variables and commands in the notation of shells and other programs.

/// Returns what to write instead of `text`, the value of `key`, if another program would put a variable or the output of
/// a command in its place.
pub(crate) fn instead(key: &str, text: &str) -> Option<String> {
    let text = text.trim();
    if is_command(text) {
        return Some(match key {
            "password" => "no command is run; write `password_file: FILE`, or put its output into a variable and write \
                           `\"${NAME}\"`"
                .to_owned(),
            "pass" => "no command is run; write `pass_file: FILE`, or put its output into a variable and write \
                       `\"${NAME}\"`"
                .to_owned(),
            _ => "no command is run; put its output into a variable and write `\"${NAME}\"`".to_owned(),
        });
    }
    if let Some(inner) = text.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"))
        && !inner.contains(['{', '}'])
    {
        return Some(in_double_braces(inner));
    }
    named_by(text).map(written)
}

/// Returns what to write instead of `{{inner}}`, the variable of a template language.
pub(crate) fn in_double_braces(inner: &str) -> String {
    let mut words = inner.split(|one: char| !is_of_name(one));
    written(words.rfind(|word| !word.is_empty()).unwrap_or("NAME"))
}

/// Returns what to write instead of a `${…}` in `text` that is not a variable.
pub(crate) fn in_dollar_braces(text: &str) -> String {
    let inner = text.match_indices("${").map(|(start, _)| {
        let rest = &text[start + 2..];
        rest.split('}').next().unwrap_or_default()
    });
    // The name is often behind the name of a source, as in `${env:NAME}` and `${{ secrets.NAME }}`.
    let words = inner.flat_map(|inner| inner.split(|one: char| !is_of_name(one)));
    let name = words.filter(|word| may_be_shown(word)).last().unwrap_or("NAME");
    written(name)
}

fn written(name: &str) -> String {
    let name = if may_be_shown(name) { name } else { "NAME" };
    format!("write `\"${{{name}}}\"`")
}

/// Returns whether `text` is `$(COMMAND)`, or a command between backquotes.
pub(crate) fn is_command(text: &str) -> bool {
    let is_between = |open: &str, close: &str| {
        text.len() > open.len() + close.len() && text.starts_with(open) && text.ends_with(close)
    };
    is_between("$(", ")") || is_between("`", "`")
}

/// Returns the name of the variable that `text` is in another notation: `$NAME`, `%NAME%`, `$env:NAME`, `%(NAME)s`.
fn named_by(text: &str) -> Option<&str> {
    let between = |open: &str, close: &str| text.strip_prefix(open)?.strip_suffix(close);
    let name = between("%(", ")s")
        .or_else(|| between("%", "%"))
        .or_else(|| text.strip_prefix("$env:"))
        .or_else(|| text.strip_prefix("env:"))
        .or_else(|| text.strip_prefix("env."))
        .or_else(|| text.strip_prefix("ENV:"))
        .or_else(|| text.strip_prefix("os.environ/"))
        .or_else(|| text.strip_prefix('$'))?;
    // A password may begin with `$` too, and rarely has only capital letters.
    (!name.is_empty() && is_upper(name)).then_some(name)
}

/// Returns whether `text` has a variable of a shell in it, such as `$USER` or `%USERNAME%`, beside other characters.
pub(crate) fn is_inside(text: &str) -> bool {
    let is_long = |name: &str| name.len() > 1 && is_upper(name) && name.contains(|one| one != '_');
    let parts: Vec<&str> = text.split('%').collect();
    // Between two `%` is every second part, and the last part has no `%` after it.
    let is_percent = (1..parts.len().saturating_sub(1)).any(|index| is_long(parts[index]));
    let is_dollar = text.match_indices('$').any(|(start, _)| {
        let rest = &text[start + 1..];
        let name = rest.strip_prefix("env:").unwrap_or(rest);
        is_long(&name[..name.find(|one| !is_of_name(one)).unwrap_or(name.len())])
    });
    is_percent || is_dollar
}

fn is_of_name(one: char) -> bool {
    one.is_ascii_alphanumeric() || one == '_'
}

fn is_upper(name: &str) -> bool {
    name.bytes().all(|one| one.is_ascii_uppercase() || one == b'_')
}

/// Returns whether `name` is certainly the name of a variable and not a password in capital letters.
fn may_be_shown(name: &str) -> bool {
    let is_compound = name.trim_matches('_').contains('_');
    is_upper(name)
        && (is_compound || ["PASSWORD", "USERNAME", "USER", "PASS", "TOKEN"].contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_of_another_program_is_written_in_ours() {
        for text in [
            "$CORP_PW",
            "%CORP_PW%",
            "{{ CORP_PW }}",
            "{{env.CORP_PW}}",
            "$env:CORP_PW",
            "%(CORP_PW)s",
            "env:CORP_PW",
        ] {
            assert_eq!(
                instead("password", text).as_deref(),
                Some("write `\"${CORP_PW}\"`"),
                "{text}"
            );
        }
        for text in
            ["${env:CORP_PW}", "x${env.CORP_PW}", "${{ secrets.CORP_PW }}", "${CORP_PW}${CORP_PW?}"]
        {
            assert_eq!(in_dollar_braces(text), "write `\"${CORP_PW}\"`", "{text}");
        }
        let command = instead("password", "$(cat pw.txt)").unwrap();
        assert!(command.contains("`password_file: FILE`"), "{command}");
        assert!(is_command("`cat pw`"));
    }

    #[test]
    fn a_variable_within_a_text_is_found() {
        for text in ["%USERDOMAIN%\\%USERNAME%", "CORP\\$USER", "$USER-session-%s", "x-$env:USER"] {
            assert!(is_inside(text), "{text}");
        }
        for text in ["a$b", "100%", "a%b%", "$1", "%", "$", "a$B", "%%", "x$$", "%é%"] {
            assert!(!is_inside(text), "{text}");
        }
    }

    #[test]
    fn what_may_be_a_password_is_not_repeated() {
        for text in ["$HUNTER", "%HUNTER%", "{{ hunter2 }}"] {
            assert_eq!(instead("password", text).as_deref(), Some("write `\"${NAME}\"`"), "{text}");
        }
        assert_eq!(in_dollar_braces("p${hunter2!}"), "write `\"${NAME}\"`");
        for text in ["$hunter2", "$", "%", "%%", "$(", "`", "100%", "{{", "a$CORP_PW", ""] {
            assert_eq!(instead("password", text), None, "{text}");
        }
    }
}
