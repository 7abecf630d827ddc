//! Reads the sections `timeouts` and `limits`.

use mooltiroute_hops::KeyPath;

use crate::config::{Limits, Timeouts, raw, resolve::Resolver, units::Period};

impl Resolver<'_> {
    pub(super) fn timeouts(&mut self) -> Timeouts {
        let raw = self.section::<raw::RawTimeouts>("timeouts");
        let limit = |Period(period): Period| Some(period).filter(|period| !period.is_zero());
        // With `0s`, each of these would cut connections that are in order. `drain: 0s` cuts at once on
        // purpose, and for the others `0s` means no limit.
        for (key, Period(period)) in [
            ("header", raw.header),
            ("connect", raw.connect),
            ("handshake", raw.handshake),
            ("half_closed", raw.half_closed),
        ] {
            if period.is_zero() {
                self.invalid(&KeyPath::of(["timeouts", key]), "must be longer than `0s`");
            }
        }
        Timeouts {
            header: raw.header.0,
            connect: raw.connect.0,
            handshake: raw.handshake.0,
            response: limit(raw.response),
            stall: limit(raw.stall),
            half_closed: raw.half_closed.0,
            drain: raw.drain.0,
            idle: limit(raw.idle),
        }
    }

    pub(super) fn limits(&mut self) -> Limits {
        let raw = self.section::<raw::RawLimits>("limits");
        if raw.connections == 0 {
            self.invalid(&KeyPath::of(["limits", "connections"]), "must be at least 1");
        }
        if !(1 << 10..=1 << 20).contains(&raw.header_bytes.0) {
            let path = KeyPath::of(["limits", "header_bytes"]);
            self.invalid(&path, "must be from `1KiB` to `1MiB`");
        }
        if !(20..=10_000).contains(&raw.header_fields) {
            let path = KeyPath::of(["limits", "header_fields"]);
            self.invalid(&path, "must be from 20 to 10000");
        }
        Limits {
            connections: raw.connections,
            header_bytes: raw.header_bytes.0,
            header_fields: raw.header_fields,
        }
    }
}
