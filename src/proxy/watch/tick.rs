//! Translates events of the system to their meaning for the files of a configuration.

use std::{path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use notify::{
    Event, EventKind,
    event::{AccessKind, AccessMode, ModifyKind},
};
use tokio::sync::mpsc::UnboundedSender;

use super::trail::Trail;

/// An event that concerns a file of the configuration, or a name on the way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tick {
    /// A process has made the file and has it open.
    Begun(PathBuf),
    /// It has new content, and may get more.
    Written(PathBuf),
    /// A writer has closed it.
    Closed(PathBuf),
    /// The name came, went, or is that of another file now.
    Renamed(PathBuf),
    /// Anything may have changed.
    Changed,
    /// The files look different, perhaps without an event.
    Differs,
}

/// Returns a handler that sends a tick for every event on the trail.
pub(super) fn listen(
    trail: Arc<ArcSwap<Trail>>,
    sender: UnboundedSender<Tick>,
) -> impl FnMut(notify::Result<Event>) {
    // The two events of an `open` that makes a file come in a row, so one path is all that has to be remembered.
    let mut last_made = None;
    move |event| {
        let tick = match event {
            Ok(event) => translate(&trail.load(), event, &mut last_made),
            // Events were lost, so anything may have changed.
            Err(_) => Some(Tick::Changed),
        };
        if let Some(tick) = tick {
            // The receiver is gone when the proxy ends.
            let _ = sender.send(tick);
        }
    }
}

/// Returns what `event` means, or `None` if it changes nothing.
///
/// A file that is made by `open` has two events in a row, one for the name and one for the open file; only then is
/// there a writer whose close will be reported. A name that is made by `link` or `symlink` has just the first. All other
/// opens are ignored: the proxy's own reading makes them too.
fn translate(trail: &Trail, event: Event, last_made: &mut Option<PathBuf>) -> Option<Tick> {
    let made = last_made.take();
    if event.need_rescan() {
        return Some(Tick::Changed);
    }
    // Events come for every file in a watched directory, and only those on the trail count. A rename has two
    // names, and the new one is asked first.
    // A directory also reports when it is renamed or removed itself.
    let is_gone =
        matches!(event.kind, EventKind::Modify(ModifyKind::Name(_)) | EventKind::Remove(_));
    let concerns = |path: &PathBuf| trail.concerns(path) || (is_gone && trail.leads_through(path));
    let path = event.paths.into_iter().rev().find(concerns)?;
    let was_made = made.as_deref() == Some(&*path);
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(Tick::Closed(path)),
        EventKind::Access(AccessKind::Open(_)) if was_made => Some(Tick::Begun(path)),
        EventKind::Access(_) => None,
        // Nothing writes to a directory. Linux reports a time that tar has set in this way.
        EventKind::Modify(ModifyKind::Data(_)) if trail.leads_through(&path) => Some(Tick::Changed),
        EventKind::Modify(ModifyKind::Data(_)) => Some(Tick::Written(path)),
        EventKind::Modify(ModifyKind::Metadata(_)) => Some(Tick::Changed),
        EventKind::Create(_) => {
            *last_made = Some(path.clone());
            Some(Tick::Renamed(path))
        }
        _ => Some(Tick::Renamed(path)),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use notify::event::{CreateKind, DataChange};

    use super::*;

    #[test]
    fn only_the_open_that_made_a_file_begins_it() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("a.yaml");
        let trail = Trail::to(&file, &[]);
        let mut made = None;
        let mut tell = |kind, path: &Path| {
            translate(&trail, Event::new(kind).add_path(path.to_owned()), &mut made)
        };
        let create = EventKind::Create(CreateKind::File);
        let open = EventKind::Access(AccessKind::Open(AccessMode::Any));
        let close = EventKind::Access(AccessKind::Close(AccessMode::Write));
        let write = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        assert_eq!(tell(open, &file), None, "a reader");
        assert_eq!(tell(create, &file), Some(Tick::Renamed(file.clone())));
        assert_eq!(tell(open, &file), Some(Tick::Begun(file.clone())));
        assert_eq!(tell(open, &file), None);
        assert_eq!(tell(write, &file), Some(Tick::Written(file.clone())));
        assert_eq!(tell(close, &file), Some(Tick::Closed(file.clone())));
        assert_eq!(tell(write, &home.path().join("log")), None);
        assert_eq!(tell(write, home.path()), None, "a directory that holds more than the file");
        let trail = Trail::to(home.path(), &[]);
        let told = translate(&trail, Event::new(write).add_path(home.path().to_owned()), &mut None);
        assert_eq!(told, Some(Tick::Changed));
    }
}
