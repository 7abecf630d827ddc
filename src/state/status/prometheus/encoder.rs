//! Writes the families of metrics.

use std::fmt::{self};

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet},
    metrics::MetricType,
};

use crate::{
    metrics::{Failure, Totals},
    state::status::{BudgetStatus, HopTotals, StatusDocument, pools::ListedCounts},
};

pub(super) struct FamilyEncoder<'a>(pub(super) DescriptorEncoder<'a>);

impl FamilyEncoder<'_> {
    pub(super) fn process(&mut self, status: &StatusDocument) -> fmt::Result {
        let version = [("version", status.version)];
        self.family("build", "The version of the program, as a label", MetricType::Info)?
            .encode_info(&version)?;
        self.gauge("uptime_seconds", "Seconds since the process started", status.uptime_seconds)?;
        self.gauge(
            "config_generation",
            "Number of the configuration generation in force",
            status.generation,
        )?;
        let is_rejected = u64::from(status.rejected.is_some());
        self.gauge(
            "config_rejected",
            "1 while the configuration on disk is rejected, 0 otherwise",
            is_rejected,
        )?;
        let mut reloads =
            self.family("reloads", "Configuration reloads, by outcome", MetricType::Counter)?;
        // All outcomes are written, also at zero, so that a rate shows the first one that happens.
        for (outcome, count) in [
            ("applied", status.reloads.applied),
            ("unchanged", status.reloads.unchanged),
            ("rejected", status.reloads.rejected),
        ] {
            count_with(&mut reloads, &[("outcome", outcome)], count)?;
        }
        let generations = status.generations.len() as u64;
        self.gauge(
            "generations",
            "Configuration generations in use, including the one in force",
            generations,
        )?;
        let requests = status.generations.iter().map(|one| one.requests as u64).sum();
        self.gauge("requests_under_way", "Requests in progress", requests)?;
        let (open, limit) = (status.connections.open as u64, status.connections.limit as u64);
        self.gauge("connections_open", "Open client connections", open)?;
        self.gauge(
            "connections_limit",
            "Maximum number of client connections (limits.connections)",
            limit,
        )?;
        let help = "Requests that server.auth refused, by what the client sent";
        let mut refusals = self.family("auth_refusals", help, MetricType::Counter)?;
        let counts = &status.auth_refusals;
        for (sent, count) in [
            ("no_credentials", counts.without_credentials),
            ("wrong_credentials", counts.with_wrong_credentials),
        ] {
            count_with(&mut refusals, &[("sent", sent)], count)?;
        }
        Ok(())
    }

    pub(super) fn chains(&mut self, status: &StatusDocument) -> fmt::Result {
        let chains: Vec<_> = status.chains.iter().map(|(name, totals)| (&**name, totals)).collect();
        self.totals("", "chain", &chains)?;
        let help = "Connections that found a spare tunnel (hit) or none (miss), and spare tunnels found dead (stale)";
        let mut taken = self.family("warm", help, MetricType::Counter)?;
        for (name, warm) in &status.warm {
            for (outcome, count) in
                [("hit", warm.hits), ("miss", warm.misses), ("stale", warm.stale)]
            {
                count_with(&mut taken, &[("chain", &**name), ("outcome", outcome)], count)?;
            }
        }
        let mut waiting =
            self.family("warm_waiting", "Spare tunnels ready for use", MetricType::Gauge)?;
        // A family at a time: the format does not allow samples of two families to alternate.
        for (name, warm) in &status.warm {
            waiting.encode_family(&[("chain", &**name)])?.encode_gauge(&warm.waiting)?;
        }
        Ok(())
    }

    pub(super) fn hops(&mut self, status: &StatusDocument) -> fmt::Result {
        let hops: Vec<_> = status.hops.iter().map(|(name, hop)| (&**name, &hop.totals)).collect();
        self.totals("hop_", "hop", &hops)?;
        let help = "Failures by hop (empty for the target), stage and RFC 9209 error type";
        let mut failures = self.family("failures", help, MetricType::Counter)?;
        // Failures of targets have an empty label, so one sum over the family has all failures.
        let named = status.hops.iter().map(|(name, hop)| (&**name, &hop.failures));
        for (hop, failed) in named.chain([("", &status.target_failures)]) {
            for Failure { stage, error, count } in failed {
                let labels = [("hop", hop), ("stage", *stage), ("error", *error)];
                count_with(&mut failures, &labels, *count)?;
            }
        }
        let help = "Seconds that a hop took to accept a tunnel";
        let mut handshakes = self.family("hop_handshake_seconds", help, MetricType::Histogram)?;
        for (name, HopTotals { handshakes: buckets, .. }) in &status.hops {
            handshakes.encode_family(&[("hop", &**name)])?.encode_histogram::<NoLabelSet>(
                buckets.seconds,
                buckets.count,
                &buckets.counts,
                None,
            )?;
        }
        Ok(())
    }

    pub(super) fn wire(&mut self, status: &StatusDocument) -> fmt::Result {
        let help = "Bytes on the wire through a hop, as a provider bills them, restarts included";
        let mut bytes = self.family("hop_wire_bytes", help, MetricType::Counter)?;
        for (name, sum) in &status.wire {
            for (direction, count) in [("sent", sum.sent), ("received", sum.received)] {
                count_with(&mut bytes, &[("hop", &**name), ("direction", direction)], count)?;
            }
        }
        Ok(())
    }

    pub(super) fn budgets(&mut self, status: &StatusDocument) -> fmt::Result {
        type Pick = fn(&BudgetStatus) -> u64;
        let gauges: [(&str, &str, Pick); 5] = [
            ("budget_bytes", "Budget of a hop for each period, in bytes", |one| one.bytes),
            ("budget_used_bytes", "Bytes of the current period", |one| one.used),
            ("budget_period_seconds_left", "Seconds until the next period", |one| one.seconds_left),
            (
                "budget_warning",
                "1 once usage has passed the budget's warning threshold, 0 before",
                |one| u64::from(one.is_warned),
            ),
            ("budget_used_up", "1 while the budget is used up, 0 otherwise", |one| {
                u64::from(one.is_reached)
            }),
        ];
        for (name, help, pick) in gauges {
            let mut family = self.family(name, help, MetricType::Gauge)?;
            for (hop, budget) in &status.budgets {
                family.encode_family(&[("hop", &**hop)])?.encode_gauge(&pick(budget))?;
            }
        }
        let help = "Requests that a budget refused or sent through another chain";
        let mut refused = self.family("budget_refused", help, MetricType::Counter)?;
        for (hop, budget) in &status.budgets {
            count_with(&mut refused, &[("hop", &**hop)], budget.refused)?;
        }
        Ok(())
    }

    /// Writes how fresh the PAC files and the lists at a URL are. One that was never loaded has no time.
    pub(super) fn documents(&mut self, status: &StatusDocument) -> fmt::Result {
        // A list in a file is a part of the configuration, which has metrics of its own.
        let lists = status.lists.iter().filter(|(_, list)| list.is_fetched);
        let lists = lists.map(|(hop, list)| (hop, "list", list));
        let pac_files = status.pac_files.iter().map(|(hop, file)| (hop, "pac", file));
        let all: Vec<_> = lists.chain(pac_files).collect();
        let help = "Unix time of the last successful fetch of a proxy list or a PAC file";
        let name = "document_last_success_timestamp_seconds";
        let mut times = self.family(name, help, MetricType::Gauge)?;
        for (hop, kind, document) in &all {
            let Some(at) = document.confirmed_seconds else { continue };
            times.encode_family(&[("hop", hop.as_str()), ("kind", *kind)])?.encode_gauge(&at)?;
        }
        let help = "1 while the last attempt to load a list of proxies or a PAC file has failed, 0 otherwise";
        let mut failing = self.family("document_failing", help, MetricType::Gauge)?;
        for (hop, kind, document) in &all {
            let is_failing = u64::from(document.problem.is_some());
            failing
                .encode_family(&[("hop", hop.as_str()), ("kind", *kind)])?
                .encode_gauge(&is_failing)?;
        }
        Ok(())
    }

    /// Writes the counts of the members of pools. The labels of a long list are bounded: the rest has the label `other`.
    pub(super) fn pools(&mut self, status: &StatusDocument) -> fmt::Result {
        let help =
            "Members of a pool that are in use (working), or left out after a failure (left_out)";
        let mut members = self.family("pool_members", help, MetricType::Gauge)?;
        for (hop, pool) in &status.pools {
            // Counts of the whole pool, also of members that have no labels of their own.
            let left_out = pool.members - pool.working;
            for (state, count) in [("working", pool.working), ("left_out", left_out)] {
                let labels = [("hop", &**hop), ("state", state)];
                members.encode_family(&labels)?.encode_gauge(&(count as u64))?;
            }
        }
        let help = "1 while a member of a pool is in use, 0 while it is left out after a failure";
        let mut up = self.family("pool_member_up", help, MetricType::Gauge)?;
        for (hop, pool) in &status.pools {
            for member in &pool.shown {
                let labels = [("hop", &**hop), ("member", &*member.label)];
                up.encode_family(&labels)?.encode_gauge(&u64::from(member.working))?;
            }
        }
        type OfMember = fn(&ListedCounts) -> u64;
        let counters: [(&str, &str, OfMember); 3] = [
            ("pool_member_connections", "Connections that a member of a pool carried", |counts| {
                counts.reached
            }),
            ("pool_member_failures", "Connections that failed at a member of a pool", |counts| {
                counts.failed
            }),
            (
                "pool_member_refusals",
                "Requests that a member of a pool refused, perhaps because of their target",
                |counts| counts.refused,
            ),
        ];
        for (name, help, pick) in counters {
            let mut family = self.family(name, help, MetricType::Counter)?;
            for (hop, pool) in &status.pools {
                let shown = pool.shown.iter().map(|member| (&*member.label, &member.counts));
                let other = pool.other.as_ref().map(|other| ("other", &other.counts));
                for (member, counts) in shown.chain(other) {
                    count_with(&mut family, &[("hop", &**hop), ("member", member)], pick(counts))?;
                }
            }
        }
        Ok(())
    }

    /// Writes the counts that chains and hops have in common.
    fn totals(&mut self, prefix: &str, label: &str, all: &[(&str, &Totals)]) -> fmt::Result {
        type OfTotals = fn(&Totals) -> u64;
        let (requests, tunnels) = match label {
            "hop" => ("Plain HTTP requests sent through the hop", "Tunnels opened through the hop"),
            _ => ("Plain HTTP requests received", "Tunnels opened"),
        };
        let counters: [(&str, &str, OfTotals); 3] = [
            ("requests", requests, |totals| totals.requests),
            ("tunnels", tunnels, |totals| totals.tunnels_opened),
            (
                "failed",
                "Tunnels that could not be opened, and requests without a complete response",
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
        let mut open = self.family(&name, "Tunnels open now", MetricType::Gauge)?;
        for (name, totals) in all {
            open.encode_family(&[(label, *name)])?.encode_gauge(&totals.tunnels_open)?;
        }
        let name = format!("{prefix}bytes");
        let help = "Bytes passed on from clients (sent) and to clients (received)";
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

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.family(name, help, MetricType::Gauge)?.encode_gauge(&value)
    }

    pub(super) fn family<'b>(
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
