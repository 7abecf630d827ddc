//! `enabled` of a hop: a switch, or a condition of the network.

use std::{borrow::Cow, fmt};

use ipnet::IpNet;
use mooltiroute_hops::{Authority, Host, Listed, OneOrList};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, Visitor, value::MapAccessDeserializer},
};

use crate::{
    config::report::host_pattern,
    network::{Glob, NetworkCondition, Requirement},
    router::{HostPattern, InvalidPattern},
};

/// Whether chains use a hop.
#[derive(Clone, Debug)]
pub(crate) enum Enabled {
    /// Always, or never.
    Switch(bool),
    /// While a condition holds.
    When(NetworkCondition),
}

/// The treatment of open tunnels through a hop that is switched off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnLeave {
    /// They go on to their own end.
    #[default]
    Keep,
    /// They are cut.
    Cut,
}

/// A condition of the network, and what holds while it is not known.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping of `when` and `unknown`")]
struct Conditional {
    /// The condition. The hop is on while it holds.
    when: When,
    /// Whether the hop is on while the condition is undecided. A request first waits for the decision, up to `timeouts.connect`.
    #[serde(default)]
    unknown: Unknown,
}

/// The state of a hop while its condition is undecided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Unknown {
    /// The hop is on, so that no request goes round it.
    #[default]
    On,
    /// The hop is left out.
    Off,
}

/// One statement about the network.
#[derive(Deserialize)]
#[serde(try_from = "WrittenRequirement")]
struct When(Requirement);

/// The keys of a statement. Exactly one of them is written.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping of one condition, such as `resolves`")]
struct WrittenRequirement {
    /// A name that has an address, asked of the system's resolver.
    resolves: Option<ResolvedName>,
    /// Beside `resolves`: a network, or a list. An address of the name must be in one.
    into: Option<OneOrList<WrittenNetwork>>,
    /// A network, or a list. This machine must have an address in one.
    address_in: Option<OneOrList<WrittenNetwork>>,
    /// An interface that is up, with `*` and `?` as in `tun*`.
    interface: Option<InterfaceGlob>,
    /// An address that accepts TCP connections, as `host:port`.
    reachable: Option<Authority>,
    /// Conditions. At least one must hold.
    any: Option<Vec<When>>,
    /// Conditions that all have to hold.
    all: Option<Vec<When>>,
    /// A condition that must not hold.
    not: Option<Box<When>>,
}

/// A network, as `10.0.0.0/8` or `2001:db8::/32`, or a single address.
struct WrittenNetwork(IpNet);

/// A name that can be looked up.
struct ResolvedName(std::sync::Arc<str>);

/// A pattern of the names of interfaces.
struct InterfaceGlob(Glob);

