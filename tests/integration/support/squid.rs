//! Squid, the proxy that companies run.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    ops::Range,
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::{Duration, SystemTime},
};

use tempfile::TempDir;
use tokio::{net::TcpStream, time};

use super::{
    Certificates, PASSWORD, USERNAME,
    process::{Process, Program},
    within,
};

/// The requests that a squid lets through. Before it asks anyone for credentials, it allows all plain requests below
/// `/exempt/`, and refuses those below `/blocked/`.
#[derive(Clone, Debug)]
pub(crate) enum SquidRules {
    /// The rules that squid ships with: CONNECT to port 443 only.
    Stock,
    /// CONNECT also to unprivileged ports, which the peers of tests have.
    Open,
    /// As `Open`, and everything goes on to the proxy at this address.
    Below(SocketAddr),
    /// As `Open`, for those who know [`USERNAME`](super::USERNAME) and [`PASSWORD`](super::PASSWORD). For the host 127.0.0.9, which
    /// only another user may reach, squid asks them for credentials again.
    Basic,
    /// As `Basic`, by Digest.
    Digest,
    /// As `Digest`, with nonces for two requests each, the least that squid allows.
    ScarceNonces,
    /// As `Basic`, by NTLM, which samba's `ntlm_auth` checks.
    Ntlm,
    /// As `Open`, for those who have a Kerberos ticket for `service`, whose keys are in `keytab`.
    #[cfg_attr(not(unix), expect(dead_code, reason = "only tests of Unix sign on by tickets"))]
    Kerberos { config: PathBuf, keytab: PathBuf, service: &'static str },
    /// As `Ntlm`, inside of SPNEGO.
    #[cfg_attr(not(unix), expect(dead_code, reason = "only tests of Unix sign on by tickets"))]
    SpnegoNtlm,
}

/// A running squid that logs each request.
#[derive(Debug)]
pub(crate) struct Squid {
    // First, so that it has ended when its files are removed.
    _process: Process,
    _memory: SharedMemory,
    address: SocketAddr,
    directory: TempDir,
}

/// The shared memory of a squid that was started with this name by `-n`. It is removed on drop.
///
/// Every squid without a name of its own uses the same files in `/dev/shm`. If another user's squid runs or was killed,
/// it can't replace them, and does not start.
#[derive(Debug)]
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

/// One line of squid's access log, written when a request or a tunnel ended.
#[derive(Clone, Debug)]
pub(crate) struct Passed {
    pub(crate) started: SystemTime,
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) status: u16,
    pub(crate) user: String,
    /// The value of `Proxy-Authorization`.
    pub(crate) authorization: String,
}

impl Squid {
    /// Starts one, if it is installed.
    pub(crate) async fn start(rules: SquidRules) -> Option<Self> {
        Self::start_with(rules, None).await
    }

    /// Starts one that speaks TLS with its clients.
    pub(crate) async fn tls(rules: SquidRules, certificates: &Certificates) -> Option<Self> {
        Self::start_with(rules, Some(certificates)).await
    }

    async fn start_with(rules: SquidRules, certificates: Option<&Certificates>) -> Option<Self> {
        let program = Program::find_or_skip("squid")?;
        if matches!(rules, SquidRules::Ntlm | SquidRules::SpnegoNtlm) {
            Program::find_or_skip("ntlm_auth")?;
        }
        let mut complaints = String::new();
        for _ in 0..ATTEMPTS {
            match Self::attempt(&program, &rules, certificates).await {
                Ok(squid) => return Some(squid),
                Err(words) => complaints = words,
            }
        }
        panic!("squid ended {ATTEMPTS} times instead of listening: {complaints}");
    }

    /// Fails with the output of squid if it ended, for instance because another program took the port.
    async fn attempt(
        program: &Program,
        rules: &SquidRules,
        certificates: Option<&Certificates>,
    ) -> Result<Self, String> {
        let directory = scratch();
        let port = free_port();
        let config = config(rules, port, directory.path(), certificates);
        fs::write(directory.path().join("squid.conf"), config).unwrap();
        let words = directory.path().join("stderr");
        let mut command = Command::new(program.path());
        let memory = SharedMemory(format!("test{port}"));
        command.args(["-N", "-n", &memory.0, "-f"]).arg(directory.path().join("squid.conf"));
        command.current_dir(directory.path());
        if let SquidRules::Kerberos { config, .. } = rules {
            command.env("KRB5_CONFIG", config);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&words).unwrap());
        let mut process = Process::start(&mut command);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if !listens(address, &mut process).await {
            return Err(fs::read_to_string(words).unwrap());
        }
        Ok(Self { _process: process, _memory: memory, address, directory })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the requests and tunnels that have ended so far.
    pub(crate) fn passed(&self) -> Vec<Passed> {
        let log = fs::read_to_string(self.directory.path().join("access.log")).unwrap_or_default();
        log.lines().filter_map(parse).collect()
    }

