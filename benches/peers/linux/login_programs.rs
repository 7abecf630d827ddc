//! Configures the programs that can log in to a hop.

use std::process::Command;

use super::{
    kerberos::{self, Kerberos},
    login::{LoginScheme, PASSWORD, USERNAME},
    peer::{Setting, Side, Sort},
    process::find,
    programs::{Known, Ours, mooltiroute, ours, write},
    subject,
};

/// The programs in the order of the table.
pub(super) const ALL: [Known; 8] = [
    ours_by("Mooltiroute (Basic)", LoginScheme::Basic, |setting, command| {
        mooltiroute(setting, command, &Ours::logging_in(LoginScheme::Basic))
    }),
    ours_by("Mooltiroute (Digest)", LoginScheme::Digest, |setting, command| {
        mooltiroute(setting, command, &Ours::logging_in(LoginScheme::Digest))
    }),
    ours_by("Mooltiroute (NTLM)", LoginScheme::Ntlm, |setting, command| {
        mooltiroute(setting, command, &Ours::logging_in(LoginScheme::Ntlm))
    }),
    Known {
        find: || Kerberos::find().map(|_| subject::program().to_owned()),
        ..ours_by("Mooltiroute (Negotiate)", LoginScheme::Negotiate, |setting, command| {
            mooltiroute(setting, command, &Ours::logging_in(LoginScheme::Negotiate))
        })
    },
    Known {
        name: "cntlm (NTLM)",
        sort: Sort::Login(LoginScheme::Ntlm, Side::Proxy),
        find: || find("cntlm"),
        version: None,
        hops_max: 1,
        prepare: cntlm,
    },
    Known {
        // Its help begins with its version. It would ignore `--version` and run.
        version: Some("--help"),
        ..px("px (Digest)", LoginScheme::Digest, |setting, command| {
            px_by(setting, command, "DIGEST")
        })
    },
    px("px (NTLM)", LoginScheme::Ntlm, |setting, command| px_by(setting, command, "NTLM")),
    Known {
        find: || Kerberos::find().and(find("px")),
        ..px("px (Negotiate)", LoginScheme::Negotiate, |setting, command| {
            px_by(setting, command, "NEGOTIATE")
        })
    },
];

/// Returns a row for Mooltiroute.
const fn ours_by(
    name: &'static str,
    scheme: LoginScheme,
    prepare: fn(&Setting<'_>, &mut Command),
) -> Known {
    ours(name, Sort::Login(scheme, Side::Ours), 1, prepare)
}

/// Returns a row for px.
const fn px(
    name: &'static str,
    scheme: LoginScheme,
    prepare: fn(&Setting<'_>, &mut Command),
) -> Known {
    let sort = Sort::Login(scheme, Side::Proxy);
    Known { name, sort, find: || find("px"), version: None, hops_max: 1, prepare }
}

fn cntlm(setting: &Setting<'_>, command: &mut Command) {
    let config = format!(
        "Username {USERNAME}\nDomain CORP\nPassword {PASSWORD}\nAuth NTLMv2\nProxy {}\nListen {}\n",
        setting.first, setting.listen
    );
    command.arg("-f").arg("-c").arg(write(setting, "cntlm.conf", &config));
}

fn px_by(setting: &Setting<'_>, command: &mut Command, scheme: &str) {
    let (ip, port) = (setting.listen.ip(), setting.listen.port());
    command.args([format!("--proxy={}", setting.first), format!("--auth={scheme}")]);
    command.args([format!("--listen={ip}"), format!("--port={port}"), "--workers=1".into()]);
    match setting.kerberos {
        // Without a username it uses the ticket.
        Some(tickets) if scheme == "NEGOTIATE" => kerberos::configure(command, tickets),
        _ => {
            command.arg(format!("--username={USERNAME}")).env("PX_PASSWORD", PASSWORD);
        }
    }
}
