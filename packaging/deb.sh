#!/bin/sh
# Makes FOLDER.deb of the contents that build.sh has made in FOLDER, and checks it with lintian.
# Usage: deb.sh FOLDER [VERSION [OPTION...]]; OPTION is one of dpkg-deb, for example -Zgzip
set -eu
cd "$(dirname "$0")/.."

tools=$(cd "${CARGO_TARGET_DIR:-target}/tools/packagers/bin" && pwd)
# Files get the time of the changelog's last entry, so that the same contents give the same package.
SOURCE_DATE_EPOCH=$(dpkg-parsechangelog -l packaging/debian/changelog -S Timestamp)
export SOURCE_DATE_EPOCH
folder=$1
version=${2:-$(dpkg-parsechangelog -l packaging/debian/changelog -S Version)}
shift $(($# < 2 ? $# : 2))
cd "$folder"
package=$PWD.deb
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
"$tools/cargo-deb" --no-build --no-strip --quiet --fast --deb-version "$version" --output "$work/random.deb" >/dev/null
# cargo-deb writes the dependencies in a random order: sorts them and packs again.
dpkg-deb --raw-extract "$work/random.deb" "$work/tree"
control=$work/tree/DEBIAN/control
sorted=$(sed -n 's/^Depends: //p' "$control" | sed 's/, /\n/g' | LC_ALL=C sort | paste -s -d , | sed 's/,/, /g')
sed -i "s/^Depends: .*/Depends: $sorted/" "$control"
dpkg-deb --root-owner-group --threads-max=1 "$@" --build "$work/tree" "$package" >/dev/null
lintian --tag-display-limit 0 --fail-on error,warning --allow-root "$package"
