//! When the proxy wants credentials, as far as the connections of a hop have learned it.

use std::collections::VecDeque;

use crate::{Authority, auth::challenge::AuthScheme};

/// When a proxy wants credentials, as far as that is known, and by which schemes.
///
/// Many proxies exempt a few targets, and some refuse a few before they ask who wants them. So an answer without a
/// challenge says nothing about other targets, and takes back no offer.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    /// The schemes that the proxy offered last. `None` before its first challenge, and after it broke a scheme off.
    offered: Option<Vec<AuthScheme>>,
    /// Whether it ever sent a challenge.
    has_asked: bool,
    /// The targets that requests without credentials reached, with the oldest first.
    exempt: VecDeque<Authority>,
    /// Whether requests without credentials pass on a connection that is logged on. `None` until one was sent.
    keeps_logons: Option<bool>,
}

impl Wishes {
    /// Creates the wishes of a proxy that is sent credentials by these schemes without being asked.
    pub(super) fn presumed(offered: Option<Vec<AuthScheme>>) -> Self {
        Self { offered, ..Self::default() }
    }

    pub(super) fn offered(&self) -> Option<Vec<AuthScheme>> {
        self.offered.clone()
    }

    /// Notes the schemes of a challenge.
    pub(super) fn asked(&mut self, offered: Vec<AuthScheme>) {
        (self.offered, self.has_asked) = (Some(offered), true);
    }

    /// Has the next connection ask for a challenge.
    pub(super) fn forget_offer(&mut self) {
        self.offered = None;
    }

    /// Returns whether a request to `target` can go without credentials.
    ///
    /// Rules may depend on the path too. A request with a body can't be sent again, so it relies on an exemption only if
    /// the proxy has never asked for anything.
    pub(super) fn exempts(&self, target: &Authority, has_body: bool) -> bool {
        !(has_body && self.has_asked) && self.exempt.contains(target)
    }

    /// Notes that a request without credentials reached `target`.
    pub(super) fn note_exempt(&mut self, target: &Authority) {
        if self.exempt.contains(target) {
            return;
        }
        if self.exempt.len() == EXEMPT_MAX {
            self.exempt.pop_front();
        }
        self.exempt.push_back(target.clone());
    }

    /// Notes that a request to `target` without credentials was challenged.
    pub(super) fn forget_exempt(&mut self, target: &Authority) {
        self.exempt.retain(|exempt| exempt != target);
    }

    /// Returns whether requests without credentials pass on a connection that is logged on. `None` if that is not known.
    pub(super) fn keeps_logons(&self) -> Option<bool> {
        self.keeps_logons
    }

    /// Notes whether such a request passed. A proxy that asked once more is taken to ask each time.
    pub(super) fn note_kept_logon(&mut self, is_kept: bool) {
        self.keeps_logons = Some(is_kept && self.keeps_logons != Some(false));
    }
}

/// How many targets are remembered. One that is forgotten costs another round.
const EXEMPT_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exemption_takes_back_no_offer() {
        let (free, paid) = ("free.example:80".parse().unwrap(), "paid.example:80".parse().unwrap());
        let mut wishes = Wishes::default();
        wishes.note_exempt(&free);
        assert!(wishes.exempts(&free, true) && wishes.exempts(&free, false));
        assert!(!wishes.exempts(&paid, true) && !wishes.exempts(&paid, false));
        wishes.asked(vec![AuthScheme::Digest]);
        wishes.note_exempt(&free);
        assert_eq!(wishes.offered(), Some(vec![AuthScheme::Digest]));
        assert!(!wishes.exempts(&free, true) && wishes.exempts(&free, false));
        // A challenge without a scheme that is known is one too.
        wishes.asked(Vec::new());
        assert!(!wishes.exempts(&free, true));
        wishes.forget_exempt(&free);
        assert!(!wishes.exempts(&free, false));
    }

    #[test]
    fn only_so_many_targets_are_remembered() {
        let target = |port: usize| format!("a.example:{}", port + 1).parse::<Authority>().unwrap();
        let mut wishes = Wishes::default();
        for port in (0..=EXEMPT_MAX).chain([EXEMPT_MAX]) {
            wishes.note_exempt(&target(port));
        }
        let kept = (0..=EXEMPT_MAX).filter(|port| wishes.exempts(&target(*port), true));
        assert_eq!(kept.collect::<Vec<_>>(), (1..=EXEMPT_MAX).collect::<Vec<_>>());
    }

    #[test]
    fn a_proxy_that_asked_again_is_not_trusted_to_keep_a_logon() {
        let mut wishes = Wishes::default();
        assert_eq!(wishes.keeps_logons(), None);
        for (is_kept, expected) in [(true, true), (false, false), (true, false)] {
            wishes.note_kept_logon(is_kept);
            assert_eq!(wishes.keeps_logons(), Some(expected));
        }
    }
}
