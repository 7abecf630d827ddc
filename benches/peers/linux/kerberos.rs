//! A Kerberos KDC (MIT's) that gives the proxies a ticket for the hop that wants Negotiate.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use super::process::{Process, find, free_address};

/// A running KDC, and a cache with a ticket of its only user.
#[derive(Debug)]
pub(super) struct Kerberos {
    // First, so that it has ended before its directory is removed.
    _process: Process,
    directory: TempDir,
}

impl Kerberos {
    /// Returns the path of the KDC if all programs are installed.
    pub(super) fn find() -> Option<PathBuf> {
        PROGRAMS.into_iter().map(find).collect::<Option<Vec<_>>>()?.pop()
    }

    /// Starts a KDC that knows [`SERVICE`], and gets a ticket of a user. Returns `None` if a program is missing.
    pub(super) fn start() -> Option<Self> {
        Self::find()?;
        let directory = tempfile::tempdir().unwrap();
        let (files, address) = (directory.path().display(), free_address());
        let client = format!(
            "[libdefaults]\ndefault_realm = {REALM}\ndns_lookup_kdc = false\ndns_canonicalize_hostname = false\n\
             rdns = false\nudp_preference_limit = 1\n[realms]\n{REALM} = {{\nkdc = {address}\n}}\n"
        );
        let server = format!(
            "[kdcdefaults]\nkdc_listen = {address}\nkdc_tcp_listen = {address}\n[realms]\n{REALM} = {{\n\
             database_name = {files}/principal\nkey_stash_file = {files}/stash\nacl_file = {files}/acl\n}}\n\
             [logging]\nkdc = FILE:{files}/kdc.log\n"
        );
        fs::write(directory.path().join(CONFIG), client).unwrap();
        fs::write(directory.path().join("kdc.conf"), server).unwrap();
        let command = |name: &str| {
            let mut command = Command::new(find(name).unwrap());
            configure(&mut command, directory.path());
            command.env("KRB5_KDC_PROFILE", directory.path().join("kdc.conf"));
            command
        };
        run(command("kdb5_util").args(["create", "-s", "-r", REALM, "-P", "bench"]));
        let keytab = directory.path().join("keytab").display().to_string();
        for query in [
            "addprinc -randkey dev".to_owned(),
            format!("addprinc -randkey {SERVICE}"),
            format!("ktadd -k {keytab} dev"),
        ] {
            run(command("kadmin.local").args(["-r", REALM, "-q", &query]));
        }
        let mut kdc = command("krb5kdc");
        kdc.args(["-n", "-r", REALM]);
        let (process, _) = Process::listening(kdc, address, directory.path()).unwrap();
        run(command("kinit").args(["-k", "-t", &keytab, "dev"]));
        Some(Self { _process: process, directory })
    }

    /// Returns the directory of the configuration and the tickets, for [`configure`].
    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// Gives a command the configuration and the tickets in a directory.
pub(super) fn configure(command: &mut Command, directory: &Path) {
    let cache = format!("FILE:{}", directory.join("tickets").display());
    command.env("KRB5_CONFIG", directory.join(CONFIG)).env("KRB5CCNAME", cache);
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// The programs that are needed. The last one is the KDC.
const PROGRAMS: [&str; 4] = ["kinit", "kadmin.local", "kdb5_util", "krb5kdc"];
const REALM: &str = "BENCH.TEST";
const CONFIG: &str = "krb5.conf";
/// The service of all hops. px can use only the address of the hop for it.
pub(super) const SERVICE: &str = "HTTP/127.0.0.1";
