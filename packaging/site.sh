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

# The copy has the pages in docs/ too, because mdbook puts that path into the links that edit a page.
rm -rf target/site
mkdir -p target/site/docs
cp book.toml target/site
for page in docs/*.md; do
  sed 's#](\.\./#](https://github.com/mooltiroute/mooltiroute/blob/main/#g' "$page" >"target/site/docs/${page##*/}"
done
mdbook build target/site --dest-dir "$PWD/target/book"
# Debian's mdbook comes without fonts, but its pages link to their style sheet. Browsers then use fonts of the system.
if grep -q '"fonts/fonts\.css"' target/book/install.html && [ ! -e target/book/fonts/fonts.css ]; then
  install -D -m 644 /dev/null target/book/fonts/fonts.css
fi
grep -q '/edit/main/docs/install\.md"' target/book/install.html || { printf 'the link that edits a page is wrong\n' >&2; exit 1; }
packaging/check_links.py target/book
