#!/usr/bin/env bash
# Runs the configurations of docs/migration.md: each program and Mooltiroute, side by side, against the same upstream.
#
# Needs squid, samba's ntlm_auth, curl, and whichever of px, cntlm and tinyproxy are to be tried; the others are
# reported as skipped. PROGRAM is mooltiroute (default: target/debug/mooltiroute); PX is px.
set -euo pipefail
cd "$(dirname "$0")/../.."
program=$(realpath "${PROGRAM:-target/debug/mooltiroute}")
scratch=$(mktemp -d)
processes=()
trap '[ ${#processes[@]} -eq 0 ] || kill "${processes[@]}" 2>/dev/null || true; wait; rm -rf "$scratch"' EXIT

fail() {
  printf '%s\n' "$*" >&2
  tail -n 20 "$scratch"/*.log "$scratch"/squid/*.log >&2 || true
  exit 1
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

start() {
  local log=$1
  shift
  "$@" >"$scratch/$log.log" 2>&1 &
  processes+=($!)
}

listens() {
  for _ in $(seq 200); do
    if (: <>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then return 0; fi
    sleep 0.1
  done
  fail "nothing listens on port $1"
}

# Prints the first block of language $2 in section $1 of the page.
block() {
  awk -v section="## From $1" -v fence="\`\`\`$2" '
    /^## / { here = $0 == section }
    here && $0 == fence { inside = 1; next }
    inside && /^```/ { exit }
    inside' docs/migration.md
}

# Serves an origin, an upstream that wants NTLM, and one that wants nothing.
origin=$(free_port) ntlm=$(free_port) plain=$(free_port)
mkdir "$scratch/site" "$scratch/squid"
# squid refuses to serve as root, and changes to a user of its own.
if [ "$(id -u)" -eq 0 ]; then
  chmod 755 "$scratch"
  chown proxy "$scratch/squid"
fi
printf 'origin\n' >"$scratch/site/page"
start origin python3 -m http.server --bind 127.0.0.1 --directory "$scratch/site" "$origin"
squid_configuration() {
  printf '%s\n' "http_port 127.0.0.1:$1" "pid_filename $scratch/squid/$1.pid" "access_log stdio:$scratch/squid/$1.access" \
    "cache_log $scratch/squid/$1.log" "cache deny all" "acl CONNECT method CONNECT" "coredump_dir $scratch/squid" \
    "visible_hostname upstream-$1" "shutdown_lifetime 0 seconds" "hosts_file $scratch/hosts" "pinger_enable off" \
    "logfile_rotate 0"
}
printf '127.0.0.1 origin.example\n' >"$scratch/hosts"
{
  squid_configuration "$ntlm"
  printf '%s\n' "auth_param ntlm program $(command -v ntlm_auth) --helper-protocol=squid-2.5-ntlmssp --domain=CORP --username=alice --password=secret" \
    "auth_param ntlm children 10 startup=1 idle=1" \
    "acl known proxy_auth REQUIRED" "http_access allow known" "http_access deny all"
} >"$scratch/ntlm.conf"
{ squid_configuration "$plain"; printf 'http_access allow all\n'; } >"$scratch/plain.conf"
start ntlm squid --foreground -f "$scratch/ntlm.conf"
start plain squid --foreground -f "$scratch/plain.conf"
listens "$origin"
listens "$ntlm"
listens "$plain"

# Asks for a page plainly and through a tunnel, through the proxy at port $1, which $2 names, by way of upstream $3.
try() {
  local before after arguments
  listens "$1"
  for arguments in "" --proxytunnel; do
    before=$(wc -l <"$scratch/squid/$3.access" 2>/dev/null || echo 0)
    # shellcheck disable=SC2086  # No argument, or one.
    [ "$(curl -sS --max-time 20 $arguments --proxy "http://${CLIENT:-}127.0.0.1:$1" "http://origin.example:$origin/page")" = origin ] ||
      fail "$2 does not serve: $arguments"
    sleep 0.2
    after=$(wc -l <"$scratch/squid/$3.access")
    [ "$after" -gt "$before" ] || fail "$2 went around the upstream"
  done
  printf '%s: works\n' "$2"
}

# Runs one section: the program's own configuration by the rest of the command line, and ours.
side_by_side() {
  local name=$1 upstream=$2 theirs ours
  shift 2
  theirs=$(free_port) ours=$(free_port)
  block "$name" ini | sed -e "s/proxy.corp.example:8080/127.0.0.1:$upstream/" \
    -e "s/\(port = \|Port \|127.0.0.1:\)\(3128\|8888\)/\1$theirs/" >"$scratch/$name.conf"
  block "$name" yaml | sed -e "s/proxy.corp.example:8080/127.0.0.1:$upstream/" \
    -e "s/127.0.0.1:\(3128\|8888\)/127.0.0.1:$ours/" >"$scratch/$name.yaml"
  if [ ! -s "$scratch/$name.conf" ] || [ ! -s "$scratch/$name.yaml" ]; then fail "the page lacks blocks for $name"; fi
  start "$name" "$@" "$scratch/$name.conf"
  start "mooltiroute-$name" env PX_PASSWORD=secret CORP_PASSWORD=secret PROXY_PASSWORD=secret \
    "$program" run --config "$scratch/$name.yaml"
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
