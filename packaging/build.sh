#!/usr/bin/env bash
# Builds packages of Mooltiroute into target/dist: build.sh deb|rpm|tar|zip|sums|all ...
#
# Environment:
#   TARGET    the Rust target (default: this machine's)
#   GLIBC     the oldest glibc to support, such as 2.17; links with zig, from the package `ziglang` of PyPI
#   PROFILE   the cargo profile (default: release)
#   BINARY    a finished program, instead of building one
#   DIST      where packages go (default: target/dist)
# Timestamps come from the last commit, so the same sources give the same archives.
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/lib/common.sh
. packaging/lib/stage.sh
. packaging/lib/deb.sh
. packaging/lib/rpm.sh
. packaging/lib/archives.sh

[ $# -gt 0 ] || fail "usage: $0 deb|rpm|tar|zip|sums|all ..."
formats=()
for format in "$@"; do
  case $format in
    all) mapfile -t -O "${#formats[@]}" formats < <(formats_of_target) ;;
    deb | rpm | tar | zip | sums) formats+=("$format") ;;
    *) fail "unknown format: $format" ;;
  esac
done

mkdir -p "$DIST" "$WORK"
for format in "${formats[@]}"; do
  if [ "$format" != sums ]; then build_program; fi
  "package_$format"
done
