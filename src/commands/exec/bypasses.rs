//! Programs that ignore the proxy variables, so that their requests would go past the proxy in silence.

mod wrapped;

use std::{
    ffi::{OsStr, OsString},
    io::Read as _,
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use super::ClientSettings;
use crate::config::Environment;

/// Returns a note if `program` is known to ignore the variables that `exec` sets, with the way to make it use the proxy.
///
/// Returns `None` for any other program, and for one whose arguments already name a proxy.
pub(super) fn note(
    program: &OsStr,
    arguments: &[OsString],
    settings: &ClientSettings,
    environment: &Environment,
) -> Option<String> {
    let named = |(program, arguments): (&OsStr, &[OsString])| {
        note_on_named(program, arguments, settings, environment)
    };
    // A shell, or a program such as `env`, passes the variables on to the program that it runs.
    let search_path = environment.variable("PATH");
    let wrapped = wrapped::commands(program, arguments, search_path.as_deref());
    named((program, arguments)).or_else(|| {
        wrapped.iter().find_map(|command| named((&command.program, &command.arguments)))
    })
}

/// Returns a note if `program` itself ignores the variables.
fn note_on_named(
    program: &OsStr,
    arguments: &[OsString],
    settings: &ClientSettings,
    environment: &Environment,
) -> Option<String> {
    let name = Path::new(program).file_stem()?.to_str()?.to_ascii_lowercase();
    let address = settings.address();
    match &*name {
        "node" | "nodejs" => node_note(&version_of(program, PATIENCE)?),
        "npx" | "pnpx" | "tsx" | "ts-node" => note_on_node(PATIENCE),
        // The package managers themselves use the variables, unlike the scripts that they run.
        "npm" | "pnpm" | "yarn" => {
            runs_a_script(&name, arguments).then(|| note_on_node(PATIENCE))?
        }
        "java" => {
            let variables = ["JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS"];
            let options = variables.iter().filter_map(|name| environment.variable(name));
            let (host, port) = (address.ip(), address.port());
            (!mention(options.chain(arguments.iter().cloned()), &["proxyhost"])).then(|| {
                format!(
                    "`java` ignores the proxy variables, and its requests go direct; add `-Dhttp.proxyHost={host} \
                     -Dhttp.proxyPort={port} -Dhttps.proxyHost={host} -Dhttps.proxyPort={port}`"
                )
            })
        }
        "ssh" | "scp" | "sftp" | "sshfs" | "autossh" => {
            let words = ["proxycommand", "proxyjump", "-j"];
            (!mention(arguments.iter().cloned(), &words)).then(|| {
                format!(
                    "`{name}` ignores the proxy variables, and connects directly unless its configuration has a \
                     ProxyCommand; add `-o ProxyCommand='nc -X connect -x {address} %h %p'`"
                )
            })
        }
        "rsync" => note_on_rsync(arguments, address, environment),
        "git" => {
            let is_chosen = ["GIT_SSH_COMMAND", "GIT_SSH"]
                .iter()
                .any(|name| environment.variable(name).is_some());
            let words = ["proxycommand", "proxyjump", "core.sshcommand"];
            let is_by_ssh = !is_chosen
                && arguments.iter().any(|text| is_ssh_remote(&text.to_string_lossy()))
                && !mention(arguments.iter().cloned(), &words);
            is_by_ssh.then(|| {
                format!(
                    "`git` runs `ssh` for this address, which ignores the proxy variables, and connects directly unless its \
                     configuration has a ProxyCommand; set `GIT_SSH_COMMAND=\"ssh -o ProxyCommand='nc -X connect -x {address} \
                     %h %p'\"`, or use the `https://` address"
                )
            })
        }
        _ => None,
    }
}

/// Returns a note if rsync reaches another machine. It runs `ssh`, or connects to a daemon by itself.
fn note_on_rsync(
    arguments: &[OsString],
    address: SocketAddr,
    environment: &Environment,
) -> Option<String> {
    let remotes = arguments.iter().filter_map(|text| RsyncRemote::of(&text.to_string_lossy()));
    match remotes.max()? {
        RsyncRemote::Daemon => environment.variable("RSYNC_PROXY").is_none().then(|| {
            format!(
                "`rsync` ignores the proxy variables, and connects directly to the daemon of this address; set \
                 `RSYNC_PROXY={address}`"
            )
        }),
        RsyncRemote::Ssh => {
            let is_chosen = environment.variable("RSYNC_RSH").is_some()
                || mention(arguments.iter().cloned(), &["proxycommand", "proxyjump"]);
            (!is_chosen).then(|| {
                format!(
                    "`rsync` runs `ssh` for this address, which ignores the proxy variables, and connects directly unless its \
                     configuration has a ProxyCommand; add `-e \"ssh -o ProxyCommand='nc -X connect -x {address} %h %p'\"`"
                )
            })
        }
    }
}

/// The other machine that an argument of rsync names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum RsyncRemote {
    /// `rsync://host/module` or `host::module`.
    Daemon,
    /// `host:path` or `user@host:path`.
    Ssh,
}

