//! A status in the text format of OpenMetrics, which Prometheus reads.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet, text},
    metrics::MetricType,
    registry::Registry,
};

use super::{Hop, Status};
use crate::metrics::{Failure, Totals};

/// The whole text. Every name has the prefix `mooltiroute_`, every label's value is a name of the configuration or a
/// word of the program.
pub(super) fn text(status: Status) -> String {
    let mut registry = Registry::with_prefix("mooltiroute");
    registry.register_collector(Box::new(Exposition(status)));
    let mut text = String::new();
    // Writing into memory does not fail.
    let _ = text::encode(&mut text, &registry);
    text
}

#[derive(Debug)]
struct Exposition(Status);

impl Collector for Exposition {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out(encoder);
        let status = &self.0;
        out.process(status)?;
        out.chains(status)?;
        out.hops(status)
    }
}

struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    fn process(&mut self, status: &Status) -> fmt::Result {
        let version = [("version", status.version)];
        self.family("build", "The program", MetricType::Info)?.encode_info(&version)?;
        self.gauge("uptime_seconds", "How long the process runs", status.uptime_seconds)?;
        self.gauge("config_generation", "The generation in force", status.generation)?;
        let is_rejected = u64::from(status.rejected.is_some());
        self.gauge(
            "config_rejected",
            "1 while what is on disk is not what is in force",
            is_rejected,
        )?;
        let mut reloads = self.family("reloads", "Reloads by outcome", MetricType::Counter)?;
        for (outcome, count) in [
            ("applied", status.reloads.applied),
            ("unchanged", status.reloads.unchanged),
            ("rejected", status.reloads.rejected),
        ] {
            count_with(&mut reloads, &[("outcome", outcome)], count)?;
        }
        let generations = status.generations.len() as u64;
        self.gauge("generations", "Generations in use, the one in force too", generations)?;
        let requests = status.generations.iter().map(|one| one.requests as u64).sum();
        self.gauge("requests_under_way", "Requests that have not ended", requests)?;
        let (open, limit) = (status.connections.open as u64, status.connections.limit as u64);
        self.gauge("connections_open", "Clients' connections", open)?;
        self.gauge("connections_limit", "How many connections there may be", limit)
    }

    fn chains(&mut self, status: &Status) -> fmt::Result {
        let chains: Vec<_> = status.chains.iter().map(|(name, totals)| (&**name, totals)).collect();
        self.totals("", "chain", &chains)?;
        let help = "Connections by whether a spare tunnel was there (hit, miss), and spares that were dead (stale)";
        let mut taken = self.family("warm", help, MetricType::Counter)?;
        for (name, warm) in &status.warm {
            for (outcome, count) in
                [("hit", warm.hits), ("miss", warm.misses), ("stale", warm.stale)]
            {
                count_with(&mut taken, &[("chain", &**name), ("outcome", outcome)], count)?;
            }
        }
        let mut waiting =
            self.family("warm_waiting", "Spare tunnels that wait", MetricType::Gauge)?;
        for (name, warm) in &status.warm {
            waiting.encode_family(&[("chain", &**name)])?.encode_gauge(&warm.waiting)?;
        }
        Ok(())
    }

    fn hops(&mut self, status: &Status) -> fmt::Result {
        let hops: Vec<_> = status.hops.iter().map(|(name, hop)| (&**name, &hop.totals)).collect();
        self.totals("hop_", "hop", &hops)?;
        let help = "What went wrong, at which hop (none: at the target) and stage, by the error of RFC 9209";
        let mut failures = self.family("failures", help, MetricType::Counter)?;
        let named = status.hops.iter().map(|(name, hop)| (&**name, &hop.failures));
        for (hop, failed) in named.chain([("", &status.target_failures)]) {
            for Failure { stage, error, count } in failed {
                let labels = [("hop", hop), ("stage", *stage), ("error", *error)];
                count_with(&mut failures, &labels, *count)?;
            }
        }
        let help = "How long a hop took to agree to a tunnel";
        let mut handshakes = self.family("hop_handshake_seconds", help, MetricType::Histogram)?;
        for (name, Hop { handshakes: buckets, .. }) in &status.hops {
            handshakes.encode_family(&[("hop", &**name)])?.encode_histogram::<NoLabelSet>(
                buckets.seconds,
                buckets.count,
                &buckets.counts,
                None,
            )?;
        }
        Ok(())
    }

    /// What is counted for each chain, and for each hop.
    fn totals(&mut self, prefix: &str, label: &str, all: &[(&str, &Totals)]) -> fmt::Result {
        type Pick = fn(&Totals) -> u64;
        let counters: [(&str, &str, Pick); 3] = [
            ("requests", "Plain requests that began", |totals| totals.requests),
            ("tunnels", "Tunnels that were opened", |totals| totals.tunnels_opened),
            (
                "failed",
                "Tunnels that could not be opened, and requests without a whole answer",
                |totals| totals.failed,
            ),
        ];
        for (name, help, pick) in counters {
            let name = format!("{prefix}{name}");
            let mut family = self.family(&name, help, MetricType::Counter)?;
            for (name, totals) in all {
                count_with(&mut family, &[(label, *name)], pick(totals))?;
            }
        }
        let name = format!("{prefix}tunnels_open");
        let mut open = self.family(&name, "Tunnels that are open", MetricType::Gauge)?;
        for (name, totals) in all {
            open.encode_family(&[(label, *name)])?.encode_gauge(&totals.tunnels_open)?;
        }
        let name = format!("{prefix}bytes");
        let help = "Bytes that moved, from clients (sent) and to them (received)";
        let mut bytes = self.family(&name, help, MetricType::Counter)?;
        for (name, totals) in all {
            for (direction, count) in
                [("sent", totals.bytes_sent), ("received", totals.bytes_received)]
            {
                count_with(&mut bytes, &[(label, *name), ("direction", direction)], count)?;
            }
        }
        Ok(())
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.family(name, help, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn family<'b>(
        &'b mut self,
        name: &'b str,
        help: &str,
        kind: MetricType,
    ) -> Result<MetricEncoder<'b>, fmt::Error> {
        self.0.encode_descriptor(name, &format!("{help}."), None, kind)
    }
}

fn count_with(
    family: &mut MetricEncoder<'_>,
    labels: &impl EncodeLabelSet,
    count: u64,
) -> fmt::Result {
    family.encode_family(labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)
}
