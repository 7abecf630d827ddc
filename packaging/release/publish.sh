#!/usr/bin/env bash
# Publishes what is in target/dist as the release of a tag: publish.sh vX.Y.Z
#
# Needs `gh`, logged in. The release stays a draft until every file is there. DRY_RUN=1 prints the commands instead.
set -euo pipefail
cd "$(dirname "$0")/../.."
. packaging/lib/common.sh
tag=${1:?usage: publish.sh vX.Y.Z}

run() {
  printf '+ %s\n' "$*"
  [ -n "${DRY_RUN:-}" ] || "$@"
}

notes=$(mktemp)
trap 'rm -f "$notes"' EXIT
packaging/release/notes.sh "$tag" >"$notes"
(cd "$DIST" && sha256sum --check --strict --quiet SHA256SUMS)
# A version such as 0.2.0-rc.1 is a pre-release and never becomes the latest release.
kind=()
case $VERSION in *-*) kind=(--prerelease) ;; esac
mapfile -t files < <(find "$DIST" -maxdepth 1 -type f | LC_ALL=C sort)
files+=("$DIST/channels/install.sh")

run gh release create "$tag" --draft --verify-tag --title "$tag" --notes-file "$notes" "${kind[@]}" "${files[@]}"
run gh release edit "$tag" --draft=false
# Publishes the crates in the order in which they need each other.
run cargo publish --locked --workspace
