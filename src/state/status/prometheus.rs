//! A status as metrics, in OpenMetrics or in the older text format of Prometheus.

mod encoder;

use std::fmt::{self, Write as _};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, text},
    registry::Registry,
};

use self::encoder::FamilyEncoder;
use super::StatusDocument;

/// Writes `status` in the text format of OpenMetrics 1.0.
///
/// Every name has the prefix `mooltiroute_`, and the value of a label is a name of the configuration or a word of the
/// program.
pub(super) fn open_metrics(status: StatusDocument) -> String {
    let mut registry = Registry::with_prefix("mooltiroute");
    // The metrics are made from the same document as the status, so the two can't disagree. The
    // library only writes them, and keeps no counts of its own.
    registry.register_collector(Box::new(Exposition(status)));
    let mut text = String::new();
    // Writing into memory does not fail.
    let _ = text::encode(&mut text, &registry);
    text
}

/// Writes `status` in the text format 0.0.4 of Prometheus.
///
/// Samples are the same in both formats, and so are their names. The formats differ in the comments: OpenMetrics gives a
/// family its bare name and adds `_total` or `_info` to its samples, while Prometheus gives the family the name that its
/// samples have; Prometheus has no type `info`, and no mark at the end. So the comments of each family are rewritten.
pub(super) fn prometheus(status: StatusDocument) -> String {
    let open_metrics = open_metrics(status);
    let mut text = String::with_capacity(open_metrics.len() + open_metrics.len() / 16);
    let mut help = "";
    for line in open_metrics.lines() {
        if let Some(of_family) = line.strip_prefix("# HELP ") {
            // Written when the type is known, which comes next.
            help = of_family.split_once(' ').map_or("", |(_, help)| help);
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|family| family.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", kind),
                "info" => ("_info", "gauge"),
                _ => ("", kind),
            };
            // Writing into memory does not fail.
            let _ = write!(text, "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n");
        } else if line != "# EOF" {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[derive(Debug)]
struct Exposition(StatusDocument);

impl Collector for Exposition {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = FamilyEncoder(encoder);
        let status = &self.0;
        out.process(status)?;
        out.chains(status)?;
        out.hops(status)?;
        out.wire(status)?;
        out.budgets(status)?;
        out.documents(status)?;
        out.pools(status)
    }
}
