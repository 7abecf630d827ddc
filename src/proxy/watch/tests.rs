//! Tests of the watch with real files.

use std::fs;

use tempfile::tempdir;
use tokio::time::timeout;

use super::{completeness::QUIET_BEFORE_LOOK, *};

/// Waits for the change that `edit` makes, and fails if none is reported.
async fn check(watch: &mut Watch, edit: impl FnOnce()) {
    edit();
    timeout(TOLD_WITHIN, watch.changed()).await.expect("the change is noticed");
}

#[tokio::test]
async fn every_way_of_saving_is_one_change() {
    let home = tempdir().unwrap();
    let root = home.path().join("config.d");
    fs::create_dir(&root).unwrap();
    let file = root.join("10.yaml");
    let mut watch = Watch::new(&root).unwrap().begin_polling().unwrap();
    check(&mut watch, || fs::write(&file, "a").unwrap()).await;
    check(&mut watch, || {
        fs::write(root.join("10.tmp"), "b").unwrap();
        fs::rename(root.join("10.tmp"), &file).unwrap();
    })
    .await;
    check(&mut watch, || fs::remove_file(&file).unwrap()).await;
    // On Windows, a directory that is watched may stay until its watch ends.
    if !cfg!(windows) {
        check(&mut watch, || fs::remove_dir(&root).unwrap()).await;
        check(&mut watch, || fs::create_dir(&root).unwrap()).await;
    }
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
    let mut watch = Watch::new(&root).unwrap().begin_polling().unwrap();
    check(&mut watch, || {
        symlink("../v2", root.join("..new")).unwrap();
        fs::rename(root.join("..new"), root.join("..data")).unwrap();
    })
    .await;
    check(&mut watch, || fs::write(home.path().join("v2/10.yaml"), "v3").unwrap()).await;
}

/// Linux reports a time that is set alone as a write, as tar sets that of the directory and of its files. No close follows.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_close_that_nothing_will_tell_is_not_waited_for() {
    let home = tempdir().unwrap();
    let root = home.path().join("config.d");
    let file = root.join("10.yaml");
    fs::create_dir(&root).unwrap();
    fs::write(&file, "a: 1").unwrap();
    let mut watch = Watch::new(&root).unwrap();
    for path in [&root, &file] {
        let time = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        check(&mut watch, || fs::File::open(path).unwrap().set_modified(time).unwrap()).await;
    }
}

/// The directory of the second name is not watched, so only the file itself can tell.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_write_by_a_second_name_is_a_change() {
    let home = tempdir().unwrap();
    let root = home.path().join("config.d");
    let (file, second) = (root.join("10.yaml"), home.path().join("second.yaml"));
    let password = home.path().join("secrets/password");
    fs::create_dir(&root).unwrap();
    fs::create_dir(password.parent().unwrap()).unwrap();
    fs::write(&password, "a").unwrap();
    fs::hard_link(&password, home.path().join("current")).unwrap();
    fs::write(&file, "a").unwrap();
    let mut watch = Watch::new(&root).unwrap();
    watch.set_named(&[password]);
    check(&mut watch, || fs::write(home.path().join("current"), "ab").unwrap()).await;
    // A link changes nothing in the directory of the file, so the next look finds it.
    fs::hard_link(&file, &second).unwrap();
    check(&mut watch, || fs::write(&file, "a: 1").unwrap()).await;
    check(&mut watch, || fs::write(&second, "ab").unwrap()).await;
    check(&mut watch, || fs::remove_file(&file).unwrap()).await;
    // It is no file of the configuration any more.
    fs::write(&second, "abc").unwrap();
    check(&mut watch, || fs::hard_link(&second, &file).unwrap()).await;
    check(&mut watch, || fs::write(&second, "abcd").unwrap()).await;
}

