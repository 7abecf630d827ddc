#!/usr/bin/env bash
# Builds the documentation site into target/book and checks that every link inside it leads somewhere.
#
# Links from the pages to other files of the repository, such as ../CHANGELOG.md, become links to the repository.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v mdbook >/dev/null || { printf 'mdbook is missing; install it with: cargo install mdbook --locked\n' >&2; exit 1; }

for page in docs/*.md; do
  name=${page##*/}
  if [ "$name" != SUMMARY.md ] && ! grep -qF "($name)" docs/SUMMARY.md; then
    printf '%s is not in docs/SUMMARY.md\n' "$page" >&2
    exit 1
  fi
done

rm -rf target/site
mkdir -p target/site
for page in docs/*.md; do
  sed 's#](\.\./#](https://github.com/mooltiroute/mooltiroute/blob/main/#g' "$page" >"target/site/${page##*/}"
done
MDBOOK_BOOK__SRC=target/site mdbook build
packaging/check_links.py target/book
