#!/usr/bin/env bash
# Prints the release notes of a tag, from its section of CHANGELOG.md: notes.sh vX.Y.Z
#
# Fails if the tag, Cargo.toml and the changelog disagree, or if the section has no date, so it also is the check that
# a release begins with.
set -euo pipefail
cd "$(dirname "$0")/../.."
. packaging/lib/common.sh
tag=${1:?usage: notes.sh vX.Y.Z}

[ "$tag" = "v$VERSION" ] || fail "the tag is $tag and the version in Cargo.toml $VERSION"
heading=$(grep -m 1 -F "## [$VERSION]" CHANGELOG.md) || fail "CHANGELOG.md has no section $VERSION"
[[ $heading =~ [0-9]{4}-[0-9]{2}-[0-9]{2}$ ]] || fail "the section has no date: $heading"
# The crates of the repository are published together, so they need each other in this version.
crates=$(sed -n 's/^\(mooltiroute-[a-z]* = .*path = .*\)/\1/p' Cargo.toml)
[ -n "$crates" ] || fail "Cargo.toml names no crate of this repository"
if others=$(grep -vF "version = \"$VERSION\"" <<<"$crates"); then fail "the version is $VERSION, and not in: $others"; fi

# The definitions of links at the end of the file belong to no section.
awk -v heading="$heading" '$0 == heading { inside = 1; next } /^## |^\[[^]]*\]: / { inside = 0 } inside' CHANGELOG.md
cat <<NOTES
### Verify

Every file is listed in \`SHA256SUMS\`, and \`gh attestation verify FILE --repo mooltiroute/mooltiroute\` shows which
workflow built it. The \`.cdx.json\` files list the libraries in each build.
NOTES
