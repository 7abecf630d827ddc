# shellcheck shell=bash
# For the scripts that try pages of docs/: the blocks of a page, processes that end with the script, and an origin behind
# two squids. Sourced from the root of the repository. Needs squid, samba's ntlm_auth, curl and python3.
#
# Environment:
#   PROGRAM   mooltiroute (default: target/debug/mooltiroute)
# shellcheck disable=SC2034  # The scripts that source this file use the variables.

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

# Prints the first block of language $3 below the heading $2 of the page $1.
block() {
  awk -v section="## $2" -v fence="\`\`\`$3" '
    /^## / { here = $0 == section }
    here && $0 == fence { inside = 1; next }
    inside && /^```/ { exit }
    inside' "docs/$1.md"
}

# Serves an origin, an upstream that wants NTLM, and one that wants nothing, and sets `origin`, `ntlm` and `plain` to their
# ports. The origin is reached as origin.example.
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
# Each instance has a name of its own, since squid names its shared memory after it.
start ntlm squid -n "ntlm$ntlm" --foreground -f "$scratch/ntlm.conf"
start plain squid -n "plain$plain" --foreground -f "$scratch/plain.conf"
listens "$origin"
listens "$ntlm"
listens "$plain"