    /// Returns the method of each ended request, and the bytes that squid received from and sent to its client.
    pub(crate) fn bytes(&self) -> Vec<(String, u64, u64)> {
        let log = fs::read_to_string(self.directory.path().join("bytes.log")).unwrap_or_default();
        let parse = |line: &str| {
            let mut words = line.split(' ');
            let method = words.next()?.to_owned();
            Some((method, words.next()?.parse().ok()?, words.next()?.parse().ok()?))
        };
        log.lines().filter_map(parse).collect()
    }

    /// Waits until a request for `target` has ended, and returns all. Squid logs in the order of its answers, so all earlier
    /// answers are among them.
    pub(crate) async fn passed_until(&self, target: &str) -> Vec<Passed> {
        within(&format!("squid logs the request for {target}"), async {
            loop {
                let passed = self.passed();
                if passed.iter().any(|passed| passed.target == target) {
                    return passed;
                }
                time::sleep(POLL).await;
            }
        })
        .await
    }

    /// Waits until at least `count` requests or tunnels have ended, and returns them all.
    pub(crate) async fn passed_at_least(&self, count: usize) -> Vec<Passed> {
        within(&format!("squid logs {count} requests"), async {
            loop {
                let passed = self.passed();
                if passed.len() >= count {
                    return passed;
                }
                time::sleep(POLL).await;
            }
        })
        .await
    }
}

/// Waits until `process` listens at `address`, and returns `false` if it ends instead.
pub(super) async fn listens(address: SocketAddr, process: &mut Process) -> bool {
    within(&format!("{process:?} listens at {address}"), async {
        loop {
            if process.has_ended() {
                return false;
            }
            if TcpStream::connect(address).await.is_ok() {
                return true;
            }
            time::sleep(POLL).await;
        }
    })
    .await
}

/// Returns a port of 127.0.0.1 on which nothing listens, for a program that can't choose one itself, or for a peer that is down.
pub(crate) fn free_port() -> u16 {
    free_port_at("127.0.0.1").expect("every machine has IPv4")
}

/// Returns an address of 127.0.0.1 on which nothing listens.
pub(crate) fn free_address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free_port()).into()
}

/// Returns a port of `host` on which nothing listens, or `None` if the machine has no address of that family.
///
/// The system may give a port that it chose, and that was closed again, to another test or to a client before the test uses it.
/// So these are below the ports that systems choose from, and each one is returned only once.
pub(crate) fn free_port_at(host: &str) -> Option<u16> {
    static RETURNED: AtomicU32 = AtomicU32::new(0);
    TcpListener::bind(format!("{host}:0")).ok()?;
    loop {
        // Another process, such as another test program, begins with another port.
        let number = process::id().wrapping_mul(61).wrapping_add(RETURNED.fetch_add(1, Relaxed));
        let port = FREE_PORTS.start + (number % FREE_PORTS.len() as u32) as u16;
        if TcpListener::bind(format!("{host}:{port}")).is_ok() {
            return Some(port);
        }
    }
}

/// Ports that neither Linux nor macOS nor Windows chooses for clients or for listeners on port 0.
const FREE_PORTS: Range<u16> = 12_000..32_000;

/// Makes a directory that squid can write to after it has dropped root.
fn scratch() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
    }
    directory
}

