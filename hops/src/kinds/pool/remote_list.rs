//! Members from a list of proxies at a URL.

use std::{
    hash::RandomState,
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::time::timeout;

use super::{
    Pick, PoolMember,
    list::ListScheme,
    listing::{Doubt, Listing},
    members_from::MembersFrom,
    roster::Roster,
};
use crate::{
    Asker, BuildContext, HopError, MemberLedger, NoChoice, Services, SourceKind, SourceState,
    kinds::blocking::{BlockingCalls, CallError},
    remote::{
        Attached, FetchPolicy, LoadCause, LoadProblem, ReadDocument, Reader, Remote, RemoteBody,
        RemoteServer, RemoteUrl, next_fetch,
    },
    tls::TlsClient,
};

/// A list of proxies at a URL, which is fetched when a request needs it.
#[derive(Debug)]
pub(super) struct RemoteList {
    own: SharedList,
    /// The list of an earlier pool with the same settings, which is used instead.
    inherited: OnceLock<SharedList>,
    via: Box<str>,
}

/// A list, and the services by which it is fetched.
#[derive(Clone, Debug)]
struct SharedList {
    remote: Arc<Remote<ListReader>>,
    services: Arc<Attached>,
}

impl RemoteList {
    pub(super) fn new(
        url: RemoteUrl,
        tls: Option<TlsClient>,
        pick: Pick,
        settings: &MembersFrom,
        context: &BuildContext<'_>,
    ) -> Self {
        let services = Arc::<Attached>::default();
        let head_bytes_max = context.head_bytes_max();
        let server = RemoteServer {
            url,
            tls,
            head_bytes_max,
            services: Arc::clone(&services),
            hasher: context.hasher().clone(),
        };
        let policy =
            FetchPolicy { every: settings.every().0, patience: FETCH_MAX, follows_network: false };
        let reader = ListReader {
            builder: Arc::new(ListBuilder {
                pick,
                scheme: settings.scheme(),
                head_bytes_max,
                handshake: context.handshake(),
                hasher: context.hasher().clone(),
                ledger: OnceLock::new(),
            }),
            threads: BlockingCalls::new("list", 1, FETCH_MAX),
        };
        let remote = Arc::new(Remote::new(reader, server, policy));
        let own = SharedList { remote, services };
        Self { own, inherited: OnceLock::new(), via: settings.via().into() }
    }

    fn shared(&self) -> &SharedList {
        self.inherited.get().unwrap_or(&self.own)
    }

    /// Takes over the list of `before` if that has the same settings. Otherwise takes over the last good list, if that came
    /// from the same URL and its lines give the same members.
    pub(super) fn inherit(&self, before: &Self, is_unchanged: bool) {
        let before = before.shared();
        if is_unchanged {
            // Set once, before the pool is used.
            let _ = self.inherited.set(before.clone());
            return;
        }
        let (ours, theirs) = (&self.own.remote.reader().builder, &before.remote.reader().builder);
        if !ours.builds_as(theirs) {
            return;
        }
        self.own.remote.inherit(&before.remote, |roster| {
            if ours.pick == theirs.pick {
                return Arc::clone(roster);
            }
            Arc::new(Roster::following(roster, roster.members.clone(), ours.pick))
        });
    }

    /// Counts what the members of this list, and of those that follow it, do in `ledger`.
    pub(super) fn count_in(&self, ledger: &Arc<MemberLedger>) {
        let remote = &self.shared().remote;
        let ledger = remote.reader().builder.ledger.get_or_init(|| Arc::clone(ledger));
        // It may be the list of an earlier pool.
        if let Some(roster) = remote.present() {
            roster.count_in(ledger);
        }
    }

    /// Returns how a member is picked.
    pub(super) fn pick(&self) -> Pick {
        self.shared().remote.reader().builder.pick
    }

    /// Returns the URL as far as it may be shown.
    pub(super) fn shown_url(&self) -> String {
        self.shared().remote.shown_url()
    }

    /// Returns the members of the last good list, if there is one.
    pub(super) fn present(&self) -> Option<Arc<Roster>> {
        self.shared().remote.present()
    }

    /// Returns the members if nothing has to be waited for. May begin a fetch.
    pub(super) fn ready(&self) -> Option<Arc<Roster>> {
        let SharedList { remote, services } = self.shared();
        remote.ready(services.present()?.network_epoch())
    }

    /// Returns the members, and waits for the first list if there was none yet.
    ///
    /// # Errors
    /// There is no list, or it does not come while a request may wait.
    pub(super) async fn roster(&self) -> Result<Arc<Roster>, HopError> {
        let SharedList { remote, services } = self.shared();
        let patience = services.present().map(|services| services.patience()).unwrap_or_default();
        match timeout(patience, remote.value()).await {
            Ok(Ok(roster)) => Ok(roster),
            Ok(Err(why)) => Err(self.missing(&why)),
            // The fetch goes on, for the requests after this one.
            Err(_) => {
                let words = format!("it did not come within {patience:?}");
                Err(self.missing(&LoadProblem::new(LoadCause::Unreachable, words)))
            }
        }
    }

    fn missing(&self, LoadProblem { words, cause }: &LoadProblem) -> HopError {
        let summary = format!("no list of proxies: {words}");
        let (url, next) = (self.shown_url(), next_fetch(self.shared().remote.retry()));
        let details = format!("the list of proxies at {url} can't be used: {words}; {next}");
        let advice = cause.remedy(SourceKind::List).to_owned();
        NoChoice { summary, details, advice }.into()
    }
}

impl Asker for RemoteList {
    fn attach(&self, services: Arc<dyn Services>) {
        self.shared().services.take(services);
    }

    fn via(&self) -> &str {
        &self.via
    }

    fn via_setting(&self) -> &'static [&'static str] {
        &["members_from", "via"]
    }

    fn state(&self) -> SourceState {
        self.shared().remote.shown()
    }

    fn fetch_now(&self) -> bool {
        self.shared().remote.fetch_now()
    }

    fn saved_name(&self) -> Option<String> {
        Some(self.shared().remote.saved_name())
    }
}

