#!/usr/bin/env bash
# Gives Wine before 8.9 the library that Rust's standard library takes random numbers from: wine-random.sh DIRECTORY
#
# DIRECTORY is that of a program, or the system directory of a prefix. Needs mingw's gcc.
set -euo pipefail
name=bcryptprimitives.dll
for directory in /usr/lib/x86_64-linux-gnu/wine /usr/lib64/wine /opt/wine-*/lib*/wine; do
  if [ -e "$directory/x86_64-windows/$name" ]; then exit 0; fi
done
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
printf '%s\n' '#include <windows.h>' '#include <ntsecapi.h>' \
  '__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T size) { return RtlGenRandom(data, size); }' \
  >"$scratch/random.c"
x86_64-w64-mingw32-gcc -shared -O2 -o "$1/$name" "$scratch/random.c" -ladvapi32
