//! Configures the other programs.

use std::{fmt::Write as _, process::Command};

use super::write;
use crate::linux::{
    peer::Setting,
    tls_ends::{AUTHORITY, BOTH, CERTIFICATE, KEY, NAME},
};

pub(super) fn haproxy(setting: &Setting<'_>, command: &mut Command) {
    haproxy_with(setting, command, ["", "", ""]);
}

pub(super) fn haproxy_tls_listener(setting: &Setting<'_>, command: &mut Command) {
    let bind = format!("ssl crt {}", setting.credentials.join(BOTH).display());
    haproxy_with(setting, command, ["nbthread 1", &bind, ""]);
}

pub(super) fn haproxy_tls_hop(setting: &Setting<'_>, command: &mut Command) {
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

pub(super) fn squid(setting: &Setting<'_>, command: &mut Command) {
    squid_at(setting, command, &format!("http_port {}", setting.listen));
}

pub(super) fn squid_tls_listener(setting: &Setting<'_>, command: &mut Command) {
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

pub(super) fn tinyproxy(setting: &Setting<'_>, command: &mut Command) {
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

pub(super) fn v2ray(setting: &Setting<'_>, command: &mut Command) {
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

pub(super) fn three_proxy(setting: &Setting<'_>, command: &mut Command) {
    let mut config = format!("maxconn {TUNNELS_MAX}\nauth iponly\nallow *\n");
    for hop in setting.hops {
        let _ = writeln!(config, "parent 1000 connect {} {}", hop.ip(), hop.port());
    }
    let _ = writeln!(config, "proxy -i{} -p{}", setting.listen.ip(), setting.listen.port());
    command.arg(write(setting, "3proxy.cfg", &config));
}

pub(super) fn gost(setting: &Setting<'_>, command: &mut Command) {
    command.arg("-L").arg(format!("http://{}", setting.listen));
    for hop in setting.hops {
        command.arg("-F").arg(format!("http://{hop}"));
    }
}

pub(super) fn microsocks(setting: &Setting<'_>, command: &mut Command) {
    let (ip, port) = (setting.listen.ip().to_string(), setting.listen.port().to_string());
    command.args(["-i", &ip, "-p", &port]);
}

pub(super) fn dante(setting: &Setting<'_>, command: &mut Command) {
    let (ip, port) = (setting.listen.ip(), setting.listen.port());
    let config = format!(
        "logoutput: /dev/null\ninternal: {ip} port = {port}\nexternal: {ip}\nclientmethod: none\nsocksmethod: none\n\
         client pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}\nsocks pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}\n"
    );
    command.arg("-f").arg(write(setting, "danted.conf", &config));
    command.arg("-p").arg(setting.directory.join("pid"));
}

/// The most tunnels. With two files for each and some to spare, they stay below the common limit of 20,000 files.
const TUNNELS_MAX: usize = 9_500;
