//! Commands that another program runs, such as those of `bash -c`.

use std::{
    ffi::{OsStr, OsString},
    path::Path,
};

/// A command inside of the arguments of another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WrappedCommand {
    pub(super) program: OsString,
    pub(super) arguments: Vec<OsString>,
}

/// Returns the commands that `program` is known to run: those in the text of a shell, or the one behind `env` and the like.
///
/// This is no parser of shells. It finds the first words of commands that are written out, and nothing that the shell works
/// out, such as variables or files of commands. So a note may be missing, but is about a program that the user has named.
pub(super) fn commands(program: &OsStr, arguments: &[OsString]) -> Vec<WrappedCommand> {
    let Some(name) = Path::new(program).file_stem().and_then(OsStr::to_str) else {
        return Vec::new();
    };
    let name = name.to_ascii_lowercase();
    let words: Vec<_> = arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    if SHELLS.contains(&&*name) {
        let is_text = |word: &String| is_command_flag(word);
        let text = words.iter().position(is_text).and_then(|flag| words.get(flag + 1));
        return text.map_or_else(Vec::new, |text| of_text(text));
    }
    if ["cmd", "powershell", "pwsh"].contains(&&*name) {
        let is_text =
            |word: &String| ["/c", "/k", "-c", "-command"].contains(&&*word.to_ascii_lowercase());
        let text = words.iter().position(is_text).and_then(|flag| words.get(flag + 1..));
        return text.map_or_else(Vec::new, |text| of_text(&text.join(" ")));
    }
    if WRAPPERS.contains(&&*name) {
        return of_words(words).into_iter().collect();
    }
    Vec::new()
}

/// Returns whether a shell takes the next word as commands, as after `-c` and `-lc`.
fn is_command_flag(word: &str) -> bool {
    word.strip_prefix('-').is_some_and(|letters| {
        letters.ends_with('c') && letters.bytes().all(|letter| letter.is_ascii_lowercase())
    })
}

/// Returns the commands in the text of a shell.
fn of_text(text: &str) -> Vec<WrappedCommand> {
    let mut commands = Vec::new();
    let mut words: Vec<String> = Vec::new();
    let (mut word, mut quote) = (String::new(), None);
    for character in text.chars() {
        match (character, quote) {
            (_, Some(open)) if character == open => quote = None,
            (_, Some(_)) => word.push(character),
            ('\'' | '"', None) => quote = Some(character),
            _ if character.is_whitespace() || ENDS.contains(character) => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                if character == '\n' || ENDS.contains(character) {
                    commands.extend(of_words(std::mem::take(&mut words)));
                }
            }
            _ => word.push(character),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    commands.extend(of_words(words));
    commands
}

/// Returns the command that `words` run, without the assignments and the wrappers before it.
fn of_words(words: Vec<String>) -> Option<WrappedCommand> {
    let is_before = |word: &String| {
        let is_assignment = word.contains('=');
        let is_option = word.starts_with('-');
        // `timeout 10s` and `nice -n 5`.
        let is_number = word.starts_with(|first: char| first.is_ascii_digit());
        is_assignment || is_option || is_number || WRAPPERS.contains(&&**word)
    };
    let mut words = words.into_iter().skip_while(is_before).map(OsString::from);
    Some(WrappedCommand { program: words.next()?, arguments: words.collect() })
}

const SHELLS: [&str; 7] = ["sh", "bash", "dash", "ash", "zsh", "ksh", "fish"];

/// Programs and words of shells that run the command behind them.
const WRAPPERS: [&str; 18] = [
    "env", "exec", "command", "time", "nice", "nohup", "timeout", "stdbuf", "setsid", "xvfb-run",
    "if", "then", "else", "do", "while", "until", "!", "{",
];

/// The characters that end a command.
const ENDS: &str = ";&|()`";

#[cfg(test)]
mod tests {
    use super::*;

    fn programs(line: &[&str]) -> Vec<String> {
        let arguments: Vec<_> = line[1..].iter().map(OsString::from).collect();
        let commands = commands(OsStr::new(line[0]), &arguments);
        commands.iter().map(|one| one.program.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn the_commands_of_a_shell_are_found() {
        for (line, expected) in [
            (&["bash", "-c", "node script.js"][..], &["node"][..]),
            (&["/bin/sh", "-ec", "cd x && A=1 node 'a; ssh b' | tee log"], &["cd", "node", "tee"]),
            (&["bash", "-lc", "if true; then npx tool; fi"], &["true", "npx", "fi"]),
            (&["sh", "-c", "x=$(node -v)\njava Main"], &["node", "java"]),
            (&["env", "-u", "A=1", "node", "x.js"], &["node"]),
            (&["timeout", "10s", "nice", "-n", "5", "node", "x.js"], &["node"]),
            (&["cmd.exe", "/C", "node", "x.js"], &["node"]),
            (&["bash", "script.sh"], &[]),
            (&["bash", "-c"], &[]),
            (&["curl", "-c", "node"], &[]),
            (&["bash", "-c", "echo 'node script.js'"], &["echo"]),
            (&["bash", "-c", "'"], &[]),
        ] {
            assert_eq!(programs(line), expected, "{line:?}");
        }
    }

    #[test]
    fn a_command_keeps_its_arguments() {
        let text = [OsString::from("-c"), OsString::from("git clone 'ssh://a.test/b c'")];
        let found = commands(OsStr::new("sh"), &text);
        assert_eq!(found[0].arguments, ["clone", "ssh://a.test/b c"]);
    }
}
