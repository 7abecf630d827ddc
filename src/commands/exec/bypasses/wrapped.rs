//! Commands that another program runs, such as those of `bash -c` and of scripts.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::Read as _,
    path::Path,
};

/// A command inside of the arguments of another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WrappedCommand {
    pub(super) program: OsString,
    pub(super) arguments: Vec<OsString>,
}

/// Returns the commands that `program` is known to run: those in the text of a shell or of its script, or the one behind `env`
/// and the like.
///
/// This is no parser of shells. It finds the first words of commands that are written out, and nothing that the shell works
/// out, such as variables or the scripts that a script runs. So a note may be missing, but is about a program that the user
/// has named.
pub(super) fn commands(program: &OsStr, arguments: &[OsString]) -> Vec<WrappedCommand> {
    let Some(name) = Path::new(program).file_stem().and_then(OsStr::to_str) else {
        return Vec::new();
    };
    let name = name.to_ascii_lowercase();
    let words: Vec<_> = arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    if SHELLS.contains(&&*name) {
        let is_text = |word: &String| is_command_flag(word);
        if let Some(flag) = words.iter().position(is_text) {
            return words.get(flag + 1).map_or_else(Vec::new, |text| of_text(text));
        }
        let file = arguments.iter().find(|word| !word.to_string_lossy().starts_with(['-', '+']));
        return file
            .and_then(|file| text_of(Path::new(file)))
            .map_or_else(Vec::new, |text| of_text(&text));
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
    // A script that is run by its path. One on the search path belongs to a program that was installed, and may have set a
    // proxy of its own.
    let is_path = Path::new(program).components().count() > 1;
    let script = is_path.then(|| text_of(Path::new(program))).flatten();
    script.filter(|text| is_for_shell(text)).map_or_else(Vec::new, |text| of_text(&text))
}

/// Returns the text of a script, or `None` if it is too long, no text, or can't be read.
fn text_of(path: &Path) -> Option<String> {
    // Opening a named pipe would wait for its writer.
    if !path.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = String::new();
    File::open(path).ok()?.take(SCRIPT_BYTES_MAX + 1).read_to_string(&mut text).ok()?;
    (text.len() as u64 <= SCRIPT_BYTES_MAX).then_some(text)
}

/// Returns whether the first line of a script names a shell, as in `#!/bin/sh -e` and `#!/usr/bin/env bash`.
fn is_for_shell(text: &str) -> bool {
    let Some(line) = text.lines().next().and_then(|line| line.strip_prefix("#!")) else {
        return false;
    };
    let names = line.split_whitespace().filter_map(|word| Path::new(word).file_name()?.to_str());
    names.take(2).any(|name| SHELLS.contains(&name))
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
            (_, Some(open)) if character == open => {
                quote = None;
                if character == '\n' {
                    commands.extend(of_words(std::mem::take(&mut words)));
                }
            }
            (_, Some('\n')) => {}
            (_, Some(_)) => word.push(character),
            // A comment reaches to the end of its line, and may have apostrophes.
            ('#', None) if word.is_empty() => quote = Some('\n'),
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

/// Scripts that people write are shorter.
const SCRIPT_BYTES_MAX: u64 = 64 * 1024;

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
            (&["bash", "no-such-script.sh"], &[]),
            (&["sh", "-c", "ls # it's no\nnode x.js # more"], &["ls", "node"]),
            (&["bash", "-c"], &[]),
            (&["curl", "-c", "node"], &[]),
            (&["bash", "-c", "echo 'node script.js'"], &["echo"]),
            (&["bash", "-c", "'"], &[]),
        ] {
            assert_eq!(programs(line), expected, "{line:?}");
        }
    }

    #[test]
    fn the_commands_of_a_script_are_found() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &[u8]| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let script =
            write("sync.sh", b"#!/usr/bin/env bash\n# It's daily\nset -eu\nexec node sync.js\n");
        assert_eq!(programs(&["bash", "-x", &script]), ["set", "node"]);
        assert_eq!(programs(&[&script]), ["set", "node"]);
        let other = write("sync.py", b"#!/usr/bin/env python3\nnode = 1\n");
        assert_eq!(programs(&[&other]), [""; 0]);
        let binary = write("tool", b"\x7fELF\xff\nnode x");
        assert_eq!(programs(&["sh", &binary]), [""; 0]);
        assert_eq!(programs(&["sh", directory.path().to_str().unwrap()]), [""; 0]);
        let long = write("long.sh", "#!/bin/sh\nnode\n".repeat(6000).as_bytes());
        assert_eq!(programs(&[&long]), [""; 0]);
    }

    #[test]
    fn a_command_keeps_its_arguments() {
        let text = [OsString::from("-c"), OsString::from("git clone 'ssh://a.test/b c'")];
        let found = commands(OsStr::new("sh"), &text);
        assert_eq!(found[0].arguments, ["clone", "ssh://a.test/b c"]);
    }
}
