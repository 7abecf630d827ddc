#!/usr/bin/env bash
# Fills the version and the sums of a release into the manifests of the channels: render.sh [SHA256SUMS [OUT]]
#
# The version is the one of Cargo.toml. A sum that the file lacks is an error, so no manifest names a file that was not
# built. With PARTIAL=1, manifests whose files are missing are left out instead, and said so.
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/lib/common.sh
sums=${1:-$DIST/SHA256SUMS}
out=${2:-$DIST/channels}
release=https://github.com/mooltiroute/mooltiroute/releases/download/v$VERSION

# Writes template $1 to $2.
render() {
  local text name sum
  text=$(cat "$1")
  text=${text//@VERSION@/$VERSION}
  text=${text//@RELEASE@/$release}
  while [[ $text =~ @SHA256:([^@]*)@ ]]; do
    name=${BASH_REMATCH[1]}
    sum=$(awk -v name="$name" '$2 == name { print $1 }' "$sums")
    if [ -z "$sum" ]; then
      [ -n "${PARTIAL:-}" ] || fail "$sums has no sum of $name, which $1 needs"
      printf 'left out %s: %s was not built\n' "$2" "$name" >&2
      return 0
    fi
    text=${text//"@SHA256:$name@"/$sum}
  done
  mkdir -p "$(dirname "$2")"
  printf '%s\n' "$text" >"$2"
}

rm -rf "$out"
for template in packaging/channels/*/*; do
  render "$template" "$out/${template#packaging/channels/}"
done
render packaging/install.sh "$out/install.sh"
chmod +x "$out/install.sh"
