//! `env` and `exec`: programs find the proxy by themselves.

use std::{
    process::{Command, Output},
    str,
};

use crate::support::{Certificates, ConfigDir, Double, Program, Proxy, Step, free_port, run};

/// A configuration at a port that is known before the proxy runs.
fn at_a_known_port(yaml: &str) -> (ConfigDir, u16) {
    let (config, port) = (ConfigDir::new(yaml), free_port());
    config.write("00-server.yaml", &format!("server: {{ listen: \"127.0.0.1:{port}\" }}\n"));
    (config, port)
}

fn path(config: &ConfigDir) -> &str {
    config.path().to_str().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

fn exec(config: &ConfigDir, flags: &[&str], command: &[&str]) -> Output {
    let before = ["exec", "-c", path(config)];
    run([&before, flags, &["--"], command].concat())
}

const ROUTES: &str = "chains: { default: [] }\n\
    hops: { exit: { kind: http-connect, address: \"exit.test:1\" } }\n";

#[test]
fn env_prints_lines_that_a_shell_evaluates() {
    let (config, port) = at_a_known_port(
        "hops: { exit: { kind: http-connect, address: \"exit.test:1\" } }\n\
         chains: { default: [exit] }\n\
         routes:\n  - { hosts: [localhost, \"::1\"], chain: direct }\n  - { chain: default }\n",
    );
    let lines = run(["env", "-c", path(&config), "--shell", "sh"]);
    // No proxy runs: scripts set the variables before it starts.
    assert_eq!(lines.status.code(), Some(0), "{lines:?}");
    let warned = format!(
        "no proxy listens on 127.0.0.1:{port} yet; start it with `mooltiroute run -c {}`",
        path(&config)
    );
    assert!(text(&lines.stderr).contains(&warned), "{lines:?}");
    let unset = run(["env", "-c", path(&config), "--shell", "sh", "--unset"]);
    let Some(shell) = Program::find_or_skip("sh") else { return };
    let shown = "echo $http_proxy $HTTPS_PROXY $all_proxy $no_proxy ${HTTP_PROXY-none}";
    let script = format!("{}{shown}\n{}{shown}\n", text(&lines.stdout), text(&unset.stdout));
    let said = Command::new(shell.path()).env_clear().arg("-c").arg(script).output().unwrap();
    let url = format!("http://127.0.0.1:{port}");
    assert_eq!(text(&said.stdout), format!("{url} {url} {url} localhost,::1 none\nnone\n"));
}

#[test]
fn env_names_a_protocol_that_the_proxy_speaks() {
    for (protocols, scheme) in [
        ("[http, socks5, socks4a]", "http"),
        ("[socks5, socks4a]", "socks5h"),
        ("[socks4a]", "socks4a"),
    ] {
        let (config, port) = at_a_known_port(ROUTES);
        config.write("20.yaml", &format!("server: {{ protocols: {protocols} }}\n"));
        let lines = text(&run(["env", "-c", path(&config), "--shell", "sh"]).stdout).to_owned();
        let url = format!("{scheme}://127.0.0.1:{port}");
        assert!(lines.lines().next().unwrap().contains(&url), "{protocols}: {lines}");
        // Node's switch makes it use an HTTP proxy, and it knows no other.
        assert_eq!(lines.contains("NODE_USE_ENV_PROXY"), scheme == "http", "{lines}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn exec_names_a_protocol_that_the_running_proxy_speaks() {
    let yaml = "server: { protocols: [socks4a] }\nchains: { default: [] }\n";
    let proxy = Proxy::start(yaml).await;
    let url = format!("socks4a://{}\n", proxy.address());
    let config = path(proxy.config());
    let command = ["exec", "-c", config, "--", "printenv", "http_proxy"];
    let told = || text(&proxy.command_for(&command).stdout).to_owned();
    assert_eq!(told(), url);
    // The running proxy tells what it speaks if its files don't.
    let seen = proxy.events().len();
    proxy.config().write("90-broken.yaml", "routes: [\n");
    proxy.event_after(seen, "config rejected").await;
    assert_eq!(told(), url);
}

#[test]
fn env_shows_credentials_only_if_asked() {
    let (config, port) = at_a_known_port(ROUTES);
    config.write("20.yaml", "server: { auth: { username: ann, password: \"can'ary\" } }\n");
    let plain = run(["env", "-c", path(&config), "--shell", "sh"]);
    assert!(!format!("{plain:?}").contains("ary"), "{plain:?}");
    assert!(text(&plain.stderr).contains("--with-credentials"), "{plain:?}");
    let asked = run(["env", "-c", path(&config), "--shell", "sh", "--with-credentials"]);
    let line = format!("export http_proxy='http://ann:can%27ary@127.0.0.1:{port}'\n");
    assert!(text(&asked.stdout).starts_with(&line), "{asked:?}");
}

/// A command that does nothing, and that every system has.
const NOTHING: [&str; 3] = if cfg!(windows) { ["cmd", "/c", "exit"] } else { ["sh", "-c", "exit"] };

#[test]
fn only_the_credentials_of_clients_have_to_be_known() {
    let (config, port) = at_a_known_port(
        "hops: { exit: { kind: http-connect, address: \"exit.test:1\", username: \"${TEST_NO_LOGIN}\", password: x } }\n\
         chains: { default: [exit] }\n",
    );
    let line = format!("export http_proxy='http://127.0.0.1:{port}'\n");
    let plain = run(["env", "-c", path(&config), "--shell", "sh"]);
    assert!(text(&plain.stdout).starts_with(&line), "{plain:?}");
    let advice = format!("start it with `mooltiroute run -c {}`", path(&config));
    assert!(text(&plain.stderr).contains(&advice), "{plain:?}");
    assert_eq!(exec(&config, &[], &NOTHING).status.code(), Some(0));
    let auth = "server: { auth: { username: ann, password: \"${TEST_NO_WORD}\" } }\n";
    config.write("20.yaml", auth);
    let plain = run(["env", "-c", path(&config), "--shell", "sh"]);
    assert!(text(&plain.stdout).starts_with(&line), "{plain:?}");
    assert!(text(&plain.stderr).contains("--with-credentials"), "{plain:?}");
    let asked = run(["env", "-c", path(&config), "--shell", "sh", "--with-credentials"]);
    for failed in [asked, exec(&config, &[], &NOTHING)] {
        assert_eq!((failed.status.code(), text(&failed.stdout)), (Some(1), ""), "{failed:?}");
        assert!(text(&failed.stderr).contains("`TEST_NO_WORD` is not set"), "{failed:?}");
    }
}

#[test]
fn env_says_which_hosts_lose_their_bypass() {
    let routes = "chains: { default: [] }\nroutes: [{ hosts: [localhost, 127.0.0.0/8], chain: direct }, { chain: default }]\n";
    let (config, _) = at_a_known_port(routes);
    let said = |bypass: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mooltiroute"));
        command.args(["env", "-c", path(&config), "--shell", "sh"]).env_remove("NO_PROXY");
        // On Windows, both names are of one variable.
        text(&command.env("no_proxy", bypass).output().unwrap().stderr).to_owned()
    };
    let lost = said("localhost,127.0.0.1,.corp.example").replace("\n", " ");
    assert!(lost.contains("requests to .corp.example go through the proxy now"), "{lost}");
    assert!(lost.contains("`- { hosts: [\"*.corp.example\"], chain: direct }`"), "{lost}");
    assert!(!said("localhost,127.0.0.1").contains("no_proxy"));
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_the_proxy_rejects_are_named_by_their_places() {
    let config = ConfigDir::new("chains: { default: [] }\n");
    let auth = "server:\n  listen: 127.0.0.1:0\n  auth:\n    username: ann\n    password: ${PW_OF_TEST:-first-word}\n";
    config.write("00-server.yaml", auth);
    let proxy = Proxy::on(config, &[]).await;
    let at = proxy.address().to_string();
    let said = |variables: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mooltiroute"));
        command.args(["exec", "-c", path(proxy.config()), "--", "true"]);
        crate::support::in_runtime(&mut command, proxy.config().runtime());
        let output = command.envs(variables.iter().copied()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        text(&output.stderr).to_owned()
    };
    assert!(!said(&[]).contains("does not accept"), "{}", said(&[]));
    let stale = said(&[("PW_OF_TEST", "0ther-word")]);
    assert!(
        stale.contains("`username` as written at ") && stale.contains("00-server.yaml:4:15"),
        "{stale}"
    );
    assert!(stale.contains("`password` from the variable `PW_OF_TEST`"), "{stale}");
    assert!(!stale.contains("0ther-word") && !stale.contains("first-word"), "{stale}");
    let url = format!("http://ann:0ther-word@{at}");
    let stale = said(&[("HTTP_PROXY", &url)]);
    assert!(stale.contains("`HTTP_PROXY` of this terminal has other credentials"), "{stale}");
    assert!(!stale.contains("0ther-word"), "{stale}");
}

#[test]
fn env_needs_a_port() {
    let config = ConfigDir::new(ROUTES);
    let failed = run(["env", "-c", path(&config)]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(text(&failed.stderr).contains("the system chooses the port"), "{failed:?}");
}

#[cfg(unix)]
#[test]
fn exec_is_replaced_by_its_command() {
    use std::os::unix::process::ExitStatusExt as _;

    let (config, _) = at_a_known_port(ROUTES);
    assert_eq!(exec(&config, &[], &["sh", "-c", "exit 7"]).status.code(), Some(7));
    // The shell asks for its own end. A process between would have to be ended as well.
    assert_eq!(exec(&config, &[], &["sh", "-c", "kill -TERM $$"]).status.signal(), Some(15));
    let missing = exec(&config, &[], &["no-such-command-here"]);
    assert_eq!(missing.status.code(), Some(127), "{missing:?}");
    let directory = exec(&config, &[], &["/"]);
    assert_eq!(directory.status.code(), Some(126), "{directory:?}");
    assert_eq!(run(["exec", "-c", path(&config)]).status.code(), Some(2));
}

#[cfg(unix)]
#[test]
fn exec_chooses_a_session_for_each_run() {
    let (config, port) = at_a_known_port(
        "hops: { exit: { kind: webshare, username: dev, password: word, sessions: by-client } }\n\
         chains: { default: [exit] }\n",
    );
    let show = ["sh", "-c", "printf %s \"$https_proxy\""];
    let url = |flags: &[&str]| {
        let output = exec(&config, flags, &show);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        text(&output.stdout).to_owned()
    };
    let (first, second) = (url(&[]), url(&[]));
    assert!(first.starts_with("http://session-run-"), "{first}");
    assert_ne!(first, second);
    let chosen = url(&["--session", "alice", "--country", "us"]);
    assert_eq!(chosen, format!("http://session-alice,country-us:x@127.0.0.1:{port}"));
    let wrong = exec(&config, &["--session", "a b"], &show);
    assert_eq!(wrong.status.code(), Some(1), "{wrong:?}");
    let wrong = exec(&config, &["--country", "USA"], &show);
    assert_eq!(wrong.status.code(), Some(1), "{wrong:?}");
    assert!(text(&wrong.stderr).contains("as in `--country us`"), "{wrong:?}");
    // Nothing is said if every chain takes the session.
    let quiet = exec(&config, &["--session", "alice"], &show);
    assert!(!text(&quiet.stderr).contains("no effect"), "{quiet:?}");
    let (fixed, _) = at_a_known_port(ROUTES);
    let refused = exec(&fixed, &["--session", "alice"], &show);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(text(&refused.stderr).contains("sessions: by-client"), "{refused:?}");
}

#[cfg(unix)]
#[test]
fn exec_names_the_chains_on_which_a_session_has_no_effect() {
    let config = |auth: &str| {
        let text = format!(
            "{auth}hops: {{ exit: {{ kind: webshare, username: dev, password: word, sessions: by-client }} }}\n\
             chains: {{ default: [exit], near: [] }}\n\
             routes: [{{ hosts: [\"*.test\"], chain: near }}, {{ chain: default }}]\n"
        );
        at_a_known_port(&text).0
    };
    let open = config("");
    for flags in [["--session", "alice"], ["--country", "us"]] {
        let output = exec(&open, &flags, &NOTHING);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{said}");
        let note =
            format!("{}: it has no effect on requests that go through the chain `near`", flags[0]);
        assert!(said.contains(&note), "{said}");
    }
    // A session that the user did not ask for needs no note.
    let output = exec(&open, &[], &NOTHING);
    assert!(!text(&output.stderr).contains("`near`"), "{output:?}");
    let closed = config("server: { auth: { username: me, password: word } }\n");
    let output = exec(&closed, &["--session", "alice"], &NOTHING);
    let said = text(&output.stderr);
    assert!(said.contains("the proxy refuses requests that go through the chain `near`"), "{said}");
}

#[test]
fn exec_warns_if_no_proxy_listens_and_runs_its_command() {
    let Some(_) = Program::find_or_skip("true") else { return };
    let (config, port) = at_a_known_port("chains: { default: [] }\n");
    let output = exec(&config, &[], &NOTHING);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let warning = format!("no proxy listens on 127.0.0.1:{port}");
    assert!(text(&output.stderr).contains(&warning), "{output:?}");
}

#[cfg(unix)]
#[test]
fn exec_says_that_a_program_ignores_the_variables() {
    use std::os::unix::fs::PermissionsExt as _;

    let (config, port) = at_a_known_port(ROUTES);
    let script = |name: &str, version: &str| {
        let path = config.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\necho {version}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let said = |program: &str, arguments: &[&str]| {
        let output = exec(&config, &[], &[&[program], arguments].concat());
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        text(&output.stderr).to_owned()
    };
    let node = said(&script("node", "v20.20.2"), &["crawl.js"]);
    assert!(node.contains("Node.js 20.20 ignores the proxy variables"), "{node}");
    let old = script("node", "v20.20.2");
    for (program, arguments) in [
        ("sh", &["-c", &format!("true && A=1 {old} crawl.js")][..]),
        ("env", &["A=1", &old, "crawl.js"]),
    ] {
        let told = said(program, arguments);
        assert_eq!(told.matches("Node.js 20.20 ignores the proxy variables").count(), 1, "{told}");
    }
    let able = said(&script("node", "v24.1.0"), &["crawl.js"]);
    assert!(!able.contains("ignores"), "{able}");
    let java = script("java", "17");
    let told = said(&java, &["-jar", "x.jar"]);
    assert!(told.contains(&format!("-Dhttps.proxyPort={port}")), "{told}");
    assert!(!said(&java, &["-Dhttps.proxyHost=localhost", "Main"]).contains("ignores"));
    let ssh = said(&script("ssh", ""), &["host.test"]);
    assert!(ssh.contains(&format!("nc -X connect -x 127.0.0.1:{port} %h %p")), "{ssh}");
}

#[cfg(unix)]
#[test]
fn exec_looks_at_scripts_on_the_path() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    let (config, _) = at_a_known_port(ROUTES);
    let script = |name: &str, text: &str| {
        let file = config.path().join(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    script("node", "#!/bin/sh\necho v20.20.2\n");
    script("cli.js", "#!/usr/bin/env node\n");
    script("npm", "#!/usr/bin/env node\n");
    symlink("cli.js", config.path().join("agent")).unwrap();
    for (line, is_noted) in [
        ("agent --task", true),
        ("env A=1 agent", true),
        ("npm install", false),
        ("npm start", true),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mooltiroute"));
        command.args(["exec", "-c", path(&config), "--"]).args(line.split(' '));
        command.env("PATH", format!("{}:/usr/bin:/bin", path(&config)));
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let noted = text(&output.stderr).contains("Node.js 20.20 ignores the proxy variables");
        assert_eq!(noted, is_noted, "{line}: {output:?}");
    }
}

#[cfg(unix)]
#[test]
fn env_says_that_the_node_on_the_path_ignores_the_variables() {
    use std::os::unix::fs::PermissionsExt as _;

    let (config, _) = at_a_known_port(ROUTES);
    let node = config.path().join("node");
    let said = |script: &str, flags: &[&str]| {
        std::fs::write(&node, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&node, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_mooltiroute"));
        command.args(["env", "-c", path(&config), "--shell", "sh"]).args(flags);
        command.env("PATH", format!("{}:/usr/bin:/bin", path(&config)));
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(!text(&output.stdout).contains("Node.js"), "{output:?}");
        text(&output.stderr).to_owned()
    };
    let old = said("echo v20.20.2", &[]);
    assert_eq!(old.matches("Node.js 20.20 ignores the proxy variables").count(), 1, "{old}");
    assert!(!said("echo v24.1.0", &[]).contains("Node.js"));
    assert!(!said("echo v20.20.2", &["--unset"]).contains("Node.js"));
    // One that is slow does not hold up a script. `exec` keeps the pipe to this process alone.
    let begun = std::time::Instant::now();
    assert!(!said("exec sleep 60", &[]).contains("Node.js"));
    assert!(begun.elapsed() < std::time::Duration::from_secs(30));
}

#[test]
fn exec_explains_a_command_line_that_was_quoted_as_a_whole() {
    let (config, _) = at_a_known_port(ROUTES);
    let output =
        exec(&config, &[], &["curl -x http://joe:hunter2@proxy.test:1 http://target.test/page"]);
    assert_eq!(output.status.code(), Some(127), "{output:?}");
    let said = text(&output.stderr);
    assert!(said.contains("Leave out the quotes, as in `mooltiroute exec -- curl …`"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[tokio::test]
async fn a_command_under_exec_uses_the_proxy_and_its_credentials() {
    let Some(_) = Program::find_or_skip("curl") else { return };
    let provider =
        Double::start([Step::Answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".into())])
            .await;
    let (config, _) = at_a_known_port(&format!(
        "server: {{ auth: {{ username: joe, password: \"wo rd\" }} }}\n\
         hops: {{ exit: {{ kind: webshare, address: \"{}\", username: dev, password: secret, \
         sessions: by-client, session_max: 100 }} }}\n\
         chains: {{ default: [exit] }}\n",
        provider.address()
    ));
    let proxy = Proxy::on(config, &[]).await;
    let arguments = ["exec", "-c", path(proxy.config()), "--", "curl", "-s", "http://target.test/"]
        .map(str::to_owned);
    let output = tokio::task::spawn_blocking(move || run(arguments)).await.unwrap();
    assert_eq!(text(&output.stdout), "ok", "{output:?}");
    // The provider knows the session by a number of its own.
    assert!(provider.sent().contains("Proxy-Authorization: Basic "), "{}", provider.sent());
    let line = proxy.event("request").await;
    assert_eq!(line.field("target"), "target.test:80");
}

#[test]
fn env_prints_the_listener_that_is_named() {
    if !crate::support::finds_proxies_or_skip() {
        return;
    }
    let [first, second] = [free_port(), free_port()];
    let config = ConfigDir::new(ROUTES);
    config.write(
        "00-server.yaml",
        &format!("server: {{ listen: [\"127.0.0.1:{first}\", \"127.0.0.1:{second}\"] }}\n"),
    );
    let proxy = tokio::runtime::Runtime::new().unwrap();
    let _inside = proxy.enter();
    let proxy = proxy.block_on(Proxy::on(config, &[]));
    for (named, expected) in [
        (format!("127.0.0.1:{second}"), second),
        (format!("http://127.0.0.1:{second}/"), second),
        (format!("127.0.0.1:{first}"), first),
    ] {
        let output = proxy.command_for(&["env", "--shell", "sh", "--address", &named]);
        let line = format!("export http_proxy='http://127.0.0.1:{expected}'\n");
        assert!(text(&output.stdout).starts_with(&line), "{output:?}");
    }
}

#[test]
fn env_and_exec_say_what_clients_of_a_tls_listener_need() {
    let certificates = Certificates::new();
    for (address, words) in [
        ("127.0.0.1", "Its certificate is for 127.0.0.1. They have to trust the authority `"),
        (
            "127.0.0.2",
            "and not for 127.0.0.2: use a name of it that leads to this address, as in `https://localhost:",
        ),
    ] {
        let (config, port) = (ConfigDir::new(ROUTES), free_port());
        config.write(
            "00-server.yaml",
            &format!(
                "server: {{ listen: [{{ address: \"{address}:{port}\", tls: {{ {} }} }}] }}\n",
                certificates.listener_tls()
            ),
        );
        let printed = run(["env", "-c", path(&config), "--shell", "sh"]);
        let line = format!("export http_proxy='https://{address}:{port}'\n");
        assert!(text(&printed.stdout).starts_with(&line), "{printed:?}");
        let executed = exec(&config, &[], &NOTHING);
        for output in [&printed, &executed] {
            let said = text(&output.stderr);
            assert!(said.contains("clients speak TLS to this listener (`https://`)"), "{said}");
            assert!(said.contains(words) && said.contains("--proxy-cacert"), "{said}");
        }
    }
}
