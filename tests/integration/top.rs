//! `mooltiroute top`, driven by keys in a terminal of tmux.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tokio::{io::AsyncReadExt as _, net::TcpListener};

use crate::support::{ConfigDir, EchoOrigin, Program, Proxy, connect, pause, within};

/// A terminal that runs one program. The program ends with it.
struct Terminal {
    tmux: Program,
    socket: PathBuf,
}

impl Terminal {
    /// Runs `mooltiroute top` for `proxy` in 80 columns and 24 lines, with `variables` set.
    fn top(tmux: Program, proxy: &Proxy, variables: &[&str]) -> Self {
        let terminal = Self { tmux, socket: proxy.config().runtime().join("tmux") };
        let path = |path: &Path| path.to_str().unwrap().to_owned();
        let runtime = path(proxy.config().runtime());
        let mut command = vec![
            "env".to_owned(),
            format!("XDG_RUNTIME_DIR={runtime}"),
            format!("TMPDIR={runtime}"),
        ];
        command.extend(variables.iter().map(|variable| (*variable).to_owned()));
        command.push(env!("CARGO_BIN_EXE_mooltiroute").to_owned());
        command.extend(["top".to_owned(), "-c".into(), path(proxy.config().path())]);
        let mut arguments = vec!["-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24"];
        arguments.extend(command.iter().map(String::as_str));
        terminal.tmux(&arguments);
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(self.tmux.path());
        command.env_remove("TMUX").env("TERM", "xterm-256color").arg("-S").arg(&self.socket);
        let output = command.args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        output
    }

    fn runs(&self) -> bool {
        let mut command = Command::new(self.tmux.path());
        command.arg("-S").arg(&self.socket).arg("has-session").output().unwrap().status.success()
    }

    fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    fn screen(&self, options: &[&str]) -> String {
        let output = self.tmux(&[&["capture-pane", "-p"], options].concat());
        String::from_utf8(output.stdout).unwrap()
    }

    /// Waits for a screen that `is_right`.
    async fn until(&self, what: &str, is_right: impl Fn(&str) -> bool) -> String {
        within(what, async {
            loop {
                let screen = self.screen(&[]);
                if is_right(&screen) {
                    return screen;
                }
                pause().await;
            }
        })
        .await
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The program may have left already, and the terminal with it.
        let _ =
            Command::new(self.tmux.path()).arg("-S").arg(&self.socket).arg("kill-server").output();
    }
}

/// Returns the rows of the table of connections.
fn rows(screen: &str) -> Vec<&str> {
    let below = screen.lines().skip_while(|line| !line.contains(" open")).skip(1);
    let table = below.skip_while(|line| !line.contains("client")).skip(1);
    table.take_while(|line| !line.is_empty() && !line.starts_with('─')).collect()
}

const CONFIG: &str = "hops: { exit: { kind: socks5, address: \"127.0.0.1:9\" }, idle: { kind: socks5, address: \"a.test:1\", enabled: false } }\n\
                      chains: { default: [], out: [exit, idle] }\n\
                      routes: [ { hosts: [exit.test], chain: out }, { chain: default } ]\n";

