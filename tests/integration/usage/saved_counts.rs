//! Counts outlive the process, and a file that fails costs no request.

use std::fs;

#[cfg(unix)]
use rustix::process::Signal;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

#[cfg(unix)]
use super::wire;
use super::{one_hop, opening_double};
use crate::support::{ConfigDir, Proxy, connect, pause, within};
#[cfg(unix)]
use crate::support::{EchoOrigin, head, open, ping};

#[cfg(unix)]
#[tokio::test]
async fn two_proxies_with_one_configuration_count_in_one_file() {
    let double = opening_double().await;
    let yaml = one_hop("exit", double.address(), ", budget: { bytes: 1GiB, per: month }");
    let mut one = Proxy::start(&yaml).await;
    let mut two = Proxy::on_files_of(&one, &["--listen", "127.0.0.1:0"]).await;
    for proxy in [&one, &two, &one] {
        drop(connect(proxy.address(), "target.test:443").await.tunnel());
    }
    let (first, second) = (wire(&one, "exit").await, wire(&two, "exit").await);
    for proxy in [&mut two, &mut one] {
        proxy.signal(Signal::TERM);
        assert_eq!(proxy.exit().await.code(), Some(0));
    }
    let saved: Value =
        serde_json::from_str(&fs::read_to_string(only_file(one.config())).unwrap()).unwrap();
    let exit = &saved["hops"]["exit"];
    assert_eq!(exit["requests"], 3, "{saved:#}");
    // All tunnels are alike, so the three were billed as three times the one.
    let (sent, received) = (exit["sent"].as_u64().unwrap(), exit["received"].as_u64().unwrap());
    assert!(sent >= first.0 + second.0 && sent % 3 == 0, "{saved:#}");
    assert_eq!(saved["budgets"]["exit"]["used"], sent + received, "{saved:#}");
}

#[cfg(unix)]
#[tokio::test]
async fn usage_outlives_the_process_and_is_shown_by_purpose() {
    use std::os::unix::fs::PermissionsExt as _;

    let hop = opening_double().await;
    let by_client = format!(
        "hops: {{ exit: {{ kind: webshare, address: \"{}\", username: dev, password: secret, sessions: by-client }} }}\n\
         chains: {{ default: [exit] }}\n",
        hop.address()
    );
    let mut proxy = Proxy::start(&by_client).await;
    let request = "CONNECT target.test:443 HTTP/1.1\r\nHost: target.test\r\n\
                   Proxy-Authorization: Basic c2Vzc2lvbi1hbGljZTp4\r\n\r\n";
    let mut tunnel = open(proxy.address()).await;
    tunnel.write_all(request.as_bytes()).await.unwrap();
    head(&mut tunnel).await;
    tunnel.write_all(b"12345").await.unwrap();
    drop(tunnel);
    proxy.event("tunnel closed").await;
    let counted = wire(&proxy, "exit").await;
    assert!(counted.0 > 100 && counted.1 == 19, "{counted:?}");
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.exit().await.code(), Some(0));

    let path = proxy.config().path().to_owned();
    let told = |by: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_mooltiroute"));
        crate::support::in_runtime(&mut command, proxy.config().runtime());
        command.env("XDG_STATE_HOME", path.join(".state"));
        command.args(["usage", "-c"]).arg(&path).args(by);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let json: Value = serde_json::from_str(&told(&["--format", "json"])).unwrap();
    for (sort, name) in [
        ("hops", "exit"),
        ("chains", "default"),
        ("routes", "everything -> default"),
        ("sessions", "alice"),
        ("targets", "target.test:443"),
    ] {
        let sum = &json[sort][name];
        let found = (sum["sent"].as_u64(), sum["received"].as_u64(), sum["requests"].as_u64());
        assert_eq!(found, (Some(counted.0), Some(counted.1), Some(1)), "{sort}: {json:#}");
    }
    assert!(told(&["--by", "session"]).contains("alice"), "{}", told(&["--by", "session"]));
    assert!(told(&[]).contains("exit"), "{}", told(&[]));
    // One file, which only its owner can read.
    let mode = fs::metadata(only_file(proxy.config())).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{mode:o}");

    let again = Proxy::at(&path).await;
    assert_eq!(wire(&again, "exit").await, counted);
}

