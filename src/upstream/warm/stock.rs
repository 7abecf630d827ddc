//! Spares, how old they may get, and when another one is wanted.

use std::{
    collections::VecDeque,
    task::Context,
    thread::{self, ThreadId},
    time::{Duration, SystemTime},
};

use mooltiroute_hops::{Authority, Tunnel};
use tokio::time::Instant;

/// The hops that a tunnel passes: the address of each, and the identity of what it chose, such as a pool's member.
pub(crate) type Path = Vec<(Authority, Option<String>)>;

/// The spares that wait.
#[derive(Debug)]
pub(super) struct Stock {
    limit: usize,
    /// The newest last.
    spares: VecDeque<Spare>,
    /// The target of the last connection that came to the last hop, and when.
    wanted: Option<(Authority, Instant)>,
    /// How old a spare may get. It shrinks when a spare turns out to be dead.
    age_max: Duration,
    /// After failures, when the next may be tried.
    pause: Option<(Instant, Duration)>,
}

#[derive(Debug)]
struct Spare {
    path: Path,
    tunnel: Tunnel,
    /// The worker whose runtime watches the tunnel.
    worker: ThreadId,
    made: Instant,
    /// The time on the wall clock, which goes on while the machine sleeps.
    made_at: SystemTime,
}

/// The next task of a stock's keeper.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Make a spare, as if for this target.
    One { target: Authority },
    /// Wait until then, or until something changes.
    Until(Option<Instant>),
}

impl Stock {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, spares: VecDeque::new(), wanted: None, age_max: AGE_MAX, pause: None }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    pub(super) fn waiting(&self) -> usize {
        self.spares.len()
    }

    /// Takes the newest spare that came along `path`, since it is the likeliest to live.
    pub(super) fn take(&mut self, path: &Path, target: &Authority) -> Option<(Tunnel, ThreadId)> {
        self.release_old();
        let position = self.spares.iter().rposition(|spare| spare.path == *path)?;
        let spare = self.spares.remove(position)?;
        self.reached_last(target);
        // The maximum age grows back slowly. A dead spare costs a client time, so what it taught is
        // not forgotten at the first success.
        self.age_max = self.age_max.mul_f64(AGE_GROWTH).min(AGE_MAX);
        Some((spare.tunnel, spare.worker))
    }

    /// Notes that a connection to `target` has come to the last hop. This is what makes the keeper begin.
    pub(super) fn reached_last(&mut self, target: &Authority) {
        self.wanted = Some((target.clone(), Instant::now()));
    }

    pub(super) fn put(&mut self, path: Path, tunnel: Tunnel) {
        // The hops work again, so the next failure begins with the shortest pause.
        self.pause = None;
        if self.spares.len() < self.limit {
            let (made, made_at) = (Instant::now(), SystemTime::now());
            let worker = thread::current().id();
            self.spares.push_back(Spare { path, tunnel, worker, made, made_at });
        }
    }

    /// Notes that a spare could not be made. The pause before the next try doubles each time; `more` is added to it.
    pub(super) fn failed(&mut self, more: Duration) {
        let pause = self.pause.map_or(PAUSE_FIRST, |(_, pause)| (pause * 2).min(PAUSE_MAX));
        self.pause = Some((Instant::now() + pause + more, pause));
    }

    /// Notes that a spare could not be made because the way is a loop. No more are made until a connection comes to the
    /// last hop again.
    pub(super) fn looped(&mut self, more: Duration) {
        self.failed(more);
        self.wanted = None;
    }

    pub(super) fn was_stale(&mut self) {
        self.age_max = (self.age_max / 2).max(AGE_MIN);
    }

    pub(super) fn clear(&mut self) {
        self.spares.clear();
        self.wanted = None;
    }

    /// Drops the spares that are dead, and returns how many there were. Has `cx` woken when another one dies.
    pub(super) fn poll_deaths(&mut self, cx: &mut Context<'_>) -> usize {
        let before = self.spares.len();
        self.spares.retain_mut(|spare| spare.tunnel.poll_disturbed(cx).is_pending());
        before - self.spares.len()
    }

    /// Returns what is to be done to keep `most` spares, which are not more than its limit.
    pub(super) fn need(&mut self, most: usize) -> Need {
        self.release_old();
        let now = Instant::now();
        // Old spares are dropped before their hops close them. So the keeper wakes when the next
        // one is due, even if no spare is to be made.
        let oldest = self.spares.iter().map(|spare| spare.made + self.age_max).min();
        let Some((target, wanted)) = &self.wanted else { return Need::Until(oldest) };
        // A chain without traffic needs no spares, and its hops get no connections.
        let is_in_use = now < *wanted + USE_MAX;
        if !is_in_use || self.spares.len() >= most {
            return Need::Until(oldest);
        }
        match self.pause {
            Some((until, _)) if now < until => {
                Need::Until(Some(oldest.map_or(until, |oldest| oldest.min(until))))
            }
            _ => Need::One { target: target.clone() },
        }
    }

    fn release_old(&mut self) {
        let age_max = self.age_max;
        self.spares.retain(|spare| {
            let age = spare.made.elapsed();
            // On most systems the monotonic clock stands still while the machine sleeps, and the
            // hops have closed the spares by then. The clocks also differ if the time was set.
            let is_same_day = spare
                .made_at
                .elapsed()
                .is_ok_and(|by_wall| by_wall.abs_diff(age) < CLOCKS_APART_MAX);
            age < age_max && is_same_day
        });
    }
}

