//! The limits of heads, as the configuration sets them for every message.

use crate::{config::Limits, http::HeadLimits};

impl From<Limits> for HeadLimits {
    fn from(limits: Limits) -> Self {
        Self { bytes: limits.header_bytes, fields: limits.header_fields }
    }
}
