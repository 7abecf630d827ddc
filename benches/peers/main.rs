//! Mooltiroute beside a bare relay, and beside the other proxies that this machine has.
//!
//! - `cargo bench --bench peers` measures for some minutes and prints tables.
//! - `cargo bench --bench peers -- --quick` shows in seconds that it all works; its figures mean little.
//! - `cargo bench --bench peers -- --write` writes `BENCHMARKS.md` anew besides.
//!
//! It reads processor time and memory where Linux tells them, so other systems only build it.

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
