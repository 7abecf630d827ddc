//! Checks the addresses to listen on, and reads the files of their TLS.

use std::{collections::HashSet, path::Path, sync::Arc, time::SystemTime};

use mooltiroute_hops::{BuildContext, Key, KeyPath, Secret, tls::FileContent};
use zeroize::Zeroizing;

use crate::{
    config::{
        ListenAddress, Listener, raw,
        report::file_access::unreadable_secret,
        resolve::{Part, Resolver},
    },
    tls::{ServerPem, TlsProblem, TlsServer, TlsSetting},
};

impl Resolver<'_> {
    /// Returns the listeners. Reports an address that is listened on twice, one that others can reach while clients need
    /// no credentials, and every problem of the files of TLS.
    pub(super) fn listeners(&mut self, entries: Vec<raw::Listen>, has_auth: bool) -> Vec<Listener> {
        let path = KeyPath::of(["server", "listen"]);
        if entries.is_empty() {
            self.invalid(&path, "is empty; write at least one address");
        }
        // A problem of a list names the entry, as in `server.listen[1]`.
        let is_list = self.tree.list(&path).is_some();
        let mut seen = HashSet::new();
        let mut listeners = Vec::new();
        for (index, raw::Listen { address, tls, is_mapping }) in entries.into_iter().enumerate() {
            let entry = if is_list { path.clone().then(Key::Index(index)) } else { path.clone() };
            let place = if is_mapping { below(&entry, "address") } else { entry.clone() };
            // Sockets are compared and not entries, since `localhost:8888` overlaps with `127.0.0.1:8888`.
            // Port 0 is a different port each time.
            for socket in address.sockets().filter(|socket| socket.port() != 0) {
                if !seen.insert(socket) {
                    self.invalid(&place, format!("`{socket}` is listed twice"));
                }
            }
            // A certificate of a client proves who it is, as well as a password does.
            let checks_clients = tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
            if !has_auth && !checks_clients {
                self.report_open_listener(&place, address);
            }
            let tls = tls.and_then(|tls| self.tls(&below(&entry, "tls"), &tls));
            listeners.push(Listener { address, tls });
        }
        listeners
    }

    /// Reports a listener that others than this machine can use without credentials.
    fn report_open_listener(&mut self, place: &KeyPath, address: ListenAddress) {
        if address.is_loopback() || self.problems.skips() {
            return;
        }
        let message =
            format!("`{address}` can be reached by others, and there is no `server.auth`");
        let problem = self.tree.problem(place, Part::Value, "open-listener", message);
        self.problems.push(problem.with_help(HOW_TO_CLOSE));
    }

    /// Makes the TLS of a listener of its files. Returns `None` if they have a problem, which is then reported.
    fn tls(&mut self, path: &KeyPath, tls: &raw::ListenTls) -> Option<Arc<TlsServer>> {
        let context = self.context();
        let files = [
            (TlsSetting::Cert, Some(&tls.cert)),
            (TlsSetting::Key, Some(&tls.key)),
            (TlsSetting::ClientCa, tls.client_ca.as_ref()),
        ];
        let texts =
            files.map(|(setting, file)| file.map(|file| self.pem(path, setting, file, &context)));
        if let Some(files) = context.fingerprint() {
            self.files.push((path.clone(), files));
        }
        // A file that can't be read has been reported. It counts as empty below, so that the others are still
        // checked, and the problems that follow from its emptiness are left out.
        let is_read = |setting: TlsSetting| {
            let position = files.iter().position(|(file, _)| *file == setting);
            position.is_some_and(|position| matches!(&texts[position], Some(Some(_))))
        };
        let text = |position: usize| {
            let read = texts[position].as_ref()?;
            Some(read.as_ref().map_or("", Secret::expose))
        };
        let [cert, key, client_ca] = [0, 1, 2].map(text);
        let (cert, key) = (cert.unwrap_or_default(), key.unwrap_or_default());
        let pem = ServerPem { cert, key, client_ca };
        match TlsServer::new(&pem, SystemTime::now()) {
            Ok(server) => {
                for problem in server.out_of_date() {
                    self.warn_of_date(&below(path, problem.setting().key()), problem);
                }
                Some(Arc::new(server))
            }
            Err(problems) => {
                for problem in problems.iter().filter(|problem| is_read(problem.setting())) {
                    let place = below(path, problem.setting().key());
                    self.report_file(&place, problem.to_string(), problem.help());
                }
                None
            }
        }
    }

    /// Warns of a certificate that time has made invalid. A problem would reject every later edit of anything else.
    fn warn_of_date(&mut self, place: &KeyPath, problem: &TlsProblem) {
        if !self.failed.contains(place) && !self.warnings.skips() {
            let message = format!("{problem}: clients that check certificates refuse the proxy");
            let warning = self.tree.problem(place, Part::Value, "certificate", message);
            self.warnings.push(warning.with_help(problem.help()));
        }
    }

    /// Reads the file of one setting.
    fn pem(
        &mut self,
        path: &KeyPath,
        setting: TlsSetting,
        file: &Path,
        context: &BuildContext<'_>,
    ) -> Option<Secret> {
        let place = below(path, setting.key());
        // A key may be pasted in place of its path. It is never shown.
        if file.to_string_lossy().contains("-----BEGIN") {
            self.report_file(&place, "expected the path of a file, found its content", PATH);
            return None;
        }
        // Read as bytes, since certificates are also handed out in formats that are not text.
        let bytes = match context.read_binary(file) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(error) => {
                let message = format!("the file can't be read: {error}");
                let whole = context.directory().join(file);
                let help = unreadable_secret(&whole, &error).unwrap_or_else(|| PATH.to_owned());
                self.report_file(&place, message, &help);
                return None;
            }
        };
        if let Some(content) = FileContent::of_other_format(&bytes) {
            let problem = TlsProblem::Instead(setting, content);
            self.report_file(&place, problem.to_string(), problem.help());
            return None;
        }
        if setting == TlsSetting::Key {
            self.warn_of_readers(&place, &context.directory().join(file));
        }
        // A comment between the sections may be in another encoding. The sections themselves are ASCII.
        Some(Secret::new(String::from_utf8_lossy(&bytes)))
    }

    fn report_file(&mut self, place: &KeyPath, message: impl Into<String>, help: &str) {
        if !self.failed.contains(place) && !self.problems.skips() {
            let problem = self.tree.problem(place, Part::Value, "certificate", message);
            self.problems.push(problem.with_help(help));
        }
    }
}

fn below(path: &KeyPath, key: &str) -> KeyPath {
    path.clone().then(Key::Name(key.into()))
}

const HOW_TO_CLOSE: &str = "listen on 127.0.0.1, or write `auth: { username: NAME, password: \"${PASSWORD}\" }` below \
     `server`";
const PATH: &str = "write the path of a PEM file, from the directory of the configuration, that the proxy may read";
