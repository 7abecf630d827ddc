//! Measures Mooltiroute beside a bare relay and the other proxies installed on this machine.
//!
//! - `cargo bench --bench peers` takes some minutes and prints tables.
//! - `cargo bench --bench peers -- --quick` takes seconds and shows that everything works; its figures mean little.
//! - `cargo bench --bench peers -- --write` also updates `BENCHMARKS.md` and `BENCHMARKS.svg`.
//! - `--picture` also prints the picture, as SVG.
//!
//! Processor time and memory come from Linux's `/proc`, so other systems only build it.

#[cfg(target_os = "linux")]
#[expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up must stop")]
#[expect(clippy::panic, reason = "a benchmark that cannot be set up must stop")]
#[expect(clippy::print_stdout, reason = "it is run for what it prints")]
#[expect(clippy::print_stderr, reason = "it is run for what it prints")]
mod linux;

#[cfg(target_os = "linux")]
fn main() {
    linux::main();
}

#[cfg(not(target_os = "linux"))]
fn main() {}
