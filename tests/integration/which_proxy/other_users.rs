//! Proxies and files of other users.

use std::fs;

use super::ONE_CONDITION;
use crate::support::{ConfigDir, outcome};

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_of_another_user_takes_an_edit_and_no_orders() {
    use std::os::unix::fs::chown;

    const SOMEONE: u32 = 65534;
    if !rustix::process::geteuid().is_root() {
        return crate::support::skip("a second user (this needs root)");
    }
    let Some(setpriv) = crate::support::Program::find_or_skip("setpriv") else { return };
    let port = crate::support::free_port();
    let config = ConfigDir::new(ONE_CONDITION);
    config.write("00-server.yaml", &format!("server: {{ listen: \"127.0.0.1:{port}\" }}\n"));
    let runtime = tempfile::tempdir().unwrap();
    let own = tempfile::tempdir().unwrap();
    let open = |path: &std::path::Path| {
        chown(path, Some(SOMEONE), Some(SOMEONE)).unwrap();
    };
    open(runtime.path());
    open(config.path());
    for file in std::fs::read_dir(config.path()).unwrap() {
        open(&file.unwrap().path());
    }
    let id = SOMEONE.to_string();
    let mut theirs = std::process::Command::new(setpriv.path());
    theirs.args(["--reuid", &id, "--regid", &id, "--clear-groups"]);
    let copy = runtime.path().join("program");
    std::fs::copy(env!("CARGO_BIN_EXE_mooltiroute"), &copy).unwrap();
    std::fs::set_permissions(&copy, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    theirs.arg(&copy).arg("run").arg("-c").arg(config.path());
    theirs.env("XDG_RUNTIME_DIR", runtime.path()).env("XDG_STATE_HOME", runtime.path());
    let mut theirs = theirs.stderr(std::process::Stdio::null()).spawn().unwrap();
    let path = config.path().to_str().unwrap().to_owned();
    let command = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_mooltiroute"));
        command.args(arguments).env("XDG_STATE_HOME", own.path());
        command.env("XDG_RUNTIME_DIR", own.path()).env("TMPDIR", own.path());
        outcome(&command.output().unwrap())
    };
    crate::support::within("the proxy of the other user runs", async {
        while command(&["status", "-c", &path]).0 != Some(0) {
            crate::support::pause().await;
        }
    })
    .await;
    let (code, out, error) = command(&["hop", "b", "off", "-c", &path]);
    assert_eq!(code, Some(0), "{error}");
    let words = "b is off; generation 2 is in force in process ";
    assert!(out.contains(words) && out.contains("which belongs to `"), "{out}{error}");
    for arguments in [
        &["reload", "-c", &path][..],
        &["ps", "-c", &path],
        &["usage", "-c", &path],
        &["hop", "b", "on", "--pid", &theirs.id().to_string()],
    ] {
        let (code, out, error) = command(arguments);
        assert_eq!(code, Some(1), "{out}");
        assert!(error.contains("belongs to the user `") && error.contains("sudo -u "), "{error}");
        assert!(!error.contains("removed") && !error.contains("nothing was counted"), "{error}");
    }
    for flags in [&[][..], &["--take-over"]] {
        let listen = format!("127.0.0.1:{port}");
        let run = [&["run", "--listen", &listen, "--hop", "http://a.test:1"], flags].concat();
        let (code, _, error) = command(&run);
        assert_eq!(code, Some(1), "{error}");
        assert!(error.contains("Mooltiroute runs there already, as process "), "{error}");
        assert!(error.contains("only a proxy of the same user"), "{error}");
    }
    theirs.kill().unwrap();
    theirs.wait().unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn rights_that_are_missing_for_an_edit_are_named() {
    use std::os::unix::fs::{PermissionsExt as _, chown};

    if !rustix::process::geteuid().is_root() {
        return crate::support::skip("a second user (this needs root)");
    }
    let Some(setpriv) = crate::support::Program::find_or_skip("setpriv") else { return };
    let config = ConfigDir::new(ONE_CONDITION);
    let file = config.path().join("10-test.yaml");
    let copy = tempfile::tempdir().unwrap();
    std::fs::set_permissions(copy.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let program = copy.path().join("program");
    std::fs::copy(env!("CARGO_BIN_EXE_mooltiroute"), &program).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    chown(&file, Some(1), Some(65534)).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o664)).unwrap();
    for (owner, words) in [(0, "it needs that of `"), (65534, "The file belongs to `")] {
        chown(config.path(), Some(owner), Some(65534)).unwrap();
        std::fs::set_permissions(config.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = std::process::Command::new(setpriv.path());
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        command.arg(&program).args(["hop", "b", "off", "-c"]).arg(config.path());
        command.env("XDG_STATE_HOME", copy.path()).env("XDG_RUNTIME_DIR", copy.path());
        let (code, out, error) = outcome(&command.output().unwrap());
        assert_eq!(code, Some(1), "{out}");
        assert!(error.contains("nothing was changed") && error.contains(words), "{error}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_password_file_of_another_user_is_no_reason_to_open_it() {
    use std::os::unix::fs::PermissionsExt as _;

    if !rustix::process::geteuid().is_root() {
        return crate::support::skip("a second user (this needs root)");
    }
    let Some(setpriv) = crate::support::Program::find_or_skip("setpriv") else { return };
    let set = |path: &std::path::Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let config = ConfigDir::new(
        "hops: { a: { kind: http-connect, address: \"a.test:1\", username: u, password_file: word } }\n\
         chains: { default: [a] }\n",
    );
    set(config.path(), 0o755);
    fs::write(config.path().join("word"), "canary").unwrap();
    set(&config.path().join("word"), 0o600);
    let copy = tempfile::tempdir().unwrap();
    set(copy.path(), 0o777);
    let program = copy.path().join("program");
    fs::copy(env!("CARGO_BIN_EXE_mooltiroute"), &program).unwrap();
    set(&program, 0o755);
    let mut command = std::process::Command::new(setpriv.path());
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    command.arg(&program).args(["hop", "a", "off", "-c"]).arg(config.path());
    command.env("XDG_STATE_HOME", copy.path()).env("XDG_RUNTIME_DIR", copy.path());
    let (code, out, error) = outcome(&command.output().unwrap());
    assert_eq!((code, out.as_str()), (Some(1), ""), "{error}");
    assert!(error.contains("belong to `root`") && error.contains("sudo -u root"), "{error}");
    assert!(!error.contains("needs the right"), "{error}");
}
