#!/bin/sh
# Puts the contents of the packages into target/package: programs, manual pages, completions and licences.
# Usage: build.sh FOLDER PARTS: the folder of the built programs, and the program package-parts
set -eu
cd "$(dirname "$0")/.."

out=target/package
rm -rf "$out"
mkdir -p "$out/bin"
for program in cardbrokerd cardbroker; do
    # Without debug information. The list of crates of cargo-auditable stays.
    strip --strip-unneeded -o "$out/bin/$program" "$1/$program"
done
"$2" "$out"

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
sed "s/VERSION/$version/" packaging/package.toml >"$out/Cargo.toml"
: >"$out/lib.rs"

# The packages state the C library that the programs need. A newer one than that of Debian 12 and RHEL 9 is a mistake.
newest=$(objdump -T "$out"/bin/* | grep -o 'GLIBC_[0-9.]*' | sed 's/GLIBC_//' | sort -uV | tail -n 1)
if [ "$(printf '%s\n2.34\n' "$newest" | sort -V | tail -n 1)" != 2.34 ]; then
    echo "package: the programs need glibc $newest, which is newer than 2.34" >&2
    exit 1
fi
