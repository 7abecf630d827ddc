//! Files that are gone for a moment or for good, and directories in their place.

use std::{
    fs,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use super::{HOP, Home, SEEN, Watched, limit};
use crate::support::{outcome, rename, status};

const WAITING: &str = "these files are missing, and targets would go direct; waiting for them, or for `mooltiroute \
reload`";
const WENT_DIRECT: &str = "targets that went through hops go direct now";

/// A directory of which one file sends everything through a hop.
async fn start(home: &Home) -> (std::path::PathBuf, Watched) {
    let directory = home.directory("config.d", 1);
    fs::write(directory.join("20.yaml"), HOP).unwrap();
    (directory.join("20.yaml"), Watched::start(&directory).await)
}

#[tokio::test]
async fn a_file_that_is_gone_for_a_moment_keeps_its_settings() {
    let home = Home::new();
    let (file, watched) = start(&home).await;
    let (proxy, generation) = (&watched.0, watched.generation().await);
    rename(&file, home.path("20.yaml~"));
    let told = proxy.event(WAITING).await;
    assert!(told.field("files").ends_with("20.yaml"), "{told:?}");
    assert_eq!(watched.generation().await, generation);
    let waiting_for = status(proxy.address()).await["waiting_for"].clone();
    assert!(
        waiting_for[0].as_str().unwrap().ends_with(&format!("20.yaml: {WAITING}")),
        "{waiting_for}"
    );
    fs::write(&file, format!("{HOP}limits: {{ connections: {} }}\n", limit(2))).unwrap();
    watched.in_force(2, SEEN).await;
    assert_eq!(watched.generation().await, generation + 1, "no generation without the file");
    let status = status(proxy.address()).await;
    assert!(status["went_direct"].is_null());
    assert_eq!(status["waiting_for"], serde_json::json!([]));
}

/// A file that comes back while the others are read, or while it is looked for.
#[tokio::test]
async fn a_file_that_comes_back_at_any_moment_keeps_its_settings() {
    let home = Home::new();
    let (file, watched) = start(&home).await;
    let generation = watched.generation().await;
    for gap in 0..40 {
        rename(&file, home.path("20.yaml~"));
        sleep(Duration::from_millis(30 + gap)).await;
        fs::write(&file, HOP).unwrap();
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(watched.generation().await, generation, "{:#?}", watched.0.events());
}

#[tokio::test]
async fn a_file_that_stays_away_is_removed_after_five_seconds() {
    let home = Home::new();
    let (file, watched) = start(&home).await;
    let begun = Instant::now();
    fs::remove_file(&file).unwrap();
    let direct = watched.0.event(WENT_DIRECT).await;
    assert!(direct.field("targets").contains("any other host"), "{direct:?}");
    assert!(begun.elapsed() >= Duration::from_secs(5), "{:?}", begun.elapsed());
    // What is left sends nothing through hops, so the next one goes at once.
    let file = file.with_file_name("30.yaml");
    fs::write(&file, format!("limits: {{ connections: {} }}\n", limit(2))).unwrap();
    watched.in_force(2, SEEN).await;
    watched.check(1, || fs::remove_file(&file).unwrap()).await;
    let waits = watched.0.events().iter().filter(|event| event.message() == WAITING).count();
    assert_eq!(waits, 1);
}

/// Whether the watch or the order is first, and in the middle of the wait.
#[tokio::test]
async fn an_order_takes_a_removal_at_once() {
    for is_waiting in [false, true] {
        let home = Home::new();
        let (file, watched) = start(&home).await;
        let begun = Instant::now();
        fs::remove_file(&file).unwrap();
        if is_waiting {
            watched.0.event(WAITING).await;
        }
        let address = watched.0.address().to_string();
        let asked = watched.0.command_for(&["reload", "--address", &address]);
        let (code, out, error) = outcome(&asked);
        assert_eq!(code, Some(0), "{error}");
        assert!((out + &error).contains("go direct now: any other host"), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_hangup_takes_a_removal_at_once() {
    let home = Home::new();
    let (file, mut watched) = start(&home).await;
    let begun = Instant::now();
    fs::remove_file(&file).unwrap();
    watched.0.event(WAITING).await;
    watched.0.signal(rustix::process::Signal::HUP);
    watched.0.event(WENT_DIRECT).await;
    // The signal is a reload of its own, too.
    watched.0.event("config unchanged").await;
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

/// Docker makes a directory if the file to mount does not exist.
#[tokio::test]
async fn a_directory_in_place_of_a_file_rejects_the_reload() {
    let home = Home::new();
    let (file, watched) = start(&home).await;
    let generation = watched.generation().await;
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let rejected = watched.0.event("config rejected").await;
    assert!(rejected.field("problems").contains("20.yaml: this is a directory"), "{rejected:?}");
    assert_eq!(watched.generation().await, generation);
    fs::remove_dir(&file).unwrap();
    fs::write(&file, format!("{HOP}limits: {{ connections: {} }}\n", limit(2))).unwrap();
    watched.in_force(2, SEEN).await;
}
