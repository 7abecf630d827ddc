//! The ways in which files come to have other content: each is seen, and is one change.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::support::{Program, Proxy, pause, status};

#[tokio::test]
async fn a_file_that_is_given_is_replaced() {
    let home = Home::new();
    let file = home.file("only.yaml", &yaml(1));
    let watched = Watched::start(&file).await;
    watched.check(2, || fs::write(&file, yaml(2)).unwrap()).await;
    watched.check(3, || fs::rename(home.file("new", &yaml(3)), &file).unwrap()).await;
    watched
        .check(4, || {
            fs::rename(&file, home.path("only.yaml.bak")).unwrap();
            fs::write(&file, yaml(4)).unwrap();
        })
        .await;
    watched
        .check(5, || {
            fs::remove_file(&file).unwrap();
            fs::write(&file, yaml(5)).unwrap();
        })
        .await;
}

// Elsewhere nobody moves a directory that is being watched.
#[cfg(unix)]
#[tokio::test]
async fn a_directory_is_moved_made_again_and_filled() {
    let home = Home::new();
    let directory = home.directory("config.d", 1);
    let watched = Watched::start(&directory).await;
    watched
        .check(2, || {
            let next = home.directory("next", 2);
            fs::rename(&directory, home.path("last")).unwrap();
            fs::rename(next, &directory).unwrap();
        })
        .await;
    watched
        .check(3, || {
            fs::remove_dir_all(&directory).unwrap();
            home.directory("config.d", 3);
        })
        .await;
    // And the one that was made is watched as the first was.
    watched.check(4, || fs::write(directory.join("10.yaml"), yaml(4)).unwrap()).await;
}

#[cfg(unix)]
#[tokio::test]
async fn links_on_the_way_are_followed_at_any_depth() {
    use std::os::unix::fs::symlink;

    let home = Home::new();
    for version in 1..=3 {
        home.directory(&format!("v{version}"), version);
    }
    let swap = |link: &str, target: &str| {
        symlink(target, home.path("new")).unwrap();
        fs::rename(home.path("new"), home.path(link)).unwrap();
    };
    swap("inner", "v1");
    swap("middle", "inner");
    swap("outer", "middle");
    let watched = Watched::start(&home.path("outer")).await;
    watched.check(2, || swap("inner", "v2")).await;
    watched.check(3, || swap("middle", "v3")).await;
    watched.check(4, || fs::write(home.path("v3/10.yaml"), yaml(4)).unwrap()).await;
    watched.check(1, || swap("outer", "v1")).await;
}

#[tokio::test]
async fn a_file_in_pieces_is_never_taken_in_part() {
    let home = Home::new();
    let directory = home.directory("config.d", 1);
    let watched = Watched::start(&directory).await;
    let before = watched.generation().await;
    let mut file = fs::File::create(directory.join("10.yaml")).unwrap();
    for line in yaml(2).split_inclusive('\n') {
        file.write_all(line.as_bytes()).unwrap();
        file.flush().unwrap();
        sleep(BETWEEN_LINES).await;
    }
    watched.check(2, || drop(file)).await;
    assert_eq!(watched.generation().await, before + 1);
}

#[tokio::test]
async fn of_a_burst_the_last_one_wins() {
    let home = Home::new();
    let directory = home.directory("config.d", 1);
    let watched = Watched::start(&directory).await;
    let before = watched.generation().await;
    watched
        .check(500, || {
            (1..=500)
                .for_each(|number| fs::write(directory.join("10.yaml"), yaml(number)).unwrap());
        })
        .await;
    let generations = watched.generation().await - before;
    assert!(generations <= 5, "{generations} generations of 500 writes");
}

#[tokio::test]
async fn other_programs_save_in_their_own_way() {
    let home = Home::new();
    let directory = home.directory("config.d", 1);
    let watched = Watched::start(&directory).await;
    if let Some(sed) = Program::find_or_skip("sed") {
        let arguments = ["-i.bak", "s/1001/1002/", "10.yaml"];
        watched.check(2, || run_at(&directory, &sed, &arguments)).await;
    }
    if let Some(git) = Program::find_or_skip("git") {
        let git = |arguments: &[&str]| {
            let who = ["-c", "user.name=Tester", "-c", "user.email=tester@origin.test"];
            run_at(&directory, &git, &[&who, arguments].concat());
        };
        git(&["init", "--quiet"]);
        for number in [3, 4] {
            watched
                .check(number, || fs::write(directory.join("10.yaml"), yaml(number)).unwrap())
                .await;
            git(&["add", "10.yaml"]);
            git(&["commit", "--quiet", "--message", "Save"]);
        }
        watched.check(3, || git(&["checkout", "--quiet", "HEAD~1"])).await;
        watched.check(4, || git(&["checkout", "--quiet", "-"])).await;
    }
}

/// A name in another directory for the same file: a write there makes no event here, as on a network file system.
#[tokio::test]
async fn what_no_event_tells_is_found_all_the_same() {
    let home = Home::new();
    let directory = home.directory("config.d", 1);
    let elsewhere = home.path("elsewhere.yaml");
    fs::hard_link(directory.join("10.yaml"), &elsewhere).unwrap();
    let watched = Watched::start(&directory).await;
    let mut file = OpenOptions::new().write(true).truncate(true).open(&elsewhere).unwrap();
    file.write_all(yaml(2).as_bytes()).unwrap();
    watched.in_force(2, SEEN_LATE).await;
}

/// The proxy on what is at a path.
#[derive(Debug)]
struct Watched(Proxy);

impl Watched {
    /// Begins on the first configuration.
    async fn start(path: &Path) -> Self {
        let watched = Self(Proxy::at(path).await);
        watched.in_force(1, SEEN).await;
        watched
    }

    /// Makes an edit, and waits until the configuration of this number is in force.
    async fn check(&self, number: usize, edit: impl FnOnce()) {
        edit();
        self.in_force(number, SEEN).await;
    }

    async fn in_force(&self, number: usize, soon: Duration) {
        let asked = async {
            while status(self.0.address()).await["connections"]["limit"] != limit(number) {
                pause().await;
            }
        };
        let events = || self.0.events();
        assert!(timeout(soon, asked).await.is_ok(), "{number} within {soon:?}: {:#?}", events());
    }

    async fn generation(&self) -> u64 {
        status(self.0.address()).await["generation"].as_u64().unwrap()
    }
}

/// A configuration that can be told from others by its number. Without its last line it is valid, too.
fn yaml(number: usize) -> String {
    let limit = limit(number);
    format!(
        "server: {{ listen: \"127.0.0.1:0\" }}\nchains: {{ default: [] }}\nlimits: {{ connections: {limit} }}\n"
    )
}

fn limit(number: usize) -> usize {
    1000 + number
}

/// Runs a program to its end.
fn run_at(directory: &Path, program: &Program, arguments: &[&str]) {
    let output =
        Command::new(program.path()).current_dir(directory).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

/// A place for files.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, yaml: &str) -> PathBuf {
        fs::write(self.path(name), yaml).unwrap();
        self.path(name)
    }

    fn directory(&self, name: &str, number: usize) -> PathBuf {
        fs::create_dir(self.path(name)).unwrap();
        self.file(&format!("{name}/10.yaml"), &yaml(number));
        self.path(name)
    }
}

/// The contract's 500 ms, and what a busy machine may add.
const SEEN: Duration = Duration::from_secs(3);
/// Where the files must be looked at from time to time.
const SEEN_LATE: Duration = Duration::from_secs(20);
/// How long somebody takes who writes one line after the other.
const BETWEEN_LINES: Duration = Duration::from_millis(40);
