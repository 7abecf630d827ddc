//! Commands, flags and values of other programs, and of other commands of this one, each with the advice.

/// Words of other programs, and advice on the equivalent here. `VALUE` stands for the word that follows.
type OtherWords = (&'static [&'static str], &'static str);

/// Commands of other programs.
pub(super) const COMMANDS: [OtherWords; 16] = [
    (
        &["kinit", "klist"],
        "that is a Kerberos program: run it without `mooltiroute`; `mooltiroute check` shows whether a ticket is found",
    ),
    (
        &["start", "serve", "server", "daemon", "up", "launch", "listen", "proxy"],
        "`mooltiroute run` runs the proxy, in the foreground",
    ),
    (
        &["stop", "quit", "shutdown", "down", "exit"],
        "end the proxy with Ctrl+C in its terminal, or a service with `systemctl --user stop mooltiroute`, without \
         `--user` if it is the system's",
    ),
    (
        &["restart", "refresh"],
        "`mooltiroute reload` loads the configuration again; the proxy also does so by itself when a file changes",
    ),
    (
        &["test", "validate", "configtest", "verify", "lint", "checkconfig", "config-test"],
        "`mooltiroute check` validates the configuration, and `mooltiroute probe URL` tests a target",
    ),
    (&["version"], "write `mooltiroute --version`"),
    (
        &["list", "ls", "connections", "conns", "sessions"],
        "`mooltiroute ps` lists the open connections, and `mooltiroute check` the hops and chains",
    ),
    (
        &["routes", "route", "resolve", "match", "which"],
        "`mooltiroute explain URL` shows the route of a request",
    ),
    (
        &["ping", "curl", "get", "fetch", "connect", "request"],
        "`mooltiroute probe URL` makes a request and reports each step",
    ),
    (&["enable", "on"], "write `mooltiroute hop NAME on`"),
    (&["disable", "off"], "write `mooltiroute hop NAME off`"),
    (
        &["config", "configure", "setup", "new", "generate"],
        "`mooltiroute init` writes a configuration to start from",
    ),
    (
        &["log", "logs"],
        "the log goes to the standard error of `mooltiroute run`; for a service, see `journalctl --user -u \
         mooltiroute`, without `--user` if it is the system's",
    ),
    (
        &["stats", "info", "metrics", "health"],
        "`mooltiroute status` shows the state of the running proxy",
    ),
    (
        &["with", "wrap", "shell"],
        "`mooltiroute exec -- COMMAND` runs a command through the proxy, and `mooltiroute env` prints its variables",
    ),
    (&["graph", "draw", "diagram"], "write `mooltiroute check --graph`"),
];