#[tokio::test]
async fn a_killed_proxy_loses_a_few_seconds_and_never_its_file() {
    let hop = opening_double().await;
    let config = ConfigDir::new(&one_hop("exit", hop.address(), ""));
    let mut proxy = Proxy::on(config, &[]).await;
    let mut tunnel = connect(proxy.address(), "target.test:443").await.tunnel();
    tunnel.write_all(b"12345").await.unwrap();
    let first =
        saved(proxy.config(), |saved| saved["hops"]["exit"]["sent"].as_u64() > Some(0)).await;
    proxy.kill().await;
    let kept = saved(proxy.config(), |_| true).await;
    assert_eq!(kept["hops"], first["hops"]);
}

#[cfg(unix)]
#[tokio::test]
async fn an_unwritable_state_directory_is_logged_once_and_costs_no_request() {
    let echo = EchoOrigin::start().await;
    let config = ConfigDir::new("chains: { default: [] }\n");
    // A file where the directory would be, as a full disk would refuse it.
    fs::write(config.path().join(".state"), "").unwrap();
    let mut proxy = Proxy::on(config, &[]).await;
    let mut tunnel = connect(proxy.address(), echo.address()).await.tunnel();
    ping(&mut tunnel).await;
    let event = proxy.event("usage can't be saved; requests go on, and it is tried again").await;
    assert!(event.field("advice").starts_with("set XDG_STATE_HOME to a directory"), "{event:?}");
    ping(&mut tunnel).await;
    drop(tunnel);
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.exit().await.code(), Some(0));
    let complaints =
        proxy.events().iter().filter(|event| event.text().contains("be saved")).count();
    assert_eq!(complaints, 1);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_costs_no_request_and_no_count() {
    let hop = opening_double().await;
    let config = ConfigDir::new(&one_hop("exit", hop.address(), ""));
    let Some(mut proxy) = Proxy::on_full_disk(config).await else { return };
    let state = proxy.state();
    let mut tunnel = connect(proxy.address(), "a.example:1").await.tunnel();
    tunnel.write_all(&[b'x'; 1000]).await.unwrap();
    let event = proxy.event("usage can't be saved; requests go on, and it is tried again").await;
    assert!(event.text().contains("No space left on device"), "{}", event.text());
    assert_eq!(event.field("advice"), "free space on the disk of this directory");
    drop(connect(proxy.address(), "a.example:1").await.tunnel());
    fs::remove_file(state.join("fill")).unwrap();
    within("the counts are saved", async {
        loop {
            let files = fs::read_dir(state.join("mooltiroute")).into_iter().flatten().flatten();
            let texts = files.filter_map(|file| fs::read_to_string(file.path()).ok());
            let mut saved = texts.filter_map(|text| serde_json::from_str::<Value>(&text).ok());
            if saved.any(|saved| saved["hops"]["exit"]["sent"].as_u64() > Some(1000)) {
                return;
            }
            pause().await;
        }
    })
    .await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_limit_on_the_size_of_files_ends_no_proxy() {
    let echo = EchoOrigin::start().await;
    let config = ConfigDir::new("chains: { default: [] }\n");
    let mut proxy = Proxy::without_file_size(config).await;
    let mut tunnel = connect(proxy.address(), echo.address()).await.tunnel();
    ping(&mut tunnel).await;
    let event = proxy.event("usage can't be saved; requests go on, and it is tried again").await;
    assert!(event.text().contains("File too large"), "{}", event.text());
    ping(&mut tunnel).await;
    drop(tunnel);
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.exit().await.code(), Some(0));
}

/// To open a pipe waits for its other end, which nobody opens here.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_pipe_in_place_of_the_file_holds_up_nothing() {
    let (_hop, proxy, file) = ended_after_a_tunnel().await;
    fs::remove_file(&file).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());

    let again = Proxy::at(proxy.config().path()).await;
    let warning =
        again.event("usage and budgets begin at zero: the file of earlier counts is damaged").await;
    assert!(warning.text().contains("it is not a file"), "{}", warning.text());
    within("a request", connect(again.address(), "target.test:443")).await.tunnel();
    saved(proxy.config(), |saved| saved["hops"]["exit"]["requests"] == 1).await;
    assert!(file.is_file());
}

