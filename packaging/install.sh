#!/bin/sh
# Installs Mooltiroute without root:
#
#   curl -fsSL https://github.com/mooltiroute/mooltiroute/releases/latest/download/install.sh | sh
#
# Downloads the release for this system, checks its SHA-256 sum, and puts the program into ~/.local/bin, with manual pages
# and completions below ~/.local/share. Variables that change this:
#   MOOLTIROUTE_VERSION   the release (default: the one this script came with)
#   MOOLTIROUTE_PREFIX    the place of bin/ and share/ (default: ~/.local)
#   MOOLTIROUTE_BASE_URL  where the archives and SHA256SUMS are, for a mirror
set -eu

# Everything is in a function that the last line calls, so that a download that was cut runs nothing.
main() {
  version=${MOOLTIROUTE_VERSION:-@VERSION@}
  prefix=${MOOLTIROUTE_PREFIX:-$HOME/.local}
  base=${MOOLTIROUTE_BASE_URL:-https://github.com/mooltiroute/mooltiroute/releases/download/v$version}
  name=mooltiroute-$version-$(target)

  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  trap 'exit 1' HUP INT TERM
  say "downloading $name"
  download "$base/$name.tar.gz" "$work/$name.tar.gz"
  download "$base/SHA256SUMS" "$work/SHA256SUMS"
  check_sum "$work" "$name.tar.gz"

  tar -xzf "$work/$name.tar.gz" -C "$work"
  # A program that does not run here must not replace one that does.
  "$work/$name/mooltiroute" --version >/dev/null || fail "the program does not run on this system"
  put "$work/$name/mooltiroute" "$prefix/bin/mooltiroute" 755
  for page in "$work/$name"/man/*.1; do put "$page" "$prefix/share/man/man1/${page##*/}" 644; done
  put "$work/$name/completions/mooltiroute.bash" "$prefix/share/bash-completion/completions/mooltiroute" 644
  put "$work/$name/completions/_mooltiroute" "$prefix/share/zsh/site-functions/_mooltiroute" 644
  put "$work/$name/completions/mooltiroute.fish" "$prefix/share/fish/vendor_completions.d/mooltiroute.fish" 644

  say "installed $("$prefix/bin/mooltiroute" --version) as $prefix/bin/mooltiroute"
  case ":$PATH:" in
    *":$prefix/bin:"*) ;;
    *) say "add $prefix/bin to PATH to run it by name" ;;
  esac
  say "next: mooltiroute init ~/.config/mooltiroute/config.d"
}

say() { printf '%s\n' "mooltiroute: $*" >&2; }

fail() {
  say "$*"
  exit 1
}

# Prints the Rust target of the archive for this system.
target() {
  system=$(uname -s) machine=$(uname -m)
  case $machine in
    x86_64 | amd64) machine=x86_64 ;;
    aarch64 | arm64) machine=aarch64 ;;
    *) fail "there is no build for $machine; with Rust, \`cargo install mooltiroute\` makes one" ;;
  esac
  case $system in
    Linux)
      # The other build needs glibc 2.17; this one is static, and has no Negotiate authentication.
      if ldd --version 2>&1 | grep -qi musl; then echo "$machine-unknown-linux-musl"; else echo "$machine-unknown-linux-gnu"; fi
      ;;
    Darwin) echo "$machine-apple-darwin" ;;
    *) fail "there is no build for $system; on Windows, use scoop, winget or the zip archive" ;;
  esac
}

download() {
  if command -v curl >/dev/null; then
    curl --fail --silent --show-error --location --retry 3 --output "$2" "$1" || fail "can't download $1"
  elif command -v wget >/dev/null; then
    wget --quiet --output-document="$2" "$1" || fail "can't download $1"
  else
    fail "curl or wget is needed"
  fi
}

# Compares the sum of file $2 in directory $1 with the one in SHA256SUMS.
check_sum() {
  expected=$(awk -v name="$2" '$2 == name || $2 == "*" name { print $1 }' "$1/SHA256SUMS")
  [ -n "$expected" ] || fail "SHA256SUMS does not name $2"
  if command -v sha256sum >/dev/null; then
    actual=$(sha256sum "$1/$2" | cut -d ' ' -f 1)
  elif command -v shasum >/dev/null; then
    actual=$(shasum -a 256 "$1/$2" | cut -d ' ' -f 1)
  else
    fail "sha256sum or shasum is needed to check the download"
  fi
  [ "$actual" = "$expected" ] || fail "the sum of $2 is wrong: $actual instead of $expected"
}

# Copies file $1 to $2 with mode $3. Replaces a running program instead of writing into it.
put() {
  mkdir -p "${2%/*}"
  cp "$1" "$2.new"
  chmod "$3" "$2.new"
  mv -f "$2.new" "$2"
}

main "$@"
