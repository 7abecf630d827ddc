#!/usr/bin/env bash
# Tries a container image: image.sh IMAGE
#
# Runs it with a read-only root and no capabilities, and checks that it serves, wants credentials, is healthy, is not root
# and stops in time with a tunnel open. ENGINE is podman or docker.
set -euo pipefail
image=${1:?usage: image.sh IMAGE}
engine=${ENGINE:-docker}
name=mooltiroute-test-$$
# For machines on which containers have no network of their own, RUN_ARGUMENTS="--network host". A machine without systemd,
# on which no limit may be raised, also needs `--no-healthcheck --ulimit nofile=20000:20000 --ulimit nproc=1024:1024`.
read -ra arguments <<<"${RUN_ARGUMENTS:-}"
trap '"$engine" rm --force "$name" >/dev/null 2>&1 || true' EXIT

fail() { printf '%s\n' "$*" >&2; "$engine" logs "$name" >&2 || true; exit 1; }

# Without the variables it must not start: an open proxy is never the default.
if output=$("$engine" run --rm "${arguments[@]}" --name "$name" "$image" 2>&1); then fail "it starts without credentials"; fi
[[ $output == *PROXY_USERNAME* ]] || fail "it does not say which variable is missing: $output"

"$engine" run --detach --read-only --volume /var/lib/mooltiroute --cap-drop ALL --security-opt no-new-privileges "${arguments[@]}" --name "$name" \
  --env PROXY_USERNAME=dev --env PROXY_PASSWORD=secret "$image" >/dev/null
for _ in $(seq 50); do
  if "$engine" exec "$name" mooltiroute status >/dev/null 2>&1; then break; fi
  sleep 0.1
done
"$engine" exec "$name" mooltiroute status >/dev/null || fail "the health check fails"
[ "$("$engine" inspect --format '{{.Config.User}}' "$image")" = 65532:65532 ] || fail "it runs as root"
[ "$("$engine" exec "$name" sh -c 'id -u')" = 65532 ] || fail "it runs as another user"
if "$engine" exec "$name" sh -c ': >/etc/mooltiroute/x' 2>/dev/null; then fail "its root can be written"; fi

"$engine" exec "$name" mooltiroute ps >/dev/null || fail "the control socket can't be reached"
if "$engine" logs "$name" 2>&1 | grep 'no control socket\|usage can.t be saved'; then fail "it has no place for its state"; fi

# A tunnel that stays open must be cut by the proxy itself, before the engine kills the container.
# shellcheck disable=SC2016  # Perl expands the variables.
"$engine" exec --detach "$name" perl -MIO::Socket::INET -e \
  '$listener = IO::Socket::INET->new(LocalAddr => "127.0.0.1:9099", Listen => 1); $peer = $listener->accept; sleep 60'
"$engine" exec --detach "$name" bash -c 'exec 3<>/dev/tcp/127.0.0.1/8888
  printf "CONNECT 127.0.0.1:9099 HTTP/1.1\r\nHost: 127.0.0.1:9099\r\nProxy-Authorization: Basic ZGV2OnNlY3JldA==\r\n\r\n" >&3
  sleep 60'
for _ in $(seq 50); do
  if "$engine" exec "$name" mooltiroute status --format json | grep -q '"tunnels_open": *1'; then break; fi
  sleep 0.1
done
SECONDS=0
# Docker's own time until it kills.
"$engine" stop --time 10 "$name" >/dev/null
[ "$SECONDS" -ge 7 ] || fail "no tunnel was open, or it was cut at once: stopped after $SECONDS seconds"
[ "$SECONDS" -lt 10 ] || fail "it takes $SECONDS seconds to stop"
[ "$("$engine" inspect --format '{{.State.ExitCode}}' "$name")" = 0 ] || fail "it was killed"
printf '%s works\n' "$image"
