#!/usr/bin/env bash
# Tries an RPM package in a scratch root: rpm.sh PACKAGE.rpm
#
# Installs, edits, upgrades and removes it with its scripts. The root is a Debian one (BASE, or the one of deb.sh), since
# Fedora's packages are not within reach of every machine, so dependencies are listed and not resolved. Needs root.
set -euo pipefail
package=$(realpath "$1")
cd "$(dirname "$0")/../.."
work=$PWD/target/package/test
base=${BASE:-$work/bookworm}
[ -e "$base/usr/bin/systemctl" ] || { printf '%s is no root with systemd: run deb.sh first, or set BASE\n' "$base" >&2; exit 1; }
root=$work/rpm-root
rm -rf "$root"
cp -a "$base" "$root"
in_root() { chroot "$root" "$@"; }
rpm_in_root() { rpm --root "$root" --nodeps "$@" 2> >(grep -v 'RPM should not be used\|assuming you know' >&2); }

# The next version: the same tree, with another number and a comment in one file.
printf '# A comment of the next version.\n' >"$work/comment"
next=$work/next-rpm
rm -rf "$next"
mkdir -p "$next/tree"
(cd "$next/tree" && rpm2cpio "$package" | cpio --extract --make-directories --preserve-modification-time --quiet)
cat "$work/comment" >>"$next/tree/etc/mooltiroute/config.d/10-server.yaml"
rpmbuild -bb --quiet --define "_topdir $next/build" --define "_rpmdir $next" --define "_build_name_fmt next.rpm" \
  --define "upstream_version 99.0" --define "staged $next/tree" packaging/rpm/mooltiroute.spec

rpm --root "$root" --initdb
rpm_in_root --install "$package"
in_root mooltiroute check --config /etc/mooltiroute/config.d >/dev/null
in_root getent passwd mooltiroute >/dev/null
[ "$(stat -c %a "$root/etc/mooltiroute/environment")" = 600 ]
printf 'hops: { corporate: { enabled: false } }\n' >"$root/etc/mooltiroute/config.d/90-own.yaml"
sed -i 's/proxy.corp.example/proxy.other.example/' "$root/etc/mooltiroute/config.d/20-hops.yaml"

rpm_in_root --upgrade "$next/next.rpm"
grep -q proxy.other.example "$root/etc/mooltiroute/config.d/20-hops.yaml"
grep -q 'next version' "$root/etc/mooltiroute/config.d/10-server.yaml"
test -e "$root/etc/mooltiroute/config.d/90-own.yaml"

rpm_in_root --erase mooltiroute
test ! -e "$root/usr/bin/mooltiroute"
# Edited files are kept under another name, which no proxy reads.
test -e "$root/etc/mooltiroute/config.d/20-hops.yaml.rpmsave"
test ! -e "$root/usr/lib/systemd/system/mooltiroute.service"
printf '%s works\n' "${package##*/}"
