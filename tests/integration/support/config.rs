//! A `config.d` for one test.

use std::{fs, net::SocketAddr, path::Path, sync::Arc};

use tempfile::TempDir;

use super::{PASSWORD, USERNAME, wine::rename};

/// A scratch directory with configuration files in it.
#[derive(Debug)]
pub(crate) struct ConfigDir {
    directory: TempDir,
    /// The directory of the proxy's control socket.
    runtime: Arc<TempDir>,
}

impl ConfigDir {
    /// Creates a directory with `yaml` in `10-test.yaml`, after a `00-server.yaml` that listens on any free port.
    pub(crate) fn new(yaml: &str) -> Self {
        let [directory, runtime] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let directory = Self { directory, runtime: Arc::new(runtime) };
        directory.write("00-server.yaml", "server: { listen: \"127.0.0.1:0\" }\n");
        directory.write("10-test.yaml", yaml);
        directory
    }

    /// Writes `file` in place.
    pub(crate) fn write(&self, file: &str, yaml: &str) {
        fs::write(self.path().join(file), yaml).unwrap();
    }

    /// Writes `file` in one of the ways in which editors do.
    pub(crate) fn save(&self, file: &str, yaml: &str, way: Way) {
        let path = self.path().join(file);
        match way {
            Way::InPlace => fs::write(path, yaml).unwrap(),
            Way::Rename => {
                let new = self.path().join(format!(".{file}.swp"));
                fs::write(&new, yaml).unwrap();
                rename(new, path);
            }
            Way::BackupAndRename => {
                let new = self.path().join("4913");
                fs::write(&new, yaml).unwrap();
                fs::copy(&path, self.path().join(format!("{file}~"))).unwrap();
                rename(new, path);
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Uses the runtime directory of `other`.
    #[cfg(unix)]
    pub(crate) fn with_runtime_of(self, other: &Self) -> Self {
        Self { runtime: Arc::clone(&other.runtime), ..self }
    }

    /// Returns the value of `XDG_RUNTIME_DIR` for the proxy, and for the commands that look for it.
    pub(crate) fn runtime(&self) -> &Path {
        self.runtime.path()
    }
}

/// The ways in which editors and scripts save a file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    /// Truncates the file and writes it.
    InPlace,
    /// Writes another file and renames it.
    Rename,
    /// As `Rename`, and keeps a copy of the old text.
    BackupAndRename,
}

impl Way {
    pub(crate) const ALL: [Self; 3] = [Self::InPlace, Self::Rename, Self::BackupAndRename];
}

/// Returns the corporate proxy at `corporate`, and the provider at a name that only the corporate proxy is told.
pub(crate) fn two_hops(corporate: SocketAddr) -> String {
    format!(
        "hops:\n  corporate: {{ kind: http-connect, address: \"{corporate}\" }}\n  \
         webshare: {{ kind: webshare, address: \"provider.test:80\", username: {USERNAME}, password: {PASSWORD} }}\n"
    )
}