/// Makes a roster of each list that is fetched.
#[derive(Debug)]
struct ListReader {
    builder: Arc<ListBuilder>,
    /// Ten thousand hops take a part of a second to build, in which no connection may wait.
    threads: BlockingCalls,
}

impl Reader for ListReader {
    type Value = Roster;

    const KIND: SourceKind = SourceKind::List;
    const ACCEPT: &'static str = "text/plain, */*";
    const HIDES_URL: bool = true;
    const IS_SAVED: bool = true;

    fn members(roster: &Roster) -> Option<usize> {
        Some(roster.members.len())
    }

    async fn read(
        &self,
        body: RemoteBody,
        last: Option<Arc<Roster>>,
        _epoch: u64,
    ) -> Result<ReadDocument<Roster>, LoadProblem> {
        let builder = Arc::clone(&self.builder);
        let build = move || builder.build(&body.bytes, last.as_deref());
        let words = match self.threads.run(build).await {
            Ok(Ok(built)) => return Ok(built),
            Ok(Err(why)) => format!("it {why}"),
            Err(CallError::TimedOut(time)) => format!("it can't be read within {time:?}"),
            Err(CallError::NoThread(error)) => {
                format!("the system gives no thread to read it: {error}")
            }
            Err(CallError::Broken) => "it can't be read".to_owned(),
        };
        Err(LoadProblem::new(LoadCause::Content, words))
    }
}

/// Builds the members of a list.
#[derive(Debug)]
struct ListBuilder {
    pick: Pick,
    scheme: ListScheme,
    head_bytes_max: usize,
    handshake: Duration,
    hasher: RandomState,
    /// The counts of the members. It is set before a list is fetched.
    ledger: OnceLock<Arc<MemberLedger>>,
}

impl ListBuilder {
    /// Returns whether a line gives the same member here as there.
    fn builds_as(&self, other: &Self) -> bool {
        let settings = |one: &Self| (one.scheme, one.head_bytes_max, one.handshake);
        settings(self) == settings(other)
    }

    /// Builds the roster of the list in `bytes`. A proxy that was in the `last` list with the same login is the same
    /// member, with its counts and all that its hop has learned.
    ///
    /// # Errors
    /// The list can't be used, as a clause without anything of its text.
    fn build(&self, bytes: &[u8], last: Option<&Roster>) -> Result<ReadDocument<Roster>, String> {
        let text = str::from_utf8(bytes).map_err(|_| "is not in UTF-8".to_owned())?;
        let context = BuildContext::new(Path::new(""))
            .with_head_bytes_max(self.head_bytes_max)
            .with_handshake(self.handshake);
        let mut known = last.map(Roster::by_line).unwrap_or_default();
        let listing = Listing::read(text, self.scheme, |proxy, name| {
            let fingerprint = proxy.fingerprint(self.scheme, &self.hasher);
            if let Some(stayed) = known.get_mut(&fingerprint).and_then(Vec::pop) {
                let counts = Arc::new(stayed.counts.of_stayed());
                return Ok(PoolMember { name, counts, ..stayed.clone() });
            }
            let hop = proxy.build(self.scheme, &context)?;
            Ok(PoolMember::new(hop, name, proxy.identity()).listed(fingerprint))
        });
        let listing = listing.map_err(|unusable| unusable.to_string())?;
        let doubt = Doubt::all_in_words(&listing.doubts());
        let value = match last {
            Some(last) => Roster::following(last, listing.members, self.pick),
            None => Roster::new(listing.members, self.pick),
        };
        if let Some(ledger) = self.ledger.get() {
            value.count_in(ledger);
        }
        Ok(ReadDocument { value, doubt })
    }
}