fn config(
    rules: &SquidRules,
    port: u16,
    directory: &Path,
    certificates: Option<&Certificates>,
) -> String {
    let shown = directory.display();
    let listen = match certificates {
        None => format!("http_port 127.0.0.1:{port}"),
        Some(certificates) => {
            for (file, text) in ["certificate.pem", "key.pem"].iter().zip(certificates.pem_texts())
            {
                fs::write(directory.join(file), text).unwrap();
            }
            format!(
                "https_port 127.0.0.1:{port} tls-cert={shown}/certificate.pem tls-key={shown}/key.pem"
            )
        }
    };
    let ports = match rules {
        SquidRules::Stock => "443",
        _ => "443 1025-65535",
    };
    let access = match rules {
        SquidRules::Stock | SquidRules::Open => "http_access allow localhost".to_owned(),
        SquidRules::Below(parent) => format!(
            "cache_peer {} parent {} 0 no-query no-digest default\nnever_direct allow all\n\
             http_access allow localhost",
            parent.ip(),
            parent.port()
        ),
        SquidRules::Basic => {
            fs::write(directory.join("passwd"), PASSWD).unwrap();
            let helper = helper("basic_ncsa_auth");
            let helper = helper.display();
            format!(
                "auth_param basic program {helper} {shown}/passwd\n\
                 auth_param basic children 2 startup=1 idle=1\n\
                 auth_param basic realm provider\n\
                 acl account proxy_auth REQUIRED\n\
                 acl other proxy_auth another\n\
                 acl forbidden dst 127.0.0.9/32\n\
                 http_access deny forbidden !other\n\
                 http_access allow account"
            )
        }
        SquidRules::Digest | SquidRules::ScarceNonces => {
            // Squid's own default is 50.
            let uses = if matches!(rules, SquidRules::Digest) { 50 } else { 1 };
            fs::write(directory.join("digest"), DIGEST_FILE).unwrap();
            let helper = helper("digest_file_auth");
            let helper = helper.display();
            format!(
                "auth_param digest program {helper} -c {shown}/digest\n\
                 auth_param digest children 2 startup=1 idle=1\n\
                 auth_param digest realm provider\n\
                 auth_param digest nonce_max_count {uses}\n\
                 acl account proxy_auth REQUIRED\n\
                 http_access allow account"
            )
        }
        SquidRules::Ntlm => format!(
            "auth_param ntlm program {} --helper-protocol=squid-2.5-ntlmssp --domain=CORP \
             --username={USERNAME} --password={PASSWORD}\n\
             auth_param ntlm children 20 startup=2 idle=1\n\
             auth_param ntlm keep_alive on\n\
             acl account proxy_auth REQUIRED\n\
             http_access allow account",
            ntlm_auth()
        ),
        SquidRules::SpnegoNtlm => format!(
            "auth_param negotiate program {} --helper-protocol=gss-spnego --domain=CORP \
             --username={USERNAME} --password={PASSWORD}\n\
             auth_param negotiate children 20 startup=2 idle=1\n\
             auth_param negotiate keep_alive on\n\
             acl account proxy_auth REQUIRED\n\
             http_access allow account",
            ntlm_auth()
        ),
        SquidRules::Kerberos { keytab, service, .. } => {
            let helper = helper("negotiate_kerberos_auth");
            format!(
                "auth_param negotiate program {} -k {} -s {service}@CORP.TEST -t none\n\
                 auth_param negotiate children 20 startup=2 idle=1\n\
                 auth_param negotiate keep_alive on\n\
                 acl account proxy_auth REQUIRED\n\
                 http_access allow account",
                helper.display(),
                keytab.display()
            )
        }
    };
    format!(
        "{listen}\n\
         visible_hostname squid.test\n\
         pid_filename none\n\
         coredump_dir none\n\
         pinger_enable off\n\
         cache deny all\n\
         cache_mem 8 MB\n\
         max_filedescriptors 4096\n\
         shutdown_lifetime 0 seconds\n\
         cache_log {shown}/cache.log\n\
         logformat path %tS %rm %ru %>Hs %un %{{Proxy-Authorization}}>h\n\
         access_log stdio:{shown}/access.log path\n\
         logformat bytes %rm %>st %<st\n\
         access_log stdio:{shown}/bytes.log bytes\n\
         acl SSL_ports port {ports}\n\
         acl Safe_ports port 80 443 1025-65535\n\
         acl CONNECT method CONNECT\n\
         http_access deny !Safe_ports\n\
         http_access deny CONNECT !SSL_ports\n\
         acl exempt urlpath_regex ^/exempt/\n\
         acl blocked urlpath_regex ^/blocked/\n\
         http_access allow exempt\n\
         http_access deny blocked\n\
         {access}\n\
         http_access deny all\n"
    )
}

/// Returns the path of samba's `ntlm_auth`, which is installed.
fn ntlm_auth() -> String {
    Program::find("ntlm_auth").unwrap().path().display().to_string()
}

/// Returns the path of a helper that comes with squid.
fn helper(name: &str) -> PathBuf {
    let places = [
        "/usr/lib/squid",
        "/usr/lib64/squid",
        "/usr/libexec/squid",
        "/opt/homebrew/opt/squid/libexec",
    ];
    let files = places.map(|place| Path::new(place).join(name));
    files.into_iter().find(|file| file.is_file()).expect("squid comes with its helpers")
}

/// Parses a line of the log. Returns `None` if it is not for a request but, for example, for the connection that waited for
/// squid to listen.
fn parse(line: &str) -> Option<Passed> {
    let mut words = line.split(' ');
    let started: f64 = words.next()?.parse().ok()?;
    let [method, target, status, user] = std::array::from_fn(|_| words.next().unwrap_or_default());
    if method == "-" {
        return None;
    }
    Some(Passed {
        started: SystemTime::UNIX_EPOCH + Duration::from_secs_f64(started),
        method: method.to_owned(),
        target: target.to_owned(),
        status: status.parse().ok()?,
        user: user.to_owned(),
        // Squid writes a space in a field's value like this.
        authorization: words.next().unwrap_or_default().replace("%20", " "),
    })
}

const ATTEMPTS: usize = 3;
/// The pause between two looks at another program, which can only be polled.
const POLL: Duration = Duration::from_millis(10);
/// [`USERNAME`](super::USERNAME) and [`PASSWORD`](super::PASSWORD), as `openssl passwd -apr1` hashes them.
const PASSWD: &str = "dev:$apr1$mooltiro$BMOYBXMEAg9gaeUSrMk991\n";
/// Both in realm `provider`, as `user:realm:HA1`.
const DIGEST_FILE: &str = "dev:provider:a8126a4cc0d9c1a08578e688331ef486\n";