/// Creates a watch that no event reaches.
fn blind(root: &Path) -> Watch {
    let trail = Arc::new(ArcSwap::from_pointee(Trail::default()));
    let deaf = Err(notify::Error::generic("deaf"));
    Watch::with(root, deaf, trail, unbounded_channel(), LOOKS).unwrap().begin_polling().unwrap()
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
    if cfg!(unix) {
        check(&mut watch, || {
            let file = root.join("10.yaml");
            let time = fs::metadata(&file).unwrap().modified().unwrap();
            fs::write(&file, "ac").unwrap();
            fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
        })
        .await;
    }
    check(&mut watch, || fs::rename(root.join("10.yaml"), root.join("20.yaml")).unwrap()).await;
    check(&mut watch, || fs::remove_file(root.join("20.yaml")).unwrap()).await;
    let nothing = timeout(50 * LOOKS, watch.changed()).await;
    assert!(nothing.is_err(), "without a change there is no event");
}

/// Creates a watch that looks soon after each change, and never again unless it is blind.
#[cfg(target_os = "linux")]
fn impatient(root: &Path) -> Watch {
    let trail = Arc::new(ArcSwap::from_pointee(Trail::default()));
    let (sender, ticks) = unbounded_channel();
    let watcher = notify::recommended_watcher(listen(Arc::clone(&trail), sender.clone()));
    Watch::with(root, watcher, trail, (sender, ticks), LOOKS).unwrap()
}

/// As a program is replaced with its configuration: by the old directory's move away and the new one's into its place.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_directory_above_the_root_may_be_replaced() {
    let home = tempdir().unwrap();
    let [current, next] = ["current", "next"].map(|name| home.path().join(name));
    for version in [&current, &next] {
        fs::create_dir_all(version.join("config.d")).unwrap();
        fs::write(version.join("config.d/10.yaml"), "a").unwrap();
    }
    let mut watch = impatient(&current.join("config.d")).begin_polling().unwrap();
    sleep(20 * LOOKS).await;
    check(&mut watch, || {
        fs::rename(&current, home.path().join("last")).unwrap();
        fs::rename(&next, &current).unwrap();
    })
    .await;
    sleep(20 * LOOKS).await;
    check(&mut watch, || fs::write(current.join("config.d/10.yaml"), "ab").unwrap()).await;
    sleep(20 * LOOKS).await;
    check(&mut watch, || fs::remove_dir_all(&current).unwrap()).await;
    check(&mut watch, || fs::rename(home.path().join("last"), &current).unwrap()).await;
}

/// A file in place of a directory is as hard to look through as a file system that does not answer, and the system reports
/// nothing of what comes in its place.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_root_that_cannot_be_reached_is_looked_at_until_it_can() {
    let home = tempdir().unwrap();
    let (above, password) = (home.path().join("above"), home.path().join("secrets/password"));
    for named in [false, true] {
        fs::write(&above, "no directory").unwrap();
        let (root, lost) = match named {
            false => (above.join("config.d"), above.join("config.d/10.yaml")),
            true => (home.path().join("10.yaml"), above.join("password")),
        };
        let mut watch = impatient(&root);
        watch.set_named(&[lost.clone(), password.clone()]);
        let mut watch = watch.begin_polling().unwrap();
        assert!(watch.is_blind.load(Relaxed));
        // Beyond the look that comes once after each change.
        sleep(20 * LOOKS).await;
        check(&mut watch, || {
            fs::remove_file(&above).unwrap();
            fs::create_dir_all(lost.parent().unwrap()).unwrap();
            fs::write(&lost, "a").unwrap();
        })
        .await;
        assert_eq!(watch.is_blind.load(Relaxed), !poller::reports_all_changes(home.path()));
        check(&mut watch, || fs::write(&lost, "ab").unwrap()).await;
        drop(watch);
        fs::remove_dir_all(&above).unwrap();
    }
}

