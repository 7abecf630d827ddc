#!/usr/bin/env bash
# Tries the installer script against the packages in target/dist, served from loopback, and times the way from nothing to a
# request through a chain, which the README says takes less than a minute.
set -euo pipefail
cd "$(dirname "$0")/../.."
. packaging/lib/common.sh

scratch=$(mktemp -d)
processes=()
trap 'kill "${processes[@]}" 2>/dev/null; wait; rm -rf "$scratch"' EXIT
PARTIAL=1 packaging/render.sh "$DIST/SHA256SUMS" "$scratch/channels"
cp "$DIST"/mooltiroute-*.tar.gz "$DIST/SHA256SUMS" "$scratch"
: >"$scratch/server.log"
python3 -u -m http.server --bind 127.0.0.1 --directory "$scratch" 0 >"$scratch/server.log" 2>&1 &
processes+=($!)
until port=$(grep -o 'port [0-9]*' "$scratch/server.log" | cut -d ' ' -f 2) && [ -n "$port" ]; do sleep 0.1; done

install_to() {
  MOOLTIROUTE_PREFIX=$1 MOOLTIROUTE_BASE_URL=http://127.0.0.1:$port sh "$scratch/channels/install.sh"
}

# The installed program is the company's proxy too, in a process of its own.
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
corporate=$(free_port) ours=$(free_port)
SECONDS=0
install_to "$scratch/prefix"
mkdir "$scratch/chain.d"
printf '%s\n' "server: { listen: \"127.0.0.1:$ours\" }" \
  "hops: { corporate: { kind: http-connect, address: \"127.0.0.1:$corporate\" } }" \
  "chains: { default: [corporate] }" >"$scratch/chain.d/10-chain.yaml"
"$scratch/prefix/bin/mooltiroute" check --config "$scratch/chain.d" >/dev/null
printf 'chains: { default: [] }\n' >"$scratch/corporate.yaml"
"$scratch/prefix/bin/mooltiroute" run --config "$scratch/corporate.yaml" --listen "127.0.0.1:$corporate" 2>"$scratch/corporate.log" &
processes+=($!)
"$scratch/prefix/bin/mooltiroute" run --config "$scratch/chain.d" 2>"$scratch/ours.log" &
processes+=($!)
until curl --silent --fail --proxy "http://127.0.0.1:$ours" --output /dev/null "http://127.0.0.1:$port/SHA256SUMS"; do
  [ "$SECONDS" -lt 60 ] || { cat "$scratch"/*.log >&2; fail "no request went through a chain within a minute"; }
  sleep 0.1
done
# The log is written beside the traffic, so its line may come after the answer.
until grep -q "target=127.0.0.1:$port" "$scratch/corporate.log"; do
  [ "$SECONDS" -lt 60 ] || fail "the request did not go through the chain"
  sleep 0.1
done
printf 'from nothing to a working chain: %s s\n' "$SECONDS"

"$scratch/prefix/bin/mooltiroute" --version | grep -qF "$VERSION"
test -s "$scratch/prefix/share/man/man1/mooltiroute.1"
# A second run replaces the first, while the program may be in use.
install_to "$scratch/prefix"

printf 'x' >>"$scratch/mooltiroute-$VERSION-$TARGET.tar.gz"
if install_to "$scratch/altered" 2>"$scratch/error"; then fail "an altered archive was installed"; fi
grep -q 'sum of .* is wrong' "$scratch/error"
test ! -e "$scratch/altered"

# Half of the script does nothing.
head -c "$(($(wc -c <"$scratch/channels/install.sh") / 2))" "$scratch/channels/install.sh" >"$scratch/half.sh"
MOOLTIROUTE_PREFIX=$scratch/half sh "$scratch/half.sh" 2>/dev/null || true
test ! -e "$scratch/half"
printf 'the installer works\n'
