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
    /// The processor time of everything but the proxy: clients, hops and origin.
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
    MessageHalf,
    Message99,
    Message999,
    Opening99,
    Opening999,
    /// The rate of the tunnel that moves as much as it can.
    BesideRate,
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
            Self::MessageHalf => "message ms, half",
            Self::Message99 => "99 %",
            Self::Message999 => "99.9 %",
            Self::Opening99 => "opening ms, 99 %",
            Self::Opening999 => "99.9 %",
            Self::BesideRate => "GB/s beside",
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
            Self::MessageHalf
            | Self::Message99
            | Self::Message999
            | Self::Opening99
            | Self::Opening999
            | Self::BesideRate
            | Self::BulkRate
            | Self::BulkCpu
            | Self::BulkOthers
            | Self::RoundTrips => 2,
        }
    }

    /// Returns whether a larger figure is better.
    pub(super) fn is_rate(self) -> bool {
        matches!(
            self,
            Self::TunnelRate
                | Self::BulkRate
                | Self::RequestRate
                | Self::MessageRate
                | Self::BesideRate
        )
    }

    /// Returns whether ratios of this figure are meaningful.
    pub(super) fn is_compared(self) -> bool {
        !matches!(self, Self::Open | Self::Growth)
    }
}
