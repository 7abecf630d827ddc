//! How each program is found and configured: no log, no cache, room for all tunnels, and defaults otherwise.

use std::{env, fmt::Write as _, fs, path::PathBuf, process::Command};

use super::{
    kerberos::{self, SERVICE},
    login::{LoginScheme, PASSWORD, USERNAME},
    peer::{Setting, Side, Sort},
    process::find,
    subject,
    tls_ends::{AUTHORITY, BOTH, CERTIFICATE, KEY, NAME},
};

/// A program that may be installed.
pub(super) struct Known {
    pub(super) name: &'static str,
    pub(super) sort: Sort,
    pub(super) find: fn() -> Option<PathBuf>,
    /// The arguments that print its version.
    pub(super) version: Option<&'static str>,
    pub(super) hops_max: usize,
    pub(super) prepare: fn(&Setting<'_>, &mut Command),
}

/// The programs that need no login, in the order of the tables.
pub(super) const ALL: [Known; 21] = [
    Known {
        name: "bare relay",
        sort: Sort::Limit,
        find: || env::current_exe().ok(),
        version: None,
        hops_max: 2,
        prepare: |_, _| {},
    },
    Known {
        name: "bare proxy",
        sort: Sort::Least,
        find: || env::current_exe().ok(),
        version: None,
        hops_max: 2,
        prepare: |_, _| {},
    },
    Known {
        name: "haproxy (tcp)",
        sort: Sort::Passage,
        find: || find("haproxy"),
        version: Some("-v"),
        hops_max: 2,
        prepare: haproxy,
    },
    Known {
        version: Some("--version"),
        ..ours("Mooltiroute", Sort::Ours, 2, |setting, command| {
            mooltiroute(setting, command, &Ours::ONE)
        })
    },
    ours("Mooltiroute (4 warm)", Sort::Warm, 2, |setting, command| {
        mooltiroute(setting, command, &Ours { warm: WARM, ..Ours::ONE })
    }),
    ours("Mooltiroute (2 workers)", Sort::OursTwo, 2, |setting, command| {
        mooltiroute(setting, command, &Ours { workers: 2, ..Ours::ONE })
    }),
    Known {
        version: Some("--version"),
        find: || find("mooltiroute-before"),
        ..ours("Mooltiroute (before)", Sort::Before, 2, |setting, command| {
            mooltiroute(setting, command, &Ours::ONE)
        })
    },
    Known {
        name: "squid",
        sort: Sort::Other,
        find: || find("squid"),
        version: Some("-v"),
        hops_max: 1,
        prepare: squid,
    },
    Known {
        name: "tinyproxy",
        sort: Sort::Other,
        find: || find("tinyproxy"),
        version: Some("-v"),
        hops_max: 1,
        prepare: tinyproxy,
    },
    Known {
        name: "v2ray",
        sort: Sort::Other,
        find: || find("v2ray"),
        version: Some("-version"),
        hops_max: 2,
        prepare: v2ray,
    },
    Known {
        name: "3proxy",
        sort: Sort::Other,
        find: || find("3proxy"),
        version: None,
        hops_max: 2,
        prepare: three_proxy,
    },
    Known {
        name: "gost",
        sort: Sort::Other,
        find: || find("gost"),
        version: Some("-V"),
        hops_max: 2,
        prepare: gost,
    },
    ours("Mooltiroute (SOCKS5)", Sort::OursSocks, 2, |setting, command| {
        mooltiroute(setting, command, &Ours::ONE)
    }),
    Known {
        name: "microsocks",
        sort: Sort::OtherSocks,
        find: || find("microsocks"),
        version: None,
        hops_max: 0,
        prepare: microsocks,
    },
    Known {
        name: "dante",
        sort: Sort::OtherSocks,
        find: || find("danted"),
        version: Some("-v"),
        hops_max: 0,
        prepare: dante,
    },
    ours("Mooltiroute (TLS listener)", Sort::TlsListener(Side::Ours), 0, |setting, command| {
        mooltiroute(setting, command, &Ours { tls_listener: true, ..Ours::ONE })
    }),
    Known {
        name: "haproxy (TLS listener)",
        sort: Sort::TlsListener(Side::Passage),
        find: || find("haproxy"),
        version: None,
        hops_max: 0,
        prepare: haproxy_tls_listener,
    },
    Known {
        name: "squid (TLS listener)",
        sort: Sort::TlsListener(Side::Proxy),
        find: || find("squid"),
        version: None,
        hops_max: 0,
        prepare: squid_tls_listener,
    },
    ours("Mooltiroute (TLS hop)", Sort::TlsHop(Side::Ours), 1, |setting, command| {
        mooltiroute(setting, command, &Ours { tls_hop: true, ..Ours::ONE })
    }),
    ours("Mooltiroute (TLS hop, 2 workers)", Sort::TlsHop(Side::Ours), 1, |setting, command| {
        mooltiroute(setting, command, &Ours { tls_hop: true, workers: 2, ..Ours::ONE })
    }),
    Known {
        name: "haproxy (TLS hop)",
        sort: Sort::TlsHop(Side::Passage),
        find: || find("haproxy"),
        version: None,
        hops_max: 1,
        prepare: haproxy_tls_hop,
    },
];

/// Returns a row for Mooltiroute.
pub(super) const fn ours(
    name: &'static str,
    sort: Sort,
    hops_max: usize,
    prepare: fn(&Setting<'_>, &mut Command),
) -> Known {
    let find = || Some(subject::program().to_owned());
    Known { name, sort, find, version: None, hops_max, prepare }
}

/// The settings of Mooltiroute in which its rows differ.
pub(super) struct Ours {
    /// The number of spare tunnels.
    warm: u64,
    workers: usize,
    tls_listener: bool,
    tls_hop: bool,
    /// How it logs in to the hop.
    login: Option<LoginScheme>,
}

impl Ours {
    /// One thread, and the defaults.
    const ONE: Self =
        Self { warm: 0, workers: 1, tls_listener: false, tls_hop: false, login: None };

    /// As [`ONE`](Self::ONE), with a login to the hop.
    pub(super) fn logging_in(scheme: LoginScheme) -> Self {
        Self { login: Some(scheme), ..Self::ONE }
    }
}

pub(super) fn mooltiroute(setting: &Setting<'_>, command: &mut Command, ours: &Ours) {
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
    // The first builds don't know the key.
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
    // Counts and the control socket go to the directory of the run, and not to the user's.
    command.env("XDG_STATE_HOME", setting.directory).env_remove("STATE_DIRECTORY");
    command.env("XDG_RUNTIME_DIR", setting.directory);
}

fn haproxy(setting: &Setting<'_>, command: &mut Command) {
    haproxy_with(setting, command, ["", "", ""]);
}

fn haproxy_tls_listener(setting: &Setting<'_>, command: &mut Command) {
    let bind = format!("ssl crt {}", setting.credentials.join(BOTH).display());
    haproxy_with(setting, command, ["nbthread 1", &bind, ""]);
}

fn haproxy_tls_hop(setting: &Setting<'_>, command: &mut Command) {
    let authority = setting.credentials.join(AUTHORITY);
    let server = format!(
        "ssl ca-file {} verify required verifyhost {NAME} sni str({NAME})",
        authority.display()
    );
    haproxy_with(setting, command, ["nbthread 1", "", &server]);
}

/// Configures haproxy with these additions to its sections `global`, `bind` and `server`.
fn haproxy_with(setting: &Setting<'_>, command: &mut Command, [global, bind, server]: [&str; 3]) {
    let config = format!(
        "global\n  maxconn {TUNNELS_MAX}\n  maxpipes 64\n  {global}\n\
         defaults\n  mode tcp\n  option splice-auto\n  timeout connect 10s\n  timeout client 10m\n  timeout server 10m\n\
         listen bench\n  bind {} backlog 4096 {bind}\n  server first {} {server}\n",
        setting.listen, setting.first
    );
    command.arg("-db").arg("-f").arg(write(setting, "haproxy.cfg", &config));
}

fn squid(setting: &Setting<'_>, command: &mut Command) {
    squid_at(setting, command, &format!("http_port {}", setting.listen));
}

fn squid_tls_listener(setting: &Setting<'_>, command: &mut Command) {
    let [certificate, key] = [CERTIFICATE, KEY].map(|file| setting.credentials.join(file));
    let port = format!(
        "https_port {} tls-cert={} tls-key={}",
        setting.listen,
        certificate.display(),
        key.display()
    );
    squid_at(setting, command, &port);
}

/// Configures squid with this line for its port.
fn squid_at(setting: &Setting<'_>, command: &mut Command, port: &str) {
    let directory = setting.directory.display();
    let mut config = format!(
        "{port}\nvisible_hostname squid.test\npid_filename none\ncoredump_dir none\n\
         pinger_enable off\ncache deny all\ncache_mem 8 MB\nmax_filedescriptors {}\n\
         shutdown_lifetime 0 seconds\ncache_log {directory}/cache.log\naccess_log none\n\
         http_access allow localhost\nhttp_access deny all\n",
        2 * TUNNELS_MAX,
    );
    if let [hop] = setting.hops {
        let (host, port) = (hop.ip(), hop.port());
        let _ = write!(
            config,
            "cache_peer {host} parent {port} 0 no-query no-digest default\n\
             never_direct allow all\nnonhierarchical_direct off\n"
        );
    }
    // A name of its own, so that it shares no memory with a squid of this machine.
    command.args(["-N", "-n", "bench", "-f"]).arg(write(setting, "squid.conf", &config));
}

fn tinyproxy(setting: &Setting<'_>, command: &mut Command) {
    let mut config = format!(
        "Port {}\nListen {}\nTimeout 600\nMaxClients {TUNNELS_MAX}\nLogLevel Critical\n\
         LogFile \"{}/log\"\n",
        setting.listen.port(),
        setting.listen.ip(),
        setting.directory.display()
    );
    for hop in setting.hops {
        let _ = writeln!(config, "Upstream http {hop}");
    }
    command.arg("-d").arg("-c").arg(write(setting, "tinyproxy.conf", &config));
}

fn v2ray(setting: &Setting<'_>, command: &mut Command) {
    // The outbound in use comes first, and each goes through the one before it.
    let outbound = |number: usize| {
        let hop = setting.hops[number];
        let before = number.checked_sub(1);
        let through = before.map(|tag| serde_json::json!({ "tag": format!("hop{tag}") }));
        serde_json::json!({
            "tag": format!("hop{number}"),
            "protocol": "http",
            "settings": { "servers": [{ "address": hop.ip(), "port": hop.port() }] },
            "proxySettings": through,
        })
    };
    let mut outbounds: Vec<_> = (0..setting.hops.len()).rev().map(outbound).collect();
    outbounds.push(serde_json::json!({ "tag": "direct", "protocol": "freedom" }));
    let config = serde_json::json!({
        "log": { "loglevel": "none" },
        "inbounds": [{
            "listen": setting.listen.ip(), "port": setting.listen.port(), "protocol": "http",
        }],
        "outbounds": outbounds,
    });
    command.arg("-config").arg(write(setting, "config.json", &config.to_string()));
}

fn three_proxy(setting: &Setting<'_>, command: &mut Command) {
    let mut config = format!("maxconn {TUNNELS_MAX}\nauth iponly\nallow *\n");
    for hop in setting.hops {
        let _ = writeln!(config, "parent 1000 connect {} {}", hop.ip(), hop.port());
    }
    let _ = writeln!(config, "proxy -i{} -p{}", setting.listen.ip(), setting.listen.port());
    command.arg(write(setting, "3proxy.cfg", &config));
}

fn gost(setting: &Setting<'_>, command: &mut Command) {
    command.arg("-L").arg(format!("http://{}", setting.listen));
    for hop in setting.hops {
        command.arg("-F").arg(format!("http://{hop}"));
    }
}

fn microsocks(setting: &Setting<'_>, command: &mut Command) {
    let (ip, port) = (setting.listen.ip().to_string(), setting.listen.port().to_string());
    command.args(["-i", &ip, "-p", &port]);
}

fn dante(setting: &Setting<'_>, command: &mut Command) {
    let (ip, port) = (setting.listen.ip(), setting.listen.port());
    let config = format!(
        "logoutput: /dev/null\ninternal: {ip} port = {port}\nexternal: {ip}\nclientmethod: none\nsocksmethod: none\n\
         client pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}\nsocks pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}\n"
    );
    command.arg("-f").arg(write(setting, "danted.conf", &config));
    command.arg("-p").arg(setting.directory.join("pid"));
}

pub(super) fn write(setting: &Setting<'_>, name: &str, text: &str) -> PathBuf {
    let file = setting.directory.join(name);
    fs::write(&file, text).unwrap();
    file
}

/// With two files per connection and some to spare, this stays below the common limit of 20,000.
const TUNNELS_MAX: usize = 9_500;
/// How many spare tunnels [`Sort::Warm`] keeps. Its name shows the number.
pub(super) const WARM: u64 = 4;
