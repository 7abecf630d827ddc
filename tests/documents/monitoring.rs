//! The dashboard and the alert rules ask for metrics that exist.

use std::{collections::BTreeSet, fs, path::Path};

const RULES: &str = "contrib/prometheus/mooltiroute.rules.yaml";
const DASHBOARD: &str = "contrib/grafana/mooltiroute.json";

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Returns every name of a metric in `text`.
fn metrics(text: &str) -> BTreeSet<String> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let starts = text.match_indices("mooltiroute_").map(|(start, _)| &text[start..]);
    starts.map(|rest| rest.chars().take_while(|letter| is_part(*letter)).collect()).collect()
}

/// Returns the names of all samples of the metrics in the table of `page`. A histogram has three kinds of them.
fn samples(page: &str) -> BTreeSet<String> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `mooltiroute_"));
    let rows = rows.filter_map(|row| row.split_once("` | "));
    let samples = rows.flat_map(|(name, rest)| {
        let suffixes: &[&str] = match rest.starts_with("histogram ") {
            true => &["_bucket", "_sum", "_count"],
            false => &[""],
        };
        suffixes.iter().map(move |suffix| format!("mooltiroute_{name}{suffix}"))
    });
    samples.collect()
}

#[test]
fn dashboard_and_rules_use_documented_metrics() {
    let known = samples(&read("docs/operations.md"));
    assert!(known.contains("mooltiroute_uptime_seconds"), "{known:?}");
    for path in [RULES, DASHBOARD] {
        let used = metrics(&read(path));
        assert!(used.len() > 5, "{path} uses {used:?}");
        for name in used {
            assert!(known.contains(&name), "{path} uses {name}, which does not exist");
        }
    }
}

#[test]
fn every_panel_of_the_dashboard_has_a_query() {
    let dashboard: serde_json::Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    for panel in panels {
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty() && panel["title"].is_string(), "{panel}");
        for target in targets {
            let text = target["expr"].as_str().unwrap();
            assert_eq!(text.matches('(').count(), text.matches(')').count(), "{text}");
        }
    }
}
