//! Edits that are rejected, and the end of a rejection.

use std::fs;

use super::Toggle;
use crate::support::{Certificates, EchoOrigin, Proxy, connect, run};

#[tokio::test]
async fn a_broken_edit_changes_nothing() {
    let toggle = Toggle::new().await;
    let proxy = toggle.proxy(&[]).await;
    let echo = EchoOrigin::start().await;
    for (broken, place) in [
        ("chains: { default: []\n", "30-broken.yaml:"),
        ("hops:\n  corporate:\n    enabeld: false\n", "30-broken.yaml:3:5"),
        ("chains:\n  default: [nobody]\n", "30-broken.yaml:2:13"),
        ("hops:\n  corporate:\n    username: ${MOOLTIROUTE_TEST_UNSET}\n", "30-broken.yaml:3:15"),
        ("chains: { default: [] }\nhops: { corporate: { enabled: maybe } }\n", "30-broken.yaml:2:"),
    ] {
        let seen = proxy.events().len();
        proxy.config().write("30-broken.yaml", broken);
        let rejected = proxy.event_after(seen, "config rejected").await;
        assert!(rejected.text().contains(place), "{place}: {rejected:?}");
        toggle.assert_used(&proxy, true).await;

        let path = proxy.config().path().to_str().unwrap();
        let output = run(["check", "-c", path]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let words =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(words.contains(place), "{place}: {words}");
    }
    // The way out of it is another edit.
    let seen = proxy.events().len();
    proxy.config().write("30-broken.yaml", "chains: { default: [] }\n");
    proxy.event_after(seen, "config valid again").await;
    proxy.event_after(seen, "config reloaded").await;
    connect(proxy.address(), echo.address()).await.tunnel();
}

#[tokio::test]
async fn the_end_of_a_rejection_is_logged_if_nothing_else_changed() {
    let proxy = Proxy::start("chains: { default: [] }\n").await;
    for _ in 0..2 {
        let seen = proxy.events().len();
        proxy.config().write("30-broken.yaml", "chains: { default: [nobody] }\n");
        proxy.event_after(seen, "config rejected").await;
        proxy.config().write("30-broken.yaml", "x-nothing: here\n");
        proxy.event_after(seen, "config valid again").await;
        let event = proxy.event_after(seen, "config unchanged").await;
        assert_eq!(event.field("generation"), "1");
    }
    let seen = proxy.events().len();
    proxy.config().write("30-broken.yaml", "timeouts: { idle: 1h }\n");
    proxy.event_after(seen, "config reloaded").await;
    let said = proxy.events()[seen..].iter().any(|event| event.message() == "config valid again");
    assert!(!said, "nothing was rejected before");
}

#[tokio::test]
async fn every_problem_is_in_one_event() {
    let toggle = Toggle::new().await;
    let proxy = toggle.proxy(&[]).await;
    let broken = "hops:\n  one: { kind: http-conect, address: \"a.test:1\" }\n  two: { kind: http-connect }\n\
                  chains: { default: [nobody] }\ntimeouts: { idel: 1h }\n";
    proxy.config().write("30-broken.yaml", broken);
    let rejected = proxy.event("config rejected").await.field("problems");
    for place in
        ["30-broken.yaml:2:", "30-broken.yaml:3:", "30-broken.yaml:4:", "30-broken.yaml:5:"]
    {
        assert!(rejected.contains(place), "{place}: {rejected}");
    }
    toggle.assert_used(&proxy, true).await;
    proxy.config().write("30-broken.yaml", "timeouts: { idle: 1h }\n");
    proxy.event("config reloaded").await;
    let rejections =
        proxy.events().iter().filter(|event| event.message() == "config rejected").count();
    assert_eq!(rejections, 1);
}

#[tokio::test]
async fn each_edit_with_the_same_problems_is_told() {
    let proxy = Proxy::start("chains: { default: [] }\n").await;
    let write = |size: &str| {
        let yaml = format!("limits: {{ connections: {size} }}\n");
        proxy.config().write("30-broken.yaml", &yaml);
    };
    write("12MB");
    let rejected = proxy.event("config rejected").await.field("problems");
    let seen = proxy.events().len();
    write("13MB");
    let still = proxy.event_after(seen, "config still rejected").await;
    assert_eq!(still.field("problems"), rejected);
    assert!(still.field("changed").ends_with("30-broken.yaml"), "{still:?}");
    assert_eq!(still.field("skipped"), "0");
    // These follow within ten seconds, and the last one is logged anyway.
    let seen = proxy.events().len();
    for size in ["14MB", "15MB"] {
        write(size);
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    }
    let still = proxy.event_after(seen, "config still rejected").await;
    assert_eq!(still.field("skipped"), "1", "{still:?}");
    // Writing the same content again is not an edit.
    let seen = proxy.events().len();
    write("15MB");
    tokio::time::sleep(std::time::Duration::from_secs(12)).await;
    assert_eq!(proxy.events()[seen..].len(), 0, "{:?}", &proxy.events()[seen..]);
}

#[tokio::test]
async fn an_edit_of_a_list_is_told_while_another_file_is_invalid() {
    let proxy = Proxy::start("chains: { default: [] }\n").await;
    let list = proxy.config().path().join("list.txt");
    fs::write(&list, "a.test:1\n").unwrap();
    let hop = format!("hops: {{ exits: {{ kind: pool, members_from: {{ file: {list:?} }} }} }}\n");
    proxy.config().write("30-exits.yaml", &hop);
    proxy.event("config reloaded").await;
    // Neither file can be read as YAML in the second round, so nothing names the list then.
    for (file, yaml) in [("40-broken.yaml", "timeouts: [\n"), ("30-exits.yaml", "hops: [\n")] {
        let seen = proxy.events().len();
        proxy.config().write(file, yaml);
        let rejected = proxy.event_after(seen, "config rejected").await.field("problems");
        let seen = proxy.events().len();
        fs::write(&list, format!("b.test:1\n# {file}\n")).unwrap();
        let still = proxy.event_after(seen, "config still rejected").await;
        assert!(still.field("changed").ends_with("list.txt"), "{still:?}");
        assert_eq!(still.field("problems"), rejected);
    }
}

#[tokio::test]
async fn short_advice_is_a_part_of_the_line() {
    let proxy = Proxy::start("chains: { default: [] }\n").await;
    proxy.config().write("30-broken.yaml", "timeouts: { idel: 1h }\n");
    let problems = proxy.event("config rejected").await.field("problems");
    assert!(problems.ends_with("(did you mean `idle`?)"), "{problems}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_file_that_the_user_may_not_read_is_logged_with_the_remedy_of_check() {
    use std::os::unix::fs::PermissionsExt as _;

    use crate::support::{OtherUser, within};

    let Some(user) = OtherUser::find(64_323) else { return };
    let path = |name: &str| user.directory.path().join(name);
    let set_mode = |name: &str, mode| {
        fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    fs::create_dir(path("closed")).unwrap();
    for (name, mode) in [("secret", 0o600), ("closed/secret", 0o644), ("closed", 0o700)] {
        if name != "closed" {
            fs::write(path(name), "s3cret").unwrap();
        }
        set_mode(name, mode);
    }
    let (mut child, mut lines) = user.start(&[]);
    let mut line_with = async |words: &str| {
        loop {
            let line = within(words, lines.next_line()).await.unwrap();
            let line = line.unwrap_or_else(|| panic!("the log ends without {words}"));
            if line.contains(words) {
                break line;
            }
        }
    };
    line_with("listening address=").await;
    let direct = fs::read_to_string(&user.config).unwrap();
    let with = |file: &str| {
        format!(
            "{direct}hops: {{ a: {{ kind: http-connect, address: \"a.test:1\", username: u, \
             password_file: {file} }} }}\n"
        )
    };
    let give = "give the file to this user (`chown 64323 FILE`, mode 0600)";
    let cases = [
        (Some("secret"), give),
        (Some("closed/secret"), "move the file to a directory that this user can enter"),
        (None, give),
    ];
    for (file, remedy) in cases {
        match file {
            Some(file) => fs::write(&user.config, with(file)).unwrap(),
            None => set_mode("config.yaml", 0o600),
        }
        let rejected = line_with("config rejected").await;
        assert!(rejected.contains(remedy), "{file:?}: {rejected}");
        let check = user
            .command(path("program").to_str().unwrap())
            .arg("check")
            .arg("-c")
            .arg(&user.config)
            .output();
        let check = String::from_utf8(within("check", check).await.unwrap().stdout).unwrap();
        assert!(check.contains(remedy), "{file:?}: {check}");
    }
    set_mode("config.yaml", 0o644);
    fs::write(&user.config, &direct).unwrap();
    line_with("config valid again").await;
    assert!(child.try_wait().unwrap().is_none());
}

#[tokio::test]
async fn a_missing_file_of_a_hop_rejects_the_reload() {
    let toggle = Toggle::new().await;
    let proxy = toggle.proxy(&[]).await;
    for (file, yaml) in
        [("authority.pem", "tls: { ca: FILE }"), ("password", "username: ann, password_file: FILE")]
    {
        let path = proxy.config().path().join(file);
        let yaml = yaml.replace("FILE", &format!("{:?}", path.to_str().unwrap()));
        let yaml =
            format!("hops: {{ more: {{ kind: http-connect, address: \"a.test:1\", {yaml} }} }}\n");
        let seen = proxy.events().len();
        proxy.config().write("30-more.yaml", &yaml);
        let rejected = proxy.event_after(seen, "config rejected").await;
        assert!(rejected.text().contains(file), "{rejected:?}");
        toggle.assert_used(&proxy, true).await;
        // Its coming is a change, too, where it stands beside the configuration.
        let content = fs::read_to_string(Certificates::new().authority_file()).unwrap();
        // A password is one line. On Windows, two characters end each line of a certificate.
        let is_password = file == "password";
        let content = if is_password { content.replace(['\r', '\n'], "") } else { content };
        proxy.config().write(file, &content);
        proxy.event_after(seen, "config reloaded").await;
        toggle.assert_used(&proxy, true).await;
    }
}