/// Well below what proxies and firewalls allow a silent connection.
const AGE_MAX: Duration = Duration::from_secs(45);
const AGE_MIN: Duration = Duration::from_secs(5);
const AGE_GROWTH: f64 = 1.05;
/// A chain is no longer kept warm after this much time without traffic.
const USE_MAX: Duration = Duration::from_secs(5 * 60);
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
const CLOCKS_APART_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncWriteExt, DuplexStream, duplex},
        time::advance,
    };

    use super::*;

    fn target() -> Authority {
        "target.test:443".parse().unwrap()
    }

    fn path(port: u16) -> Path {
        vec![(format!("hop.test:{port}").parse().unwrap(), None)]
    }

    /// Creates a stock of a chain that a connection has passed.
    fn used(limit: usize) -> Stock {
        let mut stock = Stock::new(limit);
        stock.reached_last(&target());
        stock
    }

    fn put(stock: &mut Stock) -> DuplexStream {
        let (near, far) = duplex(8);
        stock.put(path(1), Tunnel::layered(near));
        far
    }

    fn deaths(stock: &mut Stock) -> usize {
        stock.poll_deaths(&mut Context::from_waker(std::task::Waker::noop()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_chain_in_use_is_filled_to_its_limit_and_no_further() {
        let mut stock = Stock::new(2);
        assert_eq!(stock.need(stock.limit), Need::Until(None), "the chain has no traffic");
        assert!(stock.take(&path(1), &target()).is_none());
        assert_eq!(stock.need(stock.limit), Need::Until(None), "nothing has come to the last hop");
        stock.reached_last(&target());
        let _fars = [put(&mut stock), put(&mut stock)];
        assert!(matches!(stock.need(stock.limit), Need::Until(Some(_))));
        assert!(stock.take(&path(2), &target()).is_none(), "it leads elsewhere");
        assert!(stock.take(&path(1), &target()).is_some());
        assert_eq!(stock.need(stock.limit), Need::One { target: target() });
        let _more = [put(&mut stock), put(&mut stock)];
        assert_eq!(stock.waiting(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_spares_are_made_than_there_is_room_for() {
        let mut stock = used(3);
        assert_eq!(stock.need(0), Need::Until(None));
        assert_eq!(stock.need(1), Need::One { target: target() });
        let _far = put(&mut stock);
        assert!(matches!(stock.need(1), Need::Until(Some(_))));
        assert_eq!(stock.need(2), Need::One { target: target() });
    }

    #[tokio::test(start_paused = true)]
    async fn a_spare_that_stirs_or_ends_is_dead() {
        let mut stock = used(3);
        let (mut stirs, ends, _waits) = (put(&mut stock), put(&mut stock), put(&mut stock));
        assert_eq!(deaths(&mut stock), 0);
        stirs.write_all(b"HTTP/1.1 408 Timeout\r\n"[..8].as_ref()).await.unwrap();
        drop(ends);
        assert_eq!((deaths(&mut stock), stock.waiting()), (2, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn stale_spares_shorten_the_maximum_age() {
        let mut stock = used(1);
        let _far = put(&mut stock);
        stock.was_stale();
        // The system clock can't be paused; the age of such a young tunnel comes from the other clock.
        advance(AGE_MAX / 2 - Duration::from_secs(1)).await;
        stock.spares[0].made_at = SystemTime::now() - (AGE_MAX / 2 - Duration::from_secs(1));
        assert!(stock.need(stock.limit) != Need::One { target: target() });
        advance(Duration::from_secs(2)).await;
        assert_eq!(stock.need(stock.limit), Need::One { target: target() });
        for _ in 0..20 {
            stock.was_stale();
        }
        assert_eq!(stock.age_max, AGE_MIN);
    }

    #[tokio::test(start_paused = true)]
    async fn a_machine_that_slept_has_no_spares_left() {
        let mut stock = used(1);
        let _far = put(&mut stock);
        stock.spares[0].made_at = SystemTime::now() - Duration::from_secs(3600);
        assert!(stock.take(&path(1), &target()).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_are_met_with_patience_and_disuse_with_rest() {
        let mut stock = used(1);
        stock.failed(Duration::ZERO);
        let begun = Instant::now();
        assert_eq!(stock.need(stock.limit), Need::Until(Some(begun + PAUSE_FIRST)));
        stock.failed(Duration::ZERO);
        assert_eq!(stock.need(stock.limit), Need::Until(Some(begun + PAUSE_FIRST * 2)));
        advance(PAUSE_FIRST * 2).await;
        assert_eq!(stock.need(stock.limit), Need::One { target: target() });
        advance(USE_MAX).await;
        assert_eq!(stock.need(stock.limit), Need::Until(None));
    }
    #[tokio::test(start_paused = true)]
    async fn a_loop_ends_the_making_of_spares_until_a_connection_comes_through() {
        let mut stock = used(1);
        stock.looped(Duration::ZERO);
        advance(PAUSE_FIRST * 2).await;
        assert!(stock.take(&path(1), &target()).is_none());
        assert_eq!(stock.need(stock.limit), Need::Until(None));
        stock.reached_last(&target());
        assert_eq!(stock.need(stock.limit), Need::One { target: target() });
    }
}
