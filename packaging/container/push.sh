#!/usr/bin/env bash
# Builds the image of a release from its archive and pushes it: push.sh vX.Y.Z
#
# Needs GITHUB_TOKEN and GITHUB_ACTOR. DRY_RUN=1 builds it and pushes nothing.
set -euo pipefail
cd "$(dirname "$0")/../.."
. packaging/lib/common.sh
tag=${1:?usage: push.sh vX.Y.Z}
[ "$tag" = "v$VERSION" ] || fail "the tag is $tag and the version in Cargo.toml $VERSION"
engine=${ENGINE:-docker}
repository=ghcr.io/mooltiroute/mooltiroute

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
name=mooltiroute-$VERSION-$TARGET
tar -xzf "$DIST/$name.tar.gz" -C "$scratch"
ENGINE=$engine packaging/container/image.sh "$repository:$VERSION" "$scratch/$name/mooltiroute"
packaging/test/image.sh "$repository:$VERSION"
[ -z "${DRY_RUN:-}" ] || exit 0

printf '%s' "$GITHUB_TOKEN" | "$engine" login ghcr.io --username "$GITHUB_ACTOR" --password-stdin
"$engine" push "$repository:$VERSION"
# A pre-release is not the latest.
case $VERSION in
  *-*) ;;
  *)
    "$engine" tag "$repository:$VERSION" "$repository:latest"
    "$engine" push "$repository:latest"
    ;;
esac
