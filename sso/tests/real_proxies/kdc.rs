//! An MIT KDC on loopback, without root's files.

use std::{
    fs,
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::programs::{Process, free_port, run, wait_until};

pub(crate) const PROGRAMS: [&str; 4] =
    ["/usr/sbin/krb5kdc", "/usr/sbin/kadmin.local", "/usr/sbin/kdb5_util", "/usr/bin/kinit"];
pub(crate) const PASSWORD: &str = "open-sesame";

/// A running KDC of the realm CORP.TEST, which knows alice and the service HTTP/proxy.corp.test.
pub(crate) struct Kdc {
    _process: Process,
    directory: TempDir,
}

impl Kdc {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        let (shown, port) = (directory.path().display(), free_port());
        write_client_config(&directory.path().join("krb5.conf"), port);
        let config = format!(
            "[kdcdefaults]\nkdc_listen = 127.0.0.1:{port}\nkdc_tcp_listen = 127.0.0.1:{port}\n[realms]\n\
             CORP.TEST = {{\ndatabase_name = {shown}/principal\nkey_stash_file = {shown}/stash\n\
             acl_file = {shown}/acl\nmax_life = 1h\n}}\n[logging]\nkdc = FILE:{shown}/kdc.log\n"
        );
        fs::write(directory.path().join("kdc.conf"), config).unwrap();
        // A port that is closed: a KDC that can't be reached.
        write_client_config(&directory.path().join("unreachable.conf"), free_port());
        let command = |program: &str| {
            let mut command = Command::new(program);
            command.env("KRB5_CONFIG", directory.path().join("krb5.conf"));
            command.env("KRB5_KDC_PROFILE", directory.path().join("kdc.conf"));
            command
        };
        run(command("/usr/sbin/kdb5_util").args([
            "create",
            "-s",
            "-r",
            "CORP.TEST",
            "-P",
            "master",
        ]));
        for query in [
            format!("addprinc -pw {PASSWORD} +requires_preauth alice"),
            "addprinc -randkey HTTP/proxy.corp.test".into(),
            format!("ktadd -k {shown}/http.keytab HTTP/proxy.corp.test"),
            format!("ktadd -norandkey -k {shown}/alice.keytab alice"),
        ] {
            run(command("/usr/sbin/kadmin.local").args(["-r", "CORP.TEST", "-q", &query]));
        }
        let keytab = directory.path().join("http.keytab");
        fs::set_permissions(keytab, fs::Permissions::from_mode(0o644)).unwrap();
        let mut kdc = command("/usr/sbin/krb5kdc");
        kdc.args(["-n", "-r", "CORP.TEST"]).stdout(Stdio::null()).stderr(Stdio::null());
        let process = Process(kdc.spawn().unwrap());
        assert!(wait_until(|| TcpStream::connect(("127.0.0.1", port)).is_ok()), "no KDC");
        Self { _process: process, directory }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn shown(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Changes alice's password, so that the keys in her keytab are out of date.
    pub(crate) fn change_password(&self) {
        let mut kadmin = Command::new("/usr/sbin/kadmin.local");
        kadmin.env("KRB5_CONFIG", self.path("krb5.conf"));
        kadmin.env("KRB5_KDC_PROFILE", self.path("kdc.conf"));
        run(kadmin.args(["-r", "CORP.TEST", "-q", "cpw -pw another-word alice"]));
    }

    /// Returns how many logons with a wrong key the KDC has seen.
    pub(crate) fn failed_logons(&self) -> usize {
        fs::read_to_string(self.path("kdc.log")).unwrap().matches("PREAUTH_FAILED").count()
    }

    /// Gets alice a ticket of this lifetime into a cache that is a file, and returns the cache's name.
    pub(crate) fn kinit(&self, cache: &str, lifetime: &str) -> String {
        let name = format!("FILE:{}", self.shown(cache));
        self.kinit_into(&name, lifetime);
        name
    }

    /// Gets alice a ticket of this lifetime into the cache of this name.
    pub(crate) fn kinit_into(&self, name: &str, lifetime: &str) {
        let mut kinit = Command::new("/usr/bin/kinit");
        kinit.env("KRB5_CONFIG", self.path("krb5.conf"));
        run(kinit.args([
            "-l",
            lifetime,
            "-c",
            name,
            "-k",
            "-t",
            &self.shown("alice.keytab"),
            "alice",
        ]));
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
