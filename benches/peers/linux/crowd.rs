//! Opens as many tunnels as possible, most of them silent. Checks that all of them work, and measures the memory that is in use
//! during and after that.

use std::thread;

use super::{
    figures::Figure,
    load,
    network::Network,
    results::{Results, Way},
    suite::{self, megabytes},
    table::Table,
    usage,
};

/// Measures a crowd of tunnels through the bare relay and through Mooltiroute, in turn.
pub(super) fn measure(network: &Network, results: &mut Results) {
    for round in 0..results.plan.crowds {
        for hops in Table::Crowd.hops() {
            let mut places = Table::Crowd.places(&results.peers, hops);
            let turn = round % places.len();
            places.rotate_left(turn);
            for place in places {
                hold(network, (hops, place), results);
            }
        }
    }
}

fn hold(network: &Network, way: Way, results: &mut Results) {
    let plan = results.plan;
    let Some(running) = suite::start(network, Table::Crowd, way, results) else { return };
    let process = running.process();
    let (tunnels, errors) = load::idle(&running.door, process, plan.crowd_tunnels);
    results.fail(Table::Crowd, way, "opening", &errors);
    suite::settle();
    let before = usage::resident(process);
    let active: Vec<_> = tunnels.iter().step_by(PER_ACTIVE).collect();
    let (messages, errors) = load::messages(&active, plan.crowd_talk);
    results.fail(Table::Crowd, way, "messages", &errors);
    let after = usage::resident(process);
    // The silent tunnels must be alive too.
    results.fail(Table::Crowd, way, "after the messages", &load::probe(&tunnels));
    let open = tunnels.len() as f64;
    drop(tunnels);
    thread::sleep(plan.crowd_rest);
    let closed = usage::resident(process);

    results.push(way, Figure::Open, open);
    results.push(way, Figure::MessageRate, messages as f64 / plan.crowd_talk.as_secs_f64());
    results.push(way, Figure::ResidentOpen, megabytes(before));
    results.push(way, Figure::ResidentUsed, megabytes(after));
    results.push(way, Figure::Growth, (after as f64 / before as f64 - 1.0) * 100.0);
    results.push(way, Figure::ResidentClosed, megabytes(closed));
}

/// One tunnel in this many is active.
const PER_ACTIVE: usize = 100;
