//! Tells when the files of a configuration have changed and went quiet.
//!
//! Directories are watched, never single files: an editor's rename, a link swapped below the path and a directory
//! made again all show in the directory that holds the name.

mod trail;

use std::{
    collections::{BTreeMap, HashSet},
    convert::Infallible,
    future::pending,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use arc_swap::ArcSwap;
use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode},
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task,
    time::{Instant, sleep, timeout, timeout_at},
};

use self::trail::{Identity, Look, Trail};

/// Watches everything on the way to one path, through any links.
#[derive(Debug)]
pub(crate) struct Watch {
    root: PathBuf,
    /// What tells of events; where that does not work, why.
    watcher: notify::Result<RecommendedWatcher>,
    trail: Arc<ArcSwap<Trail>>,
    watched: BTreeMap<PathBuf, Identity>,
    ticks: UnboundedReceiver<Tick>,
    /// How everything looked when it was last followed.
    look: Arc<Mutex<Look>>,
    /// Its end ends the thread that looks from time to time.
    _looks: mpsc::Sender<Infallible>,
}

/// What is found on the way to the root.
#[derive(Debug)]
struct Survey {
    trail: Trail,
    directories: BTreeMap<PathBuf, Identity>,
    look: Look,
    took: Duration,
}

/// Something happened to a file.
#[derive(Debug)]
enum Tick {
    /// It has new content, and may get more.
    Written(PathBuf),
    /// Whoever wrote it has closed it.
    Closed(PathBuf),
    /// Anything else, such as a new name.
    Changed,
    /// No event may have told, but the files look other than before.
    Differs,
}

impl Watch {
    /// Begins to watch `root`, a file or a directory, which may be missing. What changes from now on is told.
    ///
    /// # Errors
    /// The path means nothing to the system, or it has no thread to give.
    pub(crate) fn new(root: &Path) -> io::Result<Self> {
        let trail = Arc::new(ArcSwap::from_pointee(Trail::default()));
        let (sender, ticks) = unbounded_channel();
        let watcher = notify::recommended_watcher(listen(Arc::clone(&trail), sender.clone()));
        Self::with(root, watcher, trail, (sender, ticks), PAUSE_MIN)
    }

    fn with(
        root: &Path,
        watcher: notify::Result<RecommendedWatcher>,
        trail: Arc<ArcSwap<Trail>>,
        (sender, ticks): (UnboundedSender<Tick>, UnboundedReceiver<Tick>),
        pause: Duration,
    ) -> io::Result<Self> {
        let root = std::path::absolute(root)?;
        let look = Arc::new(Mutex::default());
        let (looks, ended) = mpsc::channel();
        let looker =
            Looker { root: root.clone(), followed: Arc::clone(&look), sender, ended, pause };
        let watched = BTreeMap::new();
        let mut watch = Self { root, watcher, trail, watched, ticks, look, _looks: looks };
        watch.follow(Survey::of(&watch.root));
        if watch.watched.is_empty() && watch.watcher.is_ok() {
            let error = notify::Error::path_not_found().add_path(watch.root.clone());
            watch.watcher = Err(error);
        }
        thread::Builder::new().name("watch".into()).spawn(move || looker.run())?;
        Ok(watch)
    }

    /// Why changes are not told at once, but found when the files are looked at from time to time.
    pub(crate) fn blindness(&self) -> Option<&notify::Error> {
        self.watcher.as_ref().err()
    }

    /// Waits until something has changed and no write is under way any more. Nothing is lost if the future is
    /// dropped and called again later, but that it went quiet is then found anew.
    pub(crate) async fn changed(&mut self) {
        let Some(first) = self.first_tick().await else { return self.differs().await };
        let mut written = HashSet::new();
        note(&mut written, first);
        let deadline = Instant::now() + WAIT_MAX;
        loop {
            let quiet = if written.is_empty() { QUIET } else { QUIET_WHILE_OPEN };
            match timeout_at(deadline, timeout(quiet, self.ticks.recv())).await {
                Ok(Ok(Some(tick))) => note(&mut written, tick),
                Ok(Ok(None) | Err(_)) | Err(_) => break,
            }
        }
        // Before the files are read, so that a later change of the way to them is seen.
        if let Some(survey) = self.survey().await {
            self.follow(survey);
        }
    }

    /// The first event; `None` where none came, and the files look other than before all the same.
    async fn first_tick(&mut self) -> Option<Tick> {
        loop {
            match self.ticks.recv().await {
                Some(Tick::Differs) => {
                    // An event may have told of it meanwhile.
                    let survey = self.survey().await;
                    if survey.is_some_and(|survey| survey.look != *lock(&self.look)) {
                        return None;
                    }
                }
                Some(tick) => return Some(tick),
                None => pending().await,
            }
        }
    }

