//! A limit on the bytes that a hop may carry in a period.

mod period;

use std::sync::Arc;

pub(crate) use self::period::BudgetPeriod;
pub use self::period::{Per, Zone};

/// A limit on the bytes of a hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The bytes of one period, up and down.
    pub bytes: u64,
    /// The length of a period.
    pub per: Per,
    /// The zone in which periods begin.
    pub zone: Zone,
    /// The bytes after which a warning is logged.
    pub warn: u64,
    /// The consequence of using it up.
    pub then: Consequence,
    /// Whether open tunnels are ended too.
    pub cuts: bool,
}

/// The consequence of using a budget up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// New requests are refused.
    Refuse,
    /// New requests take this chain.
    Chain(Arc<str>),
}