#[cfg(unix)]
#[tokio::test]
async fn counts_with_a_beginning_after_all_time_are_shown() {
    let (_hop, proxy, file) = ended_after_a_tunnel().await;
    let record: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    for since in [9_999_999_999_999, u64::MAX] {
        let mut record = record.clone();
        record["since"] = since.into();
        for direction in ["sent", "received"] {
            record["hops"]["exit"][direction] = u64::MAX.into();
        }
        fs::write(&file, record.to_string()).unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_mooltiroute"));
        crate::support::in_runtime(&mut command, proxy.config().runtime());
        command.env("XDG_STATE_HOME", proxy.config().path().join(".state"));
        command.args(["usage", "-c"]).arg(proxy.config().path());
        let (code, out, error) = crate::support::outcome(&command.output().unwrap());
        assert_eq!(code, Some(0), "{error}");
        assert!(out.starts_with("since 9999-12-31T23:59:59Z\n"), "{out}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn an_unreadable_file_is_set_aside_and_counting_goes_on() {
    let (_hop, proxy, file) = ended_after_a_tunnel().await;
    assert!(file.extension().is_some_and(|end| end == "json"), "{file:?}");
    fs::write(&file, "{").unwrap();

    let again = Proxy::at(proxy.config().path()).await;
    let warning =
        again.event("usage and budgets begin at zero: the file of earlier counts is damaged").await;
    assert_eq!(wire(&again, "exit").await, (0, 0));
    let aside = file.with_extension("json.unreadable");
    assert_eq!(warning.field("aside"), aside.display().to_string());
    assert_eq!(fs::read_to_string(&aside).unwrap(), "{");
    drop(connect(again.address(), "target.test:443").await.tunnel());
    again.event("tunnel closed").await;
    let counted = wire(&again, "exit").await;
    let has_all = |saved: &Value| saved["hops"]["exit"]["sent"].as_u64() == Some(counted.0);
    saved(proxy.config(), has_all).await;
    assert!(file.is_file());
}

/// A proxy that ran once with `sudo` leaves such a file.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_file_of_counts_that_this_user_may_not_read_is_kept_and_added_later() {
    use std::{os::unix::fs::chown, path::Path};

    use crate::support::OtherUser;

    const USER: u32 = 64_324;
    let Some(user) = OtherUser::find(USER) else { return };
    let echo = EchoOrigin::start().await;
    let state = user.directory.path().join("state");
    fs::create_dir(&state).unwrap();
    chown(&state, Some(USER), Some(USER)).unwrap();
    let variable = format!("XDG_STATE_HOME={}", state.display());
    let served = async || {
        let (child, mut lines) = user.start(&["env", &variable]);
        let mut log = Vec::new();
        let address = loop {
            let line = within("the address", lines.next_line()).await.unwrap().unwrap();
            let address = line.split_once("listening address=").map(|(_, address)| address.parse());
            log.push(line);
            if let Some(address) = address {
                break address.unwrap();
            }
        };
        ping(&mut connect(address, echo.address()).await.tunnel()).await;
        (child, lines, log)
    };
    let requests = |file: &Path| {
        let saved: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
        saved["chains"]["default"]["requests"].as_u64()
    };
    let ends = async |mut child: tokio::process::Child| {
        let process = rustix::process::Pid::from_raw(child.id().unwrap() as i32).unwrap();
        rustix::process::kill_process(process, Signal::TERM).unwrap();
        assert_eq!(within("its end", child.wait()).await.unwrap().code(), Some(0));
    };
    let (child, _lines, _) = served().await;
    ends(child).await;
    let directory = state.join("mooltiroute");
    let file = fs::read_dir(&directory).unwrap().next().unwrap().unwrap().path();
    assert_eq!(requests(&file), Some(1));

    chown(&file, Some(0), Some(0)).unwrap();
    for _ in 0..2 {
        let (child, mut lines, mut log) = served().await;
        ends(child).await;
        while let Some(line) = lines.next_line().await.unwrap() {
            log.push(line);
        }
        let told: Vec<_> =
            log.iter().filter(|line| line.contains("counts can't be read now")).collect();
        let [told] = told.as_slice() else { panic!("{log:#?}") };
        assert!(told.contains("the file belongs to 0"), "{told}");
        let command = format!("`sudo chown -R {USER} '{}'`", directory.display());
        assert!(told.contains(&command), "{told}");
        assert_eq!(requests(&file), Some(1), "it is as it was");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    }
    let (child, _lines, _) = served().await;
    chown(&file, Some(USER), Some(USER)).unwrap();
    within("both counts are saved", async {
        while requests(&file) != Some(2) {
            pause().await;
        }
    })
    .await;
    ends(child).await;
}

/// The file is fine, and only this process can't open one more. How many are too few for that depends on the system.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_start_with_too_few_descriptors_loses_no_counts() {
    let (_hop, proxy, file) = ended_after_a_tunnel().await;
    let hops = || -> Value {
        let saved: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        saved["hops"].clone()
    };
    let counted = hops();
    let starts = (8..20).map(|descriptors| {
        let mut command = std::process::Command::new("sh");
        crate::support::in_runtime(&mut command, proxy.config().runtime());
        command.env("XDG_STATE_HOME", proxy.config().path().join(".state"));
        let script = format!(
            "ulimit -n {descriptors}; exec timeout 3 \"$0\" run -c \"$1\" --listen 127.0.0.1:0"
        );
        command.args(["-c", &script, env!("CARGO_BIN_EXE_mooltiroute")]).arg(proxy.config().path());
        command.stderr(std::process::Stdio::piped()).spawn().unwrap()
    });
    let starts: Vec<_> = starts.collect();
    let logs: String = starts
        .into_iter()
        .map(|start| String::from_utf8(start.wait_with_output().unwrap().stderr).unwrap())
        .collect();
    assert!(
        logs.contains(
            "usage and budgets begin at zero: the file of earlier counts can't be read now"
        ),
        "{logs}"
    );
    assert_eq!(hops(), counted, "{logs}");
    assert!(!file.with_extension("json.unreadable").exists(), "{logs}");
}

