//! The ways in which files come to have other content: each is seen, and is one change.

mod missing_files;
#[cfg(target_os = "linux")]
mod mounts;
mod other_files;

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tempfile::TempDir;
use tokio::time::{sleep, timeout};

#[cfg(target_os = "linux")]
use crate::support::ConfigDir;
use crate::support::{Program, Proxy, pause, remove_and_write, rename, status};

#[tokio::test]
async fn a_file_that_is_given_is_replaced() {
    let home = Home::new();
    let file = home.file("only.yaml", &yaml(1));
    let watched = Watched::start(&file).await;
    watched.check(2, || fs::write(&file, yaml(2)).unwrap()).await;
    watched.check(3, || rename(home.file("new", &yaml(3)), &file)).await;
    watched
        .check(4, || {
            rename(&file, home.path("only.yaml.bak"));
            fs::write(&file, yaml(4)).unwrap();
        })
        .await;
    watched.check(5, || remove_and_write(&file, &yaml(5))).await;
}

// Other systems don't allow a watched directory to be moved.
/// The system limits how many directories a user may watch.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_directory_that_cannot_be_watched_is_named() {
    let config = ConfigDir::new("chains: { default: [exit] }\n");
    let elsewhere = TempDir::new().unwrap();
    let password = elsewhere.path().join("password");
    fs::write(&password, "one").unwrap();
    let hops = format!(
        "hops: {{ exit: {{ kind: socks5, address: \"127.0.0.1:9\", username: u, password_file: {} }} }}\n",
        password.display()
    );
    config.write("20-hops.yaml", &hops);
    let Some(proxy) = Proxy::with_one_watch(config).await else { return };
    let message =
        "the system reports no edits in this directory; they are noticed within some seconds";
    let event = proxy.event(message).await;
    assert!(event.field("advice").contains("max_user_watches"), "{}", event.text());
    fs::write(&password, "two").unwrap();
    proxy.event("config reloaded").await;
    // The one watch is that of the directory above them.
    let events = proxy.events().into_iter().filter(|event| event.message() == message);
    let mut told: Vec<_> = events.map(|event| PathBuf::from(event.field("directory"))).collect();
    let mut expected = [proxy.config().path().to_owned(), elsewhere.path().to_owned()];
    expected.sort();
    told.sort();
    assert_eq!(told, expected, "each is told once");
}

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

/// Writers that take their time, each with a file that is valid and means something else until they are done.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_open_file_is_never_served() {
    use std::process::{Child, Stdio};

    let home = Home::new();
    let directory = home.directory("config.d", 1);
    let file = directory.join("10.yaml");
    let slow = |script: &str| -> Child {
        Command::new("sh")
            .args(["-c", script])
            .current_dir(&directory)
            .stdin(Stdio::null())
            .spawn()
            .unwrap()
    };
    fs::write(home.path("new"), yaml(2)).unwrap();
    let watched = Watched::start(&directory).await;
    let writers = [
        "(sleep 2; cat ../new) > 10.yaml",
        "cat ../new | while read -r line; do echo \"$line\"; sleep 0.7; done > 10.yaml",
        // The second writer closes while the first one has it open.
        "(head -n 2 ../new; sleep 0.5; (: >> 10.yaml); sleep 1; tail -n 1 ../new) > 10.yaml",
        // In place, as `rsync --inplace` and `dd conv=notrunc` do.
        "(sleep 1; cat ../new; sleep 1) 1<> 10.yaml",
        // Two files; the second one is new.
        "(: > 20.yaml; sleep 1; cat ../new) > 10.yaml; rm 20.yaml",
    ];
    for script in writers {
        let before = watched.generation().await;
        let mut writer = slow(script);
        while writer.try_wait().unwrap().is_none() {
            let found = status(watched.0.address()).await["connections"]["limit"].clone();
            assert!(found == limit(1) || found == limit(2), "{script}: {found}");
            sleep(Duration::from_millis(20)).await;
        }
        watched.in_force(2, SEEN).await;
        let generations = watched.generation().await - before;
        assert_eq!(generations, 1, "{script}: {:#?}", watched.0.events());
        watched.check(1, || fs::write(&file, yaml(1)).unwrap()).await;
    }
    // A writer that dies has closed its file.
    let before = watched.generation().await;
    let mut writer = slow("exec sleep 100 > 20.yaml");
    fs::write(&file, yaml(3)).unwrap();
    sleep(Duration::from_millis(700)).await;
    assert_eq!(watched.generation().await, before, "20.yaml is open");
    watched.check(3, || writer.kill().unwrap()).await;
    writer.wait().unwrap();
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_start_waits_for_a_writer_that_was_there_before() {
    let home = Home::new();
    let directory = home.directory("config.d", 1);
    fs::write(home.path("new"), yaml(2)).unwrap();
    let mut writer = Command::new("sh")
        .args(["-c", "exec > 10.yaml; echo; sleep 1.5; cat ../new"])
        .current_dir(&directory)
        .spawn()
        .unwrap();
    while fs::read_to_string(directory.join("10.yaml")).unwrap() != "\n" {
        pause().await;
    }
    let watched = Watched(Proxy::at(&directory).await, AtomicUsize::new(0));
    watched.in_force(2, SEEN).await;
    assert_eq!(watched.generation().await, 1);
    writer.wait().unwrap();
}

