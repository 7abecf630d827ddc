# shellcheck shell=bash
# Names, versions and the program itself, for the scripts that make packages.

fail() {
  printf '%s: %s\n' "$0" "$*" >&2
  exit 1
}

need() {
  command -v "$1" >/dev/null || fail "$1 is missing; on Debian it is in the package ${2:-$1}"
}

host_target() { rustc -vV | sed -n 's/^host: //p'; }

# The program runs on this machine, so it can write its own manual pages and completions.
is_native() {
  [ "$TARGET" = "$(host_target)" ] || [ "$TARGET" = "$(host_target | sed 's/-gnu$/-musl/')" ]
}

VERSION=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
TARGET=${TARGET:-$(host_target)}
PROFILE=${PROFILE:-release}
DIST=$(realpath -m "${DIST:-target/dist}")
WORK=$(realpath -m "target/package/$TARGET")
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH
[ -n "$VERSION" ] || fail "no version in Cargo.toml"

# Prints the packages that `all` makes.
formats_of_target() {
  case $TARGET in
    *-linux-gnu) printf '%s\n' deb rpm tar sums ;;
    *-windows-*) printf '%s\n' zip sums ;;
    *) printf '%s\n' tar sums ;;
  esac
}

# Prints the name of the program on its system.
program_name() {
  case $TARGET in *-windows-*) echo mooltiroute.exe ;; *) echo mooltiroute ;; esac
}

# Builds the program once per run and sets PROGRAM to its path.
build_program() {
  local tools=(cargo build) triple=$TARGET
  [ -z "${PROGRAM:-}" ] || return 0
  if [ -n "${BINARY:-}" ]; then
    PROGRAM=$(realpath "$BINARY")
    return 0
  fi
  if [ -n "${GLIBC:-}" ]; then
    need cargo-zigbuild "cargo-zigbuild (PyPI), together with ziglang"
    tools=(cargo zigbuild)
    triple=$TARGET.$GLIBC
  fi
  "${tools[@]}" --locked --profile "$PROFILE" --package mooltiroute --bin mooltiroute --target "$triple" >&2
  PROGRAM=${CARGO_TARGET_DIR:-target}/$TARGET/${PROFILE/#dev/debug}/$(program_name)
  [ -x "$PROGRAM" ] || fail "cargo left no program at $PROGRAM"
}

# Prints the program to ask for manual pages and completions: the one that is packaged if it runs here.
documenter() {
  if is_native; then
    printf '%s\n' "$PROGRAM"
  else
    cargo build --locked --package mooltiroute --bin mooltiroute >&2
    printf '%s\n' "${CARGO_TARGET_DIR:-target}/debug/mooltiroute"
  fi
}

# Prints the newest symbol version of glibc that a program needs, such as 2.34.
glibc_baseline() {
  objdump -T "$1" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -1 | sed 's/GLIBC_//'
}

# Sets the time of each file below a directory to that of the last commit.
settle_times() {
  find "$1" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
}