/// Flags that a command does not have, although another one does: the commands, the flags, and the advice. `NAME` in it
/// stands for the value.
pub(super) const FLAGS_OF_COMMANDS: [(&[&str], &[&str], &str); 18] = [
    (
        &["ps"],
        &["-e", "-a", "-A", "-l", "-w", "--all"],
        "leave it out: `mooltiroute ps` lists all open connections",
    ),
    (
        NOT_THE_PROXY,
        &["--quiet", "-q", "--silent"],
        "end the line with `> /dev/null`; the exit status says the result: 0 if all is well",
    ),
    (
        NOT_THE_PROXY,
        &["--verbose", "-v", "-vv", "--debug", "--trace"],
        "this command shows all that it knows; the log of the proxy says more with `mooltiroute run --log-level debug`",
    ),
    (
        &["init"],
        &["--force", "-f", "--overwrite"],
        "`init` never overwrites a file: name a directory that is empty or does not exist yet",
    ),
    (&["service"], &["--user"], "leave `--user` out: the service is always one of your own user"),
    (
        &["service"],
        &["--system", "--global", "--root"],
        "this command is for your own user; the packages have a service for the machine: `systemctl enable --now mooltiroute`",
    ),
    (
        &["service"],
        &["--dry-run", "-n", "--test", "--show", "--stdout"],
        "write `mooltiroute service install --print`, which shows the definition and installs nothing",
    ),
    (
        &["service"],
        &["--listen", "--port", "-p"],
        "a service listens where its configuration says: write `server: { listen: \"127.0.0.1:8888\" }` there",
    ),
    (
        &["hop"],
        &["--list", "-l", "--all", "-a"],
        "`mooltiroute status` lists the hops of the running proxy, and `mooltiroute check` those of a configuration",
    ),
    (&["exec"], &["-s", "--sess"], "write `--session NAME`"),
    (
        &["exec"],
        &["--as", "--user", "-u", "--username"],
        "write `--session NAME`, and `--country CC` for a country",
    ),
    (
        &["probe", "explain"],
        &[
            "--session",
            "-s",
            "--sticky",
            "--sessid",
            "--session-id",
            "--sid",
            "--user",
            "-u",
            "--username",
        ],
        "write `--as session-NAME`",
    ),
    (&["probe", "explain"], &["--country", "--geo"], "write `--as country-NAME`"),
    (
        &["run", "check", "env"],
        &["--session", "--as", "--country", "-s", "--sticky"],
        "clients choose an exit by the username that they give to the proxy, as in `curl -x \
         http://session-NAME:x@localhost:8888`, or `USER+session-NAME:PASSWORD` if there is `server.auth`; `mooltiroute exec --session NAME -- COMMAND` writes it for a command",
    ),
    (
        &["kill"],
        &["--all", "-a", "--everything"],
        "write `--chain NAME` or `--hop NAME`, which `mooltiroute status` lists; to end everything, stop the proxy",
    ),
    (
        &["kill"],
        &["--id", "--session", "--target", "--client", "--route", "--member"],
        "`mooltiroute ps` lists the connections: write `mooltiroute kill NUMBER`, with the numbers of its first column",
    ),
    (
        &["ps", "status"],
        &["--hop", "--chain", "--route", "--session", "--target", "--client", "--filter"],
        "`mooltiroute ps` lists all connections: write `mooltiroute ps | grep NAME`",
    ),
    (
        &["usage"],
        &["--hop", "--chain", "--route", "--session", "--target"],
        "write `--by hop`, `--by chain`, `--by route`, `--by session` or `--by target`",
    ),
];

/// Every command but `run`, which has flags for its log.
const NOT_THE_PROXY: &[&str] = &[
    "check", "explain", "probe", "init", "status", "ps", "top", "kill", "reload", "hop", "env",
    "exec", "service", "usage",
];

/// The orders that squid takes behind `-k` and nginx behind `-s`.
pub(super) const ORDERS: [OtherWords; 4] = [
    (
        &["reconfigure", "reload"],
        "write `mooltiroute reload`; the proxy also loads the configuration again by itself when a file changes",
    ),
    (&["parse", "check", "test"], "write `mooltiroute check`"),
    (
        &["shutdown", "interrupt", "kill", "stop", "quit"],
        "end the proxy with Ctrl+C in its terminal, or a service with `systemctl --user stop mooltiroute`, without \
         `--user` if it is the system's",
    ),
    (
        &["rotate", "reopen", "debug"],
        "the log goes to standard error; the program that keeps it, such as journald or logrotate, rotates it",
    ),
];

/// Flags by which other programs name the address that they listen on.
pub(super) const LISTEN_FLAGS: [&str; 11] = [
    "--port",
    "-p",
    "--http-port",
    "--mixed-port",
    "--socks-port",
    "--bind",
    "-l",
    "--host",
    "--addr",
    "--listen-address",
    "--bind-address",
];

