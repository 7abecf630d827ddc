//! A squid that wants authentication, and a client of one connection.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
    time::Duration,
};

use mooltiroute_hops::auth::challenge::Challenge;
use tempfile::TempDir;

use crate::programs::{Process, free_port, wait_until};

pub(crate) const SQUID: &str = "/usr/sbin/squid";

/// A running squid.
pub(crate) struct Squid {
    // First, so that it has ended when its files are removed.
    _process: Process,
    _memory: SharedMemory,
    pub(crate) address: SocketAddr,
    directory: TempDir,
}

/// The shared memory of a squid that was started with this name by `-n`. It is removed on drop.
///
/// Every squid without a name of its own uses the same files in `/dev/shm`. If another user's squid runs or was killed,
/// it can't replace them, and does not start.
struct SharedMemory(String);

impl Drop for SharedMemory {
    fn drop(&mut self) {
        let files = fs::read_dir("/dev/shm").into_iter().flatten().flatten();
        let prefix = format!("{}-", self.0);
        for file in files.filter(|file| file.file_name().to_string_lossy().starts_with(&prefix)) {
            let _ = fs::remove_file(file.path());
        }
    }
}

impl Squid {
    /// Starts a squid with these `auth_param` lines, in which `DIR` stands for its folder.
    pub(crate) fn start(auth: &str, environment: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
        // HA1 of alice in realm corp with password `open sesame`.
        let passwords = "alice:corp:71df754651b164f7820efd7c8c8d4d24\n";
        fs::write(directory.path().join("digest"), passwords).unwrap();
        let (shown, port) = (directory.path().display().to_string(), free_port());
        let config = format!(
            "http_port 127.0.0.1:{port}\nvisible_hostname squid.test\npid_filename none\nnetdb_filename none\n\
             coredump_dir none\npinger_enable off\ncache deny all\ncache_mem 8 MB\nmax_filedescriptors 4096\n\
             shutdown_lifetime 0 seconds\ncache_log DIR/cache.log\naccess_log stdio:DIR/access.log\n{auth}\n\
             acl known proxy_auth REQUIRED\nhttp_access allow known\nhttp_access deny all\n"
        );
        fs::write(directory.path().join("squid.conf"), config.replace("DIR", &shown)).unwrap();
        let mut command = Command::new(SQUID);
        let memory = SharedMemory(format!("sso{port}"));
        command.args(["-N", "-n", &memory.0, "-f"]).arg(directory.path().join("squid.conf"));
        command.envs(environment.iter().copied()).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(File::create(directory.path().join("stderr")).unwrap());
        let process = Process(command.spawn().unwrap());
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let listens = wait_until(|| TcpStream::connect(address).is_ok());
        let squid = Self { _process: process, _memory: memory, address, directory };
        assert!(listens, "{}", squid.log());
        squid
    }

    /// Returns the log of squid and its helpers, for messages of failed tests.
    pub(crate) fn log(&self) -> String {
        let read = |name| fs::read_to_string(self.directory.path().join(name)).unwrap_or_default();
        format!("{}{}{}", read("stderr"), read("cache.log"), read("access.log"))
    }
}

/// One connection to a proxy.
pub(crate) struct Connection(BufReader<TcpStream>);

/// The answer to a CONNECT.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) challenges: Vec<Challenge>,
}

impl Connection {
    pub(crate) fn open(proxy: SocketAddr) -> Self {
        let stream = TcpStream::connect(proxy).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self(BufReader::new(stream))
    }

    /// Sends CONNECT, and reads the answer with its body.
    pub(crate) fn connect(&mut self, target: &str, authorization: Option<&str>) -> Answer {
        let field = authorization.map(|value| format!("Proxy-Authorization: {value}\r\n"));
        let request = format!(
            "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{}\r\n",
            field.unwrap_or_default()
        );
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
        let status = self.line().split(' ').nth(1).unwrap().parse().unwrap();
        let (mut fields, mut body_bytes) = (Vec::new(), 0_u64);
        loop {
            let line = self.line();
            let Some((name, value)) = line.split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "proxy-authenticate" => fields.push(value.trim().as_bytes().to_vec()),
                "content-length" => body_bytes = value.trim().parse().unwrap(),
                _ => {}
            }
        }
        if status != 200 {
            std::io::copy(&mut self.0.by_ref().take(body_bytes), &mut std::io::sink()).unwrap();
        }
        Answer { status, challenges: Challenge::parse(fields.iter().map(Vec::as_slice)) }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}
