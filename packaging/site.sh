#!/usr/bin/env bash
# Builds the documentation site into target/book and checks that every link inside it leads somewhere.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v mdbook >/dev/null || { printf 'mdbook is missing; install it with: cargo install mdbook --locked\n' >&2; exit 1; }
mdbook build
packaging/check_links.py target/book
