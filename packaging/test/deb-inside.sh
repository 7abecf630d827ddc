#!/bin/bash
# The part of deb.sh that runs inside the fresh Debian, as root, with systemd running.
set -euo pipefail
trap 'journalctl --no-pager --lines 40 --unit "mooltiroute*" || true' ERR
export DEBIAN_FRONTEND=noninteractive
files=/etc/mooltiroute/config.d

step() { printf '== %s\n' "$*"; }

# Runs a command until it succeeds, for at most 15 seconds.
eventually() {
  local deadline=$((SECONDS + 15))
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || { printf 'never succeeded: %s\n' "$*"; return 1; }
    sleep 0.1
  done
}

get() { curl --silent --show-error --fail --max-time 60 --proxy http://localhost:8888 "$@"; }

# Lists every file outside of places that any installation changes.
listing() {
  find / -xdev \( -path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /var/log -o -path /var/cache \
    -o -path /var/lib/dpkg -o -path /var/lib/systemd -o -path /root -o -path '/etc/*-' \) -prune -o -print | LC_ALL=C sort
}

serve_origin() {
  printf '127.0.0.1 origin.example\n' >>/etc/hosts
  printf '[Socket]\nListenStream=127.0.0.1:8080\nAccept=yes\nMaxConnections=500\nTriggerLimitBurst=10000\n' \
    >/etc/systemd/system/origin.socket
  printf '[Service]\nExecStart=/usr/local/bin/origin\nStandardInput=socket\nStandardError=journal\n' \
    >/etc/systemd/system/origin@.service
  printf 'Port 3128\nListen 127.0.0.1\nMaxClients 200\nBasicAuth alice secret\n' >/etc/tinyproxy.conf
  printf '[Service]\nExecStart=/usr/bin/tinyproxy -d -c /etc/tinyproxy.conf\n' >/etc/systemd/system/corporate.service
  systemctl daemon-reload
  systemctl start origin.socket corporate.service
}

serve_origin
listing >/root/before
getent passwd >/root/users-before

step "install: the service starts and serves the sample"
dpkg --install /root/first.deb
systemctl is-active mooltiroute.service
systemctl is-enabled mooltiroute.service
get http://127.0.0.1:8080/ | grep -q '^origin$'
get --proxytunnel http://127.0.0.1:8080/ | grep -q '^origin$'
mooltiroute status >/dev/null
mooltiroute check --config $files >/dev/null
[ "$(ps -o user= -C mooltiroute | sort -u)" = mooltiroute ]
test -e /usr/share/man/man1/mooltiroute.1.gz
bash -c 'source /usr/share/bash-completion/completions/mooltiroute && complete -p mooltiroute' >/dev/null
systemd-analyze security --no-pager mooltiroute.service | tail -1

step "a chain from the sample works, with a secret as a credential"
install -d -m 700 /etc/mooltiroute/credentials
printf 'secret\n' | install -m 600 /dev/stdin /etc/mooltiroute/credentials/corporate
install -d /etc/systemd/system/mooltiroute.service.d
printf '[Service]\nLoadCredential=corporate:/etc/mooltiroute/credentials/corporate\n' \
  >/etc/systemd/system/mooltiroute.service.d/credentials.conf
printf 'CORP_USER=alice\n' >>/etc/mooltiroute/environment
# shellcheck disable=SC2016  # The configuration expands the variable.
sed -i -e '/^  corporate:/,/^  webshare:/{s/enabled: false/enabled: true/;s/proxy.corp.example:3128/127.0.0.1:3128/;s|^    password: .*|    password_file: "${CREDENTIALS_DIRECTORY}/corporate"|}' \
  $files/20-hops.yaml
systemctl daemon-reload
systemctl restart mooltiroute
get --include http://origin.example:8080/ | grep -qi '^via: .*tinyproxy'

step "commands reach the service as its user, and as nobody else"
as_user() { setpriv --reuid="$1" --regid="$1" --clear-groups env --chdir=/ XDG_RUNTIME_DIR=/run/mooltiroute "${@:2}"; }
[ "$(stat -c '%U %a' /run/mooltiroute)" = "mooltiroute 700" ]
get --no-buffer --proxytunnel http://origin.example:8080/slow >/tmp/listed &
tunnel=$!
has_begun() { grep -q slow /tmp/listed; }
eventually has_begun
as_user mooltiroute mooltiroute ps --config $files | grep -q origin.example
as_user mooltiroute mooltiroute reload --config $files
if as_user daemon mooltiroute ps --config $files; then exit 1; fi
if mooltiroute ps --config $files; then exit 1; fi
as_user mooltiroute mooltiroute kill --chain default --config $files
if wait $tunnel; then exit 1; fi

step "an edit takes effect without a restart"
process=$(systemctl show --property MainPID --value mooltiroute)
printf 'hops: { corporate: { enabled: false } }\n' >$files/90-toggle.yaml
direct() { ! get --include http://origin.example:8080/ | grep -qi '^via: '; }
eventually direct
rm $files/90-toggle.yaml
through_corporate() { get --include http://origin.example:8080/ | grep -qi '^via: '; }
eventually through_corporate
systemctl reload mooltiroute
[ "$(systemctl show --property MainPID --value mooltiroute)" = "$process" ]

step "it starts again after a crash, and when a configuration is mended at last"
systemctl kill --signal=KILL mooltiroute
restarted() { [ "$(systemctl show --property MainPID --value mooltiroute)" != "$process" ] && get http://127.0.0.1:8080/; }
eventually restarted
printf 'hops: { corporate: { knd: x } }\n' >$files/90-wrong.yaml
if systemctl restart mooltiroute; then exit 1; fi
# systemd gives up after five starts in ten seconds.
attempts() { [ "$(systemctl show --property NRestarts --value mooltiroute)" -ge "$1" ]; }
eventually attempts 3
eventually attempts 6
rm $files/90-wrong.yaml
eventually get http://127.0.0.1:8080/
process=$(systemctl show --property MainPID --value mooltiroute)

step "an upgrade keeps the edited file and replaces the other"
before=$(sha256sum $files/20-hops.yaml)
dpkg --install /root/next.deb
[ "$(sha256sum $files/20-hops.yaml)" = "$before" ]
grep -q 'next version' $files/10-server.yaml
get --include http://origin.example:8080/ | grep -qi '^via: .*tinyproxy'
[ "$(systemctl show --property MainPID --value mooltiroute)" != "$process" ]

step "a restart with the socket unit refuses nothing"
systemctl stop mooltiroute
systemctl enable --now mooltiroute.socket
get http://127.0.0.1:8080/ >/dev/null
systemctl restart mooltiroute &
for _ in $(seq 20); do get http://127.0.0.1:8080/ >/dev/null; done
wait $!
systemctl disable --now mooltiroute.socket mooltiroute.service

step "instances: from the service to @1, @2 and back, 50 open tunnels go on and no client is refused or waits"
install -d /etc/systemd/system/mooltiroute@.service.d
cp /etc/systemd/system/mooltiroute.service.d/credentials.conf /etc/systemd/system/mooltiroute@.service.d/
systemctl daemon-reload
systemctl enable --now mooltiroute.socket mooltiroute.service
rm -f /tmp/failed /tmp/stop
clients() { until [ -e /tmp/stop ]; do get --max-time 2 http://127.0.0.1:8080/ >/dev/null 2>>/tmp/failed || true; done; }
clients & client=$!
tunnels=()
for number in $(seq 50); do
  get --no-buffer --proxytunnel http://origin.example:8080/slow >"/tmp/tunnel-$number" &
  tunnels+=($!)
done
all_began() { [ "$(grep -l slow /tmp/tunnel-* | wc -l)" -eq 50 ]; }
eventually all_began
# Succeeds if $1 is the only proxy that serves. `disable --now` waits for the others.
serves_alone() {
  [ "$(systemctl is-active mooltiroute.service mooltiroute@{1,2}.service mooltiroute.socket | grep -cx active)" -eq 1 ]
  [ "$(pgrep -x mooltiroute)" = "$(systemctl show --property MainPID --value "$1")" ]
}
systemctl disable --now mooltiroute.socket
systemctl enable --now mooltiroute@1.service
systemctl disable --now mooltiroute.service
serves_alone mooltiroute@1.service
for tunnel in "${tunnels[@]}"; do wait "$tunnel"; done
[ "$(grep -l '^origin$' /tmp/tunnel-* | wc -l)" -eq 50 ]
systemctl enable --now mooltiroute@2.service
systemctl disable --now mooltiroute@1.service
serves_alone mooltiroute@2.service
systemctl enable --now mooltiroute@1.service
systemctl disable --now mooltiroute@2.service
serves_alone mooltiroute@1.service
as_user mooltiroute mooltiroute status | grep -q "process $(systemctl show --property MainPID --value mooltiroute@1)"
as_user mooltiroute env STATE_DIRECTORY=/var/lib/mooltiroute mooltiroute usage | grep -q corporate

step "instances: an upgrade of the package leaves them alone, and one that can't start leaves the other alone"
process=$(pgrep -x mooltiroute)
dpkg --install /root/next.deb
[ "$(pgrep -x mooltiroute)" = "$process" ]
printf 'hops: { corporate: { knd: x } }\n' >$files/90-wrong.yaml
if systemctl start mooltiroute@2.service; then exit 1; fi
[ "$(systemctl show --property MainPID --value mooltiroute@1)" = "$process" ]
rm $files/90-wrong.yaml
serves_in_its_place() { systemctl is-active mooltiroute@2.service && ! systemctl is-active mooltiroute@1.service; }
eventually serves_in_its_place
systemctl disable --now mooltiroute@1.service
serves_alone mooltiroute@2.service
touch /tmp/stop
wait "$client"
if [ -s /tmp/failed ]; then cat /tmp/failed; exit 1; fi
systemctl stop mooltiroute@2.service
if pgrep -x mooltiroute; then exit 1; fi
rm -r /etc/systemd/system/mooltiroute@.service.d

step "a user's own service starts without root, and without a login"
useradd --create-home tester
loginctl enable-linger tester
eventually systemctl --user --machine tester@ is-system-running --wait
su tester -c 'mooltiroute init ~/.config/mooltiroute/config.d' >/dev/null
systemctl --user --machine tester@ enable --now mooltiroute.service
get http://127.0.0.1:8080/ | grep -q '^origin$'
[ "$(ps -o user= -C mooltiroute)" = tester ]
systemctl --user --machine tester@ disable --now mooltiroute.service

step "\`service install\` does the same, with a unit that this systemd understands"
as_tester() {
  setpriv --reuid=tester --regid=tester --clear-groups env --chdir=/ HOME=/home/tester "XDG_RUNTIME_DIR=/run/user/$(id -u tester)" "$@"
}
as_tester mooltiroute service install
as_tester mooltiroute service status >/dev/null
eventually get http://127.0.0.1:8080/
if journalctl --no-pager | grep 'tester/.config/systemd/user/mooltiroute.service:[0-9]'; then exit 1; fi
process=$(as_tester systemctl --user show --property MainPID --value mooltiroute)
as_tester systemctl --user reload mooltiroute
[ "$(as_tester systemctl --user show --property MainPID --value mooltiroute)" = "$process" ]
kill -KILL "$process"
restarted_for_tester() { [ "$(as_tester systemctl --user show --property MainPID --value mooltiroute)" != "$process" ] && get http://127.0.0.1:8080/; }
eventually restarted_for_tester
as_tester mooltiroute service uninstall
test ! -e /home/tester/.config/systemd/user/mooltiroute.service
if get http://127.0.0.1:8080/ 2>/dev/null; then exit 1; fi
loginctl terminate-user tester
loginctl disable-linger tester
eventually userdel --remove tester

step "a removal keeps the configuration, stops instances too, and a purge leaves nothing"
rm -r /etc/systemd/system/mooltiroute.service.d
printf 'hops: { corporate: { enabled: false } }\n' >$files/90-off.yaml
systemctl enable --now mooltiroute@1.service
systemctl enable mooltiroute@2.service
dpkg --remove mooltiroute
if pgrep -x mooltiroute >/dev/null; then exit 1; fi
test -e $files/20-hops.yaml
test ! -e /run/mooltiroute
if find /etc/systemd -name 'mooltiroute@*' | grep .; then exit 1; fi
dpkg --install /root/next.deb
systemctl enable mooltiroute.socket mooltiroute@1.service
systemctl start mooltiroute
dpkg --purge mooltiroute
if pgrep -x mooltiroute >/dev/null; then exit 1; fi
listing >/root/after
diff /root/before /root/after
getent passwd | diff /root/users-before -
step "all passed"