impl RsyncRemote {
    fn of(text: &str) -> Option<Self> {
        if text.starts_with("rsync://") {
            return Some(Self::Daemon);
        }
        let (host, path) = text.split_once(':')?;
        // rsync takes a colon after the first slash for a part of a file name. A single letter is a drive of Windows.
        if text.starts_with('-') || host.contains('/') || host.len() < 2 {
            return None;
        }
        Some(if path.starts_with(':') { Self::Daemon } else { Self::Ssh })
    }
}

/// Returns whether the package manager `name` runs a script or a program with these arguments.
fn runs_a_script(name: &str, arguments: &[OsString]) -> bool {
    const RUN: [&str; 11] = [
        "run",
        "run-script",
        "start",
        "stop",
        "restart",
        "test",
        "t",
        "exec",
        "x",
        "dlx",
        "create",
    ];
    // These two take the name of a script for a command. No command of theirs has one of these usual names.
    const SCRIPTS: [&str; 7] = ["dev", "build", "serve", "watch", "preview", "e2e", "lint"];
    const OF_YARN: [&str; 3] = ["node", "workspace", "workspaces"];
    let mut words = arguments.iter().map(|word| word.to_string_lossy());
    while let Some(word) = words.next() {
        if word.starts_with('-') {
            // The value of an option is not a command, unless it is written after a `=`.
            let takes_value = match &*word {
                "-w" => name == "npm",
                word => VALUED.contains(&word),
            };
            if takes_value {
                words.next();
            }
            continue;
        }
        return RUN.contains(&&*word)
            || (name != "npm" && SCRIPTS.contains(&&*word))
            || (name == "yarn" && OF_YARN.contains(&&*word));
    }
    false
}

/// Returns a note if the Node.js on the search path ignores the variables. One that does not say its version within `patience`
/// gets none.
pub(super) fn note_on_node(patience: Duration) -> Option<String> {
    node_note(&version_of(OsStr::new("node"), patience)?)
}

/// Returns whether git reaches the repository at `text` by SSH: it is `ssh://…` or `user@host:path`.
fn is_ssh_remote(text: &str) -> bool {
    let is_url =
        ["ssh://", "git+ssh://", "ssh+git://"].iter().any(|scheme| text.starts_with(scheme));
    let is_scp_form = || {
        let (user, rest) = text.split_once('@')?;
        let (host, path) = rest.split_once(':')?;
        let is_plain = |part: &str| !part.is_empty() && !part.contains(['/', ':', ' ', '=', '{']);
        Some(is_plain(user) && is_plain(host) && !path.is_empty() && !path.starts_with("//"))
    };
    is_url || is_scp_form().unwrap_or_default()
}

/// Returns the note for a Node.js of this version, which is a text such as `v20.20.2`.
fn node_note(version: &str) -> Option<String> {
    let mut numbers = version.trim().strip_prefix('v')?.split('.');
    let mut number = || numbers.next()?.parse::<u32>().ok();
    let (major, minor) = (number()?, number()?);
    // These read `NODE_USE_ENV_PROXY`: 24.0, and 22 since 22.21.
    let is_able = major >= 24 || (major == 22 && minor >= 21);
    (!is_able).then(|| {
        format!(
            "Node.js {major}.{minor} ignores the proxy variables, and requests go direct unless the program itself sets a \
             proxy; use Node.js 22.21, 24 or later, or an agent such as `https-proxy-agent`"
        )
    })
}

/// Asks `program` for its version. Returns `None` if it does not answer as Node.js does, or not within
/// `patience`.
fn version_of(program: &OsStr, patience: Duration) -> Option<String> {
    let mut child = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut answer = child.stdout.take()?.take(VERSION_BYTES_MAX);
    let (sender, receiver) = mpsc::channel();
    // A wrapper may wait for something, and the command must not wait with it.
    thread::spawn(move || {
        let mut text = String::new();
        let _ = sender.send(answer.read_to_string(&mut text).map(|_| text));
    });
    let version = receiver.recv_timeout(patience);
    let _ = child.kill();
    let _ = child.wait();
    version.ok()?.ok()
}

