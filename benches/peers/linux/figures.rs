//! The columns of the tables.

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
    /// Of all processes but the proxy: clients, hops, origin.
    BulkOthers,
    RequestOthers,
    Idle,
    Start,
    Resident,
    Opening,
    RoundTrips,
    Open,
    MessageRate,
    ResidentOpen,
    ResidentUsed,
    Growth,
    ResidentClosed,
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
            Self::BulkOthers => "others' CPU s/GB",
            Self::RequestOthers => "others' CPU µs/request",
            Self::Idle => "KiB/idle tunnel",
            Self::Start => "start ms",
            Self::Resident => "RSS MB",
            Self::Opening => "ms to open",
            Self::RoundTrips => "round trips to open",
            Self::Open => "tunnels",
            Self::MessageRate => "messages/s",
            Self::ResidentOpen => "RSS MB before",
            Self::ResidentUsed => "RSS MB after",
            Self::Growth => "growth %",
            Self::ResidentClosed => "RSS MB closed",
        }
    }

    pub(super) fn decimals(self) -> usize {
        match self {
            Self::TunnelRate
            | Self::TunnelCpu
            | Self::RequestRate
            | Self::Open
            | Self::MessageRate => 0,
            Self::Latency
            | Self::RequestCpu
            | Self::RequestOthers
            | Self::Idle
            | Self::Start
            | Self::Resident
            | Self::Opening
            | Self::ResidentOpen
            | Self::ResidentUsed
            | Self::Growth
            | Self::ResidentClosed => 1,
            Self::BulkRate | Self::BulkCpu | Self::BulkOthers | Self::RoundTrips => 2,
        }
    }

    /// Whether a larger figure is better.
    pub(super) fn is_rate(self) -> bool {
        matches!(self, Self::TunnelRate | Self::BulkRate | Self::RequestRate | Self::MessageRate)
    }

    /// Whether the ratio of two figures means anything.
    pub(super) fn is_compared(self) -> bool {
        !matches!(self, Self::Open | Self::Growth)
    }
}
