//! Finds and configures each program: no log, no cache, room for all tunnels, and defaults otherwise.

mod mooltiroute;
mod others;

use std::{env, fs, path::PathBuf, process::Command};

pub(super) use self::mooltiroute::{Ours, mooltiroute, ours};
use self::others::{
    dante, gost, haproxy, haproxy_tls_hop, haproxy_tls_listener, microsocks, squid,
    squid_tls_listener, three_proxy, tinyproxy, v2ray,
};
use super::{
    peer::{Setting, Side, Sort},
    process::find,
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

pub(super) fn write(setting: &Setting<'_>, name: &str, text: &str) -> PathBuf {
    let file = setting.directory.join(name);
    fs::write(&file, text).unwrap();
    file
}

/// The number of spare tunnels that [`Sort::Warm`] keeps, which its name shows.
pub(super) const WARM: u64 = 4;
