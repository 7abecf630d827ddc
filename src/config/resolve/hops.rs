//! Builds the hops.

use std::{cell::RefCell, collections::BTreeMap, hash::BuildHasher as _, sync::Arc};

use mooltiroute_hops::{
    BuildContext, ChooseError, Chosen, Description, Eventual, Fault, Hop, HopError, InvalidSetting,
    Key, KeyPath, Kind, Registry, Request, Settings, Siblings,
};

use crate::config::report::{
    problem::{is_name, is_word},
    suggest::{nearest, same_name},
};
use crate::config::resolve::{
    Names, Part, Resolver,
    misnamed::{instead_of_name, is_proxy},
    some_of,
};
use crate::config::{NamedHop, OnLeave, Problem, fingerprint, raw, yaml::tree::COMMON_KEYS};

/// A hop that is not built yet.
struct HopPlan {
    index: usize,
    path: KeyPath,
    kind: Kind,
    settings: Settings,
    /// Whether all its variables are set. If not, it can't be built, but its settings can be checked.
    is_whole: bool,
}

/// The hops that other hops may name as members: those built so far, and those that are disabled.
#[derive(Debug)]
struct KnownHops<'a> {
    registry: &'a Registry,
    hops: &'a BTreeMap<Arc<str>, Option<Arc<dyn Hop>>>,
    asked: RefCell<Vec<Arc<str>>>,
}

