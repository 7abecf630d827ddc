//! The program under test.

#[cfg(target_os = "linux")]
mod limited;

use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader, Read},
    net::SocketAddr,
    path::Path,
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::Value;
use tokio::sync::Notify;

use super::{
    ConfigDir,
    process::{Process, begun},
    within,
};

/// One line of the log.
#[derive(Clone, Debug)]
pub(crate) struct Event(Value);

impl Event {
    pub(crate) fn message(&self) -> &str {
        self.0["message"].as_str().unwrap_or_default()
    }

    /// Returns a field of any type as text, which is empty if there is no such field.
    pub(crate) fn field(&self, name: &str) -> String {
        match &self.0[name] {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }

    /// Returns a field that must be a number.
    pub(crate) fn number(&self, name: &str) -> f64 {
        self.0[name].as_f64().unwrap_or_else(|| panic!("{name} of {self:?}"))
    }

    /// Returns the value at a JSON pointer.
    pub(crate) fn at(&self, pointer: &str) -> Option<&Value> {
        self.0.pointer(pointer)
    }

    /// Returns the line, to search it.
    pub(crate) fn text(&self) -> String {
        self.0.to_string()
    }
}

/// A running `mooltiroute run`.
#[derive(Debug)]
pub(crate) struct Proxy {
    process: Process,
    address: SocketAddr,
    log: Arc<Log>,
    config: ConfigDir,
}

#[derive(Debug, Default)]
struct Log {
    lines: Mutex<Lines>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Lines {
    events: Vec<Event>,
    /// Lines that are not JSON, such as the message of a panic.
    others: Vec<String>,
    is_ended: bool,
}

impl Proxy {
    /// Runs the program on `yaml`, and waits until it listens.
    pub(crate) async fn start(yaml: &str) -> Self {
        Self::with_arguments(yaml, &[]).await
    }

    /// Runs the program on `yaml`, with `arguments` in addition to those that all tests need.
    pub(crate) async fn with_arguments(yaml: &str, arguments: &[&str]) -> Self {
        Self::on(ConfigDir::new(yaml), arguments).await
    }

    /// Runs the program on a directory that exists already.
    pub(crate) async fn on(config: ConfigDir, arguments: &[&str]) -> Self {
        Self::run(config, None, arguments, command(PROGRAM)).await
    }

    /// As [`on`](Self::on), with its control socket beside that of `other`.
    #[cfg(unix)]
    pub(crate) async fn beside(other: &Self, config: ConfigDir) -> Self {
        let config = config.with_runtime_of(&other.config);
        Self::on(config, &[]).await
    }

    /// Runs the program with `arguments` on the files of `other`, and in the same directories for control sockets and state.
    #[cfg(unix)]
    pub(crate) async fn on_files_of(other: &Self, arguments: &[&str]) -> Self {
        let (config, path) =
            (ConfigDir::new("").with_runtime_of(&other.config), other.config.path());
        Self::run(config, Some(path), arguments, command(PROGRAM)).await
    }

    /// Runs the program on `yaml`, with `arguments`, in an environment with these variables.
    pub(crate) async fn in_environment(
        yaml: &str,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let mut command = command(PROGRAM);
        command.env_remove("KRB5CCNAME").envs(variables.iter().copied());
        Self::run(ConfigDir::new(yaml), None, arguments, command).await
    }

    /// As [`on`](Self::on), under a supervisor that listens at `socket`.
    #[cfg(target_os = "linux")]
    pub(crate) async fn supervised(yaml: &str, socket: &Path) -> Self {
        let mut command = command(PROGRAM);
        command.env("NOTIFY_SOCKET", socket);
        Self::run(ConfigDir::new(yaml), None, &[], command).await
    }

    /// As [`on`](Self::on), under a supervisor that passes a listening `socket`.
    #[cfg(unix)]
    pub(crate) async fn activated(config: ConfigDir, socket: &impl std::os::fd::AsFd) -> Self {
        Self::run(config, None, &[], super::activated(socket)).await
    }

    /// Runs the program on the file or directory at `path`.
    pub(crate) async fn at(path: &Path) -> Self {
        Self::run(ConfigDir::new(""), Some(path), &[], command(PROGRAM)).await
    }

    /// Runs the program on hops of the command line, without a file.
    pub(crate) async fn of_hops(urls: &[&str]) -> Self {
        let arguments: Vec<_> = urls.iter().flat_map(|url| ["--hop", url]).collect();
        let arguments = [&["--listen", "127.0.0.1:0"], &*arguments].concat();
        let (config, mut command) = (ConfigDir::new(""), command(PROGRAM));
        in_runtime(&mut command, config.runtime());
        Self::run_on(config, &arguments, command).await
    }

    async fn run(
        config: ConfigDir,
        path: Option<&Path>,
        arguments: &[&str],
        mut command: Command,
    ) -> Self {
        let path = path.unwrap_or(config.path()).to_owned();
        let beside = if path.is_dir() { &path } else { config.path() };
        in_runtime(&mut command, config.runtime());
        // A later start with the same files finds the same state.
        command.env("XDG_STATE_HOME", beside.join(".state"));
        let path = path.to_str().unwrap();
        Self::run_on(config, &[&["-c", path], arguments].concat(), command).await
    }