#[tokio::test]
async fn an_emptied_file_is_not_taken_until_it_is_written() {
    let home = Home::new();
    let directory = home.directory("config.d", 1);
    let watched = Watched::start(&directory).await;
    let before = watched.generation().await;
    fs::write(directory.join("20.yaml"), "limits: { connections: 1002 }\n").unwrap();
    watched.in_force(2, SEEN).await;
    fs::write(directory.join("20.yaml"), "").unwrap();
    sleep(Duration::from_millis(700)).await;
    assert_eq!(watched.generation().await, before + 1, "it was closed, and is still awaited");
    watched
        .check(3, || {
            fs::write(directory.join("20.yaml"), "limits: { connections: 1003 }\n").unwrap();
        })
        .await;
    // A removed file is meant so, and a new one without content says nothing.
    watched.check(1, || fs::remove_file(directory.join("20.yaml")).unwrap()).await;
    fs::write(directory.join("30.yaml"), "").unwrap();
    watched.check(4, || fs::write(directory.join("10.yaml"), yaml(4)).unwrap()).await;
}

#[tokio::test]
async fn a_file_without_its_end_is_not_taken_before_the_rest_comes() {
    let home = Home::new();
    let directory = home.directory("config.d", 1);
    let file = directory.join("20.yaml");
    let beginning = "hops:\n  first: { kind: http-connect, address: '127.0.0.1:1' }\n";
    let second = "  second: { kind: http-connect, address: '127.0.0.1:1' }\n";
    let end = "chains:\n  default: [first]\n";
    let whole = format!("{beginning}{second}{end}");
    fs::write(&file, &whole).unwrap();
    let watched = Watched::start(&directory).await;
    let proxy = &watched.0;
    let generation = watched.generation().await;
    let edited = format!("{whole}limits: {{ connections: 1002 }}\n");
    fs::write(&file, beginning).unwrap();
    let told = proxy.event(WAITING_FOR_END).await;
    assert!(told.field("files").ends_with("20.yaml"), "{told:?}");
    assert_eq!(watched.generation().await, generation);
    fs::write(&file, &edited).unwrap();
    watched.in_force(2, SEEN).await;
    assert_eq!(watched.generation().await, generation + 1, "no generation without the chain");
    assert!(status(proxy.address()).await["went_direct"].is_null());
    // One that stays as it is means what it says.
    fs::write(&file, beginning).unwrap();
    let direct = proxy.event("targets that went through hops go direct now").await;
    assert!(direct.field("targets").contains("any other host"), "{direct:?}");
    // The end of a block is a place where an edit ends too.
    fs::write(&file, &whole).unwrap();
    watched.reaches(generation + 3).await;
    let begun = std::time::Instant::now();
    fs::write(&file, format!("{beginning}{second}")).unwrap();
    watched.reaches(generation + 4).await;
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

/// Programs that write a header, and the rest a moment later. The time in the header is another one each time.
#[tokio::test]
async fn a_file_without_its_settings_is_not_taken_before_the_rest_comes() {
    let home = Home::new();
    let directory = home.directory("config.d", 1);
    let file = directory.join("20.yaml");
    fs::write(&file, format!("# made at 10:00\n{HOP}")).unwrap();
    let watched = Watched::start(&directory).await;
    for (number, header) in [(2, "# made at 10:00\n"), (3, "---\n# made at 11:00\n"), (4, "---\n")]
    {
        let (seen, generation) = (watched.0.events().len(), watched.generation().await);
        fs::write(&file, header).unwrap();
        watched.0.event_after(seen, WAITING_FOR_END).await;
        assert_eq!(watched.generation().await, generation, "{header}");
        fs::write(&file, format!("{header}{HOP}limits: {{ connections: {} }}\n", limit(number)))
            .unwrap();
        watched.in_force(number, SEEN).await;
        assert_eq!(watched.generation().await, generation + 1, "{header}");
    }
    assert!(status(watched.0.address()).await["went_direct"].is_null());
    // One that keeps only a comment means what it says.
    fs::write(&file, "# nothing\n").unwrap();
    watched.0.event("targets that went through hops go direct now").await;
}

/// A name in another directory for the same file: a write there makes no event here, as on a network file system.
#[tokio::test]
async fn changes_without_an_event_are_found_too() {
    let home = Home::new();
    let directory = home.directory("config.d", 1);
    let elsewhere = home.path("elsewhere.yaml");
    fs::hard_link(directory.join("10.yaml"), &elsewhere).unwrap();
    let watched = Watched::start(&directory).await;
    let mut file = OpenOptions::new().write(true).truncate(true).open(&elsewhere).unwrap();
    file.write_all(yaml(2).as_bytes()).unwrap();
    drop(file);
    watched.in_force(2, SEEN_LATE).await;
}

/// The proxy on what is at a path.
#[derive(Debug)]
struct Watched(Proxy, AtomicUsize);

impl Watched {
    /// Begins on the first configuration.
    async fn start(path: &Path) -> Self {
        let watched = Self(Proxy::at(path).await, AtomicUsize::new(0));
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

    /// Waits for one reload more than the last time.
    #[cfg_attr(not(unix), expect(dead_code, reason = "only a test with links counts reloads"))]
    async fn reloaded(&self) {
        let count = self.1.fetch_add(1, Ordering::Relaxed) + 1;
        let asked = async {
            while status(self.0.address()).await["reloads"]["applied"] != count {
                pause().await;
            }
        };
        let events = || self.0.events();
        assert!(timeout(SEEN, asked).await.is_ok(), "reload {count}: {:#?}", events());
    }

    /// Waits for the generation of this number.
    async fn reaches(&self, number: u64) {
        let asked = async {
            while self.generation().await != number {
                pause().await;
            }
        };
        let events = || self.0.events();
        assert!(timeout(SEEN, asked).await.is_ok(), "generation {number}: {:#?}", events());
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

/// Settings by which everything goes through a hop.
const HOP: &str = "hops: { first: { kind: http-connect, address: '127.0.0.1:1' } }\nchains: { default: [first] }\n";

const WAITING_FOR_END: &str =
    "these files look incomplete, and targets would go direct; waiting for the rest";

/// The contract's 500 ms, and what a busy machine may add, which is much under Wine.
const SEEN: Duration = Duration::from_secs(if cfg!(windows) { 30 } else { 3 });
/// The time if no event comes, and the files are looked at every few seconds.
const SEEN_LATE: Duration = Duration::from_secs(20);
/// The pause of a slow writer between two lines.
const BETWEEN_LINES: Duration = Duration::from_millis(40);