impl Resolver<'_> {
    /// Returns the hops, sorted by name, and their names.
    pub(crate) fn hops(&mut self) -> (Vec<NamedHop>, Names) {
        let names = self.names(&KeyPath::of(["hops"]));
        let mut written = self.tree.names(&KeyPath::of(["hops"])).unwrap_or_default();
        written.sort();
        let mut hops = Vec::with_capacity(written.len());
        let mut plans = Vec::with_capacity(written.len());
        for (index, name) in written.iter().enumerate() {
            let (hop, plan) = self.hop(index, name);
            hops.push(hop);
            plans.extend(plan);
        }
        self.build(&mut hops, plans, &names);
        // A hop that is enabled and missing without any problem would be left out of its chains, and requests
        // would silently go around it. This catches a kind that fails without a reason.
        if let Some(hop) = hops.iter().find(|hop| hop.is_enabled && hop.hop.is_none())
            && self.problems.is_empty()
        {
            self.invalid(&KeyPath::of(["hops", &hop.name]), "can't be built, and does not say why");
        }
        (hops, names)
    }

    /// Builds the hops, each one after its members.
    ///
    /// A hop asks for its members while it is built, and only then is it known which they are. So the list is walked again
    /// and again, and each pass builds the hops whose members exist by now. A pass that builds nothing ends it: the hops
    /// that are left name missing hops, or each other in a circle.
    fn build(&mut self, hops: &mut [NamedHop], mut plans: Vec<HopPlan>, names: &Names) {
        // A hop that is switched off is known from the start, with nothing behind its name. So a pool can
        // tell such a member, which it leaves out, from one that does not exist or is not built yet.
        let off = hops.iter().filter(|hop| !hop.is_enabled);
        let mut known: BTreeMap<_, _> = off.map(|hop| (Arc::clone(&hop.name), None)).collect();
        loop {
            let mut waiting = Vec::new();
            let count = plans.len();
            for plan in plans {
                // Only the kind knows which of its settings name hops, so the siblings note what it asks for.
                let siblings =
                    KnownHops { registry: self.registry, hops: &known, asked: RefCell::default() };
                let context = self.context().with_siblings(&siblings);
                let context = context.with_login(login_in_words(&hops[plan.index]));
                let built = plan.kind.build(&plan.settings, &context);
                let files = context.fingerprint();
                let is_waiting = |fault: &InvalidSetting| *fault.fault() == Fault::UnknownHop;
                let asked = siblings.asked.take();
                // A hop that waits is built again in the next pass, and its files must count once.
                if let Some(files) = files
                    && !matches!(&built, Err(invalid) if invalid.iter().any(is_waiting))
                {
                    let hop = &mut hops[plan.index];
                    hop.fingerprint = self.hasher.hash_one((hop.fingerprint, files));
                    self.files.push((plan.path.clone(), files));
                }
                match built {
                    // Built only to find what else is wrong. It lacks the values of variables, so it must not be
                    // used.
                    Ok(_) if !plan.is_whole => {}
                    // A hop that is off is built as well, so that `check` finds its mistakes. It is not entered
                    // into `known`, where it stays a member to leave out.
                    Ok(built) => {
                        for warning in context.warnings() {
                            let warning = self.tree.invalid(&plan.path, &warning);
                            self.warnings.push(warning);
                        }
                        for (setting, file) in context.secret_files() {
                            self.warn_of_readers(&plan.path.clone().join(&setting), &file);
                        }
                        self.warn_of_choices_off(hops, &plan, &asked);
                        let fingerprint = self.fingerprint(hops, plan.index, &asked);
                        let hop = &mut hops[plan.index];
                        hop.fingerprint = fingerprint;
                        depend_on_members(hops, plan.index, &asked);
                        let hop = &mut hops[plan.index];
                        self.holds.insert(Arc::clone(&hop.name), asked);
                        hop.hop = Some(Arc::clone(&built));
                        if hop.is_enabled {
                            known.insert(Arc::clone(&hop.name), Some(built));
                        }
                    }
                    // Its other problems are reported once it is clear that no later pass can build it.
                    Err(invalid) if invalid.iter().any(is_waiting) => waiting.push((plan, invalid)),
                    Err(invalid)
                        if invalid.iter().all(|one| *one.fault() == Fault::SwitchedOff)
                            && may_come_on(hops, &asked) =>
                    {
                        let fingerprint = self.fingerprint(hops, plan.index, &asked);
                        depend_on_members(hops, plan.index, &asked);
                        let hop = &mut hops[plan.index];
                        hop.fingerprint = fingerprint;
                        // A pool whose members are all off is a mistake if the operator switched them off. But
                        // here at least one of them waits for its condition, and a change of the network must not
                        // make a configuration invalid. So the pool exists, and refuses for now.
                        let empty: Arc<dyn Hop> = Arc::new(MembersOff);
                        hop.has_all_members_off = true;
                        hop.hop = Some(Arc::clone(&empty));
                        if hop.is_enabled {
                            known.insert(Arc::clone(&hop.name), Some(empty));
                        }
                        self.holds.insert(Arc::clone(&hops[plan.index].name), asked);
                    }
                    Err(mut invalid) => {
                        // A pool that is itself off may have members that are all off.
                        let is_off = !hops[plan.index].is_enabled;
                        invalid.retain(|one| !(is_off && *one.fault() == Fault::SwitchedOff));
                        self.report(&plan.path, &invalid);
                    }
                }
            }
            // No hop was built in this pass, so the next one would see the same.
            if waiting.len() == count {
                return self.unresolved(&waiting, names);
            }
            plans = waiting.into_iter().map(|(plan, _)| plan).collect();
        }
    }

    /// Warns if every hop that the hop of `plan` may choose is switched off. A pool is then invalid; a PAC file may still send
    /// requests direct.
    fn warn_of_choices_off(&mut self, hops: &[NamedHop], plan: &HopPlan, asked: &[Arc<str>]) {
        let mut off: Vec<_> = asked.iter().map(Arc::clone).collect();
        off.sort();
        off.dedup();
        let is_on = |name: &Arc<str>| hops.iter().any(|hop| hop.name == *name && hop.is_enabled);
        if off.is_empty()
            || off.iter().any(is_on)
            || may_come_on(hops, asked)
            || !hops[plan.index].is_enabled
            || self.warnings.skips()
        {
            return;
        }
        let names = some_of(&off);
        let message = format!(
            "every hop that this one may choose is switched off ({names}), so it refuses each request that it does not send direct"
        );
        let problem = self.tree.problem(&plan.path, Part::Key, "choices-off", message);
        let help = "switch one of them on: `enabled: true`, or `mooltiroute hop NAME on`";
        self.warnings.push(problem.with_help(help));
    }

    /// Returns the fingerprint of a hop and its members, so that a changed member makes a new hop.
    fn fingerprint(&self, hops: &[NamedHop], index: usize, asked: &[Arc<str>]) -> u64 {
        let own = hops[index].fingerprint;
        if asked.is_empty() {
            return own;
        }
        // Members are built before their pool, so their fingerprints are final here.
        let held = hops.iter().filter(|hop| asked.contains(&hop.name));
        let held: Vec<_> = held.map(|hop| (&hop.name, hop.is_enabled, hop.fingerprint)).collect();
        self.hasher.hash_one((own, held))
    }

    /// Reports the hops that can't be built, because they name missing hops or each other.
    fn unresolved(&mut self, waiting: &[(HopPlan, Vec<InvalidSetting>)], names: &Names) {
        // A name that seems to be unknown may be in the file that could not be read.
        let Some(names) = names else { return };
        let known: Vec<&str> = names.iter().map(String::as_str).collect();
        for (plan, invalid) in waiting {
            let (unknown, others): (Vec<_>, Vec<_>) =
                invalid.iter().cloned().partition(|one| *one.fault() == Fault::UnknownHop);
            self.report(&plan.path, &others);
            for invalid in unknown {
                let place = plan.path.clone().join(invalid.path());
                if self.failed.contains(&place) {
                    continue;
                }
                // The kind reports the place of the name only, so that its error can't quote a secret.
                let named = self.tree.settings(&place).and_then(|name| name.read::<String>().ok());
                let Some(name) = named else { continue };
                let is_named =
                    |path: &KeyPath| matches!(path.keys(), [_, Key::Name(own)] if *own == name);
                if let Some(help) = instead_of_name(&place, &name, &known) {
                    let problem = self.unknown_name(&place, &place, "hop", &known);
                    self.problems.push(problem.with_help(help));
                } else if is_proxy(&name) {
                    let problem = self.proxy_for_name(&place);
                    self.problems.push(problem);
                } else if is_named(&plan.path) {
                    self.invalid(&place, "names the hop itself; write the names of other hops");
                } else if !known.contains(&name.as_str()) {
                    // A hop can't hold itself.
                    let is_other = |known: &&&str| !matches!(plan.path.keys(), [_, Key::Name(own)] if own == **known);
                    let others: Vec<&str> = known.iter().filter(is_other).copied().collect();
                    let mut problem = self.unknown_name(&place, &place, "hop", &others);
                    // The text is shown, since it is the name of a chain, and no secret.
                    if self.tree.value(&KeyPath::of(["chains", &name])).is_some() && is_name(&name)
                    {
                        problem = problem.with_help(format!(
                            "`{name}` is a chain, and a hop is expected here: write the names of hops"
                        ));
                    }
                    self.problems.push(problem);
                } else if waiting.iter().any(|(other, _)| is_named(&other.path)) {
                    let message = "names a hop that leads back to this one or to itself; take one of these hops out";
                    self.invalid(&place, message);
                }
                // Any other hop exists but is invalid itself, and its own problem says why.
            }
        }
    }

    /// Reads a hop. An invalid hop still defines its name.
    fn hop(&mut self, index: usize, name: &str) -> (NamedHop, Option<HopPlan>) {
        let path = KeyPath::of(["hops", name]);
        let below = |key: &str| path.clone().then(Key::Name(key.to_owned()));
        let mut named = NamedHop {
            name: name.into(),
            kind: String::new(),
            is_enabled: true,
            settings: Arc::default(),
            condition: None,
            depends_on: Vec::new(),
            on_leave: OnLeave::default(),
            credentials: Vec::new(),
            budget: None,
            rotate_after: None,
            fingerprint: 0,
            has_all_members_off: false,
            url: None,
            hop: None,
        };
        let Some(mut settings) = self.tree.settings_without(&path, &COMMON_KEYS) else {
            if !self.failed.contains(&path) && !self.problems.skips() {
                let message = "expected a mapping of the hop's `kind` and its settings";
                let problem = self.tree.problem(&path, Part::Value, "value", message);
                let help = self.tree.advice_on_hop(&path);
                self.problems.push(Problem { help, ..problem });
            }
            return (named, None);
        };
        named.budget = self.budget(&below("budget"));
        named.rotate_after = self.rotate_after(&below("rotate_after"));
        match self.read(&below("enabled")) {
            Some(raw::Enabled::When(condition)) => {
                self.warn_of_interface_patterns(&below("enabled"));
                named.is_enabled = self.network.is_on(&condition);
                let condition = Arc::new(condition);
                named.depends_on.push(Arc::clone(&condition));
                named.condition = Some(condition);
            }
            Some(raw::Enabled::Switch(is_on)) => named.is_enabled = is_on,
            None => {}
        }
        named.on_leave = self.read(&below("on_leave")).unwrap_or_default();
        // What these say is kept outside the hop, which stays as it is when they change.
        let keys = ["enabled", "on_leave", "budget"];
        let written = fingerprint::hash_without(self.tree, &path, &keys, self.hasher);
        // The limits of a hop's answer are a part of the hop, though they are written elsewhere.
        let limits = (self.context.head_bytes_max(), self.context.handshake());
        named.fingerprint = self.hasher.hash_one((written, limits));
        named.credentials = self.credentials(&path, named.is_enabled || named.condition.is_some());
        let Some(kind) = self.kind(&path) else { return (named, None) };
        named.kind.clone_from(&kind);
        named.settings = self.shown_settings(&path, &kind, &named);
        let Some(kind) = self.registry.kind(&kind) else { return (named, None) };
        // The set is sorted, so the failures below this hop are one range of it. Forgotten values count as
        // unknown instead of missing, and building the hop then tells what else is wrong with it.
        let failed = self.failed.range(path.clone()..).map_while(|failed| failed.below(&path));
        let unknown: Vec<_> = failed.collect();
        unknown.iter().for_each(|path| settings.forget(path));
        let is_whole = unknown.is_empty();
        (named, Some(HopPlan { index, path, kind, settings, is_whole }))
    }

    /// Returns the hop that `name` is most likely a misspelling of. Only one that has a kind can be meant.
    fn near_hop(&self, name: &str) -> Option<String> {
        let names = self.tree.names(&KeyPath::of(["hops"])).ok()?;
        let has_kind =
            |other: &&String| self.tree.value(&KeyPath::of(["hops", other, "kind"])).is_some();
        let others: Vec<&str> = names.iter().filter(has_kind).map(String::as_str).collect();
        nearest(name, others).map(str::to_owned)
    }

    /// Reads the kind of the hop at `path`, which may be unknown.
    fn kind(&mut self, path: &KeyPath) -> Option<String> {
        let kind = path.clone().then(Key::Name("kind".into()));
        let known: Vec<_> = self.registry.names().collect();
        if self.failed.contains(&kind) {
            return None;
        }
        if self.tree.settings(&kind).is_none() {
            if self.is_complete && !self.problems.skips() {
                let message =
                    format!("the key `kind` is missing; known kinds: {}", known.join(", "));
                let mut problem = self.tree.problem(path, Part::Key, "missing-key", message);
                let type_ = path.clone().then(Key::Name("type".into()));
                if self.tree.value(&type_).is_some() {
                    problem.help = Some("write `kind` in place of `type`".into());
                } else if let Some(name) = path.last_name()
                    && let Some(near) = self.near_hop(name)
                {
                    problem = problem.with_help(format!(
                        "did you mean the hop `{near}`? A file changes settings of a hop of an earlier file by the same name"
                    ));
                }
                self.problems.push(problem);
            }
            return None;
        }
        let name = self.read::<String>(&kind)?;
        if !known.contains(&name.as_str()) && !self.problems.skips() {
            let mut problem = self.unknown_name(&kind, &kind, "kind", &known);
            // In other programs a scheme is a type of proxy; here it is a setting of the kind.
            match name.as_str() {
                "ntlm" | "negotiate" | "digest" | "basic" => {
                    problem = problem
                        .with_help(format!("write `kind: http-connect` and `auth: [{name}]`"));
                }
                name if is_socks4(name) => problem = problem.with_help(SOCKS4),
                "https" => {
                    problem = problem.with_help("write `kind: http-connect` and `tls: true`");
                }
                _ => {
                    if let Some(help) = kind_instead(&name) {
                        problem = problem.with_help(help);
                    }
                }
            }
            self.problems.push(problem);
        }
        Some(name)
    }
}

