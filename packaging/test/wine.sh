#!/usr/bin/env bash
# Tries a Windows build under Wine, with real clients: wine.sh mooltiroute.exe
#
# Start, plain requests, CONNECT, SOCKS5, a reload by an edit, a rejected edit, commands through the named pipe, the
# definition of the scheduled task, and Ctrl+C. Needs Wine, mingw's gcc (for Wine before 8.9), curl and python3.
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

cp "$program" "$scratch/mooltiroute.exe"
program=$scratch/mooltiroute.exe
"$(dirname "$0")/wine-random.sh" "$scratch"

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
run hop closed off --config "$scratch/config.d" >"$scratch/hop" || fail "hop off"
code() { curl -s --max-time 20 -o /dev/null -w '%{http_code}' --proxy "http://127.0.0.1:$port" "$url"; }
[ "$(code)" = 200 ] || fail "hop off did not take the hop out: $(cat "$scratch/hop")"
run hop closed on --config "$scratch/config.d" >/dev/null || fail "hop on"
[ "$(code)" = 502 ] || fail "hop on did not put the hop back"
passed "hop off, hop on"
printf 'hops: { closed: { knd: x } }\n' >"$scratch/config.d/30.yaml"
logged "config rejected"
passed "a rejected edit"
# Wine lists no pipes, so the proxy is named by its address.
if run reload --address "127.0.0.1:$port" >"$scratch/reload" 2>&1; then fail "reload accepts a wrong file"; fi
grep -q knd "$scratch/reload" || fail "reload does not say what is wrong: $(cat "$scratch/reload")"
rm "$scratch/config.d/20.yaml" "$scratch/config.d/30.yaml"
run reload --address "127.0.0.1:$port" >/dev/null || fail "reload"
[ "$(code)" = 200 ] || fail "reload"
passed "reload"

# A tunnel that stays open.
exec 3<>"/dev/tcp/127.0.0.1/$port"
printf 'CONNECT 127.0.0.1:%s HTTP/1.1\r\nHost: 127.0.0.1:%s\r\n\r\n' "$origin" "$origin" >&3
read -r -t 20 answer <&3 || fail "no answer to CONNECT"
[[ $answer == *200* ]] || fail "no tunnel: $answer"
run ps --address "127.0.0.1:$port" >"$scratch/ps" || fail "ps"
grep -q "127.0.0.1:$origin" "$scratch/ps" || fail "ps lacks the tunnel: $(cat "$scratch/ps")"
run kill --chain default --address "127.0.0.1:$port" >/dev/null || fail "kill"
# The proxy resets it, so `cat` may end with an error; 124 is the end of the time.
timeout 20 cat <&3 >/dev/null 2>&1 || [ $? -ne 124 ] || fail "kill left the tunnel open"
exec 3<&-
passed "ps, kill"

# Wine's scheduler can't run tasks, so the definition is only printed.
run service install --config "$scratch/config.d" --print >"$scratch/task.xml" || fail "service install --print"
python3 - "$scratch/task.xml" <<'CHECK' || fail "the definition of the task is no XML"
import re, sys, xml.etree.ElementTree
text = open(sys.argv[1], encoding="utf-8-sig").read()
task = xml.etree.ElementTree.fromstring(re.sub(r"^<\?xml[^>]*>", "", text.strip()))
space = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"
arguments = task.find(f"{space}Actions/{space}Exec/{space}Arguments").text
assert re.fullmatch(r'--headless "[^"]*\.exe" run -c "[^"]*"', arguments), arguments
assert task.find(f"{space}Triggers/{space}LogonTrigger/{space}UserId").text
CHECK
passed "service install --print"

kill -INT "$proxy"
logged "stopped"
if wait "$proxy"; then passed "Ctrl+C, with status 0"; else fail "Ctrl+C: status $?"; fi
