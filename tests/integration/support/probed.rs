//! Runs `mooltiroute probe` and reads its output, as text and as JSON.

use std::process::Output;

use serde_json::Value;
use tokio::task;

use super::{ConfigDir, PASSWORD, run};

/// Runs `probe` with `arguments` on `yaml` in both formats, and checks that they agree and show no secret.
pub(crate) async fn probe(yaml: &str, arguments: &[&str]) -> Probed {
    let config = ConfigDir::new(yaml);
    let path = config.path().to_str().unwrap().to_owned();
    let [human, json] = [run_probe(&path, arguments, "human"), run_probe(&path, arguments, "json")];
    let (human, json) = (human.await, json.await);
    let words = String::from_utf8([human.stdout, human.stderr].concat()).unwrap();
    let status = human.status.code();
    assert_eq!(json.status.code(), status, "{words}");
    let told: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(told["reached"], status == Some(0), "{told:#}");
    for shown in [&words, &told.to_string()] {
        let is_clean = [PASSWORD, "ZGV2OnNlY3JldA"].iter().all(|secret| !shown.contains(secret));
        assert!(is_clean, "{shown}");
    }
    Probed { words, told }
}

/// Runs `probe` to its end.
pub(crate) async fn run_probe(path: &str, arguments: &[&str], format: &str) -> Output {
    let mut all = vec!["probe", "-c", path, "--format", format];
    all.extend(arguments);
    let all: Vec<String> = all.into_iter().map(str::to_owned).collect();
    // The peers run in this process.
    task::spawn_blocking(move || run(all)).await.unwrap()
}

/// The output of a probe.
#[derive(Debug)]
pub(crate) struct Probed {
    /// The output for people.
    pub(crate) words: String,
    /// The output for programs.
    pub(crate) told: Value,
}

impl Probed {
    /// Returns the steps, each with its hop or target and with ` failed` if it has failed.
    #[track_caller]
    pub(crate) fn steps(&self) -> Vec<String> {
        let text = |step: &Value, key: &str| step[key].as_str().unwrap_or_default().to_owned();
        let steps = self.told["steps"].as_array().unwrap();
        for step in steps {
            let seconds = step["seconds"].as_f64().unwrap();
            assert!((0.0..30.0).contains(&seconds), "{}", self.told);
            assert!(self.words.contains(&text(step, "step")), "{}", self.words);
        }
        let shown = |step: &Value| {
            let hop = text(step, "hop");
            let who = if hop.is_empty() { "target" } else { &hop };
            let outcome = if step["error"].is_null() { "" } else { " failed" };
            format!("{} {who}{outcome}", text(step, "step"))
        };
        steps.iter().map(shown).collect()
    }

    /// Asserts that `hop`, or the target if that is empty, failed at `step`, and that people and programs read `words`.
    #[track_caller]
    pub(crate) fn blames(&self, hop: &str, step: &str, words: &str) {
        let Self { told, .. } = self;
        let failure = &told["failure"];
        assert_eq!(failure["hop"].as_str().unwrap_or_default(), hop, "{told:#}");
        let last = self.steps().pop().unwrap();
        let who = if hop.is_empty() { "target" } else { hop };
        assert_eq!(last, format!("{step} {who} failed"), "{told:#}");
        let text = failure["text"].as_str().unwrap();
        assert!(text.contains(words), "{text} lacks {words}");
        assert!(self.words.contains(words) && self.words.contains("not reached"), "{}", self.words);
    }

    /// Asserts that it took these steps, and got an answer with `status`.
    #[track_caller]
    pub(crate) fn reaches(&self, status: u16, steps: &[&str]) {
        // An answer that may be a hop's does not prove that the target was reached.
        let is_certain = self.told["perhaps_by"].is_null();
        let words = if is_certain { "\nreached in " } else { "\nanswered in " };
        assert!(self.words.contains(words), "{}", self.words);
        assert_eq!(self.told["status"], status, "{:#}", self.told);
        assert_eq!(self.steps(), steps, "{:#}", self.told);
    }
}