/// Returns whether the kind `name` means SOCKS4, which no kind speaks.
fn is_socks4(name: &str) -> bool {
    ["socks4", "socks4a"].iter().any(|socks4| name.eq_ignore_ascii_case(socks4))
}

/// The advice for a hop that is to speak SOCKS4.
const SOCKS4: &str = "SOCKS4 is not supported as a hop: write `kind: socks5` or `kind: http-connect` if this proxy speaks one of \
                      these, as most do";

/// Returns what to write instead of a kind that is the name of a provider, or the word of another program.
fn kind_instead(name: &str) -> Option<&'static str> {
    Some(match &*name.to_ascii_lowercase().replace(['_', ' ', '-', '.'], "") {
        "brightdata" | "luminati" | "smartproxy" | "decodo" | "oxylabs" | "iproyal" | "soax"
        | "netnut" | "proxyrack" | "packetstream" | "geonode" | "nimble" | "nimbleway"
        | "rayobyte" | "infatica" | "asocks" | "dataimpulse" | "residential" | "provider"
        | "rotate" | "session" | "gateway" => {
            "write `kind: rotating`, which writes session and country into the login by a template, as in `username: \
             \"{user}[-country-{country}][-session-{session}]\"`"
        }
        "list" | "proxylist" | "proxies" | "file" | "group" => {
            "write `kind: pool`, and `members_from: { file: FILE }` for a list of proxies"
        }
        "roundrobin" => "write `kind: pool` and `pick: round-robin`",
        "failover" | "fallback" | "backup" => "write `kind: pool` and `pick: failover`",
        "random" => "write `kind: pool` and `pick: random`",
        "sticky" => "write `kind: pool` and `pick: sticky`",
        "leastused" | "leastconn" => "write `kind: pool` and `pick: least-used`",
        "proxy" | "httpproxy" | "forward" | "upstream" | "parent" | "squid" | "corporate"
        | "connect" | "tinyproxy" | "privoxy" | "haproxy" | "nginx" | "mitmproxy" | "gost"
        | "clash" => "write `kind: http-connect`",
        "cntlm" | "px" | "pxproxy" => {
            "write `kind: http-connect` and `auth: [negotiate, ntlm]`, with the company's proxy as `address`; the program of that \
             name is not needed then"
        }
        "httpsproxy" => "write `kind: http-connect` and `tls: true`",
        "wpad" | "auto" | "autoconfig" => {
            "write `kind: pac` and `url: URL`, with the address of the PAC file"
        }
        "tor" | "ssh" => "write `kind: socks5`",
        "direct" | "none" => {
            "going direct needs no hop: write `direct` as the chain of a route, or leave the hop out of its chain"
        }
        _ => return None,
    })
}

