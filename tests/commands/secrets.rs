//! No command shows a secret, and `check` warns of files that others can read.

use std::fs;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{CANARY, CONFIG, command, directory, said};

#[test]
fn no_command_shows_a_secret() {
    let mistakes = [
        ("address: \"proxy.corp.example:3128\"", "address: \"joe:cAnArY-5eCr3t@proxy:1\""),
        ("address: \"proxy.corp.example:3128\"", "address: \"http://joe:cAnArY-5eCr3t@proxy\""),
        ("kind: http-connect", "kind: cAnArY-5eCr3t@"),
        ("username: joe", "cAnArY-5eCr3t: joe"),
        ("username: joe", "username: { cAnArY-5eCr3t: 1 }"),
        ("password_file: secret", "password: a, cAnArY-5eCr3t"),
        ("password_file: secret", "password: [cAnArY-5eCr3t]"),
        ("password_file: secret", "password: \"cAnArY-5eCr3t\\n\""),
        ("password_file: secret", "pasword: cAnArY-5eCr3t"),
        ("password_file: secret", "password: !x cAnArY-5eCr3t"),
        ("password_file: secret", "password: @cAnArY-5eCr3t"),
        ("password_file: secret", "password: cAnArY-5eCr3t, password: cAnArY-5eCr3t"),
        ("password_file: secret", "password_file: secret, password: cAnArY-5eCr3t"),
        ("${CORP_PASSWORD}", "cAnArY-5eCr3t${UNSET}"),
        ("${CORP_PASSWORD}", "cAnArY-5eCr3t${"),
        ("\"${CORP_USER}\"", "\"${CORP_USER}:\""),
        ("corporate: {", "corporate: { tls: \"${CORP_USER}\","),
        ("chains:", "chains:\n  inside: [\"${CORP_USER}\"]"),
        ("chains:", "log: { level: \"${CORP_USER}\" }\nchains:"),
        ("", ""),
    ];
    for (right, wrong) in mistakes {
        let directory = directory();
        let text = CONFIG.replacen(right, wrong, 1);
        fs::write(directory.path().join("a.yaml"), &text).unwrap();
        for arguments in [
            &["check", "-c", "a.yaml"][..],
            &["check", "-c", "a.yaml", "--format", "json"],
            &["explain", "https://www.example.com/", "-c", "a.yaml"],
            &[
                "explain",
                "http://joe:cAnArY-5eCr3t@www.example.com/",
                "-c",
                "a.yaml",
                "--format",
                "json",
            ],
            &["init", "made"],
            &["schema"],
            // It ends at the address, which nobody has, or at the mistake before that.
            &["run", "-c", "a.yaml", "--log-level", "trace", "--listen", "192.0.2.1:1"],
        ] {
            let output = command(directory.path(), arguments);
            let said = said(&output);
            assert!(!said.is_empty(), "{arguments:?}");
            let encoded = STANDARD.encode(CANARY);
            let credentials = STANDARD.encode(format!("joe:{CANARY}"));
            for secret in [CANARY, encoded.trim_end_matches('='), credentials.trim_end_matches('=')]
            {
                assert!(!said.contains(secret), "{arguments:?} with {wrong}:\n{said}");
            }
        }
    }
}

#[cfg(unix)]
#[test]
fn a_secret_in_a_file_is_a_warning_if_others_can_read_it() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("a.yaml"), "hops:\n  a:\n    kind: http-connect\n    address: a.test:1\n    username: joe\n    password_file: secret\n  b:\n    kind: http-connect\n    address: a.test:1\n    username: joe\n    password: cAnArY-5eCr3t\nchains: { default: [a, b] }\n").unwrap();
    fs::write(path("secret"), CANARY).unwrap();
    for (directory_mode, mode, warnings) in [
        (0o755, 0o644, [true, true]),
        (0o755, 0o600, [false, false]),
        (0o700, 0o644, [false, true]),
    ] {
        for name in ["a.yaml", "secret"] {
            fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        let directory_mode = fs::Permissions::from_mode(directory_mode);
        fs::set_permissions(directory.path(), directory_mode).unwrap();
        let said = said(&command(directory.path(), &["check", "-c", "a.yaml"]));
        let found = ["every user of this machine can read this file", "where others may read it"]
            .map(|words| said.contains(words));
        assert_eq!(found, warnings, "{mode:o}: {said}");
    }
}

#[cfg(unix)]
#[test]
fn an_unreadable_password_file_names_the_user_that_needs_the_right() {
    use std::{
        io::ErrorKind,
        os::unix::fs::{PermissionsExt as _, chown},
        process::Command,
    };

    /// The number of a user who owns nothing here.
    const SOMEONE: u32 = 65534;
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let text = "hops: { a: { kind: http-connect, address: \"a.test:1\", username: joe, password_file: secret.txt } }\nchains: { default: [a] }\n";
    fs::write(path("a.yaml"), text).unwrap();
    fs::write(path("secret.txt"), CANARY).unwrap();
    fs::set_permissions(path("secret.txt"), fs::Permissions::from_mode(0o000)).unwrap();
    // The superuser can read every file, so the command runs as another user then.
    let checked = if fs::read(path("secret.txt")).is_ok() {
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_mooltiroute"), path("program")).unwrap();
        chown(path("secret.txt"), Some(SOMEONE), Some(SOMEONE)).unwrap();
        let mut other = Command::new("setpriv");
        other.args([
            &format!("--reuid={SOMEONE}"),
            &format!("--regid={SOMEONE}"),
            "--clear-groups",
        ]);
        other.arg(path("program")).args(["check", "-c", "a.yaml"]).current_dir(directory.path());
        match other.output() {
            Err(error) if error.kind() == ErrorKind::NotFound => return skip("setpriv"),
            checked => checked.unwrap(),
        }
    } else {
        command(directory.path(), &["check", "-c", "a.yaml"])
    };
    let said = said(&checked);
    assert!(said.contains("the user with the id "), "{said}");
    assert!(said.contains("has the mode 0000: write `chmod u+r FILE`"), "{said}");
    assert!(!said.contains("is the path of a file"), "{said}");
}

/// Reports on the terminal that a test is skipped, past the capture of its output. Fails if no test may be skipped.
#[cfg(unix)]
fn skip(what: &str) {
    use std::{
        env,
        io::{self, Write as _},
    };

    let is_required = env::var_os("MOOLTIROUTE_PEERS").is_some_and(|peers| peers == "required");
    assert!(!is_required, "{what} is not installed, and MOOLTIROUTE_PEERS=required");
    let _ = io::stderr().write_all(format!("skipped: {what} is not installed\n").as_bytes());
}
