#!/usr/bin/env bash
# Runs the configurations of docs/migration.md: each program and Mooltiroute, side by side, against the same upstream.
#
# Needs what upstreams.sh needs, and whichever of px, cntlm, tinyproxy and gost are to be tried; the others are reported as
# skipped. PX and GOST are the programs of these names. The section of gost needs microsocks too, as the exit.
set -euo pipefail
cd "$(dirname "$0")/../.."
. packaging/test/upstreams.sh

# Asks for a page plainly and through a tunnel, through the proxy at port $1, which $2 names, by way of upstream $3.
try() {
  local before after arguments
  listens "$1"
  for arguments in "" --proxytunnel; do
    before=$(wc -l <"$scratch/squid/$3.access" 2>/dev/null || echo 0)
    # shellcheck disable=SC2086  # No argument, or one.
    [ "$(curl -sS --max-time 20 $arguments --proxy "http://${CLIENT:-}127.0.0.1:$1" "http://${TARGET_HOST:-origin.example}:$origin/page")" = origin ] ||
      fail "$2 does not serve: $arguments"
    sleep 0.2
    after=$(wc -l <"$scratch/squid/$3.access")
    [ "$after" -gt "$before" ] || fail "$2 went around the upstream"
  done
  printf '%s: works\n' "$2"
}

# Checks and starts our configuration $1, with the variables of the page.
start_ours() {
  export PX_PASSWORD=secret CORP_PASSWORD=secret PROXY_PASSWORD=secret
  "$program" check --config "$scratch/$1.yaml" >"$scratch/check.log" 2>&1 || fail "check rejects the configuration for $1"
  start "mooltiroute-$1" "$program" run --config "$scratch/$1.yaml"
}

# Runs one section: the program's own configuration by the rest of the command line, and ours.
side_by_side() {
  local name=$1 upstream=$2 theirs ours
  shift 2
  theirs=$(free_port) ours=$(free_port)
  block migration "From $name" ini | sed -e "s/proxy.corp.example:8080/127.0.0.1:$upstream/" \
    -e "s/\(port = \|Port \|127.0.0.1:\)\(3128\|8888\)/\1$theirs/" >"$scratch/$name.conf"
  block migration "From $name" yaml | sed -e "s/proxy.corp.example:8080/127.0.0.1:$upstream/" \
    -e "s/127.0.0.1:\(3128\|8888\)/127.0.0.1:$ours/" >"$scratch/$name.yaml"
  if [ ! -s "$scratch/$name.conf" ] || [ ! -s "$scratch/$name.yaml" ]; then fail "the page lacks blocks for $name"; fi
  start "$name" "$@" "$scratch/$name.conf"
  start_ours "$name"
  try "$theirs" "$name" "$upstream"
  try "$ours" "mooltiroute, for $name" "$upstream"
}

px=${PX:-px}
if command -v "$px" >/dev/null; then
  # px's own search for a keyring is of no use here.
  side_by_side px "$ntlm" env PX_PASSWORD=secret PYTHON_KEYRING_BACKEND=keyring.backends.null.Keyring sh -c "exec $px --config=\$1" px
else
  printf 'px: skipped, not installed\n'
fi
if command -v cntlm >/dev/null; then side_by_side cntlm "$ntlm" cntlm -f -c; else printf 'cntlm: skipped, not installed\n'; fi
if command -v tinyproxy >/dev/null; then
  CLIENT=dev:secret@ side_by_side tinyproxy "$plain" tinyproxy -d -c
else
  printf 'tinyproxy: skipped, not installed\n'
fi

# gost is told all on its command line. Either program's exit is a SOCKS proxy behind the upstream.
if command -v microsocks >/dev/null; then
  exit=$(free_port) theirs=$(free_port) ours=$(free_port)
  start exit microsocks -i 127.0.0.1 -p "$exit"
  listens "$exit"
  # Asks through the proxy at port $1, which $2 names, and looks for the second hop in the upstream's log.
  both_hops() {
    local before
    before=$(grep -c "CONNECT 127.0.0.1:$exit " "$scratch/squid/$plain.access" || true)
    # microsocks does not know the other name.
    TARGET_HOST=127.0.0.1 try "$1" "$2" "$plain"
    [ "$(grep -c "CONNECT 127.0.0.1:$exit " "$scratch/squid/$plain.access")" -gt "$before" ] || fail "$2 left out its second hop"
  }
  gost=${GOST:-gost}
  if command -v "$gost" >/dev/null; then
    command=$(block migration "From gost" sh | sed -e "s/proxy.corp.example:8080/127.0.0.1:$plain/" -e "s/exit.example:1080/127.0.0.1:$exit/" \
      -e "s/127.0.0.1:8080/127.0.0.1:$theirs/")
    # The first word is the program's name.
    # shellcheck disable=SC2086  # The rest are its arguments.
    start gost "$gost" ${command#gost }
    both_hops "$theirs" gost
  else
    printf 'gost: skipped, not installed\n'
  fi
  block migration "From gost" yaml | sed -e "s/proxy.corp.example:8080/127.0.0.1:$plain/" -e "s/exit.example:1080/127.0.0.1:$exit/" \
    -e "s/127.0.0.1:8080/127.0.0.1:$ours/" >"$scratch/gost.yaml"
  start_ours gost
  both_hops "$ours" "mooltiroute, for gost"
else
  printf 'gost: skipped, microsocks is not installed\n'
fi
