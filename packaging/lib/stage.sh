# shellcheck shell=bash
# Lays out what every package contains.

# Writes manual pages, completions and licences once, to be copied into each package.
make_documents() {
  local out=$WORK/documents program
  [ ! -e "$out/done" ] || [ "$out/done" -ot "$PROGRAM" ] || return 0
  rm -rf "$out"
  mkdir -p "$out/man" "$out/completions"
  program=$(documenter)
  "$program" man "$out/man"
  "$program" completions bash >"$out/completions/mooltiroute.bash"
  "$program" completions zsh >"$out/completions/_mooltiroute"
  "$program" completions fish >"$out/completions/mooltiroute.fish"
  "$program" completions powershell >"$out/completions/mooltiroute.ps1"
  "${PYTHON:-python3}" packaging/dependencies.py licences --target "$TARGET" >"$out/THIRD-PARTY-LICENSES.txt"
  "${PYTHON:-python3}" packaging/dependencies.py sbom --target "$TARGET" >"$out/mooltiroute.cdx.json"
  touch "$out/done"
}

# Lays out the tree of a Linux package below $1; $2 is the directory for functions of zsh, which differs by distribution.
stage_linux() {
  local root=$1 zsh=$2 documents=$WORK/documents page
  make_documents
  rm -rf "$root"
  install -D -m 755 "$PROGRAM" "$root/usr/bin/mooltiroute"
  for page in "$documents"/man/*.1; do
    install -D -m 644 "$page" "$root/usr/share/man/man1/${page##*/}"
    gzip -9n "$root/usr/share/man/man1/${page##*/}"
  done
  install -D -m 644 "$documents/completions/mooltiroute.bash" "$root/usr/share/bash-completion/completions/mooltiroute"
  install -D -m 644 "$documents/completions/_mooltiroute" "$root$zsh/_mooltiroute"
  install -D -m 644 "$documents/completions/mooltiroute.fish" "$root/usr/share/fish/vendor_completions.d/mooltiroute.fish"
  install -D -m 644 -t "$root/usr/lib/systemd/system" packaging/systemd/system/mooltiroute*
  install -D -m 644 -t "$root/usr/lib/systemd/user" packaging/systemd/user/mooltiroute*
  install -D -m 644 packaging/systemd/sysusers.conf "$root/usr/lib/sysusers.d/mooltiroute.conf"
  install -D -m 644 -t "$root/etc/mooltiroute/config.d" config.d/*.yaml
  install -D -m 600 packaging/systemd/environment "$root/etc/mooltiroute/environment"
}

# Lays out the directory of an archive below $1.
stage_archive() {
  local root=$1 documents=$WORK/documents
  make_documents
  rm -rf "$root"
  # A program of `BINARY` may have any name.
  install -D -m 755 "$PROGRAM" "$root/$(program_name)"
  install -D -m 644 -t "$root" README.md CHANGELOG.md LICENSE "$documents/THIRD-PARTY-LICENSES.txt"
  install -D -m 644 -t "$root/config.d" config.d/*.yaml
  install -D -m 644 -t "$root/completions" "$documents"/completions/*
  case $TARGET in
    *-windows-*) ;;
    *-darwin)
      install -D -m 644 -t "$root/man" "$documents"/man/*
      install -D -m 644 -t "$root/launchd" packaging/launchd/*.plist
      ;;
    *)
      install -D -m 644 -t "$root/man" "$documents"/man/*
      install -D -m 644 -t "$root/systemd/system" packaging/systemd/system/*
      install -D -m 644 -t "$root/systemd/user" packaging/systemd/user/*
      ;;
  esac
}