    /// Waits until two looks in a row see the same.
    async fn differs(&mut self) {
        let deadline = Instant::now() + WAIT_MAX;
        while let Some(survey) = self.survey().await {
            let is_quiet = survey.look == *lock(&self.look);
            self.follow(survey);
            if is_quiet || Instant::now() > deadline {
                return;
            }
            sleep(QUIET_BETWEEN_LOOKS).await;
        }
    }

    /// Looks at everything on the way to the root, where that may take its time. `None` only where the runtime ends.
    async fn survey(&self) -> Option<Survey> {
        let root = self.root.clone();
        task::spawn_blocking(move || Survey::of(&root)).await.ok()
    }

    /// Watches what is on the way to the root now.
    fn follow(&mut self, survey: Survey) {
        let Survey { trail, directories: wanted, look, .. } = survey;
        *lock(&self.look) = look;
        let Ok(watcher) = &mut self.watcher else { return };
        // A directory that was removed and made again has the same name and is watched no longer.
        let stale =
            self.watched.iter().filter(|(path, identity)| wanted.get(*path) != Some(identity));
        for (path, _) in stale {
            // The system may have forgotten it already.
            let _ = watcher.unwatch(path);
        }
        self.trail.store(Arc::new(trail));
        let known = std::mem::take(&mut self.watched);
        for (path, identity) in wanted {
            let is_known = known.get(&path) == Some(&identity);
            if is_known || watcher.watch(&path, RecursiveMode::NonRecursive).is_ok() {
                self.watched.insert(path, identity);
            }
        }
    }
}

/// Looks at the files from time to time: some file systems tell nothing, such as those of a network where another
/// machine writes. It has a thread of its own, since a look may take its time, and a timer that is always set would have
/// every wait of the proxy's own thread set one in the hardware.
struct Looker {
    root: PathBuf,
    followed: Arc<Mutex<Look>>,
    sender: UnboundedSender<Tick>,
    ended: mpsc::Receiver<Infallible>,
    /// How long between two looks, at least.
    pause: Duration,
}

impl Looker {
    fn run(self) {
        let mut pause = self.pause;
        while let Err(RecvTimeoutError::Timeout) = self.ended.recv_timeout(pause) {
            let Survey { look, took, .. } = Survey::of(&self.root);
            pause = took.saturating_mul(PAUSE_FACTOR).max(self.pause);
            if look != *lock(&self.followed) && self.sender.send(Tick::Differs).is_err() {
                return;
            }
        }
    }
}

fn lock(look: &Mutex<Look>) -> MutexGuard<'_, Look> {
    look.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Survey {
    fn of(root: &Path) -> Self {
        let begun = Instant::now();
        let trail = Trail::to(root);
        let directories =
            trail.directories().map(|path| (path.to_owned(), Identity::of(path))).collect();
        let look = trail.look();
        Self { trail, directories, look, took: begun.elapsed() }
    }
}

fn listen(
    trail: Arc<ArcSwap<Trail>>,
    sender: UnboundedSender<Tick>,
) -> impl Fn(notify::Result<Event>) {
    move |event| {
        let tick = match event {
            Ok(event) => tick(&trail.load(), event),
            // Events were lost, so anything may have changed.
            Err(_) => Some(Tick::Changed),
        };
        if let Some(tick) = tick {
            // Nobody listens any more when the proxy ends.
            let _ = sender.send(tick);
        }
    }
}

fn tick(trail: &Trail, mut event: Event) -> Option<Tick> {
    if event.need_rescan() {
        return Some(Tick::Changed);
    }
    event.paths.retain(|path| trail.concerns(path));
    let path = event.paths.pop()?;
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(Tick::Closed(path)),
        // A directory watch sees reads too, our own among them.
        EventKind::Access(_) => None,
        EventKind::Modify(notify::event::ModifyKind::Data(_)) => Some(Tick::Written(path)),
        _ => Some(Tick::Changed),
    }
}

fn note(written: &mut HashSet<PathBuf>, tick: Tick) {
    match tick {
        // Only Linux tells when a file is closed.
        Tick::Written(path) if cfg!(target_os = "linux") => drop(written.insert(path)),
        Tick::Closed(path) => drop(written.remove(&path)),
        Tick::Written(_) | Tick::Changed | Tick::Differs => {}
    }
}

