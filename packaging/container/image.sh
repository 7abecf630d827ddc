#!/usr/bin/env bash
# Builds the container image from a finished program: image.sh TAG [PROGRAM]
#
# ENGINE is podman (the default), docker or buildah; BASE is another base image.
set -euo pipefail
cd "$(dirname "$0")/../.."
tag=${1:?usage: image.sh TAG [PROGRAM]}
program=${2:-target/release/mooltiroute}
engine=${ENGINE:-podman}

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
install -m 755 "$program" "$context/mooltiroute"
install -D -m 644 -t "$context/config.d" packaging/container/config.d/*.yaml
install -D -m 644 LICENSE "$context/licenses/LICENSE"
packaging/dependencies.py licences >"$context/licenses/THIRD-PARTY-LICENSES.txt"

arguments=(--file packaging/container/Containerfile --tag "$tag")
[ -z "${BASE:-}" ] || arguments+=(--build-arg "BASE=$BASE")
# The OCI format has no health check.
case $engine in podman | buildah) arguments+=(--format docker) ;; esac
# shellcheck disable=SC2086  # BUILD_ARGUMENTS is a list.
"$engine" build ${BUILD_ARGUMENTS:-} "${arguments[@]}" "$context"
