#!/usr/bin/env bash
# Tries the installer script against the packages in target/dist, served from loopback.
set -euo pipefail
cd "$(dirname "$0")/../.."
. packaging/lib/common.sh

scratch=$(mktemp -d)
trap 'kill "$server" 2>/dev/null; rm -rf "$scratch"' EXIT
PARTIAL=1 packaging/render.sh "$DIST/SHA256SUMS" "$scratch/channels"
cp "$DIST"/mooltiroute-*.tar.gz "$DIST/SHA256SUMS" "$scratch"
python3 -u -m http.server --bind 127.0.0.1 --directory "$scratch" 0 >"$scratch/server.log" 2>&1 &
server=$!
until port=$(grep -o 'port [0-9]*' "$scratch/server.log" | cut -d ' ' -f 2) && [ -n "$port" ]; do sleep 0.1; done

install_to() {
  MOOLTIROUTE_PREFIX=$1 MOOLTIROUTE_BASE_URL=http://127.0.0.1:$port sh "$scratch/channels/install.sh"
}

install_to "$scratch/prefix"
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