/// Without events, no look tells that a file is complete which is saved before the next one.
#[tokio::test]
async fn a_file_that_is_saved_all_the_time_holds_up_no_other_without_events() {
    let home = tempdir().unwrap();
    let root = home.path().join("config.d");
    fs::create_dir(&root).unwrap();
    let mut watch = blind(&root);
    let (stop, stopped) = mpsc::channel::<std::convert::Infallible>();
    let (new, noisy) = (home.path().join("new"), root.join("05-noise.yaml"));
    let noise = thread::spawn(move || {
        while stopped.recv_timeout(LOOKS) == Err(mpsc::RecvTimeoutError::Timeout) {
            fs::write(&new, "a: 1").unwrap();
            // Wine refuses this while the file is being read.
            let _ = fs::rename(&new, &noisy);
        }
    });
    check(&mut watch, || fs::write(root.join("10.yaml"), "b: 2").unwrap()).await;
    drop(stop);
    noise.join().unwrap();
}

#[tokio::test]
async fn a_file_that_grows_is_not_complete() {
    let home = tempdir().unwrap();
    let root = home.path().join("config.d");
    fs::create_dir(&root).unwrap();
    let mut watch = blind(&root);
    let file = root.join("10.yaml");
    let mut text = String::new();
    let mut grow = || {
        text.push_str("# more\n");
        fs::write(&file, &text).unwrap();
    };
    grow();
    {
        let changed = watch.changed();
        tokio::pin!(changed);
        // Longer than a burst.
        for _ in 0..200 {
            let waited = timeout(LOOKS, &mut changed).await;
            assert!(waited.is_err(), "it is taken while it grows");
            grow();
        }
    }
    check(&mut watch, || ()).await;
}

/// A writer outside of the container makes no event here, and shows no process. The own process is one that is never looked at.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_file_that_an_unseen_process_has_open_is_not_complete() {
    let home = tempdir().unwrap();
    let root = home.path().join("config.yaml");
    fs::write(&root, "a: 1\nb: 2\n").unwrap();
    let mut watch = blind(&root);
    let mut file = fs::File::create(&root).unwrap();
    std::io::Write::write_all(&mut file, b"a: 1\n").unwrap();
    {
        let changed = watch.changed();
        tokio::pin!(changed);
        let waited = timeout(Duration::from_secs(2), &mut changed).await;
        assert!(waited.is_err(), "it is taken before it is closed");
    }
    check(&mut watch, || drop(file)).await;
}

#[tokio::test]
async fn a_change_outlives_a_wait_that_is_given_up() {
    let home = tempdir().unwrap();
    let file = home.path().join("config.yaml");
    fs::write(&file, "a").unwrap();
    let mut watch = Watch::new(&file).unwrap().begin_polling().unwrap();
    fs::write(&file, "b").unwrap();
    // Each wait is shorter than `QUIET_BEFORE_LOOK`, so it ends only if this thread is held up. Together they take in every event
    // of the edit.
    for _ in 0..20 {
        if timeout(QUIET_BEFORE_LOOK / 4, watch.changed()).await.is_ok() {
            return;
        }
    }
    // Before the look at the files that would find the edit without an event.
    timeout(PAUSE_MIN / 2, watch.changed()).await.expect("the change is not forgotten");
}

#[tokio::test]
async fn reading_is_no_change() {
    let home = tempdir().unwrap();
    let file = home.path().join("config.yaml");
    fs::write(&file, "a").unwrap();
    let mut watch = Watch::new(&file).unwrap().begin_polling().unwrap();
    fs::read(&file).unwrap();
    // The first event after the reading is the one of this change, so its own kind shows that none came before.
    fs::write(home.path().join("other"), "x").unwrap();
    fs::remove_file(&file).unwrap();
    let first = timeout(Duration::from_secs(20), watch.ticks.recv()).await.unwrap().unwrap();
    assert_eq!(first, Tick::Renamed(file));
}

const LOOKS: Duration = Duration::from_millis(10);
/// How long a change may take to be reported. After a slow look, the pause before the next one is long, and looks are slow under
/// Wine when the machine is busy.
const TOLD_WITHIN: Duration = Duration::from_secs(if cfg!(windows) { 180 } else { 20 });
