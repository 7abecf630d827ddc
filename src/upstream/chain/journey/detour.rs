//! Chooses another way after a failed attempt.

use std::sync::Arc;

use mooltiroute_hops::{Authority, Chosen, Eventual, HopError, Link, Meaning, Party};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::{ChosenHop, Journey, LeftOutHop};
use crate::{
    error::with_causes,
    upstream::chain::{
        Cause, ChainError, ChainHop, FailedAttempt, FailedMember, FailedMembers, MemberFailure,
        Step, travel::SILENCE_MIN,
    },
};

impl<'a> Journey<'a> {
    /// Looks for another way after an attempt failed, and gives the error back if there is none.
    ///
    /// A client that has not heard anything yet can be served by any number of attempts, so three kinds of failure are
    /// not final. They differ in the party that failed, which never depends on the wording of an answer:
    ///
    /// 1. The hop needs a new connection, because its authentication goes on after the old one was closed. The same hop
    ///    is asked again, with what it learned, at most [`AGAINS_MAX`](super::AGAINS_MAX) times and within its handshake timeout.
    /// 2. A hop's policy forbids the address of the next hop. The next hop may be reached at other addresses; each is
    ///    tried once, and the one that works is remembered for later connections.
    /// 3. A hop failed: it can't be reached, or it refused for a reason of its own. The selection that chose it may
    ///    know another hop in its place. If a hop says that it can't reach the *next* one, that one failed.
    ///
    /// A loop is final, and says nothing about the hop that reports it: another one is on the same way. If each round asked
    /// another member after a failure, a loop of `n` rounds would take 2ⁿ requests.
    ///
    /// A lack of this machine's own, such as of descriptors, is final too, and says nothing about any hop.
    ///
    /// A failure to reach the target itself is final: another hop would meet it too. The one exception is a hop that was
    /// left out: if the target can't be dialled without it, its selection may know a way with a hop.
    ///
    /// Every hop before the failed one did its part, and is reported as working: its health does not depend on the hops
    /// behind it.
    pub(crate) async fn detour(&mut self, failed: FailedAttempt) -> Result<(), ChainError> {
        let FailedAttempt { index, mut error, again, asked } = failed;
        // Kind 1. The link that comes back has what the old connection taught, such as a challenge.
        if let Some(link) = again
            && self.ask_again(index, link, asked)
        {
            return Ok(());
        }
        // The deadline was for the hop that asked again. Another way has the full timeouts.
        self.deadline = None;
        // No hop is responsible, and another one would most likely meet the same lack.
        if error.cause.own_lack().is_some() {
            self.reached_before(index.min(self.hops.len()), None);
            return Err(error);
        }
        if error.is_of_loop() {
            self.refused(index, &error);
            self.hops.iter().take(index).for_each(|hop| self.agreed(hop));
            self.reached_before(index, None);
            return Err(error);
        }
        // Kind 2.
        if self.tries_another_address(index, &mut error) {
            return Ok(());
        }
        // Kind 3, or the end. If the target failed, no hop is responsible, and all of them learn
        // that they worked.
        let refusing = is_about_next(&error).then_some(index);
        if let Some(index) = refusing {
            self.refused(index, &error);
        }
        self.hops.iter().take(index).for_each(|hop| self.agreed(hop));
        let Some(failed) = self.failed_hop(index, &error) else {
            self.reached_before(self.hops.len(), refusing);
            return self.try_without_leaving_out(error).await;
        };
        self.reached_before(failed, refusing);
        let is_doubtful = may_be_about_next(&error);
        if is_doubtful {
            self.refused(failed, &error);
        }
        let hop = self.hops.remove(failed);
        // The address may be what failed, so the next connection begins with the first one again.
        self.chain.remember(hop.position, None);
        let (name, position) = (hop.member(), hop.position);
        self.note_failure(&hop, failed == index, &error);
        let other = match is_doubtful {
            true => hop.another(),
            false => {
                self.log_failure(&hop, &error);
                // Reports the failure and asks for another member in one call, so neither can be forgotten.
                hop.instead(&error.cause, failed == index)
            }
        };
        self.replace((position, failed, name), other, error).await
    }

    /// Takes `other` for the member called `name`, which was at `index` of the journey and belongs to the hop at `position` of
    /// the chain.
    ///
    /// # Errors
    /// `error`, with all members that failed, if there is no other one.
    async fn replace(
        &mut self,
        (position, index, name): (usize, usize, Option<String>),
        other: Eventual<'static, Option<Chosen>>,
        mut error: ChainError,
    ) -> Result<(), ChainError> {
        let Some(other) = other.wait().await else {
            error.failed_members = self.failed_members(position);
            return Err(error);
        };
        debug!(failed = name, other = other.member(), "another member is tried");
        self.take(position, index, other);
        Ok(())
    }

