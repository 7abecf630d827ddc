//! The chains and hops that an edit has removed. A status keeps their counts.

use std::{
    collections::HashSet,
    io::{self, Write},
};

use serde_json::Value;

use super::{list, number};

/// The names of the chains and hops that are no longer configured and have nothing open.
#[derive(Debug, Default)]
pub(super) struct Removed<'a> {
    chains: HashSet<&'a str>,
    hops: HashSet<&'a str>,
}

impl<'a> Removed<'a> {
    /// Returns those of `status`. A proxy of an earlier version does not say which ones are removed.
    pub(super) fn of(status: &'a Value) -> Self {
        let idle = |key: &str| {
            let names = list(&status["removed"][key]).iter().filter_map(Value::as_str);
            names.filter(|name| number(&status[key][*name]["tunnels_open"]) == 0).collect()
        };
        Self { chains: idle("chains"), hops: idle("hops") }
    }

    /// Returns the other entries below `key` of `status`, which is `chains` or `hops`.
    pub(super) fn others<'b>(
        &self,
        key: &str,
        status: &'b Value,
    ) -> impl Iterator<Item = (&'b String, &'b Value)> {
        self.others_of(key, &status[key])
    }

    /// Returns the other entries of `entries`, whose keys are names of `key`.
    pub(super) fn others_of<'b>(
        &self,
        key: &str,
        entries: &'b Value,
    ) -> impl Iterator<Item = (&'b String, &'b Value)> {
        let removed = if key == "hops" { &self.hops } else { &self.chains };
        let all = entries.as_object().into_iter().flatten();
        all.filter(|(name, _)| !removed.contains(name.as_str()))
    }

    /// Says how many there are, if there are any.
    pub(super) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let count = |names: &HashSet<_>, noun: &str| match names.len() {
            0 => None,
            1 => Some(format!("1 {noun}")),
            many => Some(format!("{many} {noun}s")),
        };
        let counts: Vec<_> =
            count(&self.chains, "chain").into_iter().chain(count(&self.hops, "hop")).collect();
        if counts.is_empty() {
            return Ok(());
        }
        writeln!(
            out,
            "not listed: {}, no longer configured, with nothing open; `--format json` and `/metrics` keep the counts",
            counts.join(" and ")
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::commands::status::table;

    #[test]
    fn what_is_no_longer_configured_is_only_counted_unless_it_is_in_use() {
        let idle = json!({ "tunnels_open": 0, "requests": 7 });
        let failed = json!({ "tunnels_open": 0, "failures": [{ "stage": "dial", "error": "x", "count": 1 }],
                             "last_failure": { "at": "now", "cause": "gone" } });
        let status = json!({
            "chains": { "now": idle, "old-idle": idle, "old-busy": { "tunnels_open": 1 } },
            "hops": { "now": idle, "old-hop": failed, "older": idle },
            "warm": { "now": { "hits": 1 }, "old-idle": { "hits": 1 } },
            "removed": { "chains": ["old-idle", "old-busy"], "hops": ["old-hop", "older"] },
        });
        let mut out = Vec::new();
        table::write(&status, &mut out).unwrap();
        let told = String::from_utf8(out).unwrap();
        for name in ["old-idle", "old-hop", "older"] {
            assert!(!told.contains(name), "{name}: {told}");
        }
        assert!(told.contains("old-busy"), "{told}");
        let line = "\nnot listed: 1 chain and 2 hops, no longer configured, with nothing open; ";
        assert!(told.contains(line), "{told}");
    }
}
