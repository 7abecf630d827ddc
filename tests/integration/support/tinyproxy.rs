//! Tinyproxy with Basic authentication, as a provider's gateway that is not squid.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use super::{
    PASSWORD, USERNAME,
    process::{Process, Program},
    squid::{free_port, listens},
};

/// A running tinyproxy.
#[derive(Debug)]
pub(crate) struct Tinyproxy {
    // First, so that it has ended when its directory is removed.
    _process: Process,
    address: SocketAddr,
    directory: TempDir,
}

impl Tinyproxy {
    /// Starts one, if it is installed.
    pub(crate) async fn start() -> Option<Self> {
        let program = Program::find_or_skip("tinyproxy")?;
        for _ in 0..ATTEMPTS {
            if let Some(tinyproxy) = Self::attempt(&program).await {
                return Some(tinyproxy);
            }
        }
        panic!("tinyproxy ended {ATTEMPTS} times instead of listening");
    }

    async fn attempt(program: &Program) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let log = directory.path().join("access.log");
        let config = format!(
            "Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 100\nLogLevel Connect\n\
             LogFile \"{}\"\nBasicAuth {USERNAME} {PASSWORD}\n",
            log.display()
        );
        fs::write(directory.path().join("tinyproxy.conf"), config).unwrap();
        let mut command = Command::new(program.path());
        command.arg("-d").arg("-c").arg(directory.path().join("tinyproxy.conf"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = Process::start(&mut command);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        listens(address, &mut process).await.then_some(Self {
            _process: process,
            address,
            directory,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns its whole log, with a line `Request (…): METHOD TARGET VERSION` for each request, written when it
    /// began.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("access.log")).unwrap_or_default()
    }
}

const ATTEMPTS: usize = 3;
