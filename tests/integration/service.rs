//! `service`: the proxy starts with its user's session.
#![cfg(target_os = "linux")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

use crate::support::{ConfigDir, Program, run};

/// A user whose `systemctl` records its arguments, and fails for those that the test chooses.
struct User(TempDir);

impl User {
    fn new() -> Self {
        let user = Self(tempfile::tempdir().unwrap());
        let tool = user.path("bin/systemctl");
        fs::create_dir_all(tool.parent().unwrap()).unwrap();
        let script = format!(
            "#!/bin/sh\necho \"$*\" >> '{0}/told'\nif grep -qs -- \"$2\" '{0}/fails'; then echo broken >&2; exit 1; fi\n",
            user.0.path().display()
        );
        fs::write(&tool, script).unwrap();
        fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
        user
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    fn unit(&self) -> PathBuf {
        self.path("config/systemd/user/mooltiroute.service")
    }

    fn told(&self) -> String {
        fs::read_to_string(self.path("told")).unwrap_or_default()
    }

    fn run(&self, config: &Path, arguments: &[&str]) -> Output {
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        let mut command = Command::new(env!("CARGO_BIN_EXE_mooltiroute"));
        command.env("PATH", path).env("XDG_CONFIG_HOME", self.path("config"));
        command.arg("service").args(arguments).arg("-c").arg(config).output().unwrap()
    }
}

#[test]
fn a_service_is_installed_changed_and_removed() {
    let (user, config) = (User::new(), ConfigDir::new("chains: { default: [] }\n"));
    let printed = user.run(config.path(), &["install", "--print"]);
    assert_eq!((printed.status.code(), user.told()), (Some(0), String::new()));
    assert!(!user.unit().exists());
    for _ in 0..2 {
        let installed = user.run(config.path(), &["install"]);
        assert_eq!(installed.status.code(), Some(0), "{installed:?}");
        assert_eq!(fs::read(user.unit()).unwrap(), printed.stdout);
    }
    let told = "--user daemon-reload\n--user enable mooltiroute.service\n--user restart mooltiroute.service\n";
    assert_eq!(user.told(), told.repeat(2));
    let line = fs::read_to_string(user.unit()).unwrap();
    assert!(
        line.contains(&format!("\"-c\" \"{}\"\n", config.path().canonicalize().unwrap().display())),
        "{line}"
    );
    assert_eq!(user.run(config.path(), &["status"]).status.code(), Some(0));
    assert_eq!(user.run(config.path(), &["uninstall"]).status.code(), Some(0));
    assert!(!user.unit().exists() && user.told().contains("disable --now"));
}

#[test]
fn an_invalid_configuration_is_not_installed() {
    let (user, config) = (User::new(), ConfigDir::new("chains: { default: [nowhere] }\n"));
    let refused = user.run(config.path(), &["install"]);
    let said = words(&refused);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(
        said.contains("unknown hop") && said.contains("the service is not installed"),
        "{said}"
    );
    assert!(!user.unit().exists() && user.told().is_empty(), "{said}");
    let printed = user.run(config.path(), &["install", "--print"]);
    let said = words(&printed);
    assert!(printed.status.success() && printed.stdout.starts_with(b"# Written by"), "{said}");
    assert!(said.contains("unknown hop") && said.contains("would not start"), "{said}");
}

#[test]
fn only_variables_that_the_service_lacks_are_named() {
    let user = User::new();
    let config = ConfigDir::new(
        "hops: { a: { kind: socks5, address: \"${A_HOST}:1\", username: \"${A_USER}\", password: \"${A_PASS:-x}\" }, \
         b: { kind: socks5, enabled: false, address: \"${OFF_HOST:-b.test}:1\", username: \"${OFF_USER}\" } }\n\
         chains: { default: [a, b] }\n",
    );
    let file = user.path("config/mooltiroute/environment");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    for (content, expected, unexpected) in [
        ("A_HOST=a.test\nA_USER='CORP\\joe'\nA_PASS=x\n", "", "environment"),
        ("A_HOST=a.test\nA_PASS=x\n", "uses ${A_USER}, which", "A_HOST"),
        ("A_HOST=a.test\n", "so the service can't start", "A_HOST"),
        ("A_HOST=a.test\nA_USER=u\n", "so the defaults in the configuration count", "A_USER"),
        ("A_HOST=a.test\nA_USER=u\n", "uses ${A_PASS}, which", "OFF_USER"),
        ("A_HOST=a.test\nexport A_USER=s3cret\n", "line 2 begins with `export`", "s3cret"),
        ("A_HOST=a.test\nA_USER=CORP\\s3cret\n", "line 2 has a `\\` outside", "s3cret"),
    ] {
        fs::write(&file, content).unwrap();
        let installed = user.run(config.path(), &["install"]);
        let said = words(&installed);
        assert!(installed.status.success() && said.contains(expected), "{content}: {said}");
        assert!(!said.contains(unexpected), "{content}: {said}");
        assert_eq!(said.is_empty(), expected.is_empty(), "{content}: {said}");
    }
}

/// Returns what the command wrote to standard error, with single blanks.
fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn uninstalling_runs_nothing_if_no_service_was_installed() {
    let (user, config) = (User::new(), ConfigDir::new("chains: { default: [] }\n"));
    // A unit of this name may come from a package. It is not ours to stop.
    let uninstalled = user.run(config.path(), &["uninstall"]);
    assert_eq!(uninstalled.status.code(), Some(0), "{uninstalled:?}");
    assert_eq!(uninstalled.stdout, b"no service was installed\n");
    assert_eq!(user.told(), "");
}

#[test]
fn only_the_installation_can_be_printed() {
    let (user, config) = (User::new(), ConfigDir::new("chains: { default: [] }\n"));
    assert_eq!(user.run(config.path(), &["install"]).status.code(), Some(0));
    let (unit, told) = (fs::read(user.unit()).unwrap(), user.told());
    for action in ["uninstall", "status"] {
        let refused = user.run(config.path(), &[action, "--print"]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{action}: {said}");
        assert!(said.contains("`--print` goes with `install`"), "{action}: {said}");
        assert_eq!((fs::read(user.unit()).unwrap(), user.told()), (unit.clone(), told.clone()));
    }
}

#[test]
fn a_service_of_someone_else_is_left_alone_and_failures_are_told() {
    let (user, config) = (User::new(), ConfigDir::new("chains: { default: [] }\n"));
    fs::create_dir_all(user.unit().parent().unwrap()).unwrap();
    fs::write(user.unit(), "[Service]\nExecStart=/bin/true\n").unwrap();
    for action in ["install", "uninstall"] {
        let refused = user.run(config.path(), &[action]);
        assert_eq!(refused.status.code(), Some(1), "{action}: {refused:?}");
        assert!(fs::read_to_string(user.unit()).unwrap().contains("/bin/true"));
        assert_eq!(user.told(), "", "{action}");
    }
    fs::remove_file(user.unit()).unwrap();
    fs::write(user.path("fails"), "restart\n").unwrap();
    let failed = user.run(config.path(), &["install"]);
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert_eq!(failed.status.code(), Some(1));
    assert!(said.contains("systemctl --user restart") && said.contains("broken"), "{said}");
    let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let unit = user.unit();
    assert!(words.contains(&format!("its definition is `{}`", unit.display())), "{said}");
    assert!(words.contains("start `mooltiroute run` in another way"), "{said}");
    assert_eq!(user.run(config.path(), &["status"]).status.code(), Some(0));
    fs::write(user.path("fails"), "--no-pager\n").unwrap();
    let failed = user.run(config.path(), &["status"]);
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert_eq!(failed.status.code(), Some(1));
    assert!(said.contains("the service does not run") && said.contains("broken"), "{said}");
}

#[test]
fn a_user_without_a_service_manager_learns_how_to_get_one() {
    let (user, config) = (User::new(), ConfigDir::new("chains: { default: [] }\n"));
    assert_eq!(user.run(config.path(), &["install"]).status.code(), Some(0));
    let script = "#!/bin/sh\necho 'Failed to connect to bus: No medium found' >&2; exit 1\n";
    fs::write(user.path("bin/systemctl"), script).unwrap();
    for (action, words) in [
        ("install", "is not in force"),
        ("status", "Log in as this user"),
        ("uninstall", "is removed"),
    ] {
        let failed = user.run(config.path(), &[action]);
        let said = String::from_utf8_lossy(&failed.stderr).into_owned();
        assert_eq!(
            (failed.status.code(), &*failed.stdout),
            (Some(1), &b""[..]),
            "{action}: {said}"
        );
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            said.contains("loginctl enable-linger") && said.contains(words),
            "{action}: {said}"
        );
        assert!(action != "status" || !said.contains("service install"), "{said}");
    }
    assert!(!user.unit().exists());
}

#[test]
fn systemd_accepts_the_unit() {
    let Some(verify) = Program::find_or_skip("systemd-analyze") else { return };
    let config = ConfigDir::new("chains: { default: [] }\n");
    let path = config.path().to_str().unwrap();
    let printed = run(["service", "install", "--print", "-c", path]);
    let directory = tempfile::tempdir().unwrap();
    let unit = directory.path().join("mooltiroute.service");
    fs::write(&unit, printed.stdout).unwrap();
    let verified =
        Command::new(verify.path()).args(["--user", "verify"]).arg(&unit).output().unwrap();
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    // Complaints about other units of the machine don't count.
    assert!(!said.contains("mooltiroute.service:"), "{said}");
}
