#!/usr/bin/env bash
# Tries a Windows build under Wine, with real clients: wine.sh mooltiroute.exe
#
# Start, plain requests, CONNECT, SOCKS5, a reload by an edit, a rejected edit, status, and Ctrl+C.
set -euo pipefail
program=$(realpath "$1")
scratch=$(mktemp -d)
export WINEPREFIX=${WINEPREFIX:-$scratch/prefix} WINEDEBUG=-all WINEDLLOVERRIDES="mscoree,mshtml="
processes=()
trap '[ ${#processes[@]} -eq 0 ] || kill "${processes[@]}" 2>/dev/null || true; wait; rm -rf "$scratch" 2>/dev/null || true' EXIT
wine=$(command -v wine64 || command -v /usr/lib/wine/wine64 || command -v wine)

fail() {
  printf 'FAILED: %s\n' "$*" >&2
  cat "$scratch/log" >&2 || true
  exit 1
}
passed() { printf 'passed: %s\n' "$*"; }
# The first start makes the prefix, which takes most of a minute.
run() { "$wine" "$program" "$@"; }
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# Waits until the log has line $1, up to a minute.
logged() {
  local _
  for _ in $(seq 300); do
    if grep -q "$1" "$scratch/log"; then return 0; fi
    sleep 0.2
  done
  fail "the log never says: $1"
}

# Wine before 8.9 lacks bcryptprimitives.dll, which gives Rust's standard library random numbers. Build a substitute.
if [ ! -e /usr/lib/x86_64-linux-gnu/wine/x86_64-windows/bcryptprimitives.dll ]; then
  printf '%s\n' '#include <windows.h>' '#include <ntsecapi.h>' \
    '__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T size) { return RtlGenRandom(data, size); }' \
    >"$scratch/random.c"
  x86_64-w64-mingw32-gcc -shared -O2 -o "$scratch/bcryptprimitives.dll" "$scratch/random.c" -ladvapi32
  cp "$program" "$scratch/mooltiroute.exe"
  program=$scratch/mooltiroute.exe
fi

port=$(free_port) origin=$(free_port)
mkdir "$scratch/site" "$scratch/config.d"
printf 'origin\n' >"$scratch/site/page"
python3 -m http.server --bind 127.0.0.1 --directory "$scratch/site" "$origin" >/dev/null 2>&1 &
processes+=($!)
printf 'server: { listen: "127.0.0.1:%s" }\nchains: { default: [] }\n' "$port" >"$scratch/config.d/10.yaml"
url=http://127.0.0.1:$origin/page

run --version | grep -q '^mooltiroute ' || fail "--version"
passed "--version"
run check --config "$scratch/config.d" >/dev/null || fail "check"
passed "check"

"$wine" "$program" run --config "$scratch/config.d" 2>"$scratch/log" &
proxy=$!
processes+=("$proxy")
logged "listening"
passed "start"
[ "$(curl -sS --max-time 20 --proxy "http://127.0.0.1:$port" "$url")" = origin ] || fail "a plain request"
passed "a plain request"
[ "$(curl -sS --max-time 20 --proxytunnel --proxy "http://127.0.0.1:$port" "$url")" = origin ] || fail "CONNECT"
passed "CONNECT"
[ "$(curl -sS --max-time 20 --proxy "socks5h://127.0.0.1:$port" "$url")" = origin ] || fail "SOCKS5"
passed "SOCKS5"
[ -n "$(run status --config "$scratch/config.d")" ] || fail "status"
passed "status"

printf 'hops: { closed: { kind: http-connect, address: "127.0.0.1:9" } }\nchains: { default: [closed] }\n' >"$scratch/config.d/20.yaml"
logged "config reloaded"
[ "$(curl -s --max-time 20 -o /dev/null -w '%{http_code}' --proxy "http://127.0.0.1:$port" "$url")" = 502 ] || fail "a reload"
passed "a reload by an edit"
printf 'hops: { closed: { knd: x } }\n' >"$scratch/config.d/30.yaml"
logged "config rejected"
passed "a rejected edit"

kill -INT "$proxy"
logged "stopped"
if wait "$proxy"; then passed "Ctrl+C, with status 0"; else fail "Ctrl+C: status $?"; fi
