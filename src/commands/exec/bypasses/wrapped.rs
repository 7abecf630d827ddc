//! Commands that another program runs, such as those of `bash -c` and of scripts.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use super::KNOWN;

/// A command inside of the arguments of another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WrappedCommand {
    pub(super) program: OsString,
    pub(super) arguments: Vec<OsString>,
}

/// Returns the commands that `program` is known to run: those in the text of a shell or of its script, the interpreter of a
/// script, or the command behind `env` and the like. Scripts are looked for in the directories of `search_path` as the system
/// does: the agents that npm installs are such scripts.
///
/// This is not a parser of shells. It finds the first words of commands that are written out, and nothing that the
/// shell works out, such as variables or another working directory. So a note may be missing, but is about a program
/// that the user has named.
pub(super) fn commands(
    program: &OsStr,
    arguments: &[OsString],
    search_path: Option<&OsStr>,
) -> Vec<WrappedCommand> {
    let mut found = WrappedCommands {
        commands: Vec::new(),
        search_path,
        scripts_left: SCRIPTS_MAX,
        searches_left: SEARCHES_MAX,
    };
    found.add(program, arguments, DEPTH_MAX);
    found.commands
}

/// The commands that were found so far.
#[derive(Debug)]
struct WrappedCommands<'a> {
    commands: Vec<WrappedCommand>,
    search_path: Option<&'a OsStr>,
    /// How many more scripts may be read, since a script may name many.
    scripts_left: usize,
    /// How many more programs may be looked for.
    searches_left: usize,
}

impl WrappedCommands<'_> {
    /// Adds the commands that `program` runs, and those that these run, `depth` times.
    fn add(&mut self, program: &OsStr, arguments: &[OsString], depth: usize) {
        for command in self.run_by(program, arguments) {
            let WrappedCommand { program, arguments } = command.clone();
            self.commands.push(command);
            if depth > 0 {
                self.add(&program, &arguments, depth - 1);
            }
        }
    }

    /// Returns the commands that `program` itself runs.
    fn run_by(&mut self, program: &OsStr, arguments: &[OsString]) -> Vec<WrappedCommand> {
        let Some(name) = Path::new(program).file_stem().and_then(OsStr::to_str) else {
            return Vec::new();
        };
        let name = name.to_ascii_lowercase();
        let words = || -> Vec<_> {
            arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect()
        };
        if SHELLS.contains(&&*name) {
            let words = words();
            if let Some(flag) = words.iter().position(|word| is_command_flag(word)) {
                return words.get(flag + 1).map_or_else(Vec::new, |text| of_text(text));
            }
            let is_file = |word: &&OsString| !word.to_string_lossy().starts_with(['-', '+']);
            let script = arguments.iter().find(is_file).and_then(|file| self.read(file));
            return script
                .and_then(|script| script.text)
                .map_or_else(Vec::new, |text| of_text(&text));
        }
        if ["cmd", "powershell", "pwsh"].contains(&&*name) {
            let words = words();
            let is_text = |word: &String| {
                ["/c", "/k", "-c", "-command"].contains(&&*word.to_ascii_lowercase())
            };
            let text = words.iter().position(is_text).and_then(|flag| words.get(flag + 1..));
            return text.map_or_else(Vec::new, |text| of_text(&text.join(" ")));
        }
        if WRAPPERS.contains(&&*name) {
            return of_words(words()).into_iter().collect();
        }
        if KNOWN.contains(&&*name) {
            return Vec::new();
        }
        let script = self.find(program).and_then(|path| self.read(path.as_os_str()));
        let Some((mut by, script)) =
            script.and_then(|script| Some((interpreter(&script)?, script)))
        else {
            return Vec::new();
        };
        let name = Path::new(&by.program).file_name().and_then(OsStr::to_str).unwrap_or_default();
        if SHELLS.contains(&name) {
            return script.text.map_or_else(Vec::new, |text| of_text(&text));
        }
        by.arguments.push(program.to_owned());
        by.arguments.extend_from_slice(arguments);
        vec![by]
    }

    /// Returns the path of `program`, which is one itself or the name of a file on the search path.
    fn find(&mut self, program: &OsStr) -> Option<PathBuf> {
        if Path::new(program).components().count() > 1 {
            return Some(program.into());
        }
        // Windows finds only programs there, and they are no scripts.
        let search_path = self.search_path.filter(|_| cfg!(unix))?;
        self.searches_left = self.searches_left.checked_sub(1)?;
        let mut found = std::env::split_paths(search_path).map(|directory| directory.join(program));
        found.find(|path| is_executable(path))
    }

    /// Reads a script. Returns `None` if it can't be read.
    fn read(&mut self, path: &OsStr) -> Option<ScriptFile> {
        self.scripts_left = self.scripts_left.checked_sub(1)?;
        let path = Path::new(path);
        // Opening a named pipe would wait for its writer.
        if !path.metadata().ok()?.is_file() {
            return None;
        }
        let mut bytes = Vec::new();
        File::open(path).ok()?.take(SCRIPT_BYTES_MAX + 1).read_to_end(&mut bytes).ok()?;
        // A bundle of JavaScript may be long, and still have an interpreter.
        let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let first_line = String::from_utf8_lossy(first).into_owned();
        let is_whole = bytes.len() as u64 <= SCRIPT_BYTES_MAX;
        let text = is_whole.then(|| String::from_utf8(bytes).ok()).flatten();
        Some(ScriptFile { first_line, text })
    }
}

