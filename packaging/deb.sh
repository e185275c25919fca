#!/bin/sh
# Makes target/package/cardbroker.deb of what build.sh has left, and checks it. Usage: deb.sh [VERSION [OPTION...]]
# OPTION is one of cargo-deb, for example -Zgz.
set -eu
cd "$(dirname "$0")/.."

tools=$(cd "${CARGO_TARGET_DIR:-target}/tools/packagers/bin" && pwd)
# Files get the time of the changelog's last entry, so that the same contents give the same package.
SOURCE_DATE_EPOCH=$(dpkg-parsechangelog -l packaging/debian/changelog -S Timestamp)
export SOURCE_DATE_EPOCH
version=${1:-$(dpkg-parsechangelog -l packaging/debian/changelog -S Version)}
[ $# -eq 0 ] || shift
cd target/package
"$tools/cargo-deb" --no-build --no-strip --quiet --deb-version "$version" "$@" --output cardbroker.deb >/dev/null
lintian --tag-display-limit 0 --fail-on error,warning --allow-root cardbroker.deb
