#!/bin/sh
# Installs the C interface: library, headers and the file for pkg-config.
# Usage: install.sh LIBRARY PREFIX    (DESTDIR is put before PREFIX)
set -eu
library=$1
prefix=$2
root=${DESTDIR:-}$prefix
sources=$(dirname "$0")
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$sources/../../Cargo.toml")

install -D -m 644 "$library" "$root/lib/libcardbroker.so.1"
ln -sf libcardbroker.so.1 "$root/lib/libcardbroker.so"
install -D -m 644 -t "$root/include" "$sources"/include/*
mkdir -p "$root/lib/pkgconfig"
cat >"$root/lib/pkgconfig/cardbroker.pc" <<END
prefix=$prefix
Name: cardbroker
Description: C interface of Cardbroker, a broker for smart-card readers
Version: $version
Cflags: -I\${prefix}/include
Libs: -L\${prefix}/lib -lcardbroker
END