/// The content of a file that may be a script.
#[derive(Debug)]
struct ScriptFile {
    first_line: String,
    /// `None` if the file is too long to be looked through, or no text.
    text: Option<String>,
}

/// Returns whether the system would run the file at `path`.
#[cfg(unix)]
fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;

    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// Returns whether there is a file at `path`.
#[cfg(not(unix))]
fn is_executable(path: &Path) -> bool {
    path.is_file()
}

/// Returns the program that the first line of a script names, as in `#!/bin/sh -e` and `#!/usr/bin/env -S node --trace`.
fn interpreter(script: &ScriptFile) -> Option<WrappedCommand> {
    let line = script.first_line.strip_prefix("#!")?;
    of_words(line.split_whitespace().map(str::to_owned).collect())
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

/// Returns the command that `words` run, without the assignments and the wrappers before it. `command -v` runs nothing.
fn of_words(words: Vec<String>) -> Option<WrappedCommand> {
    if words.windows(2).any(|pair| pair[0] == "command" && ["-v", "-V"].contains(&&*pair[1])) {
        return None;
    }
    let is_before = |word: &String| {
        let is_assignment = word.contains('=');
        let is_option = word.starts_with('-');
        // `timeout 10s` and `nice -n 5`.
        let is_number = word.starts_with(|first: char| first.is_ascii_digit());
        let name = Path::new(word).file_name().and_then(OsStr::to_str);
        let is_wrapper = name.is_some_and(|name| WRAPPERS.contains(&name));
        is_assignment || is_option || is_number || is_wrapper
    };
    let mut words = words.into_iter().skip_while(is_before).map(OsString::from);
    Some(WrappedCommand { program: words.next()?, arguments: words.collect() })
}

const SHELLS: [&str; 7] = ["sh", "bash", "dash", "ash", "zsh", "ksh", "fish"];

/// Programs and words of shells that run the command behind them.
const WRAPPERS: [&str; 20] = [
    "env",
    "exec",
    "command",
    "time",
    "nice",
    "nohup",
    "timeout",
    "stdbuf",
    "setsid",
    "xvfb-run",
    "corepack",
    "cross-env",
    "if",
    "then",
    "else",
    "do",
    "while",
    "until",
    "!",
    "{",
];

/// How often a command that was found is looked into for others.
const DEPTH_MAX: usize = 3;

/// How many files are read.
const SCRIPTS_MAX: usize = 64;

/// How many programs are looked for on the search path.
const SEARCHES_MAX: usize = 256;

/// Scripts that people write are shorter.
const SCRIPT_BYTES_MAX: u64 = 64 * 1024;

/// The characters that end a command.
const ENDS: &str = ";&|()`";

#[cfg(test)]
mod tests {
    use super::*;

    fn programs(line: &[&str]) -> Vec<String> {
        let arguments: Vec<_> = line[1..].iter().map(OsString::from).collect();
        names(&commands(OsStr::new(line[0]), &arguments, None))
    }

    fn names(commands: &[WrappedCommand]) -> Vec<String> {
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
            (&["sh", "-c", "command -v node >/dev/null && command ls"], &["ls"]),
            (&["npm", "install"], &[]),
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
        assert_eq!(programs(&[&other]), ["python3"]);
        let binary = write("tool", b"\x7fELF\xff\nnode x");
        assert_eq!(programs(&["sh", &binary]), [""; 0]);
        assert_eq!(programs(&["sh", directory.path().to_str().unwrap()]), [""; 0]);
        let long = write("long.sh", "#!/bin/sh\nnode\n".repeat(6000).as_bytes());
        assert_eq!(programs(&[&long]), [""; 0]);
    }

    #[test]
    fn the_interpreter_of_a_script_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &[u8]| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let app = write("app", b"#!/usr/bin/env node\nfetch(process.argv[2])\n");
        assert_eq!(programs(&[&app, "http://a.test"]), ["node"]);
        assert_eq!(programs(&["sh", "-c", &format!("cd x; '{app}' y")]), ["cd", &app, "node"]);
        assert_eq!(programs(&["env", "A=1", &app]), [&app, "node"]);
        let by_path = write("by-path", b"#!/opt/node/bin/node\n");
        assert_eq!(programs(&[&by_path]), ["/opt/node/bin/node"]);
        let split = write("split", b"#!/usr/bin/env -S node --no-warnings\n");
        assert_eq!(programs(&[&split]), ["node"]);
        // A bundle is longer than any script, and may have bytes of every kind.
        let bundle = [&b"#!/usr/bin/env node\n"[..], &[b'\xff'; 100_000]].concat();
        let bundle = write("bundle", &bundle);
        assert_eq!(programs(&[&bundle]), ["node"]);
        let outer = write("outer.sh", format!("#!/bin/sh\nexec {app} \"$@\"\n").as_bytes());
        assert_eq!(programs(&[&outer]), [&app, "node"]);
        let around = write("around.sh", b"");
        write("around.sh", format!("#!/bin/sh\n{around}\n").as_bytes());
        assert!(programs(&[&around]).len() <= DEPTH_MAX + 1, "a script that runs itself");
        let found = commands(OsStr::new(&app), &["x".into()], None);
        assert_eq!(found[0].arguments, [OsString::from(&app), "x".into()]);
    }

    #[cfg(unix)]
    #[test]
    fn scripts_on_the_search_path_are_found() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};

        let directory = tempfile::tempdir().unwrap();
        let [first, second] = ["first", "second"].map(|name| directory.path().join(name));
        let write = |path: &Path, mode, text: &[u8]| {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        write(&first.join("agent"), 0o644, b"#!/usr/bin/env python3\n");
        write(&second.join("lib/cli.js"), 0o755, b"#!/usr/bin/env node\n");
        symlink("lib/cli.js", second.join("agent")).unwrap();
        write(&second.join("shim"), 0o755, b"#!/bin/sh\nexec node \"$dir/x.js\" \"$@\"\n");
        write(&second.join("npm"), 0o755, b"#!/usr/bin/env node\n");
        write(&second.join("tool"), 0o755, b"\x7fELF\n");
        let search_path = std::env::join_paths([&first, &second]).unwrap();
        for (line, expected) in [
            ("agent --task x", &["node"][..]),
            ("env A=1 agent", &["agent", "node"]),
            ("shim x", &["node"]),
            ("sh -c shim", &["shim", "node"]),
            ("npm install", &[]),
            ("tool", &[]),
            ("absent", &[]),
        ] {
            let mut words = line.split(' ').map(OsString::from);
            let (program, arguments) = (words.next().unwrap(), words.collect::<Vec<_>>());
            let found = commands(&program, &arguments, Some(&search_path));
            assert_eq!(names(&found), expected, "{line}");
        }
        let found = commands(OsStr::new("agent"), &["x".into()], Some(&search_path));
        assert_eq!(found[0].arguments[1], "x");
    }

    #[test]
    fn a_command_keeps_its_arguments() {
        let text = [OsString::from("-c"), OsString::from("git clone 'ssh://a.test/b c'")];
        let found = commands(OsStr::new("sh"), &text, None);
        assert_eq!(found[0].arguments, ["clone", "ssh://a.test/b c"]);
    }
}
