use super::{
    standing::{LOGON_WINDOW_MAX, OTHERS_WAIT, Scope, WINDOW_MIN},
    *,
};
use crate::{HopError, Meaning, Party, Refusal};

/// Creates a lockout, whose requests go to `a.example` unless a test names another target.
fn lockout() -> Arc<Lockout> {
    Arc::new(Lockout::new(Duration::from_secs(30)))
}

fn rejection() -> Rejection {
    Rejection::ByProxy(Refusal::new(Meaning::Credentials, Party::Hop, "407").into())
}

fn target(name: &str) -> Authority {
    format!("{name}.example:443").parse().unwrap()
}

async fn ask(lockout: &Arc<Lockout>, name: &str) -> Result<Permit, Hold> {
    // The proxy asked for the credentials.
    lockout.permit(&target(name), true).await
}

async fn permit(lockout: &Arc<Lockout>) -> Result<Permit, Hold> {
    ask(lockout, "a").await
}

fn reject(lockout: &Arc<Lockout>, permit: &Permit) -> Ruling {
    lockout.rejected(rejection(), Tried::Logon, Some(permit.sent()))
}

async fn meet_rejection(lockout: &Arc<Lockout>, name: &str) -> Scope {
    let permit = ask(lockout, name).await.unwrap();
    time::advance(SHORTLY).await;
    reject(lockout, &permit).scope
}

async fn meet_acceptance(lockout: &Arc<Lockout>, name: &str) {
    let permit = ask(lockout, name).await.unwrap();
    time::advance(SHORTLY).await;
    lockout.accepted(permit.sent());
}

/// Returns how long the credentials are not sent to a target, and whether that target is refused by itself.
async fn wait_for(lockout: &Arc<Lockout>, name: &str) -> Option<(Duration, bool)> {
    let hold = ask(lockout, name).await.err()?;
    let HopError::HeldBack(held) = HopError::from(hold) else { panic!("not held back") };
    Some((held.wait, held.refusal.is_of_target))
}

/// Returns how long the credentials are not tried.
async fn wait(lockout: &Arc<Lockout>) -> Option<Duration> {
    wait_for(lockout, "a").await.map(|(wait, _)| wait)
}

const SHORTLY: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn a_client_that_never_stops_asking_makes_two_failed_logons_in_thirty_minutes() {
    let (lockout, begun) = (lockout(), Instant::now());
    let mut logons = Vec::new();
    while begun.elapsed() < Duration::from_secs(2 * 3600) {
        if let Ok(permit) = permit(&lockout).await {
            logons.push(begun.elapsed().as_secs());
            reject(&lockout, &permit);
        }
        time::advance(Duration::from_secs(4)).await;
    }
    assert_eq!(logons[..2], [0, 32]);
    assert!(logons.len() > 3, "they are tried again some day: {logons:?}");
    // A domain forgets failed logons only if 30 min pass without any.
    assert!(logons[1..].windows(2).all(|pair| pair[1] - pair[0] > 30 * 60), "{logons:?}");
}

