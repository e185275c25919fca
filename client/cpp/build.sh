#!/bin/sh
# Builds the C++ client, its example programs and its driver for the conformance kit below target/clients/cpp, the
# programs in its folder bin.
set -eu
cd "$(dirname "$0")"
sources=$(pwd)
cd ../..
out=${CARGO_TARGET_DIR:-target}/clients/cpp
mkdir -p "$out"
cd "$out"

skip() { # package to install
    echo "skipped: the C++ client needs $1" >&2
    [ -z "${CI:-}" ] || exit 1
    exit 77
}
for tool in cmake:cmake c++:g++ pkg-config:pkg-config \
    protoc:protobuf-compiler grpc_cpp_plugin:protobuf-compiler-grpc; do
    command -v "${tool%:*}" >/dev/null || skip "${tool#*:}"
done
pkg-config --exists grpc++ || skip libgrpc++-dev
pkg-config --exists protobuf || skip libprotobuf-dev

# Runs a command and shows its output only if it fails.
quietly() { # name of the log, command
    log=$1.log
    shift
    "$@" >"$log" 2>&1 || {
        cat "$log" >&2
        exit 1
    }
}
[ -e build/Makefile ] ||
    quietly configure cmake -S "$sources" -B build -G 'Unix Makefiles' -DCMAKE_BUILD_TYPE=Debug -DCARDBROKER_STRICT=ON \
        -DCARDBROKER_DRIVER=ON
quietly build cmake --build build --parallel 2
ln -sfn build/bin bin
