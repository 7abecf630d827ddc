#!/usr/bin/env bash
# Tries the recipe of docs/agents.md: the configuration, and the sandbox that has no way out but the proxy.
#
# Needs what upstreams.sh needs, bubblewrap and socat.
set -euo pipefail
cd "$(dirname "$0")/../.."
for tool in bwrap socat; do
  command -v "$tool" >/dev/null || { printf '%s is missing\n' "$tool" >&2; exit 1; }
done
. packaging/test/upstreams.sh

passed() { printf 'passed: %s\n' "$*"; }

# The page's own configuration. Only addresses differ, and the list allows our origin.
ours=$(free_port)
mkdir "$scratch/sandbox.d" "$scratch/credentials"
install -m 600 /dev/stdin "$scratch/credentials/corporate" <<<secret
block agents "The proxy" yaml | sed -e "s/proxy.corp.example:8080/127.0.0.1:$ntlm/" -e "s/127.0.0.1:8888/127.0.0.1:$ours/" \
  -e "s/packages.corp.example/origin.example/" -e "s/80, 443/80, 443, $origin/" >"$scratch/sandbox.d/10-sandbox.yaml"
export CREDENTIALS_DIRECTORY=$scratch/credentials
"$program" check --config "$scratch/sandbox.d" >"$scratch/check.log" 2>&1 || fail "check rejects the configuration"
"$program" explain "https://github.com/" --config "$scratch/sandbox.d" | grep -q corporate || fail "explain: the list"
"$program" explain "https://elsewhere.example/" --config "$scratch/sandbox.d" | grep -q closed || fail "explain: the rest"
start proxy "$program" run --config "$scratch/sandbox.d"
listens "$ours"
start bridge socat "UNIX-LISTEN:$scratch/proxy.sock,fork,mode=600" "TCP:127.0.0.1:$ours"
until [ -S "$scratch/proxy.sock" ]; do sleep 0.1; done
passed "check, explain and start"

# Runs a command in the sandbox of the page. Our socket and password are below /tmp, which is empty in the sandbox, so the
# directory of the password needs no --tmpfs of its own.
block agents "The sandbox" sh | sed -e '/^socat/d' -e "s|/tmp/proxy.sock|$scratch/proxy.sock|g" -e "s/TCP-LISTEN:8888/TCP-LISTEN:$ours/" \
  -e "s|mooltiroute exec -c sandbox.d|'$program' exec -c '$scratch/sandbox.d'|" -e 's/ COMMAND$/ "$@"/' >"$scratch/sandbox.sh"
inside() { bash "$scratch/sandbox.sh" "$@"; }

url=http://origin.example:$origin/page
[ "$(inside curl -sS --max-time 20 "$url")" = origin ] || fail "a plain request from the sandbox"
[ "$(inside curl -sS --max-time 20 --proxytunnel "$url")" = origin ] || fail "a tunnel from the sandbox"
[ "$(grep -c ' CORP\\\\alice\| alice ' "$scratch/squid/$ntlm.access")" -ge 2 ] || fail "the upstream saw no login"
passed "an allowed name goes through the corporate proxy"
answer=$(inside curl -sS --max-time 20 --output /dev/null --write-out '%{http_code}' "http://elsewhere.example:$origin/page")
[ "$answer" = 502 ] || fail "another name got $answer"
passed "another name is refused"
if inside curl -sS --max-time 5 --noproxy '*' "http://127.0.0.1:$origin/page" >"$scratch/direct.log" 2>&1; then fail "a way around the proxy"; fi
if inside cat "$scratch/credentials/corporate" >"$scratch/leak.log" 2>&1; then fail "the password is in the sandbox"; fi
if inside env | grep -w secret; then fail "the password is in the environment"; fi
passed "there is no other way out, and no password inside"

# An edit of the list takes effect without a restart.
sed -i 's/origin.example, /, /; s/, origin.example//' "$scratch/sandbox.d/10-sandbox.yaml"
for _ in $(seq 50); do
  answer=$(curl -sS --max-time 20 --output /dev/null --write-out '%{http_code}' --proxy "http://127.0.0.1:$ours" "$url")
  [ "$answer" != 502 ] || break
  sleep 0.1
done
[ "$answer" = 502 ] || fail "the edit had no effect: $answer"
passed "an edit of the list takes effect"
