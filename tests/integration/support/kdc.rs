//! An MIT KDC on loopback, without root's files.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;
use tokio::net::UdpSocket;

use super::{
    process::{Process, Program},
    squid::{free_port, listens},
};

/// A running KDC of the realm CORP.TEST. It knows the user alice, whose password is [`Kdc::PASSWORD`], and the services
/// `HTTP/proxy.corp.test` and `HTTP/stale.corp.test`, whose keytab is out of date.
#[derive(Debug)]
pub(crate) struct Kdc {
    _process: Process,
    directory: TempDir,
    kinit: Program,
}

/// A KDC that accepts everything and never answers.
#[derive(Debug)]
pub(crate) struct SilentKdc {
    _sockets: (TcpListener, UdpSocket),
    port: u16,
}

impl Kdc {
    pub(crate) const PASSWORD: &'static str = "open-sesame";

    /// Starts one, if MIT Kerberos is installed.
    pub(crate) async fn start() -> Option<Self> {
        let krb5kdc = Program::find_or_skip("krb5kdc")?;
        let kadmin = Program::find_or_skip("kadmin.local")?;
        let kdb5_util = Program::find_or_skip("kdb5_util")?;
        let kinit = Program::find_or_skip("kinit")?;
        let directory = tempfile::tempdir().unwrap();
        // Squid reads its keytab after it has dropped root.
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        let (shown, port) = (directory.path().display(), free_port());
        write_client_config(&directory.path().join("krb5.conf"), port);
        let config = format!(
            "[kdcdefaults]\nkdc_listen = 127.0.0.1:{port}\nkdc_tcp_listen = 127.0.0.1:{port}\n[realms]\n\
             CORP.TEST = {{\ndatabase_name = {shown}/principal\nkey_stash_file = {shown}/stash\n\
             acl_file = {shown}/acl\nmax_life = 1h\n}}\n[logging]\nkdc = FILE:{shown}/kdc.log\n"
        );
        fs::write(directory.path().join("kdc.conf"), config).unwrap();
        let command = |program: &Program| {
            let mut command = Command::new(program.path());
            command.env("KRB5_CONFIG", directory.path().join("krb5.conf"));
            command.env("KRB5_KDC_PROFILE", directory.path().join("kdc.conf"));
            command
        };
        let create = ["create", "-s", "-r", "CORP.TEST", "-P", "master"];
        run(command(&kdb5_util).args(create));
        let password = Self::PASSWORD;
        let queries = format!(
            "addprinc -pw {password} +requires_preauth alice\naddprinc -pw {password} -allow_tix locked\n\
             addprinc -randkey HTTP/proxy.corp.test\nktadd -k {shown}/http.keytab HTTP/proxy.corp.test\n\
             addprinc -randkey HTTP/stale.corp.test\nktadd -k {shown}/stale.keytab HTTP/stale.corp.test\n\
             cpw -randkey HTTP/stale.corp.test\nktadd -norandkey -k {shown}/alice.keytab alice\n"
        );
        for query in queries.lines() {
            run(command(&kadmin).args(["-r", "CORP.TEST", "-q", query]));
        }
        for keytab in ["http.keytab", "stale.keytab"] {
            let keytab = directory.path().join(keytab);
            fs::set_permissions(keytab, fs::Permissions::from_mode(0o644)).unwrap();
        }
        let mut kdc = command(&krb5kdc);
        kdc.args(["-n", "-r", "CORP.TEST"]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = Process::start(&mut kdc);
        assert!(listens(([127, 0, 0, 1], port).into(), &mut process).await, "no KDC");
        Some(Self { _process: process, directory, kinit })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Returns a file of this KDC, as a configuration names it.
    pub(crate) fn shown(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Returns the name of a credential cache, which may not exist yet.
    pub(crate) fn cache(&self, name: &str) -> String {
        format!("FILE:{}", self.shown(name))
    }

    /// Gets alice a ticket into a cache.
    pub(crate) fn kinit(&self, cache: &str) {
        self.kinit_for(cache, "1h");
    }

    /// Gets alice a ticket into a cache, with a lifetime such as `2s`.
    pub(crate) fn kinit_for(&self, cache: &str, lifetime: &str) {
        let mut kinit = Command::new(self.kinit.path());
        kinit.env("KRB5_CONFIG", self.path("krb5.conf"));
        kinit.args([
            "-l",
            lifetime,
            "-c",
            &self.cache(cache),
            "-k",
            "-t",
            &self.shown("alice.keytab"),
            "alice",
        ]);
        run(&mut kinit);
    }

    /// Writes a client's configuration whose KDC is at another port, and returns the file.
    pub(crate) fn config_with_port(&self, port: u16) -> String {
        let name = format!("{port}.conf");
        write_client_config(&self.path(&name), port);
        self.shown(&name)
    }

    /// Returns the log of the KDC.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("kdc.log")).unwrap()
    }
}

impl SilentKdc {
    pub(crate) async fn start() -> Self {
        loop {
            // The system accepts connections even if the listener does not.
            let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = tcp.local_addr().unwrap().port();
            if let Ok(udp) = UdpSocket::bind(("127.0.0.1", port)).await {
                return Self { _sockets: (tcp, udp), port };
            }
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

fn write_client_config(path: &Path, port: u16) {
    let config = format!(
        "[libdefaults]\ndefault_realm = CORP.TEST\ndns_lookup_kdc = false\ndns_lookup_realm = false\n\
         dns_canonicalize_hostname = false\nrdns = false\nudp_preference_limit = 1\n[realms]\n\
         CORP.TEST = {{\nkdc = 127.0.0.1:{port}\n}}\n"
    );
    fs::write(path, config).unwrap();
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}
