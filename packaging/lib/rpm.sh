# shellcheck shell=bash
# An RPM package, made by rpmbuild from the staged tree.

package_rpm() {
  local root=$WORK/rpm top=$WORK/rpmbuild
  need rpmbuild rpm
  stage_linux "$root" /usr/share/zsh/site-functions
  install -D -m 644 -t "$root/usr/share/doc/mooltiroute" README.md CHANGELOG.md packaging/systemd/examples/*
  install -D -m 644 -t "$root/usr/share/licenses/mooltiroute" LICENSE "$WORK/documents/THIRD-PARTY-LICENSES.txt"
  settle_times "$root"
  rm -rf "$top"
  rpmbuild -bb --quiet --target "${TARGET%%-*}-linux" \
    --define "_topdir $top" --define "_rpmdir $DIST" --define "_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm" \
    --define "upstream_version ${VERSION/-/\~}" --define "staged $root" \
    --define "use_source_date_epoch_as_buildtime 1" --define "clamp_mtime_to_source_date_epoch 1" \
    --define "_buildhost packages" packaging/rpm/mooltiroute.spec
  keep_sbom
}
