# shellcheck shell=bash
# Archives for systems without our packages, and the sums of everything.

package_tar() {
  local name=mooltiroute-$VERSION-$TARGET
  stage_archive "$WORK/$name"
  # GNU tar is `gtar` on macOS, if it is installed; the system's own has no options for a reproducible archive.
  if tar --version | grep -q 'GNU tar'; then
    tar --create --gzip --file "$DIST/$name.tar.gz" --directory "$WORK" --sort=name --owner=0 --group=0 --numeric-owner \
      --mtime="@$SOURCE_DATE_EPOCH" "$name"
  else
    tar -czf "$DIST/$name.tar.gz" -C "$WORK" "$name"
  fi
  keep_sbom
}

package_zip() {
  local name=mooltiroute-$VERSION-$TARGET
  stage_archive "$WORK/$name"
  rm -f "$DIST/$name.zip"
  if command -v zip >/dev/null; then
    settle_times "$WORK/$name"
    (cd "$WORK" && find "$name" -type f | LC_ALL=C sort | zip -q -X -@ "$DIST/$name.zip")
  else
    # The Windows runners have 7-Zip and no zip.
    (cd "$WORK" && 7z a -bd "$DIST/$name.zip" "$name" >/dev/null)
  fi
  keep_sbom
}

# The list of dependencies is published beside the packages.
keep_sbom() {
  cp "$WORK/documents/mooltiroute.cdx.json" "$DIST/mooltiroute-$VERSION-$TARGET.cdx.json"
}

package_sums() {
  (
    cd "$DIST"
    rm -f SHA256SUMS
    find . -maxdepth 1 -type f ! -name SHA256SUMS -printf '%f\n' 2>/dev/null | LC_ALL=C sort | xargs sha256sum >SHA256SUMS
  )
}
