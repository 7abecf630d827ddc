use tokio::time::sleep;

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

fn limits(connections: usize) -> RoundLimits {
    RoundLimits::new(connections, PATIENCE)
}

async fn fill(rounds: &Arc<Rounds>, count: usize, is_serial: bool) -> Vec<Round> {
    let mut begun = Vec::new();
    for _ in 0..count {
        let round = rounds.begin("a", limits(200)).await.unwrap();
        if is_serial {
            round.reached_hop();
        }
        begun.push(round);
    }
    begun
}

#[tokio::test(start_paused = true)]
async fn rounds_of_one_request_fail_after_a_short_silence() {
    let (rounds, start) = (Arc::new(Rounds::default()), Instant::now());
    let begun = fill(&rounds, 19, true).await;
    assert_eq!(rounds.begin("a", limits(200)).await.unwrap_err(), NotAdmitted::Loop(19));
    assert_eq!(start.elapsed().as_secs(), SILENCE_OF_A_LOOP.as_secs());
    assert!(rounds.begin("b", limits(200)).await.is_ok());
    drop(begun);
    assert!(rounds.lock().alike.is_empty());
}

#[tokio::test(start_paused = true)]
async fn heavy_traffic_to_one_target_waits_for_its_turn() {
    let rounds = Arc::new(Rounds::default());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..500 {
        let rounds = Arc::clone(&rounds);
        tasks.spawn(async move {
            let round = rounds.begin("a", limits(200)).await.unwrap();
            sleep(Duration::from_millis(900)).await;
            round.reached_hop();
            sleep(Duration::from_millis(100)).await;
            round.served();
        });
    }
    let start = Instant::now();
    tasks.join_all().await;
    assert_eq!(start.elapsed().as_secs(), 500_u64.div_ceil(19));
    assert!(rounds.lock().alike.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_slow_hop_is_no_loop_while_others_ask_too() {
    let (rounds, start) = (Arc::new(Rounds::default()), Instant::now());
    let begun = fill(&rounds, 19, true).await;
    let (one, other) = tokio::join!(rounds.begin("a", limits(200)), rounds.begin("a", limits(200)));
    let unanswered = NotAdmitted::Unanswered(19);
    // The first one gone leaves a single one, after the silence.
    assert_eq!(one.unwrap_err(), unanswered);
    assert!(other.is_err() && start.elapsed() == PATIENCE);
    drop(begun);
}

#[tokio::test(start_paused = true)]
async fn requests_at_once_are_no_loop() {
    let (rounds, start) = (Arc::new(Rounds::default()), Instant::now());
    let _begun = fill(&rounds, 19, false).await;
    assert_eq!(rounds.begin("a", limits(200)).await.unwrap_err(), NotAdmitted::Unanswered(19));
    assert_eq!(start.elapsed(), PATIENCE);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_the_queue_leaves_nothing() {
    let rounds = Arc::new(Rounds::default());
    let begun = fill(&rounds, 19, true).await;
    let short = Duration::from_secs(1);
    assert!(tokio::time::timeout(short, rounds.begin("a", limits(200))).await.is_err());
    drop(begun);
    assert!(rounds.lock().alike.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_place_is_held_after_its_client_left_until_somebody_is_served() {
    let (rounds, start) = (Arc::new(Rounds::default()), Instant::now());
    for round in fill(&rounds, 19, false).await {
        round.left();
    }
    assert!(rounds.begin("b", limits(200)).await.is_ok(), "another target is asked for");
    // With the first of the held places, after the time in which a hop has to answer.
    let first = rounds.begin("a", limits(200)).await.unwrap();
    assert_eq!(start.elapsed(), PATIENCE);
    assert_eq!(rounds.lock().held.len(), 0);
    drop(first);
    assert!(rounds.lock().alike.is_empty());

    let mut begun = fill(&rounds, 19, false).await;
    let served = begun.pop().unwrap();
    begun.iter().for_each(Round::left);
    let start = Instant::now();
    let (waited, ()) = tokio::join!(rounds.begin("a", limits(200)), async {
        sleep(Duration::from_millis(100)).await;
        served.served();
    });
    assert!(waited.is_ok());
    assert_eq!(start.elapsed(), Duration::from_millis(100));
    assert!(rounds.begin("a", limits(200)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_few_clients_that_leave_hold_up_nobody() {
    let (rounds, start) = (Arc::new(Rounds::default()), Instant::now());
    for _ in 1..HELD_ROUNDS_MIN {
        rounds.begin("a", limits(20)).await.unwrap().left();
    }
    assert!(rounds.begin("a", limits(20)).await.is_ok());
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn many_names_are_forgotten() {
    let rounds = Arc::new(Rounds::default());
    for name in 0..2 * HELD_PLACES_MAX {
        rounds.begin(name, limits(200)).await.unwrap().left();
    }
    assert!(rounds.lock().alike.len() <= HELD_PLACES_MAX + 1);
    tokio::time::advance(PATIENCE).await;
    drop(rounds.begin("a", limits(200)).await);
    assert!(rounds.lock().alike.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_loop_whose_client_left_ends_from_its_beginning() {
    let rounds = Arc::new(Rounds::default());
    let mut loops: VecDeque<_> = fill(&rounds, 10, true).await.into();
    // Each round that ends, at the beginning, would make room for one more at the end.
    let mut more = 0;
    while let Some(first) = loops.pop_front().filter(|_| more < 100) {
        first.left();
        let next = rounds.begin("a", limits(200));
        if let Ok(Ok(next)) = tokio::time::timeout(Duration::from_millis(1), next).await {
            next.reached_hop();
            loops.push_back(next);
            more += 1;
        }
    }
    assert!(more < 19, "{more} more rounds");
}