#[tokio::test(start_paused = true)]
async fn a_password_that_is_wrong_from_now_on_fails_twice_in_thirty_minutes_whatever_the_targets() {
    for has_refused_targets in [false, true] {
        let lockout = lockout();
        meet_acceptance(&lockout, "good").await;
        if has_refused_targets {
            meet_rejection(&lockout, "forbidden").await;
            time::advance(OTHERS_WAIT).await;
            meet_acceptance(&lockout, "good").await;
        }
        let (begun, mut logons) = (Instant::now(), Vec::new());
        // Each request goes to another target, and every third one is let through without a look at its credentials.
        for number in 0_u32.. {
            if begun.elapsed() > Duration::from_secs(2 * 3600) {
                break;
            }
            let name = target(&format!("target{number}"));
            let is_exempt = number % 3 == 1;
            if is_exempt && lockout.wants_proof() {
                // Sent without credentials.
            } else if let Ok(permit) = lockout.permit(&name, !is_exempt).await {
                match is_exempt {
                    true => lockout.accepted(permit.sent()),
                    false => {
                        logons.push(begun.elapsed().as_secs());
                        reject(&lockout, &permit);
                    }
                }
            }
            time::advance(Duration::from_secs(1)).await;
        }
        assert!(logons.len() > 3, "they are tried again some day: {logons:?}");
        assert!(logons[1] < 10, "another target is tried soon: {logons:?}");
        assert!(logons[1..].windows(2).all(|pair| pair[1] - pair[0] > 30 * 60), "{logons:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_refused_alone_is_held_alone() {
    let lockout = lockout();
    meet_acceptance(&lockout, "good").await;
    assert_eq!(meet_rejection(&lockout, "forbidden").await, Scope::Suspect);
    assert_eq!(wait_for(&lockout, "forbidden").await, Some((WINDOW_MIN, false)));
    let begun = Instant::now();
    let second = ask(&lockout, "good").await.unwrap();
    assert!(begun.elapsed() > OTHERS_WAIT - SHORTLY * 2, "{:?}", begun.elapsed());
    // One at a time: the next one waits, and gets the verdict.
    let (third, ()) = tokio::join!(ask(&lockout, "other"), async {
        time::advance(SHORTLY).await;
        lockout.accepted(second.sent());
        drop(second);
    });
    assert!(third.unwrap().sent().try_of.is_none());
    for seconds in [30, 60, 120, 240, 300, 300] {
        let expected = Duration::from_secs(seconds);
        assert_eq!(wait_for(&lockout, "forbidden").await, Some((expected, true)));
        meet_acceptance(&lockout, "good").await;
        time::advance(expected).await;
        // The proxy is known to do this, so nothing else waits.
        assert_eq!(meet_rejection(&lockout, "forbidden").await, Scope::Target);
        let begun = Instant::now();
        meet_acceptance(&lockout, "good").await;
        assert!(begun.elapsed() < SHORTLY * 2);
    }
    time::advance(Duration::from_secs(300)).await;
    meet_acceptance(&lockout, "forbidden").await;
    assert_eq!(wait_for(&lockout, "forbidden").await, None, "it is allowed now");
}

#[tokio::test(start_paused = true)]
async fn a_target_that_was_refused_alone_is_not_asked_for_until_others_pass_again() {
    let lockout = lockout();
    meet_acceptance(&lockout, "good").await;
    meet_rejection(&lockout, "forbidden").await;
    time::advance(OTHERS_WAIT).await;
    meet_acceptance(&lockout, "good").await;
    time::advance(WINDOW_MIN).await;
    assert_eq!(meet_rejection(&lockout, "forbidden").await, Scope::Target);
    for _ in 0..100 {
        time::advance(WINDOW_MIN).await;
        assert!(wait_for(&lockout, "forbidden").await.is_some_and(|(_, alone)| alone));
    }
    meet_acceptance(&lockout, "good").await;
}

#[tokio::test(start_paused = true)]
async fn a_second_target_that_is_rejected_holds_back_everything() {
    let lockout = lockout();
    meet_acceptance(&lockout, "good").await;
    assert_eq!(meet_rejection(&lockout, "one").await, Scope::Suspect);
    time::advance(OTHERS_WAIT).await;
    assert_eq!(meet_rejection(&lockout, "two").await, Scope::All);
    for name in ["one", "two", "good"] {
        assert_eq!(wait_for(&lockout, name).await, Some((LOGON_WINDOW_MAX, false)), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_target_alone_waits_as_if_the_credentials_were_never_accepted() {
    for was_accepted in [false, true] {
        let lockout = lockout();
        if was_accepted {
            meet_acceptance(&lockout, "a").await;
        }
        for expected in [WINDOW_MIN, LOGON_WINDOW_MAX, LOGON_WINDOW_MAX] {
            meet_rejection(&lockout, "a").await;
            assert_eq!(wait_for(&lockout, "a").await, Some((expected, false)));
            assert_eq!(lockout.held_back(), Some(expected));
            time::advance(expected).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn requests_under_way_show_whether_a_target_is_refused_alone() {
    let lockout = lockout();
    meet_acceptance(&lockout, "good").await;
    let early = ask(&lockout, "early").await.unwrap();
    time::advance(SHORTLY).await;
    let forbidden = ask(&lockout, "forbidden").await.unwrap();
    let banned = ask(&lockout, "banned").await.unwrap();
    time::advance(SHORTLY).await;
    let late = ask(&lockout, "late").await.unwrap();
    reject(&lockout, &forbidden);
    assert_eq!(reject(&lockout, &banned).scope, Scope::Suspect, "no second try");
    lockout.accepted(early.sent());
    assert_eq!(wait_for(&lockout, "forbidden").await, Some((WINDOW_MIN, false)));
    lockout.accepted(late.sent());
    for name in ["forbidden", "banned"] {
        assert_eq!(wait_for(&lockout, name).await, Some((WINDOW_MIN, true)));
    }
    assert_eq!(ask(&lockout, "early").await.unwrap().sent().try_of, None);
}

#[tokio::test(start_paused = true)]
async fn a_success_that_was_not_asked_for_proves_nothing_after_a_rejection() {
    let lockout = lockout();
    meet_acceptance(&lockout, "good").await;
    let forbidden = ask(&lockout, "forbidden").await.unwrap();
    time::advance(SHORTLY).await;
    let exempt = lockout.permit(&target("exempt"), false).await.unwrap();
    reject(&lockout, &forbidden);
    lockout.accepted(exempt.sent());
    assert_eq!(wait_for(&lockout, "forbidden").await, Some((WINDOW_MIN, false)));
    assert!(lockout.wants_proof());
}

#[tokio::test(start_paused = true)]
async fn a_ticket_that_is_refused_for_a_target_is_tried_for_another_at_once() {
    let lockout = lockout();
    let refuse = |permit: &Permit| {
        lockout.rejected(rejection(), Tried::Ticket(None), Some(permit.sent())).scope
    };
    meet_acceptance(&lockout, "good").await;
    assert_eq!(refuse(&ask(&lockout, "forbidden").await.unwrap()), Scope::Suspect);
    let begun = Instant::now();
    assert_eq!(refuse(&ask(&lockout, "other").await.unwrap()), Scope::All);
    assert!(begun.elapsed().is_zero());
    assert_eq!(wait_for(&lockout, "good").await, Some((WINDOW_MIN * 2, false)));
}

#[tokio::test(start_paused = true)]
async fn a_rejection_by_the_domain_holds_back_all_targets() {
    let lockout = lockout();
    meet_acceptance(&lockout, "good").await;
    assert_eq!(lockout.rejected(rejection(), Tried::Logon, None).scope, Scope::All);
    assert_eq!(wait_for(&lockout, "good").await, Some((WINDOW_MIN, false)));
}

#[tokio::test(start_paused = true)]
async fn only_so_many_targets_are_remembered() {
    let lockout = lockout();
    meet_acceptance(&lockout, "good").await;
    for number in 0..100 {
        meet_rejection(&lockout, &format!("forbidden{number}")).await;
        meet_acceptance(&lockout, "good").await;
    }
    let mut held = 0;
    for number in 0..100 {
        held += u32::from(lockout.check(&target(&format!("forbidden{number}"))).is_err());
    }
    assert_eq!(held, 64);
    assert!(lockout.check(&target("forbidden99")).is_err());
    lockout.release();
    assert!(lockout.check(&target("forbidden99")).is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_acceptance_begins_the_count_again_and_a_presumed_one_does_not() {
    let lockout = lockout();
    meet_rejection(&lockout, "a").await;
    time::advance(WINDOW_MIN).await;
    // A proxy that takes longer than this to reject a password.
    let mut late = permit(&lockout).await.unwrap();
    late.begin_trial(true);
    let presumed = permit(&lockout).await.unwrap();
    assert_eq!(presumed.sent().try_of, None);
    reject(&lockout, &late);
    assert_eq!(wait(&lockout).await, Some(LOGON_WINDOW_MAX));
    time::advance(LOGON_WINDOW_MAX).await;
    meet_acceptance(&lockout, "a").await;
    meet_rejection(&lockout, "a").await;
    assert_eq!(wait(&lockout).await, Some(WINDOW_MIN));
}

#[tokio::test(start_paused = true)]
async fn an_order_of_the_operator_allows_one_more_try() {
    let lockout = lockout();
    meet_rejection(&lockout, "a").await;
    lockout.release();
    meet_rejection(&lockout, "a").await;
    assert_eq!(wait(&lockout).await, Some(LOGON_WINDOW_MAX));
    lockout.release();
    assert!(lockout.held_back().is_none());
    meet_acceptance(&lockout, "a").await;
    lockout.release();
    assert_eq!(permit(&lockout).await.unwrap().sent().try_of, None, "there is nothing to end");
}

#[tokio::test(start_paused = true)]
async fn a_rejected_ticket_counts_for_windows_that_double_up_to_five_minutes() {
    let lockout = lockout();
    let refuse = async || {
        let permit = permit(&lockout).await.unwrap();
        lockout.rejected(rejection(), Tried::Ticket(None), Some(permit.sent()));
    };
    for seconds in [30, 60, 120, 240, 300, 300] {
        refuse().await;
        assert_eq!(wait(&lockout).await, Some(Duration::from_secs(seconds)));
        time::advance(Duration::from_secs(seconds)).await;
    }
    meet_acceptance(&lockout, "a").await;
    refuse().await;
    assert_eq!(wait(&lockout).await, Some(WINDOW_MIN));
}

#[tokio::test(start_paused = true)]
async fn others_wait_for_the_verdict_and_get_it() {
    for begins_trial in [false, true] {
        let lockout = lockout();
        let begun = Instant::now();
        let mut first = permit(&lockout).await.unwrap();
        if begins_trial {
            first.begin_trial(false);
        }
        let (second, ()) = tokio::join!(permit(&lockout), async {
            reject(&lockout, &first);
        });
        assert!(second.is_err() && begun.elapsed().is_zero());
    }
}

#[tokio::test(start_paused = true)]
async fn a_try_that_was_given_up_makes_room_for_the_next() {
    let lockout = lockout();
    for _ in 0..3 {
        let mut given_up = permit(&lockout).await.unwrap();
        given_up.begin_trial(false);
        drop(given_up);
        drop(permit(&lockout).await.unwrap());
    }
    meet_acceptance(&lockout, "a").await;
    let (one, two) = (permit(&lockout).await, permit(&lockout).await);
    assert!(one.is_ok() && two.is_ok(), "accepted credentials are used by many at once");
}

#[tokio::test(start_paused = true)]
async fn a_request_without_an_answer_delays_others_for_a_limited_time() {
    let lockout = lockout();
    let begun = Instant::now();
    let mut first = permit(&lockout).await.unwrap();
    first.begin_trial(false);
    let mut second = ask(&lockout, "b").await.unwrap();
    assert_eq!(begun.elapsed(), TRIAL_MAX);
    second.begin_trial(false);
    // Two may fail, and no more, unless the proxy says nothing for longer than any that rejects passwords.
    let third = ask(&lockout, "c").await.unwrap();
    assert_eq!(begun.elapsed(), TRIAL_MAX + LAST_TRIAL_MAX);
    assert_eq!(third.sent().try_of, None);
    reject(&lockout, &first);
    assert_eq!(wait(&lockout).await, Some(LOGON_WINDOW_MAX), "a late rejection counts for both");
}

#[tokio::test(start_paused = true)]
async fn a_silent_target_of_good_credentials_adds_no_failed_logon() {
    let lockout = lockout();
    let mut silent = ask(&lockout, "silent").await.unwrap();
    silent.begin_trial(false);
    meet_acceptance(&lockout, "good").await;
    assert_eq!(meet_rejection(&lockout, "forbidden").await, Scope::Suspect);
    time::advance(OTHERS_WAIT).await;
    meet_acceptance(&lockout, "good").await;
    assert_eq!(wait_for(&lockout, "forbidden").await, Some((WINDOW_MIN, true)));
}

#[tokio::test(start_paused = true)]
async fn a_verdict_reaches_those_who_wait_for_a_silent_target() {
    let lockout = lockout();
    let mut silent = permit(&lockout).await.unwrap();
    silent.begin_trial(false);
    let mut second = ask(&lockout, "b").await.unwrap();
    second.begin_trial(false);
    let begun = Instant::now();
    let (third, ()) = tokio::join!(ask(&lockout, "c"), async {
        lockout.accepted(silent.sent());
    });
    assert!(third.is_ok() && begun.elapsed().is_zero());
}

#[tokio::test(start_paused = true)]
async fn a_new_ticket_ends_the_rejection_of_the_old_one() {
    let lockout = lockout();
    let ticket = |ends_at| Ticket { principal: "alice@CORP.TEST".into(), ends_at };
    let permit = permit(&lockout).await.unwrap();
    lockout.rejected(rejection(), Tried::Ticket(None), Some(permit.sent()));
    drop(permit);
    assert_eq!(lockout.rejected_ticket(), None);
    lockout.ticket_identified(Some(ticket(1)));
    assert_eq!(lockout.rejected_ticket(), Some(ticket(1)));
    lockout.ticket_changed(&ticket(2));
    assert!(lockout.check(&target("a")).is_err(), "another request has seen to it");
    lockout.ticket_changed(&ticket(1));
    assert!(lockout.check(&target("a")).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_hop_that_is_built_again_remembers_the_rejections_of_its_login() {
    let handshake = Duration::from_secs(30);
    let [key, other] = ["a", "b"].map(|login| LoginKey::of(&("this test", login)));
    meet_rejection(&lockout_of(key, handshake), "a").await;
    assert_eq!(wait(&lockout_of(key, handshake)).await, Some(WINDOW_MIN));
    assert_eq!(wait(&lockout_of(other, handshake)).await, None);
    time::advance(WINDOW_MIN).await;
    meet_rejection(&lockout_of(key, handshake), "a").await;
    assert_eq!(wait(&lockout_of(key, handshake)).await, Some(LOGON_WINDOW_MAX));
}