    /// Runs `command`, whose environment is set, with `arguments`.
    async fn run_on(config: ConfigDir, arguments: &[&str], mut command: Command) -> Self {
        command.args(["run", "--log-format", "json"]).args(arguments);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = Process::start(&mut command);
        let log = Log::follow(process.child().stderr.take().unwrap());
        let address = log
            .until("listening", |lines| {
                assert!(!lines.is_ended, "it ended instead of listening: {lines:?}");
                let event = lines.events.iter().find(|event| event.message() == "listening")?;
                Some(event.field("address").parse().unwrap())
            })
            .await;
        Self { process, address, log, config }
    }

    /// Runs a command for this proxy, with `arguments` and its configuration, or its address if commands can't find it by that.
    pub(crate) fn command(&self, arguments: &[&str]) -> Output {
        if !super::wine::finds_proxies() && BY_ADDRESS.contains(&arguments[0]) {
            let address = self.address.to_string();
            return self.command_for(&[arguments, &["--address", &address]].concat());
        }
        let config = self.config.path().to_str().unwrap();
        self.command_for(&[arguments, &["-c", config]].concat())
    }

    /// Runs a command that looks for control sockets in the directory of this proxy's own.
    pub(crate) fn command_for(&self, arguments: &[&str]) -> Output {
        let mut command = command(PROGRAM);
        command.args(arguments).current_dir(self.config.runtime());
        in_runtime(&mut command, self.config.runtime());
        command.output().unwrap()
    }

    /// Returns the number of the process.
    #[cfg(unix)]
    pub(crate) fn pid(&mut self) -> u32 {
        self.process.child().id()
    }

    /// Returns the address for clients.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the URL of the proxy for the options of clients.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn config(&self) -> &ConfigDir {
        &self.config
    }

    #[cfg(unix)]
    pub(crate) fn signal(&mut self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(self.process.child());
        rustix::process::kill_process(id, signal).unwrap();
    }

    /// Ends the process at once, and waits for that.
    pub(crate) async fn kill(&mut self) {
        self.process.child().kill().unwrap();
        self.exit().await;
    }

    /// Returns everything that was logged so far.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.log.lines.lock().unwrap().events.clone()
    }

    /// Waits for the first event of this message after the first `seen` ones.
    pub(crate) async fn event_after(&self, seen: usize, message: &str) -> Event {
        self.log
            .until(message, |lines| {
                let event = lines.events[seen..].iter().find(|event| event.message() == message);
                assert!(
                    event.is_some() || !lines.is_ended,
                    "it ended without {message:?}: {lines:?}"
                );
                event.cloned()
            })
            .await
    }

    /// Waits for the first event of this message.
    pub(crate) async fn event(&self, message: &str) -> Event {
        self.event_after(0, message).await
    }

    /// Waits until the proxy has ended after a signal.
    pub(crate) async fn exit(&mut self) -> std::process::ExitStatus {
        // It has no children, so its log ends when it does.
        self.log.until("its end", |lines| lines.is_ended.then_some(())).await;
        self.process.child().wait().unwrap()
    }

    /// Returns the lines that are not JSON, such as the message of a panic.
    pub(crate) fn other_lines(&self) -> Vec<String> {
        self.log.lines.lock().unwrap().others.clone()
    }

    /// Asserts that it still runs, serves and never panicked.
    pub(crate) async fn assert_is_well(&mut self) {
        let answer = super::exchange(self.address, b"GET / HTTP/1.1\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer:?}");
        assert!(!self.process.has_ended());
        assert_eq!(self.other_lines(), [""; 0]);
    }
}

impl Log {
    fn follow(stderr: impl Read + Send + 'static) -> Arc<Self> {
        let log = Arc::new(Self::default());
        let writer = Arc::clone(&log);
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                let Ok(line) = line else { break };
                writer.change(|lines| match serde_json::from_str(&line) {
                    Ok(event) => lines.events.push(Event(event)),
                    Err(_) => lines.others.push(line),
                });
            }
            writer.change(|lines| lines.is_ended = true);
        });
        log
    }

    fn change(&self, change: impl FnOnce(&mut Lines)) {
        change(&mut self.lines.lock().unwrap());
        self.changed.notify_waiters();
    }

    async fn until<T>(&self, what: &str, find: impl Fn(&Lines) -> Option<T>) -> T {
        within(&format!("the log says {what:?}"), async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if let Some(found) = find(&self.lines.lock().unwrap()) {
                    return found;
                }
                changed.await;
            }
        })
        .await
    }
}

/// Returns a command for the program under test, or for one that starts it. The tester's own settings do not affect it.
pub(super) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_remove("MOOLTIROUTE_CONFIG").env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// Makes `runtime` the only place in which a program keeps and looks for control sockets and state.
pub(crate) fn in_runtime(command: &mut Command, runtime: &Path) {
    // All named pipes are in one place, and their names contain the name of the user.
    #[cfg(windows)]
    command.env("USERNAME", runtime.file_name().unwrap());
    command.env("XDG_RUNTIME_DIR", runtime).env("TMPDIR", runtime);
    command.env("XDG_STATE_HOME", runtime.join("state")).env_remove("STATE_DIRECTORY");
}

/// Runs the program to its end, with `arguments`.
pub(crate) fn run<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Output {
    let mut command = command(PROGRAM);
    command.args(arguments);
    begun(|| command.output()).unwrap()
}

/// Returns the exit status of a program, and its standard output and standard error.
#[track_caller]
pub(crate) fn outcome(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// The commands for a running proxy that take its address.
const BY_ADDRESS: [&str; 8] = ["env", "exec", "hop", "kill", "ps", "reload", "status", "top"];

/// The path of the program.
pub(super) const PROGRAM: &str = env!("CARGO_BIN_EXE_mooltiroute");