#[tokio::test(flavor = "multi_thread")]
async fn top_is_driven_by_keys() {
    let Some(tmux) = Program::find_or_skip("tmux") else { return };
    let proxy = Proxy::start(CONFIG).await;
    let echo = EchoOrigin::start().await;
    let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let other = origin.local_addr().unwrap().to_string();
    let _first = connect(proxy.address(), echo.address()).await.tunnel();
    let mut second = connect(proxy.address(), &other).await.tunnel();
    connect(proxy.address(), "exit.test:443").await;

    let terminal = Terminal::top(tmux, &proxy, &[]);
    // tmux may show a screen that is half drawn.
    let is_drawn = |screen: &str| {
        let explains = screen.contains("502 exit.test:443");
        rows(screen).len() == 2 && explains && screen.contains("k kill")
    };
    let screen = terminal.until("both connections and the failure", is_drawn).await;
    assert!(screen.lines().all(|line| line.chars().count() <= 80), "{screen}");
    for part in ["mooltiroute ", "generation 1", "2 open", "exit", "idle", "off", "direct", "ratev"]
    {
        assert!(screen.contains(part), "{part}:\n{screen}");
    }
    assert!(screen.lines().last().unwrap().starts_with("Up/Down choose   k kill"), "{screen}");

    terminal.press(&["s"]);
    let screen = terminal.until("sorted by number", |screen| screen.contains("idv")).await;
    let first_row = rows(&screen)[0].trim_start().to_owned();
    assert!(first_row.starts_with("1 "), "{screen}");
    terminal.press(&["r"]);
    let screen = terminal.until("turned round", |screen| screen.contains("id^")).await;
    assert!(rows(&screen)[0].trim_start().starts_with("2 "), "{screen}");

    let port = other.rsplit(':').next().unwrap();
    terminal.press(&["/"]);
    terminal.press(&["-l", port]);
    terminal.press(&["Enter"]);
    let screen = terminal.until("one is left", |screen| screen.contains("1 open with /")).await;
    assert_eq!(rows(&screen).len(), 1, "{screen}");
    assert!(screen.contains(&other), "{screen}");
    terminal.press(&["k"]);
    let read = within("the reset", second.read_u8()).await;
    assert_eq!(read.map_err(|error| error.kind()), Err(std::io::ErrorKind::ConnectionReset));
    terminal.until("none is left", |screen| screen.contains("0 open with /")).await;
    terminal.press(&["Escape"]);
    terminal.until("the other one", |screen| rows(screen).len() == 1).await;

    terminal.tmux(&["resize-window", "-x", "120", "-y", "40"]);
    terminal
        .until("the new size", |screen| {
            screen.lines().count() == 40 && screen.lines().any(|line| line.chars().count() == 120)
        })
        .await;
    terminal.press(&["q"]);
    within("it leaves, and the terminal with it", async {
        while terminal.runs() {
            pause().await;
        }
    })
    .await;
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn keys_are_heeded_while_the_proxy_does_not_answer() {
    use rustix::process::Signal;

    let Some(tmux) = Program::find_or_skip("tmux") else { return };
    let mut proxy = Proxy::start(CONFIG).await;
    let terminal = Terminal::top(tmux, &proxy, &[]);
    terminal.until("the screen", |screen| screen.contains("q quit")).await;
    let is_silent = |screen: &str| screen.contains("no answer from the proxy for ");
    proxy.signal(Signal::STOP);
    terminal.until("the silence", is_silent).await;
    proxy.signal(Signal::CONT);
    terminal.until("the answer", |screen| !is_silent(screen) && screen.contains("k kill")).await;
    proxy.signal(Signal::STOP);
    terminal.until("the silence", is_silent).await;
    terminal.press(&["s"]);
    terminal.until("another order", |screen| screen.contains("idv")).await;
    terminal.press(&["q"]);
    within("it leaves, and the terminal with it", async {
        while terminal.runs() {
            pause().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn colours_are_left_out_if_the_user_asks_for_that() {
    let Some(tmux) = Program::find_or_skip("tmux") else { return };
    for (variable, is_coloured) in [("NO_COLOR=1", false), ("NO_COLOR=", true)] {
        let proxy = Proxy::start(CONFIG).await;
        let terminal = Terminal::top(tmux.clone(), &proxy, &[variable]);
        terminal.until("the screen", |screen| screen.contains("q quit")).await;
        assert_eq!(has_colours(&terminal.screen(&["-e"])), is_coloured, "{variable}");
    }
}

/// Whether a screen with its escape sequences has a colour, in any of the ways to name one.
fn has_colours(screen: &str) -> bool {
    let mut sequences = screen.split("\u{1b}[").skip(1).filter_map(|rest| rest.split('m').next());
    sequences.any(|sequence| {
        sequence.split(';').any(|part| {
            part.parse::<u8>().is_ok_and(|number| matches!(number, 30..=38 | 40..=48 | 90..=107))
        })
    })
}

#[tokio::test]
async fn top_needs_a_terminal() {
    let proxy = Proxy::on(ConfigDir::new("chains: { default: [] }\n"), &[]).await;
    let output = proxy.command(&["top"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("needs a terminal"), "{output:?}");
}