/// Flags of other programs.
pub(super) const FLAGS: [OtherWords; 18] = [
    (
        &["--pac", "--pac-url", "--pac-file", "--autoconfig", "--proxy-pac-url"],
        "a PAC file needs a hop for the proxies that it names. Write a file with `hops: { proxy: { kind: http-connect, \
         address: \"HOST:PORT\" }, office: { kind: pac, url: \"URL\", hops: { \"*\": proxy } } }` and `chains: { default: \
         [office] }`, and give it with `-c FILE`",
    ),
    (&["--sticky", "--sessid", "--session-id", "--sid"], "write `--session NAME`"),
    (&LISTEN_FLAGS, "write `--listen 127.0.0.1:8888`"),
    (
        &[
            "--upstream",
            "--proxy",
            "-x",
            "--parent",
            "--forward",
            "-F",
            "--server",
            "--proxy-server",
            "--http-proxy",
            "--https-proxy",
            "--upstream-proxy",
            "--chain-proxy",
        ],
        "write `--hop http://HOST:PORT`, or a hop in the configuration",
    ),
    (
        &["--socks5", "--socks", "--socks5-hostname"],
        "write `--hop socks5://HOST:PORT`, or a hop in the configuration",
    ),
    (
        &[
            "--user",
            "--username",
            "--password",
            "--auth",
            "-u",
            "-U",
            "--proxy-user",
            "--credentials",
        ],
        "the credentials of a proxy belong to its URL, `--hop 'http://USERNAME:PASSWORD@HOST:PORT'`, or better to a \
         configuration, which others can't see; those of clients are `server: { auth: … }`",
    ),
    (
        &[
            "--ntlm",
            "--proxy-ntlm",
            "--negotiate",
            "--proxy-negotiate",
            "--kerberos",
            "--digest",
            "--proxy-digest",
        ],
        "write the scheme into the URL, as in `--hop 'http://USERNAME:PASSWORD@HOST:PORT?auth=ntlm'`, or as `auth: ntlm` of \
         a hop",
    ),
    (&["--verbose", "-v", "-vv", "--debug", "--trace"], "write `--log-level debug`"),
    (&["--quiet", "-q", "--silent"], "write `--log-level error`"),
    (
        &["--daemon", "--background", "-D", "-d", "--detach", "--daemonize"],
        "the proxy runs in the foreground; end the line with `&`, or write `mooltiroute service install`",
    ),
    (
        &["--config-file", "--conf", "--cfg", "--config-dir", "--configuration", "-C"],
        "write `-c PATH`",
    ),
    (&["-f"], "`-c PATH` names a configuration, and `--format json` a format"),
    (&["--json"], "write `--format json`"),
    (
        &["--log-file", "--logfile", "--log", "--log-output"],
        "the log goes to standard error; end the line with `2>> FILE`",
    ),
    (
        &["--noproxy", "--no-proxy", "--bypass"],
        "write a route: `routes: [{ hosts: [HOST], chain: direct }, { chain: default }]`",
    ),
    (
        &["--insecure", "-k"],
        "certificates are always checked; trust an authority with `--ca FILE` of `probe`, or `tls: { ca: FILE }` of a hop",
    ),
    (&["--threads", "--workers"], "write `server: { workers: 2 }` in the configuration"),
    (&["-t", "--test", "--check", "--dry-run"], "write `mooltiroute check`"),
];

/// Values of other programs: a part of the argument's name, the values, and the advice.
pub(super) const VALUES: [(&str, &[&str], &str); 14] = [
    (
        "ACTION",
        &["start", "enable", "add", "create", "up", "on", "register"],
        "write `install`, which also starts it; later, systemctl, launchctl or schtasks starts and stops it",
    ),
    (
        "ACTION",
        &["stop", "disable", "remove", "delete", "down", "off", "unregister"],
        "write `uninstall`, which also ends it; systemctl, launchctl or schtasks only stops it",
    ),
    ("--shell", &["bash", "zsh", "dash", "ksh", "ash", "posix"], "write `--shell sh`"),
    ("--shell", &["pwsh", "ps1", "ps"], "write `--shell powershell`"),
    (
        "--by",
        &["host", "hosts", "domain", "domains", "url", "site", "destination"],
        "write `--by target`",
    ),
    ("--by", &["user", "users", "client", "clients", "username"], "write `--by session`"),
    ("STATE", &["disable", "disabled", "false", "no", "0", "down"], "write `off`"),
    ("STATE", &["enable", "enabled", "true", "yes", "1", "up"], "write `on`"),
    ("STATE", &["restore", "default", "reset", "automatic"], "write `auto`"),
    ("--log-level", &["verbose", "all", "5"], "write `--log-level debug`"),
    ("--log-level", &["warning"], "write `--log-level warn`"),
    ("--log-level", &["critical", "fatal"], "write `--log-level error`"),
    ("--log-level", &["none", "quiet", "silent"], "write `--log-level off`"),
    ("--format", &["text", "table", "pretty", "plain"], "write `--format human`"),
];
