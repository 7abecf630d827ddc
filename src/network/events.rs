//! Events of the network: an interface or an address that comes or goes, another configuration of the resolver.

use std::{
    fs::{self, Metadata},
    path::Path,
    time::SystemTime,
};

use netwatcher::{AsyncWatch, async_adapter::Tokio};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tracing::warn;

/// Waits for events. Nothing wakes while there are none.
pub(super) struct NetworkEvents {
    interfaces: Option<AsyncWatch>,
    resolver: ResolverWatch,
}

impl NetworkEvents {
    /// Begins to watch. A change that can't be watched for is noticed only when questions are asked again.
    pub(super) fn open() -> Self {
        let interfaces = netwatcher::watch_interfaces_async::<Tokio>();
        let interfaces = interfaces.inspect_err(|error| {
            warn!(
                ?error,
                "the network can't be watched; conditions are checked only when requests come"
            );
        });
        Self { interfaces: interfaces.ok(), resolver: ResolverWatch::new() }
    }

    /// Waits for the next event. Dropping the future loses none.
    pub(super) async fn next(&mut self) {
        let Self { interfaces, resolver } = self;
        // Either source may be missing, and then it never wakes.
        let interfaces = async {
            match interfaces {
                // The first update is the present state.
                Some(watch) => while watch.changed().await.is_initial {},
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = interfaces => {}
            () = resolver.changed() => {}
        }
    }

    /// Returns whether the resolver's configuration has changed without an event.
    pub(super) fn resolver_has_changed(&mut self) -> bool {
        self.resolver.has_changed()
    }
}

/// A watch over the configuration of the system's resolver.
///
/// The file is watched, and not its directory, since other programs read files in there all the time, and each reading
/// would wake this process. A file that takes its place is noticed, because the old one is removed.
struct ResolverWatch {
    watcher: Option<RecommendedWatcher>,
    events: UnboundedReceiver<()>,
    _sender: UnboundedSender<()>,
    seen: [Stamp; 2],
}

/// The properties of a file that show an edit, or a link that leads to another file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Stamp {
    length: u64,
    modified: Option<SystemTime>,
    file: u64,
}

impl ResolverWatch {
    fn new() -> Self {
        let (sender, events) = unbounded_channel();
        // Reading the file is an event too, and changes nothing.
        let teller = sender.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if !event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_))) {
                // The receiver is gone when this is.
                let _ = teller.send(());
            }
        });
        let watcher = if cfg!(unix) { watcher.ok() } else { None };
        let mut watch = Self { watcher, events, _sender: sender, seen: stamps() };
        watch.arm();
        watch
    }

    /// Watches the files that are there now.
    fn arm(&mut self) {
        if let Some(watcher) = &mut self.watcher {
            // A watch belongs to the file that was there when it began, and another one may have taken its name.
            for file in FILES {
                // What is not there is not watched.
                let _ = watcher.unwatch(Path::new(file));
                let _ = watcher.watch(Path::new(file), RecursiveMode::NonRecursive);
            }
        }
    }

    async fn changed(&mut self) {
        loop {
            if self.events.recv().await.is_none() {
                std::future::pending::<()>().await;
            }
            // One edit is several events. The new file is watched before it is compared, so that no edit falls
            // between the two.
            while self.events.try_recv().is_ok() {}
            self.arm();
            if self.has_changed() {
                return;
            }
        }
    }

    fn has_changed(&mut self) -> bool {
        let now = stamps();
        std::mem::replace(&mut self.seen, now) != now
    }
}

fn stamps() -> [Stamp; 2] {
    FILES.map(|file| fs::metadata(file).map_or_else(|_| Stamp::default(), |found| stamp(&found)))
}

fn stamp(metadata: &Metadata) -> Stamp {
    #[cfg(unix)]
    let file = std::os::unix::fs::MetadataExt::ino(metadata);
    #[cfg(not(unix))]
    let file = 0;
    Stamp { length: metadata.len(), modified: metadata.modified().ok(), file }
}

/// The first is read by the system's resolver. The second one changes with the name servers of a connection, also when
/// the first one only ever names a resolver on this machine.
const FILES: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];