/// The longest time that a fetch may take. Providers make long lists for each request.
const FETCH_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::pool::health::LeftFor;

    fn builder() -> ListBuilder {
        let second = Duration::from_secs(1);
        ListBuilder {
            pick: Pick::RoundRobin,
            scheme: ListScheme::Http,
            head_bytes_max: 4096,
            handshake: second,
            hasher: RandomState::new(),
            ledger: OnceLock::new(),
        }
    }

    fn names(roster: &Roster) -> Vec<(&str, usize)> {
        roster.members.iter().map(|member| (&*member.name, member.number)).collect()
    }

    #[test]
    fn a_proxy_that_stays_in_a_list_is_the_same_member_in_another_line() {
        let builder = builder();
        let first = builder.build(b"a:1\nb:1:u:p\nb:1:u:p\nc:1\n", None).unwrap().value;
        let [(_, a), (_, b), (_, again), (_, c)] = names(&first)[..] else { panic!("{first:?}") };
        let health = |index: usize| {
            first.health.take(std::iter::once(index), |_| first.members[index].number)
        };
        for index in [1, 3] {
            first.health.failed(health(index).unwrap().1, LeftFor::default());
        }
        let list = b"d:1\nb:1:u:p\nb:1:u:other\nb:1:u:p\nb:1:u:p\na:1\n";
        let second = builder.build(list, Some(&first)).unwrap().value;
        let numbers: Vec<_> = names(&second).into_iter().map(|(_, number)| number).collect();
        assert_eq!((numbers[1], numbers[3], numbers[5]), (b, again, a));
        assert_eq!(second.members[5].name.as_ref(), "line 6");
        let fresh = [numbers[0], numbers[2], numbers[4]];
        assert!(fresh.iter().all(|number| ![a, b, again, c].contains(number)), "{numbers:?}");
        assert!(Arc::ptr_eq(&first.members[0].hop, &second.members[5].hop));
        // The one that failed is left out in its new line too, and the one that is gone is forgotten.
        assert!(!second.health.is_in_use(b) && second.health.is_in_use(again));
        assert!(second.health.is_in_use(c));
    }

    #[test]
    fn a_proxy_that_returns_to_a_list_goes_on_with_its_count() {
        let builder = builder();
        builder.ledger.set(Arc::default()).unwrap();
        let first = builder.build(b"a:1\nb:1\n", None).unwrap().value;
        first.members[0].counts.failed();
        let second = builder.build(b"b:1\n", Some(&first)).unwrap().value;
        // A connection that began with the first list.
        first.members[0].counts.failed();
        second.members[0].counts.reached();
        let third = builder.build(b"b:1\na:1:user:password\n", Some(&second)).unwrap().value;
        let counts: Vec<_> =
            third.status().iter().map(|member| (member.reached, member.failed)).collect();
        assert_eq!(counts, [(1, 0), (0, 2)]);
    }

    #[test]
    fn proxies_with_one_address_keep_their_counts_in_other_lines() {
        let builder = builder();
        builder.ledger.set(Arc::default()).unwrap();
        let failed = |roster: &Roster| -> Vec<u64> {
            roster.status().iter().map(|member| member.failed).collect()
        };
        let first = builder.build(b"a:1:one:p\n", None).unwrap().value;
        first.members[0].counts.failed();
        let second = builder.build(b"a:1:two:p\na:1:one:p\n", Some(&first)).unwrap().value;
        assert_eq!(failed(&second), [0, 1]);
        (0..2).for_each(|_| second.members[0].counts.failed());
        let third = builder.build(b"a:1:two:p\n", Some(&second)).unwrap().value;
        assert_eq!(failed(&third), [2]);
        let fourth = builder.build(b"a:1:one:p\na:1:two:p\n", Some(&third)).unwrap().value;
        assert_eq!(failed(&fourth), [1, 2]);
        fourth.members[0].counts.failed();
        assert_eq!(failed(&fourth), [2, 2]);
        let same = builder.build(b"a:1:one:x\na:1:one:y\na:1:one:y\n", None).unwrap().value;
        same.members[1].counts.failed();
        let counts = failed(&same);
        assert_eq!(counts[1] - counts[2], 1, "each has counts of its own: {counts:?}");
    }

    #[test]
    fn each_member_takes_its_turn_while_the_list_changes() {
        let builder = builder();
        let mut last = builder.build(b"a:1\nb:1\nc:1\n", None).unwrap().value;
        let (target, preferences) = ("t.example:1".parse().unwrap(), crate::Preferences::default());
        let mut taken = Vec::new();
        for _ in 0..3 {
            let request = crate::Request::new(&target, &preferences);
            let mut candidates = last.order.candidates(request, false);
            let one = last.order.take(&mut candidates, &last.members, &last.health).unwrap();
            taken.push(one.0);
            last = builder.build(b"a:1\nb:1\nc:1\n", Some(&last)).unwrap().value;
        }
        assert_eq!(taken, [0, 1, 2]);
    }
}
