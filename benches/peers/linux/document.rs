//! Writes `BENCHMARKS.md` and its picture from the method and the results of a run.

use std::{fmt::Write as _, fs, path::Path, time::SystemTime};

use super::{picture, results::Results};

/// Fills the placeholders of the method, and replaces `BENCHMARKS.md` and the picture in it.
pub(super) fn write(results: &Results, table: &str) {
    let text = METHOD
        .replace("{rounds}", &results.plan.rounds.to_string())
        .replace("{idle}", &results.plan.idle_tunnels.to_string())
        .replace("{openings}", &results.plan.openings.to_string())
        .replace("{crowds}", &results.plan.crowds.to_string())
        .replace("{tails}", &results.plan.tails.to_string())
        .replace("{machine}", &machine(results))
        .replace("{picture}", PICTURE)
        .replace("{table}", table);
    for (name, text) in [("BENCHMARKS.md", text), ("BENCHMARKS.svg", picture::render(results))] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        fs::write(&file, text).unwrap();
        println!("written: {}", file.display());
    }
}

/// Returns a list of the machine and the versions of the programs.
fn machine(results: &Results) -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let processors = read("/proc/cpuinfo");
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_once(':'));
        value.map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
    };
    let count = processors.lines().filter(|line| line.starts_with("processor")).count();
    let mut text = format!(
        "- {}: {count} × {}, {} of memory, Linux {}\n",
        humantime::format_rfc3339_seconds(SystemTime::now()),
        field(&processors, "model name"),
        field(&read("/proc/meminfo"), "MemTotal"),
        read("/proc/sys/kernel/osrelease").trim(),
    );
    for peer in results.peers.iter().filter(|peer| !peer.version.is_empty()) {
        let _ = writeln!(text, "- {}: {}", peer.name, peer.version);
    }
    text
}

/// The link to the picture. It is not in the method, because the links there are checked and the picture may not exist yet.
const PICTURE: &str = "![Processor time of each program without hops, in multiples of the bare relay](BENCHMARKS.svg)";
const METHOD: &str = include_str!("../method.md");
