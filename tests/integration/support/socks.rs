//! Real SOCKS5 proxies, with and without credentials.

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use super::{
    PASSWORD, USERNAME,
    process::{Process, Program},
    squid::{free_port, listens},
};

/// A running SOCKS5 proxy.
#[derive(Debug)]
pub(crate) struct SocksProxy {
    // First, so that it has ended when its directory is removed.
    _process: Process,
    address: SocketAddr,
    _directory: TempDir,
}

impl SocksProxy {
    /// Starts microsocks, if it is installed. With `asks`, it wants [`USERNAME`] and [`PASSWORD`].
    pub(crate) async fn microsocks(asks: bool) -> Option<Self> {
        let program = Program::find_or_skip("microsocks")?;
        let (port, directory) = (free_port(), tempfile::tempdir().unwrap());
        let mut command = Command::new(program.path());
        command.args(["-i", "127.0.0.1", "-p", &port.to_string()]);
        if asks {
            command.args(["-u", USERNAME, "-P", PASSWORD]);
        }
        Some(Self::start(command, port, directory).await)
    }

    /// Starts dante without credentials, if it is installed. It refuses port 1.
    #[cfg(unix)]
    pub(crate) async fn dante() -> Option<Self> {
        let program = Program::find_or_skip("danted")?;
        let (port, directory) = (free_port(), tempfile::tempdir().unwrap());
        let config = format!(
            "logoutput: /dev/null\ninternal: 127.0.0.1 port = {port}\nexternal: lo\nclientmethod: none\n\
             socksmethod: none\nclient pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}\n\
             socks block {{ from: 0.0.0.0/0 to: 0.0.0.0/0 port = 1 }}\n\
             socks pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}\n"
        );
        let path = directory.path().join("danted.conf");
        std::fs::write(&path, config).unwrap();
        let mut command = Command::new(program.path());
        command.arg("-f").arg(path).arg("-p").arg(directory.path().join("pid"));
        Some(Self::start(command, port, directory).await)
    }

    async fn start(mut command: Command, port: u16, directory: TempDir) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = Process::start(&mut command);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        assert!(listens(address, &mut process).await, "{command:?} ended");
        Self { _process: process, address, _directory: directory }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}
