//! Limits of the system: descriptors, threads, disk space, processor time.
#![cfg(target_os = "linux")]

use std::{
    fs::{self, OpenOptions},
    net::SocketAddr,
    ops::RangeInclusive,
    time::Duration,
};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, process::Command, task::JoinSet, time};

use crate::support::{
    ConfigDir, EchoOrigin, OtherUser, Proxy, assert_reads, connect, free_port, head, in_runtime,
    open, pause, ping, resources, rest, status, within,
};

#[tokio::test]
async fn without_descriptors_accepting_pauses_and_recovers() {
    let echo = EchoOrigin::start().await;
    let proxy = Proxy::start("chains: { default: [] }\n").await;
    let pid = status(proxy.address()).await["pid"].as_u64().unwrap();
    let limit = descriptors_of(pid);
    let (before, _) = resources(pid);
    limit(before as u64 + 3);
    let mut clients: Vec<TcpStream> = Vec::new();
    for _ in 0..20 {
        clients.push(open(proxy.address()).await);
    }
    let message = "can't accept connections now; trying again until it works";
    proxy.event(message).await;
    let (begun, ticks) = (time::Instant::now(), cpu_ticks(pid));
    time::sleep(Duration::from_secs(1)).await;
    let (spent, elapsed) = (cpu_ticks(pid) - ticks, begun.elapsed());
    assert!(spent <= 20, "{spent} ticks in {elapsed:?}: it spins");
    limit(4096);
    proxy.event("accepting connections again").await;
    let mut tunnel = connect(proxy.address(), echo.address()).await.tunnel();
    ping(&mut tunnel).await;
    let told = proxy.events().iter().filter(|event| event.message() == message).count();
    assert!(told <= 2, "it was told {told} times");
    drop((clients, tunnel));
    within("every descriptor is given back", async {
        while resources(pid).0 > before {
            pause().await;
        }
    })
    .await;
}

#[tokio::test]
async fn aborted_clients_leave_no_descriptor_and_no_memory() {
    let echo = EchoOrigin::start().await;
    let proxy = Proxy::start("chains: { default: [] }\n").await;
    let pid = status(proxy.address()).await["pid"].as_u64().unwrap();
    let (before, _) = resources(pid);
    let target = echo.address();
    let connect_head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
    let mut memory = Vec::new();
    for _ in 0..ROUNDS {
        for number in 0..ABORTED {
            let mut client = open(proxy.address()).await;
            // At once, within the head, and after it.
            let length = [0, 10, connect_head.len()][number % 3];
            client.write_all(&connect_head.as_bytes()[..length]).await.unwrap();
            client.set_zero_linger().unwrap();
        }
        within("every descriptor is given back", async {
            while status(proxy.address()).await["connections"]["open"] != 1 {
                pause().await;
            }
            while resources(pid).0 > before {
                pause().await;
            }
        })
        .await;
        memory.push(resources(pid).1);
    }
    assert!(memory[ROUNDS - 1] <= memory[0] + GROWTH_KIB_MAX, "{memory:?} KiB");
}

#[tokio::test]
async fn a_process_that_was_suspended_goes_on() {
    let echo = EchoOrigin::start().await;
    let mut proxy = Proxy::start("chains: { default: [] }\n").await;
    let mut tunnel = connect(proxy.address(), echo.address()).await.tunnel();
    proxy.signal(Signal::STOP);
    // The system still takes both for it.
    let mut late = open(proxy.address()).await;
    late.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    tunnel.write_all(b"before").await.unwrap();
    proxy.signal(Signal::CONT);
    assert_reads(&mut tunnel, "before").await;
    assert!(rest(&mut late).await.ends_with("\r\n\r\nok\n"));
}

