#!/usr/bin/env bash
# Tries a Debian package for real: deb.sh PACKAGE.deb
#
# Boots a minimal Debian with systemd as its init, in a network namespace of its own, and runs deb-inside.sh there: install,
# serve, reload, secrets, upgrade with open tunnels, remove, purge. Needs root, debootstrap and systemd-nspawn.
set -euo pipefail
package=$(realpath "$1")
cd "$(dirname "$0")/../.."
work=$PWD/target/package/test
suite=${SUITE:-bookworm}
for tool in debootstrap systemd-nspawn dpkg-deb; do
  command -v "$tool" >/dev/null || { printf '%s is missing\n' "$tool" >&2; exit 1; }
done

if command -v lintian >/dev/null; then
  lintian --allow-root --fail-on error "$package"
else
  printf 'skipped: lintian is not installed\n'
fi

mkdir -p "$work"
base=$work/$suite
if [ ! -e "$base/.complete" ]; then
  rm -rf "$base"
  debootstrap --variant=minbase \
    --include=ca-certificates,curl,dbus,dbus-user-session,libgssapi-krb5-2,libpam-systemd,procps,systemd,systemd-sysv,tinyproxy-bin \
    "$suite" "$base" >"$work/debootstrap.log"
  touch "$base/.complete"
fi
root=$work/root
rm -rf "$root"
cp -a "$base" "$root"

# The next version differs in one file that the administrator has edited, and in one that nobody has.
next=$work/next
rm -rf "$next"
dpkg-deb --raw-extract "$package" "$next"
sed -i 's/^\(Version: .*\)-1$/\1-2/' "$next/DEBIAN/control"
printf '# A comment of the next version.\n' >>"$next/etc/mooltiroute/config.d/10-server.yaml"
cp "$package" "$root/root/first.deb"
dpkg-deb --root-owner-group -Zgzip -z1 --build "$next" "$root/root/next.deb" >/dev/null

install -m 755 packaging/test/deb-inside.sh "$root/root/inside.sh"
install -m 755 packaging/test/origin.sh "$root/usr/local/bin/origin"
cat >"$root/etc/systemd/system/inside.service" <<'UNIT'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/sh -c '/root/inside.sh >/root/report 2>&1; echo $? >/root/status; systemctl poweroff --no-block'
UNIT
install -d "$root/etc/systemd/system/multi-user.target.wants"
ln -s ../inside.service "$root/etc/systemd/system/multi-user.target.wants/inside.service"

timeout 300 systemd-nspawn --quiet --register=no --keep-unit --private-network --directory="$root" --boot \
  >"$work/console.log" 2>&1 </dev/null || true
cat "$root/root/report" || tail -20 "$work/console.log"
status=$(cat "$root/root/status" 2>/dev/null || echo 1)
[ "$status" -eq 0 ] || printf 'failed: see %s\n' "$root/root/report" >&2
exit "$status"