impl<'de> Deserialize<'de> for Enabled {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Enabled;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "`true`, `false`, or a condition such as `{ when: { resolves: NAME } }`",
                )
            }

            fn visit_bool<E: de::Error>(self, is_on: bool) -> Result<Enabled, E> {
                Ok(Enabled::Switch(is_on))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Enabled, E> {
                // A value that comes from a variable is a text.
                let invalid = || E::invalid_type(de::Unexpected::Str(text), &self);
                text.parse().map(Enabled::Switch).map_err(|_| invalid())
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Enabled, A::Error> {
                let Conditional { when: When(when), unknown } =
                    Conditional::deserialize(MapAccessDeserializer::new(map))?;
                let unknown = unknown == Unknown::On;
                Ok(Enabled::When(NetworkCondition { when, unknown }))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl TryFrom<WrittenRequirement> for When {
    type Error = String;

    fn try_from(written: WrittenRequirement) -> Result<Self, String> {
        let WrittenRequirement { resolves, into, address_in, interface, reachable, any, all, not } =
            written;
        let mut found = Vec::new();
        let networks =
            |list: OneOrList<WrittenNetwork>| list.0.into_iter().map(|one| one.0).collect();
        let parts = |list: Vec<Self>| list.into_iter().map(|part| part.0).collect();
        // These two come first: they name the mistake better than the count of conditions below would.
        if into.is_some() && resolves.is_none() {
            return Err("has `into` without `resolves`; write `resolves: NAME` beside it".into());
        }
        // An empty list would have one outcome in every network, or be read as if the key were left out.
        if into.as_ref().or(address_in.as_ref()).is_some_and(|list| list.0.is_empty())
            || any.as_ref().or(all.as_ref()).is_some_and(Vec::is_empty)
        {
            return Err("has an empty list, which decides nothing; write at least one entry".into());
        }
        if let Some(ResolvedName(name)) = resolves {
            let into = into.map(networks).unwrap_or_default();
            found.push(Requirement::Resolves { name, into });
        }
        found.extend(address_in.map(|list| Requirement::AddressIn(networks(list))));
        found.extend(interface.map(|InterfaceGlob(glob)| Requirement::Interface(glob)));
        found.extend(reachable.map(Requirement::Reachable));
        found.extend(any.map(|list| Requirement::Any(parts(list))));
        found.extend(all.map(|list| Requirement::All(parts(list))));
        found.extend(not.map(|part| Requirement::Not(Box::new(part.0))));
        // Two conditions could mean that both must hold, or either. `all` and `any` say which.
        let count = found.len();
        match (found.pop(), count) {
            (Some(one), 1) => Ok(Self(one)),
            (None, _) => Err(format!("has no condition; write one of {KNOWN}")),
            _ => Err(format!(
                "has {count} conditions; combine them, as in `all: [{{ resolves: NAME }}, {{ interface: NAME }}]`"
            )),
        }
    }
}

const KNOWN: &str = "`resolves`, `address_in`, `interface`, `reachable`, `any`, `all` and `not`";

impl<'de> Deserialize<'de> for WrittenNetwork {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Networks are written as in routes, so the same type reads them.
        let text = String::deserialize(deserializer)?;
        // No machine has such an address, so the condition would never hold.
        if host_pattern::without_prefix(&text).is_some() {
            return Err(de::Error::custom(
                "is one address; a network has its size after it, as in `10.0.0.0/8`",
            ));
        }
        match text.parse::<HostPattern>() {
            Ok(HostPattern::Network(network)) => Ok(Self(network)),
            // Only a text with a prefix was meant as a network. Of any other text, the error is about names.
            Err(InvalidPattern::Unknown) if !text.contains(',') => {
                Err(de::Error::custom("is not a network; write one such as `10.0.0.0/8`"))
            }
            Err(error) if text.contains('/') && !text.contains(',') => {
                Err(de::Error::custom(error))
            }
            Err(_) if text.contains(',') => Err(de::Error::custom(
                "has several networks; write a list, as in `[10.0.0.0/8, 192.168.0.0/16]`",
            )),
            _ => Err(de::Error::custom("is not a network; write one such as `10.0.0.0/8`")),
        }
    }
}

impl<'de> Deserialize<'de> for ResolvedName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.parse() {
            Ok(Host::Name(name)) => Ok(Self(name)),
            Ok(Host::Address(_)) => {
                Err(de::Error::custom("is an address; write a name that is looked up"))
            }
            Err(_) => Err(de::Error::custom(
                "is not the name of a host; write one such as `proxy.corp.example`",
            )),
        }
    }
}

impl<'de> Deserialize<'de> for InterfaceGlob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.trim() {
            "" => {
                Err(de::Error::custom("is empty; write the name of an interface, such as `tun*`"))
            }
            // No interface has a comma in its name, so this condition would never hold.
            text if text.contains(',') => Err(de::Error::custom(
                "has several names; write `any: [{ interface: NAME }, { interface: NAME }]` in place of `interface`",
            )),
            // Such a name is an address or a part of one, and the condition would never hold.
            text if is_address(text) => {
                Err(de::Error::custom("is an address, and interfaces have names such as `tun0`"))
            }
            text => Ok(Self(Glob::new(text))),
        }
    }
}

/// Returns whether `text` is an address, a network, or the beginning of one with stars.
fn is_address(text: &str) -> bool {
    let is_of_address = |one: char| one.is_ascii_digit() || "./*".contains(one);
    let is_partial = text.contains('.') && text.contains(|one: char| one.is_ascii_digit());
    (is_partial && text.chars().all(is_of_address)) || host_pattern::single_network(text).is_some()
}

impl Listed for WrittenNetwork {
    const EXPECTED: &'static str = "a network such as `10.0.0.0/8`, or a list of them";
}

impl JsonSchema for Enabled {
    fn schema_name() -> Cow<'static, str> {
        "Enabled".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let conditional = generator.subschema_for::<Conditional>();
        json_schema!({ "anyOf": [{ "type": "boolean" }, conditional] })
    }
}

impl JsonSchema for When {
    fn schema_name() -> Cow<'static, str> {
        "When".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        WrittenRequirement::json_schema(generator)
    }
}

impl JsonSchema for WrittenNetwork {
    fn schema_name() -> Cow<'static, str> {
        "WrittenNetwork".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": r"^[0-9A-Fa-f:.\[\]]+(/[0-9]+)?$", "examples": ["10.0.0.0/8"] })
    }
}

impl JsonSchema for ResolvedName {
    fn schema_name() -> Cow<'static, str> {
        "ResolvedName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["proxy.corp.example"] })
    }
}

impl JsonSchema for InterfaceGlob {
    fn schema_name() -> Cow<'static, str> {
        "InterfaceGlob".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["tun*"] })
    }
}