/// Returns the sources of the credentials of `hop` in words, or `None` if it has none.
fn login_in_words(hop: &NamedHop) -> Option<String> {
    let words: Vec<_> = hop.credentials.iter().map(ToString::to_string).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// Makes the hop at `index` depend on the conditions of the hops that it holds.
fn depend_on_members(hops: &mut [NamedHop], index: usize, asked: &[Arc<str>]) {
    let held = hops.iter().filter(|hop| asked.contains(&hop.name));
    let conditions: Vec<_> = held.flat_map(|hop| hop.depends_on.iter().cloned()).collect();
    hops[index].depends_on.extend(conditions);
}

/// Returns whether one of the hops named `asked` has a condition, which may switch it on later.
fn may_come_on(hops: &[NamedHop], asked: &[Arc<str>]) -> bool {
    hops.iter().any(|hop| asked.contains(&hop.name) && hop.condition.is_some())
}

/// A hop in the place of one whose members are all switched off by their conditions. It refuses every request, since
/// leaving it out of its chains would send requests round it.
#[derive(Debug)]
struct MembersOff;

impl Hop for MembersOff {
    fn describe(&self) -> Description<'_> {
        Description::default()
    }

    fn choose(self: Arc<Self>, _: Request<'_>) -> Eventual<'static, Result<Chosen, ChooseError>> {
        let why = "all its members are switched off by their conditions now";
        Eventual::Ready(Err(HopError::Other(why.into()).into()))
    }
}

impl Siblings for KnownHops<'_> {
    fn hop(&self, name: &str) -> Result<Option<Arc<dyn Hop>>, InvalidSetting> {
        let (name, hop) = self.hops.get_key_value(name).ok_or_else(InvalidSetting::unknown_hop)?;
        self.asked.borrow_mut().push(Arc::clone(name));
        Ok(hop.clone())
    }

    fn build(
        &self,
        settings: &Settings,
        context: &BuildContext<'_>,
    ) -> Result<Arc<dyn Hop>, Vec<InvalidSetting>> {
        let mut settings = settings.clone();
        let known = || self.registry.names().collect::<Vec<_>>().join(", ");
        let invalid = |key: &str, message: &str| {
            vec![InvalidSetting::new(key, format!("{message}; known kinds: {}", known()))]
        };
        let kind = settings.take("kind").ok_or_else(|| invalid("", "has no `kind`"))?;
        let kind = kind.read::<String>().map_err(|_| invalid("kind", "is not a text"))?;
        let kind = self.registry.kind(&kind).ok_or_else(|| {
            if is_socks4(&kind) {
                return vec![InvalidSetting::new("kind", "is unknown").with_help(SOCKS4)];
            }
            let near = nearest(&kind, self.registry.names()).filter(|_| is_word(&kind));
            let near =
                near.or_else(|| same_name(&kind, &self.registry.names().collect::<Vec<_>>()));
            match near {
                Some(near) => invalid("kind", &format!("is unknown: write `{near}`")),
                None => invalid("kind", "is unknown"),
            }
        })?;
        kind.build(&settings, context)
    }
}
