//! The dashboard and the alert rules ask for metrics that exist.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

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

#[test]
fn dashboard_and_rules_use_documented_metrics() {
    // The table has the names of families; samples have a suffix.
    let bare = |name: &str| {
        let suffixes = ["_total", "_bucket", "_sum", "_count", "_info"];
        let mut name = name;
        while let Some(shorter) = suffixes.iter().find_map(|suffix| name.strip_suffix(suffix)) {
            name = shorter;
        }
        name.to_owned()
    };
    let known: BTreeSet<_> =
        metrics(&read("docs/operations.md")).iter().map(|name| bare(name)).collect();
    for path in [RULES, DASHBOARD] {
        let used = metrics(&read(path));
        assert!(used.len() > 5, "{path} uses {used:?}");
        for name in used {
            assert!(known.contains(&bare(&name)), "{path} uses {name}, which does not exist");
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

#[test]
fn promtool_accepts_the_rules() {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join(RULES);
    match Command::new("promtool").arg("check").arg("rules").arg(rules).output() {
        Ok(output) => assert!(output.status.success(), "{output:?}"),
        Err(error) => {
            let is_required =
                std::env::var_os("MOOLTIROUTE_PEERS").is_some_and(|peers| peers == "required");
            assert!(!is_required, "promtool: {error}");
        }
    }
}