    /// Looks for another last hop after the last one took a request and failed with `error` before any answer.
    pub(crate) async fn last_failed(&mut self, error: ChainError) -> Result<(), ChainError> {
        let index = self.hops.len().saturating_sub(1);
        self.detour(FailedAttempt { index, error, again: None, asked: Instant::now() }).await
    }

    /// Looks for another last hop after the last one took a request and refused it, with `error`. It stays in use: the target
    /// may have imitated the refusal. `works` says whether the answer shows that the hop works.
    pub(crate) async fn last_refused(
        &mut self,
        error: ChainError,
        works: bool,
    ) -> Result<(), ChainError> {
        if error.is_of_loop() {
            self.refused(self.hops.len().saturating_sub(1), &error);
            return Err(error);
        }
        let Some(last) = self.hops.pop() else { return Err(error) };
        if works {
            let status = error.refusal().and_then(|refusal| refusal.http.as_ref());
            self.answered_with(&last, status.map_or(0, |http| http.status));
        }
        let (position, name) = (last.position, last.member());
        self.note_failure(&last, true, &error);
        let index = self.hops.len();
        self.replace((position, index, name), last.another(), error).await
    }

    /// Looks for another last hop after the last one rejected the credentials of a request, which are held back now. It is
    /// left out from now on, since no connection could use it.
    pub(crate) async fn last_rejected(&mut self, error: ChainError) -> Result<(), ChainError> {
        let Some(last) = self.hops.pop() else { return Err(error) };
        self.log_failure(&last, &error);
        let (position, name) = (last.position, last.member());
        self.note_failure(&last, true, &error);
        let index = self.hops.len();
        let other = last.instead_of_rejecting(&error.cause);
        self.replace((position, index, name), other, error).await
    }

    /// Reports that the last hop failed with `error`, and looks for no other one.
    pub(crate) fn give_up(mut self, error: &ChainError) {
        let Some(last) = self.hops.pop() else { return };
        if error.cause.own_lack().is_some() {
            return;
        }
        self.log_failure(&last, error);
        drop(match error.holds_back() {
            true => last.instead_of_rejecting(&error.cause),
            false => last.instead(&error.cause, true),
        });
    }

    /// Ends the journey, since its client left during the attempt that `failed`. The hop that was waited for has failed if
    /// it was silent for long enough, and answered no other connection meanwhile.
    pub(crate) fn abandon(mut self, failed: FailedAttempt) -> ChainError {
        let FailedAttempt { index, error, asked, .. } = failed;
        self.reached_before(index.min(self.hops.len()), None);
        let is_silent =
            |hop: &ChosenHop| hop.selection.as_ref().is_some_and(|selection| selection.is_silent());
        // The hop went on being silent until it was noticed that the client had left.
        if asked.elapsed() >= SILENCE_MIN && self.hops.get(index).is_some_and(is_silent) {
            let hop = self.hops.remove(index);
            self.log_failure(&hop, &error);
            drop(hop.instead(&error.cause, true));
        }
        error
    }

    /// Logs that connections begin to leave a member out. Each later failure of it would say the same.
    fn log_failure(&self, hop: &ChosenHop, error: &ChainError) {
        if hop.is_in_use() == Some(true) {
            let (name, member) = (self.hop_name(hop.position), hop.member());
            let advice = self.chain.advise.map(|advise| advise(error));
            warn!(hop = name, member, error = with_causes(error), advice, "pool member left");
        }
    }

    /// Gives up after the attempt that `failed`, though there may be other ways, and returns its error.
    pub(crate) fn end(mut self, failed: FailedAttempt) -> ChainError {
        let FailedAttempt { index, mut error, .. } = failed;
        if let Some(failed) = self.failed_hop(index, &error) {
            let hop = self.hops.remove(failed);
            self.note_failure(&hop, failed == index, &error);
            error.failed_members = self.failed_members(hop.position);
        }
        error
    }

    /// Notes how `hop` failed. If it is not the hop that met the `error`, the hop before could not reach it.
    fn note_failure(&mut self, hop: &ChosenHop, is_its_own: bool, error: &ChainError) {
        if let Some(name) = hop.member() {
            let failure = match is_its_own {
                true => MemberFailure::from(&error.cause),
                false => MemberFailure::NotReached,
            };
            let wait = match &error.cause {
                Cause::Hop(HopError::Refused(refusal)) if is_its_own => refusal.retry_after,
                _ => None,
            };
            self.failed_members.push((hop.position, FailedMember { name, failure, wait }));
        }
    }

