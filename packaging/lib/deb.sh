# shellcheck shell=bash
# A Debian package, put together with dpkg-deb from the staged tree.

# Prints the name of the target's architecture in Debian.
debian_architecture() {
  case $TARGET in
    x86_64-*) echo amd64 ;;
    aarch64-*) echo arm64 ;;
    armv7-*) echo armhf ;;
    *) fail "no Debian architecture for $TARGET" ;;
  esac
}

package_deb() {
  local root=$WORK/deb architecture file
  need dpkg-deb dpkg
  need objdump binutils
  architecture=$(debian_architecture)
  stage_linux "$root" /usr/share/zsh/vendor-completions
  debian_documents "$root/usr/share/doc/mooltiroute"
  install -D -m 644 packaging/deb/lintian-overrides "$root/usr/share/lintian/overrides/mooltiroute"
  install -d -m 755 "$root/DEBIAN"
  for file in postinst prerm postrm; do
    install -m 755 "packaging/deb/$file" "$root/DEBIAN/$file"
  done
  (cd "$root" && find etc -type f -printf '/%p\n' | LC_ALL=C sort) >"$root/DEBIAN/conffiles"
  (cd "$root" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
  sed -e "s/@VERSION@/$(debian_version)/" -e "s/@ARCHITECTURE@/$architecture/" \
    -e "s/@SIZE@/$(du -sk --apparent-size "$root" | cut -f1)/" -e "s/@GLIBC@/$(glibc_baseline "$PROGRAM")/" \
    packaging/deb/control >"$root/DEBIAN/control"
  settle_times "$root"
  dpkg-deb --root-owner-group -Zxz --build "$root" "$DIST/mooltiroute_$(debian_version)_$architecture.deb" >/dev/null
  keep_sbom
}

# Prints the version with a revision; `~` makes a pre-release sort before its release.
debian_version() { printf '%s-1\n' "${VERSION/-/\~}"; }

debian_documents() {
  local doc=$1
  install -D -m 644 -t "$doc" README.md "$WORK/documents/THIRD-PARTY-LICENSES.txt"
  install -m 644 packaging/deb/copyright "$doc/copyright"
  install -D -m 644 -t "$doc/examples" packaging/systemd/examples/*
  gzip -9n "$doc/THIRD-PARTY-LICENSES.txt"
  gzip -9cn CHANGELOG.md >"$doc/changelog.gz"
  {
    printf 'mooltiroute (%s) unstable; urgency=medium\n\n' "$(debian_version)"
    printf '  * New upstream release; see /usr/share/doc/mooltiroute/changelog.gz.\n\n'
    printf ' -- %s  %s\n' "$(sed -n 's/^Maintainer: //p' packaging/deb/control)" \
      "$(LC_ALL=C date --utc --rfc-email --date="@$SOURCE_DATE_EPOCH")"
  } | gzip -9n >"$doc/changelog.Debian.gz"
}
