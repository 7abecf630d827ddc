//! The clients run in the process of the benchmark. Everything else is a child process, so that its time is counted separately.

mod crowd;
mod document;
mod door;
mod figures;
mod growth;
mod hop;
mod kerberos;
mod link;
mod load;
mod login;
mod login_programs;
mod network;
mod opening;
mod origin;
mod pass;
mod peer;
mod picture;
mod plan;
mod process;
mod programs;
mod relay;
mod results;
mod role;
mod subject;
mod suite;
mod table;
mod tail;
mod tls_ends;
mod usage;

use std::env;

use self::{plan::Plan, role::Role};

/// Returns whether this run only checks that everything works.
fn is_quick() -> bool {
    let has = |flag: &str| env::args().any(|argument| argument == flag);
    // `cargo test` runs benchmarks without `--bench`.
    has("--quick") || !has("--bench")
}

/// Plays the role that the arguments name, or runs the benchmark.
pub(crate) fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let Some(role) = Role::from_arguments(&arguments) {
        role.play();
        return;
    }
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let plan = if is_quick() { Plan::QUICK } else { Plan::FULL };
    usage::allow_open_files();
    let results = suite::run(plan.allowed());
    let table = table::render(&results);
    println!("\n{table}");
    if has("--picture") {
        println!("{}", picture::render(&results));
    }
    if has("--write") {
        document::write(&results, &table);
    }
    assert!(results.is_sound(), "Mooltiroute or the bare relay failed; see the errors above");
}
