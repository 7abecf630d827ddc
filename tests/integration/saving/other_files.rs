//! Files beside the one that is edited: those that are not read, those that are saved all the time, and those that a
//! setting names.

use std::{
    fs,
    io::Write as _,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio::{task, time::sleep};

use super::{Home, SEEN, Watched, limit, yaml};
use crate::support::{rename, status};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_not_read_delays_nothing() {
    let home = Home::new();
    let directory = home.directory("config.d", 1);
    let watched = Watched::start(&directory).await;
    let names = ["log", ".10.yaml.swp", "10.yaml~", "#10.yaml#", "notes.txt"];
    let mut logs: Vec<_> =
        names.iter().map(|name| fs::File::create(directory.join(name)).unwrap()).collect();
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                logs.iter_mut().for_each(|log| log.write_all(b"line\n").unwrap());
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let before = std::time::Instant::now();
        fs::write(directory.join("10.yaml"), yaml(2)).unwrap();
        task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(watched.in_force(2, SEEN));
        });
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(before.elapsed() < SEEN);
    });
    let reloads = status(watched.0.address()).await["reloads"].clone();
    assert_eq!(reloads["unchanged"], 0, "{reloads}");
}

/// A program that saves one file all the time must not delay the edit of another, nor have it read before it is closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_saved_all_the_time_does_not_delay_the_edit_of_another() {
    let home = Home::new();
    let directory = home.directory("config.d", 1);
    let noisy = directory.join("05-noise.yaml");
    fs::write(&noisy, "timeouts: { drain: 30s }\n").unwrap();
    let watched = Watched::start(&directory).await;
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                fs::write(home.path("noise"), "timeouts: { drain: 30s }\n").unwrap();
                rename(home.path("noise"), &noisy);
                std::thread::sleep(BETWEEN_SAVES);
            }
        });
        // Ends the thread if an assertion fails, too.
        let _over = Over(&is_over);
        let work = async {
            let edited = |number| {
                fs::write(directory.join("10.yaml"), yaml(number)).unwrap();
                std::time::Instant::now()
            };
            let mut slowest = Duration::ZERO;
            for number in 2..5 {
                let begun = edited(number);
                watched.in_force(number, SEEN).await;
                slowest = slowest.max(begun.elapsed());
            }
            // The contract is about a second, and a busy machine may add as much again.
            assert!(slowest < SLOWEST, "{slowest:?}");
            // Only Linux tells that a file is still open.
            if !cfg!(target_os = "linux") {
                return;
            }
            // The first part of this one is valid, and means something else.
            let mut file = fs::File::create(directory.join("10.yaml")).unwrap();
            file.write_all(yaml(7).as_bytes()).unwrap();
            sleep(Duration::from_secs(2)).await;
            assert_eq!(status(watched.0.address()).await["connections"]["limit"], limit(4));
            file.write_all(b"log: { access: false }\n").unwrap();
            drop(file);
            watched.in_force(7, SEEN).await;
        };
        task::block_in_place(|| tokio::runtime::Handle::current().block_on(work));
    });
}

/// The pause of that program. The files are read between two saves, which takes longer under Wine, and this is still less than
/// the time for which files must look the same.
const BETWEEN_SAVES: Duration = Duration::from_millis(if cfg!(windows) { 150 } else { 10 });
/// How long an edit may take beside such a file.
const SLOWEST: Duration = Duration::from_secs(if cfg!(windows) { 30 } else { 2 });

/// Sets a flag at its end.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Each file that a setting names, wherever it is, in every way in which secrets are rotated.
#[cfg(unix)]
#[tokio::test]
async fn a_file_that_a_setting_names_is_watched() {
    use std::os::unix::fs::symlink;

    let home = Home::new();
    let directory = home.directory("config.d", 1);
    for place in ["config.d/secrets", "away", "away/..1", "away/..2"] {
        fs::create_dir(home.path(place)).unwrap();
        fs::write(home.path(place).join("pw"), format!("one at {place}\n")).unwrap();
    }
    symlink("..1", home.path("away/..data")).unwrap();
    symlink("..data/pw", home.path("away/link")).unwrap();
    let yaml_with = |file: &str| {
        yaml(1)
            + &format!(
                "hops: {{ a: {{ kind: http-connect, address: \"a.test:1\", username: u, password_file: {file} }} }}\n"
            )
    };
    let absolute = home.path("away/pw").display().to_string();
    let swap = |target: &str| {
        symlink(target, home.path("away/new")).unwrap();
        fs::rename(home.path("away/new"), home.path("away/..data")).unwrap();
    };
    for root in ["config.d", "config.d/10.yaml"] {
        let watched = Watched::start(&home.path(root)).await;
        for file in ["secrets/pw", "../away/pw", &absolute] {
            fs::write(directory.join("10.yaml"), yaml_with(file)).unwrap();
            watched.reloaded().await;
            let path = directory.join(file);
            fs::write(&path, "in place\n").unwrap();
            watched.reloaded().await;
            fs::write(home.path("fresh"), "by rename\n").unwrap();
            rename(home.path("fresh"), &path);
            watched.reloaded().await;
        }
        fs::write(directory.join("10.yaml"), yaml_with("../away/link")).unwrap();
        watched.reloaded().await;
        swap("..2");
        watched.reloaded().await;
        swap("..1");
        watched.reloaded().await;
        fs::write(directory.join("10.yaml"), yaml(1)).unwrap();
        watched.reloaded().await;
        // One that is not there yet rejects the edit, and its coming is seen.
        fs::write(directory.join("10.yaml"), yaml_with("secrets/late")).unwrap();
        watched.0.event("config rejected").await;
        fs::write(directory.join("secrets/late"), "late\n").unwrap();
        watched.reloaded().await;
        fs::remove_file(directory.join("secrets/late")).unwrap();
        fs::write(directory.join("10.yaml"), yaml(1)).unwrap();
        watched.reloaded().await;
    }
}