#[tokio::test]
async fn an_edit_that_can_not_be_read_for_a_lack_of_descriptors_says_so() {
    let config = ConfigDir::new("chains: { default: [a] }\n");
    config.write("secret.txt", "s3cret");
    let hop = |user: &str| {
        format!(
            "hops: {{ a: {{ kind: http-connect, address: \"a.test:1\", username: {user}, password_file: secret.txt }} }}\n"
        )
    };
    config.write("20-hop.yaml", &hop("one"));
    let proxy = Proxy::on(config, &[]).await;
    let pid = status(proxy.address()).await["pid"].as_u64().unwrap();
    let limit = descriptors_of(pid);
    limit(3);
    proxy.config().write("20-hop.yaml", &hop("two"));
    let rejected = proxy.event("config rejected").await.field("problems");
    assert!(rejected.contains("this process has no file descriptor left"), "{rejected}");
    assert!(rejected.contains("ulimit -n") && !rejected.contains("chmod"), "{rejected}");
    limit(4096);
    let seen = proxy.events().len();
    proxy.config().write("20-hop.yaml", &hop("three"));
    proxy.event_after(seen, "config reloaded").await;
}

#[tokio::test]
async fn a_full_disk_under_the_log_stops_nothing() {
    let echo = EchoOrigin::start().await;
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let config = ConfigDir::new("chains: { default: [] }\n");
    config.write("00-server.yaml", &format!("server: {{ listen: \"{address}\" }}\n"));
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mooltiroute"));
    command.args(["--log-level", "trace", "-c"]).arg(config.path()).env_remove("RUST_LOG");
    in_runtime(command.as_std_mut(), config.runtime());
    let mut proxy = command.stderr(full).kill_on_drop(true).spawn().unwrap();
    within("it listens", async {
        while TcpStream::connect(address).await.is_err() {
            pause().await;
        }
    })
    .await;
    for _ in 0..10 {
        let mut tunnel = connect(address, echo.address()).await.tunnel();
        ping(&mut tunnel).await;
    }
    for (yaml, outcome) in [("timeouts: { idle: 1h }\n", "applied"), ("timeouts: [\n", "rejected")]
    {
        config.write("20-more.yaml", yaml);
        within(outcome, async {
            while status(address).await["reloads"][outcome] != 1 {
                pause().await;
            }
        })
        .await;
    }
    let process = Pid::from_raw(proxy.id().unwrap() as i32).unwrap();
    kill_process(process, Signal::TERM).unwrap();
    assert_eq!(within("its end", proxy.wait()).await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn a_start_with_too_few_threads_is_one_sentence_and_exit_1() {
    let Some(user) = OtherUser::find(64_321) else { return };
    let mut started = false;
    // The process itself counts, and each thread; with all that it needs it starts.
    for processes in 1..=6 {
        let (mut child, mut lines) = user.start(&["prlimit", &format!("--nproc={processes}")]);
        let mut words = Vec::new();
        while let Some(line) = within("its words", lines.next_line()).await.unwrap() {
            started = line.contains("listening");
            words.push(line);
            if started {
                break;
            }
        }
        if started {
            break;
        }
        let status = within("its end", child.wait()).await.unwrap();
        assert_eq!(status.code(), Some(1), "{processes}: {words:?}");
        assert!(
            matches!(words.as_slice(), [one] if one.contains("too few threads") && one.contains("ulimit -u")),
            "{processes}: {words:?}"
        );
    }
    assert!(started, "it never starts");
}

/// tokio panics if it gets no sockets for signals.
#[cfg(target_os = "linux")]
#[test]
fn a_start_with_too_few_descriptors_is_one_sentence_and_exit_1() {
    let config = ConfigDir::new("chains: { default: [] }\n");
    let script = "ulimit -n $0; exec timeout 2 \"$1\" run -c \"$2\" --listen 127.0.0.1:0";
    let failed = (6..12).filter(|descriptors: &u8| {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", script, &descriptors.to_string(), env!("CARGO_BIN_EXE_mooltiroute")]);
        crate::support::in_runtime(&mut command, config.runtime());
        let output = command.arg(config.path()).output().unwrap();
        let (code, _, error) = crate::support::outcome(&output);
        assert!(!error.contains("panicked"), "{descriptors}: {error}");
        let is_sentence = error.starts_with("mooltiroute: ") && error.contains("`ulimit -n`");
        assert!(code != Some(1) || is_sentence, "{descriptors}: {error}");
        code == Some(1)
    });
    assert!(failed.count() > 1);
}

#[tokio::test]
async fn names_edits_and_pages_need_no_thread_that_the_system_does_not_give() {
    let Some(user) = OtherUser::find(64_322) else { return };
    let echo = EchoOrigin::start().await;
    let (mut child, mut lines) = user.start(&[]);
    let mut line_with = async |words: &str| {
        loop {
            let line = within(words, lines.next_line()).await.unwrap();
            let line = line.unwrap_or_else(|| panic!("the log ends without {words}"));
            assert!(!line.contains("panicked"), "{line}");
            if line.contains(words) {
                break line;
            }
        }
    };
    let listening = line_with("listening address=").await;
    let address = listening.rsplit('=').next().unwrap().parse::<SocketAddr>().unwrap();
    let process = child.id().unwrap().to_string();
    // As if other programs of the user had taken all that a user may have.
    let mut limit = user.command("prlimit");
    limit.args(["--nproc=1:1", "--pid", &process]);
    assert!(within("the limit", limit.status()).await.unwrap().success());
    for number in 0..3 {
        let mut client = open(address).await;
        let target = format!("localhost:{}", echo.address().port());
        let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        assert!(head(&mut client).await.starts_with("HTTP/1.1 200"));
        let chains = format!("chains: {{ default: [], spare-{number}: [] }}\n");
        fs::write(&user.config, format!("{LISTEN}{chains}")).unwrap();
        line_with(&format!("config reloaded generation={}", number + 2)).await;
        assert!(status(address).await["pid"].is_number());
    }
    assert!(child.try_wait().unwrap().is_none());
}

/// Returns a function that sets how many descriptors the process `pid` may have.
fn descriptors_of(pid: u64) -> impl Fn(u64) {
    let process = Pid::from_raw(pid as i32);
    let maximum = getrlimit(Resource::Nofile).maximum;
    move |current| {
        let limit = Rlimit { current: Some(current), maximum };
        prlimit(process, Resource::Nofile, limit).unwrap();
    }
}

const LISTEN: &str = "server: { listen: \"127.0.0.1:0\" }\n";

#[tokio::test]
async fn with_64_descriptors_a_crowd_is_served_in_turns() {
    crowd_is_served_in_turns(1, 64, 17..=28).await;
}

#[tokio::test]
async fn with_several_workers_and_96_descriptors_a_crowd_is_served_in_turns() {
    crowd_is_served_in_turns(4, 96, 15..=34).await;
}

/// Has more clients come than there are descriptors for, of which as many as `expected` are to be served at once.
async fn crowd_is_served_in_turns(
    workers: usize,
    descriptors: u64,
    expected: RangeInclusive<usize>,
) {
    let echo = EchoOrigin::start().await;
    let config = ConfigDir::new("chains: { default: [] }\n");
    config.write("05-workers.yaml", &format!("server: {{ workers: {workers} }}\n"));
    let Some(proxy) = Proxy::limited(config, descriptors).await else { return };
    let pid = status(proxy.address()).await["pid"].as_u64().unwrap();
    let target = echo.address();
    let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
    // At once, so that all workers accept at the same time.
    let mut opened = JoinSet::new();
    for _ in 0..CROWD {
        let (request, address) = (request.clone(), proxy.address());
        opened.spawn(async move {
            let mut client = open(address).await;
            client.write_all(request.as_bytes()).await.unwrap();
            client
        });
    }
    let mut clients = opened.join_all().await;
    proxy.event("can't accept connections now; trying again until it works").await;
    let served = within("the first ones are served", async {
        let mut served = 0;
        loop {
            let tunnels = clients_accepted_by(pid);
            if served == tunnels && served > 0 {
                return served;
            }
            served = tunnels;
            time::sleep(Duration::from_millis(200)).await;
        }
    })
    .await;
    assert!(expected.contains(&served), "{served} clients are served at once");
    // An edit is read all the same, and a listener that it adds is opened.
    proxy.config().write("06-edit.yaml", "timeouts: { drain: 7s }\n");
    proxy.event("config reloaded").await;
    // Each that ends lets another in. With several workers, the order is not exactly that in which they came.
    while !clients.is_empty() {
        let answered = within("a client is served", next_answered(&clients)).await;
        let mut client = clients.remove(answered);
        assert_eq!(head(&mut client).await, "HTTP/1.1 200 Connection established\r\n\r\n");
        ping(&mut client).await;
    }
    within("all tunnels end", async {
        while status(proxy.address()).await["connections"]["open"] != 1 {
            pause().await;
        }
    })
    .await;
    proxy.event("accepting connections again").await;
    let failed = proxy.events().iter().filter(|event| event.message() == "request failed").count();
    assert_eq!(failed, 0);
}

/// Waits until one of `clients` has been sent something, and returns its index.
async fn next_answered(clients: &[TcpStream]) -> usize {
    loop {
        for (index, client) in clients.iter().enumerate() {
            if time::timeout(Duration::ZERO, client.peek(&mut [0])).await.is_ok() {
                return index;
            }
        }
        pause().await;
    }
}

#[tokio::test]
async fn a_lack_of_descriptors_says_nothing_about_the_members_of_a_pool() {
    let echo = EchoOrigin::start().await;
    let hop = Proxy::start("chains: { default: [] }\n").await;
    let other = Proxy::start("chains: { default: [] }\n").await;
    let ports = [hop.address().port(), other.address().port()];
    // By address, and by a name that has to be looked up, for which files are read.
    for host in ["127.0.0.1", "localhost"] {
        let [one, two] =
            ports.map(|port| format!("{{ kind: http-connect, address: \"{host}:{port}\" }}"));
        let proxy = Proxy::start(&format!(
            "hops:\n  one: {one}\n  two: {two}\n  pool: {{ kind: pool, pick: round-robin, members: [one, two] }}\n\
             chains: {{ default: [pool] }}\n"
        ))
        .await;
        connect(proxy.address(), echo.address()).await.tunnel();
        let pid = status(proxy.address()).await["pid"].as_u64().unwrap();
        let limit = descriptors_of(pid);
        // Fewer and fewer, until a client fits and its upstream connection does not.
        let (mut descriptors, mut failed) = (resources(pid).0 as u64 + 5, 0);
        while failed < 3 {
            limit(descriptors);
            let answer = connect(proxy.address(), echo.address()).await;
            match answer.head.split(' ').nth(1) {
                Some("200") => descriptors -= 1,
                Some("503") => {
                    assert!(answer.head.contains("too many open files here"), "{}", answer.head);
                    failed += 1;
                }
                _ => panic!("{}", answer.head),
            }
        }
        limit(4096);
        for _ in 0..4 {
            connect(proxy.address(), echo.address()).await.tunnel();
        }
        let left = proxy.events().iter().any(|event| event.message() == "pool member left");
        assert!(!left, "{host}");
        let hops = &status(proxy.address()).await["hops"];
        assert!(!hops.to_string().contains("open files"), "{hops}");
    }
}

/// How many clients the process has accepted: half of its established TCP connections, of which each has two.
fn clients_accepted_by(pid: u64) -> usize {
    let folder = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let is_socket = |entry: &fs::DirEntry| {
        fs::read_link(entry.path()).is_ok_and(|link| link.to_string_lossy().starts_with("socket:"))
    };
    folder.flatten().filter(is_socket).count() / 2
}

/// Hundredths of a second of CPU that the process has used.
fn cpu_ticks(pid: u64) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// More clients than there are descriptors.
const CROWD: usize = 100;
const ROUNDS: usize = 10;
/// In each round.
const ABORTED: usize = 1000;
/// The memory that the allocator may keep after a round that had more of them at once than the first.
const GROWTH_KIB_MAX: u64 = 4 * 1024;
