#!/bin/sh
# Makes the contents of the packages: programs, manual pages, completions, licences, and the packagers' manifest.
# Usage: build.sh PROGRAMS PARTS FOLDER: the folder of the built programs, the program package-parts, and the folder
# for the contents, which is made anew
set -eu
cd "$(dirname "$0")/.."

out=$3
rm -rf "$out"
mkdir -p "$out/bin"
for program in cardbrokerd cardbroker; do
    # Without debug information. The list of crates of cargo-auditable stays.
    strip --strip-unneeded -o "$out/bin/$program" "$1/$program"
done
"$2" "$out"

cp -R packaging/debian packaging/systemd packaging/cardbrokerd.toml packaging/sysusers.conf \
    packaging/tmpfiles.conf packaging/polkit.rules README.md docs/command-line.md docs/diagnostics.md \
    docs/operating.md docs/pin-guard.md docs/security.md docs/tcp.md LICENSE-* "$out"
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
sed "s/VERSION/$version/" packaging/package.toml >"$out/Cargo.toml"
: >"$out/lib.rs"
# The RPM package contains the times of its files.
find "$out" -exec touch --date "$(dpkg-parsechangelog -l packaging/debian/changelog -S Date)" {} +

# Debian 12 and RHEL 9 have at least this version of the C library. A program with a newer symbol does not start there.
packaging/newest-glibc.sh 2.34 "$out"/bin/*
