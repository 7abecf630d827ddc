//! Tests of the health of members, with a paused clock.

use tokio::time::advance;

use super::{cause::ASKED_MAX, *};

fn take(health: &Health, count: usize) -> Taken {
    health.take(0..count, |member| member).unwrap().1
}

#[tokio::test(start_paused = true)]
async fn a_member_that_failed_is_tried_by_one_connection_after_a_pause() {
    let health = Health::default();
    let first = take(&health, 2);
    assert_eq!(first.member, 0);
    health.failed(first, LeftFor::default());
    assert_eq!(take(&health, 2).member, 1);
    advance(PAUSE_MIN).await;
    let trial = take(&health, 2);
    assert_eq!(trial, Taken { member: 0, is_trial: true });
    assert_eq!(take(&health, 2).member, 1, "a second one does not wait for the trial");
    // One that began earlier and fails now ends no trial and makes no pause longer.
    health.failed(first, LeftFor::default());
    health.failed(trial, LeftFor::default());
    advance(PAUSE_MIN).await;
    assert_eq!(take(&health, 2).member, 1, "the pause is longer now");
    advance(PAUSE_MIN).await;
    let trial = take(&health, 2);
    assert_eq!(trial.member, 0);
    health.reached(trial);
    assert_eq!(take(&health, 2), Taken { member: 0, is_trial: false });
    assert_eq!(take(&health, 2), Taken { member: 0, is_trial: false });
}

#[tokio::test(start_paused = true)]
async fn a_trial_that_was_broken_off_is_open_to_the_next() {
    let health = Health::default();
    let first = take(&health, 2);
    health.failed(first, LeftFor::default());
    advance(PAUSE_MIN).await;
    let trial = take(&health, 2);
    health.released(first);
    assert_eq!(take(&health, 2).member, 1, "another connection does not end the trial");
    health.released(trial);
    assert_eq!(take(&health, 2).member, 0);
}

#[tokio::test(start_paused = true)]
async fn where_all_are_ill_the_first_to_be_tried_is_taken() {
    let health = Health::default();
    health.failed(Taken { member: 1, is_trial: false }, LeftFor::default());
    advance(Duration::from_secs(1)).await;
    health.failed(Taken { member: 0, is_trial: false }, LeftFor::default());
    assert_eq!(take(&health, 2), Taken { member: 1, is_trial: false });
    assert_eq!(health.take(0..0, |member| member), None);
}

#[tokio::test(start_paused = true)]
async fn the_pause_has_an_end() {
    let health = Health::default();
    for _ in 0..20 {
        let taken = take(&health, 1);
        health.failed(taken, LeftFor::default());
        advance(PAUSE_MAX).await;
    }
    assert_eq!(health.members()[&0].pause, PAUSE_MAX);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_may_be_the_same_refusal_leaves_a_member_out() {
    for (left_for, same, others) in [
        (407, &[401, 402, 403, 407][..], &[200, 404, 429, 500, 503][..]),
        (401, &[401, 402, 403, 407], &[302, 502]),
        (429, &[429, 503], &[401, 407, 504]),
        (590, &[590], &[591, 407, 200]),
    ] {
        let health = Health::default();
        let refusal = RefusalKind::of(&Refusal::from_http(left_for, b"", []).into());
        health.failed(take(&health, 2), LeftFor { refusal, ..LeftFor::default() });
        let well = take(&health, 2);
        advance(PAUSE_MIN).await;
        let trial = take(&health, 2);
        assert!(trial.is_trial);
        for status in same {
            assert!(health.may_repeat_refusal(trial, *status), "{status} after {left_for}");
            assert!(!health.may_repeat_refusal(well, *status), "that member is in use");
        }
        for status in others {
            assert!(!health.may_repeat_refusal(trial, *status), "{status} after {left_for}");
        }
        health.stays_out(trial);
        assert_eq!(take(&health, 2).member, 1, "it is left out for another pause");
        advance(PAUSE_MIN).await;
        let trial = take(&health, 2);
        assert!(trial.is_trial, "which is no longer than the first one");
        health.reached(trial);
        assert!(health.is_in_use(0) && !health.may_repeat_refusal(trial, left_for));
    }
    let health = Health::default();
    health.failed(take(&health, 1), LeftFor::default());
    assert!(!health.may_repeat_refusal(take(&health, 1), 407), "it refused nothing");
}

fn asked(seconds: u64) -> Option<Wait> {
    let wait = seconds.to_string();
    let refusal = Refusal::from_http(429, b"", [(&b"Retry-After"[..], wait.as_bytes())]);
    Wait::of(&refusal.into())
}

#[tokio::test(start_paused = true)]
async fn a_member_that_asked_to_wait_is_left_alone_for_that_time() {
    let health = Health::default();
    let first = take(&health, 1);
    let late = take(&health, 1);
    health.failed(first, LeftFor { wait: asked(30), ..LeftFor::default() });
    // Connections that were under way neither end the time nor shorten it.
    health.reached(late);
    health.failed(late, LeftFor::default());
    advance(Duration::from_millis(29_500)).await;
    assert!(health.take(0..1, |member| member).is_none(), "also as the last resort");
    let told = health.asked_to_wait([0].into_iter()).unwrap();
    assert_eq!((told.members, told.wait), (1, Duration::from_secs(1)), "rounded up");
    assert!(health.left_out()[&0].is_asked);
    advance(Duration::from_millis(500)).await;
    assert!(health.asked_to_wait([0].into_iter()).is_none());
    let trial = take(&health, 1);
    assert!(trial.is_trial);
    health.reached(trial);
    assert_eq!(health.ill(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_time_that_a_member_asks_for_has_an_end() {
    let health = Health::default();
    let first = take(&health, 1);
    health.failed(first, LeftFor { wait: asked(80_000), ..LeftFor::default() });
    assert_eq!(health.left_out()[&0].pause, ASKED_MAX);
    assert!(asked(0).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_member_that_failed_otherwise_is_the_last_resort_beside_one_that_asked_to_wait() {
    let health = Health::default();
    health.failed(
        Taken { member: 0, is_trial: false },
        LeftFor { wait: asked(1), ..LeftFor::default() },
    );
    health.failed(Taken { member: 1, is_trial: false }, LeftFor::default());
    assert_eq!(take(&health, 2).member, 1, "though the other one is tried sooner");
}

#[tokio::test(start_paused = true)]
async fn credentials_that_are_held_back_lengthen_the_pause_until_they_are_released() {
    let health = Health::default();
    let held =
        |seconds, is_unsent| Some(Wait::HeldBack { wait: Duration::from_secs(seconds), is_unsent });
    let first = take(&health, 2);
    health.failed(first, LeftFor { wait: held(30, false), ..LeftFor::default() });
    assert_eq!(health.left_out()[&0].pause, Duration::from_secs(30));
    advance(Duration::from_secs(10)).await;
    health.failed(first, LeftFor { wait: held(20, true), ..LeftFor::default() });
    assert_eq!(health.left_out()[&0].pause, Duration::from_secs(20));
    assert_eq!(take(&health, 2).member, 1);
    health.release();
    assert_eq!(take(&health, 2), Taken { member: 0, is_trial: true });
}
