# Recipes for working on Mooltiroute. Each is a plain command, and CONTRIBUTING.md lists them for those without `just`.

# List the recipes.
default:
    @just --list

# Format, lint, docs and unit tests. Needs neither network nor root; takes about two minutes when warm.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items
    cargo test --workspace --lib --bins --examples
    cargo test --test commands --test configs --test documents --test sample --test schema
    cargo test --workspace --doc

# Integration tests. Tests whose peer (squid, tinyproxy, Node, …) is not installed are skipped and say so.
test *ARGS:
    cargo test --test integration {{ARGS}}

# Everything that must pass before a change is merged. Installs packages, so it needs root and a network.
ci:
    .ci/run

# Build for Windows and run its tests under Wine. Needs mingw's gcc, Wine and Rust's target x86_64-pc-windows-gnu.
wine *ARGS:
    .ci/wine {{ARGS}}

# Update the golden files and the generated tables in docs/. Read the diff afterwards.
golden:
    MOOLTIROUTE_EXPECT=write cargo test --test configs --test documents

# Measure Mooltiroute beside other proxies. `just bench --write` updates BENCHMARKS.md.
bench *ARGS:
    cargo bench --bench peers -- {{ARGS}}

# Run a fuzz target for a while: `just fuzz request_head 60`.
fuzz TARGET SECONDS="60":
    .ci/fuzz {{SECONDS}} {{TARGET}}
