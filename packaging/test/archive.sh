#!/usr/bin/env bash
# Tries an archive on the system that it is for: archive.sh FILE
#
# Unpacks it, starts the program with its own sample configuration, and asks for one page of the proxy itself. Runs on
# Linux, macOS and, in Git's bash, Windows.
set -euo pipefail
archive=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
scratch=$(mktemp -d)
proxy=
trap '[ -z "$proxy" ] || kill "$proxy" 2>/dev/null || true; rm -rf "$scratch"' EXIT
cd "$scratch"

case $archive in
  *.zip) unzip -q "$archive" ;;
  *) tar -xzf "$archive" ;;
esac
cd mooltiroute-*
program=./mooltiroute
[ ! -e mooltiroute.exe ] || program=./mooltiroute.exe

"$program" --version
"$program" check --config config.d >/dev/null
for file in LICENSE README.md THIRD-PARTY-LICENSES.txt completions/mooltiroute.bash; do
  test -s "$file" || { printf 'the archive lacks %s\n' "$file" >&2; exit 1; }
done

"$program" run --config config.d --listen 127.0.0.1:0 2>log &
proxy=$!
for _ in $(seq 100); do
  address=$(sed -n 's/.*listening.*address=\([0-9.:]*\).*/\1/p' log | head -1)
  [ -z "$address" ] || break
  sleep 0.1
done
[ -n "$address" ] || { cat log >&2; exit 1; }
[ "$(curl --silent --noproxy '*' "http://$address/healthz")" = ok ]
"$program" status --config config.d --address "$address" >/dev/null
kill "$proxy"
# A signal to stop ends it with status 0. Windows has no such signal, and ends it at once.
case $program in *.exe) wait "$proxy" || true ;; *) wait "$proxy" ;; esac
proxy=
printf '%s works\n' "${archive##*/}"
