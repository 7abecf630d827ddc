//! Configures Mooltiroute for each of its rows.

use std::{fmt::Write as _, process::Command};

use super::{Known, write};
use crate::linux::{
    kerberos::{self, SERVICE},
    login::{LoginScheme, PASSWORD, USERNAME},
    peer::{Setting, Sort},
    subject,
    tls_ends::{AUTHORITY, CERTIFICATE, KEY, NAME},
};

/// Returns a row for Mooltiroute.
pub(in super::super) const fn ours(
    name: &'static str,
    sort: Sort,
    hops_max: usize,
    prepare: fn(&Setting<'_>, &mut Command),
) -> Known {
    let find = || Some(subject::program().to_owned());
    Known { name, sort, find, version: None, hops_max, prepare }
}

/// The settings of Mooltiroute in which its rows differ.
pub(in super::super) struct Ours {
    /// The number of spare tunnels.
    pub(super) warm: u64,
    pub(super) workers: usize,
    pub(super) tls_listener: bool,
    pub(super) tls_hop: bool,
    /// How it logs in to the hop.
    pub(super) login: Option<LoginScheme>,
}

impl Ours {
    /// One thread, and the defaults.
    pub(super) const ONE: Self =
        Self { warm: 0, workers: 1, tls_listener: false, tls_hop: false, login: None };

    /// As [`ONE`](Self::ONE), with a login to the hop.
    pub(in super::super) fn logging_in(scheme: LoginScheme) -> Self {
        Self { login: Some(scheme), ..Self::ONE }
    }
}

pub(in super::super) fn mooltiroute(setting: &Setting<'_>, command: &mut Command, ours: &Ours) {
    let file = |name: &str| setting.credentials.join(name).display().to_string();
    let listen = match ours.tls_listener {
        false => format!("\"{}\"", setting.listen),
        true => format!(
            "[ {{ address: \"{}\", tls: {{ cert: '{}', key: '{}' }} }} ]",
            setting.listen,
            file(CERTIFICATE),
            file(KEY)
        ),
    };
    let hop_tls = match ours.tls_hop {
        false => String::new(),
        true => format!(", tls: {{ ca: '{}', server_name: {NAME} }}", file(AUTHORITY)),
    };
    let login = match ours.login {
        None => String::new(),
        Some(LoginScheme::Negotiate) => {
            kerberos::configure(command, setting.kerberos.unwrap());
            format!(", auth: negotiate, kerberos: {{ spn: {SERVICE} }}")
        }
        Some(scheme) => {
            format!(", auth: {}, username: {USERNAME}, password: {PASSWORD}", scheme.name())
        }
    };
    // Early builds, which may be measured too, don't have the key.
    let workers = match ours.workers {
        1 => String::new(),
        count => format!(", workers: {count}"),
    };
    let mut config = format!(
        "server: {{ listen: {listen}{workers} }}\nlog: {{ level: warn, access: false }}\nhops:\n"
    );
    let mut names = Vec::new();
    for (number, hop) in setting.hops.iter().enumerate() {
        let _ = writeln!(
            config,
            "  hop{number}: {{ kind: http-connect, address: \"{hop}\"{hop_tls}{login} }}"
        );
        names.push(format!("hop{number}"));
    }
    let warm = ours.warm;
    let chain = match warm {
        0 => format!("[{}]", names.join(", ")),
        _ => format!("{{ hops: [{}], warm: {warm} }}", names.join(", ")),
    };
    let _ = writeln!(config, "chains: {{ default: {chain} }}");
    let config = config.replace("hops:\nchains", "chains");
    let file = write(setting, "config.yaml", &config);
    command.args(["run", "-c"]).arg(file);
    command.env_remove("MOOLTIROUTE_CONFIG").env_remove("RUST_LOG");
    // Keeps saved counts and the control socket out of the user's own directories.
    command.env("XDG_STATE_HOME", setting.directory).env_remove("STATE_DIRECTORY");
    command.env("XDG_RUNTIME_DIR", setting.directory);
}
