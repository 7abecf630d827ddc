//! What is measured.

/// A column of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Figure {
    TunnelRate,
    TunnelCpu,
    BulkRate,
    BulkCpu,
    Latency,
    RequestRate,
    RequestCpu,
    Idle,
    Start,
    Resident,
    Opening,
    RoundTrips,
}

impl Figure {
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::TunnelRate => "tunnels/s",
            Self::TunnelCpu => "CPU µs/tunnel",
            Self::BulkRate => "GB/s",
            Self::BulkCpu => "CPU s/GB",
            Self::Latency => "added µs",
            Self::RequestRate => "requests/s",
            Self::RequestCpu => "CPU µs/request",
            Self::Idle => "KiB/idle tunnel",
            Self::Start => "start ms",
            Self::Resident => "RSS MB",
            Self::Opening => "ms to open",
            Self::RoundTrips => "round trips to open",
        }
    }

    pub(super) fn decimals(self) -> usize {
        match self {
            Self::TunnelRate | Self::TunnelCpu | Self::RequestRate => 0,
            Self::Latency
            | Self::RequestCpu
            | Self::Idle
            | Self::Start
            | Self::Resident
            | Self::Opening => 1,
            Self::BulkRate | Self::BulkCpu | Self::RoundTrips => 2,
        }
    }

    /// Whether more is better.
    pub(super) fn is_rate(self) -> bool {
        matches!(self, Self::TunnelRate | Self::BulkRate | Self::RequestRate)
    }
}
