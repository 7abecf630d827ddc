//! The settings of a pool, and the members that are written in them.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Members, Pool, member::Member, members_from::MembersFrom, order::PoolMember};
use crate::{
    BuildContext, Hop, HopConfig, InvalidSetting, InvalidSettings, Key, preferences::stable_number,
};

/// The settings of a pool.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PoolConfig {
    /// Names of hops, or hops written out as below `hops`. A member that is not enabled is left out.
    #[serde(default)]
    members: Option<Vec<Member>>,
    /// A list of proxies, one a line, instead of `members`: a mapping of `file` or `url`.
    members_from: Option<MembersFrom>,
    /// Which of the members that work a connection of a client uses. All plain requests that the client sends over the
    /// connection take that member, for as long as the member keeps its own connection open.
    #[serde(default)]
    pick: Pick,
}

/// The rule by which a connection takes one of the members that work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Pick {
    /// The first one.
    #[default]
    Failover,
    /// Each in turn.
    RoundRobin,
    /// Any.
    Random,
    /// The member of a client's session or, if it named none, of the target's host.
    Sticky,
    /// The one that carried the fewest connections so far.
    LeastUsed,
}

impl HopConfig for PoolConfig {
    const KIND: &'static str = "pool";
    const SHOWN: &'static [&'static str] = &["members", "pick"];

    fn build(self, context: &BuildContext<'_>) -> Result<Arc<dyn Hop>, InvalidSettings> {
        let members = match (&self.members, &self.members_from) {
            (Some(members), None) => {
                Members::known(written_members(members, context)?, self.pick, None)
            }
            (None, Some(list)) => list.members(self.pick, context)?,
            (Some(_), Some(_)) => {
                let message = "can't be beside `members`; write one of the two";
                return Err(InvalidSetting::new("members_from", message).into());
            }
            (None, None) => return Err(InvalidSetting::missing("members").into()),
        };
        Ok(Arc::new(Pool(members)))
    }
}

/// Builds the members that are written out, without those that are switched off.
fn written_members(
    written: &[Member],
    context: &BuildContext<'_>,
) -> Result<Vec<PoolMember>, InvalidSettings> {
    if written.is_empty() {
        let help = "write the names of hops, as in `members: [HOP, HOP]`";
        return Err(InvalidSetting::new("members", "is empty").with_help(help).into());
    }
    if written.len() > MEMBERS_MAX {
        let message = format!("has {} hops; at most {MEMBERS_MAX} are allowed", written.len());
        let help = "write them into a file, one proxy a line, and `members_from: { file: FILE }`";
        return Err(InvalidSetting::new("members", message).with_help(help).into());
    }
    warn_of_repeated(written, context);
    let mut members = Vec::with_capacity(written.len());
    let (mut invalid, mut is_whole) = (Vec::new(), true);
    for (index, member) in written.iter().enumerate() {
        let below =
            |one: InvalidSetting| one.below(Key::Index(index)).below(Key::Name("members".into()));
        match member.build(context) {
            Ok(Some(hop)) if hop.decider().is_some() => {
                is_whole = false;
                let message =
                    "chooses by the target, as `kind: pac` does, which a member of a pool can't";
                invalid.push(below(InvalidSetting::new("", message)));
            }
            // The program lets the hops below `hops` ask, and does not see the members of their members.
            Ok(Some(hop)) if hop.asker().is_some() && matches!(member, Member::Own(_)) => {
                is_whole = false;
                let message = "has a list at a `url`: write it below `hops`, and its name here";
                invalid.push(below(InvalidSetting::new("", message)));
            }
            Ok(built) => members.extend(built.map(|hop| {
                let name = format!("members[{index}]");
                let identity = stable_number(&name);
                PoolMember::new(hop, name, identity).named(member.hop_name().map(Arc::from))
            })),
            Err(wrong) => {
                is_whole = false;
                invalid.extend(wrong.into_iter().map(below));
            }
        }
    }
    if !is_whole {
        return Err(invalid.into());
    }
    if members.is_empty() {
        return Err(InvalidSetting::switched_off("members").into());
    }
    Ok(members)
}

/// Warns of a hop that is named as a member twice.
fn warn_of_repeated(written: &[Member], context: &BuildContext<'_>) {
    for (index, member) in written.iter().enumerate() {
        let Some(name) = member.hop_name() else { continue };
        let Some(first) = written[..index].iter().position(|other| other.hop_name() == Some(name))
        else {
            continue;
        };
        let message = format!("is the same hop as `members[{first}]`");
        let help =
            "remove one of the two, unless this hop is to be used more often than the others";
        let warning = InvalidSetting::new("", message).with_help(help);
        context.warn(warning.below(Key::Index(index)).below(Key::Name("members".into())));
    }
}

/// The most entries in `members`. One request may try them all before its client gets an answer.
const MEMBERS_MAX: usize = 32;