    /// Describes the members that failed at `position`. Returns `None` if there was only one.
    pub(super) fn failed_members(&self, position: usize) -> Option<FailedMembers> {
        let failed = self.failed_members.iter().filter(|(at, _)| *at == position);
        let members: Vec<_> = failed.map(|(_, member)| member.clone()).collect();
        let ChainHop { name, hop, .. } = self.chain.hops.get(position)?;
        // A member may be a pool itself, whose members are counted here one by one.
        let are_all = members.len() >= hop.members().len();
        (members.len() > 1).then(|| FailedMembers { hop: Arc::clone(name), members, are_all })
    }

    /// Lets a hop that was left out choose again, if the target was dialled without any hop and could not be reached.
    async fn try_without_leaving_out(&mut self, error: ChainError) -> Result<(), ChainError> {
        if !self.hops.is_empty() || !matches!(error.cause, Cause::Dial(_) | Cause::Timeout(..)) {
            return Err(error);
        }
        while let Some(LeftOutHop { position, selection, .. }) = self.left_out.pop() {
            let Some(selection) = selection else { continue };
            if let Some(other) = selection.instead().wait().await {
                debug!(other = other.member(), "a hop that was left out is tried");
                self.take(position, 0, other);
                return Ok(());
            }
        }
        Err(error)
    }

    /// Puts `link` in place of the hop that returned it, if that hop may have one more connection.
    fn ask_again(&mut self, index: usize, link: Arc<dyn Link>, asked: Instant) -> bool {
        // Counted for the whole journey, so that hops which close each connection can't keep the
        // client waiting.
        let Some(hop) = self.hops.get_mut(index).filter(|_| self.agains_left > 0) else {
            return false;
        };
        self.agains_left -= 1;
        debug!(hop.position, "the hop is asked again, over a new connection");
        hop.link = link;
        // From the first time that the hop was asked: new connections don't prolong its handshake.
        self.deadline.get_or_insert(asked + self.chain.timeouts.handshake);
        true
    }

    /// Chooses another address of the next hop, if the one that was tried is forbidden. Returns whether there is one.
    fn tries_another_address(&mut self, index: usize, error: &mut ChainError) -> bool {
        let next = index + 1;
        let (Step::Extend, Cause::Hop(HopError::Refused(refusal)), Some(hop)) =
            (error.stage.step, &error.cause, self.hops.get_mut(next))
        else {
            return false;
        };
        // Only rules of the hop can depend on the address of the next one. Many corporate proxies
        // allow CONNECT to port 443 only, and providers listen on several ports. Any other refusal
        // would be the same for every address.
        if !refusal.is_by_policy() {
            return false;
        }
        // Each address is tried once. One that is forbidden now is not the first choice of the next
        // connection, even if it worked before.
        hop.refused.push(hop.address.clone());
        self.chain.remember(hop.position, None);
        let mut addresses = addresses(&*hop.link);
        match addresses.find(|address| !hop.refused.contains(address)).cloned() {
            Some(other) => {
                debug!(forbidden = %hop.address, %other, "another address of the hop is tried");
                hop.address = other;
            }
            None => {
                // All ports were refused, and the advice to the operator names them.
                error.refused.clone_from(&hop.refused);
                return false;
            }
        }
        true
    }

    /// Returns the index of the hop that failed, or `None` if the target can't be reached.
    fn failed_hop(&self, index: usize, error: &ChainError) -> Option<usize> {
        // "I can't reach the next stop" is about the next hop if there is one. Behind the last hop
        // it is about the target, which no other hop would reach either.
        let failed = if is_about_next(error) { index + 1 } else { index };
        (failed < self.hops.len()).then_some(failed)
    }
}

/// Returns whether a hop that was asked for the next stop says that it is about that one.
fn is_about_next(error: &ChainError) -> bool {
    error.stage.step == Step::Extend
        && matches!(&error.cause, Cause::Hop(HopError::Refused(refusal)) if refusal.about == Party::Next)
}

/// Returns whether a hop that was asked for the next stop has failed in words that it may use for a stop which it can't reach.
///
/// Tinyproxy answers 500 for each name that does not exist. If such members were left out, none would be there for the next
/// request. But another member is worth a try, since a broken proxy answers 500 too.
fn may_be_about_next(error: &ChainError) -> bool {
    let Cause::Hop(HopError::Refused(refusal)) = &error.cause else { return false };
    let status = refusal.http.as_ref().map_or(0, |http| http.status);
    let is_open = refusal.meaning == Meaning::Unclear && refusal.about == Party::Hop;
    // A hop that names a time to come back speaks of itself.
    let is_open = is_open && refusal.retry_after.is_none();
    // These statuses say what is wrong, and it is not the stop.
    let is_clear = matches!(status, 501 | 505 | 509 | 511);
    error.stage.step == Step::Extend && is_open && status >= 500 && !is_clear
}

pub(super) fn addresses(link: &dyn Link) -> impl Iterator<Item = &Authority> {
    std::iter::once(link.address()).chain(link.alternatives())
}
