//! Measures how many round trips a tunnel takes to open if the first hop is far away.

use std::{
    io, thread,
    time::{Duration, Instant},
};

use super::{
    door::Door,
    figures::Figure,
    link::ROUND_TRIP,
    load::{self, Errors},
    network::Network,
    peer::{Running, Sort},
    programs::WARM,
    results::{Results, Way},
    suite,
    table::Table,
};

/// Opens one tunnel after another through each peer, in turn.
pub(super) fn measure(network: &Network, results: &mut Results) {
    let far = network.far();
    let mut running: Vec<(Way, Running)> = Vec::new();
    for hops in Table::Opening.hops() {
        for place in Table::Opening.places(&results.peers, hops) {
            let way = (hops, place);
            let started = suite::start(&far, Table::Opening, way, results);
            running.extend(started.map(|running| (way, running)));
        }
    }
    for (way, running) in &running {
        // Spares are kept only for a chain that was used.
        let first = load::opening(&running.door).map(drop);
        keep_errors(results, *way, first.err());
    }
    for round in 0..results.plan.openings {
        let mut order: Vec<_> = running.iter().collect();
        order.rotate_left(round % running.len());
        for (way, running) in order {
            let is_warm = results.peers[way.1].sort == Sort::Warm;
            let ready = if is_warm { await_spares(&running.door) } else { Ok(()) };
            let (time, error) = match ready.and_then(|()| load::opening(&running.door)) {
                Ok(time) => (time.as_secs_f64(), None),
                Err(error) => (f64::NAN, Some(error)),
            };
            keep_errors(results, *way, error);
            results.push(*way, Figure::Opening, time * 1e3);
            results.push(*way, Figure::RoundTrips, time / ROUND_TRIP.as_secs_f64());
        }
    }
}

fn keep_errors(results: &mut Results, way: Way, error: Option<io::Error>) {
    let errors = Errors { count: u64::from(error.is_some()), first: error };
    results.fail(Table::Opening, way, "opening", &errors);
}

/// Waits until all spares are ready.
fn await_spares(door: &Door) -> io::Result<()> {
    let begun = Instant::now();
    while door.status()?["warm"]["default"]["waiting"] != WARM {
        if begun.elapsed() > SPARES_MAX {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "no spare tunnels"));
        }
        thread::sleep(POLL);
    }
    Ok(())
}

const SPARES_MAX: Duration = Duration::from_secs(5);
/// The pause between two looks at the status of a proxy.
const POLL: Duration = Duration::from_millis(5);
