//! The rounds. In each, all programs do the same one after another, so that other work on the machine affects all of them.

use std::{io, iter, time::Duration};

use super::{
    crowd,
    door::Door,
    figures::Figure,
    growth,
    load::{self, Errors, Tally},
    login,
    network::Network,
    opening,
    peer::Running,
    plan::Plan,
    results::{Results, Way},
    table::Table,
    tail, usage,
};

/// Measures all peers for every table.
pub(super) fn run(plan: Plan) -> Results {
    let mut results = Results::new(plan);
    let network = Network::start();
    for (table, title) in [(Table::Ways, "through"), (Table::Secure, "with TLS, through")] {
        for hops in table.hops() {
            eprintln!("{title} {hops} hops");
            measure_ways(table, &network, hops, &mut results);
        }
    }
    for place in Table::Ways.places(&results.peers, 0) {
        eprintln!("{}: start, idle tunnels", results.peers[place].name);
        measure_starts(&plan, &network, (0, place), &mut results);
    }
    eprintln!("on a long line");
    opening::measure(&network, &mut results);
    eprintln!("with a login");
    login::measure(&network, &mut results);
    eprintln!("many tunnels");
    crowd::measure(&network, &mut results);
    eprintln!("the slowest of many");
    tail::measure(&network, &mut results);
    eprintln!("what grows");
    results.growth = growth::measure(&network, plan.growth);
    results
}

/// Starts all peers of `table` with this number of hops, and warms them up.
pub(super) fn start_all(
    table: Table,
    network: &Network,
    hops: usize,
    results: &mut Results,
) -> Vec<(Way, Running)> {
    let mut running: Vec<(Way, Running)> = Vec::new();
    for place in table.places(&results.peers, hops) {
        let way = (hops, place);
        let started = start(network, table, way, results);
        running.extend(started.map(|running| (way, running)));
    }
    for (_, running) in &running {
        // Pools fill, pages are touched, the first look-ups are done, and the scheme of a login is learned.
        load::tunnels(&running.door, running.process(), results.plan.tunnels / 10);
    }
    running
}

/// Measures everything that is measured in rounds.
fn measure_ways(table: Table, network: &Network, hops: usize, results: &mut Results) {
    let plan = results.plan;
    let stops = network.stops(hops);
    // A message through this door passes only the hops.
    let bare = Door::relay(stops[0], &stops);
    let running = start_all(table, network, hops, results);
    for round in 0..plan.rounds {
        let mut order: Vec<_> = running.iter().collect();
        order.rotate_left(round % running.len());
        for (way, running) in &order {
            let tally = load::tunnels(&running.door, running.process(), plan.tunnels);
            keep(results, (table, *way), &tally, &TUNNEL);
        }
        for (way, running) in &order {
            let tally = load::bulk(&running.door, running.process(), plan.bulk_bytes);
            let tally = Tally { done: tally.done / 1_000_000, ..tally };
            keep(results, (table, *way), &tally, &BULK);
        }
        let doors: Vec<_> =
            iter::once(&bare).chain(order.iter().map(|(_, running)| &running.door)).collect();
        keep_round_trips(results, table, &order, load::round_trips(&doors, plan.messages));
        for (way, running) in &order {
            let tally = load::requests(&running.door, running.process(), plan.requests);
            keep(results, (table, *way), &tally, &REQUEST);
        }
        eprintln!("  round {} of {}", round + 1, plan.rounds);
    }
}

/// Adds the difference between the time of each message and the first of `times`, which is the time without a proxy.
fn keep_round_trips(
    results: &mut Results,
    table: Table,
    order: &[&(Way, Running)],
    mut times: Vec<io::Result<Duration>>,
) {
    let without = times.remove(0).unwrap();
    for ((way, _), with) in order.iter().zip(times) {
        match with {
            Ok(with) => {
                let added = with.as_secs_f64() - without.as_secs_f64();
                results.push(*way, Figure::Latency, added * 1e6);
            }
            Err(error) => {
                let errors = Errors { count: 1, first: Some(error) };
                results.fail(table, *way, "messages", &errors);
                results.push(*way, Figure::Latency, f64::NAN);
            }
        }
    }
}

/// Measures processes that have just started.
fn measure_starts(plan: &Plan, network: &Network, way: Way, results: &mut Results) {
    for _ in 0..plan.starts {
        let Some(running) = start(network, Table::Ways, way, results) else { return };
        results.push(way, Figure::Start, running.started.as_secs_f64() * 1e3);
        settle();
        results.push(way, Figure::Resident, megabytes(usage::resident(running.process())));
    }
    let Some(running) = start(network, Table::Ways, way, results) else { return };
    settle();
    let before = usage::resident(running.process());
    let (tunnels, errors) = load::idle(&running.door, running.process(), plan.idle_tunnels);
    settle();
    let after = usage::resident(running.process());
    results.fail(Table::Ways, way, "idle tunnels", &errors);
    let grown = after.saturating_sub(before) as f64;
    results.push(way, Figure::Idle, grown / tunnels.len() as f64);
}

/// Starts a peer for a table and records the error if that fails.
pub(super) fn start(
    network: &Network,
    table: Table,
    way: Way,
    results: &mut Results,
) -> Option<Running> {
    let (hops, place) = way;
    match results.peers[place].start(network, hops) {
        Ok(running) => {
            results.fail(table, way, "start", &Errors::default());
            Some(running)
        }
        Err(words) => {
            let name = results.peers[place].name;
            results.remarks.push(format!("{name} through {hops} hops {words}"));
            None
        }
    }
}

/// The figures of one load.
pub(super) struct LoadFigures {
    rate: Figure,
    /// The cost of one for the proxy.
    cost: Figure,
    /// The cost of one for everything else.
    others: Option<Figure>,
    /// Divides the number per second.
    rate_unit: f64,
    /// Multiplies the seconds that one costs.
    cost_unit: f64,
}

pub(super) const TUNNEL: LoadFigures = LoadFigures {
    rate: Figure::TunnelRate,
    cost: Figure::TunnelCpu,
    others: None,
    rate_unit: 1.0,
    cost_unit: 1e6,
};
/// The tally counts megabytes.
const BULK: LoadFigures = LoadFigures {
    rate: Figure::BulkRate,
    cost: Figure::BulkCpu,
    others: Some(Figure::BulkOthers),
    rate_unit: 1e3,
    cost_unit: 1e3,
};
const REQUEST: LoadFigures = LoadFigures {
    rate: Figure::RequestRate,
    cost: Figure::RequestCpu,
    others: Some(Figure::RequestOthers),
    rate_unit: 1.0,
    cost_unit: 1e6,
};

/// Adds the figures of a load.
pub(super) fn keep(
    results: &mut Results,
    (table, way): (Table, Way),
    tally: &Tally,
    figures: &LoadFigures,
) {
    results.fail(table, way, figures.cost.title(), &tally.errors);
    let done = if tally.done > 0 { tally.done as f64 } else { f64::NAN };
    results.push(way, figures.rate, done / tally.elapsed.as_secs_f64() / figures.rate_unit);
    results.push(way, figures.cost, tally.cpu.as_secs_f64() / done * figures.cost_unit);
    if let Some(others) = figures.others {
        results.push(way, others, tally.others.as_secs_f64() / done * figures.cost_unit);
    }
}

/// Gives a process time to finish its work after a start or a load.
pub(super) fn settle() {
    std::thread::sleep(Duration::from_millis(100));
}

/// Converts KiB to megabytes.
pub(super) fn megabytes(kibibytes: u64) -> f64 {
    kibibytes as f64 * 1024.0 / 1e6
}