/// How long nothing may happen before the files are taken for whole. Where nobody tells of a closed file, longer.
const QUIET: Duration = Duration::from_millis(if cfg!(target_os = "linux") { 40 } else { 120 });
/// The same while a file is still open for writing.
const QUIET_WHILE_OPEN: Duration = Duration::from_millis(350);
/// How long between two looks at the files, at least; and as many times as long as a look takes.
const PAUSE_MIN: Duration = Duration::from_secs(5);
const PAUSE_FACTOR: u32 = 200;
/// How long the files must look the same where nobody tells when they are written.
const QUIET_BETWEEN_LOOKS: Duration = Duration::from_millis(500);
/// Somebody who writes without end does not keep all else from being taken.
const WAIT_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::tempdir;

    use super::*;

    /// Waits for the change that `edit` makes, and fails where none is told.
    async fn check(watch: &mut Watch, edit: impl FnOnce()) {
        edit();
        timeout(Duration::from_secs(20), watch.changed()).await.expect("the change is told");
    }

    #[tokio::test]
    async fn every_way_of_saving_is_one_change() {
        let home = tempdir().unwrap();
        let root = home.path().join("config.d");
        fs::create_dir(&root).unwrap();
        let file = root.join("10.yaml");
        let mut watch = Watch::new(&root).unwrap();
        check(&mut watch, || fs::write(&file, "a").unwrap()).await;
        check(&mut watch, || {
            fs::write(root.join("10.tmp"), "b").unwrap();
            fs::rename(root.join("10.tmp"), &file).unwrap();
        })
        .await;
        check(&mut watch, || fs::remove_file(&file).unwrap()).await;
        check(&mut watch, || fs::remove_dir(&root).unwrap()).await;
        check(&mut watch, || fs::create_dir(&root).unwrap()).await;
        check(&mut watch, || fs::write(&file, "c").unwrap()).await;
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_link_that_is_swapped_below_the_path_is_a_change() {
        use std::os::unix::fs::symlink;

        let home = tempdir().unwrap();
        let root = home.path().join("config.d");
        for version in ["v1", "v2"] {
            fs::create_dir_all(home.path().join(version)).unwrap();
            fs::write(home.path().join(version).join("10.yaml"), version).unwrap();
        }
        fs::create_dir(&root).unwrap();
        symlink("../v1", root.join("..data")).unwrap();
        symlink("..data/10.yaml", root.join("10.yaml")).unwrap();
        let mut watch = Watch::new(&root).unwrap();
        check(&mut watch, || {
            symlink("../v2", root.join("..new")).unwrap();
            fs::rename(root.join("..new"), root.join("..data")).unwrap();
        })
        .await;
        check(&mut watch, || fs::write(home.path().join("v2/10.yaml"), "v3").unwrap()).await;
    }

    /// A watch that no event reaches.
    fn blind(root: &Path) -> Watch {
        let trail = Arc::new(ArcSwap::from_pointee(Trail::default()));
        let deaf = Err(notify::Error::generic("deaf"));
        Watch::with(root, deaf, trail, unbounded_channel(), LOOKS).unwrap()
    }

    #[tokio::test]
    async fn where_no_event_comes_the_files_are_looked_at() {
        let home = tempdir().unwrap();
        let root = home.path().join("config.d");
        let mut watch = blind(&root);
        assert!(watch.blindness().is_some());
        check(&mut watch, || fs::create_dir(&root).unwrap()).await;
        check(&mut watch, || fs::write(root.join("10.yaml"), "a").unwrap()).await;
        check(&mut watch, || fs::write(root.join("10.yaml"), "ab").unwrap()).await;
        check(&mut watch, || fs::rename(root.join("10.yaml"), root.join("20.yaml")).unwrap()).await;
        check(&mut watch, || fs::remove_file(root.join("20.yaml")).unwrap()).await;
        let nothing = timeout(50 * LOOKS, watch.changed()).await;
        assert!(nothing.is_err(), "where nothing changes, nothing is told");
    }

    #[tokio::test]
    async fn reading_is_no_change() {
        let home = tempdir().unwrap();
        let file = home.path().join("config.yaml");
        fs::write(&file, "a").unwrap();
        let mut watch = Watch::new(&file).unwrap();
        fs::read(&file).unwrap();
        // The first event after the reading is the one of this change, so its own kind shows that none came before.
        fs::write(home.path().join("other"), "x").unwrap();
        fs::remove_file(&file).unwrap();
        let first = timeout(Duration::from_secs(20), watch.ticks.recv()).await.unwrap().unwrap();
        assert!(matches!(first, Tick::Changed), "{first:?}");
    }

    const LOOKS: Duration = Duration::from_millis(10);
}
