//! Assignments of environment variables in the syntax of each shell.

use crate::cli::Shell;

/// Returns the line that sets `name` to `value`, for this shell and the programs that it starts.
pub(super) fn quoted_assignment(shell: Shell, name: &str, value: &str) -> String {
    match shell {
        // Nothing is special between single quotes but the quote itself.
        Shell::Sh => format!("export {name}='{}'", value.replace('\'', r"'\''")),
        // In fish a backslash can escape a quote and itself there.
        Shell::Fish => {
            format!("set -gx {name} '{}'", value.replace('\\', r"\\").replace('\'', r"\'"))
        }
        Shell::Powershell => format!("$Env:{name} = '{}'", doubled(value, is_powershell_quote)),
        // A per cent sign begins a variable or an argument in a batch file, also between quotes.
        Shell::Cmd => format!("set \"{name}={}\"", doubled(value, |letter| letter == '%')),
    }
}

impl Shell {
    /// Returns the line that removes the variable `name`.
    pub(super) fn unset(self, name: &str) -> String {
        match self {
            Self::Sh => format!("unset {name}"),
            Self::Fish => format!("set -e {name}"),
            Self::Powershell => format!("Remove-Item Env:{name} -ErrorAction SilentlyContinue"),
            Self::Cmd => format!("set \"{name}=\""),
        }
    }
}

/// Returns whether PowerShell ends a single-quoted string at this letter: it accepts typographic quotes too.
fn is_powershell_quote(letter: char) -> bool {
    matches!(letter, '\'' | '\u{2018}'..='\u{201b}')
}

fn doubled(text: &str, is_special: impl Fn(char) -> bool) -> String {
    let mut doubled = String::with_capacity(text.len());
    for letter in text.chars() {
        doubled.push(letter);
        if is_special(letter) {
            doubled.push(letter);
        }
    }
    doubled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_quoted_for_its_shell() {
        let value = "a'b\\c%d\u{2019} $e";
        for (shell, expected) in [
            (Shell::Sh, "export N='a'\\''b\\c%d\u{2019} $e'"),
            (Shell::Fish, "set -gx N 'a\\'b\\\\c%d\u{2019} $e'"),
            (Shell::Powershell, "$Env:N = 'a''b\\c%d\u{2019}\u{2019} $e'"),
            (Shell::Cmd, "set \"N=a'b\\c%%d\u{2019} $e\""),
        ] {
            assert_eq!(quoted_assignment(shell, "N", value), expected);
        }
    }
}
