#!/bin/sh
# Builds the C interface below target/clients/c: the library in lib; in bin the example programs and the tests, or only
# the driver for the conformance kit.
# Usage: build.sh [driver]
set -eu
cd "$(dirname "$0")"
sources=$(pwd)
cd ../..
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target/clients/c"
target=$(cd "$target" && pwd)
out=$target/clients/c
what=${1:-programs}

skip() { # package to install
    echo "skipped: the C interface needs $1" >&2
    [ -z "${CI:-}" ] || exit 1
    exit 77
}
command -v cc >/dev/null || skip gcc
command -v c++ >/dev/null || skip g++
if [ "$what" = driver ]; then
    command -v make >/dev/null || skip make
    command -v protoc >/dev/null || skip protobuf-compiler
    command -v pkg-config >/dev/null || skip pkg-config
    pkg-config --exists protobuf || skip libprotobuf-dev
fi

# In CI with the selection of `make test`, for which cargo chooses the same features: it compiles nothing twice.
set -- -p cardbroker-c -p cardbroker-server -p cardbroker --bins
[ -z "${CI:-}" ] || set -- --workspace --bin cardbrokerd --bin cardbroker
cargo build --locked --quiet --lib "$@"

# The names under which the compiler and the dynamic linker look for the library.
mkdir -p "$out/lib" "$out/bin"
for name in libcardbroker.so libcardbroker.so.1; do
    ln -sf "$target/debug/libcardbroker.so" "$out/lib/$name"
done
if [ "$what" = driver ]; then
    mkdir -p "$out/driver"
    # Without the flags of a make that runs this script.
    MAKEFLAGS='' make --silent --jobs 2 --directory "$out/driver" --file "$sources/tests/driver.mk" \
        SOURCES="${sources%/c}" LIBRARY="$out/lib"
    ln -sf ../driver/conformance_driver "$out/bin/conformance_driver"
    exit
fi
compile() { # compiler and standard, source and program
    "$@" -g -O1 -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror -I"$sources/include" \
        -L"$out/lib" -lcardbroker -Wl,-rpath,"$out/lib" -pthread
}
for program in examples/first examples/pairs tests/interface_test tests/threads_test tests/restart_test \
    tests/wiping_test; do
    compile cc -std=c11 "$sources/$program.c" -o "$out/bin/${program##*/}"
done
for program in examples/watch tests/face_test; do
    compile c++ -std=c++17 "$sources/$program.cpp" -o "$out/bin/${program##*/}"
done