/// Returns a proxy that was ended after one tunnel through its hop, with the hop and the file of its counts.
#[cfg(unix)]
async fn ended_after_a_tunnel() -> (crate::support::Double, Proxy, std::path::PathBuf) {
    let hop = opening_double().await;
    let mut proxy = Proxy::start(&one_hop("exit", hop.address(), "")).await;
    drop(connect(proxy.address(), "target.test:443").await.tunnel());
    proxy.event("tunnel closed").await;
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.exit().await.code(), Some(0));
    let file = only_file(proxy.config());
    (hop, proxy, file)
}

/// Returns the only file in the state directory of a proxy with this configuration.
#[cfg(unix)]
fn only_file(config: &ConfigDir) -> std::path::PathBuf {
    let files = fs::read_dir(config.path().join(".state/mooltiroute")).unwrap();
    let files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    let [file] = files.as_slice() else { panic!("{files:?}") };
    file.clone()
}

/// Waits until the saved counts satisfy `is_it`, and returns them.
async fn saved(config: &ConfigDir, is_it: impl Fn(&Value) -> bool) -> Value {
    let directory = config.path().join(".state/mooltiroute");
    within("usage is saved", async {
        loop {
            let files = fs::read_dir(&directory).into_iter().flatten().flatten();
            let texts =
                files.filter(|file| file.path().extension().is_some_and(|end| end == "json"));
            let mut texts = texts.filter_map(|file| fs::read_to_string(file.path()).ok());
            // There is never a part of a file: whatever is there can be read.
            let saved = texts.next().map(|text| serde_json::from_str(&text).unwrap());
            if let Some(saved) = saved.filter(&is_it) {
                return saved;
            }
            pause().await;
        }
    })
    .await
}