fn mention(texts: impl IntoIterator<Item = OsString>, words: &[&str]) -> bool {
    texts.into_iter().any(|text| {
        let text = text.to_string_lossy().to_ascii_lowercase();
        words.iter().any(|word| match word.starts_with('-') {
            true => text == *word,
            false => text.contains(word),
        })
    })
}

/// Options of package managers that have a value.
const VALUED: [&str; 21] = [
    "--prefix",
    "-C",
    "--workspace",
    "--loglevel",
    "--registry",
    "--cache",
    "--userconfig",
    "--globalconfig",
    "--script-shell",
    "--node-options",
    "--filter",
    "-F",
    "--filter-prod",
    "--dir",
    "--reporter",
    "--workspace-concurrency",
    "--test-pattern",
    "--cwd",
    "--cache-folder",
    "--modules-folder",
    "--use-yarnrc",
];

/// Programs that are judged by their name and arguments, also if they are scripts. npm is one for Node.js, and still uses the
/// variables.
const KNOWN: [&str; 17] = [
    "node", "nodejs", "npx", "pnpx", "tsx", "ts-node", "npm", "pnpm", "yarn", "java", "ssh", "scp",
    "sftp", "sshfs", "autossh", "rsync", "git",
];

/// How long a program may take to say its version.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// Longer than any version.
const VERSION_BYTES_MAX: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_reads_the_variables_gets_no_note() {
        for version in ["v24.0.0\n", "v22.21.0", "v25.1.0", "20.1.0", "deno 2.0", "v", ""] {
            assert_eq!(node_note(version), None, "{version}");
        }
        for version in ["v20.20.2\n", "v22.20.0", "v23.11.1", "v18.0.0"] {
            assert!(node_note(version).is_some_and(|note| note.contains("go direct")), "{version}");
        }
    }

    #[test]
    fn a_package_manager_that_runs_a_script_is_told_from_one_that_installs() {
        let runs = |line: &str| {
            let (name, arguments) = line.split_once(' ').unwrap_or((line, ""));
            let arguments: Vec<_> = arguments.split_whitespace().map(OsString::from).collect();
            runs_a_script(name, &arguments)
        };
        for line in [
            "npm start",
            "npm --prefix t start",
            "npm --prefix=t --silent run build",
            "npm -C t start",
            "npm -w a test",
            "pnpm --filter x run y",
            "pnpm -F x -w start",
            "pnpm dev",
            "yarn --cwd t start",
            "yarn build",
            "yarn workspace a install",
        ] {
            assert!(runs(line), "{line}");
        }
        for line in [
            "npm",
            "npm install start",
            "npm --silent install test",
            "npm --prefix start install",
            "npm build",
            "npm -w test install",
            "pnpm --filter test add x",
            "yarn --cwd run add x",
        ] {
            assert!(!runs(line), "{line}");
        }
    }

    #[test]
    fn addresses_that_git_reaches_by_ssh_are_told_from_others() {
        for text in ["git@host:r.git", "ssh://host/r.git", "me@host:~/r", "git+ssh://git@host/r"] {
            assert!(is_ssh_remote(text), "{text}");
        }
        for text in [
            "https://user:word@host/r.git",
            "https://host:8443/r",
            "origin",
            "HEAD@{1}:file",
            "user.email=a@b:c",
            "./a@b:c",
            "main:main",
        ] {
            assert!(!is_ssh_remote(text), "{text}");
        }
    }

    #[test]
    fn machines_that_rsync_reaches_are_found() {
        use RsyncRemote::{Daemon, Ssh};

        for (text, remote) in [
            ("host:", Some(Ssh)),
            ("me@host:path/x", Some(Ssh)),
            ("host::module/x", Some(Daemon)),
            ("rsync://host/module", Some(Daemon)),
            ("./a:b", None),
            ("/srv/a:b", None),
            ("C:x", None),
            ("--exclude=a:b", None),
            ("files/", None),
            (":x", None),
        ] {
            assert_eq!(RsyncRemote::of(text), remote, "{text}");
        }
    }

    #[test]
    fn arguments_that_name_a_proxy_are_found() {
        let find = |text: &str, words: &[&str]| mention([OsString::from(text)], words);
        assert!(find("-DsocksProxyHost=x", &["proxyhost"]));
        assert!(find("-J", &["-j"]) && !find("-Jx", &["-j"]));
        assert!(!find("Main", &["proxyhost"]));
    }
}
